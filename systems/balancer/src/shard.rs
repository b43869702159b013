//! Routing: what happened goes to the noun it concerns, and what that says goes out.
//!
//! Every core has a [`Relay`] for its clients; core 0 has a [`Desk`] too, where the truth about replicas is kept.
//! Nothing is decided here but who is asked. The hard thing is the end: clients finish first, on every core, then
//! replicas are stopped, then the program ends.

use crate::admin::{self, Page};
use crate::config::Config;
use crate::control;
use crate::desk::Desk;
use crate::peer::{ArchivedChange, ArchivedSaid, Said, Tenancy, address, conn_bits, conn_of};
use crate::relay::{Door, Ours, Relay, Wanted};
use crate::spread::{Seat as ReplicaSeat, Way};
use crate::view::Stance;
use machine::{
    Blob, Chance, ChildEvent, ChildId, ConnId, CoreId, End, Gauges, Input, Instant, ListenerId, Listening,
    Now, Opened, Order, Outbox, Peer, Seat, Shard, Stream, Ticket, TimerId,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// The core that keeps the truth.
const KEEPER: CoreId = CoreId(0);

/// Our own timers; those of connections are never under 2^32.
const FLEET: TimerId = TimerId(1);
const SWEEP: TimerId = TimerId(2);
const WARM: TimerId = TimerId(3);
const LAST: TimerId = TimerId(4);
const STRANDED: TimerId = TimerId(5);

/// Between two looks for connections that nobody uses.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Between two steps of a newcomer's share.
const WARM_EVERY: Duration = Duration::from_millis(20);
/// Between two tries of requests for which nobody was there.
const STRANDED_EVERY: Duration = Duration::from_millis(20);
/// Replicas are stopped so long before the world stops waiting, whether clients are done or not.
const LAST_CALL: Duration = Duration::from_secs(1);

/// One core's share of the balancer.
#[derive(Debug)]
pub struct Balancer {
    seat: Seat,
    config: Config,
    relay: Relay,
    desk: Option<Desk>,
    traffic: Option<ListenerId>,
    /// Who held each seat last: a name's count goes on when its replica is replaced.
    holders: Vec<Box<str>>,
    /// Requests on the admin port that wait until all cores have counted.
    gathering: BTreeMap<u64, (ConnId, Page)>,
    next_gathering: u64,
    /// Requests on the admin port that wait until the configuration was read again.
    reloading: Vec<ConnId>,
    /// What the page shows of all rings.
    rings: admin::Rings,
    draws: Stream,
    /// When [`FLEET`] will come.
    next_tick: Option<Instant>,
    /// Whether [`STRANDED`] will come.
    is_looking: bool,
    /// Another process knows what this one knew.
    is_bequeathed: bool,
    is_draining: bool,
    is_quiet: bool,
    is_drained: bool,
}

impl Shard for Balancer {
    type Config = Config;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, config: &Config, chance: Chance) -> Self {
        let desk = (seat.core == KEEPER).then(|| Desk::new(seat, config, &chance));
        Self {
            seat,
            config: config.clone(),
            relay: Relay::new(seat, config, &chance),
            desk,
            traffic: None,
            holders: Vec::new(),
            gathering: BTreeMap::new(),
            next_gathering: 0,
            reloading: Vec::new(),
            rings: admin::Rings::default(),
            draws: chance.stream("draws"),
            next_tick: None,
            is_looking: false,
            is_bequeathed: false,
            is_draining: false,
            is_quiet: false,
            is_drained: false,
        }
    }

    fn on_legacy(&mut self, _: CoreId, legacy: &[u8]) {
        if let Some(desk) = &mut self.desk {
            desk.fleet.inherit(legacy);
        }
    }

    fn on_hand_over(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        match &mut self.desk {
            Some(desk) => desk.fleet.hand_over(),
            None => {
                self.is_bequeathed = true;
                out.bequeath(&[]);
            }
        }
        self.settle(now, out);
    }

    fn on_take_back(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.is_bequeathed = false;
        if let Some(desk) = &mut self.desk {
            desk.fleet.resume(now);
        }
        self.settle(now, out);
    }

    fn on_unread(&mut self, now: Now, why: &str, out: &mut impl Outbox<Said = Said>) {
        for conn in core::mem::take(&mut self.reloading) {
            self.relay.answer(now, conn, 400, admin::JSON, control::failure(why).as_bytes(), out);
        }
        self.settle(now, out);
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.traffic = Some(out.listen(self.config.traffic.clone()));
        out.wake(SWEEP, Some(now.at + SWEEP_EVERY));
        if let Some(desk) = &mut self.desk {
            out.listen(self.config.admin.clone());
            desk.begin(now, out);
        }
        self.settle(now, out);
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Said>) {
        match how {
            Opened::Accepted { listener, from, identity: _ } => {
                let door = if self.traffic == Some(listener) { Door::Traffic } else { Door::Admin };
                self.relay.open_client(now, conn, door, &from, out);
            }
            Opened::Dialled if self.relay.is_upstream(conn) => self.relay.upstream_open(conn, out),
            Opened::Dialled => {
                if let Some(desk) = &mut self.desk {
                    desk.on_open(now, conn, out);
                    self.settle(now, out);
                }
            }
            Opened::Pipe(..) => unreachable!("replicas are started without pipes"),
        }
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if self.relay.is_client(conn) {
            self.relay.client_bytes(now, conn, input, out);
        } else if self.relay.is_upstream(conn) {
            self.relay.upstream_bytes(now, conn, input, out);
        } else if let Some(desk) = &mut self.desk {
            desk.on_bytes(now, conn, input, out);
        }
        self.settle(now, out);
    }

    fn on_room(&mut self, _: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        self.relay.on_room(conn, out);
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        match end {
            End::Half if self.relay.is_client(conn) => self.relay.client_half(conn, out),
            End::Gone(_) if self.relay.is_client(conn) => self.relay.client_gone(conn, out),
            End::Half if self.relay.is_upstream(conn) => self.relay.upstream_half(now, conn, out),
            End::Gone(_) if self.relay.is_upstream(conn) => self.relay.upstream_gone(now, conn, out),
            End::Half | End::Gone(_) => {
                if let Some(desk) = &mut self.desk {
                    desk.on_end(now, conn, end, out);
                }
            }
        }
        self.settle(now, out);
    }

    fn on_peer(
        &mut self,
        now: Now,
        from: Peer,
        heard: &ArchivedSaid,
        _: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Peer::Core(core) = from else { unreachable!("a balancer has one node") };
        match heard {
            ArchivedSaid::Changed { epoch, seat, life, change } => {
                self.relay.view.advance(epoch.to_native());
                let tenancy = Tenancy { seat: ReplicaSeat(seat.to_native()), life: life.to_native() };
                self.changed(now, tenancy, change, out);
            }
            ArchivedSaid::Answers { conn, status, body } => {
                let (conn, status) = (conn_of(conn.to_native()), status.to_native());
                self.relay.answer(now, conn, status, admin::JSON, body.as_bytes(), out);
            }
            ArchivedSaid::Emptied { .. }
            | ArchivedSaid::Trouble { .. }
            | ArchivedSaid::Asks { .. }
            | ArchivedSaid::Quiet => self.tell_desk(now, core, heard),
        }
        self.settle(now, out);
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        match timer {
            FLEET => {
                self.next_tick = None;
                if let Some(desk) = &mut self.desk {
                    desk.tick(now, out);
                }
            }
            SWEEP => {
                self.relay.sweep(now, out);
                self.relay.tally.age();
                out.wake(SWEEP, Some(now.at + SWEEP_EVERY));
            }
            WARM => {
                self.relay.view.warm(now.at);
                let again = self.relay.view.is_warming();
                out.wake(WARM, again.then(|| now.at + WARM_EVERY));
            }
            STRANDED => {
                self.is_looking = false;
                self.relay.pump_stranded(now, out);
            }
            LAST => {
                if let Some(desk) = &mut self.desk {
                    desk.fleet.end(now.at);
                }
            }
            of_a_connection => self.relay.on_timer(now, of_a_connection, out),
        }
        self.settle(now, out);
    }

    fn on_child(&mut self, now: Now, child: ChildId, what: ChildEvent, out: &mut impl Outbox<Said = Said>) {
        if let Some(desk) = &mut self.desk {
            desk.fleet.on_child(child, &what, now.at);
        }
        self.settle(now, out);
    }

    fn on_listen(&mut self, _: Now, _: ListenerId, what: Listening, _: &mut impl Outbox<Said = Said>) {
        // The world tells the operator which address was found, or that there is none.
        let _ = what;
    }

    fn on_gathered(
        &mut self,
        now: Now,
        ticket: Ticket,
        gauges: &[Gauges],
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some((conn, page)) = self.gathering.remove(&ticket.0) else { return };
        let Some(desk) = &self.desk else { return };
        let (fleet, view) = (&desk.fleet, &mut self.relay.view);
        let (kind, text) = match page {
            Page::Distribution => (admin::JSON, admin::distribution(fleet, view, gauges)),
            Page::Replicas => {
                (admin::JSON, admin::replicas(&self.config, fleet, view, &mut self.rings, gauges, now.at))
            }
            Page::Metrics
            | Page::Fixed(..)
            | Page::Explain(_)
            | Page::Kill(_)
            | Page::Reload
            | Page::Unknown
            | Page::Method
            | Page::Wrong(_) => (admin::METRICS, Gauges::prometheus(gauges)),
        };
        self.relay.answer(now, conn, 200, kind, text.as_bytes(), out);
        self.settle(now, out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Said>) {
        match order {
            Order::Reload(config) => {
                self.config = config.clone();
                self.relay.reload(config, self.seat);
                if let Some(desk) = &mut self.desk {
                    desk.reload(config);
                }
                let text = admin::reloaded(config);
                for conn in core::mem::take(&mut self.reloading) {
                    self.relay.answer(now, conn, 200, admin::JSON, text.as_bytes(), out);
                }
            }
            Order::Drain { by } => {
                self.is_draining = true;
                if let Some(desk) = &mut self.desk {
                    desk.drain();
                }
                self.relay.drain(now, self.is_bequeathed, out);
                if self.desk.is_some() {
                    let span = by.since(now.at);
                    out.wake(LAST, Some(now.at + span.saturating_sub(LAST_CALL.min(span / 2))));
                }
            }
        }
        self.settle(now, out);
    }

    fn gauges(&self, into: &mut Gauges) {
        let tally = &self.relay.tally;
        into.counter("balancer_requests_total", "requests read", tally.requests);
        into.counter("balancer_retries_total", "requests sent to a second replica", tally.retries);
        into.counter("balancer_refused_total", "requests refused", tally.refused);
        into.counter("balancer_timeouts_total", "connections that waited too long", tally.timeouts);
        for (status, count) in ["502", "503", "504"].iter().zip(tally.failed) {
            into.counter(admin::failed(status), "answers of ours for want of a replica's", count);
        }
        let (clients, waiting) = self.relay.clients();
        into.level("balancer_clients", "open connections of clients", clients as i64);
        into.level("balancer_waiting", "requests that wait for a replica", waiting as i64);
        into.level("balancer_upstreams", "open connections to replicas", self.relay.upstreams() as i64);
        into.level(
            "balancer_in_flight",
            "requests in flight to replicas",
            i64::from(self.relay.view.in_flight()),
        );
        into.level("balancer_changes", "changes of replicas seen", self.relay.view.epoch() as i64);
        for (seat, name) in self.holders.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let count = tally.of(ReplicaSeat(seat as u16));
            into.counter(admin::counter(name), "requests answered by a replica", count);
        }
        if let Some(desk) = &self.desk {
            let healthy = desk.fleet.replicas().iter().filter(|each| each.is_listed() && each.state.serves());
            into.level(admin::HEALTHY, "replicas that serve", healthy.count() as i64);
            into.level(admin::REPLICAS, "replicas that there should be", desk.fleet.listed().count() as i64);
        }
        let (recent, ever) = tally.latencies();
        into.spread(admin::RECENT, "the same of the last five to ten seconds", &recent);
        into.spread(admin::LATENCIES, "from a request's head to its answer's end, in microseconds", &ever);
    }
}

