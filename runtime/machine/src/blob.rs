//! Counted bytes that cross a core by moving. A value that the kernel wrote into a buffer of its own goes from
//! there to the table, to another core, to a socket, without being copied again: each holder counts, the last
//! one frees. Small values are copied instead: below some KiB the copy costs less than the count and its cache
//! line.

use core::fmt;
use core::ops::{Deref, Range};
use std::sync::Arc;

/// From this many bytes on a value is worth a blob; below it is cheaper to copy.
pub const BLOB_MIN: usize = 16 * 1024;

/// A range of shared, immutable bytes. Cloning counts; it never copies.
#[derive(Clone)]
pub struct Blob {
    whole: Arc<Vec<u8>>,
    start: usize,
    end: usize,
}

impl Blob {
    /// The part `range` of these bytes, sharing them.
    ///
    /// # Panics
    /// When the range does not lie within.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len(), "a slice must lie within its blob");
        Self { whole: self.whole.clone(), start: self.start + range.start, end: self.start + range.end }
    }

    /// The same bytes in a vector: moved when nobody else holds them and the range is whole, else copied.
    #[must_use]
    pub fn into_vec(self) -> Vec<u8> {
        if self.start == 0 && self.end == self.whole.len() {
            Arc::try_unwrap(self.whole).unwrap_or_else(|shared| shared.to_vec())
        } else {
            self[..].to_vec()
        }
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { whole: Arc::new(bytes), start: 0, end }
    }
}

impl Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.whole[self.start..self.end]
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl Eq for Blob {}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blob of {} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_share_and_nest() {
        let blob = Blob::from(b"hello world".to_vec());
        let world = blob.slice(6..11);
        assert_eq!(&world[..], b"world");
        assert_eq!(&world.slice(1..3)[..], b"or");
        assert_eq!(world.as_ptr(), blob[6..].as_ptr());
    }

    #[test]
    fn the_last_holder_gets_the_buffer_back_uncopied() {
        let blob = Blob::from(vec![7; 100]);
        let place = blob.as_ptr();
        let other = blob.clone();
        drop(other);
        let bytes = blob.into_vec();
        assert_eq!(bytes.as_ptr(), place);
    }
}
