//! Bytes that a disk takes without the kernel's page cache between (O_DIRECT): whole blocks, at aligned addresses,
//! kept from group to group.

use std::slice;

/// Bytes of a block: what O_DIRECT asks of address, length and offset, on any file system we know.
pub(super) const BLOCK: usize = 4096;

/// What is given back when a long group has been written, in blocks.
const KEPT: usize = 1024;

#[derive(Clone, Copy)]
#[repr(C, align(4096))]
struct Block([u8; BLOCK]);

/// Bytes in aligned blocks, with zeros up to the end of the last.
#[derive(Default)]
pub(super) struct Blocks {
    blocks: Vec<Block>,
    length: usize,
}

impl Blocks {
    /// So many zeros.
    pub(super) fn zeros(length: usize) -> Self {
        Self { blocks: vec![Block([0; BLOCK]); length.div_ceil(BLOCK)], length }
    }

    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.blocks.shrink_to(KEPT);
        self.length = 0;
    }

    /// Bytes put in.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let from = self.length;
        self.length += bytes.len();
        self.blocks.resize(self.length.div_ceil(BLOCK), Block([0; BLOCK]));
        self.whole_mut()[from..from + bytes.len()].copy_from_slice(bytes);
    }

    /// The blocks' bytes, the zeros at the end too.
    pub(super) fn whole(&self) -> &[u8] {
        // SAFETY: a block is an array of bytes without padding, and they lie one behind the other.
        unsafe { slice::from_raw_parts(self.blocks.as_ptr().cast(), self.blocks.len() * BLOCK) }
    }

    fn whole_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and nobody else looks while it is borrowed.
        unsafe { slice::from_raw_parts_mut(self.blocks.as_mut_ptr().cast(), self.blocks.len() * BLOCK) }
    }

    /// The bytes put in.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.whole()[..self.length]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let length = self.length;
        &mut self.whole_mut()[..length]
    }
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blocks({})", self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_stay_in_order_aligned_and_padded_with_zeros() {
        let mut blocks = Blocks::default();
        let bytes: Vec<u8> = (0..3 * BLOCK + 17).map(|index| index as u8 | 1).collect();
        for part in bytes.chunks(1000) {
            blocks.extend(part);
        }
        assert_eq!(blocks.bytes(), bytes);
        assert_eq!(blocks.whole().as_ptr() as usize % BLOCK, 0);
        assert_eq!(blocks.whole().len(), 4 * BLOCK);
        assert!(blocks.whole()[bytes.len()..].iter().all(|byte| *byte == 0));
        blocks.clear();
        blocks.extend(b"x");
        assert_eq!(blocks.whole()[..2], [b'x', 0]);
    }
}
