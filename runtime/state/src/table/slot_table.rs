//! The table of one slot: segments in a directory by the leading bits of the hash (extendible hashing: Fagin,
//! Nievergelt, Pippenger, Strong 1979). It grows by splitting one full segment in two, so no call moves more than
//! its 64 entries however large the slot has become; only the directory, four bytes for some thirty entries, is at
//! times copied as a whole, and up to 64 segments, without their records, are copied to where there is room for one
//! more. While there are few segments the directory lies here, which saves a look-up a wait for memory.

use super::hints::Name;
use super::room::make_room;
use super::segment::Segment;
use super::warm::bring;
use core::num::NonZeroU32;

/// Leading bits that the directory may tell apart: 2^24 segments, some 750 million entries a slot. Past that, a
/// full segment is followed by another. The eight bits left are those that a segment itself goes by.
const DEPTH_MAX: u8 = 24;

/// Leading bits that the directory in place tells apart: 32 segments, about 1,400 entries.
const NEAR_DEPTH_MAX: u8 = 5;

/// Segments that lie in one piece.
const CHUNK_SEGMENTS: usize = 64;

/// Entries of one slot. What a look-up reads comes first, and in one line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct SlotTable {
    depth: u8,
    directory: Directory,
    /// Tells this table from earlier ones of the same slot.
    pub(super) id: u32,
    /// In place: while a slot has few entries a look-up has one wait for memory less.
    first: Segment,
    /// The next segments.
    near: Vec<Segment>,
    /// Those after the next [`CHUNK_SEGMENTS`], so many in each.
    far: Vec<Vec<Segment>>,
    pub(super) len: usize,
    pub(super) expiring: usize,
    /// What all of this has allocated.
    pub(super) bytes: usize,
}

/// Which segment has the hashes with these leading `depth` bits.
#[derive(Debug)]
enum Directory {
    Near([u8; 1 << NEAR_DEPTH_MAX]),
    Far(Vec<u32>),
}

impl SlotTable {
    pub(super) fn new(id: u32) -> Self {
        let mut table = Self {
            directory: Directory::Near([0; 1 << NEAR_DEPTH_MAX]),
            depth: 0,
            id,
            first: Segment::new(0),
            near: Vec::new(),
            far: Vec::new(),
            len: 0,
            expiring: 0,
            bytes: 0,
        };
        table.bytes = table.structure();
        table
    }

    pub(super) fn segments(&self) -> usize {
        match self.far.last() {
            None => 1 + self.near.len(),
            Some(last) => 1 + self.far.len() * CHUNK_SEGMENTS + last.len(),
        }
    }

    #[inline]
    pub(super) fn segment(&self, index: u32) -> &Segment {
        if index == 0 { &self.first } else { self.further(index as usize - 1) }
    }

    /// Not inlined: what leads to the further segments would be read before it is known to be needed, and lies in a
    /// line that a look-up in the first one does not touch.
    #[inline(never)]
    fn further(&self, index: usize) -> &Segment {
        match index / CHUNK_SEGMENTS {
            0 => &self.near[index],
            chunk => &self.far[chunk - 1][index % CHUNK_SEGMENTS],
        }
    }

    #[inline]
    pub(super) fn segment_mut(&mut self, index: u32) -> &mut Segment {
        if index == 0 { &mut self.first } else { self.further_mut(index as usize - 1) }
    }

    #[inline(never)]
    fn further_mut(&mut self, index: usize) -> &mut Segment {
        match index / CHUNK_SEGMENTS {
            0 => &mut self.near[index],
            chunk => &mut self.far[chunk - 1][index % CHUNK_SEGMENTS],
        }
    }

    /// Has brought near what a look-up reads of it first, with the whole of its first segment's index if that is short.
    #[inline]
    pub(super) fn bring(&self) {
        bring(&self.depth);
        bring(&self.first);
        bring(&self.near);
    }

    /// Which segment a hash falls into.
    #[inline]
    pub(super) fn index_of(&self, hash: u32) -> u32 {
        let prefix = (u64::from(hash) >> (32 - self.depth)) as usize;
        match &self.directory {
            Directory::Near(near) => u32::from(near[prefix]),
            Directory::Far(far) => far[prefix],
        }
    }

    /// Segment and place of the entry of a key.
    #[inline]
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<(u32, usize)> {
        let mut index = self.index_of(hash);
        loop {
            let segment = self.segment(index);
            if let Some(at) = segment.find(hash, key) {
                return Some((index, at));
            }
            index = segment.next?.get();
        }
    }

    /// The first segment with room for an entry of that hash, or else the last that it may be in.
    pub(super) fn open_index(&self, hash: u32) -> u32 {
        let mut index = self.index_of(hash);
        while let Some(next) = self.segment(index).next.filter(|_| self.segment(index).is_full()) {
            index = next.get();
        }
        index
    }

