//! What a core does for the workers that are connected to it: gives them tasks, its own and those that other cores
//! lend, takes what comes back, and notices when one is lost.
//!
//! The three modes are one: a worker has room, or has not. In pull mode it says so itself; in push mode, and for the
//! workers of this machine, the core counts. A core whose workers have nothing to do says to the others how much room
//! it has, and they lend it tasks that they cannot place. Nothing is said while everybody is busy.

use crate::config::{Dispatch, Mode};
use crate::dispatch::{
    self, Ended, FunctionId, MANY_MAX, Message, Report, Returned, Session, TaskFrame, TaskId, read,
    read_opening,
};
use crate::keep::Record;
use crate::peer::{self, Said};
use crate::pickle;
use crate::roster::{About, Worker};
use crate::shard::Faas;
use crate::task::{Back, Holder, How, Job};
use crate::uuid::Uuid;
use core::time::Duration;
use machine::blob::BLOB_MIN;
use machine::{Blob, Close, ConnId, CoreId, End, Input, Instant, Now, Outbox};
use wire::Outcome;

/// Tasks that one event lends to other cores at most; the next goes on.
const LEND_MAX: usize = 1024;

/// Which part of what workers have is a handful: they run out of the rest in no less than the time of a message.
const HANDFUL: u32 = 4;

/// A frame of tasks is ended from this many bytes on.
const FRAME_BYTES: usize = 1024 * 1024;

impl Faas {
    /// Somebody connected at the workers' door.
    pub(crate) fn worker_came(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        self.roster.open(conn, Session(self.sessions.next_u64()), now.at);
        let mut opening = Vec::new();
        dispatch::write_opening(&mut opening);
        out.write(conn, &opening);
    }

    /// A worker said something.
    pub(crate) fn worker_said(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(worker) = self.roster.get(conn) else { return input.used(input.bytes().len()) };
        worker.heard_at = now.at;
        if !worker.is_opened {
            match read_opening(input.bytes()) {
                Outcome::Done { used, .. } => {
                    worker.is_opened = true;
                    input.used(used);
                }
                Outcome::Partial { need } => return input.need(need),
                Outcome::Fault(fault) => return self.turn_away(now, conn, &fault.to_string(), out),
            }
        }
        loop {
            let bytes = input.bytes();
            if bytes.is_empty() {
                return;
            }
            match read(bytes) {
                Outcome::Done { value, used } => {
                    if let Err(why) = self.message(now, conn, value, out) {
                        return self.turn_away(now, conn, &why, out);
                    }
                    input.used(used);
                }
                Outcome::Partial { need } => return input.need(need),
                Outcome::Fault(fault) => return self.turn_away(now, conn, &fault.to_string(), out),
            }
        }
    }

    /// A worker that cannot be understood is told why, and is lost.
    fn turn_away(&mut self, now: Now, conn: ConnId, why: &str, out: &mut impl Outbox<Said = Said>) {
        let mut frame = Vec::new();
        dispatch::write_refused(&mut frame, why);
        out.write(conn, &frame);
        out.close(conn, Close::Flushed);
        self.worker_lost(now, conn, why, out);
    }

