//! What all nodes agree on: every job, and what has become of it. A pure state machine: entries come in the order of
//! the log, and each node that applies the same ones has the same ledger.
//!
//! What holds, whatever the order of entries:
//!
//! - an ended job never ends otherwise (unless somebody retries it), and only the attempt that it was last given to
//!   can end it: any other result is kept aside as "late";
//! - a job of at most one start is assigned at most once;
//! - a key names one job for as long as that job is remembered.
//!
//! The hard thing is that entries race: a result is on its way while the lease is found to have ended, a cancellation
//! meets an assignment. So nothing is taken for granted when an entry is applied: each fact names the attempt it is
//! about, and a fact about another attempt than the present changes nothing.

use crate::entry::{Entry, Fact, JobId, Outcome};
use crate::job::{Event, Job, LATE_MAX, Late, State};
use crate::spec::Spec;
use std::collections::{BTreeMap, BTreeSet};

/// How often a job may lose its worker before it is dead.
pub const ATTEMPTS_MAX: u32 = 5;

/// The wait before a job that lost two workers in a row is tried again, doubled with each further one. After the first
/// loss there is none: it is the worker that is to blame then, most likely.
pub const BACK_OFF_MS: u64 = 500;

/// Ended jobs that are remembered; over it the oldest are forgotten.
pub const ENDED_MAX: usize = 50_000;

/// Bytes of jobs that are remembered, roughly; over it the oldest ended ones are forgotten.
pub const BYTES_MAX: usize = 512 << 20;

/// Jobs that may wait and run at once; one more is refused.
pub const OPEN_MAX: usize = 100_000;

/// What came of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It changed this job.
    Changed(JobId),
    /// A job of that key is there, the same one.
    Known(JobId),
    /// A result of an attempt that was given up: kept, and it counts for nothing.
    Late(JobId),
    /// It is out of date and changed nothing.
    Stale,
    /// It cannot be done; the sentence is for who asked.
    Refused(Refusal),
    /// Nothing of one job.
    Nothing,
}

/// Why something cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is another job of that key.
    OtherJob,
    /// There is no such job.
    NoJob,
    /// It has ended.
    Ended(State),
    /// It has not ended, or ended well.
    NotRetried(State),
    /// It may be started once, and was.
    StartedOnce,
    /// Too many jobs wait.
    Full,
}

impl Refusal {
    /// As HTTP says it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::OtherJob => 422,
            Self::NoJob => 404,
            Self::Ended(_) | Self::NotRetried(_) | Self::StartedOnce => 409,
            Self::Full => 429,
        }
    }

    /// As a sentence.
    #[must_use]
    pub fn sentence(self) -> String {
        match self {
            Self::OtherJob => "this Idempotency-Key was used for another job".into(),
            Self::NoJob => "there is no such job, or it ended so long ago that it is forgotten".into(),
            Self::Ended(state) => format!("the job has ended: it is {}", state.name()),
            Self::NotRetried(state) => {
                format!(
                    "only a job that is failed, dead, cancelled or lost can be tried again; it is {}",
                    state.name()
                )
            }
            Self::StartedOnce => "the job may be started at most once, and may have been".into(),
            Self::Full => format!("{OPEN_MAX} jobs wait or run: send it again later"),
        }
    }
}

/// All jobs.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    jobs: BTreeMap<JobId, Job>,
    /// Those that wait for a worker: when they may be tried, and in the order in which they came.
    waiting: BTreeSet<(u64, u64, JobId)>,
    /// Those that a worker has.
    held: BTreeSet<JobId>,
    /// Those that ended, oldest first.
    ended: BTreeSet<(u64, JobId)>,
    /// All in the order in which they were accepted.
    order: BTreeMap<u64, JobId>,
    applied: u64,
    now_ms: u64,
    bytes: usize,
    late: u64,
}

impl Ledger {
    /// The job of that name.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// All jobs, the youngest first.
    pub fn newest(&self) -> impl Iterator<Item = &Job> {
        self.order.values().rev().filter_map(|id| self.jobs.get(id))
    }

    /// Jobs that wait for a worker, by when they may be tried.
    pub fn waiting(&self) -> impl Iterator<Item = &Job> {
        self.waiting.iter().filter_map(|(_, _, id)| self.jobs.get(id))
    }

