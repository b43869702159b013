//! The io_uring of one core's hot task, and the buffers it receives into.
//!
//! One issuer, task work deferred to the moment this core asks for it: nothing runs behind its back. Receives are
//! multishot and pick a buffer from a pool when bytes arrive, so ten thousand idle connections hold none. The one
//! hard thing: a request that the kernel still holds may complete at any later moment, so its tag carries which
//! tenant of a place it was for, and whatever it writes into must live until then.

use io_uring::types::{BufRingEntry, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Submission entries: more are asked for in one turn by submitting in between.
const SUBMISSIONS: u32 = 4096;
/// Completion entries: multishot requests of 10,000 connections may complete at once; beyond it the kernel keeps
/// the rest on a list of its own (IORING_FEAT_NODROP).
const COMPLETIONS: u32 = 32_768;
/// The one group of provided buffers.
const GROUP: u16 = 0;
/// Completions taken between two readings of the clock and two flushes.
pub(crate) const COMPLETIONS_MAX: usize = 256;
/// Completions that are enough to begin with: more would keep messages from other cores waiting.
const COLLECTED: usize = 64;
/// Pieces of deferred work that the kernel does in one call (Linux, io_uring.c, IO_LOCAL_TW_DEFAULT_MAX).
const WORK_A_CALL: usize = 20;
/// Calls in which queued sends must be made, a millisecond apart: outputs can not be let go before.
const TRIES_MAX: u32 = 5_000;
/// Run deferred work, and flush what the completion queue had no room for (linux/io_uring.h, IORING_ENTER_GETEVENTS).
const ENTER_GETEVENTS: u32 = 1;

/// What a request was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    /// The eventfd by which others wake this core was written.
    Wake = 1,
    /// A listener accepted.
    Accept,
    /// Bytes in a provided buffer.
    Receive,
    /// Bytes in a buffer of the connection's own.
    ReceiveInto,
    /// A pipe can be read.
    Readable,
    /// A connection can be written again.
    Writable,
    /// A dial is connected, or not.
    Connect,
    /// A cancel was carried out; nobody waits for it.
    Cancel,
    /// The log's write or sync is done.
    Log,
    /// The keeper says something.
    Keeper,
    /// A connection that is not read is ending.
    Ending,
    /// A send was made.
    Sent,
}

impl Op {
    fn from_bits(bits: u8) -> Option<Self> {
        // A table, as this is asked for each completion.
        const ALL: [Op; 12] = [
            Op::Wake,
            Op::Accept,
            Op::Receive,
            Op::ReceiveInto,
            Op::Readable,
            Op::Writable,
            Op::Connect,
            Op::Cancel,
            Op::Log,
            Op::Keeper,
            Op::Ending,
            Op::Sent,
        ];
        ALL.get(usize::from(bits).wrapping_sub(1)).copied()
    }
}

/// What a request was for, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) op: Op,
    /// The place in its slab.
    pub(crate) index: u32,
    /// The low 24 bits of the generation: which tenant.
    pub(crate) generation: u32,
}

impl Tag {
    pub(crate) fn new(op: Op, index: u32, generation: u32) -> Self {
        Self { op, index, generation: generation & 0x00ff_ffff }
    }

    pub(crate) fn to_bits(self) -> u64 {
        (self.op as u64) << 56 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    fn from_bits(bits: u64) -> Option<Self> {
        let op = Op::from_bits((bits >> 56) as u8)?;
        Some(Self { op, index: bits as u32, generation: (bits >> 32) as u32 & 0x00ff_ffff })
    }
}

/// One completion, in our words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) tag: Tag,
    /// Not negative: what the call returned. Negative: the error number, negated.
    pub(crate) result: i32,
    /// The provided buffer it came in, to be given back.
    pub(crate) buffer: Option<u16>,
    /// Whether the request goes on.
    pub(crate) more: bool,
}

/// The ring.
pub(crate) struct Ring {
    uring: IoUring,
    /// Calls of io_uring_enter, for the gauges.
    pub(crate) enters: u64,
    /// What completed besides sends while they were made.
    aside: VecDeque<Completion>,
}

