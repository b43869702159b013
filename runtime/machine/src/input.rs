//! What has arrived on a connection and was not used yet, lent to a shard for one call.
//!
//! Small input is a slice of the buffer that the kernel filled; what a shard does not use is kept and comes
//! again, longer. A large value is asked for by [`need`](Input::need): the world then receives into one buffer
//! of that size, and [`take`](Input::take) hands over that buffer itself.

use crate::blob::Blob;
use crate::time::Instant;

/// Bytes that have arrived, in order, from the first that was not used.
#[derive(Debug)]
pub struct Input<'a> {
    source: Source<'a>,
    used: usize,
    need: usize,
    /// When the kernel had the last of these bytes, where that can be known, else when they were read.
    pub received_at: Instant,
    /// When this connection's output was last handed to the kernel; none before the first time.
    pub sent_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Source<'a> {
    Lent(&'a [u8]),
    Held(&'a Blob),
}

impl<'a> Input<'a> {
    /// Input in a buffer that is only lent: `take` copies.
    #[inline]
    #[must_use]
    pub fn lent(bytes: &'a [u8], received_at: Instant, sent_at: Option<Instant>) -> Self {
        Self { source: Source::Lent(bytes), used: 0, need: 0, received_at, sent_at }
    }

    /// Input in a buffer of its own: `take` shares it.
    #[must_use]
    pub fn held(blob: &'a Blob, received_at: Instant, sent_at: Option<Instant>) -> Self {
        Self { source: Source::Held(blob), used: 0, need: 0, received_at, sent_at }
    }

    #[inline]
    fn whole(&self) -> &'a [u8] {
        match self.source {
            Source::Lent(bytes) => bytes,
            Source::Held(blob) => blob,
        }
    }

    /// All that is here and was not used. It stays valid for the whole call, also after `used`.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        &self.whole()[self.used..]
    }

    /// The first `count` bytes are done with.
    ///
    /// # Panics
    /// When there are fewer.
    #[inline]
    pub fn used(&mut self, count: usize) {
        assert!(count <= self.bytes().len(), "what was used must have been there");
        self.used += count;
        self.need = 0;
    }

    /// Come again when `count` bytes are there, counted from the first that was not used, and hold them in one
    /// buffer. Without it any new byte is a reason to come again. Bound `count` before asking: the world gives
    /// that much memory as the bytes arrive.
    pub fn need(&mut self, count: usize) {
        self.need = count;
    }

    /// The next `count` bytes as a blob, and they are used: the buffer itself where it is one of its own, else a
    /// copy.
    ///
    /// # Panics
    /// When fewer are there.
    pub fn take(&mut self, count: usize) -> Blob {
        let (from, to) = (self.used, self.used + count);
        assert!(to <= self.whole().len(), "what is taken must have arrived");
        self.used(count);
        match self.source {
            Source::Lent(bytes) => Blob::from(bytes[from..to].to_vec()),
            Source::Held(blob) => blob.slice(from..to),
        }
    }

    /// For the world: how many bytes were used, and how many the shard waits for (0: any).
    #[inline]
    #[must_use]
    pub fn outcome(&self) -> (usize, usize) {
        (self.used, self.need)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_does_not_come_again() {
        let mut input = Input::lent(b"abcdef", Instant::ZERO, None);
        let all = input.bytes();
        input.used(2);
        assert_eq!(input.bytes(), b"cdef");
        assert_eq!(all, b"abcdef");
        input.need(9);
        assert_eq!(input.outcome(), (2, 9));
    }

    #[test]
    fn a_held_buffer_is_taken_without_a_copy() {
        let blob = Blob::from(b"head:value".to_vec());
        let mut input = Input::held(&blob, Instant::ZERO, None);
        input.used(5);
        let value = input.take(5);
        assert_eq!(&value[..], b"value");
        assert_eq!(value.as_ptr(), blob[5..].as_ptr());
        assert!(input.bytes().is_empty());
    }
}
