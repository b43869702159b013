//! Routing: what happened goes to the noun it concerns, and what that says goes out.
//!
//! A client's connection is on one core, the task it asks about on another, and the worker that runs it perhaps on a
//! third. `asks` is what the first does, `owner` the second, `dispatcher` the third; `look` asks all of them.

use crate::answers::Answer;
use crate::asks::{To, site};
use crate::config::{Config, Dispatch};
use crate::functions::Functions;
use crate::keep::{self, Keep, Then};
use crate::local::Locals;
use crate::look::Looking;
use crate::peer::{ArchivedSaid, Asker, Said};
use crate::roster::Roster;
use crate::snapshot::Snapshot;
use crate::task::{Holder, Job};
use crate::tasks::{Seen, Tasks};
use crate::uuid::{Owners, Uuid};
use crate::waiters::Waiters;
use machine::blob::BLOB_MIN;
use machine::{
    Address, Blob, Chance, ChildEvent, ChildId, ConnId, CoreId, End, Gauges, Input, Instant, Kept,
    ListenerId, Listening, Now, Opened, Order, Outbox, Peer, PipeKind, Seat, Shard, Stored, Stream, Ticket,
    TimerId,
};
use std::collections::{BTreeMap, VecDeque};
use web::{AskId, Site};

/// When to look at pauses, silent workers, waiting clients and old results. One timer: the earliest counts.
const LOOK: TimerId = TimerId(1);

/// How long before the end of a drain who still waits for a result is told that there is none yet: 200 ms.
const TOLD_BEFORE_NANOS: u64 = 200_000_000;

/// A function that is being registered here.
#[derive(Debug)]
pub(crate) struct Registering {
    pub(crate) asker: AskId,
    /// Cores that do not know it yet.
    pub(crate) left: u16,
    pub(crate) is_kept: bool,
}

/// One core's functions, tasks, workers and connections.
#[derive(Debug)]
pub struct Faas {
    pub(crate) seat: Seat,
    pub(crate) config: Config,
    pub(crate) owners: Owners,
    pub(crate) site: Site<To>,
    pub(crate) functions: Functions,
    pub(crate) tasks: Tasks,
    pub(crate) keep: Keep,
    pub(crate) snapshot: Snapshot,
    pub(crate) roster: Roster,
    pub(crate) waiters: Waiters,
    pub(crate) locals: Locals,
    pub(crate) ids: Stream,
    pub(crate) sessions: Stream,
    /// Tasks of other cores for workers here.
    pub(crate) borrowed: VecDeque<Job>,
    /// Tasks that each core has room for, as it said.
    pub(crate) hungry: Vec<u32>,
    /// Tasks that each core was told there is room for here, and has not lent.
    pub(crate) offered: Vec<u32>,
    /// How long the last task ran that came back here.
    pub(crate) ran_us: Option<u64>,
    /// Workers that asked for tasks in this event.
    pub(crate) requests: Vec<ConnId>,
    pub(crate) registering: BTreeMap<Uuid, Registering>,
    pub(crate) looks: BTreeMap<u64, Looking>,
    pub(crate) looked: u64,
    pub(crate) draft: Vec<u8>,
    /// When the world wakes us.
    woken: Option<Instant>,
    /// When silent workers are looked for next.
    pub(crate) silence_at: Option<Instant>,
    doors: BTreeMap<ListenerId, Door>,
    pub(crate) is_draining: bool,
    /// While draining: how long clients may wait for a result.
    waits_until: Instant,
}

/// Who comes by which door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Door {
    Clients,
    Workers,
}

