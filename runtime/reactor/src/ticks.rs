//! A clock for the short distances within a turn: the processor's own counter, set right by the kernel's clock at
//! the begin of each turn.
//!
//! Reading the kernel's clock takes some 40 ns with all that follows, since it waits for what is under way; an event
//! is measured that may take 500. The hard thing is to trust the counter no further than it deserves: it is used only
//! where the kernel itself counts by it, never from one turn to another, and its rate is measured anew each second,
//! between pairs of readings that were not interrupted, so that a machine that was moved is wrong for a second and not
//! for good.

use crate::clock;
use machine::Instant;
use std::time::Duration;

/// The first measure of the rate, and each after it, takes at least so long: what one reading is off by counts for
/// little then.
const FIRST: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_secs(1);
/// Two readings belong together when the counter went no further meanwhile: some 10 µs.
const TOGETHER: u64 = 1 << 15;
/// Binary digits behind the point of the rate.
const POINT: u32 = 32;
/// No turn is longer without a reading of the kernel's clock; the product of so many ticks and the rate fits.
const REACH: u64 = 1 << 31;

/// One moment by both.
#[derive(Clone, Copy, Debug)]
struct Pair {
    at: Instant,
    ticks: u64,
}

/// The clock of one core.
#[derive(Debug)]
pub(crate) struct Ticks {
    is_trusted: bool,
    /// When the turn began.
    turn: Pair,
    /// From when on the rate is measured.
    since: Pair,
    /// Nanoseconds a tick, with [`POINT`] binary digits behind the point; 0 while it is not known.
    rate: u64,
}

impl Ticks {
    pub(crate) fn new() -> Self {
        let is_trusted = is_counted_by_the_kernel();
        let begin = Pair { at: clock::instant(), ticks: if is_trusted { counter() } else { 0 } };
        Self::starting(is_trusted, begin)
    }

    fn starting(is_trusted: bool, begin: Pair) -> Self {
        Self { is_trusted, turn: begin, since: begin, rate: 0 }
    }

    /// A turn begins now, by the kernel's clock.
    #[inline]
    pub(crate) fn begin(&mut self, now: Instant) {
        if !self.is_trusted {
            return;
        }
        self.turn = Pair { at: now, ticks: counter() };
        if self.is_due(now)
            && let Some(pair) = read_together()
        {
            self.measure(pair);
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        now.since(self.since.at) >= if self.rate == 0 { FIRST } else { LATER }
    }

    fn measure(&mut self, now: Pair) {
        let (nanos, ticks) = (now.at.nanos_since(self.since.at), now.ticks.wrapping_sub(self.since.ticks));
        let rate = (u128::from(nanos) << POINT) / u128::from(ticks.max(1));
        // A counter that stood still, or went back, has no rate.
        self.rate = u64::try_from(rate).ok().filter(|rate| *rate < 1 << POINT).unwrap_or(0);
        self.since = now;
    }

    /// What time it is.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.told(if self.is_trusted { counter() } else { 0 }).unwrap_or_else(clock::instant)
    }

    #[inline]
    fn told(&self, counter: u64) -> Option<Instant> {
        let ticks = counter.wrapping_sub(self.turn.ticks);
        let is_known = self.rate > 0 && ticks < REACH;
        is_known.then(|| Instant::from_nanos(self.turn.at.nanos() + ((ticks * self.rate) >> POINT)))
    }
}

/// The counter, not waiting for what is under way: what comes before may still run, some tens of nanoseconds.
#[cfg(target_arch = "x86_64")]
#[inline]
fn counter() -> u64 {
    // SAFETY: reads a register, and is asked only where the kernel lets everybody read it, as it counts by it itself
    // (`is_trusted`).
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn counter() -> u64 {
    0
}

/// One moment by both, unless something came between.
fn read_together() -> Option<Pair> {
    let (before, at, after) = (counter(), clock::instant(), counter());
    (after.wrapping_sub(before) < TOGETHER).then(|| Pair { at, ticks: before + (after - before) / 2 })
}

/// Whether the kernel's own clock is this counter: then it is the same on all cores and runs evenly.
fn is_counted_by_the_kernel() -> bool {
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    cfg!(target_arch = "x86_64") && std::fs::read_to_string(source).is_ok_and(|name| name.trim() == "tsc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(nanos: u64, ticks: u64) -> Pair {
        Pair { at: Instant::from_nanos(nanos), ticks }
    }

    #[test]
    fn within_a_turn_ticks_are_told_in_nanoseconds_once_the_rate_is_known() {
        let mut clock = Ticks::starting(true, pair(1_000, 5_000));
        assert_eq!(clock.told(6_000), None, "no rate is known");
        // Two and a half ticks a nanosecond, measured over 20 ms.
        clock.measure(pair(20_001_000, 50_005_000));
        clock.turn = pair(20_001_000, 50_005_000);
        assert_eq!(clock.told(50_005_000), Some(Instant::from_nanos(20_001_000)));
        let later = clock.told(50_005_000 + 2_500).map(|at| at.nanos_since(Instant::from_nanos(20_001_000)));
        assert!(later.is_some_and(|nanos| nanos.abs_diff(1_000) <= 1), "{later:?}");
        assert_eq!(clock.told(50_005_000 + REACH), None, "too far from the begin of the turn");
        assert_eq!(clock.told(50_004_999), None, "before it");
    }

    #[test]
    fn a_counter_that_stands_still_is_not_believed() {
        let mut clock = Ticks::starting(true, pair(0, 7));
        clock.measure(pair(30_000_000, 7));
        assert_eq!(clock.told(8), None);
        clock.measure(pair(60_000_000, 75_000_007));
        clock.turn = clock.since;
        assert!(clock.told(75_000_009).is_some(), "it runs again");
        clock.measure(pair(2_000_000_000, 3));
        assert_eq!(clock.told(9), None, "it went back");
    }

    #[test]
    fn both_clocks_agree() {
        let mut clock = Ticks::new();
        std::thread::sleep(FIRST * 2);
        // Whatever comes between two readings spoils one try and not the clock.
        let agree = (0..1000).any(|_| {
            clock.begin(clock::instant());
            let (before, now, after) = (clock::instant(), clock.now(), clock::instant());
            let slack = Duration::from_micros(1);
            before.since(now) <= slack && now.since(after) <= slack && (!clock.is_trusted || clock.rate > 0)
        });
        assert!(agree, "{clock:?}");
    }
}
