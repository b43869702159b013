//! What a log does beside its groups, one step at a time: spares are written with zeros, so that there always is one
//! when a segment ends, and snapshots are written. Nobody waits for it, so it has a place of its own in the ring and
//! never stands before a group.

use super::blocks::Blocks;
use super::calls::Call;
use super::format::{self, HEADER, Holds, Kind, PREFIX};
use super::operation::{
    Operation, Trouble, WRITE_MAX, check_snapshot_sync, check_sync, check_write, trouble_of_file,
};
use super::shelf::{Held, Shelf, salt, snapshot_name};
use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsRawFd;

/// A snapshot is synced every so many bytes, so that no sync of it holds up the disk for long.
const SNAPSHOT_SYNC_EVERY: u64 = 8 * 1024 * 1024;

/// What is done and to be done.
#[derive(Debug)]
pub(super) struct Chores {
    /// The first is being written.
    snapshots: VecDeque<Snapshot>,
    spare: Option<Held>,
    zeros: Blocks,
    step: Step,
    is_in_flight: bool,
    /// There was no room at the last try.
    is_waiting: bool,
    /// A snapshot was given up while it was made: what comes of it still is thrown away, until who makes it has heard.
    is_deaf: bool,
    /// A spare could not be written for another reason: segments grow from then on.
    has_no_spares: bool,
    has_failed: bool,
}

#[derive(Debug)]
struct Snapshot {
    file: Option<File>,
    /// Without checksums; those on their way have them.
    pending: Vec<u8>,
    flight: Vec<u8>,
    written: usize,
    /// Bytes written, and of these not synced.
    length: u64,
    unsynced: u64,
    salt: u64,
    parts: u64,
    /// When it is whole: the mark for which it stands.
    upto: Option<u64>,
    /// Nobody wants it any more; what the kernel still reads of it stays until it has.
    is_given_up: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    SpareWrite,
    SpareSync,
    /// The directory, so that the spare's name is safe before its bytes are.
    SpareName,
    SnapshotWrite,
    SnapshotSync,
    /// The directory, after the renaming.
    SnapshotName,
}

/// What came of a chore.
#[derive(Debug)]
pub(super) enum Outcome {
    Nothing,
    Spare(Held),
    /// No spare can be had, for now or for good.
    NoSpare,
    Saved(u64),
    /// There was no room for a snapshot, which is given up.
    Unsaved,
    /// The disk failed under a snapshot.
    Failed,
}

