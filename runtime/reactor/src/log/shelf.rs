//! The directory of one core's log: which files there are, and making and removing them. `core-N-SERIAL.log` are
//! segments and *spares*: files that have been written with zeros, so that writing over them changes nothing but
//! their bytes, and a sync has nothing else to wait for. `core-N.snapshot` is the last whole snapshot;
//! `core-N.snapshot.new` one in the making.
//!
//! A file keeps its name for life; what it holds stands in its header alone. So a spare becomes a segment, and a
//! segment whose records a snapshot stands for becomes a spare, without a word to the directory: the hard thing, an
//! order of renamings and syncs that survives a power cut between any two, is not needed.

use super::blocks::BLOCK;
use super::calls::{Call, Calls};
use super::format::{HEADER, Header, Holds};
use super::replay;
use crate::fatal::Fatal;
use machine::Seat;
use std::cell::{Cell, RefCell};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where a core's files are, and whose they are.
#[derive(Debug)]
pub(super) struct Shelf {
    pub(super) directory: File,
    pub(super) path: PathBuf,
    pub(super) seat: Seat,
    pub(super) system: String,
    pub(super) version: u32,
    /// Bytes that a segment is written with before it is used.
    pub(super) segment_bytes: u64,
    calls: Option<RefCell<Calls>>,
    /// The file system opens files past the page cache and then does not write them.
    pub(super) is_buffered: Cell<bool>,
    /// The serial number of the next file.
    next_serial: u32,
    /// Held for as long as the log is open: two processes on one log would destroy it.
    _lock: File,
}

/// A file of the log that is open.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) file: File,
    /// It goes past the page cache.
    pub(super) is_direct: bool,
    /// Bytes of it that were written and synced before: over these, only bytes change.
    pub(super) room: u64,
}

/// One file of the log that was written before.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: u64,
    pub(super) name: String,
    /// Never written again: a sync of it failed.
    pub(super) is_given_up: bool,
}

/// How a log is kept.
#[derive(Clone, Debug)]
pub struct Keeping {
    /// Bytes of a segment: two for each core are written at the first start. A longer group makes one longer.
    pub segment_bytes: u64,
    /// Where to note what the disk is asked, for tests.
    pub calls: Option<PathBuf>,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { segment_bytes: 32 * 1024 * 1024, calls: None }
    }
}

impl Shelf {
    pub(super) fn open(
        path: &Path,
        seat: Seat,
        system: &str,
        version: u32,
        keeping: &Keeping,
    ) -> Result<Self, Fatal> {
        let at = |error: io::Error| replay::unreadable(path, &error.to_string());
        fs::create_dir_all(path).map_err(at)?;
        let directory = File::open(path).map_err(at)?;
        let lock_path = path.join(format!("core-{}.lock", seat.core.0));
        let lock =
            OpenOptions::new().create(true).truncate(false).write(true).open(&lock_path).map_err(at)?;
        // SAFETY: flock takes a descriptor we own and numbers.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            return Err(replay::unreadable(path, "another process keeps its data there"));
        }
        let calls = keeping.calls.as_deref().map(Calls::append_to).transpose().map_err(at)?;
        Ok(Self {
            directory,
            path: path.to_owned(),
            seat,
            system: system.to_owned(),
            version,
            segment_bytes: keeping.segment_bytes.next_multiple_of(BLOCK as u64).max(BLOCK as u64),
            calls: calls.map(RefCell::new),
            is_buffered: Cell::new(false),
            next_serial: 0,
            _lock: lock,
        })
    }

    pub(super) fn header(&self, holds: Holds, base: u64, salt: u64, number: u32) -> [u8; HEADER] {
        let (system, version, seat) = (self.system.clone(), self.version, self.seat);
        Header { holds, system, version, seat, base, salt, number }.write()
    }

    /// Notes a call, where calls are noted.
    pub(super) fn note(&self, call: &Call<'_>) {
        if let Some(calls) = &self.calls {
            calls.borrow_mut().note(call);
        }
    }

    /// Whether there is room for a spare, and as much again for what grows meanwhile.
    pub(super) fn has_room(&self) -> bool {
        // SAFETY: all zeros is a value of it, and it is ours to be filled.
        let mut found: libc::statvfs = unsafe { std::mem::zeroed() };
        // SAFETY: an open descriptor and a struct of ours.
        let result = unsafe { libc::fstatvfs(self.directory.as_raw_fd(), &raw mut found) };
        result != 0 || found.f_bavail.saturating_mul(found.f_frsize) > 2 * self.segment_bytes
    }

    /// A name that no file of this log has had.
    pub(super) fn new_name(&mut self) -> String {
        let name = format!("core-{}-{:08x}.log", self.seat.core.0, self.next_serial);
        self.next_serial += 1;
        name
    }

    /// The names of the segments and spares of this core, and none of them is given again.
    pub(super) fn names(&mut self) -> io::Result<Vec<String>> {
        let names = replay::names(&self.path, self.seat.core.0)?;
        let serials = names.iter().filter_map(|name| replay::serial(name));
        self.next_serial = serials.max().map_or(0, |last| last + 1);
        Ok(names)
    }

    /// Makes an empty file. Its name is safe only after the directory has been synced.
    pub(super) fn make(&self, name: &str) -> io::Result<Held> {
        self.note(&Call::Make(name));
        let path = self.path.join(name);
        OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        self.hold(name, 0)
    }

    /// Opens a file for writing: past the page cache, where the file system can.
    pub(super) fn hold(&self, name: &str, room: u64) -> io::Result<Held> {
        let path = self.path.join(name);
        let open = |flags| OpenOptions::new().write(true).custom_flags(flags).open(&path);
        match open(libc::O_DIRECT) {
            Ok(file) if !self.is_buffered.get() => {
                Ok(Held { name: name.into(), file, is_direct: true, room })
            }
            Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Err(error),
            Ok(_) | Err(_) => Ok(Held { name: name.into(), file: open(0)?, is_direct: false, room }),
        }
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.note(&Call::Remove(name));
        fs::remove_file(self.path.join(name))
    }

    pub(super) fn make_snapshot(&self) -> io::Result<File> {
        let name = snapshot_name(self.seat.core.0, true);
        self.note(&Call::Make(&name));
        OpenOptions::new().create(true).truncate(true).write(true).open(self.path.join(name))
    }

    /// Removes what was written of a snapshot that was never whole, if there is any.
    pub(super) fn forget_half_a_snapshot(&self) {
        let name = snapshot_name(self.seat.core.0, true);
        if self.path.join(&name).exists() {
            // One that cannot be removed is written over by the next.
            drop(self.remove(&name));
        }
    }

    /// Puts the snapshot in the making, whole and synced, in the place of the one before.
    pub(super) fn keep_snapshot(&self) -> io::Result<()> {
        let (from, to) = (snapshot_name(self.seat.core.0, true), snapshot_name(self.seat.core.0, false));
        self.note(&Call::Rename(&from, &to));
        fs::rename(self.path.join(from), self.path.join(to))
    }
}

pub(super) fn snapshot_name(core: u16, is_new: bool) -> String {
    format!("core-{core}.snapshot{}", if is_new { ".new" } else { "" })
}

/// A number that nobody can guess.
pub(super) fn salt() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: fills eight bytes of ours. Without entropy it stays 0, which only costs the guard against stale bytes
    // that were written on purpose.
    unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    u64::from_ne_bytes(bytes)
}
