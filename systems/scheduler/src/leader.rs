//! What a leader does: it gives waiting jobs to workers, tells workers what is theirs, and takes back what a worker
//! lost. It decides from the ledger and from what workers said, and all that it decides is proposed as facts; so a
//! leader that dies half way leaves nothing behind that the next one would have to know.
//!
//! The one hard thing is what is under way: between a proposal and its entry in the ledger the ledger still shows the
//! world before it. What was proposed is remembered here until the ledger shows it, or long enough that it must be lost.

use crate::entry::{Fact, JobId};
use crate::job::{Job, State};
use crate::ledger::{BACK_OFF_MS, Ledger};
use crate::peer::Beat;
use crate::placement::{self, Candidate};
use crate::worker_on_leader::{LEASE, WorkerOnLeader};
use core::time::Duration;
use machine::{Instant, Stream};
use std::collections::BTreeMap;

/// Proposals of assignments under way at once: enough to fill a disk's turn.
const UNDER_WAY_MAX: usize = 1024;

/// Waiting jobs that are looked at beyond those for which there is no room, so that a large one in front does not stop
/// small ones behind it.
const PASSED_OVER_MAX: usize = 64;

/// How long after a proposal or a message nothing must have come of it, before it is made again.
const AGAIN: Duration = Duration::from_millis(600);

/// What a leader wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Propose this.
    Propose(Fact),
    /// Tell that worker that this is its own.
    #[allow(missing_docs, reason = "as in the message that it becomes")]
    Run { worker: u16, id: JobId, attempt: u32, index: u64, life: u64 },
    /// That worker is taken for dead.
    Crashed(u16),
}

/// Something that was said or proposed, and when.
#[derive(Clone, Copy, Debug)]
struct Said {
    attempt: u32,
    at: Instant,
}

/// An assignment under way.
#[derive(Clone, Copy, Debug)]
struct Given {
    worker: u16,
    said: Said,
    cpu_milli: u64,
    memory_mb: u64,
}

/// A leader's own knowledge. It begins with each term.
#[derive(Debug)]
pub struct Leader {
    since: Instant,
    chance: Stream,
    me: u16,
    workers: BTreeMap<u16, WorkerOnLeader>,
    given: BTreeMap<JobId, Given>,
    taken_back: BTreeMap<JobId, Said>,
    told: BTreeMap<JobId, Said>,
    /// Since when a worker's beats do not have what the ledger says it has.
    missed: BTreeMap<JobId, Said>,
    /// When a job that lost its workers was first seen waiting again.
    resting: BTreeMap<JobId, Said>,
    /// Why the job in front waits.
    lack: Option<String>,
    forget_at: Instant,
}

impl Leader {
    /// A leader that begins now.
    #[must_use]
    pub fn new(me: u16, now: Instant, chance: Stream) -> Self {
        Self {
            since: now,
            chance,
            me,
            workers: BTreeMap::new(),
            given: BTreeMap::new(),
            taken_back: BTreeMap::new(),
            told: BTreeMap::new(),
            missed: BTreeMap::new(),
            resting: BTreeMap::new(),
            lack: None,
            forget_at: now,
        }
    }

    /// A worker said something. It may be this node itself.
    pub fn on_beat(&mut self, now: Instant, worker: u16, beat: Beat) {
        self.workers.insert(worker, WorkerOnLeader::new(now, beat));
    }

    /// The connection to a worker ended.
    pub fn on_down(&mut self, now: Instant, worker: u16) {
        if let Some(found) = self.workers.get_mut(&worker) {
            found.down.get_or_insert(now);
        }
    }

    /// Why jobs wait, if they do.
    #[must_use]
    pub fn lack(&self) -> Option<&str> {
        self.lack.as_deref()
    }

