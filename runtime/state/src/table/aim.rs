//! Aims: where the entry of a key is or would be, worked out once and used for several steps. A look-up alone needs
//! none; who has many keys at hand aims at all of them, [warms](Table::warm) what they will touch, and then looks up
//! each. The hard thing is that an aim must not outlive what it was taken from: it is the number of a slot and a hash,
//! nothing that a change of the table could make wrong.

use super::Table;
use super::warm::bring;
use crate::slot::Slot;
use crate::table::View;
use machine::WallTime;

/// Where the entry of a key is, in the table that aimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aim {
    pub(super) slot: Slot,
    pub(super) hash: u32,
}

impl Aim {
    /// The slot.
    #[must_use]
    #[inline]
    pub const fn slot(self) -> Slot {
        self.slot
    }

    /// The hash of the key: the same for as long as the table lives, and the order of a [scan](Table::scan).
    #[must_use]
    #[inline]
    pub const fn hash(self) -> u32 {
        self.hash
    }
}

impl Table {
    /// Where the entry of a key is, or would be. The first step towards it is made at once: what leads to the slot is
    /// brought near.
    #[must_use]
    #[inline]
    pub fn aim(&self, slot: Slot, key: &[u8]) -> Aim {
        bring(&self.slots[slot.index()]);
        Aim { slot, hash: self.hash(key) }
    }

    /// The value of a key that was aimed at; none if there is none, or it is expired at `now`, and then it is
    /// removed. Marks it as used. What [`Table::get`] finds, without the rest of the entry.
    #[inline]
    pub fn value_at(&mut self, aim: Aim, key: &[u8], now: WallTime) -> Option<View<'_>> {
        let Aim { slot, hash } = aim;
        let (track, chance) = (self.track, &mut self.chance);
        let table = self.slots[slot.index()].as_mut()?;
        let (segment, at) = table.find(hash, key)?;
        let marked = table.segment_mut(segment).mark_used(at, now, |used| used.again(track, chance, now));
        if !marked {
            self.take(slot, segment, at);
            self.expired += 1;
            return None;
        }
        Some(self.slots[slot.index()].as_ref()?.segment(segment).value(at))
    }
}
