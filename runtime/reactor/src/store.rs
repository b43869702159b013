//! A core's log, driven by its ring: at most one operation for records and one for chores in flight, and what the
//! disk says told to the shard.

use crate::eras::Eras;
use crate::io::{Happening, Io};
use crate::log::{Lane, Log, Operation, RETRY_MS};
use crate::ring::{Op, Tag};
use machine::{CoreId, LogMark, Stored, TimerId};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of records that may wait for the disk before nothing more is taken from sockets.
const WAITING_MAX: usize = 16 * 1024 * 1024;
/// The same for parts of a snapshot. A shard that looks at the room for them comes near it only when much changes
/// while it saves.
const SAVING_MAX: usize = 256 * 1024 * 1024;
/// Bytes of a snapshot that wait, from which on a shard should save no more: two writes' worth.
const SAVING_HIGH: usize = 512 * 1024;
/// When a full disk is tried again.
const RETRY: Duration = Duration::from_millis(RETRY_MS);
/// The internal timer for it.
pub(crate) const STORE_TIMER: TimerId = TimerId(2);

/// Where a core keeps things, if it does.
pub(crate) struct Store {
    log: Option<Log>,
    /// By lane.
    in_flight: [bool; 2],
    is_retrying: bool,
    /// Something was logged where nothing can be kept.
    refused: bool,
    /// Groups of records made safe, for the gauges.
    pub(crate) groups: u64,
    /// Until the first snapshot since the start: who is to know of it.
    eras: Option<Arc<Eras>>,
    /// The disk was said to be full.
    is_told_full: bool,
    warn: fn(&str),
}

impl Store {
    /// People are told by `warn` when the disk is full or fails.
    pub(crate) fn new(log: Option<Log>, eras: Option<Arc<Eras>>, warn: fn(&str)) -> Self {
        let eras = eras.filter(|eras| eras.has_earlier());
        Self {
            log,
            in_flight: [false; 2],
            is_retrying: false,
            refused: false,
            groups: 0,
            eras,
            is_told_full: false,
            warn,
        }
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

    pub(crate) fn save_room(&self) -> usize {
        SAVING_HIGH.saturating_sub(self.log.as_ref().map_or(0, Log::saving))
    }

    pub(crate) fn unsave(&mut self) {
        if let Some(log) = &mut self.log {
            log.unsave();
        }
    }

    /// Whether so much waits for the disk that no more should be taken in. Not while it is full: reads go on, and
    /// a shard that was told logs nothing.
    pub(crate) fn is_full(&self) -> bool {
        let Some(log) = &self.log else { return false };
        (log.waiting() > WAITING_MAX && !log.is_full()) || log.saving() > SAVING_MAX
    }

    /// Whether all that was asked is safe, or cannot be.
    pub(crate) fn is_done(&self) -> bool {
        let Some(log) = &self.log else { return true };
        !self.is_in_flight() && (log.wants_retry() || log.is_idle())
    }

    /// Whether the disk is at work on bytes of ours.
    pub(crate) fn is_in_flight(&self) -> bool {
        self.in_flight.contains(&true)
    }

    /// Tells people what became of the disk.
    fn tell(&mut self, core: CoreId, what: Stored) {
        let core = core.0;
        match what {
            Stored::Full => {
                self.is_told_full = true;
                (self.warn)(&format!(
                    "core {core}: the disk is full: what was logged waits until there is room"
                ));
            }
            Stored::Logged(_) if self.is_told_full => {
                self.is_told_full = false;
                (self.warn)(&format!("core {core}: the disk has room again"));
            }
            Stored::Failed => {
                (self.warn)(&format!("core {core}: the disk failed: nothing more is kept before a restart"));
            }
            Stored::Logged(_) | Stored::Saved(_) | Stored::Unsaved => {}
        }
    }

    /// The end: tells people when not all is safe.
    pub(crate) fn tell_lost(&self, core: CoreId) {
        if self.is_told_full {
            let (core, waiting) = (core.0, self.waiting());
            (self.warn)(&format!(
                "core {core}: the disk is still full: what was changed last is not kept ({waiting} bytes waited)"
            ));
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.log.as_ref().map_or(0, |log| log.waiting() + log.saving())
    }
}

impl<Said> Io<Said> {
    /// Hands the disk its next pieces of work.
    pub(crate) fn flush_store(&mut self) {
        if std::mem::take(&mut self.store.refused) {
            self.happenings.push_back(Happening::Stored(Stored::Failed));
        }
        let Some(log) = &mut self.store.log else { return };
        for (index, lane) in Lane::ALL.into_iter().enumerate() {
            if self.store.in_flight[index] {
                continue;
            }
            let Some(operation) = log.next_operation(lane) else { continue };
            self.store.in_flight[index] = true;
            let tag = Tag::new(Op::Log, index as u32, 0);
            match operation {
                Operation::Write { fd, offset, bytes, is_synced } => {
                    self.ring.write_at(fd, bytes, offset, is_synced, tag);
                }
                Operation::Sync { fd, is_data } => self.ring.sync(fd, is_data, tag),
            }
        }
        if log.wants_retry() && !self.store.is_retrying {
            self.store.is_retrying = true;
            self.patience.set(STORE_TIMER, Some(self.now.at + RETRY));
        }
    }

    /// The disk's answer for a lane.
    pub(crate) fn stored(&mut self, lane: u32, result: i32) {
        let index = lane as usize;
        self.store.in_flight[index] = false;
        let Some(log) = &mut self.store.log else { return };
        if let Some(what) = log.completed(Lane::ALL[index], result) {
            match what {
                Stored::Logged(_) => self.store.groups += 1,
                Stored::Saved(_) => {
                    if let Some(eras) = self.store.eras.take() {
                        eras.saved();
                    }
                }
                Stored::Unsaved | Stored::Full | Stored::Failed => {}
            }
            self.store.tell(self.seat.core, what);
            self.happenings.push_back(Happening::Stored(what));
        }
    }

    /// Tries a full disk again.
    pub(crate) fn retry_store(&mut self) {
        self.store.is_retrying = false;
        if let Some(log) = &mut self.store.log {
            log.retry();
        }
    }
}
