//! What a core holds besides its shard, and what the shard may ask of it: the reactor's side of the seam. Most
//! calls only note what is wanted; the turn acts on the notes in its own order.

use crate::child::Children;
use crate::conn::{Conn, Owner, Stage};
use crate::gather::Gatherings;
use crate::lane::Lanes;
use crate::listen::Listeners;
use crate::ring::{Ring, Tag};
use crate::stall::Stopwatch;
use crate::store::Store;
use crate::{Limits, link::Links};
use machine::id::Key;
use machine::{
    Address, Blob, ChildId, Close, Command, ConnId, CoreId, Deadlines, Dial, End, Event, FANOUT_MAX, Instant,
    ListenerId, Listening, LogMark, NodeId, Now, Opened, Outbox, Seat, Signal, Slab, Ticket, TimerId, Why,
};
use std::collections::VecDeque;
use std::marker::PhantomData;
use wire::peer::Message;

/// What the shard is to be told in the next step of completions.
#[derive(Debug)]
pub(crate) enum Happening {
    Opened(ConnId, Opened),
    /// It was resumed: bring what is kept.
    Resumed(ConnId),
    Room(ConnId),
    End(ConnId, End),
    Listening(ListenerId, Listening),
    Stored(machine::Stored),
    Child(ChildId, machine::ChildEvent),
    Link(NodeId, machine::Link),
    Gathered(Ticket, Vec<machine::Gauges>),
}

impl Happening {
    /// The event by which the shard is told; none when that is another happening's.
    pub(crate) const fn event(&self) -> Option<Event> {
        match self {
            Self::Opened(..) => Some(Event::Open),
            Self::Resumed(_) => None,
            Self::Room(_) => Some(Event::Room),
            Self::End(..) => Some(Event::End),
            Self::Listening(..) => Some(Event::Listen),
            Self::Stored(_) => Some(Event::Stored),
            Self::Child(..) => Some(Event::Child),
            Self::Link(..) => Some(Event::Link),
            Self::Gathered(..) => Some(Event::Gathered),
        }
    }
}

/// What this core has done, for the gauges.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) turns: u64,
    pub(crate) completions: u64,
    pub(crate) parks: u64,
    pub(crate) long_parks: u64,
    pub(crate) idle_nanos: u64,
    pub(crate) sends: u64,
    pub(crate) accepted: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) no_buffers: u64,
}

/// A core without its shard.
pub(crate) struct Io<Said> {
    pub(crate) seat: Seat,
    pub(crate) limits: Limits,
    /// As read for the batch of events at hand.
    pub(crate) now: Now,
    /// When sends are being made.
    pub(crate) flushed_at: Instant,
    pub(crate) ring: Ring,
    pub(crate) conns: Slab<Conn>,
    pub(crate) dirty: Vec<ConnId>,
    /// What came of sends, while they are made.
    pub(crate) sent: Vec<(Tag, i32)>,
    pub(crate) happenings: VecDeque<Happening>,
    /// Connections whose receive ended for want of buffers.
    pub(crate) starved: Vec<ConnId>,
    pub(crate) timers: Deadlines,
    /// Deadlines of connections: dials, lingering.
    pub(crate) patience: Deadlines,
    pub(crate) lanes: Lanes,
    pub(crate) listeners: Listeners,
    pub(crate) children: Children,
    pub(crate) store: Store,
    pub(crate) links: Links,
    pub(crate) gatherings: Gatherings,
    /// Buffers that outputs grow in, between two uses.
    pub(crate) spare: Vec<Vec<u8>>,
    pub(crate) counters: Counters,
    pub(crate) stopwatch: Stopwatch,
    pub(crate) drained: bool,
    /// What the shard said that a process that takes over must know, until it is reported.
    pub(crate) bequeathed: Option<Vec<u8>>,
    /// The shard wants the configuration to be read again.
    pub(crate) wants_reread: bool,
    /// The core is over: connections are left with a FIN, not a reset.
    pub(crate) is_ending: bool,
    /// Tells of the event at hand.
    pub(crate) fanout: usize,
    /// What receives with times are asked with, where times are asked for.
    pub(crate) stamps: Option<Box<libc::msghdr>>,
    /// When the kernel had the bytes at hand, where it told.
    pub(crate) receipt: Option<Instant>,
    pub(crate) said: PhantomData<fn(Said)>,
}

/// Buffers kept for the next outputs, and how large one may be to be kept.
const SPARE_MAX: usize = 256;
const SPARE_BYTES_MAX: usize = 64 * 1024;

impl<Said> Io<Said> {
    /// A connection its owner may still speak of.
    pub(crate) fn told(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.conns.get_mut(conn.0).filter(|held| held.is_told() && held.lost.is_none())
    }

    /// Puts a connection on the list of those to be flushed at the end of the turn.
    pub(crate) fn soil(&mut self, conn: ConnId) {
        if let Some(held) = self.conns.get_mut(conn.0)
            && !held.dirty
        {
            held.dirty = true;
            self.dirty.push(conn);
        }
    }

    /// Takes an output's buffer back.
    pub(crate) fn reclaim(&mut self, conn: ConnId) {
        if let Some(held) = self.conns.get_mut(conn.0) {
            let buffer = held.output.reclaim();
            self.keep(buffer);
        }
    }

    /// Keeps an empty buffer for an output to grow in.
    pub(crate) fn keep(&mut self, buffer: Vec<u8>) {
        if self.spare.len() < SPARE_MAX && buffer.capacity() <= SPARE_BYTES_MAX && buffer.capacity() > 0 {
            self.spare.push(buffer);
        }
    }

