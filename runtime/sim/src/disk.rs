//! One core's log and snapshot on a disk that is slow, tears, fills and fails. What is written is safe only when
//! a commit has ended; a power cut in the middle of one keeps whole sectors of it, so a record that lay over a
//! sector's end is torn and gone, with all behind it.

use machine::{Kept, LogMark, Stored, Stream};
use std::collections::VecDeque;

/// Bytes that a disk writes whole or not at all.
pub(crate) const SECTOR: u64 = 512;
/// Bytes that each record costs besides its own: length and checksum.
const RECORD_HEADER: u64 = 8;
/// Bytes of a snapshot that may wait. Few, so that shards meet the bound.
const SAVING_HIGH: usize = 2048;

/// A log with its snapshot; what is on the platter and what is on the way there.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Records, oldest first, each with the mark behind it.
    records: VecDeque<(LogMark, Box<[u8]>)>,
    snapshot: Vec<Box<[u8]>>,
    /// Parts of the snapshot that is being made.
    parts: Vec<Box<[u8]>>,
    /// Snapshots that are whole and not yet safe.
    saving: VecDeque<(LogMark, Vec<Box<[u8]>>)>,
    /// Bytes of parts since the last commit ended.
    fresh: usize,
    /// A snapshot was given up while it was made, and the shard has not heard.
    deaf: bool,
    /// Everything before is safe.
    safe: LogMark,
    /// Everything before is in the commit that is under way.
    submitted: LogMark,
    next: LogMark,
    /// A commit is under way: and whether it will tell the truth.
    pub(crate) busy: bool,
    pub(crate) lying: bool,
    told_full: bool,
    /// The shard has heard that it is full, and must log nothing.
    pub(crate) known_full: bool,
    pub(crate) failed: bool,
    /// It was said to be safe up to here although it is not.
    claimed: LogMark,
}

impl Log {
    pub(crate) fn append(&mut self, record: &[u8]) -> LogMark {
        assert!(!self.known_full, "logged although the disk is full: nothing more before a Logged");
        self.next.0 += RECORD_HEADER + record.len() as u64;
        self.records.push_back((self.next, record.into()));
        self.next
    }

    pub(crate) fn save(&mut self, part: &[u8]) {
        if !self.deaf {
            self.fresh += part.len();
            self.parts.push(part.into());
        }
    }

    pub(crate) fn saved(&mut self, upto: LogMark) {
        assert!(upto <= self.next, "a snapshot stands for what was logged, up to {:?}", self.next);
        if !self.deaf {
            self.saving.push_back((upto, core::mem::take(&mut self.parts)));
        }
    }

    /// What was saved counts until a commit has ended.
    pub(crate) fn save_room(&self) -> usize {
        SAVING_HIGH.saturating_sub(self.fresh)
    }

    pub(crate) fn unsave(&mut self) {
        self.deaf = false;
        self.parts.clear();
    }

    /// There is no room for a snapshot: whether there was one.
    pub(crate) fn give_up_snapshots(&mut self) -> bool {
        let is_open = !self.parts.is_empty();
        let had = is_open || !self.saving.is_empty();
        self.deaf |= is_open;
        self.parts.clear();
        self.saving.clear();
        had
    }

    /// Whether there is something that a commit would make safe.
    pub(crate) fn wants_commit(&self) -> bool {
        !self.busy && !self.failed && (self.next > self.claimed || !self.saving.is_empty() || self.fresh > 0)
    }

    /// Bytes this log holds or wants to hold.
    pub(crate) fn bytes(&self) -> u64 {
        let first = self.records.front().map_or(self.next, |(mark, _)| *mark);
        let parts = |parts: &Vec<Box<[u8]>>| parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.next.0 - first.0 + parts(&self.snapshot) + self.saving.iter().map(|(_, p)| parts(p)).sum::<u64>()
    }

    pub(crate) fn begin(&mut self, lying: bool) {
        self.busy = true;
        self.lying = lying;
        self.submitted = self.next;
    }

    /// The disk is full: whether that is news.
    pub(crate) fn full(&mut self) -> bool {
        !core::mem::replace(&mut self.told_full, true)
    }

    /// The commit has ended; what is to be told.
    pub(crate) fn end(&mut self) -> Vec<Stored> {
        self.busy = false;
        self.fresh = 0;
        let mut told = Vec::new();
        if !self.lying {
            self.safe = self.submitted;
        }
        if self.submitted > self.claimed || self.told_full {
            self.claimed = self.submitted;
            self.told_full = false;
            told.push(Stored::Logged(self.claimed));
        }
        while !self.lying && self.saving.front().is_some_and(|(upto, _)| *upto <= self.safe) {
            let (upto, parts) = self.saving.pop_front().expect("there is a front");
            self.snapshot = parts;
            while self.records.front().is_some_and(|(mark, _)| *mark <= upto) {
                self.records.pop_front();
            }
            told.push(Stored::Saved(upto));
        }
        told
    }

    /// The process ends here. `power`: so does the machine, and of the sectors that were not safe any may be there
    /// or not; else the kernel may still write what it was given. `unchecked`: who reads looks at no checksum, and
    /// takes torn records for whole.
    pub(crate) fn cut(self, power: bool, unchecked: bool, disk: &mut Stream) -> (Self, bool) {
        let mut records = self.records;
        let mut survives = self.safe;
        if self.submitted > self.safe && power {
            let likely = *disk.pick(&[0, 200, 800, 1000]).expect("there are some");
            let sectors = self.safe.0 / SECTOR..self.submitted.0.div_ceil(SECTOR);
            let lost: Vec<u64> = sectors.filter(|_| !disk.one_in_thousand(likely)).collect();
            let first = lost.first().map_or(self.submitted.0, |sector| sector * SECTOR);
            survives = LogMark(first.clamp(self.safe.0, self.submitted.0));
            if unchecked {
                survives = self.submitted;
                records.iter_mut().for_each(|(mark, record)| blank(record, *mark, self.safe, &lost));
            }
        } else if self.submitted > self.safe {
            survives = LogMark(disk.between(self.safe.0, self.submitted.0));
        }
        let torn = records.iter().any(|(mark, _)| *mark > survives);
        records.retain(|(mark, _)| *mark <= survives);
        // Without a record left, the last safe one went with the snapshot that stands for it.
        let end = records.back().map_or(self.safe, |(mark, _)| *mark);
        let kept = Self {
            records,
            snapshot: self.snapshot,
            safe: end,
            submitted: end,
            next: end,
            claimed: end,
            ..Self::default()
        };
        (kept, torn)
    }

    /// What a shard is told before it starts.
    pub(crate) fn replay(&self, mut tell: impl FnMut(Kept<'_>)) {
        for part in &self.snapshot {
            tell(Kept::Part(part));
        }
        for (_, record) in &self.records {
            tell(Kept::Record(record));
        }
    }
}

/// Of a record that ends at this mark and was not safe, what stood in these sectors is zeros.
fn blank(record: &mut [u8], mark: LogMark, safe: LogMark, lost: &[u64]) {
    let begin = mark.0 - record.len() as u64;
    for (place, byte) in (begin..).zip(record) {
        if place >= safe.0 && lost.contains(&(place / SECTOR)) {
            *byte = 0;
        }
    }
}