impl Chores {
    pub(super) fn new() -> Self {
        Self {
            snapshots: VecDeque::new(),
            spare: None,
            zeros: Blocks::default(),
            step: Step::Idle,
            is_in_flight: false,
            is_waiting: false,
            is_deaf: false,
            has_no_spares: false,
            has_failed: false,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.snapshots.iter().map(|one| one.pending.len() + one.flight.len()).sum()
    }

    /// Whether nothing is to be done for a snapshot, and nothing is in flight.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_in_flight && self.snapshot_step().is_none() && self.step != Step::SnapshotName
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    pub(super) fn retry(&mut self) {
        self.is_waiting = false;
    }

    pub(super) fn save(&mut self, part: &[u8]) {
        if self.is_deaf {
            return;
        }
        let snapshot = self.open();
        format::put(&mut snapshot.pending, Kind::Data, part);
        snapshot.parts += 1;
    }

    pub(super) fn saved(&mut self, upto: u64) {
        if self.is_deaf {
            return;
        }
        let snapshot = self.open();
        let payload = [upto.to_le_bytes(), snapshot.parts.to_le_bytes()].concat();
        format::put(&mut snapshot.pending, Kind::End, &payload);
        snapshot.upto = Some(upto);
    }

    /// Gives up the snapshot that is not yet ended, if there is one.
    pub(super) fn unsave(&mut self, shelf: &Shelf) {
        self.is_deaf = false;
        let is_first = self.snapshots.len() == 1;
        let Some(last) = self.snapshots.back_mut().filter(|last| last.upto.is_none()) else { return };
        last.is_given_up = true;
        last.pending = Vec::new();
        if !is_first || !self.is_in_flight || !self.is_of_a_snapshot() {
            self.drop_given_up(shelf);
        }
    }

    fn is_of_a_snapshot(&self) -> bool {
        matches!(self.step, Step::SnapshotWrite | Step::SnapshotSync | Step::SnapshotName)
    }

    /// Removes the snapshot that was given up, of which nothing is in flight.
    fn drop_given_up(&mut self, shelf: &Shelf) {
        let Some(index) = self.snapshots.iter().position(|one| one.is_given_up) else { return };
        let given_up = self.snapshots.remove(index);
        if index == 0 && matches!(self.step, Step::SnapshotWrite | Step::SnapshotSync) {
            self.step = Step::Idle;
        }
        if given_up.is_some_and(|one| one.file.is_some()) {
            shelf.forget_half_a_snapshot();
        }
    }

    /// There is no room for the first snapshot.
    fn give_up_first(&mut self, shelf: &Shelf) -> Outcome {
        if let Some(first) = self.snapshots.front_mut() {
            first.is_given_up = true;
            self.is_deaf = first.upto.is_none();
        }
        self.drop_given_up(shelf);
        Outcome::Unsaved
    }

    /// Forgets everything; what the kernel still reads, once it has.
    pub(super) fn fail(&mut self) {
        self.has_failed = true;
        if !self.is_in_flight {
            self.snapshots.clear();
            self.spare = None;
            self.step = Step::Idle;
        }
    }

    /// The snapshot that is not yet ended, begun where there is none.
    fn open(&mut self) -> &mut Snapshot {
        if self.snapshots.back().is_none_or(|last| last.upto.is_some() || last.is_given_up) {
            self.snapshots.push_back(Snapshot {
                file: None,
                pending: Vec::new(),
                flight: Vec::new(),
                written: 0,
                length: 0,
                unsynced: 0,
                salt: salt(),
                parts: 0,
                upto: None,
                is_given_up: false,
            });
        }
        self.snapshots.back_mut().expect("one was just made")
    }

    pub(super) fn next_operation(&mut self, wants_spare: bool, shelf: &mut Shelf) -> Option<Operation<'_>> {
        if self.is_in_flight || self.is_waiting || self.has_failed {
            return None;
        }
        if self.step == Step::Idle {
            self.step = self.choose(wants_spare, shelf)?;
        }
        self.is_in_flight = true;
        Some(match self.step {
            Step::Idle => unreachable!("a step was chosen"),
            Step::SpareWrite => {
                let spare = self.spare.as_ref().expect("it is being made");
                let left = (shelf.segment_bytes - spare.room) as usize;
                let bytes = &self.zeros.whole()[..left.min(self.zeros.len())];
                shelf.note(&Call::Write(&spare.name, spare.room, bytes));
                Operation::Write { fd: spare.file.as_raw_fd(), offset: spare.room, bytes, is_synced: false }
            }
            Step::SpareSync => {
                let spare = self.spare.as_ref().expect("it is being made");
                shelf.note(&Call::Sync(&spare.name));
                Operation::Sync { fd: spare.file.as_raw_fd(), is_data: false }
            }
            Step::SpareName | Step::SnapshotName => {
                shelf.note(&Call::Sync(""));
                Operation::Sync { fd: shelf.directory.as_raw_fd(), is_data: false }
            }
            Step::SnapshotWrite => {
                let (snapshot, fd, name) = self.writing(shelf);
                let end = snapshot.flight.len().min(snapshot.written + WRITE_MAX);
                let bytes = &snapshot.flight[snapshot.written..end];
                shelf.note(&Call::Write(&name, snapshot.length, bytes));
                Operation::Write { fd, offset: snapshot.length, bytes, is_synced: false }
            }
            Step::SnapshotSync => {
                let (_, fd, name) = self.writing(shelf);
                shelf.note(&Call::Sync(&name));
                Operation::Sync { fd, is_data: false }
            }
        })
    }

    fn writing(&self, shelf: &Shelf) -> (&Snapshot, i32, String) {
        let snapshot = &self.snapshots[0];
        let fd = snapshot.file.as_ref().expect("it was made before anything is written").as_raw_fd();
        (snapshot, fd, snapshot_name(shelf.seat.core.0, true))
    }

    fn choose(&mut self, wants_spare: bool, shelf: &mut Shelf) -> Option<Step> {
        if wants_spare && !self.has_no_spares {
            let name = shelf.new_name();
            match shelf.make(&name) {
                Ok(held) => {
                    self.spare = Some(held);
                    self.zeros = Blocks::zeros(WRITE_MAX);
                    return Some(Step::SpareWrite);
                }
                Err(error) => self.suffer_spare(trouble_of_file(&error)),
            }
        }
        let step = self.snapshot_step()?;
        let snapshot = &mut self.snapshots[0];
        if snapshot.file.is_none() {
            match shelf.make_snapshot() {
                Ok(file) => snapshot.file = Some(file),
                Err(_) => {
                    // No descriptor or no inode left: it may pass, and holds nothing up but the snapshot.
                    self.is_waiting = true;
                    return None;
                }
            }
            let header = shelf.header(Holds::Snapshot, 0, snapshot.salt, 0);
            snapshot.flight.extend_from_slice(&header);
        }
        if step == Step::SnapshotWrite {
            snapshot.fly();
        }
        Some(step)
    }

    fn snapshot_step(&self) -> Option<Step> {
        let snapshot = self.snapshots.front()?;
        if snapshot.unsynced >= SNAPSHOT_SYNC_EVERY || (snapshot.is_written() && snapshot.upto.is_some()) {
            return Some(Step::SnapshotSync);
        }
        (!snapshot.is_written()).then_some(Step::SnapshotWrite)
    }

