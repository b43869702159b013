//! The shard of a core: which event goes to which noun. Nothing is decided here but that.

use crate::answer::{self, Direct};
use crate::command::COMMANDS;
use crate::config::Config;
use crate::forward::{self, Ways};
use crate::gather::Gather;
use crate::info::Facts;
use crate::nodes;
use crate::peer::{ArchivedSaid, Asker, Heard, Said, Stats, native};
use crate::reply::{Reply, Tell};
use crate::session::{About, Answer, Late, Session, Sessions, Speaks};
use crate::store::Store;
use core::time::Duration;
use machine::id::Key;
use machine::{
    Address, Blob, Chance, Close, ConnId, CoreId, End, Gauges, Input, Instant, Link, ListenerId, NodeId, Now,
    Opened, Order, Outbox, Peer, Seat, Shard, Slab, Ticket, TimerId,
};
use state::{Placement, Slot};

/// One core's share of the table and of the clients.
#[derive(Debug)]
pub struct Dht {
    pub(crate) seat: Seat,
    pub(crate) config: Config,
    pub(crate) placement: Placement,
    pub(crate) store: Store,
    pub(crate) sessions: Sessions,
    pub(crate) gathers: Slab<Gather>,
    pub(crate) ways: Ways,
    pub(crate) direct: Direct,
    pub(crate) counts: Counts,
    pub(crate) started: Instant,
    /// Tells of the event at hand.
    pub(crate) told: usize,
    /// Listeners whose connections speak framed text.
    frames: Option<ListenerId>,
    clients_made: u64,
    is_sweeping: bool,
    pub(crate) is_draining: bool,
    has_drained: bool,
}

/// What this core counts, since the start or the last reset.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// By command; framed requests are counted with the RESP ones of the same meaning.
    pub(crate) by_command: Vec<u64>,
    pub(crate) unknown: u64,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
    pub(crate) hops: u64,
    pub(crate) bytes_in: u64,
}

/// The one timer: some of what has expired is removed, some of what was flushed is freed.
const SWEEP: TimerId = TimerId(0);
/// The shortest time between sweeps, while there is something to do.
const SWEEP_SOON: Duration = Duration::from_millis(10);
/// The longest, while any key has an expiry. An expired key is never shown; this is how long it keeps its memory.
const SWEEP_LATE: Duration = Duration::from_millis(500);

impl Shard for Dht {
    type Config = Config;
    type Said = Said;
    type Heard = Heard;

