//! The records of a log on their way to the disk. What waits becomes a *group* when the one before is safe: so however
//! many wait, one write makes them safe, and each segment is only ever written at its end.
//!
//! The hard thing is a disk that fails. After a failed sync the kernel calls lost pages clean, and a second one would
//! say that all is well; so the segment is given up, and the group is written once more, to another. If that fails
//! too, the log has failed for good.

use super::blocks::{BLOCK, Blocks};
use super::calls::Call;
use super::format::{self, HEADER, Holds, Kind, PREFIX};
use super::operation::{Operation, Trouble, WRITE_MAX, check_sync, check_write};
use super::replay::Live;
use super::shelf::{Held, Segment, Shelf, salt};
use machine::{LogMark, Stored};
use std::collections::VecDeque;
use std::os::fd::AsRawFd;

/// Spares kept; more are removed.
const SPARES_MAX: usize = 2;

/// What waits, what is on its way, and the segments.
#[derive(Debug)]
pub(super) struct Groups {
    /// Those before the one being written, in order.
    segments: VecDeque<Segment>,
    current: Open,
    pub(super) spares: Vec<Held>,
    /// Appended and not yet on its way, without checksums.
    pending: Vec<u8>,
    /// Whether anything of it was asked for: the salt of a new life waits for company.
    has_records: bool,
    group: Blocks,
    /// Of the group's bytes, those that were in the file before it; whole blocks of it that are written.
    old: usize,
    written: usize,
    /// The mark after all that was appended.
    end: u64,
    /// The mark before which everything is safe, and the last one that a notice told.
    safe: u64,
    noticed: u64,
    step: Step,
    is_in_flight: bool,
    wants_cut: bool,
    health: Health,
    /// A segment was given up, and nothing was made safe since.
    gave_up: bool,
    /// Segments that were given up.
    pub(super) given_up: u64,
}

/// The segment being written.
#[derive(Debug)]
struct Open {
    held: Held,
    base: u64,
    number: u32,
    /// What the checksum of the next record begins with.
    salt: u64,
    /// Bytes of it that count, with the header; 0 when that is still to be written.
    length: u64,
    /// The last of them, from the last boundary of a block on.
    tail: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Idle,
    Write,
    Sync,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// Full, and told; whether the next try has to wait.
    Full {
        is_waiting: bool,
    },
    /// The segment was given up and there is no other yet.
    Homeless,
    Failed,
}

impl Groups {
    /// Goes on with the last segment that was found, or begins in a spare.
    ///
    /// # Panics
    /// Without either.
    pub(super) fn new(end: u64, last: Option<(Live, Held, Vec<u8>)>, mut spares: Vec<Held>) -> Self {
        let mut pending = Vec::new();
        let is_reopened = last.is_some();
        let current = match last {
            Some((live, held, tail)) => Open {
                held,
                base: live.header.base,
                number: live.header.number,
                salt: live.salt,
                length: live.length,
                tail,
            },
            None => Open::new(spares.pop().expect("one was made for it"), end, 0),
        };
        let mut all = end;
        if is_reopened {
            format::put(&mut pending, Kind::Life, &salt().to_le_bytes());
            all += pending.len() as u64;
        }
        Self {
            segments: VecDeque::new(),
            current,
            spares,
            pending,
            has_records: false,
            group: Blocks::default(),
            old: 0,
            written: 0,
            end: all,
            safe: end,
            noticed: end,
            step: Step::Idle,
            is_in_flight: false,
            wants_cut: false,
            health: Health::Good,
            gave_up: false,
            given_up: 0,
        }
    }

    /// The segments before the last, and the number of the next.
    pub(super) fn set_earlier(&mut self, segments: VecDeque<Segment>, number: u32) {
        self.segments = segments;
        if self.current.length == 0 {
            self.current.number = number;
        }
    }

    /// Appends a record. After a failure it is dropped.
    pub(super) fn append(&mut self, record: &[u8]) -> u64 {
        self.put(Kind::Data, record);
        self.has_records = true;
        self.end
    }

    fn put(&mut self, kind: Kind, payload: &[u8]) {
        if self.health != Health::Failed {
            format::put(&mut self.pending, kind, payload);
        }
        self.end += (PREFIX + payload.len()) as u64;
    }

    pub(super) fn end(&self) -> u64 {
        self.end
    }

    pub(super) fn safe(&self) -> u64 {
        self.safe
    }

