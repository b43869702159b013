//! What a shard's asking lands on: one core's connections, lanes, timers and log as that core knows them. The
//! shard is borrowed for one event and writes here; the world reads it after the call and at each step of the
//! turn. Answers (`room`, `lane_room`, ids, marks) come from here alone, so the shard never reaches the world.

use crate::disk::Log;
use crate::setup::Limits;
use machine::id::Key;
use machine::{
    Address, Blob, ChildEvent, ChildId, Close, Command, ConnId, CoreId, Deadlines, Dial, FANOUT_MAX, Gauges,
    Instant, Link, ListenerId, Listening, LogMark, NodeId, Opened, Outbox, PipeKind, Seat, Signal, Slab,
    Stored, Ticket, TimerId, Why,
};
use std::collections::{BTreeMap, VecDeque};
use wire::peer::{Batch, Message};

/// One message on its way, as bytes, and the blob that travels with it.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) batch: Batch,
    pub(crate) blob: Option<Blob>,
}

impl Parcel {
    fn new(said: &impl Message, blob: Option<Blob>) -> Self {
        let mut batch = Batch::new();
        said.write(&mut batch, blob.is_some());
        Self { batch, blob }
    }

    pub(crate) fn len(&self) -> usize {
        self.batch.len() + self.blob.as_ref().map_or(0, |blob| blob.len())
    }
}

/// What comes by a link, in order.
#[derive(Debug)]
pub(crate) enum FromLink {
    Link(Link),
    Said(CoreId, Parcel),
}

/// What is to be told in the order in which it happened.
#[derive(Debug)]
pub(crate) enum Told {
    /// With the pipes of one that was started: it may be dead by the time this is told, and they are there all the same.
    Child(ChildId, ChildEvent, Vec<(PipeKind, Key)>),
    Stored(Stored),
    Listening(ListenerId, Listening),
    Drain(Instant),
    Reload,
    Gathered(Ticket, Vec<Gauges>),
}

/// What the world does right after the call.
#[derive(Debug)]
pub(crate) enum Want {
    Dial(ConnId, Dial),
    Listen(ListenerId, Address),
    Spawn(ChildId, Command),
    Signal(ChildId, Signal),
    Gather(Ticket),
    /// A connection is no longer the shard's: its wire, what was not yet handed over, and how.
    Close(Option<Ends>, Vec<u8>, Close),
}

/// A wire and which end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) wire: Key,
    pub(crate) side: usize,
}

/// A connection as its shard's core knows it.
#[derive(Debug, Default)]
pub(crate) struct Conn {
    /// None while it is dialled.
    pub(crate) ends: Option<Ends>,
    /// To be told once.
    pub(crate) how: Option<Opened>,
    /// Whether `on_open` was told.
    pub(crate) open: bool,
    /// Written in this turn.
    pub(crate) pending: Vec<u8>,
    /// All that was written and the other side's kernel does not have.
    pub(crate) waiting: usize,
    pub(crate) was_high: bool,
    pub(crate) room_due: bool,
    pub(crate) finish: bool,
    /// Input that was told and not used.
    pub(crate) kept: Vec<u8>,
    pub(crate) need: usize,
    pub(crate) paused: bool,
    /// Bytes that may still come although it is paused.
    pub(crate) slack: usize,
    /// What was kept is to be brought again.
    pub(crate) again: bool,
    pub(crate) half_told: bool,
    /// To be told, then it is no more.
    pub(crate) gone: Option<Why>,
    pub(crate) received_at: Instant,
    pub(crate) sent_at: Option<Instant>,
    /// It is among the desk's active ones.
    pub(crate) active: bool,
    pub(crate) just_paused: bool,
}

