//! The table of one slot: segments in a directory by the leading bits of the hash (extendible hashing: Fagin,
//! Nievergelt, Pippenger, Strong 1979). Most slots have one segment and no directory. It grows by splitting one
//! full segment in two, so no call moves more than its 64 entries however large the slot has become; only the
//! directory, four bytes for some thirty entries, is at times copied as a whole.

use super::entry::Bucket;
use super::segment::{SEGMENT_ENTRIES_MAX, Segment};

/// Leading bits that the directory may tell apart: 2^24 segments, some 750 million entries a slot. Past that,
/// segments grow instead. The eight bits left are those that a segment itself goes by.
const DEPTH_MAX: u8 = 24;

/// Entries of one slot.
#[derive(Debug)]
pub(super) struct SlotTable {
    /// Tells this table from earlier ones of the same slot.
    pub(super) id: u32,
    depth: u8,
    pub(super) len: usize,
    pub(super) expiring: usize,
    pub(super) bytes: usize,
    /// Segment 0, here to save a look-up where there is no other.
    first: Segment,
    /// Segment 1 and on.
    rest: Vec<Segment>,
    /// Which segment has the hashes with these leading `depth` bits; empty for depth 0.
    directory: Vec<u32>,
}

impl SlotTable {
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            depth: 0,
            len: 0,
            expiring: 0,
            bytes: 0,
            first: Segment::new(0),
            rest: Vec::new(),
            directory: Vec::new(),
        }
    }

    pub(super) fn segments(&self) -> usize {
        1 + self.rest.len()
    }

    pub(super) fn segment(&self, index: u32) -> &Segment {
        if index == 0 { &self.first } else { &self.rest[index as usize - 1] }
    }

    pub(super) fn segment_mut(&mut self, index: u32) -> &mut Segment {
        if index == 0 { &mut self.first } else { &mut self.rest[index as usize - 1] }
    }

    /// Which segment a hash falls into.
    pub(super) fn index_of(&self, hash: u32) -> u32 {
        if self.depth == 0 { 0 } else { self.directory[(hash >> (32 - self.depth)) as usize] }
    }

    /// Whether the segment of that index should be split before it takes another entry, and can be.
    pub(super) fn is_full(&self, index: u32) -> bool {
        let segment = self.segment(index);
        segment.len() >= SEGMENT_ENTRIES_MAX && segment.depth < DEPTH_MAX
    }

    /// Splits the segment of `hash`. Returns the index of the new upper half and how many entries moved.
    pub(super) fn split(&mut self, hash: u32) -> (u32, usize) {
        let index = self.index_of(hash);
        let depth = self.segment(index).depth;
        if depth == self.depth {
            self.deepen();
        }
        let mut upper = Segment::new(depth);
        let moved = self.segment_mut(index).split_into(&mut upper);
        self.rest.push(upper);
        let new = self.rest.len() as u32;
        let (start, span) = self.span_of(hash, depth);
        self.directory[start + span / 2..start + span].fill(new);
        (new, moved)
    }

    /// The last hash that falls into the same segment as `hash`.
    pub(super) fn last_alike(&self, hash: u32) -> u32 {
        let depth = self.segment(self.index_of(hash)).depth;
        hash | u32::MAX.checked_shr(u32::from(depth)).unwrap_or(0)
    }

    /// Puts the sums right after an entry came.
    pub(super) fn count_in(&mut self, bucket: &Bucket) {
        self.len += 1;
        self.expiring += usize::from(bucket.expires());
        self.bytes += bucket.body.cost();
    }

    /// Puts the sums right after an entry went.
    pub(super) fn count_out(&mut self, bucket: &Bucket) {
        self.len -= 1;
        self.expiring -= usize::from(bucket.expires());
        self.bytes -= bucket.body.cost();
    }

    /// Takes off its last segment; none when only the first is left. Of use only while it is being freed.
    pub(super) fn free_one(&mut self) -> Option<Segment> {
        self.rest.pop()
    }

    /// The directory's places for the hashes that share the first `depth` bits with `hash`: start and count.
    fn span_of(&self, hash: u32, depth: u8) -> (usize, usize) {
        let prefix = u64::from(hash) >> (32 - depth);
        let span = 1usize << (self.depth - depth);
        (prefix as usize * span, span)
    }

    fn deepen(&mut self) {
        self.directory = if self.depth == 0 {
            vec![0, 0]
        } else {
            self.directory.iter().flat_map(|index| [*index, *index]).collect()
        };
        self.depth += 1;
    }
}