impl Shard for Faas {
    type Config = Config;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, config: &Config, chance: Chance) -> Self {
        Self {
            seat,
            owners: Owners::new(seat),
            site: site(config),
            functions: Functions::default(),
            tasks: Tasks::default(),
            keep: Keep::new(config.is_kept),
            snapshot: Snapshot::default(),
            roster: Roster::default(),
            waiters: Waiters::default(),
            locals: Locals::default(),
            ids: chance.stream("ids"),
            sessions: chance.stream("sessions"),
            borrowed: VecDeque::new(),
            hungry: vec![0; usize::from(seat.cores)],
            offered: vec![0; usize::from(seat.cores)],
            ran_us: None,
            requests: Vec::new(),
            registering: BTreeMap::new(),
            looks: BTreeMap::new(),
            looked: 0,
            draft: Vec::new(),
            woken: None,
            silence_at: None,
            doors: BTreeMap::new(),
            is_draining: false,
            waits_until: Instant::ZERO,
            config: config.clone(),
        }
    }

    fn on_replay(&mut self, what: Kept<'_>) {
        let (Kept::Part(bytes) | Kept::Record(bytes)) = what;
        if let Some(record) = keep::read(bytes) {
            let core = self.seat.core;
            keep::replay(&record, core, &self.owners, &mut self.functions, &mut self.tasks);
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.doors.insert(out.listen(self.config.http.clone()), Door::Clients);
        let at = match &self.config.dispatch {
            Dispatch::Shared(at) => at.clone(),
            Dispatch::Own(local) => Address::Unix(format!("{}-{}", local.path, self.seat.core.0).into()),
        };
        self.doors.insert(out.listen(at), Door::Workers);
        self.settle(now, out);
    }

    fn on_listen(
        &mut self,
        now: Now,
        listener: ListenerId,
        what: Listening,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if let (Some(Door::Workers), Listening::Bound(_)) = (self.doors.get(&listener), what) {
            self.start_workers(now, out);
        }
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Said>) {
        match how {
            Opened::Accepted { listener, .. } => match self.doors.get(&listener) {
                Some(Door::Workers) => self.worker_came(now, conn, out),
                Some(Door::Clients) | None => self.site.open(now, conn, out),
            },
            Opened::Pipe(child, PipeKind::Error) => self.locals.pipe(child, conn),
            Opened::Pipe(..) | Opened::Dialled => {}
        }
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if self.site.owns(conn) {
            while let Some(event) = self.site.take(now, conn, input, out) {
                self.asked(now, event, out);
            }
        } else if self.locals.owns(conn) {
            self.locals.hear(conn, input, self.config.say);
        } else {
            self.worker_said(now, conn, input, out);
        }
        self.settle(now, out);
    }

    fn on_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        if !self.site.room(now, conn, out) {
            self.worker_has_room(conn);
            self.settle(now, out);
        }
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        if self.site.owns(conn) {
            self.site.end(now, conn, end, out);
        } else if !self.locals.forget(conn) {
            self.worker_ended(now, conn, end, out);
        }
        self.settle(now, out);
    }

    fn on_peer(
        &mut self,
        now: Now,
        from: Peer,
        heard: &ArchivedSaid,
        blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Peer::Core(core) = from else { unreachable!("a system of one node hears no other") };
        self.heard(now, core, heard, blob, out);
        self.settle(now, out);
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        match timer {
            web::TIMER => self.site.timer(now, out),
            _ => self.woken = None,
        }
        self.settle(now, out);
    }

    fn on_stored(&mut self, now: Now, what: Stored, out: &mut impl Outbox<Said = Said>) {
        self.snapshot_stored(what, out);
        for then in self.keep.stored(what, out) {
            self.carry_out(now, then, out);
        }
        self.settle(now, out);
    }

    fn on_child(&mut self, now: Now, child: ChildId, what: ChildEvent, out: &mut impl Outbox<Said = Said>) {
        self.child(now, child, what);
        self.settle(now, out);
    }

    fn on_gathered(&mut self, now: Now, _: Ticket, gauges: &[Gauges], out: &mut impl Outbox<Said = Said>) {
        self.site.gathered(now, gauges, out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Said>) {
        match order {
            Order::Reload(config) => {
                (self.config.limits, self.config.manners) = (config.limits, config.manners);
                self.config.tokens = config.tokens.clone();
            }
            Order::Drain { by } => {
                self.is_draining = true;
                self.site.drain(now, out);
                self.waits_until = Instant::from_nanos(by.nanos().saturating_sub(TOLD_BEFORE_NANOS));
            }
        }
        self.settle(now, out);
    }

    fn gauges(&self, into: &mut Gauges) {
        self.count(into);
        self.site.gauges(into);
    }
}

impl Faas {
    /// What is promised is carried out.
    pub(crate) fn carry_out(&mut self, now: Now, then: Then, out: &mut impl Outbox<Said = Said>) {
        match then {
            Then::Answer(asker, answer) => self.reply(now, asker, answer, out),
            Then::Ended(task) => self.ended(now, task, out),
            Then::Registered(id) => {
                if let Some(registering) = self.registering.get_mut(&id) {
                    registering.is_kept = true;
                    self.answer_registered(now, id, out);
                }
            }
        }
    }

    /// Answers a request, here or where it is.
    pub(crate) fn reply(
        &mut self,
        now: Now,
        asker: Asker,
        answer: Answer,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Answer { status, body } = answer;
        if asker.core == self.seat.core.0 {
            let id = AskId::from_bits((asker.conn, asker.ticket));
            return self.answer(now, id, status, Blob::from(body), out);
        }
        let (body, blob) =
            if body.len() < BLOB_MIN { (body, None) } else { (Vec::new(), Some(Blob::from(body))) };
        out.tell(CoreId(asker.core), Said::Told { asker, status, body }, blob);
    }

