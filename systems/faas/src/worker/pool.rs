//! The slots of a worker and the tasks that wait for one.
//!
//! A slot is sent one task at a time, so that none waits behind a long one; but as long as a function has been quick,
//! its tasks are sent ahead, so that the slot finds the next when it has done one. The one hard thing is that every task
//! is reported exactly once, whatever ends: a slot, its connection, the zygote, or the service's connection.

use super::kept::Kept;
use super::pace::Pace;
use super::slot::{Doom, Fate, Job, Slot, Stage};
use super::zygote::{How, Zygote};
use crate::dispatch::{Ended, FailureKind, Heartbeat, Report, Returned, TaskId};
use crate::python::{self, Hello, Told};
use core::time::Duration;
use machine::blob::BLOB_MIN;
use machine::{ConnId, Instant, Outbox, Stream};
use std::collections::VecDeque;

/// Tasks of quick functions that a slot is sent ahead, the one it runs included.
const AHEAD_MAX: usize = 8;

/// Tasks that wait so long, while no slot is done with anything, go back to the service: somebody else may have room.
const STUCK: Duration = Duration::from_millis(50);

/// Slots, and what waits for them.
#[derive(Debug)]
pub struct Pool {
    slots: Vec<Slot>,
    waiting: VecDeque<Job>,
    /// When a slot was last done with something, or a task came to wait.
    moved: Instant,
    launches: u64,
    secrets: Stream,
    pace: Pace,
    scratch: Vec<u8>,
    /// The worker leaves: no process is started any more.
    is_closing: bool,
    /// For counts.
    pub tally: Tally,
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Tasks that went well.
    pub completed: u64,
    /// Tasks that failed.
    pub failed: u64,
    /// Tasks that went back.
    pub returned: u64,
    /// Processes that were asked for.
    pub launched: u64,
    /// Processes that we ended.
    pub killed: u64,
}

impl Pool {
    /// So many slots, to be started when there is a zygote.
    #[must_use]
    pub fn new(slots: u16, secrets: Stream) -> Self {
        Self {
            slots: (0..slots).map(|_| Slot::new(Instant::ZERO)).collect(),
            waiting: VecDeque::new(),
            moved: Instant::ZERO,
            launches: 0,
            secrets,
            pace: Pace::default(),
            scratch: Vec::new(),
            is_closing: false,
            tally: Tally::default(),
        }
    }

    /// What it has to do.
    #[must_use]
    pub fn beat(&self, is_leaving: bool) -> Heartbeat {
        let busy = self.slots.iter().filter(|slot| !slot.sent.is_empty()).count();
        Heartbeat { running: busy as u32, waiting: (self.held() - busy) as u32, is_leaving }
    }

    /// Tasks on this worker.
    #[must_use]
    pub fn held(&self) -> usize {
        self.waiting.len() + self.slots.iter().map(|slot| slot.sent.len()).sum::<usize>()
    }

    /// Tasks it can hold now: one a slot, and more while they are quick.
    #[must_use]
    pub fn capacity(&self, window: usize) -> usize {
        let slots = self.slots.iter().filter(|slot| slot.is_promising()).count();
        if self.pace.is_quick() && slots > 0 { slots + window } else { slots }
    }

    /// A task came.
    pub fn take(&mut self, job: Job, now: Instant) {
        if self.waiting.is_empty() {
            self.moved = now;
        }
        self.waiting.push_back(job);
    }

    /// Gives waiting tasks to slots.
    pub fn feed<S>(&mut self, now: Instant, out: &mut impl Outbox<Said = S>) {
        while let Some(job) = self.waiting.front() {
            let is_quick = self.pace.is_quick_function(job.function);
            let Some(at) = self.room(is_quick, now) else { return };
            let job = self.waiting.pop_front().expect("it was just seen");
            self.send(at, job, now, out);
        }
    }

