//! One connection as this core knows it: what arrived and was not used, what waits to be sent, and which requests
//! the kernel still holds for it. Plain state and small decisions; `net` acts on them.
//!
//! The one hard thing is the end: the shard forgets a connection at once, the kernel only when its last request
//! completes. Until then the place stays taken, so nothing it points at is freed under the kernel's hands.

use crate::ring::{Op, Tag};
use machine::blob::BLOB_MIN;
use machine::id::Key;
use machine::{Blob, ConnId, Instant, Why};
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Whose events a connection's are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The shard's.
    Shard,
    /// The links between nodes.
    Link,
}

/// What the descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Socket,
    /// A child's stream: polled, then read or written.
    Pipe,
}

/// How far its life has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A dial under way.
    Dialling,
    Open,
    /// Closed by the shard, flushed: what waits is sent, then FIN.
    Flushing,
    /// FIN sent; what still comes is taken in and dropped for a while.
    Lingering,
    /// Over. Waits only for the kernel to give back its last request.
    Dead,
}

/// What the kernel is doing about reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Nothing asked.
    Idle,
    /// A multishot receive, or a poll of a pipe, is outstanding.
    Armed,
    /// It was asked to end.
    Cancelling,
    /// One receive into `Conn::big` is outstanding.
    Into,
}

/// A connection.
pub(crate) struct Conn {
    /// None while a name is being resolved.
    pub(crate) fd: Option<OwnedFd>,
    pub(crate) kind: Kind,
    pub(crate) owner: Owner,
    pub(crate) stage: Stage,
    pub(crate) reading: Reading,
    /// Requests the kernel holds.
    pub(crate) outstanding: u32,
    pub(crate) paused: bool,
    /// A poll for its end is outstanding, since it is not read.
    pub(crate) watched: bool,
    /// Something of `left` was never brought.
    pub(crate) unbrought: bool,
    /// It was resumed and waits on the list of those to be brought again.
    pub(crate) resuming: bool,
    pub(crate) left: Left,
    pub(crate) need: usize,
    pub(crate) big: Option<Vec<u8>>,
    /// They have said all; told when all that came before was brought.
    pub(crate) ended: bool,
    pub(crate) end_told: bool,
    pub(crate) output: Output,
    /// It waits on the list of those to be flushed.
    pub(crate) dirty: bool,
    /// A poll for writing is outstanding.
    pub(crate) blocked: bool,
    pub(crate) over_high: bool,
    /// FIN is asked for after what waits.
    pub(crate) finishing: bool,
    pub(crate) finished: bool,
    /// It is gone, and the shard is about to be told why.
    pub(crate) lost: Option<Why>,
    pub(crate) sent_at: Option<Instant>,
    /// Receives bring the kernel's time of receipt.
    pub(crate) stamped: bool,
    /// The address being dialled; the kernel reads it there.
    pub(crate) dialled: Option<Box<socket2::SockAddr>>,
}