    /// When to look again, at the latest.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.workers.values().filter(|worker| !worker.is_lost).map(WorkerOnLeader::due).min()
    }

    /// What is to be done now. `hears`: whether a worker hears this node, which is not to say that it is heard: a
    /// connection each way. `ttl`: how long results are kept.
    pub fn step(
        &mut self,
        now: Instant,
        ledger: &Ledger,
        hears: impl Fn(u16) -> bool,
        ttl: Duration,
    ) -> Vec<Act> {
        let mut acts = Vec::new();
        self.bury(now, &mut acts);
        for job in ledger.held() {
            self.hold(now, job, &mut acts);
        }
        let is_held = |id: &JobId, said: &mut Said| {
            ledger.job(*id).is_some_and(|job| job.state.is_held() && job.attempt == said.attempt)
        };
        self.told.retain(is_held);
        self.missed.retain(is_held);
        self.taken_back.retain(is_held);
        self.given.retain(|id, given| {
            let is_waiting = ledger
                .job(*id)
                .is_some_and(|job| job.state == State::Accepted && job.attempt + 1 == given.said.attempt);
            is_waiting && now.since(given.said.at) < AGAIN
        });
        self.place(now, ledger, hears, &mut acts);
        self.forget(now, ledger, ttl, &mut acts);
        acts
    }

    fn bury(&mut self, now: Instant, acts: &mut Vec<Act>) {
        for (number, worker) in &mut self.workers {
            if !worker.is_lost && worker.gone(now).is_some() {
                worker.is_lost = true;
                acts.push(Act::Crashed(*number));
            }
        }
    }

    /// Looks after a job that a worker has.
    fn hold(&mut self, now: Instant, job: &Job, acts: &mut Vec<Act>) {
        let Some(number) = job.worker else { return };
        if let Some(why) = self.lost(now, job, number) {
            let before = self.taken_back.get(&job.id);
            if before.is_none_or(|before| before.attempt != job.attempt || now.since(before.at) >= AGAIN) {
                self.taken_back.insert(job.id, Said { attempt: job.attempt, at: now });
                acts.push(Act::Propose(Fact::Lost { id: job.id, attempt: job.attempt, why }));
            }
            return;
        }
        let Some(worker) = self.workers.get(&number) else { return };
        let has_it = worker.beat.holds.contains(&(job.id, job.attempt));
        let before = self.told.get(&job.id).filter(|before| before.attempt == job.attempt);
        let is_to_be_told = match before {
            None => job.state == State::Assigned,
            Some(before) => job.state == State::Assigned && !has_it && now.since(before.at) >= AGAIN,
        };
        if is_to_be_told {
            self.told.insert(job.id, Said { attempt: job.attempt, at: now });
            let (index, life) = (job.assigned_index, job.life);
            acts.push(Act::Run { worker: number, id: job.id, attempt: job.attempt, index, life });
        }
    }

    /// Why a worker has a job no longer; none while it has.
    fn lost(&mut self, now: Instant, job: &Job, number: u16) -> Option<String> {
        let Some(worker) = self.workers.get(&number) else {
            // It had a lease from the leader before; it has had the time to be heard by this one.
            let is_over = now.since(self.since) >= LEASE;
            return is_over.then(|| format!("worker {number} was not heard since there is a new leader"));
        };
        if let Some(why) = worker.gone(now) {
            return Some(format!("worker {number}: {why}"));
        }
        if worker.beat.life != job.life {
            return Some(format!("worker {number} was started anew and has nothing of its earlier life"));
        }
        if worker.beat.gave_up.contains(&(job.id, job.attempt)) {
            return Some(format!(
                "worker {number} had heard no leader for two thirds of its lease, and stopped it"
            ));
        }
        let has_it = worker.beat.holds.contains(&(job.id, job.attempt));
        if has_it || job.state == State::Assigned {
            self.missed.remove(&job.id);
            return None;
        }
        // A beat may be older than the start that the ledger shows: what comes a while after it is not.
        let first = Said { attempt: job.attempt, at: worker.heard };
        let since = self.missed.entry(job.id).or_insert(first);
        if since.attempt != job.attempt {
            *since = first;
        }
        (worker.heard.since(since.at) >= 2 * AGAIN)
            .then(|| format!("worker {number} does not have it any more"))
    }

    /// Gives waiting jobs to workers.
    fn place(&mut self, now: Instant, ledger: &Ledger, hears: impl Fn(u16) -> bool, acts: &mut Vec<Act>) {
        self.lack = None;
        self.resting.retain(|id, said| {
            ledger.job(*id).is_some_and(|job| job.state == State::Accepted && job.attempt == said.attempt)
        });
        if ledger.counts()[0] == self.given.len() {
            return;
        }
        let mut workers = self.candidates(now, ledger, hears);
        let mut passed_over = 0;
        for job in ledger.waiting() {
            if self.given.len() >= UNDER_WAY_MAX || passed_over >= PASSED_OVER_MAX {
                break;
            }
            if self.given.contains_key(&job.id) || self.rests(now, job) {
                continue;
            }
            let Some(choice) = placement::choose(&job.spec, &workers, &mut self.chance) else {
                self.lack.get_or_insert_with(|| placement::lack(&job.spec, &workers));
                passed_over += 1;
                continue;
            };
            let chosen = workers.iter_mut().find(|each| each.worker == choice.worker);
            let chosen = chosen.expect("it is one of them");
            chosen.given_cpu_milli += job.spec.cpu_milli;
            chosen.given_memory_mb += job.spec.memory_mb;
            let attempt = job.attempt + 1;
            let said = Said { attempt, at: now };
            let (cpu_milli, memory_mb) = (job.spec.cpu_milli, job.spec.memory_mb);
            self.given.insert(job.id, Given { worker: choice.worker, said, cpu_milli, memory_mb });
            let life = self.workers.get(&choice.worker).map_or(0, |worker| worker.beat.life);
            let (id, worker, why) = (job.id, choice.worker, choice.why);
            acts.push(Act::Propose(Fact::Assigned { id, attempt, worker, life, why }));
        }
    }

    /// Whether a job that lost its workers is not to be tried yet. Measured by this leader's own clock that never goes
    /// back: the ledger's moments are of walls' clocks, which may jump by an hour.
    fn rests(&mut self, now: Instant, job: &Job) -> bool {
        if job.losses < 2 {
            return false;
        }
        let since = self.resting.entry(job.id).or_insert(Said { attempt: job.attempt, at: now });
        now.since(since.at) < Duration::from_millis(BACK_OFF_MS << (job.losses - 2))
    }

    /// The workers that live and hear this node, with what was given to each. The leader itself is one only where there
    /// is no other.
    fn candidates(&self, now: Instant, ledger: &Ledger, hears: impl Fn(u16) -> bool) -> Vec<Candidate> {
        let living = |number: &u16, worker: &WorkerOnLeader| {
            worker.is_lively(now) && *number != self.me && hears(*number)
        };
        let are_others = self.workers.iter().any(|(number, worker)| living(number, worker));
        // Who has just begun has not heard the others yet.
        let is_alone = !are_others && now.since(self.since) >= LEASE;
        let mut found: BTreeMap<u16, Candidate> = BTreeMap::new();
        for (number, worker) in &self.workers {
            if living(number, worker) || (is_alone && *number == self.me && worker.is_lively(now)) {
                let load = worker.beat.load;
                let candidate = Candidate { worker: *number, load, given_cpu_milli: 0, given_memory_mb: 0 };
                found.insert(*number, candidate);
            }
        }
        let held =
            ledger.held().filter_map(|job| Some((job.worker?, job.spec.cpu_milli, job.spec.memory_mb)));
        let given = self.given.values().map(|given| (given.worker, given.cpu_milli, given.memory_mb));
        for (worker, cpu_milli, memory_mb) in held.chain(given) {
            if let Some(candidate) = found.get_mut(&worker) {
                candidate.given_cpu_milli += cpu_milli;
                candidate.given_memory_mb += memory_mb;
            }
        }
        found.into_values().collect()
    }

    /// Results whose time is over go, now and then.
    fn forget(&mut self, now: Instant, ledger: &Ledger, ttl: Duration, acts: &mut Vec<Act>) {
        const EVERY: Duration = Duration::from_secs(10);
        if now < self.forget_at {
            return;
        }
        self.forget_at = now + EVERY;
        let before_ms = ledger.now_ms().saturating_sub(ttl.as_millis() as u64);
        if ledger.oldest_end_ms().is_some_and(|oldest| oldest < before_ms) {
            acts.push(Act::Propose(Fact::Forget { before_ms }));
        }
    }
}
