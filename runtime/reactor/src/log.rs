//! What a core keeps: records appended to a log, and now and then a snapshot that takes the place of the log before
//! it. It exists to turn `log`, `save` and `saved` of the seam into writes and syncs, and their results into
//! `Stored`. It does not do them: the core's ring does, and tests do in their own way.
//!
//! There are two lanes to the disk, each with at most one operation in flight: groups of records, for which somebody
//! waits ([`group`]), and chores, for which nobody does ([`chore`]). A full disk is waited for, with everything kept.
//! One that failed to write or to sync is never asked again for the same.

mod blocks;
pub mod calls;
mod chore;
mod format;
mod group;
mod operation;
pub mod power;
mod replay;
mod shelf;

pub use format::RECORD_MAX;
pub use operation::{Operation, WRITE_MAX};
pub use replay::Replayed;
pub use shelf::Keeping;

use crate::fatal::Fatal;
use blocks::BLOCK;
use chore::{Chores, Outcome};
use format::HEADER;
use group::Groups;
use machine::{Kept, LogMark, Seat, Stored};
use replay::{Found, Live, Whose};
use shelf::{Held, Segment, Shelf};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// How long to wait before [`Log::retry`] while the disk is full.
pub const RETRY_MS: u64 = 250;

/// For whom the disk works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Records that somebody waits for.
    Groups,
    /// Snapshots, and files for later.
    Chores,
}

impl Lane {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Groups, Self::Chores];
}

/// One core's log.
#[derive(Debug)]
pub struct Log {
    shelf: Shelf,
    groups: Groups,
    chores: Chores,
    has_failed: bool,
}

impl Log {
    /// Opens the log of this core in this directory, making both where they are not, and tells everything kept:
    /// the parts of the snapshot, then the records after it. Waits for the disk: what was told is safe.
    ///
    /// `system` (at most 16 bytes) and `version` stand in each file: of another system, a newer version, another
    /// node or another number of cores nothing is read.
    ///
    /// # Errors
    /// Status 5, with a sentence, for what cannot be read, is damaged, is not ours, or is in use.
    pub fn open(
        directory: &Path,
        seat: Seat,
        system: &str,
        version: u32,
        keeping: &Keeping,
        tell: &mut dyn FnMut(Kept<'_>),
    ) -> Result<(Self, Replayed), Fatal> {
        Opening::look(directory, seat, system, version, keeping, tell)?.go_on()
    }

    /// Tells everything that the log of another core keeps, and changes nothing. Nobody may append to it meanwhile.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(
        directory: &Path,
        seat: Seat,
        system: &str,
        version: u32,
        tell: &mut dyn FnMut(Kept<'_>),
    ) -> Result<Replayed, Fatal> {
        let whose = Whose { path: directory.to_owned(), seat, system: system.to_owned(), version };
        whose.replay(tell).map(|found| found.replayed)
    }

    /// Makes what was found ready to be appended to.
    fn go_on(mut shelf: Shelf, mut found: Found) -> io::Result<Self> {
        shelf.names()?;
        // What was told may be in the kernel's hands only.
        for live in &found.live {
            File::open(shelf.path.join(&live.name))?.sync_all()?;
        }
        shelf.forget_half_a_snapshot();
        shelf.directory.sync_all()?;
        let mut spares = Vec::new();
        for name in &found.spare {
            let size = std::fs::metadata(shelf.path.join(name))?.len();
            if size == shelf.segment_bytes && spares.is_empty() {
                spares.push(shelf.hold(name, size)?);
            } else {
                // Half made, of another size, or one too many.
                shelf.remove(name)?;
            }
        }
        let next_number = found.live.last().map_or(0, |last| last.header.number + 1);
        let last = found.live.pop_if(|last| last.header.version == shelf.version);
        let last = last.map(|live| reopened(&shelf, live)).transpose()?;
        let mut chores = Chores::new();
        if last.is_none() && spares.is_empty() {
            spares.push(first(&mut chores, &mut shelf)?);
        }
        let earlier = found.live.into_iter().map(|live| Segment {
            base: live.header.base,
            name: live.name,
            is_given_up: false,
        });
        let mut groups = Groups::new(found.end, last, spares);
        groups.set_earlier(earlier.collect::<VecDeque<_>>(), next_number);
        Ok(Self { shelf, groups, chores, has_failed: false })
    }

    /// Appends a record. The mark is the place after it. After a failure it is dropped.
    ///
    /// # Panics
    /// When it is longer than [`RECORD_MAX`].
    pub fn append(&mut self, record: &[u8]) -> LogMark {
        LogMark(self.groups.append(record))
    }

    /// The mark after all that was appended.
    #[must_use]
    pub fn mark(&self) -> LogMark {
        LogMark(self.groups.end())
    }

    /// The mark before which everything is safe.
    #[must_use]
    pub fn safe(&self) -> LogMark {
        LogMark(self.groups.safe())
    }

    /// Adds a part to the snapshot being made, beginning one where there is none. After a failure it is dropped.
    ///
    /// # Panics
    /// When it is longer than [`RECORD_MAX`].
    pub fn save(&mut self, part: &[u8]) {
        if !self.has_failed {
            self.chores.save(part);
        }
    }

    /// Ends the snapshot being made: its parts (there may be none) stand for everything before the mark.
    ///
    /// # Panics
    /// When the mark is one that was never given.
    pub fn saved(&mut self, upto: LogMark) {
        assert!(upto.0 <= self.groups.end(), "a snapshot stands for what was logged");
        if !self.has_failed {
            self.chores.saved(upto.0);
            self.groups.cut();
        }
    }

    /// Gives up the snapshot being made: its parts since the last [`saved`](Self::saved) are forgotten.
    pub fn unsave(&mut self) {
        self.chores.unsave(&self.shelf);
    }

    /// Bytes of records not yet safe.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.groups.waiting()
    }