    /// Jobs that workers have.
    pub fn held(&self) -> impl Iterator<Item = &Job> {
        self.held.iter().filter_map(|id| self.jobs.get(id))
    }

    /// How many there are in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many wait, are held and have ended.
    #[must_use]
    pub fn counts(&self) -> [usize; 3] {
        [self.waiting.len(), self.held.len(), self.ended.len()]
    }

    /// How many late results came.
    #[must_use]
    pub fn late(&self) -> u64 {
        self.late
    }

    /// The last entry that was applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The latest moment that an entry told: milliseconds since 1970.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// When the oldest ended job ended.
    #[must_use]
    pub fn oldest_end_ms(&self) -> Option<u64> {
        self.ended.first().map(|(at, _)| *at)
    }

    /// Roughly how many bytes all jobs take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Applies the entry at that index. Entries come in order, each once.
    pub fn apply(&mut self, index: u64, entry: &Entry) -> Verdict {
        debug_assert!(index > self.applied, "entry {index} after {}", self.applied);
        self.applied = index;
        self.now_ms = self.now_ms.max(entry.at_ms);
        let at = At { index, ms: self.now_ms };
        let verdict = match &entry.fact {
            Fact::Sent { key, spec } => self.sent(at, key, spec),
            Fact::Assigned { id, attempt, worker, life, why } => {
                self.change(*id, |job| job.assigned(at, *attempt, (*worker, *life), why))
            }
            Fact::Started { id, attempt, worker, pid } => {
                self.change(*id, |job| job.started(at, *attempt, *worker, *pid))
            }
            Fact::Ended { id, attempt, worker, outcome } => {
                self.change(*id, |job| job.ended(at, *attempt, *worker, outcome))
            }
            Fact::Lost { id, attempt, why } => self.change(*id, |job| job.lost(at, *attempt, why)),
            Fact::Cancelled { id } => self.change(*id, |job| job.cancelled(at)),
            Fact::Retried { id, attempt } => self.change(*id, |job| job.retried(at, *attempt)),
            Fact::Forget { before_ms } => {
                self.forget(*before_ms, ENDED_MAX, BYTES_MAX);
                Verdict::Nothing
            }
        };
        self.late += u64::from(matches!(verdict, Verdict::Late(_)));
        self.forget(0, ENDED_MAX, BYTES_MAX);
        verdict
    }

    fn sent(&mut self, at: At, key: &str, spec: &Spec) -> Verdict {
        let id = JobId::of(key);
        if let Some(job) = self.jobs.get(&id) {
            let is_same = job.key == key && job.spec == *spec;
            return if is_same { Verdict::Known(id) } else { Verdict::Refused(Refusal::OtherJob) };
        }
        if self.waiting.len() + self.held.len() >= OPEN_MAX {
            return Verdict::Refused(Refusal::Full);
        }
        let mut job = Job {
            id,
            key: key.to_owned(),
            spec: spec.clone(),
            state: State::Accepted,
            attempt: 0,
            losses: 0,
            worker: None,
            life: 0,
            assigned_index: 0,
            not_before_ms: 0,
            accepted_ms: at.ms,
            accepted_index: at.index,
            ended_ms: 0,
            outcome: None,
            late: Vec::new(),
            history: Vec::new(),
        };
        job.note(at, "accepted", "a majority has it on disk");
        self.enter(job);
        Verdict::Changed(id)
    }

    /// Changes one job, and where it is listed.
    fn change(&mut self, id: JobId, change: impl FnOnce(&mut Job) -> Verdict) -> Verdict {
        let Some(mut job) = self.leave(id) else { return Verdict::Refused(Refusal::NoJob) };
        let verdict = change(&mut job);
        self.enter(job);
        verdict
    }

    /// Takes a job, and what lists it.
    fn leave(&mut self, id: JobId) -> Option<Job> {
        let job = self.jobs.remove(&id)?;
        self.bytes -= job.weight();
        self.order.remove(&job.accepted_index);
        match job.state {
            State::Accepted => {
                self.waiting.remove(&(job.not_before_ms, job.accepted_index, id));
            }
            State::Assigned | State::Running => {
                self.held.remove(&id);
            }
            State::Finished | State::Failed | State::Dead | State::Cancelled | State::Lost => {
                self.ended.remove(&(job.ended_ms, id));
            }
        }
        Some(job)
    }