    /// Answers a request that is here.
    pub(crate) fn answer(
        &mut self,
        now: Now,
        id: AskId,
        status: u16,
        body: Blob,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let again = [("Retry-After", "1")];
        let fields: &[(&str, &str)] = if matches!(status, 429 | 503) { &again } else { &[] };
        let answer = if body.len() < BLOB_MIN {
            web::Answer::json(status, &body)
        } else {
            web::Answer::blob(status, web::JSON, body.clone())
        };
        self.site.answer(now, id, answer.with(fields), out);
    }

    fn heard(
        &mut self,
        now: Now,
        core: CoreId,
        heard: &ArchivedSaid,
        blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let uuid = |id: &rkyv::primitive::ArchivedU128| Uuid(id.to_native());
        match heard {
            ArchivedSaid::Ask { asker, what, task } => {
                self.question(now, asker.copied(), what.copied(), uuid(task), out);
            }
            ArchivedSaid::Call { asker, function, timeout_ms, wait, key, payload } => {
                let payload = crate::peer::unpacked(payload, blob);
                let (asker, what) = (asker.copied(), (uuid(function), timeout_ms.to_native()));
                self.call_keyed(now, asker, what, key, payload, wait.to_native(), out);
            }
            ArchivedSaid::Told { asker, status, body } => {
                let asker = asker.copied();
                let id = AskId::from_bits((asker.conn, asker.ticket));
                let body = crate::peer::unpacked(body, blob);
                self.answer(now, id, status.to_native(), body, out);
            }
            ArchivedSaid::Function { id, name, code } => {
                let code = crate::peer::unpacked(code, blob);
                self.functions.add(uuid(id), crate::functions::Function::new(name, code));
                out.tell(core, Said::Known { id: id.to_native() }, None);
            }
            ArchivedSaid::Known { id } => {
                if let Some(registering) = self.registering.get_mut(&uuid(id)) {
                    registering.left -= 1;
                    self.answer_registered(now, uuid(id), out);
                }
            }
            ArchivedSaid::Hungry { room } => self.hungry[core.index()] = room.to_native(),
            ArchivedSaid::Lend { .. } => {
                let offered = &mut self.offered[core.index()];
                *offered = offered.saturating_sub(1);
                self.borrowed.extend(heard.job(core, blob));
            }
            ArchivedSaid::GiveBack { task, attempt } => {
                self.hungry[core.index()] = 0;
                self.tasks.give_back(uuid(task), attempt.to_native(), Holder::Core(core));
            }
            ArchivedSaid::Returned { .. } => {
                if let Some(back) = heard.back(blob) {
                    self.came_back(now, &back, Holder::Core(core), out);
                }
            }
            ArchivedSaid::Lost { task, attempt, words } => {
                self.lost(now, (uuid(task), attempt.to_native()), Holder::Core(core), words, out);
            }
            ArchivedSaid::Cancel { task, attempt } => {
                self.cancel_here(uuid(task), attempt.to_native(), out);
            }
            ArchivedSaid::Look { number, what, most } => {
                self.tell_look(core, number.to_native(), *what, most.to_native(), out);
            }
            ArchivedSaid::Seen { number, count, text } => {
                self.seen(now, number.to_native(), count.to_native(), text, out);
            }
        }
    }

    /// After each event: work goes to who has room, what is due is done, and the world is asked to wake us in time.
    fn settle(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        while self.site.over().is_some() {}
        let pause = self.tasks.wake(now.at);
        self.pump(now, out);
        if self.is_draining {
            self.wait_for_what_runs(now);
        }
        while let Some((task, asker)) = self.waiters.due(now.at) {
            self.tell_result(now, task, asker, out);
        }
        let silence = self.look_for_silence(now, out);
        let forget = self.forget(now, out);
        let start = self.start_again(now, out);
        let go_on = self.snapshot(now, out);
        let due = [go_on, pause, silence, forget, start, self.waiters.next_due()].into_iter().flatten().min();
        if due != self.woken
            && (due.is_none() || self.woken.is_none_or(|woken| Some(woken) > due || woken <= now.at))
        {
            self.woken = due;
            out.wake(LOOK, due);
        }
        if self.is_draining {
            self.drain(out);
        }
    }

    /// At the end, what runs is finished, and whoever waits for it is told; what is with no worker will not come.
    fn wait_for_what_runs(&mut self, now: Now) {
        let tasks = &self.tasks;
        let runs = |task| matches!(tasks.find(task), Some((_, Seen::Running)));
        self.waiters.bound(now.at, self.waits_until, runs);
    }
}
