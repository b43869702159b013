//! The worker: slots that run what the service gives them.
//!
//! One core, one connection to the service, one Python zygote, and a process for each slot, which connects to a socket
//! of ours. Here it is only said who is asked: [`home`] is the connection to the service, [`zygote`] forks slots,
//! [`pool`] gives them tasks and knows what became of each, [`kept`] holds reports until the service has them.
//!
//! What holds always:
//! - a task that came is reported exactly once, unless the session in which it came ends: then it is the service's
//!   again, and nothing that is left of it here counts;
//! - user code that ends, hangs or spoils its process costs its own task and nobody else's;
//! - when this process is killed, no process of its slots is left (the keeper, the kernel's parent-death signal, and
//!   where root runs the worker a process namespace for each slot).

pub mod config;
pub mod home;
pub mod kept;
pub mod pace;
pub mod pool;
pub mod slot;
pub mod zygote;

pub use config::{Bounds, Config};

use crate::dispatch::{self, Ack, FunctionId, Message, Mode, Returned, Task};
use crate::python;
use core::time::Duration;
use home::{Home, WINDOW};
use kept::Kept;
use machine::{
    Address, Blob, Chance, ChildEvent, ChildId, Close, ConnId, End, Gauges, Input, Instant, ListenerId,
    Listening, Now, Opened, Order, Outbox, Peer, Seat, Shard, TimerId,
};
use pool::Pool;
use rkyv::{Archive, Serialize};
use slot::{Doom, Job};
use std::collections::BTreeMap;
use wire::Outcome;
use zygote::{News, Zygote};

/// Our one timer.
const DUE: TimerId = TimerId(1);

/// Slots are ended so long before the world stops waiting for a drain.
const LAST_CALL: Duration = Duration::from_millis(500);

/// Bytes of functions that are held for slots; with more, those used least recently are forgotten, and the service is
/// asked for them again.
const CODE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Cores of a worker have nothing to say to each other: there is one.
#[derive(Archive, Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Nothing;

/// A worker.
#[derive(Debug)]
pub struct Worker {
    config: Config,
    home: Home,
    zygote: Zygote,
    pool: Pool,
    kept: Kept,
    codes: BTreeMap<FunctionId, (Blob, u64)>,
    code_bytes: usize,
    uses: u64,
    /// Connections that have not said which slot they are.
    newcomers: Vec<ConnId>,
    /// When the world was last asked to wake us.
    armed: Option<Instant>,
    /// When running tasks are ended, once the worker leaves.
    leaves: Option<Instant>,
    is_drained: bool,
}

impl Shard for Worker {
    type Config = Config;
    type Said = Nothing;
    type Heard = ArchivedNothing;

    fn new(_: Seat, config: &Config, chance: Chance) -> Self {
        Self {
            config: config.clone(),
            home: Home::new(chance.stream("home")),
            zygote: Zygote::default(),
            pool: Pool::new(config.slots, chance.stream("secrets")),
            kept: Kept::default(),
            codes: BTreeMap::new(),
            code_bytes: 0,
            uses: 0,
            newcomers: Vec::new(),
            armed: None,
            leaves: None,
            is_drained: false,
        }
    }

    fn on_start(&mut self, _: Now, out: &mut impl Outbox<Said = Nothing>) {
        out.listen(Address::Unix(zygote::socket(&self.config).into()));
    }

    fn on_listen(&mut self, now: Now, _: ListenerId, what: Listening, out: &mut impl Outbox<Said = Nothing>) {
        match what {
            Listening::Bound(_) => self.zygote.start(&self.config, out),
            Listening::Failed(why) => (self.config.say)(&format!("slots cannot connect: {why}")),
        }
        self.settle(now.at, out);
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Nothing>) {
        match how {
            Opened::Accepted { .. } => self.newcomers.push(conn),
            Opened::Dialled => {}
            Opened::Pipe(child, kind) => self.zygote.on_pipe(child, kind, conn, &self.config, out),
        }
        self.settle(now.at, out);
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Nothing>,
    ) {
        if self.home.conn() == Some(conn) {
            self.hear_home(now.at, conn, input, out);
        } else if self.zygote.owns(conn) {
            let news = self.zygote.hear(conn, input.bytes(), self.config.say);
            input.used(input.bytes().len());
            news.into_iter().for_each(|news| self.hear_zygote(now.at, news));
        } else {
            self.hear_slot(now.at, conn, input, out);
        }
        self.settle(now.at, out);
    }

