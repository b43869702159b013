//! When each request was due. At a fixed rate that is arithmetic from the start of the run and nothing else: what
//! the server does, and how late we are, never moves a due time. A request that cannot be sent when it is due
//! (every connection waits, or the generator was late) keeps its due time, so its wait is counted; forgetting
//! that is what is called coordinated omission.
//!
//! In a closed loop a request is due when a connection is found free to carry it.
//!
//! Arrivals at a fixed rate are evenly spaced, or those of a Poisson process: independent of each other, as those
//! of many people are. Each core's process has its own stream of chance; together they are one of the whole rate.

use crate::units::Rate;
use machine::{Instant, Stream};

/// Nanoseconds in a second, in thousandths: what one request a second, in thousandths, is divided into.
const MILLI_NANOS: u128 = 1_000_000_000_000;

/// The due times of one core's requests.
#[derive(Clone, Debug)]
pub enum Pace {
    /// As soon as a connection is free.
    Closed,
    /// At a fixed rate, evenly spaced.
    Constant(Constant),
    /// At a fixed mean rate, independent of each other.
    Poisson(Poisson),
}

/// How arrivals at a fixed rate are spaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Arrival {
    /// Evenly.
    #[default]
    Constant,
    /// As those of many who know nothing of each other.
    Poisson,
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

    /// Independent arrivals at this rate over all cores, from `start` on, drawn from a stream of this core's own.
    #[must_use]
    pub fn poisson(rate: Rate, cores: u16, start: Instant, stream: Stream) -> Self {
        Self::Poisson(Poisson::new(rate, cores, start, stream))
    }

    /// Takes the next request if it is due at `now`, and before `until` where there is an end. A caller that has no
    /// free connection does not ask.
    pub fn next(&mut self, now: Instant, until: Option<Instant>) -> Next {
        let due = match self {
            Self::Closed => now,
            Self::Constant(constant) => constant.at,
            Self::Poisson(poisson) => poisson.at,
        };
        if until.is_some_and(|until| until <= due) {
            return Next::Never;
        }
        match self {
            Self::Constant(constant) if due <= now => Next::Due(constant.take()),
            Self::Poisson(poisson) if due <= now => Next::Due(poisson.take()),
            Self::Constant(_) | Self::Poisson(_) => Next::NotBefore(due),
            Self::Closed => Next::Due(now),
        }
    }

    /// How many requests are due before `until`, from `from` on, and were not taken.
    #[must_use]
    pub fn untaken(&self, from: Instant, until: Instant) -> u64 {
        match self {
            Self::Closed => 0,
            Self::Constant(constant) => constant.between(from.max(constant.at), until),
            Self::Poisson(poisson) => poisson.left(from, until),
        }
    }

    /// Whether it is at a fixed rate, where what is offered does not depend on the server.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Closed => false,
            Self::Constant(_) | Self::Poisson(_) => true,
        }
    }
}

/// A Poisson process: gaps that are exponential, from a stream of chance.
#[derive(Clone, Debug)]
pub struct Poisson {
    /// When the next request is due.
    at: Instant,
    /// The same in nanoseconds since the start, with its fraction, so that nothing drifts.
    since: f64,
    gap_nanos: f64,
    start: Instant,
    stream: Stream,
}

impl Poisson {
    fn new(rate: Rate, cores: u16, start: Instant, stream: Stream) -> Self {
        let gap_nanos = 1e9 * f64::from(cores) / rate.per_second();
        let mut poisson = Self { at: start, since: 0.0, gap_nanos, start, stream };
        poisson.take();
        poisson
    }

    fn take(&mut self) -> Instant {
        let due = self.at;
        self.since += -(1.0 - self.stream.unit()).ln() * self.gap_nanos;
        self.at = Instant::from_nanos(self.start.nanos() + self.since as u64);
        due
    }

    /// How many not taken are due in `[from, until)`: found by drawing them. That takes some 20 ns each, and there
    /// are many only when a server has fallen far behind.
    fn left(&self, from: Instant, until: Instant) -> u64 {
        let mut ahead = self.clone();
        let mut count = 0;
        while ahead.at < until {
            count += u64::from(ahead.take() >= from);
        }
        count
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
            }
        }
    }

    #[test]
    fn a_closed_loop_is_always_due_now() {
        let mut pace = Pace::new(None, 0, 1, at(0));
        assert_eq!(pace.next(at(7), Some(at(8))), Next::Due(at(7)));
        assert_eq!(pace.next(at(8), Some(at(8))), Next::Never);
        assert_eq!(pace.untaken(at(0), at(100)), 0);
    }

    #[test]
    fn poisson_arrivals_are_as_many_and_as_uneven_as_chance_makes_them() {
        let stream = || machine::Chance::new(5).stream("arrivals");
        let second = 1_000_000_000;
        let mut pace = Pace::poisson(Rate { milli: 10_000_000 }, 1, at(7), stream());
        assert_eq!(pace.untaken(at(0), at(7)), 0);
        let left = pace.untaken(at(7 + 10 * second), at(7 + 20 * second));
        let all = due_times(&mut pace, 7 + 20 * second);
        assert_eq!(left as usize, all.iter().filter(|due| **due >= 7 + 10 * second).count());
        // 200,000 expected, with a deviation of its root.
        assert!(all.len().abs_diff(200_000) < 2_000, "{}", all.len());
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((deviation / mean - 1.0).abs() < 0.02, "exponential gaps deviate by their mean");
        let mut same = Pace::poisson(Rate { milli: 10_000_000 }, 1, at(7), stream());
        assert_eq!(due_times(&mut same, 7 + second), all[..all.partition_point(|due| *due < 7 + second)]);
    }
}
