//! What goes over a table in pieces: expiry, scans, samples, clearing. Each call does a bounded part, a segment or
//! a few, and the place to go on from is either kept in the table or, for a scan, is a hash: the cursor says which
//! hashes were passed, and since an entry never changes its hash, no growth or removal between calls can make a
//! scan miss or repeat it.

use super::Table;
use super::aim::Aim;
use super::entry::Entry;
use super::hints::Name;
use super::record::NEVER;
use crate::slot::Slot;
use machine::WallTime;

/// What [`Table::expire_some`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// How many entries were removed.
    pub removed: usize,
    /// Whether more may be due already.
    pub more: bool,
}

impl Table {
    /// Removes entries that are expired at `now`, telling slot and key of each. Walks segments of at most
    /// [`MOVES_MAX`](super::MOVES_MAX) entries until `budget` entries were looked at, at least one segment.
    pub fn expire_some(
        &mut self,
        now: WallTime,
        budget: usize,
        mut gone: impl FnMut(Slot, &[u8]),
    ) -> Expired {
        let mut seen = 0;
        let mut removed = 0;
        while let Some(name) = self.hints.due(now) {
            if seen > 0 && seen >= budget {
                return Expired { removed, more: true };
            }
            let before = self.len;
            seen += self.walk_expired(name, now, |key| gone(name.slot, key)).max(1);
            removed += before - self.len;
        }
        Expired { removed, more: false }
    }

    /// When [`Table::expire_some`] next has something to look at: not after the earliest expiry.
    #[must_use]
    pub fn next_expiry(&self) -> Option<WallTime> {
        self.hints.earliest()
    }

    /// Shows some entries of a slot (those of one segment, at most 64) that are not expired at `now`, and returns
    /// the cursor from which to go on: 0 to begin, 0 at the end, under 2^32 between.
    ///
    /// An entry that is there from the first call to the last is shown exactly once, whatever is set and removed
    /// between calls, and no key is ever shown twice. A cursor means the same as long as this `Table` lives; after
    /// a restart, begin again.
    pub fn scan(&self, slot: Slot, cursor: u64, now: WallTime, mut visit: impl FnMut(Entry<'_>)) -> u64 {
        let (Some(table), Ok(from)) = (&self.slots[slot.index()], u32::try_from(cursor)) else { return 0 };
        let (first, last) = table.alike(from);
        let mut index = Some(table.index_of(from));
        while let Some(segment) = index.map(|index| table.segment(index)) {
            (0..segment.len())
                .filter(|at| !segment.record(*at).is_expired(now))
                // A cursor within a segment is from when there were more of them. Rare, so the hash is not kept.
                .filter(|at| from == first || self.hash(segment.key(*at)) >= from)
                .for_each(|at| visit(segment.entry(at, self.track, now)));
            index = segment.next.map(core::num::NonZeroU32::get);
        }
        match last {
            u32::MAX => 0,
            last => u64::from(last) + 1,
        }
    }

    /// Shows the entries of a slot that have the hash of this aim and are not expired at `now`: nearly always one at
    /// most. Looks at one segment.
    pub fn twins(&self, aim: Aim, now: WallTime, mut visit: impl FnMut(Entry<'_>)) {
        let Some(table) = &self.slots[aim.slot.index()] else { return };
        let mut index = Some(table.index_of(aim.hash));
        while let Some(segment) = index.map(|index| table.segment(index)) {
            (0..segment.len())
                .filter(|at| !segment.record(*at).is_expired(now) && self.hash(segment.key(*at)) == aim.hash)
                .for_each(|at| visit(segment.entry(at, self.track, now)));
            index = segment.next.map(core::num::NonZeroU32::get);
        }
    }

    /// The first slot from `from` on, that one included, with an entry, expired ones counted. O([`Slot::COUNT`]).
    #[must_use]
    pub fn occupied_from(&self, from: Slot) -> Option<Slot> {
        Slot::all().skip(from.index()).find(|slot| self.slots[slot.index()].is_some())
    }

    /// Empties a slot at once. The memory is given back by [`Table::free_some`]. Returns how many entries it had.
    pub fn clear_slot(&mut self, slot: Slot) -> usize {
        let Some(table) = self.slots[slot.index()].take() else { return 0 };
        let len = table.len;
        self.len -= len;
        self.expiring -= table.expiring;
        self.bytes -= table.bytes;
        self.buried.push((slot, table));
        len
    }

    /// Empties all slots at once: O([`Slot::COUNT`]). The memory is given back by [`Table::free_some`].
    pub fn clear(&mut self) {
        for slot in Slot::all() {
            self.clear_slot(slot);
        }
        self.roster.clear();
    }

    /// Frees up to `budget` segments, of at most 64 entries each, of what was cleared or has run
    /// empty. True when more are left. Call it now and then.
    pub fn free_some(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            let Some((slot, table)) = self.buried.last_mut() else { return false };
            let mut name = Name { slot: *slot, table: table.id, segment: table.segments() as u32 - 1 };
            match table.free_one() {
                Some(mut segment) => self.hints.set(name, &mut segment, NEVER),
                None => {
                    name.segment = 0;
                    self.hints.set(name, table.segment_mut(0), NEVER);
                    self.buried.pop();
                }
            }
        }
        !self.buried.is_empty()
    }

    /// Takes what is expired out of one segment, telling the keys. Returns how many entries were looked at.
    fn walk_expired(&mut self, name: Name, now: WallTime, gone: impl FnMut(&[u8])) -> usize {
        let Some(segment) = self.named(name) else {
            // Of a table that was cleared and is not freed yet.
            self.hints.forget_first();
            return 1;
        };
        let walked = segment.len();
        let mut removed = 0;
        self.change(name.slot, name.segment, NEVER, |segment| {
            let (count, moved) = segment.take_expired(now, gone);
            removed = count;
            moved
        });
        self.expired += removed as u64;
        if let Some(table) = &mut self.slots[name.slot.index()] {
            let segment = table.segment_mut(name.segment);
            let earliest = segment.earliest();
            self.hints.set(name, segment, earliest);
        }
        self.let_go_if_empty(name.slot);
        walked
    }
}