impl Balancer {
    /// After every event: what the nouns want, to whom it concerns.
    fn settle(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.relay.pump_freed(now, out);
        if self.relay.has_stranded() && !self.is_looking {
            self.is_looking = true;
            out.wake(STRANDED, Some(now.at + STRANDED_EVERY));
        }
        if self.relay.has_wanted() {
            for wanted in self.relay.wanted() {
                self.ask(now, wanted, out);
            }
        }
        for Tenancy { seat, life } in core::mem::take(&mut self.relay.emptied) {
            out.tell(KEEPER, Said::Emptied { seat: seat.0, life }, None);
        }
        for Tenancy { seat, life } in core::mem::take(&mut self.relay.troubled) {
            out.tell(KEEPER, Said::Trouble { seat: seat.0, life }, None);
        }
        if self.is_draining && !self.is_quiet && self.relay.is_quiet() {
            self.is_quiet = true;
            out.tell(KEEPER, Said::Quiet, None);
        }
        if let Some(desk) = &mut self.desk {
            if let Some(legacy) = desk.fleet.bequest() {
                self.is_bequeathed = true;
                out.bequeath(legacy.as_bytes());
            }
            desk.work(now, out);
            let next = desk.next_tick();
            if next != self.next_tick {
                self.next_tick = next;
                out.wake(FLEET, next);
            }
        }
        let is_ended = self.desk.as_ref().is_none_or(Desk::is_ended);
        if self.is_quiet && is_ended && !self.is_drained {
            self.is_drained = true;
            out.drained();
        }
    }