impl Ring {
    pub(crate) fn new() -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        Ok(Self { uring, enters: 0, aside: VecDeque::new() })
    }

    /// Queues a request; submits what is queued when there is no more room.
    ///
    /// Whatever `entry` points at must stay valid until its completion.
    #[inline]
    pub(crate) fn push(&mut self, entry: squeue::Entry, tag: Tag) {
        self.queue(&entry.user_data(tag.to_bits()));
    }

    #[inline]
    fn queue(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: the callers below keep buffers and addresses alive until the completion: those of a
            // connection live in its place, which is not freed while a request is outstanding; provided buffers
            // and the log's live as long as the ring.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return;
            }
            self.enters += 1;
            // EBUSY and EAGAIN ask for completions to be taken first, EINTR for another try.
            let _ = self.uring.submit();
        }
    }

    pub(crate) fn accept(&mut self, fd: RawFd, tag: Tag) {
        self.push(opcode::AcceptMulti::new(types::Fd(fd)).flags(libc::SOCK_CLOEXEC).build(), tag);
    }

    pub(crate) fn receive(&mut self, fd: RawFd, tag: Tag) {
        self.push(opcode::RecvMulti::new(types::Fd(fd), GROUP).build(), tag);
    }

    /// The same with the kernel's time of receipt; `template` is read before this core's next turn.
    pub(crate) fn receive_stamped(&mut self, fd: RawFd, template: *const libc::msghdr, tag: Tag) {
        self.push(opcode::RecvMsgMulti::new(types::Fd(fd), template, GROUP).build(), tag);
    }

    /// Receives at most `len` bytes to `into`, which must live until the completion.
    pub(crate) fn receive_into(&mut self, fd: RawFd, into: *mut u8, len: usize, tag: Tag) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        self.push(opcode::Recv::new(types::Fd(fd), into, len).build(), tag);
    }

    pub(crate) fn poll(&mut self, fd: RawFd, events: i16, tag: Tag) {
        self.push(opcode::PollAdd::new(types::Fd(fd), u32::from(events as u16)).build(), tag);
    }

    /// Connects; the address must live until the completion.
    pub(crate) fn connect(&mut self, fd: RawFd, address: *const libc::sockaddr, len: u32, tag: Tag) {
        self.push(opcode::Connect::new(types::Fd(fd), address, len).build(), tag);
    }

    /// Reads 8 bytes to `into`, which must live until the completion.
    pub(crate) fn read_word(&mut self, fd: RawFd, into: *mut u64, tag: Tag) {
        self.push(opcode::Read::new(types::Fd(fd), into.cast(), 8).build(), tag);
    }

    /// Writes to a file; the bytes must live until the completion. `is_synced`: they are safe by then.
    pub(crate) fn write_at(&mut self, fd: RawFd, bytes: &[u8], offset: u64, is_synced: bool, tag: Tag) {
        let len = u32::try_from(bytes.len()).expect("a write has its bound");
        let flags = if is_synced { libc::RWF_DSYNC } else { 0 };
        let write = opcode::Write::new(types::Fd(fd), bytes.as_ptr(), len).offset(offset).rw_flags(flags);
        self.push(write.build(), tag);
    }

    /// Syncs a file; `is_data`: only what is needed to read its bytes again.
    pub(crate) fn sync(&mut self, fd: RawFd, is_data: bool, tag: Tag) {
        let flags = if is_data { types::FsyncFlags::DATASYNC } else { types::FsyncFlags::empty() };
        self.push(opcode::Fsync::new(types::Fd(fd)).flags(flags).build(), tag);
    }

    /// Sends what the kernel takes at once. The bytes must live until [`make_sends`](Self::make_sends) has returned.
    pub(crate) fn send(&mut self, fd: RawFd, bytes: &[u8], tag: Tag) {
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        self.push(opcode::Send::new(types::Fd(fd), bytes.as_ptr(), len).flags(flags).build(), tag);
    }

    /// Makes the `count` sends that were queued, in one call, and puts what came of them to `sent`. A send that does
    /// not wait is made, or not, within the call that submits it; so nothing of it is outstanding afterwards.
    pub(crate) fn make_sends(&mut self, count: usize, sent: &mut Vec<(Tag, i32)>) {
        let mut flags = 0;
        for _ in 0..TRIES_MAX {
            self.submit(flags);
            for entry in self.uring.completion() {
                match completion(&entry) {
                    Some(Completion { tag, result, .. }) if tag.op == Op::Sent => {
                        sent.push((tag, result));
                        if sent.len() == count {
                            return;
                        }
                    }
                    Some(other) => self.aside.push_back(other),
                    None => {}
                }
            }
            // Nothing but a failed call, or a full queue, brings us here: the next one makes room too.
            if flags == ENTER_GETEVENTS {
                std::thread::sleep(Duration::from_millis(1));
            }
            flags = ENTER_GETEVENTS;
        }
        panic!("the kernel made {} of {count} sends in {TRIES_MAX} tries: it lacks memory", sent.len());
    }

    pub(crate) fn cancel(&mut self, target: Tag) {
        let tag = Tag { op: Op::Cancel, ..target };
        self.push(opcode::AsyncCancel::new(target.to_bits()).build(), tag);
    }

    /// Submits what is queued, runs the deferred work, and waits for a completion at most `wait` (none: not at
    /// all). Goes on while there is more deferred work than the kernel does in one call, until there are
    /// [`COLLECTED`] completions: those who are answered together need one wake-up.
    pub(crate) fn enter(&mut self, wait: Option<Duration>) {
        let mut before = self.uring.completion().len();
        match wait {
            Some(wait) => {
                self.enters += 1;
                let timeout = Timespec::new().sec(wait.as_secs()).nsec(wait.subsec_nanos());
                let args = SubmitArgs::new().timespec(&timeout);
                // Every error has the same answer, the next turn: ETIME (nothing came), EINTR (a signal), EBUSY (take
                // completions first), EAGAIN (memory is short).
                let _ = self.uring.submitter().submit_with_args(1, &args);
            }
            None => self.submit(ENTER_GETEVENTS),
        }
        loop {
            let after = self.uring.completion().len();
            // Work that brings more than one completion is bulk, of which more would only have to be kept.
            if after != before + WORK_A_CALL || after >= COLLECTED {
                return;
            }
            before = after;
            self.submit(ENTER_GETEVENTS);
        }
    }

    /// Submits what is queued, and does not wait.
    fn submit(&mut self, flags: u32) {
        self.enters += 1;
        let count = self.uring.submission().len() as u32;
        // SAFETY: no argument is passed, so no pointer is read. As above, an error leaves what is queued to the next
        // try.
        let _ = unsafe { self.uring.submitter().enter::<libc::sigset_t>(count, 0, flags, None) };
    }

    /// Takes at most `most` completions to the end of `into`.
    pub(crate) fn completions(&mut self, into: &mut Vec<Completion>, most: usize) {
        let first = self.aside.len().min(most);
        into.extend(self.aside.drain(..first));
        into.extend(self.uring.completion().take(most - first).filter_map(|entry| completion(&entry)));
    }

    /// Whether no completion waits to be taken.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.aside.is_empty() && self.uring.completion().is_empty()
    }

    /// Whether so many completions wait that no more are worth a call.
    pub(crate) fn is_full(&mut self) -> bool {
        self.aside.len() + self.uring.completion().len() >= COLLECTED
    }

    /// From now on each completion writes this eventfd (also deferred ones, when they become ready).
    pub(crate) fn notify(&mut self, eventfd: RawFd) -> io::Result<()> {
        self.uring.submitter().register_eventfd(eventfd)
    }

    pub(crate) fn no_longer_notify(&mut self) {
        let _ = self.uring.submitter().unregister_eventfd();
    }
}

