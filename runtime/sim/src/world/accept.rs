//! How connections come to be: listeners, dials, knocks. A knock finds a listener of a node, a server of the
//! test's, or nobody.

use super::events::Event;
use super::{Bound, World};
use crate::desk::{Conn, Ends, Told};
use crate::net::{self, Holder, Wire};
use machine::{Address, ConnId, CoreId, Dial, ListenerId, Listening, NodeId, Opened, Shard, Why};
use std::net::SocketAddr;
use wire::peer::Message;

/// Bounds of a connection's window: what flies and what has arrived, in bytes.
const WINDOW: (u64, u64) = (4 * 1024, 256 * 1024);
/// The first port given out where 0 was asked for.
const FIRST_PORT: u16 = 40_000;

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    pub(super) fn listen(&mut self, node: NodeId, core: CoreId, listener: ListenerId, at: Address) {
        let found = self.node_mut(node);
        let what = match at {
            Address::Name(..) => Listening::Failed("a name is never listened on".into()),
            at => {
                let at = with_port(at, found.listeners.len());
                match found.listeners.iter_mut().find(|bound| bound.at == at) {
                    Some(bound) => bound.by.push((core, listener)),
                    None => found.listeners.push(Bound { at: at.clone(), by: vec![(core, listener)] }),
                }
                Listening::Bound(at)
            }
        };
        self.core_mut(node, core).desk.told.push_back(Told::Listening(listener, what));
        self.rouse(node, core);
    }

    pub(super) fn dial(&mut self, node: NodeId, core: CoreId, conn: ConnId, dial: Dial) {
        let life = self.life(node);
        let by = self.time + dial.by.since(self.now_on(node).at);
        let way = self.way();
        let (at, event) = if dial.tls.is_some() {
            (self.time + way, Event::DialFails(life, core, conn, Why::Untrusted))
        } else if self.strikes(self.setup.faults.lose_dial, "fault: lost dial") {
            (by, Event::DialFails(life, core, conn, Why::TimedOut))
        } else if self.strikes(self.setup.faults.refuse, "fault: refused dial") {
            let why = if self.chance.faults.below(2) == 0 { Why::Refused } else { Why::Unreachable };
            (self.time + way, Event::DialFails(life, core, conn, why))
        } else {
            self.enter(by, Event::DialFails(life, core, conn, Why::TimedOut));
            (self.time + way, Event::Knock(Holder::Shard(node, core, conn), node, dial.to))
        };
        self.enter(at.min(by), event);
    }

    pub(super) fn dial_fails(&mut self, node: NodeId, core: CoreId, conn: ConnId, why: Why) {
        let desk = &mut self.core_mut(node, core).desk;
        if desk.conn(conn).is_some_and(|found| found.ends.is_none() && !found.open && found.gone.is_none()) {
            desk.ends(conn, why);
            self.rouse(node, core);
        }
    }

    /// Somebody at `from` wants to be connected to `at`.
    pub(super) fn knock(&mut self, who: Holder, from: NodeId, at: &Address) {
        if let Holder::Shard(node, core, conn) = who {
            let desk = &self.nodes[usize::from(node.0)].cores[core.index()].desk;
            let waits =
                desk.conns.get(conn.0).is_some_and(|found| found.ends.is_none() && found.gone.is_none());
            if !self.node(node).alive || !waits {
                return;
            }
        }
        let window = self.chance.network.between(WINDOW.0, WINDOW.1) as usize;
        if let Some((node, bound)) = self.listener(from, at) {
            if matches!(who, Holder::Shard(..)) && node != from && self.links.is_cut(from, node) {
                return;
            }
            let Some((core, listener)) = self.fewest(node, bound) else { return self.refuse(who) };
            let wire = self.wires.insert(Wire::new(who, Holder::Nobody, window));
            let address = match who {
                Holder::Client(client) => net::address_of(client, at),
                _ => Address::Ip(SocketAddr::new(net::ip_of(from), 1024 + (wire.index % 60_000) as u16)),
            };
            let how = Opened::Accepted { listener, from: address, identity: None };
            let conn = self.settle_in(node, core, Ends { wire, side: 1 }, how);
            self.wires.get_mut(wire).expect("it was just made").ends[1] = Holder::Shard(node, core, conn);
            self.connected(who, wire);
        } else if let Some(server) = self.servers.iter().position(|(address, _)| address == at) {
            let wire = self.wires.insert(Wire::new(who, Holder::Nobody, window));
            let client = self.serve_client(server, Ends { wire, side: 1 });
            self.wires.get_mut(wire).expect("it was just made").ends[1] = Holder::Client(client);
            self.connected(who, wire);
            self.server_opens(client);
        } else {
            self.refuse(who);
        }
    }

    /// A connection of this core, to be told as opened.
    pub(super) fn settle_in(&mut self, node: NodeId, core: CoreId, ends: Ends, how: Opened) -> ConnId {
        let conn = Conn { ends: Some(ends), how: Some(how), ..Conn::default() };
        let desk = &mut self.core_mut(node, core).desk;
        let conn = ConnId(desk.conns.insert(conn));
        desk.activate(conn);
        self.rouse(node, core);
        conn
    }

    fn connected(&mut self, who: Holder, wire: machine::id::Key) {
        let ends = Ends { wire, side: 0 };
        match who {
            Holder::Shard(node, core, conn) => {
                let desk = &mut self.core_mut(node, core).desk;
                if let Some(found) = desk.conn(conn) {
                    found.ends = Some(ends);
                    found.how = Some(Opened::Dialled);
                    desk.dirty.push(conn);
                    desk.activate(conn);
                }
                self.rouse(node, core);
            }
            Holder::Client(client) => self.client_opens(client, ends),
            Holder::Child(..) | Holder::Lingering | Holder::Nobody | Holder::Coming => {}
        }
    }

    fn refuse(&mut self, who: Holder) {
        let at = self.time + self.way();
        match who {
            Holder::Shard(node, core, conn) => {
                let life = self.life(node);
                self.enter(at, Event::DialFails(life, core, conn, Why::Refused));
            }
            Holder::Client(client) => self.enter(at, Event::ClientFails(client, Why::Refused)),
            Holder::Child(..) | Holder::Lingering | Holder::Nobody | Holder::Coming => {}
        }
    }

    fn listener(&self, from: NodeId, at: &Address) -> Option<(NodeId, usize)> {
        for (number, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.alive) {
            let id = NodeId(number as u16);
            let found = node.listeners.iter().position(|bound| net::reaches(from, at, id, &bound.at));
            if let Some(found) = found {
                return Some((id, found));
            }
        }
        None
    }

    /// The core that has fewest connections of those that listen there and still accept.
    fn fewest(&self, node: NodeId, bound: usize) -> Option<(CoreId, ListenerId)> {
        let cores = &self.node(node).cores;
        let max = self.setup.limits.connections_max;
        let open = self.node(node).listeners[bound].by.iter().filter(|(core, _)| {
            let desk = &cores[core.index()].desk;
            !desk.draining && desk.conns.len() < max
        });
        open.min_by_key(|(core, _)| cores[core.index()].desk.conns.len()).copied()
    }
}

fn with_port(at: Address, listeners: usize) -> Address {
    match at {
        Address::Ip(mut address) if address.port() == 0 => {
            address.set_port(FIRST_PORT + listeners as u16);
            Address::Ip(address)
        }
        other => other,
    }
}
