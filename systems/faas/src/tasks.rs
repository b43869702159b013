//! The tasks of one core: a table of all of them by id, the queue of those that are not ended, and in which order the
//! ended are forgotten.
//!
//! The one hard thing is the end. A result counts only from who holds the lease; then the task is *ending*, and it is
//! *ended* for everybody else only when that is kept. So what a client was once told is never taken back.

use crate::config::Limits;
use crate::task::{Back, Ended, Holder, How, Job, Stage, Task, Times};
use crate::uuid::{Plain, Uuid};
use core::hash::BuildHasherDefault;
use core::time::Duration;
use machine::id::Key;
use machine::{Blob, CoreId, Instant, Now, Slab, WallTime};
use state::queue::{self, Keys, Lost, Queue, State};
use std::collections::{HashMap, VecDeque};

/// What a task costs beside its payload and result, in bytes: measured roughly, for the bound on bytes.
const TASK_BYTES: usize = 400;

/// Ended tasks that one call forgets at most.
const FORGET_MAX: usize = 1000;

/// How many tasks have come to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Accepted here.
    pub accepted: u64,
    /// Went well.
    pub completed: u64,
    /// Raised something or were ended.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Attempts used up.
    pub dead: u64,
    /// Attempts that were lost.
    pub lost: u64,
    /// Results of old attempts, refused.
    pub late: u64,
    /// Ended and forgotten.
    pub forgotten: u64,
}

/// Where a task is, for whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a> {
    /// It waits.
    Queued,
    /// It pauses after a lost attempt.
    Delayed,
    /// It left for a worker.
    Running,
    /// It is over.
    Ended(&'a Ended),
}

/// The tasks of one core.
#[derive(Debug)]
pub struct Tasks {
    by_id: HashMap<u128, Key, BuildHasherDefault<Plain>>,
    tasks: Slab<Task>,
    queue: Queue<Holder>,
    /// Who ended when, oldest first.
    ended: VecDeque<(WallTime, Uuid)>,
    /// Idempotency keys, with the task each stands for.
    pub keys: Keys<u128>,
    groups: HashMap<u128, u32, BuildHasherDefault<Plain>>,
    bytes: usize,
    /// What has happened.
    pub counts: Counts,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            by_id: HashMap::default(),
            tasks: Slab::new(),
            queue: Queue::new(),
            ended: VecDeque::new(),
            keys: Keys::new(),
            groups: HashMap::default(),
            bytes: 0,
            counts: Counts::default(),
        }
    }
}

impl Tasks {
    /// Whether there is room for so many more with so many bytes.
    #[must_use]
    pub fn has_room(&self, count: usize, bytes: usize, limits: &Limits) -> bool {
        let queued = self.queue.counts();
        let open = queued.ready + queued.delayed + queued.leased;
        open + count <= limits.tasks_max && self.bytes + bytes <= limits.bytes_max
    }

    /// Bytes of payloads and results, and what each task costs beside.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many are queued, delayed, leased and dead.
    #[must_use]
    pub fn queued(&self) -> queue::Counts {
        self.queue.counts()
    }

    /// Attempts of a task in the queue that count against it; a lease counts as none, for it ends with us.
    #[must_use]
    pub fn tried(&self, item: Key) -> u32 {
        let is_leased = matches!(self.queue.state(item), Some(State::Leased(_)));
        self.queue.tried(item).saturating_sub(u32::from(is_leased))
    }

    /// How many there are, the ended too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// A task, and where it is.
    #[must_use]
    pub fn find(&self, id: Uuid) -> Option<(&Task, Seen<'_>)> {
        let task = self.tasks.get(*self.by_id.get(&id.0)?)?;
        Some((task, self.seen(task)))
    }

    /// All tasks, in no order that means something.
    pub fn iter(&self) -> impl Iterator<Item = (&Task, Seen<'_>)> {
        self.tasks.iter().map(|(_, task)| (task, self.seen(task)))
    }

