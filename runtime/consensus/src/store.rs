//! The entries that the Raft library reads again: those that followers may still lack, in memory, after a point up to
//! which the state stands for them. What is on disk is in the log of the core, written by [`Group`](crate::Group).

use crate::message::{Entry, Meta};
use crate::record::{Hard, Record, Unreadable};
use core::cell::Cell;
use raft::eraftpb;
use raft::util::limit_size;
use raft::{GetEntriesContext, RaftState, StorageError};
use std::collections::VecDeque;
use std::sync::Arc;

/// What a group holds of its ledger.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) hard: Hard,
    /// Where the state begins that the members are known of: at a start, all up to here is applied.
    pub(crate) base: Meta,
    /// Index and term of the last entry that is no longer here.
    trimmed: (u64, u64),
    entries: VecDeque<eraftpb::Entry>,
    /// A snapshot for those who are far behind, while one is being sent.
    pub(crate) offer: Option<Offer>,
    /// The library would like one.
    pub(crate) wants_offer: Cell<bool>,
    /// A snapshot of which pieces were replayed.
    pieces: Vec<u8>,
    /// A whole one that was replayed, for the system.
    pub(crate) replayed: Option<Vec<u8>>,
}

/// A whole state, and what it stands for.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) of: Meta,
    pub(crate) bytes: Arc<[u8]>,
}

impl Store {
    /// Nothing yet, among these members.
    pub(crate) fn new(voters: Vec<u16>, learners: Vec<u16>) -> Self {
        Self {
            hard: Hard::default(),
            base: Meta { index: 0, term: 0, voters, learners },
            trimmed: (0, 0),
            entries: VecDeque::new(),
            offer: None,
            wants_offer: Cell::new(false),
            pieces: Vec::new(),
            replayed: None,
        }
    }

    /// Takes in what was kept.
    ///
    /// # Errors
    /// When entries are missing between it and what was kept before: a record is lost.
    pub(crate) fn replay(&mut self, record: Record) -> Result<(), Unreadable> {
        match record {
            Record::Step { hard, entries } => {
                self.follow(&entries)?;
                self.hard = hard.unwrap_or(self.hard);
                self.append(entries.into_iter().map(Entry::into_raft));
            }
            Record::Piece { of, offset, total, bytes } => {
                // Pieces before this one may be of a snapshot that never became whole.
                self.pieces.truncate(offset as usize);
                self.pieces.extend_from_slice(&bytes);
                if self.pieces.len() as u64 >= total {
                    self.replayed = Some(core::mem::take(&mut self.pieces));
                    self.restore(of);
                }
            }
            Record::Base { hard, of, entries } => {
                self.restore(of);
                self.follow(&entries)?;
                self.hard = hard;
                self.append(entries.into_iter().map(Entry::into_raft));
            }
        }
        Ok(())
    }

    /// Whether entries can be put behind those that are here, none missing.
    fn follow(&self, entries: &[Entry]) -> Result<(), Unreadable> {
        let mut last = self.last();
        for entry in entries.iter().filter(|entry| entry.index > self.trimmed.0) {
            if entry.index > last + 1 {
                return Err(Unreadable::Malformed);
            }
            last = entry.index;
        }
        Ok(())
    }

    /// Entries that replace all from the first one's index on.
    pub(crate) fn append(&mut self, entries: impl IntoIterator<Item = eraftpb::Entry>) {
        for entry in entries {
            if entry.index <= self.trimmed.0 {
                continue;
            }
            let keep = (entry.index - self.trimmed.0 - 1) as usize;
            assert!(keep <= self.entries.len(), "entry {} would leave a gap", entry.index);
            self.entries.truncate(keep);
            self.entries.push_back(entry);
        }
    }

    /// A snapshot stands for everything.
    pub(crate) fn restore(&mut self, of: Meta) {
        self.entries.clear();
        self.trimmed = (of.index, of.term);
        self.hard.commit = self.hard.commit.max(of.index);
        self.base = of;
    }

    /// Forgets entries up to `index`, which the state stands for.
    pub(crate) fn trim(&mut self, index: u64) {
        while let Some(first) = self.entries.front()
            && first.index <= index
        {
            self.trimmed = (first.index, first.term);
            self.entries.pop_front();
        }
    }

    pub(crate) fn first(&self) -> u64 {
        self.trimmed.0 + 1
    }

    pub(crate) fn last(&self) -> u64 {
        self.trimmed.0 + self.entries.len() as u64
    }

    /// Entries after `index`, to be written down.
    pub(crate) fn after(&self, index: u64) -> Vec<Entry> {
        let skip = (index + 1).saturating_sub(self.first()) as usize;
        self.entries.iter().skip(skip).map(Entry::from_raft).collect()
    }

    /// The term of an entry that is here, or the last that no longer is.
    pub(crate) fn term_of(&self, index: u64) -> Option<u64> {
        if index == self.trimmed.0 {
            return Some(self.trimmed.1);
        }
        let place = index.checked_sub(self.first())? as usize;
        self.entries.get(place).map(|entry| entry.term)
    }
}

impl raft::Storage for Store {
    fn initial_state(&self) -> raft::Result<RaftState> {
        let hard = eraftpb::HardState {
            term: self.hard.term,
            vote: self.hard.vote,
            commit: self.hard.commit.clamp(self.trimmed.0, self.last()),
            ..Default::default()
        };
        Ok(RaftState::new(hard, self.base.to_raft().get_conf_state().clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<eraftpb::Entry>> {
        if low < self.first() {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.last() + 1, "entries to {high} of {}", self.last());
        let max_size = max_size.into();
        // No more are copied than can be sent: a follower that is far behind is sent a piece of what it lacks.
        let mut size = 0;
        let most = max_size.unwrap_or(u64::MAX);
        let range = (low - self.first()) as usize..(high - self.first()) as usize;
        let mut entries: Vec<_> = self
            .entries
            .range(range)
            .take_while(|entry| {
                let fits = size <= most;
                size += entry.data.len() as u64;
                fits
            })
            .cloned()
            .collect();
        limit_size(&mut entries, max_size);
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        let missing =
            if index < self.trimmed.0 { StorageError::Compacted } else { StorageError::Unavailable };
        self.term_of(index).ok_or_else(|| missing.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<eraftpb::Snapshot> {
        match &self.offer {
            Some(offer) if offer.of.index >= request_index && offer.of.index + 1 >= self.first() => {
                let mut snapshot = eraftpb::Snapshot::default();
                snapshot.set_metadata(offer.of.to_raft());
                Ok(snapshot)
            }
            _ => {
                self.wants_offer.set(true);
                Err(StorageError::SnapshotTemporarilyUnavailable.into())
            }
        }
    }
}