    /// Whether the segment of that index can be split, as it should be when it is full.
    pub(super) fn can_split(&self, index: u32) -> bool {
        self.segment(index).depth < DEPTH_MAX
    }

    /// Splits the segment of `hash`. Returns the index of the new upper half and how many entries moved.
    pub(super) fn split(&mut self, hash: u32, hash_of: impl Fn(&[u8]) -> u32) -> (u32, usize) {
        let index = self.index_of(hash);
        let before = self.structure() + self.segment(index).allocated();
        let depth = self.segment(index).depth;
        if depth == self.depth {
            self.deepen();
        }
        let mut upper = Segment::new(depth + 1);
        let moved = self.segment_mut(index).split_into(&mut upper, hash_of);
        let upper_bytes = upper.allocated();
        let new = self.add(upper);
        let (start, span) = self.span_of(hash, depth);
        match &mut self.directory {
            Directory::Near(near) => near[start + span / 2..start + span].fill(new as u8),
            Directory::Far(far) => far[start + span / 2..start + span].fill(new),
        }
        let after = self.structure() + self.segment(index).allocated() + upper_bytes;
        self.bytes = self.bytes + after - before;
        (new, moved)
    }

    /// Has a full segment that cannot be split followed by an empty one. Returns the index of that.
    pub(super) fn follow(&mut self, index: u32) -> u32 {
        let before = self.structure();
        let new = self.add(Segment::new(self.segment(index).depth));
        self.segment_mut(index).next = NonZeroU32::new(new);
        self.bytes = self.bytes + self.structure() - before;
        new
    }

    /// Changes a segment and puts the sums right.
    pub(super) fn change<R>(&mut self, index: u32, change: impl FnOnce(&mut Segment) -> R) -> R {
        let segment = self.segment_mut(index);
        let (len, expiring, bytes) = (segment.len(), segment.expiring(), segment.allocated());
        let result = change(segment);
        let (len_now, expiring_now, bytes_now) = (segment.len(), segment.expiring(), segment.allocated());
        self.len = self.len + len_now - len;
        self.expiring = self.expiring + expiring_now - expiring;
        self.bytes = self.bytes + bytes_now - bytes;
        result
    }

    /// The first and the last hash that fall into the same segment as `hash`.
    pub(super) fn alike(&self, hash: u32) -> (u32, u32) {
        let depth = self.segment(self.index_of(hash)).depth;
        let rest = u32::MAX.checked_shr(u32::from(depth)).unwrap_or(0);
        (hash & !rest, hash | rest)
    }

    /// Takes off its last segment; none when only the first is left. Of use only while it is being freed.
    pub(super) fn free_one(&mut self) -> Option<Segment> {
        let Some(last) = self.far.last_mut() else {
            return self.near.pop();
        };
        let segment = last.pop();
        if last.is_empty() {
            self.far.pop();
        }
        segment
    }

    /// What it has allocated beside what its segments have, and what their names take, in bytes.
    pub(super) fn structure(&self) -> usize {
        let directory = match &self.directory {
            Directory::Near(_) => 0,
            Directory::Far(far) => far.capacity() * size_of::<u32>(),
        };
        // All but the last are full.
        let far = self.far.last().map_or(0, |last| (self.far.len() - 1) * CHUNK_SEGMENTS + last.capacity());
        size_of::<Self>()
            + directory
            + (self.near.capacity() + far) * size_of::<Segment>()
            + self.far.capacity() * size_of::<Vec<Segment>>()
            + self.segments() * size_of::<Name>()
    }

    fn add(&mut self, segment: Segment) -> u32 {
        let index = self.segments() - 1;
        let chunk = match index / CHUNK_SEGMENTS {
            0 => &mut self.near,
            chunk => {
                if chunk > self.far.len() {
                    self.far.push(Vec::new());
                }
                &mut self.far[chunk - 1]
            }
        };
        make_room(chunk);
        chunk.push(segment);
        index as u32 + 1
    }

    /// The directory's places for the hashes that share the first `depth` bits with `hash`: start and count.
    fn span_of(&self, hash: u32, depth: u8) -> (usize, usize) {
        let prefix = u64::from(hash) >> (32 - depth);
        let span = 1usize << (self.depth - depth);
        (prefix as usize * span, span)
    }

    fn deepen(&mut self) {
        match &mut self.directory {
            Directory::Near(near) if self.depth < NEAR_DEPTH_MAX => {
                let before = *near;
                *near = core::array::from_fn(|prefix| before[prefix / 2]);
            }
            Directory::Near(near) => {
                let near = near.iter().map(|index| u32::from(*index));
                self.directory = Directory::Far(near.flat_map(|index| [index, index]).collect());
            }
            Directory::Far(far) => *far = far.iter().flat_map(|index| [*index, *index]).collect(),
        }
        self.depth += 1;
    }
}
