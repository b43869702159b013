//! A snapshot: what this core has, written beside the log so that the log before it may go.
//!
//! It is taken in steps, between other events, while things change. That is sound because what changes meanwhile is
//! logged behind the mark at which the snapshot began, and carrying a record out twice does no more than once: a task
//! that is there is not accepted again, one that has ended does not end again, one that is gone stays gone.

use crate::keep::{self, Disk, Record};
use crate::peer::Said;
use crate::shard::Faas;
use crate::task::Stage;
use crate::uuid::Uuid;
use core::time::Duration;
use machine::{Instant, LogMark, Now, Outbox, Stored};
use std::collections::VecDeque;

/// Bytes logged before a snapshot is worth its price; or twice what it would hold, if that is more.
const LOGGED_MIN: u64 = 64 * 1024 * 1024;

/// What one step writes at most.
const STEP: usize = 1000;

/// How long to wait for a disk that has enough to do.
const PAUSE: Duration = Duration::from_millis(5);

/// A snapshot on its way.
#[derive(Debug, Default)]
pub struct Snapshot {
    state: State,
    /// Bytes that were logged when the last one began.
    logged: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    None,
    /// Tasks that are yet to be written, and the mark at which it began.
    Writing(LogMark, VecDeque<Uuid>),
    /// All is written; the disk has not said that it is safe.
    Written,
}

impl Faas {
    /// Begins a snapshot when it is time, and goes on with it; says when to look again.
    pub(crate) fn snapshot(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) -> Option<Instant> {
        if !self.config.is_kept || self.keep.disk != Disk::Good {
            return None;
        }
        match &mut self.snapshot.state {
            State::Written => None,
            State::None => {
                let wanted = LOGGED_MIN.max(2 * self.tasks.bytes() as u64);
                if self.keep.logged - self.snapshot.logged < wanted {
                    return None;
                }
                self.begin_snapshot(out);
                Some(now.at)
            }
            State::Writing(mark, left) => {
                let mark = *mark;
                let mut step = Vec::new();
                while step.len() < STEP && out.save_room() > 0 {
                    let Some(id) = left.pop_front() else { break };
                    step.push(id);
                }
                let is_whole = left.is_empty();
                for id in step {
                    self.save_task(id, out);
                }
                if is_whole {
                    out.saved(mark);
                    self.snapshot.state = State::Written;
                    return None;
                }
                Some(if out.save_room() > 0 { now.at } else { now.at + PAUSE })
            }
        }
    }

    fn begin_snapshot(&mut self, out: &mut impl Outbox<Said = Said>) {
        self.snapshot.logged = self.keep.logged;
        for (id, function) in self.functions.iter().filter(|(id, _)| self.owners.of(*id) == self.seat.core) {
            save(&Record::Function { id, name: &function.name, code: &function.code }, &mut self.draft, out);
        }
        for (at, key, id) in self.tasks.keys.iter() {
            save(&Record::Key { id: Uuid(id), at: at.micros(), key }, &mut self.draft, out);
        }
        let all = self.tasks.iter().map(|(task, _)| task.id).collect();
        self.snapshot.state = State::Writing(self.keep.mark(), all);
    }

    /// A task, as records that make it what it is. One that ends just now has ended: who was told nothing of it yet
    /// will be told the same.
    fn save_task(&mut self, id: Uuid, out: &mut impl Outbox<Said = Said>) {
        let Some((task, _)) = self.tasks.find(id) else { return };
        let record = Record::Task {
            id,
            function: task.function,
            timeout_ms: task.timeout_ms,
            accepted: task.times.accepted,
            key: b"",
            payload: &task.payload,
        };
        save(&record, &mut self.draft, out);
        match &task.stage {
            Stage::Ending(ended) | Stage::Ended(ended) => {
                save(&keep::ended(task, ended), &mut self.draft, out)
            }
            Stage::Queued(item) => {
                let (attempt, attempts) = (task.attempts, self.tasks.tried(*item));
                if attempt > 0 {
                    save(&Record::Left { id, attempt }, &mut self.draft, out);
                }
                if attempts > 0 {
                    save(&Record::Lost { id, attempts }, &mut self.draft, out);
                }
            }
        }
    }

    /// What the disk says of it.
    pub(crate) fn snapshot_stored(&mut self, what: Stored, out: &mut impl Outbox<Said = Said>) {
        match what {
            Stored::Saved(_) => self.snapshot.state = State::None,
            Stored::Unsaved => {
                out.unsave();
                self.snapshot.state = State::None;
            }
            Stored::Logged(_) | Stored::Full | Stored::Failed => {}
        }
    }
}

fn save(record: &Record<'_>, draft: &mut Vec<u8>, out: &mut impl Outbox<Said = Said>) {
    draft.clear();
    record.write(draft);
    out.save(draft);
}
