//! How long functions have run here: whether a task of one can be sent ahead to a slot that still runs another.

use crate::dispatch::FunctionId;
use core::time::Duration;
use std::collections::BTreeMap;

/// Functions whose pace is known; with one more, all are learnt again.
const FUNCTIONS_MAX: usize = 4096;

/// A function is quick when so many runs in a row were.
const RUNS: u32 = 8;

/// The pace of functions, and of them all.
#[derive(Debug, Default)]
pub struct Pace {
    quick_runs: BTreeMap<FunctionId, u32>,
    /// Of all tasks, a mean in which the last count most, in microseconds.
    mean_us: u64,
    runs: u32,
}

impl Pace {
    /// What ran shorter is quick: waiting for it costs less than being told of the next.
    pub const QUICK: Duration = Duration::from_millis(1);

    const QUICK_US: u64 = 1000;

    /// What ran longer counts as this, in microseconds, so that a long run is soon forgotten.
    const SLOW_US: u64 = 20 * Self::QUICK_US;

    /// A function ran so long.
    pub fn ran(&mut self, function: FunctionId, ran_us: u64) {
        if self.quick_runs.len() >= FUNCTIONS_MAX && !self.quick_runs.contains_key(&function) {
            self.quick_runs.clear();
        }
        let runs = self.quick_runs.entry(function).or_default();
        *runs = if ran_us < Self::QUICK_US { runs.saturating_add(1) } else { 0 };
        self.mean_us = (7 * self.mean_us + ran_us.min(Self::SLOW_US)) / 8;
        self.runs = self.runs.saturating_add(1);
    }

    /// Whether its next run can be expected to be quick.
    #[must_use]
    pub fn is_quick_function(&self, function: FunctionId) -> bool {
        self.quick_runs.get(&function).is_some_and(|runs| *runs >= RUNS)
    }

    /// Whether tasks are quick, taken together.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.runs >= RUNS && self.mean_us < Self::QUICK_US
    }

    /// Nothing moved for a while: whatever runs is not quick.
    pub fn stuck(&mut self) {
        self.mean_us = self.mean_us.max(Self::SLOW_US);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: FunctionId = FunctionId([1; 16]);
    const SLOW: FunctionId = FunctionId([2; 16]);

    #[test]
    fn a_function_is_quick_once_it_was_so_often_enough_and_until_it_is_not() {
        let mut pace = Pace::default();
        for run in 0..RUNS {
            assert!(!pace.is_quick_function(QUICK) && !pace.is_quick(), "run {run}");
            pace.ran(QUICK, 5);
        }
        assert!(pace.is_quick_function(QUICK) && pace.is_quick());
        pace.ran(QUICK, 1000);
        assert!(!pace.is_quick_function(QUICK) && pace.is_quick(), "one is not all");
    }

    #[test]
    fn one_long_run_or_a_halt_is_remembered_for_a_while() {
        let mut pace = Pace::default();
        for halt in [true, false] {
            (0..64).for_each(|_| pace.ran(QUICK, 5));
            assert!(pace.is_quick());
            if halt {
                pace.stuck();
            } else {
                pace.ran(SLOW, 60_000_000);
            }
            assert!(!pace.is_quick());
        }
        (0..64).for_each(|_| pace.ran(QUICK, 5));
        assert!(pace.is_quick() && !pace.is_quick_function(SLOW));
    }

    #[test]
    fn functions_known_are_bounded() {
        let mut pace = Pace::default();
        for number in 0..3 * FUNCTIONS_MAX as u32 {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_le_bytes());
            pace.ran(FunctionId(id), 5);
        }
        assert!(pace.quick_runs.len() <= FUNCTIONS_MAX);
    }
}