    /// Bounds what one event may cause.
    fn count_tell(&mut self) {
        self.fanout += 1;
        assert!(self.fanout <= FANOUT_MAX, "one event caused more than {FANOUT_MAX} tells");
    }

    /// After something was written: notes it for the flush, and ends the connection when too much waits.
    pub(crate) fn written(&mut self, conn: ConnId) {
        if let Some(held) = self.conns.get_mut(conn.0)
            && note_written(held, conn, &self.limits, &mut self.dirty)
        {
            self.lose(conn, Why::Overfull);
        }
    }

    /// A connection's bytes, whoever owns it.
    pub(crate) fn put(&mut self, conn: ConnId, bytes: &[u8]) {
        let held = self.conns.get_mut(conn.0).filter(|held| held.is_told() && held.lost.is_none());
        let Some(held) = held else { return };
        if !held.output.has_capacity()
            && let Some(buffer) = self.spare.pop()
        {
            held.output.lend(buffer);
        }
        held.output.push(bytes);
        if note_written(held, conn, &self.limits, &mut self.dirty) {
            self.lose(conn, Why::Overfull);
        }
    }

    /// A connection's blob, whoever owns it.
    pub(crate) fn put_blob(&mut self, conn: ConnId, blob: Blob) {
        if let Some(held) = self.told(conn) {
            held.output.push_blob(blob);
            self.written(conn);
        }
    }
}

/// Notes for the flush that a connection was written to. Whether too much waits.
#[inline]
fn note_written(held: &mut Conn, conn: ConnId, limits: &Limits, dirty: &mut Vec<ConnId>) -> bool {
    let waiting = held.output.waiting();
    held.over_high |= waiting >= limits.output_high;
    if waiting > limits.output_max && held.owner == Owner::Shard {
        return true;
    }
    if !held.dirty {
        held.dirty = true;
        dirty.push(conn);
    }
    false
}

impl<Said: Message> Outbox for Io<Said> {
    type Said = Said;

    fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        self.put(conn, bytes);
    }

    fn write_blob(&mut self, conn: ConnId, blob: Blob) {
        self.put_blob(conn, blob);
    }

    fn room(&self, conn: ConnId) -> usize {
        let told = self.conns.get(conn.0).filter(|held| held.is_told() && held.lost.is_none());
        told.map_or(0, |held| self.limits.output_high.saturating_sub(held.output.waiting()))
    }

    fn pause(&mut self, conn: ConnId) {
        if let Some(held) = self.told(conn) {
            held.paused = true;
            self.settle_reading(conn);
            self.watch_end(conn);
        }
    }

    fn resume(&mut self, conn: ConnId) {
        if let Some(held) = self.told(conn)
            && held.paused
        {
            held.paused = false;
            if !held.resuming {
                held.resuming = true;
                self.happenings.push_back(Happening::Resumed(conn));
            }
        }
    }

    fn finish(&mut self, conn: ConnId) {
        if let Some(held) = self.told(conn) {
            held.finishing = true;
            self.soil(conn);
        }
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        let Some(held) = self.conns.get(conn.0).filter(|held| held.is_told()) else { return };
        match how {
            Close::Flushed if held.stage == Stage::Open && held.lost.is_none() => self.close_flushed(conn),
            Close::Flushed | Close::Now => self.kill(conn),
        }
    }

    fn dial(&mut self, dial: Dial) -> ConnId {
        self.dial_for(Owner::Shard, dial)
    }

    fn listen(&mut self, at: Address) -> ListenerId {
        self.start_listening(at)
    }

    fn tell(&mut self, core: CoreId, said: Said, blob: Option<Blob>) {
        self.count_tell();
        self.lanes.tell(core, &said, blob);
    }

    fn lane_room(&self, core: CoreId) -> usize {
        self.lanes.room(core)
    }

    fn send(&mut self, node: NodeId, core: CoreId, said: Said, blob: Option<Blob>) {
        self.count_tell();
        self.send_over_link(node, core, &said, blob);
    }

    fn wake(&mut self, timer: TimerId, at: Option<Instant>) {
        self.timers.set(timer, at);
    }

    fn log(&mut self, record: &[u8]) -> LogMark {
        self.store.append(record)
    }

    fn save(&mut self, part: &[u8]) {
        self.store.save(part);
    }

    fn save_room(&self) -> usize {
        self.store.save_room()
    }

    fn saved(&mut self, upto: LogMark) {
        self.store.saved(upto);
    }

    fn unsave(&mut self) {
        self.store.unsave();
    }

    fn spawn(&mut self, command: Command) -> ChildId {
        let (child, failed) = self.children.spawn(&command);
        if let Some(why) = failed {
            self.happenings.push_back(Happening::Child(child, machine::ChildEvent::Unstarted(why)));
        }
        child
    }

    fn signal(&mut self, child: ChildId, signal: Signal) {
        self.children.signal(child, signal);
    }

    fn adopt(&mut self, child: ChildId) {
        if let Some(why) = self.children.adopt(child) {
            self.happenings.push_back(Happening::Child(child, machine::ChildEvent::Unstarted(why)));
        }
    }

    fn bequeath(&mut self, legacy: &[u8]) {
        self.bequeathed = Some(legacy.to_vec());
    }

    fn reread(&mut self) {
        self.wants_reread = true;
    }

    fn gather(&mut self, ticket: Ticket) {
        self.start_gathering(ticket);
    }

    fn drained(&mut self) {
        self.drained = true;
    }
}

/// The key of a connection's own deadline.
pub(crate) fn patience_of(conn: ConnId) -> TimerId {
    TimerId(conn.0.to_bits())
}

/// The connection whose deadline this is.
pub(crate) fn whose_patience(timer: TimerId) -> ConnId {
    ConnId(Key::from_bits(timer.0))
}