    fn new(seat: Seat, config: &Config, chance: Chance) -> Self {
        let placement = match config.nodes.get(usize::from(seat.node.0)) {
            Some(this) => {
                assert_eq!(this.cores, seat.cores, "every node is told how many cores the others have");
                nodes::placement(&config.nodes)
            }
            None => Placement::propose(&seat.all_cores().map(|core| (seat.node, core)).collect::<Vec<_>>()),
        };
        Self {
            seat,
            placement: placement.expect("a node has at least one core, and all have few enough"),
            store: Store::new(&mut chance.stream("look-ups"), config.limits.value_max),
            sessions: Sessions::default(),
            gathers: Slab::new(),
            ways: Ways::new(&config.nodes),
            direct: Direct::default(),
            counts: Counts { by_command: vec![0; COMMANDS.len()], ..Counts::default() },
            started: Instant::ZERO,
            told: 0,
            frames: None,
            clients_made: 0,
            is_sweeping: false,
            is_draining: false,
            has_drained: false,
            config: config.clone(),
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.started = now.at;
        if let Some(at) = self.config.resp {
            out.listen(Address::Ip(at));
        }
        if let Some(at) = self.config.frame {
            self.frames = Some(out.listen(Address::Ip(at)));
        }
        if let Some(at) = self.config.core_ports.get(self.seat.core.index()) {
            out.listen(Address::Ip(*at));
        }
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Said>) {
        let (listener, from) = match how {
            Opened::Accepted { listener, from, .. } => (listener, from),
            // What is asked of another node was written when it was dialled.
            Opened::Dialled => return,
            Opened::Pipe(..) => unreachable!("nothing is spawned here"),
        };
        let is_frames = self.frames == Some(listener);
        if self.sessions.len() >= self.clients_share() {
            self.counts.rejected += 1;
            return turn_away(conn, is_frames, out);
        }
        self.counts.accepted += 1;
        let about = self.about(now, from);
        self.sessions.insert(match is_frames {
            true => Session::frames(conn, about),
            false => Session::resp(conn, about, &self.config.limits),
        });
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(mut session) = self.sessions.take(conn) else {
            return self.hear_node(conn, input, out);
        };
        self.told = 0;
        session.has_left = false;
        self.direct.begin(conn, out);
        let before = input.bytes().len();
        match session.speaks {
            Speaks::Resp { .. } => self.read_resp(now, &mut session, input, out),
            Speaks::Frames => self.read_frames(now, &mut session, input, out),
        }
        self.counts.bytes_in += (before - input.bytes().len()) as u64;
        self.settle(session, out);
        self.sweep_later(now, out);
    }

    fn on_room(&mut self, _: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(mut session) = self.sessions.take(conn) else {
            return self.node_has_room(conn, out);
        };
        while out.room(conn) > 0
            && let Some(late) = session.late.pop_front()
        {
            self.answer(&mut session, late, out);
        }
        self.settle(session, out);
    }

    fn on_end(&mut self, _: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        let Some(mut session) = self.sessions.take(conn) else {
            return self.node_ends(conn, out);
        };
        match end {
            End::Half => {
                session.is_half = true;
                self.settle(session, out);
            }
            End::Gone(_) => {
                self.sessions.forget(session);
                self.drain_further(out);
            }
        }
    }

    fn on_peer(
        &mut self,
        now: Now,
        from: Peer,
        heard: &Heard,
        blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Peer::Core(from) = from else { unreachable!("static nodes speak framed text") };
        match heard {
            ArchivedSaid::Ask { asker, slot, act, key, payload } => {
                let ask = Ask { slot: slot.to_native(), key, payload, blob };
                self.do_for(now, from, native(asker), native(act), ask, out);
            }
            ArchivedSaid::Answer { asker, told } => {
                let asker: Asker = native(asker);
                self.hear(asker, told.reply(blob), out);
            }
            ArchivedSaid::AskMany { gather, act, items } => {
                let part = self.part_of_many(native(act), items, now.wall);
                out.tell(from, Said::Part { gather: gather.to_native(), part }, None);
            }
            ArchivedSaid::AskAll { gather, question } => {
                let part = self.part_of_all(native(question), now);
                out.tell(from, Said::Part { gather: gather.to_native(), part }, None);
            }
            ArchivedSaid::Part { gather, part } => {
                self.put_together(Key::from_bits(gather.to_native()), native(part), out);
            }
        }
        self.sweep_later(now, out);
    }

    /// Static nodes speak framed text; a link that is there all the same carries nothing.
    fn on_link(&mut self, _: Now, _: NodeId, _: Link, _: &mut impl Outbox<Said = Said>) {}

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        if timer == forward::PATIENCE {
            return self.cut_the_silent(now, out);
        }
        self.store.sweep(now.wall);
        self.is_sweeping = false;
        self.sweep_later(now, out);
    }

    fn on_order(&mut self, _: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Said>) {
        match order {
            Order::Reload(config) => self.config.limits.clients_max = config.limits.clients_max,
            Order::Drain { .. } => {
                self.is_draining = true;
                for conn in self.sessions.conns() {
                    if let Some(session) = self.sessions.take(conn) {
                        self.settle(session, out);
                    }
                }
                self.drain_further(out);
            }
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        for (entry, count) in COMMANDS.iter().zip(&self.counts.by_command) {
            let name = format!("ringwise_dht_commands_total{{command=\"{}\"}}", entry.name);
            into.counter(name, "requests read, by command", *count);
        }
        let stats = self.stats();
        into.counter("ringwise_dht_unknown_total", "requests that name no command", self.counts.unknown);
        into.counter("ringwise_dht_hits_total", "look-ups that found a value", stats.hits);
        into.counter("ringwise_dht_misses_total", "look-ups that found none", stats.misses);
        into.counter("ringwise_dht_expired_total", "keys whose time had come", stats.expired);
        into.counter("ringwise_dht_hops_total", "questions to other cores", stats.hops);
        into.counter("ringwise_dht_forwarded_total", "requests passed to other nodes", self.ways.forwarded);
        into.counter("ringwise_dht_forward_failures_total", "of those, failed on the way", self.ways.failed);
        into.counter("ringwise_dht_rejected_total", "clients turned away", stats.rejected);
        into.level("ringwise_dht_keys", "keys owned", stats.keys as i64);
        into.level("ringwise_dht_bytes", "bytes that keys and values take", stats.bytes as i64);
        into.level("ringwise_dht_connections", "clients connected", stats.connections as i64);
    }
}

/// A question about a key, as it was heard.
pub(crate) struct Ask<'a> {
    pub(crate) slot: u16,
    pub(crate) key: &'a [u8],
    pub(crate) payload: &'a [u8],
    pub(crate) blob: Option<Blob>,
}

impl Dht {
    /// Which core owns a slot.
    #[inline]
    pub(crate) fn owner(&self, slot: Slot) -> CoreId {
        self.placement.owner(slot).1
    }

