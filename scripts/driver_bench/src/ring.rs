//! A ring, as both sides use it: entries are queued, submitted with the next wait, and completions come as words.

use crate::way::Setup;
use io_uring::{IoUring, cqueue, squeue};
use std::io;

/// Entries that are submitted at once.
const SUBMISSIONS: u32 = 4096;
/// Completions of 10,000 connections at once.
const COMPLETIONS: u32 = 32_768;

/// What was asked for, in the upper half of a request's word.
pub(crate) const ACCEPT: u64 = 1 << 32;
pub(crate) const RECEIVE: u64 = 2 << 32;
pub(crate) const SEND: u64 = 3 << 32;
/// Of whom, in the lower.
pub(crate) const WHOM: u64 = ACCEPT - 1;

pub(crate) struct Ring {
    pub(crate) uring: IoUring,
}

impl Ring {
    pub(crate) fn new(setup: Setup) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(COMPLETIONS);
        match setup {
            Setup::Deferred => builder.setup_single_issuer().setup_defer_taskrun(),
            Setup::Cooperative => builder.setup_coop_taskrun(),
            Setup::Plain => &mut builder,
        };
        Ok(Self { uring: builder.build(SUBMISSIONS)? })
    }

    /// Queues an entry; what it points at must stay until it has completed.
    pub(crate) fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: both sides keep buffers and sockets until the ring is gone.
        while unsafe { self.uring.submission().push(entry) }.is_err() {
            self.submit(0);
        }
    }

    /// Submits what is queued and waits for so many completions.
    pub(crate) fn submit(&mut self, wait: usize) {
        match self.uring.submit_and_wait(wait) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            Err(error) => panic!("the ring: {error}"),
        }
    }

    /// Takes up to `most` completions that are there.
    pub(crate) fn take(&mut self, most: usize, taken: &mut Vec<cqueue::Entry>) {
        taken.clear();
        taken.extend(self.uring.completion().take(most));
    }

    /// Whether completions are there that were not taken.
    pub(crate) fn has_more(&mut self) -> bool {
        !self.uring.completion().is_empty()
    }
}