impl Conn {
    pub(crate) fn new(fd: Option<OwnedFd>, kind: Kind, owner: Owner, stage: Stage) -> Self {
        Self {
            fd,
            kind,
            owner,
            stage,
            reading: Reading::Idle,
            outstanding: 0,
            paused: false,
            watched: false,
            unbrought: false,
            resuming: false,
            left: Left::default(),
            need: 0,
            big: None,
            ended: false,
            end_told: false,
            output: Output::default(),
            dirty: false,
            blocked: false,
            over_high: false,
            finishing: false,
            finished: false,
            lost: None,
            sent_at: None,
            stamped: false,
            dialled: None,
        }
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    /// Whether the shard still knows it.
    pub(crate) fn is_told(&self) -> bool {
        matches!(self.stage, Stage::Dialling | Stage::Open)
    }

    /// Whether bytes should be asked of the kernel.
    pub(crate) fn wants_input(&self) -> bool {
        match self.stage {
            _ if self.lost.is_some() => false,
            Stage::Open => !self.paused && !self.ended,
            Stage::Lingering => !self.ended,
            Stage::Dialling | Stage::Flushing | Stage::Dead => false,
        }
    }

    /// Whether nothing follows from all of its output being sent.
    pub(crate) fn wants_nothing_more(&self) -> bool {
        self.stage == Stage::Open && !self.finishing && !self.over_high
    }

    /// Whether the kernel can still be given something of what waits.
    pub(crate) fn is_unsent(&self) -> bool {
        let speaks = matches!(self.stage, Stage::Open | Stage::Flushing) && self.lost.is_none();
        speaks && self.output.waiting() > 0
    }

    /// Whether what arrived is enough to be brought.
    pub(crate) fn is_ripe(&self) -> bool {
        match &self.big {
            Some(big) => big.len() >= self.need,
            None => self.left.len() > 0 && self.left.len() >= self.need,
        }
    }

    /// Keeps bytes that cannot be brought yet.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        self.unbrought = true;
        let mut rest = bytes;
        if let Some(big) = &mut self.big {
            let fits = rest.len().min(self.need.saturating_sub(big.len()));
            big.extend_from_slice(&rest[..fits]);
            rest = &rest[fits..];
        }
        self.left.push(rest);
        self.open_big();
    }

    /// What a shard said about input: for how many bytes it waits.
    pub(crate) fn after_input(&mut self, need: usize) {
        self.need = need;
        self.open_big();
    }

    /// Gets a buffer of its own ready for a large value, once a part of it has arrived: a few bytes that announce
    /// many must not cost the memory of many (a first touch may cost a huge page).
    fn open_big(&mut self) {
        let (need, here) = (self.need, self.left.len());
        let arrived = here >= BIG_AT.min(need / BIG_PART);
        if self.big.is_none() && need >= BLOB_MIN && need > here && arrived {
            let mut big = Vec::with_capacity(need);
            big.extend_from_slice(self.left.bytes());
            self.left = Left::default();
            self.big = Some(big);
        }
    }
}

/// A large value gets its buffer when a part of it, or so many bytes, have arrived.
const BIG_PART: usize = 8;
const BIG_AT: usize = 256 * 1024;

/// The tag of a connection's request.
pub(crate) fn tag(op: Op, conn: ConnId) -> Tag {
    let ConnId(Key { index, generation }) = conn;
    Tag::new(op, index, generation)
}

/// What arrived and was not used. Taking from the front moves nothing until half is taken.
#[derive(Default)]
pub(crate) struct Left {
    bytes: Vec<u8>,
    start: usize,
}

impl Left {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn used(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.bytes.len());
        if self.start == self.bytes.len() {
            // An idle connection keeps no memory.
            self.bytes = Vec::new();
            self.start = 0;
        } else if self.start >= self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

/// What waits to be sent: runs of copied bytes with blobs in between.
#[derive(Default)]
pub(crate) struct Output {
    /// Before `tail`, in order.
    chunks: VecDeque<Chunk>,
    /// Copied bytes after all chunks.
    tail: Vec<u8>,
    /// Bytes of the first chunk (of the tail, when there is none) that were sent.
    sent: usize,
    waiting: usize,
}

enum Chunk {
    Bytes(Vec<u8>),
    Blob(Blob),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Blob(blob) => blob,
        }
    }
}

/// Slices handed to one call of the kernel.
pub(crate) const SLICES_MAX: usize = 64;

impl Output {
    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(crate) fn has_capacity(&self) -> bool {
        self.tail.capacity() > 0
    }

    /// Gives the tail a used buffer to grow in.
    pub(crate) fn lend(&mut self, buffer: Vec<u8>) {
        self.tail = buffer;
    }

    /// Takes the tail's buffer back, once nothing waits.
    pub(crate) fn reclaim(&mut self) -> Vec<u8> {
        debug_assert!(self.waiting == 0);
        std::mem::take(&mut self.tail)
    }

    /// All that waited, in one piece, was sent: the buffer it lay in.
    pub(crate) fn sent_all(&mut self) -> Vec<u8> {
        debug_assert!(self.chunks.is_empty());
        (self.waiting, self.sent) = (0, 0);
        let mut buffer = std::mem::take(&mut self.tail);
        buffer.clear();
        buffer
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.waiting += bytes.len();
    }

