//! One thing for the disk to do, the bytes it is done with, and what its answer means. The hard thing is the last:
//! lack of room passes, a failed sync does not.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};

/// The most bytes of one write. What is longer takes several, before its one sync.
pub const WRITE_MAX: usize = 1024 * 1024;

/// Buffers longer than this are given back when their bytes have been written.
const BUFFER_KEPT: usize = 4 * 1024 * 1024;

/// What the disk shall do. Its bytes and its descriptor stay in place until [`completed`](super::Log::completed), also when the log is
/// moved; so the log must not be dropped while an operation is in flight.
#[derive(Debug)]
pub enum Operation<'a> {
    /// Write these bytes at this offset (pwrite).
    Write {
        /// The file.
        fd: RawFd,
        /// Where in it.
        offset: u64,
        /// What: 1 to [`WRITE_MAX`] bytes.
        bytes: &'a [u8],
    },
    /// Sync this file or directory (fsync).
    Sync {
        /// The file or directory.
        fd: RawFd,
    },
}

impl Operation<'_> {
    /// Does it, waiting for the disk. The result is what [`completed`](super::Log::completed) wants: bytes written, or a negative errno.
    #[must_use]
    pub fn perform(&self) -> i32 {
        // SAFETY: pwrite reads exactly `bytes`; both use a descriptor that the log holds open.
        let result = unsafe {
            match self {
                Self::Write { fd, offset, bytes } => {
                    libc::pwrite(*fd, bytes.as_ptr().cast(), bytes.len(), offset.cast_signed())
                }
                Self::Sync { fd } => libc::fsync(*fd) as isize,
            }
        };
        if result < 0 {
            -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
        } else {
            result as i32
        }
    }
}

/// Bytes being written, some of which are.
#[derive(Debug, Default)]
pub(super) struct Flight {
    pub(super) bytes: Vec<u8>,
    written: usize,
}

impl Flight {
    pub(super) fn operation(&self, file: &File, offset: u64) -> Operation<'_> {
        let end = self.bytes.len().min(self.written + WRITE_MAX);
        Operation::Write { fd: file.as_raw_fd(), offset, bytes: &self.bytes[self.written..end] }
    }

    /// So many bytes more are written; emptied when that is all.
    pub(super) fn advance(&mut self, result: i32) -> Result<u64, Trouble> {
        let Ok(written) = usize::try_from(result) else { return Err(trouble_of_write(-result)) };
        if written == 0 {
            return Err(Trouble::NoRoom);
        }
        self.written += written;
        assert!(self.written <= self.bytes.len(), "no more is written than was asked for");
        if self.written == self.bytes.len() {
            self.written = 0;
            self.bytes.clear();
            self.bytes.shrink_to(BUFFER_KEPT);
        }
        Ok(written as u64)
    }
}

/// What a disk that did not do its work means for us.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// Nothing: it was interrupted.
    Again,
    /// It may be able to later.
    NoRoom,
    /// It is not to be trusted any more.
    Broken,
}

pub(super) fn sync(file: &File) -> Operation<'_> {
    Operation::Sync { fd: file.as_raw_fd() }
}

fn trouble_of_write(errno: i32) -> Trouble {
    match errno {
        libc::EINTR | libc::EAGAIN => Trouble::Again,
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => Trouble::NoRoom,
        _ => Trouble::Broken,
    }
}

/// A sync that was interrupted may be repeated; one that failed in any other way may not.
pub(super) fn check_sync(result: i32) -> Result<(), Trouble> {
    match -result {
        0 => Ok(()),
        libc::EINTR => Err(Trouble::Again),
        _ => Err(Trouble::Broken),
    }
}

/// Making and renaming lack room also when there is no descriptor or memory.
pub(super) fn trouble_of_file(error: &io::Error) -> Trouble {
    match error.raw_os_error() {
        Some(libc::EINTR) => Trouble::Again,
        Some(libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::ENFILE | libc::ENOMEM) => Trouble::NoRoom,
        _ => Trouble::Broken,
    }
}