fn completion(entry: &cqueue::Entry) -> Option<Completion> {
    Some(Completion {
        tag: Tag::from_bits(entry.user_data())?,
        result: entry.result(),
        buffer: cqueue::buffer_select(entry.flags()),
        more: cqueue::more(entry.flags()),
    })
}

/// The buffers that receives pick from. The kernel takes one when bytes arrive and gives it to us with the
/// completion; [`Buffers::give_back`] returns it.
pub(crate) struct Buffers {
    entries: *mut BufRingEntry,
    bytes: *mut u8,
    count: u16,
    size: usize,
    tail: u16,
}

impl Buffers {
    /// `count` (a power of two, at most 32,768) buffers of `size` bytes each, registered with the ring.
    pub(crate) fn new(ring: &Ring, count: u16, size: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "the kernel wants a power of two");
        let entries = map(count as usize * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let bytes = map(count as usize * size)?;
        // SAFETY: the entries were just mapped with room for `count`, and live until this is dropped, which is
        // after the ring's end (see `Core`).
        unsafe {
            ring.uring.submitter().register_buf_ring_with_flags(entries as u64, count, GROUP, 0)?;
        }
        let mut buffers = Self { entries, bytes, count, size, tail: 0 };
        (0..count).for_each(|buffer| buffers.give_back(buffer));
        buffers.publish();
        Ok(buffers)
    }

    /// The first `len` bytes of a buffer that a completion brought.
    pub(crate) fn bytes(&self, buffer: u16, len: usize) -> &[u8] {
        assert!(buffer < self.count && len <= self.size, "the kernel fills a buffer of ours");
        // SAFETY: within the mapping by the assertion; the kernel does not write to a buffer between its
        // completion and its return by `give_back`, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.bytes.add(buffer as usize * self.size), len) }
    }