    pub(super) fn completed(&mut self, result: i32, shelf: &Shelf) -> Outcome {
        assert!(self.is_in_flight, "a result has an operation");
        self.is_in_flight = false;
        if self.has_failed {
            self.fail();
            return Outcome::Nothing;
        }
        if self.snapshots.front().is_some_and(|first| first.is_given_up) && self.is_of_a_snapshot() {
            self.drop_given_up(shelf);
            return Outcome::Nothing;
        }
        let is_spare = self.spare.is_some();
        match self.advance(result, shelf) {
            Ok(outcome) => outcome,
            Err(Trouble::Again) => Outcome::Nothing,
            Err(trouble) if is_spare => {
                if let Some(spare) = self.spare.take() {
                    drop(shelf.remove(&spare.name));
                }
                self.suffer_spare(trouble);
                self.step = Step::Idle;
                Outcome::NoSpare
            }
            Err(Trouble::NoRoom) => self.give_up_first(shelf),
            Err(Trouble::Broken) => Outcome::Failed,
        }
    }

    fn suffer_spare(&mut self, trouble: Trouble) {
        self.zeros = Blocks::default();
        match trouble {
            Trouble::Again | Trouble::NoRoom => self.is_waiting = true,
            Trouble::Broken => self.has_no_spares = true,
        }
    }

    fn advance(&mut self, result: i32, shelf: &Shelf) -> Result<Outcome, Trouble> {
        let snapshot_name = snapshot_name(shelf.seat.core.0, true);
        match self.step {
            Step::Idle => unreachable!("nothing is in flight when idle"),
            Step::SpareWrite => self.wrote_spare(result, shelf)?,
            Step::SpareSync => {
                check_sync(result)?;
                shelf.note(&Call::Synced(&self.spare.as_ref().expect("it is being made").name));
                self.step = Step::SpareName;
            }
            Step::SpareName => {
                check_sync(result)?;
                shelf.note(&Call::Synced(""));
                self.zeros = Blocks::default();
                self.step = Step::Idle;
                return Ok(Outcome::Spare(self.spare.take().expect("it is being made")));
            }
            Step::SnapshotWrite => {
                let written = check_write(result)?;
                shelf.note(&Call::Wrote(&snapshot_name, written as u64, false));
                self.snapshots[0].wrote(written);
                self.step = Step::Idle;
            }
            Step::SnapshotSync => {
                check_snapshot_sync(result)?;
                shelf.note(&Call::Synced(&snapshot_name));
                self.snapshots[0].unsynced = 0;
                self.step = Step::Idle;
                if self.snapshots[0].is_written() && self.snapshots[0].upto.is_some() {
                    shelf.keep_snapshot().map_err(|error| trouble_of_file(&error))?;
                    self.step = Step::SnapshotName;
                }
            }
            Step::SnapshotName => {
                check_sync(result)?;
                shelf.note(&Call::Synced(""));
                self.step = Step::Idle;
                let upto = self.snapshots.pop_front().and_then(|snapshot| snapshot.upto);
                return Ok(Outcome::Saved(upto.expect("it is whole")));
            }
        }
        Ok(Outcome::Nothing)
    }

    fn wrote_spare(&mut self, result: i32, shelf: &Shelf) -> Result<(), Trouble> {
        let spare = self.spare.as_mut().expect("it is being made");
        if result == -libc::EINVAL && spare.is_direct {
            shelf.is_buffered.set(true);
            *spare = shelf.hold(&spare.name, spare.room).map_err(|error| trouble_of_file(&error))?;
            return Ok(());
        }
        let written = check_write(result)? as u64;
        shelf.note(&Call::Wrote(&spare.name, written, false));
        spare.room += written;
        if spare.room >= shelf.segment_bytes {
            self.step = Step::SpareSync;
        }
        Ok(())
    }
}

impl Snapshot {
    fn is_written(&self) -> bool {
        self.pending.is_empty() && self.flight.is_empty()
    }

    /// What waits is on its way; the header, where there is one, is there already.
    fn fly(&mut self) {
        let is_new = self.length == 0 && self.written == 0;
        if self.flight.is_empty() || (is_new && self.flight.len() == HEADER) {
            let at = self.flight.len();
            self.flight.append(&mut self.pending);
            let place = self.length + at as u64;
            format::seal(&mut self.flight[at..], place, self.salt);
        }
    }

    fn wrote(&mut self, written: usize) {
        self.written += written;
        self.length += written as u64;
        self.unsynced += written as u64;
        if self.written == self.flight.len() {
            self.written = 0;
            self.flight.clear();
            self.flight.shrink_to(4 * WRITE_MAX);
        }
    }
}

/// The least bytes of a record.
const _: () = assert!(PREFIX < HEADER);