    /// An answer to a waiting request has come.
    pub(crate) fn hear(&mut self, asker: Asker, reply: Reply<'_>, out: &mut impl Outbox<Said = Said>) {
        let conn = ConnId(Key::from_bits(asker.conn));
        let Some(mut session) = self.sessions.take(conn) else { return };
        let ticket = Ticket(asker.ticket);
        if out.room(conn) > 0 && session.late.is_empty() {
            answer::late(&mut session, &mut self.direct, ticket, reply, asker.shape, out);
        } else {
            let (told, blob) = crate::peer::Told::of(reply);
            session.late.push_back(Late { ticket, shape: asker.shape, answer: Answer::One(told, blob) });
        }
        self.settle(session, out);
    }

    /// Tells a late answer.
    pub(crate) fn answer(&mut self, session: &mut Session, late: Late, out: &mut impl Outbox<Said = Said>) {
        let Late { ticket, shape, answer } = late;
        match answer {
            Answer::One(told, blob) => self.late(session, ticket, told.reply(blob), shape, out),
            Answer::Gathered(sum) => self.late(session, ticket, sum, shape, out),
        }
    }

    fn late(
        &mut self,
        session: &mut Session,
        ticket: Ticket,
        what: impl Tell,
        shape: crate::reply::Shape,
        out: &mut impl Outbox<Said = Said>,
    ) {
        answer::late(session, &mut self.direct, ticket, what, shape, out);
    }

    /// After anything happened to a session: it is read on, or ends, or waits.
    pub(crate) fn settle(&mut self, mut session: Box<Session>, out: &mut impl Outbox<Said = Said>) {
        let conn = session.conn;
        self.direct.end(conn, out);
        let is_over = session.is_over() || (self.is_draining && session.pipeline.is_idle());
        if is_over {
            out.close(conn, Close::Flushed);
            self.sessions.forget(session);
            return self.drain_further(out);
        }
        let may_resume = session.has_drained(&self.config.limits) && !self.is_held(&session);
        if session.is_paused && may_resume && out.room(conn) > 0 {
            session.is_paused = false;
            out.resume(conn);
        }
        self.sessions.put_back(session);
    }

    /// Says that all is finished, once it is.
    fn drain_further(&mut self, out: &mut impl Outbox<Said = Said>) {
        if self.is_draining && !self.has_drained && self.sessions.is_empty() {
            self.has_drained = true;
            out.drained();
        }
    }

    /// Has the sweep come when there will be something for it.
    fn sweep_later(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if self.is_sweeping || !self.store.wants_sweep() {
            return;
        }
        self.is_sweeping = true;
        let due = self.store.due_in(now.wall).clamp(SWEEP_SOON, SWEEP_LATE);
        out.wake(SWEEP, Some(now.at + due));
    }

    /// How many clients this core takes.
    fn clients_share(&self) -> usize {
        self.config.limits.clients_max.div_ceil(u32::from(self.seat.cores)) as usize
    }

    fn about(&mut self, now: Now, from: Address) -> About {
        self.clients_made += 1;
        let cores = u64::from(self.seat.cores);
        About {
            number: (self.clients_made - 1) * cores + u64::from(self.seat.core.0) + 1,
            from,
            name: Box::default(),
            library: Box::default(),
            library_version: Box::default(),
            since: now.at,
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            core: self.seat.core.0,
            keys: self.store.len() as u64,
            expiring: self.store.expiring() as u64,
            bytes: self.store.bytes() as u64,
            connections: self.sessions.len() as u64,
            accepted: self.counts.accepted,
            rejected: self.counts.rejected,
            commands: self.counts.by_command.iter().sum::<u64>() + self.counts.unknown,
            hits: self.store.hits,
            misses: self.store.misses,
            expired: self.store.expired(),
            hops: self.counts.hops,
            bytes_in: self.counts.bytes_in,
        }
    }

    pub(crate) fn facts(&self, now: Now) -> Facts {
        Facts {
            pid: self.config.pid,
            port: self.config.resp.map_or(0, |at| at.port()),
            uptime_seconds: now.at.since(self.started).as_secs(),
            clients_max: self.config.limits.clients_max,
        }
    }
}

/// One client more than there may be.
fn turn_away(conn: ConnId, is_frames: bool, out: &mut impl Outbox<Said = Said>) {
    let words = "max number of clients reached";
    let mut bytes = Vec::new();
    if is_frames {
        wire::frame::write_reply(&mut bytes, wire::frame::Reply::Failure(words.as_bytes()));
    } else {
        bytes.extend_from_slice(format!("-ERR {words}\r\n").as_bytes());
    }
    out.write(conn, &bytes);
    out.close(conn, Close::Flushed);
}
