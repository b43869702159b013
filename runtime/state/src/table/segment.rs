//! A segment: the entries of a slot whose hashes share some leading bits, at most 64 of them. One byte of each hash
//! lies in a line of its own, which a look-up searches eight at a time; where it finds its byte, an offset leads to
//! the record in the chunks that all 64 share. So a look-up touches the segment and a record, two waits for
//! memory, and a small entry has no allocation of its own.
//!
//! The hard thing is to waste neither room nor time. A record that goes, or has to grow and is written anew at the
//! end, leaves a hole. When the holes come to more than the last chunk holds, all records, at most 64, are written
//! anew without them.

mod lay;

use super::chunks::{CHUNK, Chunks};
use super::entry::{Entry, Value, View};
use super::hints::HINT_BYTES;
use super::large::{Large, Larges};
use super::record::{self, Draft, NEVER, Record};
use super::usage::{Track, Usage};
use super::warm::bring;
use machine::WallTime;

/// A segment with so many entries is split before it takes another.
pub(super) const SEGMENT_ENTRIES_MAX: usize = 64;

/// Entries that share a piece of the index.
const GROUP: usize = 16;
const GROUPS_MORE: usize = SEGMENT_ENTRIES_MAX / GROUP - 1;

/// A piece of the index: a byte of each hash, and where the records are.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
struct Group {
    tags: [u8; GROUP],
    offsets: [u16; GROUP],
}

/// Entries by a byte of their hashes. The order of the fields is that of the lines a look-up touches: in a segment of
/// few entries it needs the first line alone, for it ends with the way to the first chunk.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Segment {
    len: u8,
    /// How many leading bits its hashes share.
    pub(super) depth: u8,
    /// How many bytes are holes.
    dead: u16,
    /// The segment that has what found no room in this one, which only hashes alike in all leading bits cause.
    pub(super) next: Option<core::num::NonZeroU32>,
    first: Group,
    /// The records, with holes.
    chunks: Chunks,
    /// When it is to be walked for expired entries: not after the earliest deadline in it. Kept with the hints.
    pub(super) walk_at: u64,
    more: [Group; GROUPS_MORE],
    /// Boxed because hardly any segment has them.
    larges: Option<Box<Larges>>,
    /// Which places have an expiry.
    expiring: u64,
}

/// Holes of fewer bytes are let be, so that a segment is not written anew by every other call.
const DEAD_MIN: usize = CHUNK / 4;

const _: () = assert!(size_of::<Segment>() == 320, "five cache lines");
const _: () =
    assert!(core::mem::offset_of!(Segment, chunks) == 56, "the way to the first chunk ends the first line");
const _: () = assert!(SEGMENT_ENTRIES_MAX * CHUNK <= 1 << u16::BITS, "offsets have 16 bits");

impl Segment {
    pub(super) fn new(depth: u8) -> Self {
        Self {
            len: 0,
            depth,
            dead: 0,
            next: None,
            first: Group::default(),
            chunks: Chunks::default(),
            walk_at: NEVER,
            more: [Group::default(); GROUPS_MORE],
            larges: None,
            expiring: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) const fn is_full(&self) -> bool {
        self.len() == SEGMENT_ENTRIES_MAX
    }

    pub(super) const fn expiring(&self) -> usize {
        self.expiring.count_ones() as usize
    }

    /// Which places have an expiry, as bits.
    pub(super) const fn expiring_places(&self) -> u64 {
        self.expiring
    }

    /// What it has allocated and what the hint for it takes, in bytes, less half of its holes: they are let be for a
    /// while, but eviction must see at once that it did something.
    pub(super) fn allocated(&self) -> usize {
        let larges = self.larges.as_ref().map_or(0, |larges| larges.allocated());
        let hint = if self.expiring == 0 { 0 } else { HINT_BYTES };
        self.chunks.allocated() - usize::from(self.dead) / 2 + larges + hint
    }

    /// Where the entry of this key lies.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<usize> {
        self.find_alike(hash, |at| {
            let record = self.record(at);
            match record.outside() {
                None => record.has_key(key),
                Some(place) => self.large(place).key() == key,
            }
        })
    }

    /// The first place whose hash has the same tag and that is the one.
    #[inline]
    fn find_alike(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let pattern = u64::from(tag(hash)) * LOW_BITS;
        let len = self.len();
        let groups = core::iter::once(&self.first).chain(&self.more);
        for (index, group) in groups.enumerate().take(len.div_ceil(GROUP)) {
            let (words, _) = group.tags.as_chunks::<8>();
            for (word, tags) in words.iter().enumerate() {
                let mut equal = zero_bytes(u64::from_le_bytes(*tags) ^ pattern);
                while equal != 0 {
                    let at = index * GROUP + word * 8 + equal.trailing_zeros() as usize / 8;
                    if at >= len {
                        return None;
                    }
                    if is_it(at) {
                        return Some(at);
                    }
                    equal &= equal - 1;
                }
            }
        }
        None
    }