    /// Returns a buffer; the kernel sees it with the next [`publish`](Self::publish).
    pub(crate) fn give_back(&mut self, buffer: u16) {
        assert!(buffer < self.count, "a buffer of ours");
        let place = self.tail & (self.count - 1);
        // SAFETY: `place` is within the mapped entries; the kernel reads an entry only once the tail passed it.
        unsafe {
            let entry = &mut *self.entries.add(place as usize);
            entry.set_addr(self.bytes.add(buffer as usize * self.size) as u64);
            entry.set_len(self.size as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel what was given back.
    pub(crate) fn publish(&mut self) {
        // SAFETY: the tail lives in the first mapped entry, is aligned, and only we write it.
        let tail = unsafe { &*BufRingEntry::tail(self.entries).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both were mapped with these lengths, and nobody holds a slice: that would borrow self.
        unsafe {
            libc::munmap(self.entries.cast(), self.count as usize * size_of::<BufRingEntry>());
            libc::munmap(self.bytes.cast(), self.count as usize * self.size);
        }
    }
}

fn map(len: usize) -> io::Result<*mut u8> {
    // SAFETY: a new anonymous mapping; the result is checked.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
            -1,
            0,
        )
    };
    if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(at.cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_tag_survives_the_kernel() {
        for bits in 1..=Op::Sent as u8 {
            assert_eq!(Op::from_bits(bits).map(|op| op as u8), Some(bits));
        }
        assert_eq!(Op::from_bits(Op::Sent as u8 + 1), None);
        let tag = Tag::new(Op::Keeper, u32::MAX, 0x01ff_ffff);
        assert_eq!(Tag::from_bits(tag.to_bits()), Some(tag));
        assert_eq!(tag.generation, 0x00ff_ffff);
        assert_eq!(Tag::from_bits(0), None);
    }

    #[test]
    fn what_comes_of_sends_is_known_when_they_are_made() {
        let pair = || UnixStream::pair().expect("two ends");
        let (open, mut reader) = pair();
        let (broken, gone) = pair();
        drop(gone);
        let ((full, _kept), (tight, _held)) = (pair(), pair());
        full.set_nonblocking(true).unwrap();
        while (&full).write(&[0; 4096]).is_ok() {}
        let large = vec![7; 16 << 20];
        let sends: [(&UnixStream, &[u8]); 4] =
            [(&open, b"hello"), (&broken, b"x"), (&full, b"x"), (&tight, &large)];

        let mut ring = Ring::new().unwrap();
        let ready = Tag::new(Op::Writable, 9, 1);
        ring.poll(open.as_raw_fd(), libc::POLLOUT, ready);
        for (index, (stream, bytes)) in sends.iter().enumerate() {
            ring.send(stream.as_raw_fd(), bytes, Tag::new(Op::Sent, index as u32, 1));
        }
        let mut sent = Vec::new();
        ring.make_sends(sends.len(), &mut sent);
        sent.sort_by_key(|(tag, _)| tag.index);
        let results: Vec<i32> = sent.iter().map(|(_, result)| *result).collect();
        assert_eq!(results[..3], [5, -libc::EPIPE, -libc::EAGAIN]);
        assert!(results[3] > 0 && results[3] < large.len() as i32, "a part was taken: {}", results[3]);
        let mut heard = [0; 5];
        reader.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");

        assert!(!ring.is_quiet(), "what else completed is there still");
        let mut others = Vec::new();
        ring.completions(&mut others, 10);
        assert_eq!(others.iter().map(|other| other.tag).collect::<Vec<_>>(), [ready]);
        assert!(ring.is_quiet());
    }

    #[test]
    fn one_enter_brings_more_than_the_kernel_does_in_one_call() {
        let mut ring = Ring::new().unwrap();
        let pairs: Vec<_> = (0..COLLECTED).map(|_| UnixStream::pair().expect("two ends")).collect();
        for (index, (near, _)) in pairs.iter().enumerate() {
            ring.poll(near.as_raw_fd(), libc::POLLIN, Tag::new(Op::Readable, index as u32, 1));
        }
        ring.enter(None);
        assert!(ring.is_quiet());
        pairs.iter().for_each(|(_, far)| (&mut &*far).write_all(b"x").unwrap());
        ring.enter(Some(Duration::from_secs(1)));
        let mut all = Vec::new();
        ring.completions(&mut all, COMPLETIONS_MAX);
        assert_eq!(all.len(), pairs.len());
    }
}