    /// A request of ours.
    fn ask(&mut self, now: Now, wanted: Wanted, out: &mut impl Outbox<Said = Said>) {
        let Wanted { conn, ours, body } = wanted;
        match ours {
            Ours::Control { verb, is_json } => {
                out.tell(
                    KEEPER,
                    Said::Asks { conn: conn_bits(conn), verb: verb.into(), is_json, body },
                    None,
                );
            }
            Ours::Admin { method, target } => self.admin(now, conn, admin::page(&method, &target), out),
        }
    }

    fn admin(&mut self, now: Now, conn: ConnId, page: Page, out: &mut impl Outbox<Said = Said>) {
        let (status, kind, text) = match page {
            Page::Fixed(text, kind) => (200, kind, text.to_owned()),
            Page::Explain(key) => {
                let text = admin::explain(&self.config, &mut self.relay.view, &key, &mut self.draws);
                (200, admin::JSON, text)
            }
            Page::Kill(name) => {
                let found = self.desk.as_mut().is_some_and(|desk| desk.fleet.kill(&name, now.at));
                match found {
                    true => (200, admin::JSON, format!("{}\n", serde_json::json!({ "killed": name }))),
                    false => (404, admin::JSON, control::failure("There is no replica of that name")),
                }
            }
            Page::Reload => {
                self.reloading.push(conn);
                return out.reread();
            }
            Page::Unknown => (404, admin::JSON, control::failure(admin::PATHS)),
            Page::Method => (405, admin::JSON, control::failure("Method not allowed")),
            Page::Wrong(words) => (400, admin::JSON, control::failure(words)),
            Page::Metrics | Page::Distribution | Page::Replicas => {
                let ticket = self.next_gathering;
                self.next_gathering += 1;
                self.gathering.insert(ticket, (conn, page));
                return out.gather(Ticket(ticket));
            }
        };
        self.relay.answer(now, conn, status, kind, text.as_bytes(), out);
    }