    /// A slot with nothing to do, or for a quick task the one that has least of those that have quick ones.
    fn room(&self, is_quick: bool, now: Instant) -> Option<usize> {
        let ready = || self.slots.iter().enumerate().filter(|(_, slot)| slot.stage == Stage::Ready);
        if let Some((at, _)) = ready().find(|(_, slot)| slot.sent.is_empty()) {
            return Some(at);
        }
        let is_open = |slot: &Slot| {
            slot.sent.len() < AHEAD_MAX
                && now - slot.since < Pace::QUICK
                && slot.sent.front().is_some_and(|job| self.pace.is_quick_function(job.function))
        };
        let open = ready().filter(|(_, slot)| is_quick && is_open(slot));
        open.min_by_key(|(_, slot)| slot.sent.len()).map(|(at, _)| at)
    }

    fn send<S>(&mut self, at: usize, job: Job, now: Instant, out: &mut impl Outbox<Said = S>) {
        let slot = &mut self.slots[at];
        let conn = slot.conn.expect("a ready slot has a connection");
        let (is_new, forgets) = slot.learn(job.function);
        self.scratch.clear();
        let code = is_new.then_some(&job.code[..]);
        let whole = (job.id, job.attempt);
        python::write_task(&mut self.scratch, whole, job.function, code, forgets, job.payload.len());
        if job.payload.len() < BLOB_MIN {
            self.scratch.extend_from_slice(&job.payload);
            out.write(conn, &self.scratch);
        } else {
            out.write(conn, &self.scratch);
            out.write_blob(conn, job.payload.clone());
        }
        if slot.sent.is_empty() {
            slot.since = now;
        }
        slot.sent.push_back(job);
    }

