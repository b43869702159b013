//! Bytes on their way: from what waits to packets, from packets to what has arrived, and every way in which a
//! connection comes to its end.

use super::World;
use super::events::Event;
use crate::desk::Ends;
use crate::net::{Holder, Packet, move_front};
use core::time::Duration;
use machine::id::Key;
use machine::{Close, Instant, Shard, Why};
use wire::peer::Message;

/// The most bytes that arrive together.
const PACKET_MAX: usize = 64 * 1024;
/// How long what still comes is taken in after a flushed close, before the other side is reset.
const LINGER: Duration = Duration::from_secs(1);
/// How soon what did not get through a cut is sent again.
const RESEND: Duration = Duration::from_millis(200);

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    /// Sends what waits at that end, as far as the other's window lets it.
    pub(super) fn pump(&mut self, key: Key, side: usize) {
        loop {
            let Some(wire) = self.wires.get(key) else { return };
            let flow = &wire.flows[side];
            if flow.fin_sent {
                return;
            }
            if flow.waiting.is_empty() {
                if flow.fin_wanted {
                    self.fly(key, side, Packet::Fin);
                }
                return;
            }
            let room = wire.window.saturating_sub(flow.in_window());
            let whole = room.min(flow.waiting.len()).min(PACKET_MAX);
            let holder = wire.ends[side];
            // A pipe of the kernel is not reset by anybody.
            let is_pipe = wire.ends.iter().any(|end| matches!(end, Holder::Child(..)));
            if whole == 0 {
                return;
            }
            let size = if self.strikes(self.setup.faults.cut, "fault: cut packet") {
                self.chance.network.between(1, whole.min(12) as u64) as usize
            } else {
                whole
            };
            if !is_pipe && self.strikes(self.setup.faults.reset, "fault: reset") {
                self.tell_end(holder, Why::Reset);
                self.break_off(key, side, Why::Reset);
                return;
            }
            let Some(wire) = self.wires.get_mut(key) else { return };
            let mut bytes = Vec::with_capacity(size);
            move_front(&mut wire.flows[side].waiting, size, &mut bytes);
            if self.lies(self.setup.lies.wrong_byte, "lie: wrong byte") {
                bytes[0] ^= 1;
            }
            self.fly(key, side, Packet::Bytes(bytes));
            if let Holder::Shard(node, core, conn) = holder {
                let now = self.now_on(node).at;
                let desk = &mut self.core_mut(node, core).desk;
                desk.handed_over(conn, size, now);
                if desk.conn(conn).is_some_and(|found| found.active) {
                    self.rouse(node, core);
                }
            }
        }
    }

    /// How long a packet takes.
    pub(super) fn way(&mut self) -> Duration {
        let (least, most) = self.setup.faults.delay;
        let nanos = (machine::time::nanos(least), machine::time::nanos(most));
        Duration::from_nanos(self.chance.network.between(nanos.0, nanos.1))
    }

    fn fly(&mut self, key: Key, side: usize, packet: Packet) {
        let mut delay = self.way();
        if self.strikes(self.setup.faults.stall, "fault: stall") {
            delay += self.some_of(self.setup.faults.stall_max);
        }
        let at = self.time + delay;
        let Some(wire) = self.wires.get_mut(key) else { return };
        let flow = &mut wire.flows[side];
        match &packet {
            Packet::Bytes(bytes) => flow.flying_bytes += bytes.len(),
            Packet::Fin => flow.fin_sent = true,
            Packet::Reset(_) => {}
        }
        flow.last_at = flow.last_at.max(at);
        let at: Instant = flow.last_at;
        flow.flying.push_back((at, packet));
        self.enter(at, Event::Arrive(key, 1 - side));
    }

    pub(super) fn arrive(&mut self, key: Key, side: usize) {
        if self.is_cut_off(key, side) {
            // The kernel sends it again until it gets through.
            return self.enter(self.time + RESEND, Event::Arrive(key, side));
        }
        let Some(wire) = self.wires.get_mut(key) else { return };
        let holder = wire.ends[side];
        let flow = &mut wire.flows[1 - side];
        let Some((_, packet)) = flow.flying.pop_front() else { return };
        match packet {
            Packet::Bytes(bytes) => {
                flow.flying_bytes -= bytes.len();
                if !matches!(holder, Holder::Lingering | Holder::Nobody) {
                    flow.arrived.extend(&bytes);
                }
                self.pump(key, 1 - side);
            }
            Packet::Fin => flow.fin_arrived = true,
            Packet::Reset(why) => {
                let drops = self.chance.network.below(2) == 0;
                if drops || !matches!(holder, Holder::Client(_)) {
                    self.wires.remove(key);
                } else {
                    self.client_hears(key, side);
                    self.wires.remove(key);
                }
                self.tell_end(holder, why);
                return;
            }
        }
        match holder {
            Holder::Shard(node, core, conn) => {
                self.core_mut(node, core).desk.activate(conn);
                self.rouse(node, core);
            }
            Holder::Client(_) => self.client_hears(key, side),
            Holder::Child(node, child, _) => self.child_hears(node, child, key, side),
            Holder::Coming => {}
            Holder::Lingering | Holder::Nobody => {
                self.pump(key, 1 - side);
                self.settle(key);
            }
        }
    }

    /// Whether nothing passes between the nodes of this wire's ends, towards that end.
    fn is_cut_off(&self, key: Key, side: usize) -> bool {
        let Some(wire) = self.wires.get(key) else { return false };
        match (wire.ends[1 - side], wire.ends[side]) {
            (Holder::Shard(from, ..), Holder::Shard(to, ..)) => {
                self.links.ways.get(&(from, to)).is_some_and(|way| way.cut)
            }
            _ => false,
        }
    }

    /// The end of a connection is told to who holds that end of it.
    pub(super) fn tell_end(&mut self, holder: Holder, why: Why) {
        match holder {
            Holder::Shard(node, core, conn) => {
                if self.node(node).alive {
                    self.core_mut(node, core).desk.ends(conn, why);
                    self.rouse(node, core);
                }
            }
            Holder::Client(client) => self.client_ends(client, why),
            Holder::Child(..) | Holder::Lingering | Holder::Nobody | Holder::Coming => {}
        }
    }

    /// That end leaves at once; the other will see why.
    pub(super) fn break_off(&mut self, key: Key, side: usize, why: Why) {
        let Some(wire) = self.wires.get_mut(key) else { return };
        wire.ends[side] = Holder::Nobody;
        if wire.ends[1 - side] == Holder::Nobody {
            self.wires.remove(key);
            return;
        }
        for flow in &mut wire.flows {
            flow.waiting.clear();
            flow.fin_sent = true;
        }
        self.fly(key, side, Packet::Reset(why));
    }

    /// Both have said all, and heard all: then the connection is no more.
    pub(super) fn settle(&mut self, key: Key) {
        let Some(wire) = self.wires.get(key) else { return };
        let ends = wire.ends;
        let all_heard = [0, 1].map(|side| {
            let flow = &wire.flows[1 - side];
            flow.fin_arrived && flow.arrived.is_empty()
        });
        for side in [0, 1] {
            let told = match ends[side] {
                Holder::Shard(node, core, conn) => {
                    let desk = &self.nodes[usize::from(node.0)].cores[core.index()].desk;
                    desk.conns.get(conn.0).is_none_or(|found| found.half_told)
                }
                _ => true,
            };
            if !all_heard[side] || !told {
                if ends[side] == Holder::Lingering && all_heard[1 - side] {
                    self.enter(self.time + LINGER, Event::LingerEnds(key));
                }
                return;
            }
        }
        self.wires.remove(key);
        for holder in ends {
            self.tell_end(holder, Why::Closed);
        }
    }

    /// Whoever still holds the other end has had a second to say the rest.
    pub(super) fn linger_ends(&mut self, key: Key) {
        let Some(wire) = self.wires.get(key) else { return };
        if let Some(side) = wire.ends.iter().position(|holder| *holder == Holder::Lingering) {
            self.break_off(key, side, Why::Reset);
        }
    }

    pub(super) fn closed_by_shard(&mut self, ends: Option<Ends>, pending: Vec<u8>, how: Close) {
        let Some(Ends { wire: key, side }) = ends else { return };
        match how {
            Close::Now => self.break_off(key, side, Why::Reset),
            Close::Flushed => {
                let Some(wire) = self.wires.get_mut(key) else { return };
                wire.ends[side] = Holder::Lingering;
                wire.flows[side].waiting.extend(&pending);
                wire.flows[side].fin_wanted = true;
                wire.flows[1 - side].arrived.clear();
                self.trace.bytes(&pending);
                self.pump(key, side);
                self.pump(key, 1 - side);
                self.settle(key);
            }
        }
    }
}
