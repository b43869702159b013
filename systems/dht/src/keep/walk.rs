//! The table of a core as it was at one moment, told in pieces while it goes on changing. It walks slot by slot in the
//! order of hashes; a key that is about to change and was not passed yet is told first, as it was.
//!
//! The hard thing is to tell each key once, with one look more for a write and little memory. What was told ahead is
//! remembered by slot and hash alone, so with a key all others of that hash are told, and the walk leaves out whatever
//! has such a hash: those keys are told already, or they came later.

use super::effect::{Effect, Entries};
use machine::WallTime;
use state::table::Aim;
use state::{Entry, Slot, Table};
use std::collections::BTreeSet;

/// Before anything expires: what lies in the table is told, so that no clock decides what a snapshot holds.
const THEN: WallTime = WallTime::from_micros(0);

/// A walk under way.
#[derive(Debug)]
pub(crate) struct Walk {
    /// The slot at hand, and from which hash on it was not passed. None when all are.
    slot: Option<Slot>,
    cursor: u64,
    /// What was told ahead, by slot and hash.
    ahead: BTreeSet<u64>,
    /// Told and not taken.
    pub(crate) told: Entries,
    /// Keys told, and those of them that were about to change.
    pub(crate) keys: u64,
    pub(crate) changed: u64,
    /// Everything was removed at once, and so could not be told first.
    pub(crate) is_spoiled: bool,
}

impl Walk {
    /// Begins at this moment: the snapshot of this number of the table of a core that has these slots.
    pub(crate) fn new(number: u64, slots: impl Iterator<Item = Slot>) -> Self {
        let mut told = Entries::default();
        told.snapshot(number);
        // What was kept before of these slots is replaced by what follows.
        told.flush(slots);
        Self {
            slot: Some(Slot::default()),
            cursor: 0,
            ahead: BTreeSet::new(),
            told,
            keys: 0,
            changed: 0,
            is_spoiled: false,
        }
    }

    /// Whether every slot was passed.
    pub(crate) fn is_over(&self) -> bool {
        self.slot.is_none()
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.told.bytes().len() + self.ahead.len() * size_of::<u64>() * 3 / 2
    }

    /// This key is about to change.
    pub(crate) fn before(&mut self, table: &Table, slot: Slot, key: &[u8]) {
        let aim = table.aim(slot, key);
        if self.has_passed(aim) || !self.ahead.insert(bits(aim)) {
            return;
        }
        let (told, mut count) = (&mut self.told, 0);
        table.twins(aim, THEN, |entry| {
            count += 1;
            told.effect(&put(&entry));
        });
        self.keys += count;
        self.changed += count;
    }

    /// Goes on until about so many entries were looked at, or so many bytes wait to be taken.
    pub(crate) fn go_on(&mut self, table: &Table, entries_max: usize, bytes_max: usize) {
        let mut seen = 0;
        while seen < entries_max && self.told.bytes().len() < bytes_max {
            let Some(slot) = self.slot.and_then(|slot| table.occupied_from(slot)) else {
                self.slot = None;
                self.ahead.clear();
                return;
            };
            if self.slot != Some(slot) {
                (self.slot, self.cursor) = (Some(slot), 0);
            }
            let (ahead, told, mut keys) = (&self.ahead, &mut self.told, 0);
            self.cursor = table.scan(slot, self.cursor, THEN, |entry| {
                seen += 1;
                if ahead.is_empty() || !ahead.contains(&bits(table.aim(slot, entry.key))) {
                    keys += 1;
                    told.effect(&put(&entry));
                }
            });
            self.keys += keys;
            if self.cursor == 0 {
                self.slot = Slot::new(slot.number() + 1);
                let next = (u64::from(slot.number()) + 1) << 32;
                self.ahead = self.ahead.split_off(&next);
            }
            // Each segment is a wait for memory, also one with few entries.
            seen += 1;
        }
    }

    fn has_passed(&self, aim: Aim) -> bool {
        match self.slot {
            None => true,
            Some(slot) => aim.slot() < slot || (aim.slot() == slot && u64::from(aim.hash()) < self.cursor),
        }
    }
}