    fn on_end(&mut self, now: Now, conn: ConnId, _: End, out: &mut impl Outbox<Said = Nothing>) {
        if self.home.conn() == Some(conn) {
            // Who has said all to us has nothing to give.
            out.close(conn, Close::Now);
            self.lose_home(now.at, "the service hung up or cannot be reached", out);
        } else if !self.zygote.owns(conn) {
            self.drop_slot_conn(now.at, conn, out);
        }
        self.settle(now.at, out);
    }

    fn on_peer(
        &mut self,
        _: Now,
        _: Peer,
        _: &ArchivedNothing,
        _: Option<Blob>,
        _: &mut impl Outbox<Said = Nothing>,
    ) {
        unreachable!("cores of a worker say nothing to each other")
    }

    fn on_timer(&mut self, now: Now, _: TimerId, out: &mut impl Outbox<Said = Nothing>) {
        self.armed = None;
        self.settle(now.at, out);
    }

    fn on_child(
        &mut self,
        now: Now,
        child: ChildId,
        what: ChildEvent,
        out: &mut impl Outbox<Said = Nothing>,
    ) {
        let why = match what {
            ChildEvent::Started { .. } => return,
            ChildEvent::Unstarted(why) => why.into_string(),
            ChildEvent::Exited(status) => format!("it ended with status {status}"),
            ChildEvent::Killed(signal) => format!("it was ended by signal {signal}"),
        };
        if self.zygote.on_gone(child, now.at) && self.leaves.is_none() {
            (self.config.say)(&format!(
                "the Python process of the slots is no more ({why}); it is started again"
            ));
            self.pool.on_zygote_gone(now.at);
        }
        self.settle(now.at, out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Nothing>) {
        match order {
            Order::Reload(_) => {}
            Order::Drain { by } => {
                let span = by.since(now.at);
                self.leaves = Some(now.at + span.saturating_sub(LAST_CALL.min(span / 2)));
                self.pool.close();
                if let Some(conn) = self.home.welcome() {
                    let beat = self.pool.beat(true);
                    self.home.say_beat(conn, beat, now.at, out);
                }
            }
        }
        self.settle(now.at, out);
    }

    fn gauges(&self, into: &mut Gauges) {
        let tally = &self.pool.tally;
        into.counter("worker_completed_total", "tasks that went well", tally.completed);
        into.counter("worker_failed_total", "tasks that failed", tally.failed);
        into.counter("worker_returned_total", "tasks that went back to the service", tally.returned);
        into.counter("worker_launched_total", "processes that were forked for slots", tally.launched);
        into.counter("worker_killed_total", "processes of slots that were ended", tally.killed);
        into.level("worker_ready", "slots that take tasks", self.pool.ready() as i64);
        into.level("worker_held", "tasks here", self.pool.held() as i64);
        into.level("worker_kept", "reports that were not acknowledged", self.kept.len() as i64);
    }
}

impl Worker {
    /// After every event: what is due, what there is room for, and when to come again.
    fn settle(&mut self, now: Instant, out: &mut impl Outbox<Said = Nothing>) {
        if self.is_drained {
            return;
        }
        let mut due = self.pool.tick(now, &mut self.zygote, &mut self.kept, out);
        if let Some(at) = self.zygote.start_at() {
            if at <= now && self.leaves.is_none() {
                self.zygote.start(&self.config, out);
            } else {
                due = due.into_iter().chain([at]).min();
            }
        }
        due = due.into_iter().chain(self.tick_home(now, out)).min();
        if let Some(at) = self.leaves {
            due = due.into_iter().chain(self.leave(at, now, out)).min();
        }
        if let Some(due) = due
            && self.armed.is_none_or(|armed| due < armed)
        {
            self.armed = Some(due);
            out.wake(DUE, Some(due));
        }
    }

