//! Completions of a turn: what children, disk and operator did, then each connection's opens, room, bytes and
//! ends, connections in an order drawn by chance. A connection is served once a turn; what is left of it waits.

use super::World;
use crate::desk::{Ends, Told};
use crate::net::Holder;
use machine::id::Key;
use machine::{
    Blob, ChildEvent, ChildId, ConnId, CoreId, End, Input, NodeId, Opened, Order, PipeKind, READ_SLACK,
    Shard, Why,
};
use wire::peer::Message;

/// The most bytes a connection is served in one turn.
const RECEIVE_MAX: u64 = 64 * 1024;

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    pub(super) fn completions(&mut self, node: NodeId, core: CoreId) {
        while let Some(told) = self.core_mut(node, core).desk.told.pop_front() {
            self.tell(node, core, told);
        }
        let mut active = core::mem::take(&mut self.core_mut(node, core).desk.active);
        while !active.is_empty() {
            let next = self.chance.schedule.below(active.len() as u64) as usize;
            let conn = active.swap_remove(next);
            self.serve(node, core, conn);
        }
    }

    fn tell(&mut self, node: NodeId, core: CoreId, told: Told) {
        match told {
            Told::Child(child, what, pipes) => self.tell_child((node, core), child, what, pipes),
            Told::Stored(what) => {
                let (name, upto) = match what {
                    machine::Stored::Logged(upto) => ("on_stored logged", upto.0),
                    machine::Stored::Saved(upto) => ("on_stored saved", upto.0),
                    machine::Stored::Unsaved => ("on_stored unsaved", 0),
                    machine::Stored::Full => ("on_stored full", 0),
                    machine::Stored::Failed => ("on_stored failed", 0),
                };
                let log = &mut self.core_mut(node, core).desk.log;
                match what {
                    machine::Stored::Full => log.known_full = true,
                    machine::Stored::Logged(_) => log.known_full = false,
                    machine::Stored::Saved(_) | machine::Stored::Unsaved | machine::Stored::Failed => {}
                }
                self.call(node, core, name, (upto, 0), |shard, now, out| shard.on_stored(now, what, out));
            }
            Told::Listening(listener, what) => {
                let who = u64::from(listener.0);
                self.call(node, core, "on_listen", (who, 0), |shard, now, out| {
                    shard.on_listen(now, listener, what, out);
                });
            }
            Told::Drain(by) => {
                self.call(node, core, "on_order drain", (0, 0), |shard, now, out| {
                    shard.on_order(now, Order::Drain { by }, out);
                });
            }
            Told::Reload => self.tell_reload(node, core),
            Told::Gathered(ticket, gauges) => {
                self.call(node, core, "on_gathered", (ticket.0, 0), |shard, now, out| {
                    shard.on_gathered(now, ticket, &gauges, out);
                });
            }
        }
    }

    fn tell_reload(&mut self, node: NodeId, core: CoreId) {
        self.note(Some((node, core)), "on_order reload", 0, 0);
        let now = self.now_on(node);
        let found = &mut self.nodes[usize::from(node.0)].cores[core.index()];
        found.desk.begin();
        found.shard.on_order(now, Order::Reload(&self.setup.config), &mut found.desk);
        self.call(node, core, "on_order after reload", (0, 0), |_, _, _| ());
    }

    /// A child's pipes open right after it is said to run.
    fn tell_child(
        &mut self,
        (node, core): (NodeId, CoreId),
        child: ChildId,
        what: ChildEvent,
        pipes: Vec<(PipeKind, Key)>,
    ) {
        let (name, detail) = match &what {
            ChildEvent::Started { pid } => ("on_child started", u64::from(*pid)),
            ChildEvent::Unstarted(_) => ("on_child unstarted", 0),
            ChildEvent::Exited(status) => ("on_child exited", *status as u64),
            ChildEvent::Killed(signal) => ("on_child killed", *signal as u64),
        };
        self.call(node, core, name, (child.0, detail), |shard, now, out| {
            shard.on_child(now, child, what, out)
        });
        for (kind, wire) in pipes {
            let conn = self.open_pipe((node, core), child, kind, wire);
            self.serve(node, core, conn);
        }
    }

    /// All that is to be told of one connection now.
    fn serve(&mut self, node: NodeId, core: CoreId, conn: ConnId) {
        let Some(found) = self.core_mut(node, core).desk.conn(conn) else { return };
        found.active = false;
        if let Some(how) = found.how.take() {
            found.open = true;
            let name = match how {
                Opened::Accepted { .. } => "on_open accepted",
                Opened::Dialled => "on_open dialled",
                Opened::Pipe(..) => "on_open pipe",
            };
            self.call(node, core, name, (conn.0.to_bits(), 0), |shard, now, out| {
                shard.on_open(now, conn, how, out);
            });
        }
        self.serve_room(node, core, conn);
        self.serve_bytes(node, core, conn);
        self.serve_half(node, core, conn);
        let Some(found) = self.core_mut(node, core).desk.conn(conn) else { return };
        if let Some(why) = found.gone {
            let ends = found.ends;
            self.core_mut(node, core).desk.conns.remove(conn.0);
            if let Some(ends) = ends {
                self.break_off(ends.wire, ends.side, Why::Reset);
            }
            self.call(node, core, gone_by(why), (conn.0.to_bits(), 0), |shard, now, out| {
                shard.on_end(now, conn, End::Gone(why), out);
            });
        }
    }

    fn serve_room(&mut self, node: NodeId, core: CoreId, conn: ConnId) {
        let Some(found) = self.core_mut(node, core).desk.conn(conn) else { return };
        if core::mem::take(&mut found.room_due) && found.gone.is_none() {
            self.call(node, core, "on_room", (conn.0.to_bits(), 0), |shard, now, out| {
                shard.on_room(now, conn, out);
            });
        }
    }

    fn serve_bytes(&mut self, node: NodeId, core: CoreId, conn: ConnId) {
        let backlogged = self.core_mut(node, core).desk.is_backlogged();
        let Some(found) = self.core_mut(node, core).desk.conn(conn) else { return };
        let (Some(ends), true, None) = (found.ends, found.open, found.gone) else { return };
        if core::mem::take(&mut found.just_paused) {
            self.draw_slack(node, core, conn, ends);
        }
        if backlogged {
            self.counts.count("sockets waited for lanes");
            self.core_mut(node, core).desk.activate(conn);
            return;
        }
        let taken = self.take_in(node, core, conn, ends);
        let Some(found) = self.core_mut(node, core).desk.conn(conn) else { return };
        let again = !found.paused && core::mem::take(&mut found.again);
        if (taken > 0 || again) && !found.kept.is_empty() && found.kept.len() >= found.need {
            self.bring(node, core, conn);
        }
        let left =
            self.wires.get(ends.wire).is_some_and(|wire| !wire.flows[1 - ends.side].arrived.is_empty());
        if let Some(found) = self.core_mut(node, core).desk.conn(conn)
            && left
            && (!found.paused || found.slack > 0 || found.just_paused)
        {
            self.core_mut(node, core).desk.activate(conn);
        }
    }

    /// How much still comes after the pause just asked for.
    fn draw_slack(&mut self, node: NodeId, core: CoreId, conn: ConnId, ends: Ends) {
        let strikes = self.strikes(self.setup.faults.slack, "fault: slack after a pause");
        let arrived = self.wires.get(ends.wire).map_or(0, |wire| wire.flows[1 - ends.side].arrived.len());
        let slack = if strikes { self.chance.faults.between(0, arrived.min(READ_SLACK) as u64) } else { 0 };
        if let Some(found) = self.core_mut(node, core).desk.conn(conn) {
            found.slack = slack as usize;
        }
    }

    /// Moves what has arrived to what is kept; gives how many bytes.
    fn take_in(&mut self, node: NodeId, core: CoreId, conn: ConnId, ends: Ends) -> usize {
        let most = if self.strikes(self.setup.faults.cut, "fault: short read") {
            self.chance.faults.between(1, 9)
        } else {
            RECEIVE_MAX
        };
        let now = self.now_on(node).at;
        let found = &mut self.nodes[usize::from(node.0)].cores[core.index()];
        let Some(conn) = found.desk.conn(conn) else { return 0 };
        let most = if conn.paused { conn.slack.min(most as usize) } else { most as usize };
        let Some(wire) = self.wires.get_mut(ends.wire) else { return 0 };
        let before = conn.kept.len();
        let taken = wire.flows[1 - ends.side].take(most, &mut conn.kept);
        if taken > 0 {
            conn.received_at = now;
            if conn.paused {
                conn.slack -= taken;
            }
            self.trace.bytes(&conn.kept[before..]);
            self.pump(ends.wire, 1 - ends.side);
            if let Some(Holder::Child(_, child, _)) =
                self.wires.get(ends.wire).map(|wire| wire.ends[1 - ends.side])
            {
                self.child_has_room(node, child);
            }
        }
        taken
    }

    /// Shows the shard what is kept.
    fn bring(&mut self, node: NodeId, core: CoreId, conn: ConnId) {
        let hold = self.strikes(self.setup.faults.hold, "fault: held input");
        let Some(found) = self.core_mut(node, core).desk.conn(conn) else { return };
        let kept = core::mem::take(&mut found.kept);
        let (need, received_at, sent_at) =
            (core::mem::take(&mut found.need), found.received_at, found.sent_at);
        let held = need >= machine::blob::BLOB_MIN || (need > 0 && hold);
        let who = (conn.0.to_bits(), kept.len() as u64);
        // The rest comes by itself, behind the buffer that was waited for.
        let split = if held && self.chance.faults.below(2) == 0 { need } else { kept.len() };
        let (mut rest, need) = if held {
            let blob = Blob::from(kept[..split].to_vec());
            let mut input = Input::held(&blob, received_at, sent_at);
            self.call(node, core, "on_bytes held", who, |shard, now, out| {
                shard.on_bytes(now, conn, &mut input, out);
            });
            let (used, need) = input.outcome();
            (blob[used..].to_vec(), need)
        } else {
            let mut input = Input::lent(&kept, received_at, sent_at);
            self.call(node, core, "on_bytes", who, |shard, now, out| {
                shard.on_bytes(now, conn, &mut input, out);
            });
            let (used, need) = input.outcome();
            (kept[used..].to_vec(), need)
        };
        rest.extend_from_slice(&kept[split..]);
        let most = self.setup.limits.input_max;
        let desk = &mut self.core_mut(node, core).desk;
        let Some(found) = desk.conn(conn) else { return };
        let unused = rest.len();
        found.kept = rest;
        found.need = need;
        if split < kept.len() {
            found.again = true;
            desk.activate(conn);
        }
        if unused > most && need < machine::blob::BLOB_MIN {
            desk.ends(conn, Why::Overfull);
        }
    }

    fn serve_half(&mut self, node: NodeId, core: CoreId, conn: ConnId) {
        let Some(found) = self.core_mut(node, core).desk.conn(conn) else { return };
        let (Some(ends), true, None) = (found.ends, found.open, found.gone) else { return };
        let told = found.half_told;
        if found.again && !found.paused {
            // Not before all that they said was brought.
            return;
        }
        let Some(wire) = self.wires.get(ends.wire) else { return };
        let flow = &wire.flows[1 - ends.side];
        if !flow.fin_arrived || !flow.arrived.is_empty() {
            return;
        }
        if !told {
            if let Some(found) = self.core_mut(node, core).desk.conn(conn) {
                found.half_told = true;
            }
            self.call(node, core, "on_end half", (conn.0.to_bits(), 0), |shard, now, out| {
                shard.on_end(now, conn, End::Half, out);
            });
        }
        self.settle(ends.wire);
    }
}

fn gone_by(why: Why) -> &'static str {
    match why {
        Why::Closed => "on_end closed",
        Why::Reset => "on_end reset",
        Why::Refused => "on_end refused",
        Why::Unreachable => "on_end unreachable",
        Why::TimedOut => "on_end timed out",
        Why::Overfull => "on_end overfull",
        Why::Untrusted => "on_end untrusted",
        Why::Exhausted => "on_end exhausted",
        Why::Broken => "on_end broken",
    }
}
