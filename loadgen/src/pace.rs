//! When each request was due. At a fixed rate that is arithmetic from the start of the run and nothing else: what
//! the server does, and how late we are, never moves a due time. A request that cannot be sent when it is due
//! (every connection waits, or the generator was late) keeps its due time, so its wait is counted; forgetting
//! that is what is called coordinated omission.
//!
//! In a closed loop a request is due when a connection is found free to carry it.

use crate::units::Rate;
use machine::Instant;

/// Nanoseconds in a second, in thousandths: what one request a second, in thousandths, is divided into.
const MILLI_NANOS: u128 = 1_000_000_000_000;

/// The due times of one core's requests.
#[derive(Clone, Debug)]
pub enum Pace {
    /// As soon as a connection is free.
    Closed,
    /// At a fixed rate.
    Constant(Constant),
}

/// What [`Pace::next`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A request is due, since then.
    Due(Instant),
    /// None is due before then.
    NotBefore(Instant),
    /// None is due any more before the end.
    Never,
}

impl Pace {
    /// Of the requests of all cores, due `1/rate` apart from `start` on, those of this core: every `cores`th,
    /// from the `core`th on. Without a rate, a closed loop.
    #[must_use]
    pub fn new(rate: Option<Rate>, core: u16, cores: u16, start: Instant) -> Self {
        match rate {
            None => Self::Closed,
            Some(rate) => Self::Constant(Constant::new(rate, core, cores, start)),
        }
    }

    /// Takes the next request if it is due at `now`, and before `until` where there is an end. A caller that has no
    /// free connection does not ask.
    pub fn next(&mut self, now: Instant, until: Option<Instant>) -> Next {
        let due = match self {
            Self::Closed => now,
            Self::Constant(constant) => constant.at,
        };
        if until.is_some_and(|until| until <= due) {
            return Next::Never;
        }
        match self {
            Self::Constant(constant) if due <= now => Next::Due(constant.take()),
            Self::Constant(_) => Next::NotBefore(due),
            Self::Closed => Next::Due(now),
        }
    }

    /// How many requests are due before `until`, from `from` on, and were not taken.
    #[must_use]
    pub fn untaken(&self, from: Instant, until: Instant) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Constant(constant) => constant.between(from.max(constant.at), until),
        }
    }

    /// How many requests are due from `from` on and before `until`, taken or not; none in a closed loop, where
    /// that depends on the server.
    #[must_use]
    pub fn offered(&self, from: Instant, until: Instant) -> Option<u64> {
        match self {
            Self::Closed => None,
            Self::Constant(constant) => Some(constant.between(from, until)),
        }
    }
}

/// A fixed rate, kept exactly: whole nanoseconds and a remainder that is carried.
#[derive(Clone, Debug)]
pub struct Constant {
    /// When the next request is due.
    at: Instant,
    /// What is over the whole nanoseconds, in parts of `milli`.
    over: u64,
    /// From one request of this core to the next.
    step_nanos: u64,
    step_over: u64,
    milli: u64,
    start: Instant,
    core: u16,
    cores: u16,
}

impl Constant {
    fn new(rate: Rate, core: u16, cores: u16, start: Instant) -> Self {
        let milli = u128::from(rate.milli);
        let split = |requests: u16| {
            let scaled = u128::from(requests) * MILLI_NANOS;
            ((scaled / milli) as u64, (scaled % milli) as u64)
        };
        let (step_nanos, step_over) = split(cores);
        let (first_nanos, over) = split(core);
        let at = Instant::from_nanos(start.nanos() + first_nanos);
        Self { at, over, step_nanos, step_over, milli: rate.milli, start, core, cores }
    }

    fn take(&mut self) -> Instant {
        let due = self.at;
        self.over += self.step_over;
        let carry = u64::from(self.over >= self.milli);
        self.over -= carry * self.milli;
        self.at = Instant::from_nanos(due.nanos() + self.step_nanos + carry);
        due
    }

    /// How many of this core's requests are due in `[from, until)`.
    fn between(&self, from: Instant, until: Instant) -> u64 {
        self.before(until).saturating_sub(self.before(from))
    }

    /// How many of this core's requests are due before `then`.
    fn before(&self, then: Instant) -> u64 {
        // The i-th request of all is due at floor(i * 10^12 / milli); it is before `then` when i is under
        // ceil(span * milli / 10^12).
        let span = u128::from(then.nanos_since(self.start));
        let all = (span * u128::from(self.milli)).div_ceil(MILLI_NANOS) as u64;
        let (core, cores) = (u64::from(self.core), u64::from(self.cores));
        if all <= core { 0 } else { (all - core).div_ceil(cores) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn rate(milli: u64) -> Option<Rate> {
        Some(Rate { milli })
    }

    fn due_times(pace: &mut Pace, until: u64) -> Vec<u64> {
        let mut all = Vec::new();
        while let Next::Due(due) = pace.next(at(until - 1), None) {
            all.push(due.nanos());
        }
        all
    }

    #[test]
    fn due_times_are_exact_however_late_we_ask() {
        // Three a second: thirds of a second, floored, for ever, without drift.
        let mut pace = Pace::new(rate(3_000), 0, 1, at(100));
        let expected: Vec<u64> = (0..3_000_u64).map(|i| 100 + i * 1_000_000_000 / 3).collect();
        assert_eq!(due_times(&mut pace, 1_000_000_000_100), expected);
        assert_eq!(pace.next(at(1_000_000_000_099), None), Next::NotBefore(at(1_000_000_000_100)));
        assert_eq!(pace.next(at(1_000_000_000_100), Some(at(1_000_000_000_100))), Next::Never);
    }

    #[test]
    fn cores_share_one_sequence() {
        for milli in [7_000, 1_234_567, 199_999_999, 250] {
            let until = 4_000_000_000_000 / milli;
            let mut whole = Pace::new(rate(milli), 0, 1, at(0));
            let mut shared: Vec<u64> = (0..3)
                .flat_map(|core| due_times(&mut Pace::new(rate(milli), core, 3, at(0)), until))
                .collect();
            shared.sort_unstable();
            assert_eq!(shared, due_times(&mut whole, until), "{milli}");
        }
    }

    #[test]
    fn what_is_counted_is_what_is_taken() {
        for milli in [1_000, 333_333, 7_777_777] {
            for core in 0..2 {
                let mut pace = Pace::new(rate(milli), core, 2, at(50));
                for until in [50, 51, 1_000_050, 2_500_000_000] {
                    let left = pace.untaken(at(0), at(until));
                    assert_eq!(left, due_times(&mut pace, until).len() as u64, "{milli} {core} {until}");
                    assert_eq!(pace.untaken(at(0), at(until)), 0);
                }
                let mut again = Pace::new(rate(milli), core, 2, at(50));
                let all = due_times(&mut again, 2_500_000_000).len() as u64;
                assert_eq!(again.offered(at(0), at(2_500_000_000)), Some(all));
            }
        }
    }

    #[test]
    fn a_closed_loop_is_always_due_now() {
        let mut pace = Pace::new(None, 0, 1, at(0));
        assert_eq!(pace.next(at(7), Some(at(8))), Next::Due(at(7)));
        assert_eq!(pace.next(at(8), Some(at(8))), Next::Never);
        assert_eq!(pace.offered(at(0), at(100)), None);
        assert_eq!(pace.untaken(at(0), at(100)), 0);
    }
}
