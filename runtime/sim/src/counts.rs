//! How often each thing happened in a run: events told, faults injected. A test that meant to exercise something
//! and did not is a test that cannot fail, so it asserts that nothing it names is zero.

use core::fmt;
use std::collections::BTreeMap;

/// How often, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    by_name: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Nothing happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How often that happened.
    #[must_use]
    pub fn of(&self, name: &str) -> u64 {
        self.by_name.get(name).copied().unwrap_or(0)
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Counts) {
        for (name, count) in &other.by_name {
            *self.by_name.entry(name).or_default() += count;
        }
    }

    /// Fails when one of these never happened. One seed run alone, by `RINGWISE_SEED`, need not exercise everything.
    ///
    /// # Panics
    /// With all that never happened and all that did.
    #[track_caller]
    pub fn assert_all(&self, names: &[&str]) {
        if crate::seeds::is_one_alone() {
            return;
        }
        let never: Vec<_> = names.iter().filter(|name| self.of(name) == 0).collect();
        assert!(never.is_empty(), "never exercised: {never:?}\nexercised:\n{self}");
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        *self.by_name.entry(name).or_default() += 1;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.by_name {
            writeln!(f, "{count:>10} {name}")?;
        }
        Ok(())
    }
}
