//! The shard of a core: which event goes to which noun. Nothing is decided here but that.

use crate::answer::{self, Direct};
use crate::claim::{self, Done};
use crate::clients::Crowd;
use crate::cluster::Shown;
use crate::command::COMMANDS;
use crate::config::Config;
use crate::deal::Deal;
use crate::forward::{self, Ways};
use crate::gather::Gather;
use crate::keep::snapshot::{Snapshots, WALK};
use crate::keep::{KEEP, Keep};
use crate::locks::{Claim, Locks};
use crate::login::DEFAULT;
use crate::nodes;
use crate::peer::{ArchivedSaid, Asker, Fact, Heard, Item, Part, Said, native};
use crate::reply::{Reply, Shape, Tell};
use crate::session::{About, Answer, Late, Session, Sessions, Speaks};
use crate::slow::Slowness;
use crate::staying::turn_away;
use crate::store::Store;
use crate::watch::Watch;
use crate::world::World;
use core::time::Duration;
use machine::id::Key;
use machine::{
    Address, Blob, Chance, Close, ConnId, CoreId, End, FANOUT_MAX, Gauges, Input, Instant, Kept, Link,
    ListenerId, NodeId, Now, Opened, Order, Outbox, Peer, Seat, Shard, Slab, Spent, Stored, Stream, Ticket,
    TimerId, WallTime, Why,
};
use state::{Placement, Slot, SlotSet};

/// One core's share of the table and of the clients.
#[derive(Debug)]
pub struct Dht {
    pub(crate) seat: Seat,
    pub(crate) config: Config,
    pub(crate) placement: Placement,
    /// The slots of this core.
    pub(crate) mine: SlotSet,
    pub(crate) store: Store,
    pub(crate) sessions: Sessions,
    pub(crate) gathers: Slab<Gather>,
    pub(crate) locks: Locks,
    pub(crate) deals: Slab<Deal>,
    pub(crate) keep: Keep,
    pub(crate) snapshots: Snapshots,
    /// For keys by chance.
    pub(crate) samples: Stream,
    pub(crate) ways: Ways,
    pub(crate) direct: Direct,
    pub(crate) shown: Shown,
    pub(crate) counts: Counts,
    pub(crate) slowness: Slowness,
    /// The most that keys were ever taken to cost.
    pub(crate) bytes_peak: usize,
    pub(crate) crowd: Crowd,
    pub(crate) watch: Watch,
    /// Who was let go by CLIENT KILL in the event at hand.
    pub(crate) killed: Vec<ConnId>,
    /// Who asked for the end of the process, which comes from outside.
    pub(crate) ending: Option<(ConnId, Ticket)>,
    pub(crate) started: Now,
    /// Tells of the event at hand.
    pub(crate) told: usize,
    /// Listeners whose connections speak framed text.
    frames: Option<ListenerId>,
    /// The listener of this core alone.
    own_door: Option<ListenerId>,
    clients_made: u64,
    is_sweeping: bool,
    pub(crate) has_idle_wake: bool,
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
    pub(crate) idled: u64,
    pub(crate) overfull: u64,
    /// By command: refused before they were done.
    pub(crate) refused: Vec<u64>,
    /// By the error's first word.
    pub(crate) errors: Vec<(String, u64)>,
}

impl Counts {
    /// An error that begins so was told.
    #[cold]
    pub(crate) fn error(&mut self, words: &str) {
        let code = words.split(' ').next().unwrap_or_default();
        match self.errors.iter_mut().find(|(known, _)| known == code) {
            Some((_, count)) => *count += 1,
            None => self.errors.push((code.to_owned(), 1)),
        }
    }
}