    #[inline]
    fn group(&self, at: usize) -> &Group {
        if at < GROUP { &self.first } else { &self.more[at / GROUP - 1] }
    }

    #[inline]
    fn group_mut(&mut self, at: usize) -> &mut Group {
        if at < GROUP { &mut self.first } else { &mut self.more[at / GROUP - 1] }
    }

    /// Where the record at a place is.
    #[inline]
    fn offset(&self, at: usize) -> u16 {
        self.group(at).offsets[at % GROUP]
    }

    #[inline]
    fn set_offset(&mut self, at: usize, offset: u16) {
        self.group_mut(at).offsets[at % GROUP] = offset;
    }

    #[inline]
    fn tag_at(&self, at: usize) -> u8 {
        self.group(at).tags[at % GROUP]
    }

    #[inline]
    fn set_tag(&mut self, at: usize, tag: u8) {
        self.group_mut(at).tags[at % GROUP] = tag;
    }

    /// Has brought near what a look-up reads of the segment itself.
    #[inline]
    pub(super) fn bring(&self) {
        bring(self);
        bring(&self.walk_at);
        bring(&self.more[1]);
    }

    /// Has brought near what a look-up reads of the record, whose place it reads here.
    #[inline]
    pub(super) fn bring_record(&self, hash: u32) {
        if let Some(at) = self.find_alike(hash, |_| true) {
            let bytes = self.chunks.at(self.offset(at));
            bring(&bytes[0]);
            bring(&bytes[bytes.len().min(LINE) - 1]);
        }
    }

