//! Buffers that the kernel picks from when bytes arrive (io_uring_register_buf_ring(3)).

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

/// IOU_PBUF_RING_INC: a buffer is used up piece by piece.
const INCREMENTAL: u16 = 2;

/// The buffers of one ring, of one size, in the order in which the kernel takes them.
pub(crate) struct Pool {
    entries: Mapping,
    bytes: Mapping,
    count: u16,
    size: usize,
    tail: u16,
    /// The number of the buffer at each place of the ring, and the place of each number.
    order: Vec<u16>,
    place: Vec<u16>,
    /// How much of each buffer is used up, when buffers are used up piece by piece.
    used: Vec<usize>,
}

/// Zeroed memory of this thread, present before it is used.
struct Mapping {
    start: *mut u8,
    length: usize,
}

impl Mapping {
    fn new(length: usize) -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: an anonymous mapping at a place that the kernel chooses touches no memory of ours.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), length })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is mapped, and whoever owns it is gone.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

impl Pool {
    /// Registers `count` buffers of `size` bytes as group 0. The pool must outlive the ring.
    pub(crate) fn new(uring: &IoUring, count: u16, size: usize, incremental: bool) -> io::Result<Self> {
        let entries = Mapping::new(usize::from(count) * size_of::<BufRingEntry>())?;
        let bytes = Mapping::new(usize::from(count) * size)?;
        let flags = if incremental { INCREMENTAL } else { 0 };
        // SAFETY: the entries are mapped, as many as are said, and live longer than the ring.
        unsafe { uring.submitter().register_buf_ring_with_flags(entries.start as u64, count, 0, flags) }?;
        let zeros = || vec![0; usize::from(count)];
        let (order, place, used) = (zeros(), zeros(), vec![0; usize::from(count)]);
        let mut pool = Self { entries, bytes, count, size, tail: 0, order, place, used };
        (0..count).for_each(|number| pool.give(number));
        pool.publish();
        Ok(pool)
    }

    /// The bytes of the buffer of that number, from where pieces before it end.
    pub(crate) fn piece(&self, number: u16, length: usize) -> &[u8] {
        let start = usize::from(number) * self.size + self.used[usize::from(number)];
        // SAFETY: the kernel says that it put so many bytes there, and writes there no more until it is given back.
        unsafe { std::slice::from_raw_parts(self.bytes.start.add(start), length) }
    }

    /// Takes so many bytes of a buffer as read; more come behind them.
    pub(crate) fn use_up(&mut self, number: u16, length: usize) {
        self.used[usize::from(number)] += length;
    }

    /// Every buffer that a bundle of `length` bytes from this one on fills, with its bytes.
    pub(crate) fn bundle(&self, first: u16, length: usize) -> impl Iterator<Item = (u16, usize)> + use<> {
        let (place, size, mask) = (self.place[usize::from(first)], self.size, self.count - 1);
        let order = self.order.clone();
        (0..length.div_ceil(size)).map(move |index| {
            let number = order[usize::from(place.wrapping_add(index as u16) & mask)];
            (number, size.min(length - index * size))
        })
    }

    /// Gives a buffer to the kernel, with the next [`publish`](Self::publish).
    pub(crate) fn give(&mut self, number: u16) {
        let place = self.tail & (self.count - 1);
        self.order[usize::from(place)] = number;
        self.place[usize::from(number)] = place;
        self.used[usize::from(number)] = 0;
        // SAFETY: the place is one of the ring's, which the kernel does not read before the tail is published.
        unsafe {
            let entry = &mut *self.entries.start.cast::<BufRingEntry>().add(usize::from(place));
            entry.set_addr(self.bytes.start.add(usize::from(number) * self.size) as u64);
            entry.set_len(self.size as u32);
            entry.set_bid(number);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    pub(crate) fn publish(&self) {
        // SAFETY: the tail lies in the first entry, where the kernel reads it as an atomic.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.start.cast::<BufRingEntry>()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}
