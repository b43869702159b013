//! A core's log, driven by its ring: at most one write or sync in flight, and what the disk says told to the shard.

use crate::io::{Happening, Io};
use crate::log::{Log, Operation};
use crate::ring::{Op, Tag};
use machine::{LogMark, Stored, TimerId};
use std::time::Duration;

/// Bytes that may wait for the disk before nothing more is taken from sockets.
const WAITING_MAX: usize = 16 * 1024 * 1024;
/// When a full disk is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// The internal timer for it.
pub(crate) const STORE_TIMER: TimerId = TimerId(2);

/// Where a core keeps things, if it does.
pub(crate) struct Store {
    log: Option<Log>,
    in_flight: bool,
    /// There was no room at the last try.
    full: bool,
    /// Something was logged where nothing can be kept.
    refused: bool,
}

impl Store {
    pub(crate) fn new(log: Option<Log>) -> Self {
        Self { log, in_flight: false, full: false, refused: false }
    }

    pub(crate) fn append(&mut self, record: &[u8]) -> LogMark {
        match &mut self.log {
            Some(log) => log.append(record),
            None => {
                self.refused = true;
                LogMark::default()
            }
        }
    }

    pub(crate) fn save(&mut self, part: &[u8]) {
        match &mut self.log {
            Some(log) => log.save(part),
            None => self.refused = true,
        }
    }

    pub(crate) fn saved(&mut self, upto: LogMark) {
        match &mut self.log {
            Some(log) => log.saved(upto),
            None => self.refused = true,
        }
    }

    /// Whether so much waits for the disk that no more should be taken in. Not while it is full: reads go on, and
    /// a shard that was told logs nothing.
    pub(crate) fn is_full(&self) -> bool {
        !self.full && self.log.as_ref().is_some_and(|log| log.waiting() > WAITING_MAX)
    }

    /// Whether all that was asked is safe, or cannot be.
    pub(crate) fn is_done(&self) -> bool {
        !self.in_flight && (self.full || self.log.as_ref().is_none_or(Log::is_idle))
    }

    /// Whether the disk is at work on bytes of ours.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight
    }

    pub(crate) fn waiting(&self) -> usize {
        self.log.as_ref().map_or(0, Log::waiting)
    }
}

impl<Said> Io<Said> {
    /// Hands the disk its next piece of work.
    pub(crate) fn flush_store(&mut self) {
        if std::mem::take(&mut self.store.refused) {
            self.happenings.push_back(Happening::Stored(Stored::Failed));
        }
        if self.store.in_flight {
            return;
        }
        let Some(operation) = self.store.log.as_mut().and_then(Log::next_operation) else { return };
        self.store.in_flight = true;
        let tag = Tag::new(Op::Log, 0, 0);
        match operation {
            Operation::Write { fd, offset, bytes } => {
                self.ring.write_at(fd, bytes.as_ptr(), bytes.len(), offset, tag);
            }
            Operation::Sync { fd } => self.ring.sync(fd, tag),
        }
    }

    /// The disk's answer.
    pub(crate) fn stored(&mut self, result: i32) {
        self.store.in_flight = false;
        let Some(log) = &mut self.store.log else { return };
        for what in log.completed(result) {
            match what {
                Stored::Full => {
                    self.store.full = true;
                    self.patience.set(STORE_TIMER, Some(self.now.at + RETRY));
                }
                Stored::Logged(_) | Stored::Saved(_) => self.store.full = false,
                Stored::Failed => {}
            }
            self.happenings.push_back(Happening::Stored(what));
        }
    }

    /// Tries a full disk again.
    pub(crate) fn retry_store(&mut self) {
        if let Some(log) = &mut self.store.log {
            log.retry();
            self.patience.set(STORE_TIMER, self.store.full.then(|| self.now.at + RETRY));
        }
    }
}
