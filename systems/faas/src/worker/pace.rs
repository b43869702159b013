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

    /// A function ran so long.
    pub fn ran(&mut self, function: FunctionId, ran_us: u64) {
        if self.quick_runs.len() >= FUNCTIONS_MAX && !self.quick_runs.contains_key(&function) {
            self.quick_runs.clear();
        }
        let runs = self.quick_runs.entry(function).or_default();
        *runs = if ran_us < Self::QUICK_US { runs.saturating_add(1) } else { 0 };
        self.mean_us = (7 * self.mean_us + ran_us) / 8;
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
        self.mean_us = self.mean_us.max(20 * Self::QUICK_US);
    }
}
