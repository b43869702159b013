//! The counters of one core.
//!
//! Names come from clients, so there must be a bound on how many: past it a new name is refused and the known
//! ones go on. Which core owns a name is decided here too, by a hash that is the same everywhere.

use machine::{CoreId, Seat};
use std::collections::BTreeMap;

/// The most counters a core keeps: some hundred MiB at the longest names.
pub const COUNTERS_MAX: usize = 1 << 20;

/// Why nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A name has at least one byte.
    Nameless,
    /// This core keeps [`COUNTERS_MAX`] counters already.
    Full,
}

/// Counters by name.
#[derive(Debug, Default)]
pub struct Counters {
    values: BTreeMap<Box<[u8]>, u64>,
}

impl Counters {
    /// Adds one to the counter called `name`, which begins at 0, and gives its new value.
    ///
    /// # Errors
    /// [`Refused`]; nothing has changed then.
    pub fn next(&mut self, name: &[u8]) -> Result<u64, Refused> {
        if let Some(value) = self.values.get_mut(name) {
            *value += 1;
            return Ok(*value);
        }
        if name.is_empty() {
            return Err(Refused::Nameless);
        }
        if self.values.len() >= COUNTERS_MAX {
            return Err(Refused::Full);
        }
        self.values.insert(name.into(), 1);
        Ok(1)
    }

    /// How many counters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether nothing was counted yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

/// The core that owns the counter called `name`: the same on every core and in every run.
#[must_use]
pub fn owner(name: &[u8], seat: Seat) -> CoreId {
    let core = state::hash::hash64(name, 0) % u64::from(seat.cores);
    CoreId(core as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::NodeId;

    #[test]
    fn a_counter_counts_from_one_and_alone() {
        let mut counters = Counters::default();
        assert_eq!(counters.next(b"apples"), Ok(1));
        assert_eq!(counters.next(b"apples"), Ok(2));
        assert_eq!(counters.next(b"pears"), Ok(1));
        assert_eq!(counters.len(), 2);
    }

    #[test]
    fn nothing_is_counted_without_a_name() {
        let mut counters = Counters::default();
        assert_eq!(counters.next(b""), Err(Refused::Nameless));
        assert!(counters.is_empty());
    }

    #[test]
    fn every_core_owns_some_names_and_all_agree() {
        let seat = |core| Seat { node: NodeId(0), core: CoreId(core), cores: 4 };
        let names: Vec<String> = (0..100).map(|number| format!("name-{number}")).collect();
        let owners: Vec<CoreId> = names.iter().map(|name| owner(name.as_bytes(), seat(0))).collect();
        assert!(seat(0).all_cores().all(|core| owners.contains(&core)), "{owners:?}");
        assert!(names.iter().zip(&owners).all(|(name, found)| owner(name.as_bytes(), seat(3)) == *found));
    }
}
