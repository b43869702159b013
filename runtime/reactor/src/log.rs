//! What a core keeps: records appended to a log, and now and then a snapshot that takes the place of the log before
//! it. It exists to turn `log`, `save` and `saved` of the seam into writes and syncs, of which at most one is in
//! flight, and their results into `Stored`. It does not do them: the core's ring does, and tests do in their own way.
//!
//! Records wait in memory while the group before them is written and synced, then go as one group: so however many
//! wait, two operations make them safe. The hard thing is what a disk may answer. A full one is waited for, with
//! everything kept. One that failed to write or to sync is never asked again: after a failed fsync the kernel calls
//! lost pages clean, and a second one would say all is well.
//!
//! Making, renaming and removing a file are done at once, without the ring; that happens only around a snapshot.

mod format;
mod operation;
mod shelf;

pub use format::RECORD_MAX;
pub use operation::{Operation, WRITE_MAX};
pub use shelf::Replayed;

use crate::fatal::Fatal;
use format::{HEADER, Holds, Kind, PREFIX};
use machine::{Kept, LogMark, Seat, Stored};
use operation::{Flight, Trouble, check_sync, sync, trouble_of_file};
use shelf::{Open, Segment, Shelf};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::Path;

/// How long to wait before [`Log::retry`] while the disk is full.
pub const RETRY_MS: u64 = 250;

/// A snapshot is synced every so many bytes, so that no sync of it holds up the log for long.
const SNAPSHOT_SYNC_EVERY: u64 = 8 * 1024 * 1024;

/// One core's log.
#[derive(Debug)]
pub struct Log {
    shelf: Shelf,
    /// Those before the one being written, in order.
    segments: VecDeque<Segment>,
    current: Open,
    /// Appended and not yet on its way.
    pending: Vec<u8>,
    /// The group on its way.
    group: Flight,
    /// The mark after all that was appended.
    end: u64,
    /// The mark before which everything is safe, and the last one that a notice told.
    safe: u64,
    noticed: u64,
    /// The first is being written.
    snapshots: VecDeque<Snapshot>,
    step: Step,
    is_in_flight: bool,
    was_log_last: bool,
    health: Health,
}

#[derive(Debug, Default)]
struct Snapshot {
    file: Option<File>,
    /// Encoded and not yet on its way.
    pending: Vec<u8>,
    flight: Flight,
    /// Bytes written, and of these not synced.
    length: u64,
    unsynced: u64,
    /// Where the next part will stand.
    place: u64,
    parts: u64,
    /// When it is whole: the mark for which it stands.
    upto: Option<u64>,
}

/// What is being done: the operation in flight, or the one to be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    /// The group into the log, its sync, and where the file is new that of the directory.
    LogWrite,
    LogSync,
    LogName,
    /// The directory, so that what follows has an answer to be told with: then the file is made.
    SnapshotBegin,
    SnapshotWrite,
    SnapshotSync,
    /// The directory, after the renaming.
    SnapshotName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// Full, and told; whether the next try has to wait for `retry`.
    Full {
        is_waiting: bool,
    },
    Failed,
}

impl Log {
    /// Opens the log of this core in this directory, making both where they are not, and tells everything kept:
    /// the parts of the snapshot, then the records after it. Waits for the disk. A torn tail is cut off.
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
        tell: &mut dyn FnMut(Kept<'_>),
    ) -> Result<(Self, Replayed), Fatal> {
        let shelf = Shelf::open(directory, seat, system, version)?;
        let (segments, current, end, replayed) = shelf.replay(tell)?;
        let log = Self {
            shelf,
            segments: segments.into(),
            current,
            pending: Vec::new(),
            group: Flight::default(),
            end,
            safe: end,
            noticed: end,
            snapshots: VecDeque::new(),
            step: Step::Idle,
            is_in_flight: false,
            was_log_last: false,
            health: Health::Good,
        };
        Ok((log, replayed))
    }

    /// Appends a record. The mark is the place after it. After a failure it is dropped.
    ///
    /// # Panics
    /// When it is longer than [`RECORD_MAX`].
    pub fn append(&mut self, record: &[u8]) -> LogMark {
        self.put_pending(Kind::Data, record);
        LogMark(self.end)
    }

    /// The mark after all that was appended.
    #[must_use]
    pub fn mark(&self) -> LogMark {
        LogMark(self.end)
    }

    /// Adds a part to the snapshot being made, beginning one where there is none. After a failure it is dropped.
    ///
    /// # Panics
    /// When it is longer than [`RECORD_MAX`].
    pub fn save(&mut self, part: &[u8]) {
        if let Some(snapshot) = self.open_snapshot() {
            snapshot.put(Kind::Data, part);
            snapshot.parts += 1;
        }
    }

    /// Ends the snapshot being made: its parts (there may be none) stand for everything before the mark.
    ///
    /// # Panics
    /// When the mark is one that was never given.
    pub fn saved(&mut self, upto: LogMark) {
        assert!(upto.0 <= self.end, "a snapshot stands for what was logged");
        if let Some(snapshot) = self.open_snapshot() {
            let payload = [upto.0.to_le_bytes(), snapshot.parts.to_le_bytes()].concat();
            snapshot.put(Kind::End, &payload);
            snapshot.upto = Some(upto.0);
        }
    }