/// One core's outbox and what it answers from.
#[derive(Debug)]
pub(crate) struct Desk<M> {
    pub(crate) seat: Seat,
    pub(crate) limits: Limits,
    pub(crate) conns: Slab<Conn>,
    /// Connections about which there may be something to tell or to send.
    pub(crate) active: Vec<ConnId>,
    pub(crate) dirty: Vec<ConnId>,
    pub(crate) told: VecDeque<Told>,
    pub(crate) wants: Vec<Want>,
    pub(crate) deadlines: Deadlines,
    /// This turn's messages, by core.
    pub(crate) lanes: Vec<Vec<Parcel>>,
    /// Bytes told to each core that it has not heard.
    pub(crate) lane_waiting: Vec<usize>,
    pub(crate) backlog: bool,
    /// Arrived, by the core that said it.
    pub(crate) heard: Vec<VecDeque<Parcel>>,
    pub(crate) sends: Vec<(NodeId, CoreId, Parcel)>,
    pub(crate) from_links: BTreeMap<NodeId, VecDeque<FromLink>>,
    pub(crate) log: Log,
    /// What all cores were asked to count, by ticket, with what they have said.
    pub(crate) gatherings: Vec<(Ticket, Vec<Option<Gauges>>)>,
    pub(crate) listeners: u32,
    pub(crate) children: u64,
    pub(crate) drained: bool,
    pub(crate) draining: bool,
    fanout: usize,
    said: core::marker::PhantomData<fn() -> M>,
}

impl<M> Desk<M> {
    pub(crate) fn new(seat: Seat, limits: Limits, log: Log, children: u64) -> Self {
        let cores = usize::from(seat.cores);
        Self {
            seat,
            limits,
            conns: Slab::new(),
            active: Vec::new(),
            dirty: Vec::new(),
            told: VecDeque::new(),
            wants: Vec::new(),
            deadlines: Deadlines::new(),
            lanes: (0..cores).map(|_| Vec::new()).collect(),
            lane_waiting: vec![0; cores],
            backlog: false,
            heard: (0..cores).map(|_| VecDeque::new()).collect(),
            sends: Vec::new(),
            from_links: BTreeMap::new(),
            log,
            gatherings: Vec::new(),
            listeners: 0,
            children,
            drained: false,
            draining: false,
            fanout: 0,
            said: core::marker::PhantomData,
        }
    }

    /// Before each event: it has said nothing yet.
    pub(crate) fn begin(&mut self) {
        self.fanout = 0;
    }

    pub(crate) fn conn(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(conn.0)
    }

    /// There may be something to tell of this connection.
    pub(crate) fn activate(&mut self, conn: ConnId) {
        if let Some(found) = self.conns.get_mut(conn.0)
            && !found.active
        {
            found.active = true;
            self.active.push(conn);
        }
    }

    /// Whether a lane has so much waiting that sockets must wait too; falls with the last under the low mark.
    pub(crate) fn is_backlogged(&mut self) -> bool {
        let mark = if self.backlog { self.limits.lane_low } else { self.limits.lane_high };
        self.backlog = self.lane_waiting.iter().any(|waiting| *waiting >= mark);
        self.backlog
    }

    /// So many bytes were handed over to the other side's kernel.
    pub(crate) fn handed_over(&mut self, conn: ConnId, bytes: usize, at: Instant) {
        let low = self.limits.output_low;
        let Some(found) = self.conns.get_mut(conn.0) else { return };
        found.waiting -= bytes;
        found.sent_at = Some(at);
        if found.was_high && found.waiting < low {
            found.was_high = false;
            found.room_due = true;
            self.activate(conn);
        }
    }

    /// It is over; told in the next completions.
    pub(crate) fn ends(&mut self, conn: ConnId, why: Why) {
        if let Some(found) = self.conns.get_mut(conn.0) {
            found.gone.get_or_insert(why);
            found.pending = Vec::new();
            self.activate(conn);
        }
    }

    fn speaks(&mut self) {
        self.fanout += 1;
        assert!(
            self.fanout <= FANOUT_MAX,
            "one event caused more than FANOUT_MAX ({FANOUT_MAX}) tells and sends on {:?}",
            self.seat
        );
    }
}

impl<M: Message> Outbox for Desk<M> {
    type Said = M;

    fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        let (high, max) = (self.limits.output_high, self.limits.output_max);
        let Some(found) = self.conns.get_mut(conn.0) else { return };
        if found.finish || found.gone.is_some() || bytes.is_empty() {
            return;
        }
        if found.waiting + bytes.len() > max {
            self.ends(conn, Why::Overfull);
            return;
        }
        found.pending.extend_from_slice(bytes);
        found.waiting += bytes.len();
        found.was_high |= found.waiting >= high;
        self.dirty.push(conn);
    }

    fn write_blob(&mut self, conn: ConnId, blob: Blob) {
        self.write(conn, &blob);
    }

    fn room(&self, conn: ConnId) -> usize {
        self.conns
            .get(conn.0)
            .filter(|found| found.gone.is_none())
            .map_or(0, |found| self.limits.output_high.saturating_sub(found.waiting))
    }

    fn pause(&mut self, conn: ConnId) {
        if let Some(found) = self.conns.get_mut(conn.0)
            && !found.paused
        {
            found.paused = true;
            found.just_paused = true;
            self.activate(conn);
        }
    }

    fn resume(&mut self, conn: ConnId) {
        if let Some(found) = self.conns.get_mut(conn.0)
            && found.paused
        {
            found.paused = false;
            found.slack = 0;
            found.again = true;
            self.activate(conn);
        }
    }

    fn finish(&mut self, conn: ConnId) {
        if let Some(found) = self.conns.get_mut(conn.0) {
            found.finish = true;
            self.dirty.push(conn);
        }
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        let Some(found) = self.conns.remove(conn.0) else { return };
        self.wants.push(Want::Close(found.ends, found.pending, how));
    }

    fn dial(&mut self, dial: Dial) -> ConnId {
        let conn = ConnId(self.conns.insert(Conn::default()));
        self.wants.push(Want::Dial(conn, dial));
        conn
    }

    fn listen(&mut self, at: Address) -> ListenerId {
        let listener = ListenerId(self.listeners);
        self.listeners += 1;
        self.wants.push(Want::Listen(listener, at));
        listener
    }

    fn tell(&mut self, core: CoreId, said: M, blob: Option<Blob>) {
        self.speaks();
        assert!(core.0 < self.seat.cores, "told {core:?} of {} cores", self.seat.cores);
        let parcel = Parcel::new(&said, blob);
        self.lane_waiting[core.index()] += parcel.len();
        self.lanes[core.index()].push(parcel);
    }

    fn lane_room(&self, core: CoreId) -> usize {
        self.limits.lane_high.saturating_sub(self.lane_waiting[core.index()])
    }

    fn send(&mut self, node: NodeId, core: CoreId, said: M, blob: Option<Blob>) {
        self.speaks();
        assert!(node != self.seat.node, "a node has no link to itself");
        self.sends.push((node, core, Parcel::new(&said, blob)));
    }

    fn wake(&mut self, timer: TimerId, at: Option<Instant>) {
        self.deadlines.set(timer, at);
    }

    fn log(&mut self, record: &[u8]) -> LogMark {
        self.log.append(record)
    }

    fn save(&mut self, part: &[u8]) {
        self.log.save(part);
    }

    fn save_room(&self) -> usize {
        self.log.save_room()
    }

    fn saved(&mut self, upto: LogMark) {
        self.log.saved(upto);
    }

    fn unsave(&mut self) {
        self.log.unsave();
    }

    fn spawn(&mut self, command: Command) -> ChildId {
        let child = ChildId(self.children * u64::from(self.seat.cores) + u64::from(self.seat.core.0));
        self.children += 1;
        self.wants.push(Want::Spawn(child, command));
        child
    }

    fn signal(&mut self, child: ChildId, signal: Signal) {
        self.wants.push(Want::Signal(child, signal));
    }

    fn gather(&mut self, ticket: Ticket) {
        self.wants.push(Want::Gather(ticket));
    }

    fn drained(&mut self) {
        self.drained = true;
    }
}