    fn enter(&mut self, job: Job) {
        self.bytes += job.weight();
        self.order.insert(job.accepted_index, job.id);
        match job.state {
            State::Accepted => {
                self.waiting.insert((job.not_before_ms, job.accepted_index, job.id));
            }
            State::Assigned | State::Running => {
                self.held.insert(job.id);
            }
            State::Finished | State::Failed | State::Dead | State::Cancelled | State::Lost => {
                self.ended.insert((job.ended_ms, job.id));
            }
        }
        self.jobs.insert(job.id, job);
    }

    fn forget(&mut self, before_ms: u64, ended_max: usize, bytes_max: usize) {
        while let Some(&(at, id)) = self.ended.first() {
            let is_too_much = self.ended.len() > ended_max || self.bytes > bytes_max;
            if at >= before_ms && !is_too_much {
                return;
            }
            self.leave(id);
        }
    }

    /// The whole ledger in parts, for a snapshot.
    #[must_use]
    pub fn parts(&self) -> Vec<Vec<u8>> {
        /// Enough that a part costs little beside what is in it.
        const PART: usize = 256 << 10;
        let mut parts = Vec::new();
        let (mut jobs, mut weight) = (Vec::new(), 0);
        for job in self.jobs.values() {
            jobs.push(job.clone());
            weight += job.weight();
            if weight >= PART {
                parts.push(crate::entry::write(&core::mem::take(&mut jobs)));
                weight = 0;
            }
        }
        parts.push(crate::entry::write(&jobs));
        parts
    }

    /// The whole ledger in one piece, for another node.
    #[must_use]
    pub fn whole(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in self.parts() {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(&part);
        }
        bytes
    }

    /// The ledger that another node gave, as it was after the entry at `applied`.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_whole(applied: u64, bytes: &[u8]) -> Result<Self, wire::peer::Fault> {
        let (mut parts, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let (length, after) = rest.split_first_chunk::<8>().ok_or(wire::peer::Fault::Cut)?;
            let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| wire::peer::Fault::Cut)?;
            let (part, after) = after.split_at_checked(length).ok_or(wire::peer::Fault::Cut)?;
            parts.push(part);
            rest = after;
        }
        Self::from_parts(applied, parts)
    }

    /// The ledger of those parts, as it was after the entry at `applied`.
    ///
    /// # Errors
    /// When a part is none.
    pub fn from_parts<'a>(
        applied: u64,
        parts: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Self, wire::peer::Fault> {
        let mut ledger = Self { applied, ..Self::default() };
        for part in parts {
            for job in crate::entry::read::<Vec<Job>>(part)? {
                let latest = job.history.iter().map(|event| event.at_ms).max();
                ledger.now_ms = ledger.now_ms.max(latest.unwrap_or_default());
                ledger.late += job.late.len() as u64;
                ledger.enter(job);
            }
        }
        Ok(ledger)
    }
}

/// Which entry, and when.
#[derive(Clone, Copy, Debug)]
struct At {
    index: u64,
    ms: u64,
}

impl Job {
    fn note(&mut self, at: At, what: &str, why: impl Into<String>) {
        let (attempt, worker) = (self.attempt, self.worker);
        self.note_of(at, what, why, attempt, worker);
    }

    fn note_of(&mut self, at: At, what: &str, why: impl Into<String>, attempt: u32, worker: Option<u16>) {
        let (index, at_ms, why) = (at.index, at.ms, why.into());
        self.remember(Event { index, what: what.into(), at_ms, why, attempt, worker });
    }

    fn assigned(&mut self, at: At, attempt: u32, (worker, life): (u16, u64), why: &str) -> Verdict {
        let was_started = self.spec.at_most_once && self.attempt > 0;
        if self.state != State::Accepted || attempt != self.attempt + 1 || was_started {
            return Verdict::Stale;
        }
        self.state = State::Assigned;
        self.attempt = attempt;
        self.worker = Some(worker);
        self.life = life;
        self.assigned_index = at.index;
        self.note(at, "assigned", why);
        Verdict::Changed(self.id)
    }