    pub(crate) fn push_blob(&mut self, blob: Blob) {
        if blob.is_empty() {
            return;
        }
        self.waiting += blob.len();
        if !self.tail.is_empty() {
            self.chunks.push_back(Chunk::Bytes(std::mem::take(&mut self.tail)));
        }
        self.chunks.push_back(Chunk::Blob(blob));
    }

    /// All that waits, where it lies in one piece: the common case.
    pub(crate) fn whole(&self) -> Option<&[u8]> {
        self.chunks.is_empty().then(|| &self.tail[self.sent..])
    }

    /// What can be handed to one call, in order.
    pub(crate) fn slices<'a>(&'a self, into: &mut [&'a [u8]; SLICES_MAX]) -> usize {
        let parts = self.chunks.iter().map(Chunk::bytes).chain(std::iter::once(&self.tail[..]));
        let mut count = 0;
        for (part, slot) in parts.zip(into.iter_mut()) {
            *slot = if count == 0 { &part[self.sent..] } else { part };
            count += 1;
        }
        if into[count - 1].is_empty() { count - 1 } else { count }
    }

    /// That many bytes were sent.
    pub(crate) fn sent(&mut self, mut count: usize) {
        self.waiting -= count;
        while let Some(first) = self.chunks.front() {
            let left = first.bytes().len() - self.sent;
            if count < left {
                self.sent += count;
                return;
            }
            count -= left;
            self.sent = 0;
            self.chunks.pop_front();
        }
        self.sent += count;
        if self.sent == self.tail.len() {
            self.tail.clear();
            self.sent = 0;
        } else if self.sent >= self.tail.len() / 2 {
            // Where something always waits, what was sent must not stay until nothing does.
            self.tail.drain(..self.sent);
            self.sent = 0;
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    #[test]
    fn output_that_is_never_empty_keeps_what_waits_alone() {
        let mut output = Output::default();
        output.push(&[0; 1000]);
        for _ in 0..10_000 {
            output.push(&[0; 1000]);
            output.sent(1000);
        }
        assert_eq!(output.waiting(), 1000);
        assert!(output.tail.capacity() < 8000, "{} bytes for 1,000 that wait", output.tail.capacity());
        assert!(output.sent_all().is_empty());
        assert_eq!((output.waiting(), output.has_capacity()), (0, false));
    }

    #[test]
    fn output_leaves_in_order_whatever_the_kernel_takes() {
        for seed in 0..300 {
            let mut stream = Chance::new(seed).stream("output");
            let mut output = Output::default();
            let (mut expected, mut sent) = (Vec::new(), Vec::new());
            for round in 0..60u8 {
                let bytes = vec![round; stream.below(20) as usize];
                expected.extend_from_slice(&bytes);
                if stream.below(3) == 0 {
                    output.push_blob(Blob::from(bytes));
                } else {
                    output.push(&bytes);
                }
                assert_eq!(output.waiting(), expected.len() - sent.len());
                let mut slices = [&[][..]; SLICES_MAX];
                let count = output.slices(&mut slices);
                let all = slices[..count].concat();
                let taken = stream.between(0, all.len() as u64) as usize;
                sent.extend_from_slice(&all[..taken]);
                output.sent(taken);
            }
            while output.waiting() > 0 {
                let mut slices = [&[][..]; SLICES_MAX];
                let count = output.slices(&mut slices);
                let all = slices[..count].concat();
                sent.extend_from_slice(&all);
                output.sent(all.len());
            }
            assert_eq!(sent, expected, "seed {seed}");
        }
    }

    #[test]
    fn what_is_left_comes_from_the_first_unused_byte() {
        let mut left = Left::default();
        left.push(b"abcdef");
        left.used(2);
        left.push(b"gh");
        assert_eq!(left.bytes(), b"cdefgh");
        left.used(5);
        assert_eq!(left.bytes(), b"h");
        left.used(1);
        assert_eq!(left.len(), 0);
    }
}