    pub(super) fn waiting(&self) -> usize {
        let pending = if self.has_records { self.pending.len() } else { 0 };
        if self.health == Health::Failed { 0 } else { pending + self.group.len() - self.old }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.step == Step::Idle && !self.is_in_flight && (!self.has_records || self.health == Health::Failed)
    }

    pub(super) fn is_full(&self) -> bool {
        matches!(self.health, Health::Full { .. })
    }

    pub(super) fn is_failed(&self) -> bool {
        self.health == Health::Failed
    }

    /// Whether nothing can be written before there is a spare.
    pub(super) fn is_homeless(&self) -> bool {
        self.health == Health::Homeless
    }

    pub(super) fn is_direct(&self) -> bool {
        self.current.held.is_direct
    }

    pub(super) fn wants_spare(&self) -> bool {
        self.spares.is_empty() && self.health != Health::Failed
    }

    pub(super) fn retry(&mut self) {
        if let Health::Full { is_waiting } = &mut self.health {
            *is_waiting = false;
        }
    }

    /// The next group goes to a new segment, so that those before can go with a snapshot.
    pub(super) fn cut(&mut self) {
        self.wants_cut = true;
    }

    /// There is a spare more.
    pub(super) fn house(&mut self, spare: Held) {
        self.spares.push(spare);
        if self.health == Health::Homeless {
            self.health = Health::Good;
            self.move_on(true);
        }
    }

