//! The table of a core: a small table for each slot it owns, in an array of all slots. A slot is thereby the unit
//! of move, count, snapshot and scan, and growth is nearly free: no call moves more than [`MOVES_MAX`] entries,
//! however many there are. The hard thing is to keep that promise everywhere: growing splits one segment of a
//! slot, expiry walks one segment at a time, and what is cleared is only set aside and freed bit by bit.
//!
//! The hash of look-ups is keyed at start, because clients choose the keys. The order of a scan follows from seed
//! and history alone.

mod aim;
mod books;
mod chunks;
mod entry;
mod evict;
mod hints;
mod large;
mod record;
mod room;
mod roster;
mod segment;
mod slot_table;
mod usage;
mod walk;
mod warm;

pub use aim::Aim;
pub use entry::{ENTRY_OVERHEAD, Entry, Value, View};
pub use evict::Policy;
pub use usage::Track;
pub use walk::Expired;
pub use warm::{WARM_MAX, Warming};

use crate::slot::Slot;
use ahash::RandomState;
use core::hash::{BuildHasher, Hasher};
use hints::{Hints, Name};
use machine::{Stream, WallTime};
use record::NEVER;
use roster::Roster;
use segment::{SEGMENT_ENTRIES_MAX, Segment};
use slot_table::SlotTable;
use usage::Usage;

/// The most entries that one call moves, [`Table::expire_some`] for each segment it walks. (A hash whose leading
/// 24 bits some 64 others share would break it; with keyed hashes nobody can find one.)
pub const MOVES_MAX: usize = SEGMENT_ENTRIES_MAX;

/// A table that ran empty is freed at once up to so many segments, else bit by bit: some ten microseconds.
const FREED_AT_ONCE_MAX: usize = 256;

/// Until when a value that is being set lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Until it is removed.
    Never,
    /// As long as the value that was there before; until removed if there was none.
    Keep,
    /// It is gone from then on.
    At(WallTime),
}

/// What [`Table::set`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// There was no such key.
    New,
    /// Its value was another one.
    Replaced,
}

/// All entries of a core, by slot.
#[derive(Debug)]
pub struct Table {
    slots: Box<[Option<Box<SlotTable>>]>,
    hasher: RandomState,
    hints: Hints,
    roster: Roster,
    track: Track,
    /// Decides whether a use counts, while frequency is tracked.
    chance: Stream,
    /// Tables that were cleared and are freed bit by bit, with the slots they had.
    buried: Vec<(Slot, Box<SlotTable>)>,
    tables_made: u32,
    len: usize,
    expiring: usize,
    bytes: usize,
    expired: u64,
    moved: u64,
}

impl Table {
    /// An empty table for any slots: an unused slot costs eight bytes. The hash is keyed from `keys`, which in a
    /// process must come from the system and in a simulation from the seed.
    #[must_use]
    pub fn new(keys: &mut Stream) -> Self {
        let [a, b, c, d] = core::array::from_fn(|_| keys.next_u64());
        Self {
            slots: no_slots(),
            hasher: RandomState::with_seeds(a, b, c, d),
            hints: Hints::default(),
            roster: Roster::default(),
            track: Track::default(),
            chance: keys.clone(),
            buried: Vec::new(),
            tables_made: 0,
            len: 0,
            expiring: 0,
            bytes: 0,
            expired: 0,
            moved: 0,
        }
    }

    /// Says what is noted at each use. What was noted of the other kind before means nothing any more, so say it at
    /// start, or accept some minutes of poor choices.
    pub fn track(&mut self, track: Track) {
        self.track = track;
    }