    fn message(
        &mut self,
        now: Now,
        conn: ConnId,
        message: Message<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Result<(), String> {
        let Some(worker) = self.roster.get(conn) else { return Ok(()) };
        if worker.about.is_none() && !matches!(message, Message::Registration(_)) {
            return Err("a worker's first frame is its registration".to_owned());
        }
        match message {
            Message::Registration(_) if worker.about.is_some() => {
                return Err("a worker registers once".to_owned());
            }
            Message::Registration(registration) => {
                // Nobody else can enter the folder where our own workers connect.
                let is_ours = matches!(self.config.dispatch, Dispatch::Own(_));
                if !is_ours && !self.config.tokens.know(registration.token.as_bytes()) {
                    return Err(
                        "its token is not in the service's --auth-file; give it one by its own".to_owned()
                    );
                }
                worker.about = Some(About::new(&registration));
                let mut frame = Vec::new();
                dispatch::write_welcome(&mut frame, self.config.limits.silence_max / 3, worker.session);
                out.write(conn, &frame);
                self.locals.registered();
            }
            Message::RequestTask { more } => {
                worker.asked = worker.asked.saturating_add(more);
                worker.is_closed = false;
                self.requests.push(conn);
            }
            Message::ResultReady { session, reports } => {
                let is_this = session == worker.session;
                let mut taken = Vec::new();
                for report in reports {
                    taken.push((report.task, report.attempt));
                    if is_this {
                        self.report(now, conn, &report, out);
                    } else {
                        self.tasks.counts.late += 1;
                    }
                }
                self.draft.clear();
                dispatch::write_taken(&mut self.draft, &taken);
                if !taken.is_empty() {
                    out.write(conn, &self.draft);
                }
            }
            Message::Heartbeat(beat) => {
                // Who had no room and has nothing any more has some.
                worker.is_closed = beat.is_leaving || (worker.is_closed && worker.has() > 0);
                self.draft.clear();
                dispatch::write_heartbeat(&mut self.draft, beat);
                out.write(conn, &self.draft);
            }
            Message::NewTask(_) | Message::NoTask | Message::Ack(_) | Message::Cancel(..) => {
                return Err("that is for the service to say".to_owned());
            }
        }
        Ok(())
    }

    /// What became of a task. What the worker did not have was lost before, and is late.
    fn report(&mut self, now: Now, conn: ConnId, report: &Report<'_>, out: &mut impl Outbox<Said = Said>) {
        let (task, attempt) = (Uuid(u128::from_be_bytes(report.task.0)), report.attempt);
        let Some(worker) = self.roster.get(conn) else { return };
        let Some(flight) = worker.take_back(task, attempt) else {
            self.tasks.counts.late += 1;
            return;
        };
        worker.done += 1;
        worker.failed += u64::from(matches!(report.ended, Ended::Failed { .. }));
        let (how, result) = match report.ended {
            Ended::Completed(result) => (How::Completed, result.to_vec()),
            Ended::Failed { words, raised, .. } => {
                let text = self.config.manners.failure == crate::config::Failure::Text || raised.is_empty();
                (How::Failed, if text { pickle::text(words) } else { raised.to_vec() })
            }
            Ended::Returned { why: Returned::SlotLost, words } => {
                return self.job_lost(now, (task, attempt), flight.owner, conn, words, out);
            }
            Ended::Returned { why, .. } => {
                match why {
                    Returned::NeedsFunction => drop(worker.knows.remove(&flight.function)),
                    Returned::NoRoom | Returned::Leaving | Returned::SlotLost => worker.is_closed = true,
                }
                return self.job_unused((task, attempt), flight.owner, conn, out);
            }
        };
        if how == How::Completed {
            worker.is_closed &= worker.has() > 0;
        }
        let back = Back {
            task,
            attempt,
            how,
            result: Blob::from(result),
            began: report.started_us,
            ran: report.ran_us,
        };
        self.functions.ran(flight.function, report.ran_us);
        self.ran_us = self.functions.get(flight.function).and_then(|function| function.ran_us);
        if flight.owner == self.seat.core {
            self.came_back(now, &back, Holder::Worker(conn), out);
        } else {
            let (said, blob) = peer::returned(&back);
            out.tell(flight.owner, said, blob);
        }
    }

    fn job_lost(
        &mut self,
        now: Now,
        (task, attempt): (Uuid, u32),
        owner: CoreId,
        conn: ConnId,
        words: &str,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if owner == self.seat.core {
            self.lost(now, (task, attempt), Holder::Worker(conn), words, out);
        } else {
            out.tell(owner, Said::Lost { task: task.0, attempt, words: words.to_owned() }, None);
        }
    }

    fn job_unused(
        &mut self,
        (task, attempt): (Uuid, u32),
        owner: CoreId,
        conn: ConnId,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if owner == self.seat.core {
            self.tasks.give_back(task, attempt, Holder::Worker(conn));
        } else {
            self.offered[owner.index()] = 0;
            out.tell(owner, Said::GiveBack { task: task.0, attempt }, None);
        }
    }

    /// Its connection takes more again.
    pub(crate) fn worker_has_room(&mut self, conn: ConnId) {
        if let Some(worker) = self.roster.get(conn) {
            worker.is_stuffed = false;
        }
    }

    /// A worker's connection ended.
    pub(crate) fn worker_ended(
        &mut self,
        now: Now,
        conn: ConnId,
        end: End,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if end == End::Half {
            out.close(conn, Close::Flushed);
        }
        self.worker_lost(now, conn, "the worker is gone", out);
    }

    /// What a lost worker had goes back. Of what it cannot have begun, no attempt is counted.
    fn worker_lost(&mut self, now: Now, conn: ConnId, words: &str, out: &mut impl Outbox<Said = Said>) {
        let Some(mut worker) = self.roster.close(conn) else { return };
        let (flights, begun) = worker.lose();
        for (order, (task, attempt, flight)) in flights.into_iter().enumerate() {
            if order < begun {
                self.job_lost(now, (task, attempt), flight.owner, conn, words, out);
            } else {
                self.job_unused((task, attempt), flight.owner, conn, out);
            }
        }
    }

    /// An attempt is not wanted any more, by the worker here that has it.
    pub(crate) fn cancel_here(&mut self, task: Uuid, attempt: u32, out: &mut impl Outbox<Said = Said>) {
        self.borrowed.retain(|job| (job.task, job.attempt) != (task, attempt));
        let Some(worker) = self.roster.iter().find(|worker| worker.is_flying(task, attempt)) else { return };
        let mut frame = Vec::new();
        dispatch::write_cancel(&mut frame, TaskId(task.0.to_be_bytes()), attempt);
        out.write(worker.conn, &frame);
    }

    /// Workers that have tasks and say nothing are lost; says when to look again.
    pub(crate) fn look_for_silence(
        &mut self,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) -> Option<Instant> {
        if !self.roster.is_busy() {
            self.silence_at = None;
            return None;
        }
        let silence = self.config.limits.silence_max;
        let at = *self.silence_at.get_or_insert(now.at + silence / 2);
        if at > now.at {
            return Some(at);
        }
        let is_silent = |worker: &&Worker| worker.has() > 0 && worker.heard_at + silence <= now.at;
        let silent: Vec<ConnId> = self.roster.iter().filter(is_silent).map(|worker| worker.conn).collect();
        for conn in silent {
            out.close(conn, Close::Now);
            self.worker_lost(now, conn, "the worker fell silent", out);
        }
        self.silence_at = Some(now.at + (silence / 2).max(Duration::from_millis(1)));
        self.silence_at
    }

    /// Work goes to who has room.
    pub(crate) fn pump(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if !self.is_draining {
            self.give_out(now, out);
            self.give_back_rest(out);
            self.share(now, out);
        }
        self.flush(out);
        for conn in core::mem::take(&mut self.requests) {
            let is_idle = self.roster.get(conn).is_some_and(|worker| worker.asked > 0 && worker.has() == 0);
            if is_idle {
                let mut frame = Vec::new();
                dispatch::write_no_task(&mut frame);
                out.write(conn, &frame);
            }
        }
    }

    fn give_out(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        loop {
            let function = match self.borrowed.front() {
                Some(job) => job.function,
                None => match self.tasks.peek() {
                    Some((function, _)) => function,
                    None => return,
                },
            };
            let ran_us = self.functions.get(function).and_then(|function| function.ran_us);
            let Some(worker) = self.roster.best(ran_us) else { return };
            let job = self.borrowed.pop_front();
            let holder = Holder::Worker(worker.conn);
            let taken = || {
                let job = self.tasks.take(holder, self.seat.core, now.wall)?;
                self.keep.log(&Record::Left { id: job.task, attempt: job.attempt }, None, out);
                Some(job)
            };
            let Some(job) = job.or_else(taken) else { return };
            // A large payload alone may fill the connection: nothing goes behind it before it is written.
            worker.is_stuffed |= job.payload.len() > FRAME_BYTES;
            worker.give(job, ran_us, now.at);
        }
    }

    /// What was lent and finds no room goes back at once: another core may have some.
    fn give_back_rest(&mut self, out: &mut impl Outbox<Said = Said>) {
        for Job { task, attempt, owner, .. } in core::mem::take(&mut self.borrowed) {
            self.offered[owner.index()] = 0;
            out.tell(owner, Said::GiveBack { task: task.0, attempt }, None);
        }
    }

    /// Tasks that find no room here go to cores that have some; and where none wait, the others are told how much
    /// room there is.
    fn share(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if self.seat.cores == 1 {
            return;
        }
        let mut lent = 0;
        while self.tasks.queued().ready > 0 && lent < LEND_MAX {
            let Some(core) = (0..self.seat.cores).map(CoreId).max_by_key(|core| self.hungry[core.index()])
            else {
                return;
            };
            if self.hungry[core.index()] == 0 {
                return;
            }
            self.hungry[core.index()] -= 1;
            let Some(job) = self.tasks.take(Holder::Core(core), self.seat.core, now.wall) else { return };
            self.keep.log(&Record::Left { id: job.task, attempt: job.attempt }, None, out);
            let (said, blob) = peer::lend(&job);
            out.tell(core, said, blob);
            lent += 1;
        }
        if self.tasks.queued().ready > 0 || self.roster.is_empty() {
            return;
        }
        let room: u32 = self.roster.iter().map(|worker| worker.room(self.ran_us)).sum();
        // While every slot has something, reserve is asked for by the handful: a message for each task wakes two cores.
        let held: u32 = self.roster.iter().map(Worker::has).sum();
        if self.roster.free_slots() == 0 && room < held / HANDFUL {
            return;
        }
        for core in self.seat.other_cores() {
            let offered = &mut self.offered[core.index()];
            if room > 0 && (*offered == 0 || room >= 2 * *offered) {
                *offered = room;
                out.tell(core, Said::Hungry { room }, None);
            }
        }
    }

    /// What was given in this event is written: as few frames as there may be.
    fn flush(&mut self, out: &mut impl Outbox<Said = Said>) {
        let Self { roster, functions, draft, .. } = self;
        for worker in roster.iter_mut().filter(|worker| !worker.batch.is_empty()) {
            draft.clear();
            let mut jobs = core::mem::take(&mut worker.batch).into_iter().peekable();
            while jobs.peek().is_some() {
                let mut frame = TaskFrame::begin(draft);
                for _ in 0..MANY_MAX {
                    let Some(job) = jobs.next() else { break };
                    let code = (!worker.knows.contains(&job.function)).then(|| functions.get(job.function));
                    worker.knows.insert(job.function);
                    frame.push(&dispatch::Task {
                        id: TaskId(job.task.0.to_be_bytes()),
                        attempt: job.attempt,
                        function: FunctionId(job.function.0.to_be_bytes()),
                        timeout: Duration::from_millis(job.timeout_ms.into()),
                        code: code.flatten().map(|function| &*function.code),
                        payload: &job.payload,
                    });
                    if frame.length() > FRAME_BYTES {
                        break;
                    }
                }
                frame.end();
            }
            if draft.len() < BLOB_MIN {
                out.write(worker.conn, draft);
            } else {
                out.write_blob(worker.conn, Blob::from(core::mem::take(draft)));
            }
            worker.is_stuffed = out.room(worker.conn) == 0;
        }
    }

    /// One worker in a list, as JSON.
    pub(crate) fn listed_worker(&self, worker: &Worker, into: &mut String) {
        use core::fmt::Write as _;
        let Some(about) = &worker.about else { return };
        let texts = serde_json::json!({
            "python": &*about.python,
            "dill": &*about.dill,
            "remarks": &*about.remarks,
            "jails": about.jails.iter().map(|jail| jail.name()).collect::<Vec<_>>(),
        });
        let texts = texts.to_string();
        let mode = match (self.config.mode, about.mode) {
            (Mode::Local, _) => "local",
            (_, dispatch::Mode::Pull) => "pull",
            (_, dispatch::Mode::Push) => "push",
        };
        let _ = write!(
            into,
            "{{\"worker_id\":\"{}\",\"mode\":\"{mode}\",\"core\":{},\"pid\":{},\"slots\":{},\"window\":{},\"tasks\":{},\
             \"done\":{},\"failed\":{},{}",
            about.id,
            self.seat.core.0,
            about.pid,
            about.slots,
            about.window,
            worker.has(),
            worker.done,
            worker.failed,
            &texts[1..]
        );
    }
}