    pub(super) fn next_operation(&mut self, shelf: &Shelf) -> Option<Operation<'_>> {
        let is_waiting =
            matches!(self.health, Health::Full { is_waiting: true } | Health::Homeless | Health::Failed);
        if self.is_in_flight || is_waiting {
            return None;
        }
        if self.step == Step::Idle {
            if !self.has_records {
                return None;
            }
            self.begin(shelf);
        }
        self.is_in_flight = true;
        let held = &self.current.held;
        let fd = held.file.as_raw_fd();
        if self.step == Step::Sync {
            shelf.note(&Call::Sync(&held.name));
            return Some(Operation::Sync { fd, is_data: true });
        }
        let offset = self.current.begin() + self.written as u64;
        let whole = self.group.whole();
        let end = whole.len().min(self.written + WRITE_MAX);
        let bytes = &whole[self.written..end];
        shelf.note(&Call::Write(&held.name, offset, bytes));
        Some(Operation::Write { fd, offset, bytes, is_synced: self.is_one_write() })
    }

    /// Whether the group can be made safe by its only write: where nothing but bytes changes and the answer is the
    /// disk's own.
    fn is_one_write(&self) -> bool {
        let end = self.current.begin() + self.group.whole().len() as u64;
        self.current.held.is_direct && end <= self.current.held.room && self.group.whole().len() <= WRITE_MAX
    }

    /// Everything that waits becomes the group on its way, with a header where the file is new, and a notice.
    fn begin(&mut self, shelf: &Shelf) {
        if self.safe > self.noticed {
            self.noticed = self.safe;
            self.put(Kind::Notice, &self.safe.to_le_bytes());
        }
        let after = self.current.length + self.pending.len() as u64;
        let is_over = after > self.current.held.room && self.current.length > HEADER as u64;
        if (is_over || self.wants_cut) && self.current.length > 0 && !self.spares.is_empty() {
            self.move_on(false);
        }
        let pending = std::mem::take(&mut self.pending);
        self.fill(&pending, shelf);
        self.pending = pending;
        self.pending.clear();
        self.pending.shrink_to(4 * WRITE_MAX);
        self.has_records = false;
        self.step = Step::Write;
    }

    fn fill(&mut self, records: &[u8], shelf: &Shelf) {
        let current = &mut self.current;
        self.group.clear();
        self.written = 0;
        self.group.extend(&current.tail);
        if current.length == 0 {
            self.group.extend(&shelf.header(Holds::Log, current.base, current.salt, current.number));
        }
        self.old = self.group.len();
        self.group.extend(records);
        current.salt = format::seal(&mut self.group.bytes_mut()[self.old..], self.safe, current.salt);
    }

    /// From here on a spare is the current segment.
    fn move_on(&mut self, is_given_up: bool) {
        let spare = self.spares.pop().expect("the caller looked");
        let new = Open::new(spare, self.safe, self.current.number + 1);
        let old = std::mem::replace(&mut self.current, new);
        self.segments.push_back(Segment { base: old.base, name: old.held.name, is_given_up });
        self.wants_cut = false;
    }

    pub(super) fn completed(&mut self, result: i32, shelf: &Shelf) -> Option<Stored> {
        assert!(self.is_in_flight, "a result has an operation");
        self.is_in_flight = false;
        if self.health == Health::Failed {
            self.fail();
            return None;
        }
        let done = match self.step {
            Step::Idle => unreachable!("nothing is in flight when idle"),
            Step::Write => self.wrote(result, shelf),
            Step::Sync => check_sync(result).map(|()| {
                shelf.note(&Call::Synced(&self.current.held.name));
                Some(self.end_group())
            }),
        };
        match done {
            Ok(told) => told,
            Err(trouble) => self.suffer(trouble),
        }
    }

    fn wrote(&mut self, result: i32, shelf: &Shelf) -> Result<Option<Stored>, Trouble> {
        let is_one = self.is_one_write();
        let written = check_write(result)?;
        let whole = self.written + written == self.group.whole().len();
        shelf.note(&Call::Wrote(&self.current.held.name, written as u64, is_one && whole));
        if whole {
            if is_one {
                return Ok(Some(self.end_group()));
            }
            self.step = Step::Sync;
        }
        // What was not a whole block is written once more.
        self.written = if whole { self.written + written } else { (self.written + written) / BLOCK * BLOCK };
        Ok(None)
    }

    fn end_group(&mut self) -> Stored {
        let current = &mut self.current;
        current.length = current.begin() + self.group.len() as u64;
        let tail = self.group.len() / BLOCK * BLOCK;
        current.tail.clear();
        current.tail.extend_from_slice(&self.group.bytes()[tail..]);
        self.gave_up = false;
        self.safe = current.base + current.length - HEADER as u64;
        self.group.clear();
        self.old = 0;
        self.step = Step::Idle;
        self.health = Health::Good;
        Stored::Logged(LogMark(self.safe))
    }

    fn suffer(&mut self, trouble: Trouble) -> Option<Stored> {
        match trouble {
            Trouble::Again => None,
            Trouble::NoRoom => {
                let is_news = !self.is_full();
                self.health = Health::Full { is_waiting: true };
                is_news.then_some(Stored::Full)
            }
            Trouble::Broken if !self.gave_up => {
                self.give_up();
                None
            }
            Trouble::Broken => Some(self.fail()),
        }
    }

    /// The group goes back to what waits, and its segment is left as it is.
    fn give_up(&mut self) {
        self.given_up += 1;
        self.gave_up = true;
        let mut records = self.group.bytes()[self.old..].to_vec();
        records.append(&mut self.pending);
        self.pending = records;
        self.has_records = true;
        self.group.clear();
        self.old = 0;
        self.step = Step::Idle;
        self.health = Health::Good;
        if self.spares.is_empty() {
            self.health = Health::Homeless;
        } else {
            self.move_on(true);
        }
    }

    /// Nothing more is kept; what the kernel still reads, until it has.
    pub(super) fn fail(&mut self) -> Stored {
        self.health = Health::Failed;
        self.pending = Vec::new();
        self.has_records = false;
        self.old = 0;
        if !self.is_in_flight {
            self.step = Step::Idle;
            self.group = Blocks::default();
        }
        Stored::Failed
    }

    /// A snapshot stands for everything before the mark: segments that hold nothing else are spares now.
    pub(super) fn release(&mut self, upto: u64, shelf: &Shelf) {
        while let Some(first) = self.segments.front() {
            let end = self.segments.get(1).map_or(self.current.base, |next| next.base);
            if end > upto {
                return;
            }
            let is_wanted = self.spares.len() < SPARES_MAX && !first.is_given_up;
            match shelf.hold(&first.name, shelf.segment_bytes) {
                Ok(held) if is_wanted => self.spares.push(held),
                // One that cannot be removed is a spare at the next start.
                Ok(_) | Err(_) => drop(shelf.remove(&first.name)),
            }
            self.segments.pop_front();
        }
    }
}

impl Open {
    fn new(held: Held, base: u64, number: u32) -> Self {
        Self { held, base, number, salt: salt(), length: 0, tail: Vec::new() }
    }

    /// The offset of the block in which the next record begins.
    fn begin(&self) -> u64 {
        self.length / BLOCK as u64 * BLOCK as u64
    }
}