    fn tick_home(&mut self, now: Instant, out: &mut impl Outbox<Said = Nothing>) -> Option<Instant> {
        let (is_leaving, beat) = (self.leaves.is_some(), self.pool.beat(self.leaves.is_some()));
        let is_busy = beat.running + beat.waiting > 0;
        if self.home.conn().is_none() {
            // Who cannot run anything has nothing to offer.
            let facts = self.zygote.facts()?;
            if self.home.due(is_busy) <= now && !is_leaving {
                self.home.dial(now, &self.config, facts, out);
            }
        } else if self.home.welcome().is_none() && self.home.due(is_busy) <= now {
            self.home.hang_up(Close::Now, out);
            self.lose_home(now, "the service does not answer", out);
        } else if !self.home.beat(beat, now, out) {
            self.home.hang_up(Close::Now, out);
            self.lose_home(now, "the service is silent", out);
        } else if self.config.mode == Mode::Pull && !is_leaving && !self.kept.is_full() {
            let room = self.pool.capacity(WINDOW.into()).saturating_sub(self.pool.held());
            self.home.ask(room, out);
        }
        (!is_leaving || self.home.conn().is_some()).then(|| self.home.due(is_busy))
    }

    /// The way out: running tasks end by themselves or at the last moment, their reports are acknowledged, and then.
    fn leave(&mut self, at: Instant, now: Instant, out: &mut impl Outbox<Said = Nothing>) -> Option<Instant> {
        self.pool.give_all_back(Returned::Leaving, &mut self.kept, out);
        if at <= now {
            self.pool.doom_busy(Doom::Stopped, &mut self.zygote, out);
        }
        let is_said = self.kept.is_empty() || self.home.welcome().is_none();
        if self.pool.is_idle() && is_said {
            self.home.hang_up(Close::Flushed, out);
            self.is_drained = true;
            out.drained();
            return None;
        }
        (at > now).then_some(at)
    }

    fn lose_home(&mut self, now: Instant, why: &str, out: &mut impl Outbox<Said = Nothing>) {
        let was_welcome = self.home.welcome().is_some();
        self.kept.end();
        self.pool.orphan(&mut self.zygote, out);
        let failures = self.home.lost(now);
        // Once for each service that goes, and now and then for one that does not come.
        if was_welcome || failures.is_power_of_two() {
            (self.config.say)(&format!("{why} ({}); trying again", self.config.service));
        }
    }

    fn hear_home(
        &mut self,
        now: Instant,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Nothing>,
    ) {
        self.home.heard(now);
        if !self.home.is_opened {
            match dispatch::read_opening(input.bytes()) {
                Outcome::Done { value: _, used } => {
                    input.used(used);
                    self.home.is_opened = true;
                }
                Outcome::Partial { need } => return input.need(need),
                Outcome::Fault(fault) => return self.refuse_home(now, conn, &fault.to_string(), out),
            }
        }
        while self.home.conn() == Some(conn) {
            let bytes = input.bytes();
            match dispatch::read(bytes) {
                Outcome::Done { value, used } => {
                    self.obey(now, conn, value, out);
                    input.used(used);
                }
                Outcome::Partial { need } => return input.need(need),
                Outcome::Fault(fault) => return self.refuse_home(now, conn, &fault.to_string(), out),
            }
        }
    }

    fn refuse_home(&mut self, now: Instant, conn: ConnId, why: &str, out: &mut impl Outbox<Said = Nothing>) {
        out.close(conn, Close::Now);
        self.lose_home(now, why, out);
    }

    fn obey(
        &mut self,
        now: Instant,
        conn: ConnId,
        message: Message<'_>,
        out: &mut impl Outbox<Said = Nothing>,
    ) {
        match message {
            Message::NewTask(tasks) => {
                tasks.for_each(|task| self.take(now, &task, out));
                self.pool.feed(now, out);
            }
            Message::Ack(Ack::Reports(taken)) => {
                taken.for_each(|(task, attempt)| self.kept.taken(task, attempt));
            }
            Message::Ack(Ack::Welcome { heartbeat, session }) => {
                self.home.welcomed(heartbeat, now);
                // What it is told now it must be told by this connection: it knows nothing of the one before.
                self.codes.clear();
                self.code_bytes = 0;
                self.kept.begin(session, conn);
                let (slots, facts) = (self.config.slots, self.zygote.facts());
                let python = facts.map_or("", |facts| &facts.python);
                (self.config.say)(&format!(
                    "registered at {} with {slots} slots of Python {python}",
                    self.config.service
                ));
            }
            Message::Ack(Ack::Refused(words)) => {
                let why = format!("the service refuses this worker: {words}");
                self.refuse_home(now, conn, &why, out);
            }
            Message::Cancel(task, attempt) => {
                self.pool.cancel((task, attempt), &mut self.zygote, &mut self.kept, out);
            }
            Message::NoTask | Message::Heartbeat(_) => {}
            Message::Registration(_) | Message::RequestTask { .. } | Message::ResultReady { .. } => {
                self.refuse_home(now, conn, "what answers there is a worker, not the service", out);
            }
        }
    }