    /// Bytes of snapshots not yet written.
    #[must_use]
    pub fn saving(&self) -> usize {
        self.chores.waiting()
    }

    /// Whether everything asked for is done: nothing waits and nothing is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.groups.is_idle() && self.chores.is_idle()
    }

    /// Whether the disk was full at the last try: call [`retry`](Self::retry) every [`RETRY_MS`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.groups.is_full()
    }

    /// Whether something waits for [`retry`](Self::retry).
    #[must_use]
    pub fn wants_retry(&self) -> bool {
        self.groups.is_full() || self.chores.is_waiting()
    }

    /// Whether writes go past the page cache, where the file system can.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.groups.is_direct()
    }

    /// Segments given up because a write or sync of them failed.
    #[must_use]
    pub fn given_up(&self) -> u64 {
        self.groups.given_up
    }

    /// Lets the next operation try a full disk again.
    pub fn retry(&mut self) {
        self.groups.retry();
        self.chores.retry();
    }

    /// What the disk shall do next for this lane. None while something of it is in flight, while a full disk is
    /// waited for, after a failure, and when there is nothing to do.
    pub fn next_operation(&mut self, lane: Lane) -> Option<Operation<'_>> {
        if self.has_failed {
            return None;
        }
        match lane {
            Lane::Groups => self.groups.next_operation(&self.shelf),
            Lane::Chores => {
                // Asked each turn, so the disk is only asked for its room where it matters.
                let makes_spare =
                    self.groups.wants_spare() && (self.groups.is_homeless() || self.shelf.has_room());
                self.chores.next_operation(makes_spare, &mut self.shelf)
            }
        }
    }

    /// Takes the result of the operation in flight on a lane: bytes written or 0, or a negative errno. Returns what
    /// the shard is to be told, if anything.
    ///
    /// # Panics
    /// When nothing is in flight.
    pub fn completed(&mut self, lane: Lane, result: i32) -> Option<Stored> {
        let told = match lane {
            Lane::Groups => self.groups.completed(result, &self.shelf),
            Lane::Chores => self.chore_done(result),
        };
        if told == Some(Stored::Failed) {
            self.has_failed = true;
            self.chores.fail();
        }
        told
    }

    fn chore_done(&mut self, result: i32) -> Option<Stored> {
        match self.chores.completed(result, &self.shelf) {
            Outcome::Nothing => None,
            Outcome::Spare(held) => {
                self.groups.house(held);
                None
            }
            Outcome::NoSpare if self.groups.is_homeless() => Some(self.groups.fail()),
            Outcome::NoSpare => None,
            Outcome::Saved(upto) => {
                self.groups.release(upto, &self.shelf);
                Some(Stored::Saved(LogMark(upto)))
            }
            Outcome::Unsaved => Some(Stored::Unsaved),
            Outcome::Failed if self.groups.is_failed() => None,
            Outcome::Failed => Some(self.groups.fail()),
        }
    }
}

/// A log that was read and not yet changed.
#[derive(Debug)]
pub struct Opening {
    shelf: Shelf,
    found: Found,
}

impl Opening {
    /// The first half of [`Log::open`]: tells everything kept, and changes nothing but the lock.
    ///
    /// # Errors
    /// As there.
    pub fn look(
        directory: &Path,
        seat: Seat,
        system: &str,
        version: u32,
        keeping: &Keeping,
        tell: &mut dyn FnMut(Kept<'_>),
    ) -> Result<Self, Fatal> {
        let shelf = Shelf::open(directory, seat, system, version, keeping)?;
        let whose = Whose { path: directory.to_owned(), seat, system: system.to_owned(), version };
        let found = whose.replay(tell)?;
        Ok(Self { shelf, found })
    }

    /// The second half: makes the log ready to be appended to.
    ///
    /// # Errors
    /// As there.
    pub fn go_on(self) -> Result<(Log, Replayed), Fatal> {
        let (replayed, path) = (self.found.replayed, self.shelf.path.clone());
        let log = Log::go_on(self.shelf, self.found)
            .map_err(|error| replay::unreadable(&path, &error.to_string()))?;
        Ok((log, replayed))
    }
}

/// The last segment with the bytes of its last block.
fn reopened(shelf: &Shelf, live: Live) -> io::Result<(Live, Held, Vec<u8>)> {
    let begin = live.length / BLOCK as u64 * BLOCK as u64;
    let mut tail = vec![0; (live.length - begin) as usize];
    File::open(shelf.path.join(&live.name))?.read_exact_at(&mut tail, begin)?;
    // Whole blocks only: behind them a write would make the file longer.
    let held = shelf.hold(&live.name, live.size / BLOCK as u64 * BLOCK as u64)?;
    debug_assert!(live.length >= HEADER as u64, "it has a header");
    Ok((live, held, tail))
}

/// The first file of a log, made now and waited for: a spare, or where there is no room for one, a file that grows.
fn first(chores: &mut Chores, shelf: &mut Shelf) -> io::Result<Held> {
    while shelf.has_room()
        && let Some(operation) = chores.next_operation(true, shelf)
    {
        let result = operation.perform();
        match chores.completed(result, shelf) {
            Outcome::Spare(held) => return Ok(held),
            Outcome::Nothing => {}
            Outcome::NoSpare | Outcome::Saved(_) | Outcome::Unsaved | Outcome::Failed => break,
        }
    }
    let name = shelf.new_name();
    let held = shelf.make(&name)?;
    shelf.note(&calls::Call::Sync(""));
    shelf.directory.sync_all()?;
    shelf.note(&calls::Call::Synced(""));
    Ok(held)
}

#[cfg(test)]
mod tests;
