//! The books: whatever changes a segment goes through here, so that counts, bytes and hints are always right, a full
//! segment is split and an empty table let go.

use super::hints::Name;
use super::record::NEVER;
use super::segment::Segment;
use super::slot_table::SlotTable;
use super::{FREED_AT_ONCE_MAX, Table, hash_by, named};
use crate::slot::Slot;

impl Table {
    /// Finds a segment with room for an entry of that hash, or makes one.
    pub(super) fn make_room(&mut self, slot: Slot, hash: u32) -> u32 {
        let made = &mut self.tables_made;
        let before = self.slots[slot.index()].as_ref().map_or(0, |table| table.bytes);
        let is_new = before == 0;
        let table = self.slots[slot.index()].get_or_insert_with(|| {
            *made = made.wrapping_add(1);
            Box::new(SlotTable::new(*made))
        });
        let id = table.id;
        let mut come = None;
        // Once, unless all 64 fall into the same half.
        let index = loop {
            let index = table.open_index(hash);
            if !table.segment(index).is_full() {
                break index;
            }
            if !table.can_split(index) {
                break *come.insert(table.follow(index));
            }
            let (new, moved) = table.split(hash, |key| hash_by(&self.hasher, key));
            self.moved += moved as u64;
            for half in [index, new] {
                let segment = table.segment_mut(half);
                let earliest = segment.earliest();
                self.hints.set(Name { slot, table: id, segment: half }, segment, earliest);
            }
            come = Some(new);
        };
        self.bytes = self.bytes + table.bytes - before;
        for segment in is_new.then_some(0).into_iter().chain(come) {
            self.roster.add(Name { slot, table: id, segment }, |name| named(&self.slots, name).is_some());
        }
        index
    }

    /// Takes an entry out and, with the last one, the slot's table.
    pub(super) fn take(&mut self, slot: Slot, segment: u32, at: usize) {
        let deadline = self.deadline_of(slot, segment, at).unwrap_or(NEVER);
        self.change(slot, segment, NEVER, |segment| segment.remove(at));
        self.hint_anew(slot, segment, deadline);
        self.let_go_if_empty(slot);
    }

    /// Changes a segment, after which an entry in it may have this deadline. Puts the sums and the hint right; the
    /// change returns how many entries moved.
    pub(super) fn change(
        &mut self,
        slot: Slot,
        segment: u32,
        deadline: u64,
        change: impl FnOnce(&mut Segment) -> usize,
    ) {
        let Some(table) = &mut self.slots[slot.index()] else { return };
        let (len, expiring, bytes) = (table.len, table.expiring, table.bytes);
        self.moved += table.change(segment, change) as u64;
        self.len = self.len + table.len - len;
        self.expiring = self.expiring + table.expiring - expiring;
        self.bytes = self.bytes + table.bytes - bytes;
        let name = Name { slot, table: table.id, segment };
        let segment = table.segment_mut(segment);
        self.hints.not_after(name, segment, deadline);
        self.hints.forget_if_idle(name, segment);
    }

    /// Looks up which entry of a segment now expires first, if it was one with this deadline. Expiry would come to it
    /// by itself; eviction by expiry needs to know now.
    pub(super) fn hint_anew(&mut self, slot: Slot, segment: u32, deadline: u64) {
        let Some(table) = &mut self.slots[slot.index()] else { return };
        let name = Name { slot, table: table.id, segment };
        let segment = table.segment_mut(segment);
        if deadline != NEVER && segment.walk_at == deadline {
            let earliest = segment.earliest();
            self.hints.set(name, segment, earliest);
        }
    }

    /// Lets go of a slot's table when it is empty.
    pub(super) fn let_go_if_empty(&mut self, slot: Slot) {
        let place = &mut self.slots[slot.index()];
        let Some(table) = place.take_if(|table| table.len == 0) else { return };
        self.bytes -= table.bytes;
        if table.segments() > FREED_AT_ONCE_MAX {
            self.buried.push((slot, table));
        }
    }
}