    /// What other cores tell the keeper of the truth.
    fn tell_desk(&mut self, now: Now, core: CoreId, heard: &ArchivedSaid) {
        let Some(desk) = &mut self.desk else { unreachable!("only the keeper is told") };
        let tenancy = |seat: u16, life: u32| Tenancy { seat: ReplicaSeat(seat), life };
        match heard {
            ArchivedSaid::Emptied { seat, life } => {
                desk.fleet.on_emptied(tenancy(seat.to_native(), life.to_native()), now.at);
            }
            ArchivedSaid::Trouble { seat, life } => {
                desk.fleet.on_trouble(tenancy(seat.to_native(), life.to_native()), now.at);
            }
            ArchivedSaid::Asks { conn, verb, is_json, body } => {
                let asker = Desk::asker(core, conn_of(conn.to_native()));
                desk.fleet.ask(now, asker, verb.into(), *is_json, body);
            }
            ArchivedSaid::Quiet => desk.on_quiet(now),
            ArchivedSaid::Changed { .. } | ArchivedSaid::Answers { .. } => {
                unreachable!("the keeper says that, and does not hear it here")
            }
        }
    }

    /// A change of the truth about a replica.
    fn changed(
        &mut self,
        now: Now,
        tenancy: Tenancy,
        change: &ArchivedChange,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let seat = tenancy.seat;
        match change {
            ArchivedChange::Join { name, at, is_warm } => {
                self.hold(seat, name);
                self.relay.view.join(seat, tenancy.life, name, address(at), *is_warm, now.at);
                if self.relay.view.is_warming() {
                    out.wake(WARM, Some(now.at + WARM_EVERY));
                }
            }
            ArchivedChange::Eject => self.relay.view.stand(seat, Stance::Out),
            ArchivedChange::Return => self.relay.view.stand(seat, Stance::In),
            ArchivedChange::Drain => self.relay.drain_replica(now, seat, out),
            ArchivedChange::Leave => self.relay.leave_replica(now, seat, out),
        }
        self.relay.pump_stranded(now, out);
    }

    fn hold(&mut self, seat: ReplicaSeat, name: &str) {
        if self.holders.len() <= seat.index() {
            self.holders.resize(seat.index() + 1, Box::default());
        }
        if &*self.holders[seat.index()] != name {
            self.holders[seat.index()] = name.into();
            self.relay.tally.forget(seat);
        }
    }
}

impl Balancer {
    /// How keys are spread.
    #[must_use]
    pub fn way(&self) -> Way {
        self.config.way
    }

    /// The truth about replicas, on the core that keeps it.
    #[must_use]
    pub fn fleet(&self) -> Option<&crate::fleet::Fleet> {
        self.desk.as_ref().map(|desk| &desk.fleet)
    }

    /// The replicas as this core sees them.
    #[must_use]
    pub fn view(&self) -> &crate::view::View {
        &self.relay.view
    }

    /// Which core this is.
    #[must_use]
    pub fn seat(&self) -> Seat {
        self.seat
    }
}
