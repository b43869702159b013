//! The table of a core, of which every change can be recorded as an effect. What only looks goes to the table itself.

use super::effect::{Effect, Entries};
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
}

impl Recorded {
    pub(crate) fn new(table: Table) -> Self {
        Self { table, is_on: false, entries: Entries::default() }
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
        let was_there = self.table.remove(slot, key, now);
        if was_there {
            self.note(&Effect::Del { key });
        }
        was_there
    }

    pub(crate) fn expire_at(&mut self, slot: Slot, key: &[u8], at: Option<WallTime>, now: WallTime) -> bool {
        let was_there = self.table.expire_at(slot, key, at, now);
        if was_there {
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