    fn started(&mut self, at: At, attempt: u32, worker: u16, pid: u32) -> Verdict {
        if self.state != State::Assigned || (attempt, Some(worker)) != (self.attempt, self.worker) {
            return Verdict::Stale;
        }
        self.state = State::Running;
        self.note(at, "running", format!("as process {pid}"));
        Verdict::Changed(self.id)
    }

    fn ended(&mut self, at: At, attempt: u32, worker: u16, outcome: &Outcome) -> Verdict {
        let is_present = (attempt, Some(worker)) == (self.attempt, self.worker);
        if !self.state.is_held() || !is_present {
            return self.came_late(at, attempt, worker, outcome);
        }
        self.state = if outcome.is_good() { State::Finished } else { State::Failed };
        self.ended_ms = at.ms;
        let mut why = outcome.why.clone().unwrap_or_else(|| format!("exit status {}", outcome.exit));
        if let Some(note) = &outcome.note {
            why = format!("{why}; {note}");
        }
        self.outcome = Some(outcome.clone());
        self.note(at, self.state.name(), why);
        Verdict::Changed(self.id)
    }

    fn came_late(&mut self, at: At, attempt: u32, worker: u16, outcome: &Outcome) -> Verdict {
        let is_the_one = self.outcome.is_some() && (attempt, Some(worker)) == (self.attempt, self.worker);
        let is_kept = self.late.iter().any(|late| (late.attempt, late.worker) == (attempt, worker));
        if is_the_one || is_kept || attempt == 0 || attempt > self.attempt {
            return Verdict::Stale;
        }
        if self.late.len() < LATE_MAX {
            self.late.push(Late { attempt, worker, outcome: outcome.clone() });
        }
        let why = format!("a result of attempt {attempt}, which was given up: it does not count");
        self.note_of(at, "late", why, attempt, Some(worker));
        Verdict::Late(self.id)
    }

    fn lost(&mut self, at: At, attempt: u32, why: &str) -> Verdict {
        if !self.state.is_held() || attempt != self.attempt {
            return Verdict::Stale;
        }
        self.losses += 1;
        self.note(at, "expired", why);
        if self.spec.at_most_once {
            self.state = State::Lost;
            self.ended_ms = at.ms;
            self.note(at, "lost", "it may be started once only, and may have been");
        } else if self.losses >= ATTEMPTS_MAX {
            self.state = State::Dead;
            self.ended_ms = at.ms;
            self.note(
                at,
                "dead",
                format!("{} attempts in a row lost their worker; the last: {why}", self.losses),
            );
        } else {
            self.state = State::Accepted;
            self.not_before_ms = match self.losses {
                1 => at.ms,
                losses => at.ms + (BACK_OFF_MS << (losses - 2)),
            };
        }
        Verdict::Changed(self.id)
    }

    fn cancelled(&mut self, at: At) -> Verdict {
        match self.state {
            State::Accepted | State::Assigned | State::Running => {
                self.state = State::Cancelled;
                self.ended_ms = at.ms;
                self.note(at, "cancelled", "somebody asked for it");
                Verdict::Changed(self.id)
            }
            State::Cancelled => Verdict::Known(self.id),
            State::Finished | State::Failed | State::Dead | State::Lost => {
                Verdict::Refused(Refusal::Ended(self.state))
            }
        }
    }

    fn retried(&mut self, at: At, attempt: u32) -> Verdict {
        if attempt != self.attempt {
            return Verdict::Stale;
        }
        match self.state {
            State::Failed | State::Dead | State::Cancelled | State::Lost => {}
            State::Accepted | State::Assigned | State::Running | State::Finished => {
                return Verdict::Refused(Refusal::NotRetried(self.state));
            }
        }
        if self.spec.at_most_once && self.attempt > 0 {
            return Verdict::Refused(Refusal::StartedOnce);
        }
        self.state = State::Accepted;
        self.losses = 0;
        self.ended_ms = 0;
        self.outcome = None;
        self.not_before_ms = at.ms;
        self.note(at, "accepted", "somebody asked for another try");
        Verdict::Changed(self.id)
    }
}
