//! The table of a core: a small table for each slot it owns, in an array of all slots. A slot is thereby the unit
//! of move, count, snapshot and scan, and growth is nearly free: no call moves more than [`MOVES_MAX`] entries,
//! however many there are. The hard thing is to keep that promise everywhere: growing splits one segment of a
//! slot, expiry walks one segment at a time, and what is cleared is only set aside and freed bit by bit.
//!
//! The hash of look-ups is keyed at start, because clients choose the keys. The order of a scan follows from seed
//! and history alone.

mod entry;
mod hints;
mod segment;
mod slot_table;
mod walk;

pub use entry::{ENTRY_OVERHEAD, Entry, Value, View};
pub use walk::Expired;

use crate::slot::Slot;
use ahash::RandomState;
use core::hash::{BuildHasher, Hasher};
use entry::{Body, Bucket, NEVER};
use hints::{Hints, Name};
use machine::{Stream, WallTime};
use segment::SEGMENT_ENTRIES_MAX;
use slot_table::SlotTable;

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
            buried: Vec::new(),
            tables_made: 0,
            len: 0,
            expiring: 0,
            bytes: 0,
            expired: 0,
            moved: 0,
        }
    }

    /// The entry of a key. One that is expired at `now` is absent and removed. Marks it as used.
    pub fn get(&mut self, slot: Slot, key: &[u8], now: WallTime) -> Option<Entry<'_>> {
        let (segment, at) = self.find_live(slot, self.hash(key), key, now)?;
        let bucket = self.slots[slot.index()].as_mut()?.segment_mut(segment).bucket_mut(at);
        bucket.used_second = second(now);
        Some(bucket.entry())
    }

    /// The entry of a key, changing nothing: not when it was used, and if expired at `now` it is absent but stays.
    #[must_use]
    pub fn peek(&self, slot: Slot, key: &[u8], now: WallTime) -> Option<Entry<'_>> {
        let (segment, at) = self.find(slot, self.hash(key), key)?;
        let bucket = self.slots[slot.index()].as_ref()?.segment(segment).bucket(at);
        (!bucket.is_expired(now)).then(|| bucket.entry())
    }

    /// The bytes of a value, to be changed where they lie; none for a missing key and for a blob, which others may
    /// share. Marks it as used.
    pub fn get_mut(&mut self, slot: Slot, key: &[u8], now: WallTime) -> Option<&mut [u8]> {
        let (segment, at) = self.find_live(slot, self.hash(key), key, now)?;
        let bucket = self.slots[slot.index()].as_mut()?.segment_mut(segment).bucket_mut(at);
        bucket.used_second = second(now);
        bucket.body.value_mut()
    }

    /// Sets the value of a key. An expiry that is over already is taken as it is: the entry is absent at once.
    ///
    /// `value` is copied, except a blob of at least `BLOB_MIN` bytes, which is shared; longer plain bytes become
    /// a blob, so that they are copied only once.
    pub fn set(&mut self, slot: Slot, key: &[u8], value: Value<'_>, expiry: Expiry, now: WallTime) -> Set {
        let hash = self.hash(key);
        let found = self.find_live(slot, hash, key, now);
        let kept = match found {
            Some((segment, at)) => self.deadline_of(slot, segment, at),
            None => NEVER,
        };
        let deadline = match expiry {
            Expiry::Never => NEVER,
            Expiry::Keep => kept,
            Expiry::At(at) => at.micros(),
        };
        match found {
            Some((segment, at)) => {
                self.replace(slot, segment, at, value, now);
                if deadline != kept {
                    self.set_deadline(slot, segment, at, deadline);
                }
                Set::Replaced
            }
            None => {
                let body = Body::new(key, value);
                self.insert(slot, Bucket { deadline, hash, used_second: second(now), body });
                Set::New
            }
        }
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
                self.set_deadline(slot, segment, place, at.map_or(NEVER, WallTime::micros));
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

    /// What all entries are taken to cost in memory, in bytes: keys, values, [`ENTRY_OVERHEAD`] and allocations.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many entries a slot has.
    #[must_use]
    pub fn slot_len(&self, slot: Slot) -> usize {
        self.slots[slot.index()].as_ref().map_or(0, |table| table.len)
    }

    /// What the entries of a slot are taken to cost in memory, in bytes.
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
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        (hasher.finish() >> 32) as u32
    }

    fn find(&self, slot: Slot, hash: u32, key: &[u8]) -> Option<(u32, usize)> {
        let table = self.slots[slot.index()].as_ref()?;
        let segment = table.index_of(hash);
        let at = table.segment(segment).find(hash, key)?;
        Some((segment, at))
    }

    /// Segment and place of a key's entry; if it is expired it is removed.
    fn find_live(&mut self, slot: Slot, hash: u32, key: &[u8], now: WallTime) -> Option<(u32, usize)> {
        let (segment, at) = self.find(slot, hash, key)?;
        if self.slots[slot.index()].as_ref()?.segment(segment).bucket(at).is_expired(now) {
            self.take(slot, segment, at);
            self.expired += 1;
            return None;
        }
        Some((segment, at))
    }

    fn deadline_of(&self, slot: Slot, segment: u32, at: usize) -> u64 {
        self.slots[slot.index()].as_ref().map_or(NEVER, |table| table.segment(segment).bucket(at).deadline)
    }

    fn insert(&mut self, slot: Slot, bucket: Bucket) {
        let made = &mut self.tables_made;
        let table = self.slots[slot.index()].get_or_insert_with(|| {
            *made = made.wrapping_add(1);
            Box::new(SlotTable::new(*made))
        });
        self.len += 1;
        self.expiring += usize::from(bucket.expires());
        self.bytes += bucket.body.cost();
        table.count_in(&bucket);
        let id = table.id;
        let mut index = table.index_of(bucket.hash);
        if table.is_full(index) {
            let (new, moved) = table.split(bucket.hash);
            self.moved += moved as u64;
            for half in [index, new] {
                let segment = table.segment_mut(half);
                let earliest = segment.earliest();
                self.hints.set(Name { slot, table: id, segment: half }, segment, earliest);
            }
            index = table.index_of(bucket.hash);
        }
        let deadline = bucket.deadline;
        let segment = table.segment_mut(index);
        self.moved += segment.insert(bucket) as u64;
        self.hints.not_after(Name { slot, table: id, segment: index }, segment, deadline);
    }

    /// Puts another value in the place of one: where it lies, when it is as long.
    fn replace(&mut self, slot: Slot, segment: u32, at: usize, value: Value<'_>, now: WallTime) {
        let Some(table) = &mut self.slots[slot.index()] else { return };
        let bucket = table.segment_mut(segment).bucket_mut(at);
        bucket.used_second = second(now);
        if let Some(room) = bucket.body.value_mut()
            && room.len() == value.as_bytes().len()
        {
            room.copy_from_slice(value.as_bytes());
            return;
        }
        let body = Body::new(bucket.body.key(), value);
        let (came, went) = (body.cost(), bucket.body.cost());
        bucket.body = body;
        table.bytes = table.bytes + came - went;
        self.bytes = self.bytes + came - went;
    }

    fn set_deadline(&mut self, slot: Slot, segment: u32, at: usize, deadline: u64) {
        let Some(table) = &mut self.slots[slot.index()] else { return };
        let name = Name { slot, table: table.id, segment };
        let segment = table.segment_mut(segment);
        let before = segment.expiring();
        segment.set_deadline(at, deadline);
        let after = segment.expiring();
        self.hints.not_after(name, segment, deadline);
        self.hints.forget_if_idle(name, segment);
        table.expiring = table.expiring + after - before;
        self.expiring = self.expiring + after - before;
    }

    /// Takes an entry out and, with the last one, the slot's table.
    fn take(&mut self, slot: Slot, segment: u32, at: usize) {
        let Some(table) = &mut self.slots[slot.index()] else { return };
        let name = Name { slot, table: table.id, segment };
        let segment = table.segment_mut(segment);
        let (bucket, moved) = segment.remove(at);
        self.moved += moved as u64;
        self.hints.forget_if_idle(name, segment);
        self.count_out(slot, &[bucket]);
    }

    /// Puts the sums right after entries of a slot went, and lets go of the slot's table when it is empty.
    fn count_out(&mut self, slot: Slot, gone: &[Bucket]) {
        let Some(table) = &mut self.slots[slot.index()] else { return };
        for bucket in gone {
            table.count_out(bucket);
            self.len -= 1;
            self.expiring -= usize::from(bucket.expires());
            self.bytes -= bucket.body.cost();
        }
        if table.len == 0
            && let Some(table) = self.slots[slot.index()].take()
            && table.segments() > FREED_AT_ONCE_MAX
        {
            self.buried.push((slot, table));
        }
    }
}

fn no_slots() -> Box<[Option<Box<SlotTable>>]> {
    core::iter::repeat_with(|| None).take(Slot::COUNT).collect()
}

/// The second of the wall clock, modulo 2^32.
const fn second(now: WallTime) -> u32 {
    (now.micros() / 1_000_000) as u32
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
