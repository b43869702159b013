//! Over all keys of a core: pages of SCAN, the keys of KEYS, one by chance.

use super::Store;
use machine::{Stream, WallTime};
use state::Slot;

/// Entries that are drawn until one is found that has not expired; each that has is removed.
const DRAWS_MAX: usize = 1024;

impl Store {
    /// Shows about `count` keys from a place on, and gives the place to go on from; none at the end. What is there
    /// throughout is shown exactly once, whatever changes in between. `visit` says whether to go on.
    pub fn page(
        &self,
        mut slot: Slot,
        mut cursor: u64,
        count: u64,
        now: WallTime,
        mut visit: impl FnMut(&[u8]) -> bool,
    ) -> Option<(Slot, u64)> {
        let (mut seen, mut goes_on) = (0, true);
        loop {
            if cursor == 0 {
                slot = self.table.occupied_from(slot)?;
            }
            cursor = self.table.scan(slot, cursor, now, |entry| {
                seen += 1;
                goes_on = visit(entry.key);
            });
            if cursor == 0 {
                slot = Slot::new(slot.number() + 1)?;
            }
            if seen >= count || !goes_on {
                return Some((slot, cursor));
            }
        }
    }

    /// Some key.
    pub fn sample(&mut self, chance: &mut Stream, now: WallTime) -> Option<Vec<u8>> {
        for _ in 0..DRAWS_MAX {
            let (slot, entry) = self.table.sample(chance)?;
            let key = entry.key.to_vec();
            if self.table.get(slot, &key, now).is_some() {
                return Some(key);
            }
        }
        None
    }
}
