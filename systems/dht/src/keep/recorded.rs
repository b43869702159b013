//! The table of a core, of which every change can be recorded as an effect. What only looks goes to the table itself.

use super::effect::{Effect, Entries};
use super::walk::Walk;
use core::ops::{Deref, DerefMut};
use machine::WallTime;
use state::table::Aim;
use state::{Expiry, Slot, Table, Value};

/// A table, and what became of it since the effects were taken.
#[derive(Debug)]
pub(crate) struct Recorded {
    table: Table,
    is_on: bool,
    pub(crate) entries: Entries,
    /// Tells the table as it was when it began.
    walk: Option<Box<Walk>>,
    /// Changes ever made.
    pub(crate) changes: u64,
}

impl Recorded {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, is_on: false, entries: Entries::default(), walk: None, changes: 0 }
    }

    /// From now on changes are recorded.
    pub(crate) fn record(&mut self) {
        self.is_on = true;
    }

    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// The table, with which what is done is not recorded.
    pub(crate) fn unrecorded(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Begins to tell the table as it is now.
    pub(crate) fn begin_walk(&mut self, walk: Walk) {
        self.walk = Some(Box::new(walk));
    }

    pub(crate) fn walk(&mut self) -> Option<&mut Walk> {
        self.walk.as_deref_mut()
    }

    /// Goes on with that, as [`Walk::go_on`] does.
    pub(crate) fn walk_on(&mut self, entries_max: usize, bytes_max: usize) {
        if let Some(walk) = &mut self.walk {
            walk.go_on(&self.table, entries_max, bytes_max);
        }
    }

    pub(crate) fn end_walk(&mut self) -> Option<Box<Walk>> {
        self.walk.take()
    }

    /// This key is about to change.
    #[inline]
    pub(crate) fn before(&mut self, slot: Slot, key: &[u8]) {
        if let Some(walk) = &mut self.walk {
            walk.before(&self.table, slot, key);
        }
    }

    /// Records an effect, if effects are recorded.
    pub(crate) fn note(&mut self, effect: &Effect<'_>) {
        if self.is_on {
            self.entries.effect(effect);
        }
    }

    pub(crate) fn set(
        &mut self,
        slot: Slot,
        key: &[u8],
        value: Value<'_>,
        expiry: Expiry,
        now: WallTime,
    ) -> state::Set {
        self.before(slot, key);
        self.changes += 1;
        if self.is_on {
            self.note_set(slot, key, &value, expiry, now);
        }
        self.table.set(slot, key, value, expiry, now)
    }

    pub(crate) fn set_at(
        &mut self,
        aim: Aim,
        key: &[u8],
        value: Value<'_>,
        expiry: Expiry,
        now: WallTime,
    ) -> state::Set {
        self.before(aim.slot(), key);
        self.changes += 1;
        if self.is_on {
            self.note_set(aim.slot(), key, &value, expiry, now);
        }
        self.table.set_at(aim, key, value, expiry, now)
    }

    fn note_set(&mut self, slot: Slot, key: &[u8], value: &Value<'_>, expiry: Expiry, now: WallTime) {
        let value: &[u8] = match value {
            Value::Bytes(bytes) => bytes,
            Value::Blob(blob) => blob,
        };
        let effect = match expiry {
            Expiry::Never => Effect::Put { key, value, until: None },
            Expiry::At(at) => Effect::Put { key, value, until: Some(at) },
            Expiry::Keep if self.table.peek(slot, key, now).is_some() => Effect::Value { key, value },
            Expiry::Keep => Effect::Put { key, value, until: None },
        };
        self.entries.effect(&effect);
    }

    pub(crate) fn remove(&mut self, slot: Slot, key: &[u8], now: WallTime) -> bool {
        self.before(slot, key);
        let was_there = self.table.remove(slot, key, now);
        if was_there {
            self.changes += 1;
            self.note(&Effect::Del { key });
        }
        was_there
    }

    pub(crate) fn expire_at(&mut self, slot: Slot, key: &[u8], at: Option<WallTime>, now: WallTime) -> bool {
        self.before(slot, key);
        let was_there = self.table.expire_at(slot, key, at, now);
        if was_there {
            self.changes += 1;
            self.note(&Effect::Life { key, until: at });
        }
        was_there
    }

    pub(crate) fn clear(&mut self) {
        if self.is_on {
            let table = &self.table;
            let mut next = table.occupied_from(Slot::default());
            let slots = core::iter::from_fn(|| {
                let slot = next?;
                next = Slot::new(slot.number() + 1).and_then(|from| table.occupied_from(from));
                Some(slot)
            });
            self.entries.flush(slots);
        }
        self.changes += self.table.len() as u64;
        if let Some(walk) = self.walk.as_deref_mut().filter(|walk| !walk.is_over()) {
            walk.is_spoiled = true;
        }
        self.table.clear();
    }
}

impl Deref for Recorded {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.table
    }
}

impl DerefMut for Recorded {
    fn deref_mut(&mut self) -> &mut Table {
        &mut self.table
    }
}