    /// The record at a place.
    #[inline]
    pub(super) fn record(&self, at: usize) -> Record<'_> {
        Record::at(self.chunks.at(self.offset(at)))
    }

    /// The key at a place.
    #[inline]
    pub(super) fn key(&self, at: usize) -> &[u8] {
        let record = self.record(at);
        match record.outside() {
            None => record.key(),
            Some(place) => self.large(place).key(),
        }
    }

    /// The value at a place.
    #[inline]
    pub(super) fn value(&self, at: usize) -> View<'_> {
        let record = self.record(at);
        match record.outside() {
            None => View::Bytes(record.value()),
            Some(place) => self.large(place).value(),
        }
    }

    /// The entry at a place, used before `now`.
    #[inline]
    pub(super) fn entry(&self, at: usize, track: Track, now: WallTime) -> Entry<'_> {
        let record = self.record(at);
        let (key, value) = match record.outside() {
            None => (record.key(), View::Bytes(record.value())),
            Some(place) => (self.large(place).key(), self.large(place).value()),
        };
        Entry {
            key,
            value,
            expiry: record.expiry(),
            used_second: record.used().used_second(track, now),
            usage: record.used(),
            track,
        }
    }

    /// The bytes of the value at a place, if it is not shared.
    pub(super) fn value_mut(&mut self, at: usize) -> Option<&mut [u8]> {
        let record = self.record(at);
        if let Some(place) = record.outside() {
            return self.larges.as_mut()?.get_mut(place).value_mut();
        }
        let (start, end) = record.value_range();
        Some(&mut self.chunks.at_mut(self.offset(at))[start..end])
    }

    /// Notes when the entry at a place was used, as `again` says from when it was before, unless it is expired at
    /// `now`. Whether it is not.
    #[inline]
    pub(super) fn mark_used(&mut self, at: usize, now: WallTime, again: impl FnOnce(Usage) -> Usage) -> bool {
        let bytes = self.chunks.at_mut(self.offset(at));
        let record = Record::at(bytes);
        if record.is_expired(now) {
            return false;
        }
        let before = record.used();
        let used = again(before);
        // Nearly always in the same second as before: what is not written need not be written back.
        if used != before {
            record::set_used(bytes, used);
        }
        true
    }

    /// Puts a value and a deadline over those of an entry, if the one is as long and not shared, and the other is none
    /// too, or neither is. Whether it did.
    #[inline]
    pub(super) fn overwrite(&mut self, at: usize, value: &[u8], deadline: u64) -> bool {
        let expires = deadline != NEVER;
        if self.record(at).expires() != expires {
            return false;
        }
        match self.value_mut(at) {
            Some(bytes) if bytes.len() == value.len() => bytes.copy_from_slice(value),
            _ => return false,
        }
        if expires {
            record::set_deadline(self.chunks.at_mut(self.offset(at)), deadline);
        }
        true
    }

    /// Adds an entry whose key is not there, to a segment that is not full. Returns how many entries moved.
    pub(super) fn push(
        &mut self,
        hash: u32,
        key: &[u8],
        value: Value<'_>,
        deadline: u64,
        used: Usage,
    ) -> usize {
        let at = self.len();
        self.set_tag(at, tag(hash));
        self.len += 1;
        let moved = self.lay(at, key, value, deadline, used, 0);
        self.note_expiring(at, deadline != NEVER);
        moved
    }

    /// Puts another value and deadline in the place of those of an entry. Returns how many entries moved.
    pub(super) fn replace(
        &mut self,
        at: usize,
        key: &[u8],
        value: Value<'_>,
        deadline: u64,
        used: Usage,
    ) -> usize {
        let old = self.record(at);
        let (size, outside) = (old.size(), old.outside());
        if let Some(place) = outside {
            self.take_large(place);
        }
        let moved = self.lay(at, key, value, deadline, used, size);
        self.note_expiring(at, deadline != NEVER);
        moved
    }

    /// Sets the deadline of an entry. Returns how many entries moved.
    pub(super) fn set_deadline(&mut self, at: usize, deadline: u64) -> usize {
        let record = self.record(at);
        if record.expires() && deadline != NEVER {
            record::set_deadline(self.chunks.at_mut(self.offset(at)), deadline);
            return 0;
        }
        if record.expires() == (deadline != NEVER) {
            return 0;
        }
        let (size, used) = (record.size(), record.used());
        if let Some(place) = record.outside() {
            self.note_expiring(at, deadline != NEVER);
            return self.lay_draft(at, &Draft::outside(place, deadline, used), size);
        }
        let (key, value) = (record.key().to_vec(), record.value().to_vec());
        self.note_expiring(at, deadline != NEVER);
        self.lay_draft(at, &Draft::inside(&key, &value, deadline, used), size)
    }

    /// Takes an entry out. Returns how many entries moved.
    pub(super) fn remove(&mut self, at: usize) -> usize {
        self.forget(at);
        self.tidy()
    }

    /// Moves every entry whose hash has the bit after the shared ones into `upper`, and the others together. Both
    /// then share that bit. Returns how many entries moved.
    pub(super) fn split_into(&mut self, upper: &mut Self, hash_of: impl Fn(&[u8]) -> u32) -> usize {
        let bit = 1u32 << (31 - self.depth);
        let lower = Self { next: self.next, walk_at: self.walk_at, ..Self::new(self.depth + 1) };
        let mut whole = core::mem::replace(self, lower);
        upper.depth = self.depth;
        for at in 0..whole.len() {
            let half = if hash_of(whole.key(at)) & bit == 0 { &mut *self } else { &mut *upper };
            whole.hand_over(at, half);
        }
        whole.len()
    }

    /// Takes out all entries that are expired at `now`, telling each key. Returns how many, and how many moved.
    pub(super) fn take_expired(&mut self, now: WallTime, mut gone: impl FnMut(&[u8])) -> (usize, usize) {
        let mut count = 0;
        // From the last place on: what takes the place of one that goes was looked at before.
        for at in (0..self.len()).rev() {
            if self.expiring & (1 << at) != 0 && self.record(at).is_expired(now) {
                gone(self.key(at));
                self.forget(at);
                count += 1;
            }
        }
        (count, if count > 0 { self.tidy() } else { 0 })
    }

    /// The earliest deadline in it.
    pub(super) fn earliest(&self) -> u64 {
        bits(self.expiring).map(|at| self.record(at).deadline()).min().unwrap_or(NEVER)
    }

    fn large(&self, place: usize) -> &Large {
        self.larges.as_ref().expect("a record outside has its large").get(place)
    }
}

/// Bytes in a cache line.
const LINE: usize = 64;

const LOW_BITS: u64 = 0x0101_0101_0101_0101;

/// The byte of a hash that is kept: the last one, for the leading ones are alike here.
const fn tag(hash: u32) -> u8 {
    hash as u8
}

/// The high bit of every byte that is zero, and of no other.
const fn zero_bytes(word: u64) -> u64 {
    const REST: u64 = !(LOW_BITS << 7);
    !(((word & REST) + REST) | word | REST)
}

/// The bits that are set, from the lowest on.
fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

/// The place of the bit that has `nth` others below it.
pub(super) fn nth_bit(word: u64, nth: usize) -> usize {
    bits(word).nth(nth).expect("there are more bits than that")
}