    /// Which slot this connection is.
    #[must_use]
    pub fn of(&self, conn: ConnId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.conn == Some(conn))
    }

    /// A process says who it is. False: it is none we wait for.
    pub fn greet(&mut self, hello: Hello, conn: ConnId) -> bool {
        let expected = |slot: &&mut Slot| {
            matches!(slot.stage, Stage::Starting(_))
                && slot.launch == hello.launch
                && slot.secret == hello.secret
        };
        self.slots.iter_mut().find(expected).map(|slot| slot.connect(conn)).is_some()
    }

    /// A slot says what became of its task. False: of a task it does not have.
    pub fn told<S>(
        &mut self,
        at: usize,
        told: &Told<'_>,
        now: Instant,
        kept: &mut Kept,
        out: &mut impl Outbox<Said = S>,
    ) -> bool {
        let slot = &mut self.slots[at];
        if slot.sent.front().is_none_or(|job| (job.id, job.attempt) != (told.task, told.attempt)) {
            return false;
        }
        let job = slot.sent.pop_front().expect("it was just seen");
        slot.since = now;
        self.moved = now;
        // It ends, by itself or by us: what it has left was not begun.
        if told.retires || slot.doom.is_some() {
            slot.retire();
        }
        self.pace.ran(job.function, told.ran_us);
        let ended = match told.failure {
            None => Ended::Completed(told.result),
            Some(kind) => Ended::Failed { kind, words: told.words, raised: told.result },
        };
        let all_us = now.nanos_since(job.arrived) / 1000;
        let started_us = all_us.saturating_sub(told.ran_us);
        self.report(&job, started_us, told.ran_us, ended, told.printed, kept, out);
        true
    }

    #[allow(clippy::too_many_arguments, reason = "a report's parts, and where it goes")]
    fn report<S>(
        &mut self,
        job: &Job,
        started_us: u64,
        ran_us: u64,
        ended: Ended<'_>,
        printed: &[u8],
        kept: &mut Kept,
        out: &mut impl Outbox<Said = S>,
    ) {
        if kept.session() != Some(job.session) {
            return;
        }
        match ended {
            Ended::Completed(_) => self.tally.completed += 1,
            Ended::Failed { .. } => self.tally.failed += 1,
            Ended::Returned { .. } => self.tally.returned += 1,
        }
        let (task, attempt) = (job.id, job.attempt);
        kept.add(&Report { task, attempt, started_us, ran_us, ended, printed }, out);
    }

    /// A task that was not begun goes back.
    pub fn give_back<S>(
        &mut self,
        job: &Job,
        why: Returned,
        kept: &mut Kept,
        out: &mut impl Outbox<Said = S>,
    ) {
        self.report(job, 0, 0, Ended::Returned { why, words: "" }, &[], kept, out);
    }

    /// All that wait go back.
    pub fn give_all_back<S>(&mut self, why: Returned, kept: &mut Kept, out: &mut impl Outbox<Said = S>) {
        while let Some(job) = self.waiting.pop_front() {
            self.give_back(&job, why, kept, out);
        }
    }

    /// A task is not wanted any more.
    pub fn cancel<S>(
        &mut self,
        (task, attempt): (TaskId, u32),
        zygote: &mut Zygote,
        kept: &mut Kept,
        out: &mut impl Outbox<Said = S>,
    ) {
        let session = kept.session();
        let is_it = |job: &Job| (job.id, job.attempt, Some(job.session)) == (task, attempt, session);
        if let Some(job) = self.waiting.iter().position(is_it).and_then(|at| self.waiting.remove(at)) {
            let (kind, words) = (FailureKind::Cancelled, "the task was cancelled");
            let raised = python::exception("RuntimeError", words);
            return self.report(&job, 0, 0, Ended::Failed { kind, words, raised: &raised }, &[], kept, out);
        }
        if let Some(at) = self.slots.iter().position(|slot| slot.sent.front().is_some_and(is_it)) {
            self.doom(at, Doom::Cancelled, zygote, out);
        }
    }

    /// The service that gave the tasks is gone, and took them back.
    pub fn orphan<S>(&mut self, zygote: &mut Zygote, out: &mut impl Outbox<Said = S>) {
        self.waiting.clear();
        self.doom_busy(Doom::Orphaned, zygote, out);
    }

    /// Ends every slot that has a task.
    pub fn doom_busy<S>(&mut self, doom: Doom, zygote: &mut Zygote, out: &mut impl Outbox<Said = S>) {
        for at in 0..self.slots.len() {
            if !self.slots[at].sent.is_empty() {
                self.doom(at, doom, zygote, out);
            }
        }
    }

    /// Ends a slot.
    pub fn doom<S>(&mut self, at: usize, doom: Doom, zygote: &mut Zygote, out: &mut impl Outbox<Said = S>) {
        if self.slots[at].doom(doom) {
            self.tally.killed += 1;
            zygote.kill(self.slots[at].launch, out);
        }
    }

    /// A slot's connection ended.
    pub fn on_conn_end(&mut self, at: usize, now: Instant) {
        self.slots[at].on_conn_end(now);
    }

    /// The zygote tells how a process ended by itself.
    pub fn on_ended(&mut self, launch: u64, how: How) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.launch == launch) {
            slot.on_ended(how);
        }
    }

    /// Nothing is left of a process.
    pub fn on_gone(&mut self, launch: u64, now: Instant) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.launch == launch) {
            slot.on_gone(now);
        }
    }

    /// The zygote is no more, and with it every slot.
    pub fn on_zygote_gone(&mut self, now: Instant) {
        for slot in &mut self.slots {
            match slot.stage {
                Stage::Absent(_) => {}
                Stage::Starting(_) | Stage::Ready | Stage::Ending => slot.on_gone(now),
            }
        }
    }

    /// Does what is due; says when to come again.
    pub fn tick<S>(
        &mut self,
        now: Instant,
        zygote: &mut Zygote,
        kept: &mut Kept,
        out: &mut impl Outbox<Said = S>,
    ) -> Option<Instant> {
        for at in 0..self.slots.len() {
            self.tick_slot(at, now, zygote, kept, out);
        }
        self.feed(now, out);
        let excess = self.excess();
        let stuck = (excess > 0).then(|| self.moved + STUCK);
        if stuck.is_some_and(|at| at <= now) {
            self.pace.stuck();
            for job in self.waiting.split_off(self.waiting.len() - excess) {
                self.give_back(&job, Returned::NoRoom, kept, out);
            }
        }
        let due = self.slots.iter().filter(|slot| {
            // Without a zygote nothing can be started, and its coming is an event.
            self.can_launch(zygote) || !matches!(slot.stage, Stage::Absent(_))
        });
        due.filter_map(Slot::due).chain(stuck.filter(|at| *at > now)).min()
    }

    /// The worker leaves: what ends now is not started again.
    pub fn close(&mut self) {
        self.is_closing = true;
    }

    fn can_launch(&self, zygote: &Zygote) -> bool {
        zygote.facts().is_some() && !self.is_closing
    }

    /// How many wait for more than the slots that are about to come up.
    fn excess(&self) -> usize {
        let coming = self.slots.iter().filter(|slot| slot.stage != Stage::Ready && slot.is_promising());
        self.waiting.len().saturating_sub(coming.count())
    }

    fn tick_slot<S>(
        &mut self,
        at: usize,
        now: Instant,
        zygote: &mut Zygote,
        kept: &mut Kept,
        out: &mut impl Outbox<Said = S>,
    ) {
        if self.slots[at].is_over(now) {
            self.bury(at, now, kept, out);
        }
        let slot = &self.slots[at];
        let is_due = slot.due().is_some_and(|due| due <= now);
        match slot.stage {
            Stage::Absent(_) if is_due && self.can_launch(zygote) => self.launch(at, now, zygote, out),
            Stage::Absent(_) => {}
            Stage::Starting(_) if is_due => self.doom(at, Doom::Stopped, zygote, out),
            Stage::Ready if is_due => self.doom(at, Doom::TimedOut, zygote, out),
            // Its connection ended, and it did not: what user code closed cannot be opened again.
            Stage::Ending if is_due => {
                self.slots[at].on_conn_end(now);
                self.doom(at, Doom::Deaf, zygote, out);
            }
            Stage::Starting(_) | Stage::Ready | Stage::Ending => {}
        }
    }

    fn launch<S>(&mut self, at: usize, now: Instant, zygote: &mut Zygote, out: &mut impl Outbox<Said = S>) {
        self.launches += 1;
        self.tally.launched += 1;
        let mut secret = [0; 16];
        secret[..8].copy_from_slice(&self.secrets.next_u64().to_le_bytes());
        secret[8..].copy_from_slice(&self.secrets.next_u64().to_le_bytes());
        self.slots[at].start(self.launches, secret, now);
        zygote.launch(self.launches, &secret, out);
    }

    /// A slot is over: its first task has its fate, the others were not begun and wait again.
    fn bury<S>(&mut self, at: usize, now: Instant, kept: &mut Kept, out: &mut impl Outbox<Said = S>) {
        let slot = &mut self.slots[at];
        let fate = slot.fate();
        let ran_us = now.nanos_since(slot.since) / 1000;
        let mut left = core::mem::take(&mut slot.sent);
        slot.reset(now);
        if let Some(fate) = fate
            && let Some(job) = left.pop_front()
        {
            let started_us = (now.nanos_since(job.arrived) / 1000).saturating_sub(ran_us);
            match fate {
                Fate::Failed(kind, class, words) => {
                    let raised = python::exception(class, &words);
                    let ended = Ended::Failed { kind, words: &words, raised: &raised };
                    self.report(&job, started_us, ran_us, ended, &[], kept, out);
                }
                Fate::Returned(why, words) => {
                    let ended = Ended::Returned { why, words: &words };
                    self.report(&job, started_us, ran_us, ended, &[], kept, out);
                }
                Fate::Forgotten => {}
            }
        }
        let wanted = left.into_iter().rev().filter(|job| kept.session() == Some(job.session));
        wanted.for_each(|job| self.waiting.push_front(job));
        self.moved = now;
    }

    /// Whether no slot has a task and none waits.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.held() == 0
    }

    /// Slots that take tasks.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.slots.iter().filter(|slot| slot.stage == Stage::Ready).count()
    }
}
