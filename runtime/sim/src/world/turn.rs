//! The turn of a core, in the reactor's order: due timers, peers, completions, flush lanes, flush log, flush
//! writes, sleep. Each step has a bound, drawn anew each turn; the rest waits for the next.

use super::World;
use super::events::Event;
use crate::desk::FromLink;
use machine::{CoreId, NodeId, Peer, Shard};
use wire::peer::Message;

/// The most timers, and the most messages, of one turn.
const STEP_MAX: u64 = 256;

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    pub(super) fn turn(&mut self, node: NodeId, core: CoreId) {
        self.begin_turn(node, core);
        self.timers(node, core);
        self.peers(node, core);
        self.completions(node, core);
        self.flush_lanes(node, core);
        self.flush_links(node, core);
        if self.core_mut(node, core).desk.log.wants_commit() {
            self.commit_begins(node, core);
        }
        self.flush_writes(node, core);
        self.sleep(node, core);
    }

    /// How long the core is busy: a second turn never begins within the first.
    fn begin_turn(&mut self, node: NodeId, core: CoreId) {
        let mut busy = core::time::Duration::from_nanos(self.chance.schedule.between(1_000, 20_000));
        if self.strikes(self.setup.faults.slow_turn, "fault: slow turn") {
            busy += self.some_of(self.setup.faults.slow_turn_max);
        }
        let until = self.time + busy;
        let found = self.core_mut(node, core);
        found.turn_at = None;
        found.busy_until = until;
    }

    fn timers(&mut self, node: NodeId, core: CoreId) {
        let bound = self.chance.schedule.between(1, STEP_MAX);
        let mut now = self.now_on(node).at;
        if self.lies(self.setup.lies.early_timer, "lie: early timer") {
            now += core::time::Duration::from_millis(50);
        }
        for _ in 0..bound {
            let Some(timer) = self.core_mut(node, core).desk.deadlines.due(now) else { break };
            self.call(node, core, "on_timer", (timer.0, 0), |shard, now, out| {
                shard.on_timer(now, timer, out)
            });
        }
    }

    fn peers(&mut self, node: NodeId, core: CoreId) {
        let bound = self.chance.schedule.between(1, STEP_MAX);
        for _ in 0..bound {
            let desk = &self.core_mut(node, core).desk;
            let lanes = desk.heard.iter().enumerate().filter(|(_, heard)| !heard.is_empty());
            let lanes = lanes.map(|(from, _)| Peer::Core(CoreId(from as u16)));
            let links = desk.from_links.iter().filter(|(_, items)| !items.is_empty());
            let speakers: Vec<Peer> =
                lanes.chain(links.map(|(from, _)| Peer::Node(*from, CoreId(0)))).collect();
            match self.chance.schedule.pick(&speakers) {
                None => break,
                Some(Peer::Core(from)) => self.hear_core(node, core, *from),
                Some(Peer::Node(from, _)) => self.hear_link(node, core, *from),
            }
        }
    }

    fn hear_core(&mut self, node: NodeId, core: CoreId, from: CoreId) {
        let Some(parcel) = self.core_mut(node, core).desk.heard[from.index()].pop_front() else { return };
        let bytes = parcel.len();
        self.hear(node, core, Peer::Core(from), parcel);
        let speaker = &mut self.core_mut(node, from).desk;
        let was = speaker.backlog;
        speaker.lane_waiting[core.index()] -= bytes;
        if was && !speaker.is_backlogged() {
            self.rouse(node, from);
        }
    }

    fn hear_link(&mut self, node: NodeId, core: CoreId, from: NodeId) {
        let items = self.core_mut(node, core).desk.from_links.get_mut(&from);
        match items.and_then(std::collections::VecDeque::pop_front) {
            None => {}
            Some(FromLink::Link(link)) => {
                self.call(node, core, "on_link", (u64::from(from.0), 0), |shard, now, out| {
                    shard.on_link(now, from, link, out);
                });
            }
            Some(FromLink::Said(speaker, parcel)) => {
                self.hear(node, core, Peer::Node(from, speaker), parcel);
            }
        }
    }

    fn hear(&mut self, node: NodeId, core: CoreId, from: Peer, parcel: crate::desk::Parcel) {
        self.trace.bytes(parcel.batch.bytes());
        let who = match from {
            Peer::Core(core) => u64::from(core.0),
            Peer::Node(node, core) => u64::from(node.0) << 32 | u64::from(core.0),
        };
        let envelope = parcel.batch.envelopes().next().expect("a parcel holds one message");
        let heard = <S::Said as Message>::hear(envelope.archive).expect("what was said can be heard");
        let blob = parcel.blob;
        self.call(node, core, "on_peer", (who, envelope.archive.len() as u64), |shard, now, out| {
            shard.on_peer(now, from, heard, blob, out);
        });
    }

    fn flush_lanes(&mut self, node: NodeId, core: CoreId) {
        let life = self.life(node);
        for to in self.seats(node) {
            let mut batch = core::mem::take(&mut self.core_mut(node, core).desk.lanes[to.index()]);
            if self.lies(self.setup.lies.lose_tell, "lie: lost tell") && !batch.is_empty() {
                let lost = self.chance.faults.below(batch.len() as u64) as usize;
                let lost = batch.remove(lost);
                self.core_mut(node, core).desk.lane_waiting[to.index()] -= lost.len();
            }
            if batch.len() > 1 && self.lies(self.setup.lies.swap_lane, "lie: swapped lane") {
                let first = self.chance.faults.below(batch.len() as u64 - 1) as usize;
                batch.swap(first, first + 1);
            }
            if batch.is_empty() {
                continue;
            }
            let mut delay = core::time::Duration::from_nanos(self.chance.schedule.between(100, 5_000));
            if self.strikes(self.setup.faults.slow_lane, "fault: slow lane") {
                delay += self.some_of(self.setup.faults.slow_lane_max);
            }
            let at = self.time + delay;
            let cores = self.setup.cores;
            let lane = &mut self.node_mut(node).lanes[usize::from(core.0 * cores + to.0)];
            lane.last_at = lane.last_at.max(at);
            lane.flying.push_back(batch);
            let at = lane.last_at;
            self.enter(at, Event::Lane(life, core, to));
        }
    }

    pub(super) fn lane_arrives(&mut self, node: NodeId, from: CoreId, to: CoreId) {
        let cores = self.setup.cores;
        let lane = &mut self.node_mut(node).lanes[usize::from(from.0 * cores + to.0)];
        let Some(batch) = lane.flying.pop_front() else { return };
        self.core_mut(node, to).desk.heard[from.index()].extend(batch);
        self.rouse(node, to);
    }

    fn flush_writes(&mut self, node: NodeId, core: CoreId) {
        for conn in core::mem::take(&mut self.core_mut(node, core).desk.dirty) {
            let Some(found) = self.core_mut(node, core).desk.conn(conn) else { continue };
            let Some(ends) = found.ends else { continue };
            let finish = found.finish;
            let pending = core::mem::take(&mut found.pending);
            if let Some(wire) = self.wires.get_mut(ends.wire) {
                let flow = &mut wire.flows[ends.side];
                flow.waiting.extend(&pending);
                flow.fin_wanted |= finish;
            }
            self.trace.bytes(&pending);
            self.pump(ends.wire, ends.side);
        }
    }

    /// Sleeps until a timer is due or something comes; not at all when something is left.
    fn sleep(&mut self, node: NodeId, core: CoreId) {
        let desk = &mut self.core_mut(node, core).desk;
        let backlogged = desk.is_backlogged();
        let left = !desk.told.is_empty()
            || (!desk.active.is_empty() && !backlogged)
            || desk.heard.iter().any(|heard| !heard.is_empty())
            || desk.from_links.values().any(|items| !items.is_empty())
            || !desk.dirty.is_empty();
        let earliest = desk.deadlines.earliest();
        if left {
            self.rouse(node, core);
        }
        if let Some(earliest) = earliest {
            let late = self.chance.schedule.between(0, 100_000);
            let due =
                machine::Instant::ZERO + earliest.since(machine::Instant::ZERO + self.node(node).origin);
            self.wake(node, core, due + core::time::Duration::from_nanos(late));
        }
    }
}
