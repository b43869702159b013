//! Where the records of a segment lie: in chunks of one size, whatever their own. So what one segment gives back any
//! other can use, and nothing is copied when a segment grows. (Bytes in one piece for each segment were tried: the
//! dozen sizes they grew through left the allocator with a fifth of all memory in blocks that nobody wanted.)

/// Bytes in a chunk. Smaller ones waste more at their ends, where no record fits any more, larger ones more in
/// the last of each segment; of what was measured this wastes the least.
pub(super) const CHUNK: usize = 384;

/// Chunks reached without a further wait for memory: 56 records of 53 bytes.
const FIRST_CHUNKS: usize = 8;

type Chunk = Box<[u8; CHUNK]>;

/// Bytes by offset, in chunks.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Chunks {
    first: [Option<Chunk>; FIRST_CHUNKS],
    /// Boxed because few segments have them.
    #[expect(clippy::box_collection, reason = "sixteen bytes less in each segment")]
    more: Option<Box<Vec<Chunk>>>,
    /// How many bytes of the last chunk are taken.
    end: u16,
    count: u8,
}

impl Chunks {
    /// The bytes from an offset to the end of its chunk.
    #[inline]
    pub(super) fn at(&self, offset: u16) -> &[u8] {
        let (index, start) = split(offset);
        let chunk = match self.first.get(index) {
            Some(first) => first.as_ref(),
            None => self.more.as_ref().and_then(|more| more.get(index - FIRST_CHUNKS)),
        };
        &chunk.expect("an offset lies in a chunk")[start..]
    }

    /// The same, to be changed.
    #[inline]
    pub(super) fn at_mut(&mut self, offset: u16) -> &mut [u8] {
        let (index, start) = split(offset);
        let chunk = match self.first.get_mut(index) {
            Some(first) => first.as_mut(),
            None => self.more.as_mut().and_then(|more| more.get_mut(index - FIRST_CHUNKS)),
        };
        &mut chunk.expect("an offset lies in a chunk")[start..]
    }

    /// Whether so many bytes fit without another chunk.
    pub(super) const fn has_room(&self, size: usize) -> bool {
        self.count > 0 && self.end as usize + size <= CHUNK
    }

    /// Takes `size` bytes, at most [`CHUNK`], at the end. Returns their offset.
    pub(super) fn take(&mut self, size: usize) -> u16 {
        if !self.has_room(size) {
            self.add_chunk();
        }
        let offset = (usize::from(self.count) - 1) * CHUNK + usize::from(self.end);
        self.end += size as u16;
        offset as u16
    }

    /// How many bytes of the last chunk are taken.
    pub(super) const fn end(&self) -> usize {
        self.end as usize
    }

    /// What they have allocated, in bytes.
    pub(super) fn allocated(&self) -> usize {
        let more =
            self.more.as_ref().map_or(0, |more| size_of_val(&**more) + more.capacity() * size_of::<Chunk>());
        usize::from(self.count) * CHUNK + more
    }

    fn add_chunk(&mut self) {
        let chunk = Box::new([0; CHUNK]);
        let index = usize::from(self.count);
        match self.first.get_mut(index) {
            Some(first) => *first = Some(chunk),
            None => self.more.get_or_insert_default().push(chunk),
        }
        self.count += 1;
        self.end = 0;
    }
}

const fn split(offset: u16) -> (usize, usize) {
    (offset as usize / CHUNK, offset as usize % CHUNK)
}