    fn take(&mut self, now: Instant, task: &Task<'_>, out: &mut impl Outbox<Said = Nothing>) {
        // Who gives tasks before a welcome is none of ours.
        let Some(session) = self.kept.session() else { return };
        self.home.got();
        self.uses += 1;
        if let Some(code) = task.code {
            self.learn(task.function, code);
        }
        let known = self.codes.get_mut(&task.function);
        let code = known.map(|(code, used)| {
            *used = self.uses;
            code.clone()
        });
        let job = Job {
            id: task.id,
            attempt: task.attempt,
            session,
            function: task.function,
            code: code.clone().unwrap_or_else(|| Blob::from(Vec::new())),
            payload: Blob::from(task.payload.to_vec()),
            timeout: task.timeout,
            arrived: now,
        };
        if self.leaves.is_some() {
            self.pool.give_back(&job, Returned::Leaving, &mut self.kept, out);
        } else if code.is_none() {
            self.pool.give_back(&job, Returned::NeedsFunction, &mut self.kept, out);
        } else {
            self.pool.take(job, now);
        }
    }

    fn learn(&mut self, function: FunctionId, code: &[u8]) {
        self.code_bytes += code.len();
        if let Some((before, _)) = self.codes.insert(function, (Blob::from(code.to_vec()), self.uses)) {
            self.code_bytes -= before.len();
        }
        while self.code_bytes > CODE_BYTES_MAX && self.codes.len() > 1 {
            let oldest =
                self.codes.iter().filter(|(id, _)| **id != function).min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(id, _)| *id) else { return };
            if let Some((code, _)) = self.codes.remove(&oldest) {
                self.code_bytes -= code.len();
            }
        }
    }

    fn hear_zygote(&mut self, now: Instant, news: News) {
        match news {
            News::Ready(facts) => {
                if !facts.remarks.is_empty() {
                    (self.config.say)(&format!("jails that do not hold: {}", facts.remarks));
                }
            }
            News::Failed(why) => (self.config.say)(&format!("Python cannot run slots: {why}")),
            News::Ended(launch, how) => self.pool.on_ended(launch, how),
            News::Gone(launch) => self.pool.on_gone(launch, now),
            News::Unstarted(launch, why) => {
                (self.config.say)(&format!("a slot cannot be forked: {why}"));
                self.pool.on_gone(launch, now);
            }
        }
    }

    fn hear_slot(
        &mut self,
        now: Instant,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Nothing>,
    ) {
        if let Some(at) = self.newcomers.iter().position(|newcomer| *newcomer == conn) {
            match python::read_hello(input.bytes()) {
                Outcome::Done { value, used } => {
                    input.used(used);
                    self.newcomers.swap_remove(at);
                    if !self.pool.greet(value, conn) {
                        return out.close(conn, Close::Now);
                    }
                }
                Outcome::Partial { need } => return input.need(need),
                Outcome::Fault(_) => {
                    self.newcomers.swap_remove(at);
                    return out.close(conn, Close::Now);
                }
            }
        }
        let Some(at) = self.pool.of(conn) else {
            input.used(input.bytes().len());
            return out.close(conn, Close::Now);
        };
        loop {
            let bytes = input.bytes();
            if bytes.is_empty() {
                return;
            }
            match python::read_told(bytes) {
                Outcome::Done { value, used } => {
                    if !self.pool.told(at, &value, now, &mut self.kept, out) {
                        self.pool.doom(at, Doom::Strange, &mut self.zygote, out);
                        return input.used(bytes.len());
                    }
                    input.used(used);
                }
                Outcome::Partial { need } => return input.need(need),
                Outcome::Fault(_) => {
                    self.pool.doom(at, Doom::Strange, &mut self.zygote, out);
                    return input.used(bytes.len());
                }
            }
        }
    }

    /// A slot's connection, or a newcomer's, is no more.
    fn drop_slot_conn(&mut self, now: Instant, conn: ConnId, out: &mut impl Outbox<Said = Nothing>) {
        out.close(conn, Close::Now);
        self.newcomers.retain(|newcomer| *newcomer != conn);
        if let Some(at) = self.pool.of(conn) {
            self.pool.on_conn_end(at, now);
        }
    }
}