    /// The entry of a key. One that is expired at `now` is absent and removed. Marks it as used.
    #[inline]
    pub fn get(&mut self, slot: Slot, key: &[u8], now: WallTime) -> Option<Entry<'_>> {
        let (segment, at) = self.find_used(slot, key, now)?;
        Some(self.slots[slot.index()].as_ref()?.segment(segment).entry(at, self.track, now))
    }

    /// The entry of a key, changing nothing: not when it was used, and if expired at `now` it is absent but stays.
    #[must_use]
    pub fn peek(&self, slot: Slot, key: &[u8], now: WallTime) -> Option<Entry<'_>> {
        let (segment, at) = self.find(slot, self.hash(key), key)?;
        let segment = self.slots[slot.index()].as_ref()?.segment(segment);
        (!segment.record(at).is_expired(now)).then(|| segment.entry(at, self.track, now))
    }

    /// The bytes of a value, to be changed where they lie; none for a missing key and for a blob, which others may
    /// share. Marks it as used.
    pub fn get_mut(&mut self, slot: Slot, key: &[u8], now: WallTime) -> Option<&mut [u8]> {
        let (segment, at) = self.find_used(slot, key, now)?;
        self.slots[slot.index()].as_mut()?.segment_mut(segment).value_mut(at)
    }

    /// Sets the value of a key. An expiry that is over already is taken as it is: the entry is absent at once.
    ///
    /// `value` is copied, except a blob of at least `BLOB_MIN` bytes, which is shared; longer plain bytes become
    /// a blob, so that they are copied only once.
    pub fn set(&mut self, slot: Slot, key: &[u8], value: Value<'_>, expiry: Expiry, now: WallTime) -> Set {
        self.set_at(self.aim(slot, key), key, value, expiry, now)
    }

    /// [`Table::set`] of a key that was aimed at.
    #[inline]
    pub fn set_at(&mut self, aim: Aim, key: &[u8], value: Value<'_>, expiry: Expiry, now: WallTime) -> Set {
        let Aim { slot, hash } = aim;
        let Some((segment, at)) = self.find(slot, hash, key) else {
            let deadline = Self::deadline_by(expiry, NEVER);
            let segment = self.make_room(slot, hash);
            let used = Usage::fresh(self.track, now);
            self.change(slot, segment, deadline, |segment| segment.push(hash, key, value, deadline, used));
            return Set::New;
        };
        let before = self.deadline_of(slot, segment, at).unwrap_or(NEVER);
        if self.mark_used(slot, segment, at, now) {
            let deadline = Self::deadline_by(expiry, before);
            self.replace(slot, segment, at, key, value, deadline);
            return Set::Replaced;
        }
        // An expired entry is absent; that it still lies there only saves the room for the new one.
        self.expired += 1;
        let deadline = Self::deadline_by(expiry, NEVER);
        let used = Usage::fresh(self.track, now);
        self.change(slot, segment, deadline, |segment| segment.replace(at, key, value, deadline, used));
        Set::New
    }

    /// Removes a key. True when it was there and not expired at `now`.
    pub fn remove(&mut self, slot: Slot, key: &[u8], now: WallTime) -> bool {
        match self.find_live(slot, self.hash(key), key, now) {
            Some((segment, at)) => {
                self.take(slot, segment, at);
                true
            }
            None => false,
        }
    }

    /// Sets or, with none, lifts the expiry of a key. False when there is no such key at `now`.
    pub fn expire_at(&mut self, slot: Slot, key: &[u8], at: Option<WallTime>, now: WallTime) -> bool {
        match self.find_live(slot, self.hash(key), key, now) {
            Some((segment, place)) => {
                let deadline = at.map_or(NEVER, WallTime::micros);
                self.change(slot, segment, deadline, |segment| segment.set_deadline(place, deadline));
                true
            }
            None => false,
        }
    }

    /// How many entries there are, expired ones that were not removed yet included.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many of them have an expiry.
    #[must_use]
    pub const fn expiring(&self) -> usize {
        self.expiring
    }

    /// What all entries cost in memory, in bytes: what was asked of the allocator, in sizes that it has, less half of
    /// the holes that removals leave for a while, so that each removal makes it less at once. The resident set is
    /// about 4 % more in a table that only grew, and under constant eviction about 10 %. An empty table has a fixed
    /// 128 KiB. What was cleared counts no more, although [`Table::free_some`] has yet to give it back.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries a slot has.
    #[must_use]
    pub fn slot_len(&self, slot: Slot) -> usize {
        self.slots[slot.index()].as_ref().map_or(0, |table| table.len)
    }

    /// What the entries of a slot cost in memory, in bytes.
    #[must_use]
    pub fn slot_bytes(&self, slot: Slot) -> usize {
        self.slots[slot.index()].as_ref().map_or(0, |table| table.bytes)
    }

    /// How many entries were ever removed because they had expired.
    #[must_use]
    pub const fn expired(&self) -> u64 {
        self.expired
    }

    /// How many entries were ever moved from one place in memory to another.
    #[must_use]
    pub const fn moved(&self) -> u64 {
        self.moved
    }

    fn hash(&self, key: &[u8]) -> u32 {
        hash_by(&self.hasher, key)
    }

    fn find(&self, slot: Slot, hash: u32, key: &[u8]) -> Option<(u32, usize)> {
        self.slots[slot.index()].as_ref()?.find(hash, key)
    }

    /// Segment and place of a key's entry; if it is expired it is removed.
    fn find_live(&mut self, slot: Slot, hash: u32, key: &[u8], now: WallTime) -> Option<(u32, usize)> {
        let (segment, at) = self.find(slot, hash, key)?;
        if self.deadline_of(slot, segment, at)? <= now.micros() {
            self.take(slot, segment, at);
            self.expired += 1;
            return None;
        }
        Some((segment, at))
    }

    fn deadline_of(&self, slot: Slot, segment: u32, at: usize) -> Option<u64> {
        Some(self.slots[slot.index()].as_ref()?.segment(segment).record(at).deadline())
    }

    /// Segment and place of a key's entry, marked as used; if it is expired it is removed.
    #[inline]
    fn find_used(&mut self, slot: Slot, key: &[u8], now: WallTime) -> Option<(u32, usize)> {
        let (segment, at) = self.find(slot, self.hash(key), key)?;
        if self.mark_used(slot, segment, at, now) {
            return Some((segment, at));
        }
        self.take(slot, segment, at);
        self.expired += 1;
        None
    }

    /// Marks an entry as used, unless it is expired at `now`. Whether it is not.
    #[inline]
    fn mark_used(&mut self, slot: Slot, segment: u32, at: usize, now: WallTime) -> bool {
        let Some(table) = &mut self.slots[slot.index()] else { return false };
        let (track, chance) = (self.track, &mut self.chance);
        table.segment_mut(segment).mark_used(at, now, |used| used.again(track, chance, now))
    }

    /// The deadline of a value that comes in the place of one with the deadline `kept`.
    fn deadline_by(expiry: Expiry, kept: u64) -> u64 {
        match expiry {
            Expiry::Never => NEVER,
            Expiry::Keep => kept,
            // The largest number says "never", and is some 580,000 years away.
            Expiry::At(at) => at.micros(),
        }
    }

    /// Puts another value in the place of one that was marked as used: where it lies, when it is as long.
    fn replace(&mut self, slot: Slot, segment: u32, at: usize, key: &[u8], value: Value<'_>, deadline: u64) {
        let Some(table) = &mut self.slots[slot.index()] else { return };
        let name = Name { slot, table: table.id, segment };
        let found = table.segment_mut(segment);
        if found.overwrite(at, value.as_bytes(), deadline) {
            self.hints.not_after(name, found, deadline);
            return;
        }
        let used = found.record(at).used();
        self.change(slot, segment, deadline, |segment| segment.replace(at, key, value, deadline, used));
    }

    /// The segment of that name, unless its table was let go.
    fn named(&self, name: Name) -> Option<&Segment> {
        named(&self.slots, name)
    }
}

fn named(slots: &[Option<Box<SlotTable>>], name: Name) -> Option<&Segment> {
    let table = slots[name.slot.index()].as_ref().filter(|table| table.id == name.table)?;
    Some(table.segment(name.segment))
}

fn hash_by(hasher: &RandomState, key: &[u8]) -> u32 {
    let mut hasher = hasher.build_hasher();
    hasher.write(key);
    (hasher.finish() >> 32) as u32
}

fn no_slots() -> Box<[Option<Box<SlotTable>>]> {
    core::iter::repeat_with(|| None).take(Slot::COUNT).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
