//! What a worker does: it runs what the ledger says is its own, for as long as it has a lease, and keeps every result
//! until the ledger shows it.
//!
//! The hard thing is to start each attempt at most once. A message that says "run" may come twice, or late, or from a
//! leader that is none any more. So it is only a hint: the attempt is started when the ledger, applied here at least up
//! to the entry that assigned it, says that it is ours in this life of ours, and nothing of that attempt is or was here.

use crate::entry::{Fact, JobId};
use crate::job::{Job, State};
use crate::leader_on_worker::LeaderOnWorker;
use crate::ledger::Ledger;
use crate::run::{Ended, Run};
use core::time::Duration;
use machine::{ChildEvent, ChildId, Close, ConnId, End, Instant, Outbox, PipeKind, Signal};
use std::collections::{BTreeMap, BTreeSet};

/// How long nothing must have come of a result before it is sent again.
const AGAIN: Duration = Duration::from_millis(400);

/// How often a result of an attempt that was given up is sent: it counts for nothing, so not for ever.
const LATE_TIMES: u32 = 5;

/// Something that a worker did and people want to know, or that a crash point stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It was told to run this.
    Received(JobId),
    /// Its process runs.
    Started(JobId),
    /// It has ended.
    Ended(JobId),
    /// Its result was sent to the leader.
    Sent(JobId),
}

/// A worker's own knowledge.
#[derive(Debug)]
pub struct Worker {
    me: u16,
    life: u64,
    dir: Box<str>,
    pub(crate) leader: LeaderOnWorker,
    runs: BTreeMap<(JobId, u32), Run>,
    by_child: BTreeMap<ChildId, (JobId, u32)>,
    by_conn: BTreeMap<ConnId, (JobId, u32)>,
    /// Told to run, and the ledger here is not yet so far.
    told: BTreeMap<(JobId, u32), u64>,
    gave_up: BTreeSet<(JobId, u32)>,
    pub(crate) news: Vec<News>,
    pub(crate) started: u64,
    pub(crate) fenced: u64,
}

impl Worker {
    /// A worker without work.
    #[must_use]
    pub fn new(me: u16, life: u64, dir: Box<str>) -> Self {
        Self {
            me,
            life,
            dir,
            leader: LeaderOnWorker::default(),
            runs: BTreeMap::new(),
            by_child: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            told: BTreeMap::new(),
            gave_up: BTreeSet::new(),
            news: Vec::new(),
            started: 0,
            fenced: 0,
        }
    }

    /// What it has, for its beats.
    #[must_use]
    pub fn holds(&self) -> Vec<(JobId, u32)> {
        let told = self.told.keys().filter(|key| !self.runs.contains_key(key));
        let runs = self.runs.iter().filter(|(_, run)| !run.was_stopped()).map(|(key, _)| key);
        runs.chain(told).copied().collect()
    }

    /// What it will not finish.
    #[must_use]
    pub fn gave_up(&self) -> Vec<(JobId, u32)> {
        self.gave_up.iter().copied().collect()
    }