fn bits(aim: Aim) -> u64 {
    u64::from(aim.slot().number()) << 32 | u64::from(aim.hash())
}

fn put<'a>(entry: &Entry<'a>) -> Effect<'a> {
    Effect::Put { key: entry.key, value: entry.as_bytes(), until: entry.expiry }
}

#[cfg(test)]
mod tests {
    use super::super::effect::{Entry as Told, Reader};
    use super::*;
    use machine::{Chance, Stream};
    use state::{Expiry, Value};
    use std::collections::BTreeMap;

    type Found = BTreeMap<Vec<u8>, (Vec<u8>, Option<WallTime>)>;

    fn change(table: &mut Table, walk: Option<&mut Walk>, draw: &mut Stream) {
        let key = format!("{{{}}}{}", draw.below(5), draw.below(300)).into_bytes();
        let slot = Slot::of(&key);
        if let Some(walk) = walk {
            walk.before(table, slot, &key);
        }
        let value = vec![b'v'; draw.below(300) as usize];
        match draw.below(6) {
            0 => drop(table.remove(slot, &key, THEN)),
            1 => drop(table.expire_at(slot, &key, Some(WallTime::from_micros(draw.below(9))), THEN)),
            2 => {
                if let Some(bytes) = table.get_mut(slot, &key, THEN) {
                    bytes.fill(b'w');
                }
            }
            _ => drop(table.set(slot, &key, Value::Bytes(&value), Expiry::Never, THEN)),
        }
    }

    fn all(table: &Table) -> Found {
        let mut found = Found::new();
        for slot in Slot::all() {
            let mut cursor = 0;
            loop {
                cursor = table.scan(slot, cursor, THEN, |entry| {
                    found.insert(entry.key.to_vec(), (entry.as_bytes().to_vec(), entry.expiry));
                });
                if cursor == 0 {
                    break;
                }
            }
        }
        found
    }

    fn take(walk: &mut Walk, into: &mut Found) {
        for entry in Reader::new(walk.told.bytes()) {
            if let Told::Effect(Effect::Put { key, value, until }) = entry {
                let before = into.insert(key.to_vec(), (value.to_vec(), until));
                assert_eq!(before, None, "told twice: {}", key.escape_ascii());
            }
        }
        walk.told.clear();
    }

    #[test]
    fn what_is_told_is_what_was_there_at_the_beginning_whatever_changes_meanwhile() {
        for seed in 0..60 {
            let mut draw = Chance::new(seed).stream("changes");
            let mut table = Table::new(&mut Chance::new(seed).stream("look-ups"));
            for _ in 0..draw.below(1500) {
                change(&mut table, None, &mut draw);
            }
            let expected = all(&table);
            let mut walk = Walk::new(1, Slot::all());
            let mut found = Found::new();
            while !walk.is_over() {
                for _ in 0..draw.below(30) {
                    change(&mut table, Some(&mut walk), &mut draw);
                }
                walk.go_on(&table, draw.below(60) as usize, 1 << 20);
                if draw.below(3) == 0 {
                    take(&mut walk, &mut found);
                }
            }
            take(&mut walk, &mut found);
            assert!(found == expected, "seed {seed}: {} of {}", found.len(), expected.len());
            assert_eq!(walk.keys, expected.len() as u64);
            change(&mut table, Some(&mut walk), &mut draw);
            assert!(walk.told.is_empty(), "it is over");
        }
    }

    #[test]
    fn a_key_that_changes_unseen_would_be_found_out() {
        let mut draw = Chance::new(1).stream("changes");
        let mut table = Table::new(&mut Chance::new(1).stream("look-ups"));
        (0..1000).for_each(|_| change(&mut table, None, &mut draw));
        let expected = all(&table);
        let mut walk = Walk::new(1, Slot::all());
        let mut found = Found::new();
        while !walk.is_over() {
            (0..20).for_each(|_| change(&mut table, None, &mut draw));
            walk.go_on(&table, 20, 1 << 20);
            take(&mut walk, &mut found);
        }
        assert!(found != expected);
    }
}
