//! What the core does on which a task lives: accepts it, answers about it, and takes its end.

use crate::answers::{self, Answer};
use crate::keep::{self, Record, Then};
use crate::peer::{Asker, Question, Said};
use crate::pickle::Raised;
use crate::shard::Faas;
use crate::task::{Back, Holder, How};
use crate::tasks::Seen;
use crate::uuid::Uuid;
use core::time::Duration;
use machine::{Blob, Instant, Now, Outbox, WallTime};
use state::queue::{Lost, State};

/// How long an idempotency key is remembered, and how many a core remembers at most.
const KEYS_SPAN: Duration = Duration::from_secs(24 * 3600);
const KEYS_MAX: usize = 1_000_000;

impl Faas {
    /// Accepts a call here; the answer follows when that is kept.
    pub(crate) fn accept(
        &mut self,
        now: Now,
        (function, timeout_ms): (Uuid, u32),
        payload: Blob,
        key: &[u8],
        asker: Option<Asker>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Uuid {
        let id = self.owners.draw(self.seat.core, &mut self.ids);
        let accepted = now.wall.micros();
        let then =
            asker.map(|asker| Then::Answer(asker, Answer::created(&self.config.manners, "task_id", id)));
        let record = Record::Task { id, function, timeout_ms, accepted, key, payload: &payload };
        let at_once = self.keep.log(&record, then, out);
        self.tasks.accept(id, function, payload, timeout_ms, accepted);
        self.functions.call(function);
        if let Some(then) = at_once {
            self.carry_out(now, then, out);
        }
        id
    }

    /// Accepts a call for who asked. Who waits is answered with the result, and need not be told the id before.
    pub(crate) fn accept_for(
        &mut self,
        now: Now,
        asker: Asker,
        what: (Uuid, u32),
        payload: Blob,
        key: &[u8],
        wait: u64,
        out: &mut impl Outbox<Said = Said>,
    ) -> Uuid {
        let told = if wait == 0 { Some(asker) } else { None };
        let id = self.accept(now, what, payload, key, told, out);
        if wait > 0 {
            self.question(now, asker, Question::Result(wait), id, out);
        }
        id
    }

    /// Accepts a call under a key of ours, unless there was one before: then it is the same task.
    pub(crate) fn call_keyed(
        &mut self,
        now: Now,
        asker: Asker,
        what: (Uuid, u32),
        key: &[u8],
        payload: Blob,
        wait: u64,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.tasks.keys.forget(now.wall, KEYS_SPAN, KEYS_MAX);
        if let Some(id) = self.tasks.keys.get(key) {
            if wait > 0 {
                // The task may be another core's, where there are more or fewer cores than when it was accepted.
                return self.ask_owner(now, asker, Question::Result(wait), Uuid(id), out);
            }
            // It may not be kept yet: nobody is told before.
            let answer = Answer::created(&self.config.manners, "task_id", Uuid(id));
            if let Some(then) = self.keep.after_all(Then::Answer(asker, answer)) {
                self.carry_out(now, then, out);
            }
            return;
        }
        if let Some(refusal) = self.refusal(1, payload.len()) {
            return self.reply(now, asker, refusal, out);
        }
        let id = self.accept_for(now, asker, what, payload, key, wait, out);
        self.tasks.keys.put(key, id.0, now.wall);
    }

    /// Why so many calls with so many bytes cannot be accepted here now.
    pub(crate) fn refusal(&self, count: usize, bytes: usize) -> Option<Answer> {
        if self.is_draining {
            return Some(Answer::refusal(503, "the service is shutting down"));
        }
        if !self.keep.can_promise() {
            return Some(Answer::refusal(503, "the disk takes nothing: nothing new can be promised"));
        }
        if !self.tasks.has_room(count, bytes, &self.config.limits) {
            return Some(Answer::refusal(429, "too many tasks wait; try again later"));
        }
        None
    }

    /// Answers what is asked about a task of ours.
    pub(crate) fn question(
        &mut self,
        now: Now,
        asker: Asker,
        what: Question,
        id: Uuid,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let manners = self.config.manners;
        let Some((task, seen)) = self.tasks.find(id) else {
            return self.reply(now, asker, Answer::no_task(&manners, id), out);
        };
        let answer = match what {
            Question::Status => answers::status(&manners, task, seen),
            Question::Result(wait) if wait == 0 || matches!(seen, Seen::Ended(_)) || self.is_draining => {
                answers::result(&manners, task, seen)
            }
            Question::Result(wait) => {
                return self.waiters.add(id, asker, now.at + Duration::from_millis(wait));
            }
            Question::Cancel => return self.cancel(now, asker, id, out),
            Question::Retry => return self.retry(now, asker, id, out),
        };
        self.reply(now, asker, answer, out);
    }

    /// Answers with the result as it is.
    pub(crate) fn tell_result(
        &mut self,
        now: Now,
        id: Uuid,
        asker: Asker,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let manners = self.config.manners;
        let answer = match self.tasks.find(id) {
            Some((task, seen)) => answers::result(&manners, task, seen),
            None => Answer::no_task(&manners, id),
        };
        self.reply(now, asker, answer, out);
    }

    fn cancel(&mut self, now: Now, asker: Asker, id: Uuid, out: &mut impl Outbox<Said = Said>) {
        let manners = self.config.manners;
        let attempt = self.tasks.find(id).map_or(0, |(task, _)| task.attempts);
        let result = answers::failure(&manners, Raised::Cancelled, "the task was cancelled");
        let Some(state) = self.tasks.end(id, How::Cancelled, result, now.wall) else {
            let refusal = Answer::refusal(409, "the task has ended already");
            return self.reply(now, asker, refusal, out);
        };
        match state {
            State::Leased(Holder::Worker(_)) => self.cancel_here(id, attempt, out),
            State::Leased(Holder::Core(core)) => {
                out.tell(core, Said::Cancel { task: id.0, attempt }, None);
            }
            State::Ready | State::Delayed(_) | State::Dead => {}
        }
        self.log_end(now, id, out);
        let body = format!("{{\"task_id\":\"{id}\",\"status\":\"FAILED\"}}").into_bytes();
        if let Some(then) = self.keep.after_all(Then::Answer(asker, Answer { status: 200, body })) {
            self.carry_out(now, then, out);
        }
    }

    fn retry(&mut self, now: Now, asker: Asker, id: Uuid, out: &mut impl Outbox<Said = Said>) {
        if !self.keep.can_promise() || !self.tasks.retry(id) {
            let refusal = Answer::refusal(409, "only a task whose attempts were used up can be retried");
            return self.reply(now, asker, refusal, out);
        }
        let body = format!("{{\"task_id\":\"{id}\",\"status\":\"QUEUED\"}}").into_bytes();
        let then = Then::Answer(asker, Answer { status: 200, body });
        if let Some(then) = self.keep.log(&Record::Retried { id }, Some(then), out) {
            self.carry_out(now, then, out);
        }
    }

    /// A result has come for a task of ours. One that is late changes nothing.
    pub(crate) fn came_back(
        &mut self,
        now: Now,
        back: &Back,
        holder: Holder,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if self.tasks.returned(back, holder, now.wall) {
            self.log_end(now, back.task, out);
        }
    }

    /// The worker of a task of ours is lost.
    pub(crate) fn lost(
        &mut self,
        now: Now,
        (id, attempt): (Uuid, u32),
        holder: Holder,
        words: &str,
        out: &mut impl Outbox<Said = Said>,
    ) {
        match self.tasks.lost(id, attempt, holder, &self.config.limits, now) {
            None | Some((Lost::Late, _)) => {}
            Some((Lost::Again(_), tried)) => {
                self.keep.log(&Record::Lost { id, attempts: tried }, None, out);
            }
            Some((Lost::Dead, tried)) => {
                let sentence = format!("given up after {tried} attempts; of the last: {words}");
                let result = answers::failure(&self.config.manners, Raised::Runtime, &sentence);
                self.tasks.end(id, How::Dead, result, now.wall);
                self.log_end(now, id, out);
            }
        }
    }

    /// That a task ended is logged; everybody is told when that is safe.
    fn log_end(&mut self, now: Now, id: Uuid, out: &mut impl Outbox<Said = Said>) {
        let Some((task, ended)) = self.tasks.ending(id) else { return };
        let at_once = self.keep.log(&keep::ended(task, ended), Some(Then::Ended(id)), out);
        if let Some(then) = at_once {
            self.carry_out(now, then, out);
        }
    }

    /// A task has ended, and that is safe.
    pub(crate) fn ended(&mut self, now: Now, id: Uuid, out: &mut impl Outbox<Said = Said>) {
        if self.tasks.kept(id, now.wall).is_none() {
            return;
        }
        for asker in self.waiters.come(id) {
            self.tell_result(now, id, asker, out);
        }
    }

    /// Old results are forgotten; says when to look again.
    pub(crate) fn forget(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) -> Option<Instant> {
        let mut gone = Vec::new();
        let until = self.tasks.forget(now.wall, &self.config.limits, |id| gone.push(id))?;
        for id in gone {
            self.keep.log(&Record::Forgotten { id }, None, out);
        }
        let span = |until: WallTime| Duration::from_micros(until.micros().saturating_sub(now.wall.micros()));
        Some(now.at + span(until))
    }
}