/// The one timer: some of what has expired is removed, some of what was flushed is freed.
const SWEEP: TimerId = TimerId(0);
/// The shortest time between sweeps, while there is something to do.
const SWEEP_SOON: Duration = Duration::from_millis(10);
/// When idle clients are looked for.
pub(crate) const IDLE: TimerId = TimerId(2);
/// How often: who is idle may stay so much longer.
pub(crate) const IDLE_SEARCH: Duration = Duration::from_secs(1);
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
        let placement = placement.expect("a node has at least one core, and all have few enough");
        let this = (seat.node, seat.core);
        Self {
            seat,
            mine: Slot::all().filter(|slot| placement.owner(*slot) == this).collect(),
            placement,
            store: Store::new(&mut chance.stream("look-ups"), config.limits.value_max),
            sessions: Sessions::default(),
            gathers: Slab::new(),
            locks: Locks::new(),
            deals: Slab::new(),
            keep: Keep::new(config.durability, &mut chance.stream("lives")),
            snapshots: Snapshots::default(),
            samples: chance.stream("samples"),
            ways: Ways::new(&config.nodes),
            direct: Direct::default(),
            shown: Shown::default(),
            counts: Counts {
                by_command: vec![0; COMMANDS.len()],
                refused: vec![0; COMMANDS.len()],
                ..Counts::default()
            },
            slowness: Slowness::new(),
            bytes_peak: 0,
            crowd: Crowd::new(seat),
            watch: Watch::new(),
            killed: Vec::new(),
            ending: None,
            started: Now { at: Instant::ZERO, wall: WallTime::default() },
            told: 0,
            frames: None,
            own_door: None,
            has_idle_wake: false,
            clients_made: 0,
            is_sweeping: false,
            is_draining: false,
            has_drained: false,
            config: config.clone(),
        }
    }

    fn on_replay(&mut self, what: Kept<'_>) {
        self.replay_one(what);
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.started = now;
        self.snapshots.second = now.wall.millis() / 1000;
        self.replayed(now);
        self.keep_up(now, out);
        self.snapshot_if_grown(now, out);
        self.bounds_changed();
        self.look_for_idlers(now, out);
        if let Some(at) = self.config.resp {
            out.listen(Address::Ip(at));
        }
        if let Some(at) = self.config.frame {
            self.frames = Some(out.listen(Address::Ip(at)));
        }
        if let Some(at) = self.config.core_ports.get(self.seat.core.index()) {
            self.own_door = Some(out.listen(Address::Ip(*at)));
        }
        self.watch.listen(self.config.watch, out);
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Said>) {
        let (listener, from) = match how {
            Opened::Accepted { listener, from, .. } => (listener, from),
            // What is asked of another node was written when it was dialled.
            Opened::Dialled => return,
            Opened::Pipe(..) => unreachable!("nothing is spawned here"),
        };
        if self.watch.open(now, conn, listener, out) {
            return;
        }
        let is_frames = self.frames == Some(listener);
        if self.crowd.is_full(self.sessions.len(), self.config.limits.clients_max) {
            self.counts.rejected += 1;
            return turn_away(conn, is_frames, out);
        }
        self.counts.accepted += 1;
        let is_core = self.own_door == Some(listener);
        let about = self.about(now, from, is_frames, is_core);
        let mut session = match is_frames {
            true => Session::frames(conn, about),
            false => Session::resp(conn, about, &self.config.limits),
        };
        session.is_core = is_core;
        if !self.config.users.is_open() {
            session.set_stranger(true);
        }
        self.sessions.insert(session);
        self.tell_crowd(out);
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(mut session) = self.sessions.take(conn) else {
            return self.hear_other(now, conn, input, out);
        };
        self.told = 0;
        session.has_left = false;
        self.direct.begin(conn, out);
        let before = input.bytes().len();
        self.slowness.begin(conn, input.bytes(), matches!(session.speaks, Speaks::Frames));
        match session.speaks {
            Speaks::Resp { .. } => self.read_resp(now, &mut session, input, out),
            Speaks::Frames => self.read_frames(now, &mut session, input, out),
        }
        session.left = input.bytes().len();
        let used = before - session.left;
        // What is left is a part of a request, unless the session was too full for more.
        session.owed = if session.has_left { session.owed.saturating_sub(used) } else { 0 };
        self.counts.bytes_in += used as u64;
        self.settle(session, out);
        self.serve_ready(now, out);
        self.keep_up(now, out);
        self.sweep_later(now, out);
        if self.told + usize::from(self.seat.cores) <= FANOUT_MAX {
            self.tell_crowd(out);
        }
    }

    fn foresee(&self, coming: &[&[u8]]) {
        self.warm_for(coming);
    }

    fn on_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(mut session) = self.sessions.take(conn) else {
            return self.other_has_room(now, conn, out);
        };
        while out.room(conn) > 0
            && let Some(late) = session.late.pop_front()
        {
            self.answer(&mut session, late, out);
        }
        self.settle(session, out);
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        let Some(mut session) = self.sessions.take(conn) else {
            return self.other_ends(now, conn, end, out);
        };
        match end {
            End::Half => {
                session.is_half = true;
                self.settle(session, out);
            }
            End::Gone(why) => {
                self.counts.overfull += u64::from(why == Why::Overfull);
                self.sessions.forget(session);
                self.drain_further(out);
            }
        }
        self.tell_crowd(out);
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
        self.told = 0;
        match heard {
            ArchivedSaid::Ask { asker, slot, act, key, payload } => {
                let ask = Ask { slot: slot.to_native(), key, payload, blob };
                self.do_for(now, from, native(asker), native(act), ask, out);
            }
            ArchivedSaid::Answer { asker, told } => {
                let asker: Asker = native(asker);
                self.hear(asker, told.reply(blob), out);
            }
            ArchivedSaid::Claim { deal, hold, stays, stores, command, work, items } => {
                let deal = deal.to_native();
                let (hold, work, items) = (native(hold), native(work), native(items));
                let (stays, stores, command) = (*stays, *stores, *command);
                let claim = Claim { from, deal, hold, stays, stores, command, work, items };
                if let Some(done) = self.claim(claim, now) {
                    self.tell_done(from, deal, done, out);
                }
            }
            ArchivedSaid::Finish { deal, command, work, items, hears, fact } => {
                let (deal, items): (u64, Vec<Item>) = (deal.to_native(), native(items));
                self.slowness.part(*command, from, &items);
                let fact: Option<Fact> = native(fact);
                let done = self.finish(from, deal, fact, native(work), &items, blob, now.wall);
                if *hears {
                    self.tell_done(from, deal, done, out);
                }
            }
            ArchivedSaid::Came { deal, part } => {
                self.came(Key::from_bits(deal.to_native()), Done::from(native::<Part>(part)), now, out);
            }
            ArchivedSaid::Value { deal, index } => {
                self.value_came(Key::from_bits(deal.to_native()), index.to_native(), blob);
            }
            ArchivedSaid::AskAll { gather, question } => {
                let part = self.part_of_all(native(question), now);
                self.close_killed(out);
                self.look_for_idlers(now, out);
                out.tell(from, Said::Part { gather: gather.to_native(), part }, None);
            }
            ArchivedSaid::Round(round) => self.hear_round(now, from, native(round), out),
            ArchivedSaid::Crowd(count) => self.crowd.hear(from, count.to_native()),
            ArchivedSaid::Part { gather, part } => {
                self.put_together(Key::from_bits(gather.to_native()), native(part), out);
            }
        }
        self.serve_ready(now, out);
        self.keep_up(now, out);
        self.sweep_later(now, out);
    }

    /// Static nodes speak framed text; a link that is there all the same carries nothing.
    fn on_link(&mut self, _: Now, _: NodeId, _: Link, _: &mut impl Outbox<Said = Said>) {}

    fn on_gathered(
        &mut self,
        now: Now,
        ticket: Ticket,
        gauges: &[Gauges],
        out: &mut impl Outbox<Said = Said>,
    ) {
        if ticket == web::TICKET {
            return self.tell_watchers(now, gauges, out);
        }
        self.put_together(Key::from_bits(ticket.0), Part::World(Box::new(World::of(gauges))), out);
    }

    fn on_spent(&mut self, now: Now, what: Spent, _: &mut impl Outbox<Said = Said>) {
        self.spent(now, what);
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        if timer == forward::PATIENCE {
            return self.cut_the_silent(now, out);
        }
        if timer == IDLE {
            return self.let_idlers_go(now, out);
        }
        if timer == web::TIMER {
            return self.time_for_watchers(now, out);
        }
        if timer == KEEP || timer == WALK {
            self.told = 0;
            match timer {
                KEEP => self.keep_timer(now, out),
                _ => self.walk_timer(now, out),
            }
            self.serve_ready(now, out);
            return self.keep_up(now, out);
        }
        if timer == claim::READY {
            self.told = 0;
            self.serve_ready(now, out);
            return self.keep_up(now, out);
        }
        self.store.sweep(now.wall);
        self.is_sweeping = false;
        self.sweep_later(now, out);
    }

    fn on_stored(&mut self, now: Now, what: Stored, out: &mut impl Outbox<Said = Said>) {
        self.told = 0;
        self.stored(now, what, out);
        self.serve_ready(now, out);
        self.keep_up(now, out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Said>) {
        match order {
            Order::Reload(config) => {
                let limits = &mut self.config.limits;
                limits.clients_max = config.limits.clients_max;
                limits.memory_max = config.limits.memory_max;
                limits.policy = config.limits.policy;
                limits.idle_max_s = config.limits.idle_max_s;
                limits.slow_us = config.limits.slow_us;
                limits.slow_max = config.limits.slow_max;
                limits.latency_ms = config.limits.latency_ms;
                limits.snapshot_after = config.limits.snapshot_after;
                self.bounds_changed();
            }
            Order::Drain { .. } => {
                self.is_draining = true;
                self.let_watchers_go(now, out);
                self.end_asked_for(out);
                for conn in self.sessions.conns() {
                    if let Some(mut session) = self.sessions.take(conn) {
                        // What was read and put off is carried out; what comes now only if it comes with the last
                        // of that.
                        session.owed = if session.has_left { session.left } else { 0 };
                        self.settle(session, out);
                    }
                }
                self.drain_further(out);
            }
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        self.count_into(into);
        self.gauges_for_watchers(into);
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
        if let Reply::Refused(fault) = &reply {
            self.counts.error(fault.words());
        }
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
        let is_drained = self.is_draining && session.pipeline.is_idle() && session.owed == 0;
        let is_over = session.is_over() || is_drained;
        if is_over {
            out.close(conn, Close::Flushed);
            self.sessions.forget(session);
            return self.drain_further(out);
        }
        let may_resume =
            !session.is_dealing && session.has_drained(&self.config.limits) && !self.is_held(&session);
        if session.is_paused && may_resume && out.room(conn) > 0 {
            session.is_paused = false;
            out.resume(conn);
        }
        self.sessions.put_back(session);
    }

    /// Says that all is finished, once it is.
    pub(crate) fn drain_further(&mut self, out: &mut impl Outbox<Said = Said>) {
        let is_idle = self.sessions.is_empty() && self.deals.is_empty() && self.watch.is_empty();
        if self.is_draining && !self.has_drained && is_idle {
            self.has_drained = true;
            self.log_now(out);
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

    /// Bounds that the store knows are told to it.
    pub(crate) fn bounds_changed(&mut self) {
        let limits = &self.config.limits;
        let share = (limits.memory_max > 0).then(|| {
            let share = limits.memory_max / u64::from(self.seat.cores);
            usize::try_from(share).unwrap_or(usize::MAX)
        });
        self.store.bound(share, limits.policy);
        self.bound_slow();
    }

    /// Lets go who asked for the end of the process, which has begun.
    fn end_asked_for(&mut self, out: &mut impl Outbox<Said = Said>) {
        if let Some((conn, ticket)) = self.ending
            && let Some(mut session) = self.sessions.take(conn)
        {
            answer::late(&mut session, &mut self.direct, ticket, Reply::Ok, Shape::Silent, out);
            self.sessions.put_back(session);
        }
    }

    fn about(&mut self, now: Now, from: Address, is_frames: bool, is_core: bool) -> About {
        self.clients_made += 1;
        let at = match (is_frames, is_core) {
            (true, _) => self.config.frame,
            (false, true) => self.config.core_ports.get(self.seat.core.index()).copied(),
            (false, false) => self.config.resp,
        };
        let cores = u64::from(self.seat.cores);
        About {
            number: (self.clients_made - 1) * cores + u64::from(self.seat.core.0) + 1,
            from,
            at,
            user: DEFAULT.into(),
            name: Box::default(),
            library: Box::default(),
            library_version: Box::default(),
            since: now.at,
        }
    }
}