    /// Bytes not yet written and synced, of records and parts.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let of_snapshots: usize =
            self.snapshots.iter().map(|one| one.pending.len() + one.flight.bytes.len()).sum();
        self.pending.len() + self.group.bytes.len() + of_snapshots
    }

    /// Whether everything asked for is done: nothing waits and nothing is in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.step == Step::Idle
            && !self.is_in_flight
            && self.pending.is_empty()
            && self.snapshot_step().is_none()
    }

    /// Whether the disk was full at the last try: call [`retry`](Self::retry) every [`RETRY_MS`].
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.health, Health::Full { .. })
    }

    /// Lets the next operation try a full disk again.
    pub fn retry(&mut self) {
        if let Health::Full { is_waiting } = &mut self.health {
            *is_waiting = false;
        }
    }

    /// What the disk shall do next. None while something is in flight, while a full disk is waited for, after a
    /// failure, and when there is nothing to do.
    pub fn next_operation(&mut self) -> Option<Operation<'_>> {
        if self.is_in_flight || matches!(self.health, Health::Full { is_waiting: true } | Health::Failed) {
            return None;
        }
        if self.step == Step::Idle {
            self.step = self.choose()?;
        }
        self.is_in_flight = true;
        Some(match self.step {
            Step::Idle => unreachable!("a step was chosen"),
            Step::LogWrite => self.group.operation(&self.current.file, self.current.length),
            Step::LogSync => sync(&self.current.file),
            Step::SnapshotBegin | Step::LogName | Step::SnapshotName => sync(&self.shelf.directory),
            Step::SnapshotWrite => {
                let (snapshot, file) = self.writing();
                snapshot.flight.operation(file, snapshot.length)
            }
            Step::SnapshotSync => sync(self.writing().1),
        })
    }

    /// Takes the result of the operation in flight: bytes written or 0, or a negative errno. Returns what the shard
    /// is to be told, if anything.
    ///
    /// # Panics
    /// When nothing is in flight.
    pub fn completed(&mut self, result: i32) -> Vec<Stored> {
        assert!(self.is_in_flight, "a result has an operation");
        self.is_in_flight = false;
        match self.advance(result) {
            Ok(told) => told.into_iter().collect(),
            Err(error) => self.suffer(error).into_iter().collect(),
        }
    }

    /// What to begin: log and snapshot in turn where both have something.
    fn choose(&mut self) -> Option<Step> {
        let of_snapshot = self.snapshot_step();
        let is_logs_turn = !self.was_log_last || of_snapshot.is_none();
        self.was_log_last = !self.pending.is_empty() && is_logs_turn;
        if self.was_log_last {
            self.begin_group();
            return Some(Step::LogWrite);
        }
        if of_snapshot == Some(Step::SnapshotWrite) {
            self.snapshots[0].begin_flight();
        }
        of_snapshot
    }

    fn snapshot_step(&self) -> Option<Step> {
        let snapshot = self.snapshots.front()?;
        if snapshot.file.is_none() {
            return Some(Step::SnapshotBegin);
        }
        let is_written = snapshot.pending.is_empty() && snapshot.flight.bytes.is_empty();
        if snapshot.unsynced >= SNAPSHOT_SYNC_EVERY || (is_written && snapshot.upto.is_some()) {
            return Some(Step::SnapshotSync);
        }
        (!is_written).then_some(Step::SnapshotWrite)
    }

    /// Everything that waits becomes the group on its way, with the header where the file is new, and a notice.
    fn begin_group(&mut self) {
        if self.safe > self.noticed {
            self.noticed = self.safe;
            self.put_pending(Kind::Notice, &self.safe.to_le_bytes());
        }
        if self.current.length == 0 {
            let header = self.shelf.header(Holds::Log, self.current.segment.base);
            self.pending.splice(0..0, header);
        }
        std::mem::swap(&mut self.pending, &mut self.group.bytes);
    }

    /// The step in hand is done, or cannot be: on to the next.
    fn advance(&mut self, result: i32) -> Result<Option<Stored>, Trouble> {
        match self.step {
            Step::Idle => unreachable!("nothing is in flight when idle"),
            Step::LogWrite => {
                self.current.length += self.group.advance(result)?;
                if self.group.bytes.is_empty() {
                    self.step = Step::LogSync;
                }
                Ok(None)
            }
            Step::LogSync => {
                check_sync(result)?;
                if self.current.is_named {
                    return Ok(Some(self.end_group()));
                }
                self.step = Step::LogName;
                Ok(None)
            }
            Step::LogName => {
                check_sync(result)?;
                self.current.is_named = true;
                Ok(Some(self.end_group()))
            }
            Step::SnapshotBegin => {
                check_sync(result)?;
                self.begin_snapshot()?;
                Ok(self.heal())
            }
            Step::SnapshotWrite => {
                let snapshot = &mut self.snapshots[0];
                let written = snapshot.flight.advance(result)?;
                snapshot.length += written;
                snapshot.unsynced += written;
                self.step = Step::Idle;
                Ok(self.heal())
            }
            Step::SnapshotSync => {
                check_sync(result)?;
                self.synced_snapshot()
            }
            Step::SnapshotName => {
                check_sync(result)?;
                Ok(Some(self.end_snapshot()))
            }
        }
    }

    fn end_group(&mut self) -> Stored {
        self.step = Step::Idle;
        self.health = Health::Good;
        self.safe = self.written_end();
        Stored::Logged(LogMark(self.safe))
    }

    /// Something found room again: says so with the mark that is known.
    fn heal(&mut self) -> Option<Stored> {
        if !self.is_full() {
            return None;
        }
        self.health = Health::Good;
        Some(Stored::Logged(LogMark(self.safe)))
    }

    /// The file of the snapshot, and from here on a new segment, so that the ones before can go with it.
    fn begin_snapshot(&mut self) -> Result<(), Trouble> {
        let file = self.shelf.make_snapshot().map_err(|error| trouble_of_file(&error))?;
        self.snapshots[0].file = Some(file);
        self.step = Step::Idle;
        self.cut();
        Ok(())
    }

    fn synced_snapshot(&mut self) -> Result<Option<Stored>, Trouble> {
        let snapshot = &mut self.snapshots[0];
        snapshot.unsynced = 0;
        let is_whole =
            snapshot.upto.is_some() && snapshot.pending.is_empty() && snapshot.flight.bytes.is_empty();
        self.step = Step::Idle;
        if is_whole {
            self.step = Step::SnapshotSync;
            self.shelf.keep_snapshot().map_err(|error| trouble_of_file(&error))?;
            self.step = Step::SnapshotName;
        }
        Ok(None)
    }

    /// The snapshot is in its place: the segments it stands for go. One that cannot be removed goes at the next start.
    fn end_snapshot(&mut self) -> Stored {
        self.step = Step::Idle;
        let snapshot = self.snapshots.pop_front().expect("it was being written");
        let upto = snapshot.upto.expect("it is whole");
        if upto >= self.written_end() {
            self.cut();
        }
        while let Some(first) = self.segments.front() {
            let end = self.segments.get(1).map_or(self.current.segment.base, |next| next.base);
            if end > upto {
                break;
            }
            let _ = fs::remove_file(&first.path);
            self.segments.pop_front();
        }
        Stored::Saved(LogMark(upto))
    }

    /// Begins a new segment where the written log ends. Where none can be made, the old one goes on.
    fn cut(&mut self) {
        if self.current.length <= HEADER as u64 {
            return;
        }
        if let Ok(new) = self.shelf.make_segment(self.written_end()) {
            let old = std::mem::replace(&mut self.current, new);
            self.segments.push_back(old.segment);
        }
    }

    /// What the shard is told of trouble.
    fn suffer(&mut self, trouble: Trouble) -> Option<Stored> {
        match trouble {
            Trouble::Again => None,
            Trouble::NoRoom => {
                let is_news = !self.is_full();
                self.health = Health::Full { is_waiting: true };
                // A snapshot that finds no room does not keep the log from trying.
                if matches!(self.step, Step::SnapshotBegin | Step::SnapshotWrite) {
                    self.step = Step::Idle;
                }
                is_news.then_some(Stored::Full)
            }
            Trouble::Broken => {
                self.health = Health::Failed;
                self.step = Step::Idle;
                self.pending = Vec::new();
                self.group = Flight::default();
                self.snapshots.clear();
                Some(Stored::Failed)
            }
        }
    }

    /// The mark after all that was written into the current segment.
    fn written_end(&self) -> u64 {
        self.current.segment.base + self.current.length.saturating_sub(HEADER as u64)
    }

    fn put_pending(&mut self, kind: Kind, payload: &[u8]) {
        if self.health != Health::Failed {
            format::put(&mut self.pending, self.end, kind, payload);
        }
        self.end += (PREFIX + payload.len()) as u64;
    }

    /// The snapshot that is not yet ended, begun where there is none.
    fn open_snapshot(&mut self) -> Option<&mut Snapshot> {
        if self.health == Health::Failed {
            return None;
        }
        if self.snapshots.back().is_none_or(|last| last.upto.is_some()) {
            let pending = self.shelf.header(Holds::Snapshot, 0).to_vec();
            self.snapshots.push_back(Snapshot { pending, place: HEADER as u64, ..Snapshot::default() });
        }
        self.snapshots.back_mut()
    }

    fn writing(&self) -> (&Snapshot, &File) {
        let snapshot = &self.snapshots[0];
        (snapshot, snapshot.file.as_ref().expect("it was made before anything is written"))
    }
}

impl Snapshot {
    fn put(&mut self, kind: Kind, payload: &[u8]) {
        format::put(&mut self.pending, self.place, kind, payload);
        self.place += (PREFIX + payload.len()) as u64;
    }

    fn begin_flight(&mut self) {
        if self.flight.bytes.is_empty() {
            std::mem::swap(&mut self.pending, &mut self.flight.bytes);
        }
    }
}

#[cfg(test)]
mod tests;