    /// How many programs run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.runs.values().filter(|run| run.is_alive()).count()
    }

    /// When something is due.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let fence = self.leader.until(now).filter(|_| self.running() > 0);
        self.runs.values().filter_map(Run::due).chain(fence).min()
    }

    /// A leader says that this is ours.
    pub fn on_run(&mut self, id: JobId, attempt: u32, index: u64, life: u64) {
        let key = (id, attempt);
        if life == self.life && !self.runs.contains_key(&key) && !self.gave_up.contains(&key) {
            self.told.insert(key, index);
        }
    }

    /// Something became of a child. Whether it was one of ours.
    pub fn on_child(&mut self, now: Instant, child: ChildId, what: &ChildEvent) -> bool {
        let Some(key) = self.by_child.get(&child).copied() else { return false };
        let Some(run) = self.runs.get_mut(&key) else { return false };
        run.on_child(now, what);
        match what {
            ChildEvent::Started { .. } => self.news.push(News::Started(key.0)),
            ChildEvent::Unstarted(_) | ChildEvent::Exited(_) | ChildEvent::Killed(_) => {
                self.by_child.remove(&child);
            }
        }
        true
    }

    /// A stream of a child of ours is there.
    pub fn on_pipe(
        &mut self,
        conn: ConnId,
        (child, kind): (ChildId, PipeKind),
        ledger: &Ledger,
        out: &mut impl Outbox,
    ) {
        let key = self.by_child.get(&child).copied();
        let Some(run) = key.and_then(|key| self.runs.get_mut(&key)) else {
            return out.close(conn, Close::Now);
        };
        if kind == PipeKind::Input {
            if let Some(job) = ledger.job(run.id) {
                out.write(conn, job.spec.stdin.as_bytes());
            }
            out.finish(conn);
        }
        run.opened(kind, conn);
        self.by_conn.insert(conn, (run.id, run.attempt));
    }

    /// A stream brought something. Whether it is one of ours.
    pub fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) -> bool {
        let Some(key) = self.by_conn.get(&conn) else { return false };
        if let Some(run) = self.runs.get_mut(key) {
            run.printed(conn, bytes);
        }
        true
    }

    /// A stream ended. Whether it was one of ours.
    pub fn on_end(&mut self, conn: ConnId, end: End) -> bool {
        let Some(key) = self.by_conn.remove(&conn) else { return false };
        if let Some(run) = self.runs.get_mut(&key) {
            run.stream_ended(conn, end);
        }
        true
    }

    /// All that is to be done now; gives the facts to propose.
    pub fn step(&mut self, now: Instant, ledger: &Ledger, out: &mut impl Outbox) -> Vec<Fact> {
        self.fence(now, out);
        self.begin(now, ledger, out);
        let mut facts = Vec::new();
        let keys: Vec<(JobId, u32)> = self.runs.keys().copied().collect();
        for key in keys {
            self.attend(now, key, ledger, &mut facts, out);
        }
        self.gave_up.retain(|(id, attempt)| is_ours(ledger, self.me, self.life, *id, *attempt));
        facts
    }

    /// Without a lease nothing may run: somebody else may be given it at any moment now.
    fn fence(&mut self, now: Instant, out: &mut impl Outbox) {
        if self.leader.until(now).is_some() {
            return;
        }
        for (key, run) in &mut self.runs {
            if run.is_alive() && run.ended.is_none() {
                run.ended = Some(Ended::Fenced);
                out.signal(run.child, Signal::Kill);
                self.gave_up.insert(*key);
                self.fenced += 1;
            }
        }
        self.told.clear();
    }

    /// Starts what is ours.
    fn begin(&mut self, now: Instant, ledger: &Ledger, out: &mut impl Outbox) {
        let ready: Vec<(JobId, u32)> =
            self.told.iter().filter(|(_, index)| ledger.applied() >= **index).map(|(key, _)| *key).collect();
        for key in ready {
            self.told.remove(&key);
            let (id, attempt) = key;
            let Some(job) = ledger.job(id) else { continue };
            let is_new = !self.runs.contains_key(&key) && !self.gave_up.contains(&key);
            let is_to_start =
                job.state == State::Assigned && is_ours(ledger, self.me, self.life, id, attempt);
            if !is_new || !is_to_start {
                continue;
            }
            let child = out.spawn(job.spec.command(&id.to_string(), attempt, &self.dir));
            let timeout = Duration::from_millis(job.spec.timeout_ms);
            self.by_child.insert(child, key);
            self.runs.insert(key, Run::new(id, attempt, child, timeout, now));
            self.news.push(News::Received(id));
            self.started += 1;
        }
    }

    /// Looks after one program.
    fn attend(
        &mut self,
        now: Instant,
        key: (JobId, u32),
        ledger: &Ledger,
        facts: &mut Vec<Fact>,
        out: &mut impl Outbox,
    ) {
        let Some(run) = self.runs.get_mut(&key) else { return };
        let (id, attempt) = key;
        let worker = self.me;
        for conn in run.settle(now) {
            self.by_conn.remove(&conn);
            out.close(conn, Close::Now);
        }
        let is_ours = is_ours(ledger, self.me, self.life, id, attempt);
        if run.is_over_time(now) {
            run.ended = Some(Ended::TimedOut);
            out.signal(run.child, Signal::Kill);
        }
        if !is_ours && run.is_alive() && run.ended.is_none() {
            run.ended = Some(Ended::Unwanted);
            out.signal(run.child, Signal::Kill);
        }
        let is_due = run.said.is_none_or(|said| now.since(said) >= AGAIN);
        if let Some(pid) = run.pid() {
            let is_known = ledger.job(id).is_none_or(|job| job.state != State::Assigned);
            if is_ours && !is_known && is_due {
                run.said = Some(now);
                facts.push(Fact::Started { id, attempt, worker, pid });
            }
            return;
        }
        let Some(outcome) = run.outcome() else { return };
        let is_settled = run.was_stopped()
            || ledger.job(id).is_none_or(|job| has_result(job, attempt, worker))
            || (!is_ours && run.times >= LATE_TIMES);
        if is_settled {
            self.runs.remove(&key);
        } else if is_due || run.times == 0 {
            if run.times == 0 {
                self.news.push(News::Ended(id));
            }
            facts.push(Fact::Ended { id, attempt, worker, outcome: outcome.clone() });
            run.said = Some(now);
            run.times += 1;
            self.news.push(News::Sent(id));
        }
    }

    /// The node stops as if it had crashed: programs end, nothing is known any more.
    pub fn crash(&mut self, life: u64, out: &mut impl Outbox) {
        for run in self.runs.values() {
            out.signal(run.child, Signal::Kill);
        }
        for conn in self.by_conn.keys() {
            out.close(*conn, Close::Now);
        }
        let dir = core::mem::take(&mut self.dir);
        let (started, fenced) = (self.started, self.fenced);
        *self = Self { started, fenced, ..Self::new(self.me, life, dir) };
    }
}

/// Whether the ledger says that this attempt is with that worker, in that life of it.
fn is_ours(ledger: &Ledger, me: u16, life: u64, id: JobId, attempt: u32) -> bool {
    ledger.job(id).is_some_and(|job| {
        job.state.is_held() && job.attempt == attempt && job.worker == Some(me) && job.life == life
    })
}

/// Whether the ledger has the result of that attempt, counting or not.
fn has_result(job: &Job, attempt: u32, worker: u16) -> bool {
    let is_last = (job.attempt, job.worker) == (attempt, Some(worker));
    (is_last && job.outcome.is_some())
        || job.late.iter().any(|late| (late.attempt, late.worker) == (attempt, worker))
}
