//! One thing for the disk to do, and what its answer means. The hard thing is the last: lack of room passes, a
//! failed sync does not.

use std::io;
use std::os::fd::RawFd;

/// The most bytes of one write. What is longer takes several, and a sync of its own.
pub const WRITE_MAX: usize = 1024 * 1024;

/// What the disk shall do. Its bytes and its descriptor stay in place until [`completed`](super::Log::completed),
/// also when the log is moved; so the log must not be dropped while an operation is in flight.
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
        /// They are to be safe when it is done (RWF_DSYNC).
        is_synced: bool,
    },
    /// Sync this file (fdatasync) or directory (fsync).
    Sync {
        /// The file or directory.
        fd: RawFd,
        /// Only what is needed to read the file's bytes again.
        is_data: bool,
    },
}

impl Operation<'_> {
    /// Does it, waiting for the disk. The result is what [`completed`](super::Log::completed) wants: bytes written,
    /// or a negative errno.
    #[must_use]
    pub fn perform(&self) -> i32 {
        let result = match self {
            Self::Write { fd, offset, bytes, is_synced } => {
                let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
                let flags = if *is_synced { libc::RWF_DSYNC } else { 0 };
                // SAFETY: reads exactly `bytes`, and the log holds the descriptor open.
                unsafe { libc::pwritev2(*fd, &raw const part, 1, offset.cast_signed(), flags) }
            }
            // SAFETY: the log holds the descriptor open.
            Self::Sync { fd, is_data: true } => unsafe { libc::fdatasync(*fd) as isize },
            // SAFETY: as above.
            Self::Sync { fd, is_data: false } => unsafe { libc::fsync(*fd) as isize },
        };
        if result < 0 {
            -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
        } else {
            result as i32
        }
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

/// Bytes written, at least one.
pub(super) fn check_write(result: i32) -> Result<usize, Trouble> {
    match usize::try_from(result) {
        Ok(0) => Err(Trouble::NoRoom),
        Ok(written) => Ok(written),
        Err(_) => Err(match -result {
            libc::EINTR | libc::EAGAIN => Trouble::Again,
            libc::ENOSPC | libc::EDQUOT | libc::EFBIG => Trouble::NoRoom,
            _ => Trouble::Broken,
        }),
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

/// The same of a snapshot's file: one for which there is no room after all (a sync may be the first to know) is given
/// up, and its file with it, so that nothing is synced twice.
pub(super) fn check_snapshot_sync(result: i32) -> Result<(), Trouble> {
    match -result {
        libc::ENOSPC | libc::EDQUOT => Err(Trouble::NoRoom),
        _ => check_sync(result),
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