    fn seen<'a>(&self, task: &'a Task) -> Seen<'a> {
        match &task.stage {
            Stage::Queued(item) => match self.queue.state(*item) {
                Some(State::Leased(_)) => Seen::Running,
                Some(State::Delayed(_)) => Seen::Delayed,
                Some(State::Ready | State::Dead) | None => Seen::Queued,
            },
            Stage::Ending(_) => Seen::Running,
            Stage::Ended(ended) => Seen::Ended(ended),
        }
    }

    /// A task is accepted, or found as it was kept.
    pub fn accept(&mut self, id: Uuid, function: Uuid, payload: Blob, timeout_ms: u32, accepted: u64) {
        if self.by_id.contains_key(&id.0) {
            return;
        }
        self.counts.accepted += 1;
        self.bytes += payload.len() + TASK_BYTES;
        let key = self.tasks.next_key();
        let group = self.group(function);
        let item = self.queue.add(group, key.to_bits());
        let times = Times { accepted, ..Times::default() };
        let stage = Stage::Queued(item);
        self.tasks.insert(Task { id, function, payload, timeout_ms, attempts: 0, stage, times });
        self.by_id.insert(id.0, key);
    }

    /// Functions are the groups that take turns.
    fn group(&mut self, function: Uuid) -> u32 {
        let next = self.groups.len() as u32;
        *self.groups.entry(function.0).or_insert(next)
    }

    /// The next task for a holder.
    pub fn take(&mut self, holder: Holder, owner: CoreId, wall: WallTime) -> Option<Job> {
        let lease = self.queue.take(holder)?;
        let task = self.tasks.get_mut(Key::from_bits(lease.token))?;
        task.attempts = lease.attempt;
        task.times.left = wall.micros();
        Some(Job {
            task: task.id,
            attempt: lease.attempt,
            owner,
            function: task.function,
            payload: task.payload.clone(),
            timeout_ms: task.timeout_ms,
        })
    }

    /// What the task that would be taken next calls, and how many bytes it brings.
    pub fn peek(&mut self) -> Option<(Uuid, usize)> {
        let key = Key::from_bits(self.queue.peek()?);
        self.tasks.get(key).map(|task| (task.function, task.payload.len()))
    }

    /// A result has come: the task is ending. False when it is late; then nothing happened.
    pub fn returned(&mut self, back: &Back, holder: Holder, wall: WallTime) -> bool {
        let is_right = self.settle(back.task, |queue, item| queue.done(item, back.attempt, holder));
        let Some(task) = self.task_mut(back.task).filter(|_| is_right) else {
            self.counts.late += 1;
            return false;
        };
        (task.times.began, task.times.ran) = (back.began, back.ran);
        self.set_ending(back.task, back.how, back.result.clone(), wall);
        true
    }

    fn set_ending(&mut self, id: Uuid, how: How, result: Blob, wall: WallTime) {
        let Some(task) = self.task_mut(id) else { return };
        let gone = task.payload.len();
        let came = result.len();
        // Only what may be tried again needs its arguments.
        if how != How::Dead {
            task.payload = Blob::from(Vec::new());
        }
        task.times.back = wall.micros();
        task.stage = Stage::Ending(Box::new(Ended { how, result, at: wall.micros() }));
        self.bytes += came;
        if how != How::Dead {
            self.bytes -= gone;
        }
    }

    /// A task that has ended, which nobody is told yet, and how.
    #[must_use]
    pub fn ending(&self, id: Uuid) -> Option<(&Task, &Ended)> {
        let task = self.tasks.get(*self.by_id.get(&id.0)?)?;
        match &task.stage {
            Stage::Ending(ended) => Some((task, ended)),
            Stage::Queued(_) | Stage::Ended(_) => None,
        }
    }

    /// That a task ended is kept: now everybody may know.
    pub fn kept(&mut self, id: Uuid, wall: WallTime) -> Option<(&Task, &Ended)> {
        let key = *self.by_id.get(&id.0)?;
        let task = self.tasks.get_mut(key)?;
        let Stage::Ending(ended) = &task.stage else { return None };
        task.times.stored = wall.micros().saturating_sub(ended.at);
        match ended.how {
            How::Completed => self.counts.completed += 1,
            How::Failed => self.counts.failed += 1,
            How::Cancelled => self.counts.cancelled += 1,
            How::Dead => self.counts.dead += 1,
        }
        self.ended.push_back((WallTime::from_micros(ended.at), id));
        task.stage = Stage::Ended(ended.clone());
        let Stage::Ended(ended) = &task.stage else { return None };
        Some((task, ended))
    }

    /// A lease ended without a result: what becomes of the task, and how many attempts count against it now. None when
    /// the lease had ended before.
    pub fn lost(
        &mut self,
        id: Uuid,
        attempt: u32,
        holder: Holder,
        limits: &Limits,
        now: Now,
    ) -> Option<(Lost, u32)> {
        let key = *self.by_id.get(&id.0)?;
        let Stage::Queued(item) = self.tasks.get(key)?.stage else { return None };
        let lost = self.queue.lost(item, attempt, holder, &limits.patience, now.at);
        if lost == Lost::Late {
            return None;
        }
        self.counts.lost += 1;
        Some((lost, self.queue.tried(item)))
    }

    /// A lease comes back unused.
    pub fn give_back(&mut self, id: Uuid, attempt: u32, holder: Holder) -> bool {
        self.settle(id, |queue, item| queue.give_back(item, attempt, holder))
    }

    /// A task is ended by something else than its result; says who had it.
    pub fn end(&mut self, id: Uuid, how: How, result: Vec<u8>, wall: WallTime) -> Option<State<Holder>> {
        let key = *self.by_id.get(&id.0)?;
        let Stage::Queued(item) = self.tasks.get(key)?.stage else { return None };
        let state = self.queue.remove(item)?;
        self.set_ending(id, how, Blob::from(result), wall);
        Some(state)
    }

    /// A task whose attempts were used up is tried again. Whether it was such a one.
    pub fn retry(&mut self, id: Uuid) -> bool {
        let Some(&key) = self.by_id.get(&id.0) else { return false };
        let Some(task) = self.tasks.get(key) else { return false };
        let Stage::Ended(ended) = &task.stage else { return false };
        if ended.how != How::Dead {
            return false;
        }
        let (function, attempts, came) = (task.function, task.attempts, ended.result.len());
        self.bytes -= came;
        let group = self.group(function);
        let item = self.queue.add(group, key.to_bits());
        self.queue.resume(item, attempts, 0);
        if let Some(task) = self.tasks.get_mut(key) {
            task.stage = Stage::Queued(item);
        }
        true
    }

    /// Wakes what has paused long enough, and says when the next has.
    pub fn wake(&mut self, now: Instant) -> Option<Instant> {
        self.queue.wake(now);
        self.queue.next_due()
    }

    /// Forgets results that are too old or too many, some of them; says which, and when the next is too old.
    pub fn forget(
        &mut self,
        wall: WallTime,
        limits: &Limits,
        mut gone: impl FnMut(Uuid),
    ) -> Option<WallTime> {
        for _ in 0..FORGET_MAX {
            let (at, id) = *self.ended.front()?;
            let until = at + limits.result_ttl;
            if until > wall && self.ended.len() <= limits.results_max {
                return Some(until);
            }
            self.ended.pop_front();
            // One that was retried is not over, or was over again later.
            let is_over = |ended: &Ended| ended.at == at.micros();
            if self.find(id).is_some_and(|(_, seen)| matches!(seen, Seen::Ended(ended) if is_over(ended))) {
                self.remove(id);
                gone(id);
            }
        }
        Some(wall + Duration::from_millis(1))
    }

    /// A task is no more.
    pub fn remove(&mut self, id: Uuid) {
        let Some(task) = self.by_id.remove(&id.0).and_then(|key| self.tasks.remove(key)) else { return };
        let result = match &task.stage {
            Stage::Queued(item) => {
                self.queue.remove(*item);
                0
            }
            Stage::Ending(ended) | Stage::Ended(ended) => ended.result.len(),
        };
        self.bytes -= task.payload.len() + result + TASK_BYTES;
        self.counts.forgotten += 1;
    }

    /// As it was kept: a task had ended so.
    pub fn found_ended(&mut self, id: Uuid, ended: Ended, times: Times, attempts: u32) {
        let wall = WallTime::from_micros(ended.at);
        if self.end(id, ended.how, ended.result.into_vec(), wall).is_some() {
            if let Some(task) = self.task_mut(id) {
                (task.times, task.attempts) = (times, attempts);
            }
            self.kept(id, WallTime::from_micros(ended.at + times.stored));
        }
    }

    /// As it was kept: an attempt left. It ended with the service, and counts against nothing.
    pub fn found_left(&mut self, id: Uuid, attempt: u32) {
        self.resume(id, attempt, None);
    }

    /// As it was kept: an attempt was lost, and so many count against the task.
    pub fn found_lost(&mut self, id: Uuid, tried: u32) {
        self.resume(id, tried, Some(tried));
    }

    /// An attempt of at least that number was begun; `tried` count, or as many as before.
    fn resume(&mut self, id: Uuid, attempt: u32, tried: Option<u32>) {
        let Some(task) = self.by_id.get(&id.0).and_then(|key| self.tasks.get_mut(*key)) else { return };
        let Stage::Queued(item) = task.stage else { return };
        task.attempts = task.attempts.max(attempt);
        self.queue.resume(item, task.attempts, tried.unwrap_or(self.queue.tried(item)));
    }

    fn task_mut(&mut self, id: Uuid) -> Option<&mut Task> {
        self.tasks.get_mut(*self.by_id.get(&id.0)?)
    }

    fn settle(&mut self, id: Uuid, act: impl FnOnce(&mut Queue<Holder>, Key) -> bool) -> bool {
        let Some(&key) = self.by_id.get(&id.0) else { return false };
        match self.tasks.get(key).map(|task| &task.stage) {
            Some(Stage::Queued(item)) => act(&mut self.queue, *item),
            Some(Stage::Ending(_) | Stage::Ended(_)) | None => false,
        }
    }
}
