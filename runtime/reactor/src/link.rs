//! Links: how the cores of one node speak with those of another. Each core dials every other node once and sends
//! what it says there over that one connection, so what it said arrives in order; the node that accepted hands
//! each message to the lane of the core it is for. What is lost with a link is lost; the shard is told, and the
//! link is dialled again with growing patience.

use crate::conn::{Left, Owner, Stage};
use crate::io::{Happening, Io};
use machine::{
    Blob, ConnId, CoreId, Dial, Instant, Link, ListenerId, Listening, NodeId, Opened, Peer, TimerId, Why,
};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use wire::Outcome;
use wire::link::{self, Hello};
use wire::peer::{Batch, Message};

/// The internal timer for dialling again.
pub(crate) const REDIAL_TIMER: TimerId = TimerId(3);
/// The first and the longest wait before a link is dialled again; it doubles in between.
const REDIAL_FIRST: Duration = Duration::from_millis(20);
const REDIAL_MOST: Duration = Duration::from_secs(2);
/// How long a dial and its hello may take.
const DIAL_PATIENCE: Duration = Duration::from_secs(5);

/// The other nodes, as every core of this one knows them.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// Where links to this node are accepted.
    pub at: SocketAddr,
    /// The version of what nodes of this system say to each other.
    pub version: u16,
    /// Every other node and where it accepts links.
    pub nodes: Vec<(NodeId, SocketAddr)>,
}

/// One core's links.
pub(crate) struct Links {
    system: &'static str,
    neighbours: Option<Neighbours>,
    door: Option<ListenerId>,
    ours: Vec<Outgoing>,
    roles: BTreeMap<ConnId, Role>,
}

struct Outgoing {
    node: NodeId,
    at: SocketAddr,
    conn: Option<ConnId>,
    is_up: bool,
    failures: u32,
    redial_at: Option<Instant>,
}

#[derive(Clone, Copy)]
enum Role {
    /// We dialled it: the place among `ours`.
    Ours(usize),
    /// They dialled it; who they are once they said so.
    Theirs(Option<Peer>),
}

impl Links {
    pub(crate) fn new(system: &'static str, neighbours: Option<Neighbours>) -> Self {
        let nodes = neighbours.as_ref().map_or(&[][..], |known| &known.nodes);
        let ours = nodes
            .iter()
            .map(|&(node, at)| Outgoing { node, at, conn: None, is_up: false, failures: 0, redial_at: None })
            .collect();
        Self { system, neighbours, door: None, ours, roles: BTreeMap::new() }
    }

    fn version(&self) -> u16 {
        self.neighbours.as_ref().map_or(0, |known| known.version)
    }
}

impl<Said: Message> Io<Said> {
    /// Accepts links and dials every other node.
    pub(crate) fn start_links(&mut self) {
        let Some(at) = self.links.neighbours.as_ref().map(|known| known.at) else { return };
        self.links.door = Some(self.start_listening(at.into()));
        for index in 0..self.links.ours.len() {
            self.dial_link(index);
        }
    }

    /// Whether a connection came in at the door for links.
    pub(crate) fn is_link_door(&self, how: &Opened) -> bool {
        matches!(how, Opened::Accepted { listener, .. } if Some(*listener) == self.links.door)
    }

    /// Whether this is the door for links: its listening is no affair of the shard's.
    pub(crate) fn is_link_listener(&self, listener: ListenerId, what: &Listening) -> bool {
        if Some(listener) != self.links.door {
            return false;
        }
        if let Listening::Failed(why) = what {
            panic!("links cannot be accepted: {why}");
        }
        true
    }

    fn dial_link(&mut self, index: usize) {
        let by = self.now.at + DIAL_PATIENCE;
        let to = self.links.ours[index].at.into();
        let conn = self.dial_for(Owner::Link, Dial { to, from: None, tls: None, by });
        self.links.ours[index].conn = Some(conn);
        self.links.ours[index].redial_at = None;
        self.links.roles.insert(conn, Role::Ours(index));
    }

    /// A connection at the door for links is one.
    pub(crate) fn adopt_link(&mut self, conn: ConnId) {
        if let Some(held) = self.conns.get_mut(conn.0) {
            held.owner = Owner::Link;
            self.links.roles.insert(conn, Role::Theirs(None));
        }
    }

    /// A dialled link is connected: say who we are.
    pub(crate) fn link_opened(&mut self, conn: ConnId) {
        self.say_hello(conn);
    }

    fn hello(&self) -> Hello<'static> {
        let (node, core) = (self.seat.node.0, self.seat.core.0);
        Hello { system: self.links.system, version: self.links.version(), node, core }
    }

    fn say_hello(&mut self, conn: ConnId) {
        let mut bytes = Vec::new();
        link::write_hello(&mut bytes, &self.hello());
        self.put(conn, &bytes);
    }

    /// Reads what a link brought; gives what is left of it.
    pub(crate) fn read_link(&mut self, conn: ConnId, mut left: Left) -> Left {
        let Some(&role) = self.links.roles.get(&conn) else { return left };
        let read = match role {
            Role::Ours(index) if self.links.ours[index].is_up => {
                // Whoever accepted has nothing more to say on this connection.
                if left.len() > 0 { Err(Why::Broken) } else { Ok(0) }
            }
            Role::Ours(_) | Role::Theirs(None) => self.read_hello(conn, role, left.bytes()),
            Role::Theirs(Some(peer)) => self.read_messages(peer, left.bytes()),
        };
        match read {
            Ok(used) => left.used(used),
            Err(why) => self.lose(conn, why),
        }
        let learnt =
            matches!((role, self.links.roles.get(&conn)), (Role::Theirs(None), Some(Role::Theirs(Some(_)))));
        if learnt && left.len() > 0 { self.read_link(conn, left) } else { left }
    }

    fn read_hello(&mut self, conn: ConnId, role: Role, bytes: &[u8]) -> Result<usize, Why> {
        match link::read_hello(bytes, &self.hello()) {
            Outcome::Partial { .. } => Ok(0),
            Outcome::Fault(refusal) => {
                eprintln!("{}: a link was refused: {refusal}", self.links.system);
                Err(Why::Untrusted)
            }
            Outcome::Done { value, used } => {
                match role {
                    Role::Ours(index) => {
                        let ours = &mut self.links.ours[index];
                        if NodeId(value.node) != ours.node {
                            return Err(Why::Untrusted);
                        }
                        (ours.is_up, ours.failures) = (true, 0);
                        let up = Link::Up { version: u32::from(value.version) };
                        self.happenings.push_back(Happening::Link(ours.node, up));
                    }
                    Role::Theirs(_) => {
                        let peer = Peer::Node(NodeId(value.node), CoreId(value.core));
                        self.links.roles.insert(conn, Role::Theirs(Some(peer)));
                        self.say_hello(conn);
                    }
                }
                Ok(used)
            }
        }
    }

    /// Hands whole messages to the lanes of the cores they are for; gives the bytes used.
    fn read_messages(&mut self, from: Peer, bytes: &[u8]) -> Result<usize, Why> {
        let limits = self.limits.link;
        let mut used = 0;
        let mut parcels: BTreeMap<u16, (Batch, Vec<Blob>)> = BTreeMap::new();
        loop {
            match link::read(&bytes[used..], &limits) {
                Outcome::Partial { .. } => break,
                Outcome::Fault(_) => return Err(Why::Broken),
                Outcome::Done { value, used: count } => {
                    if value.to >= self.seat.cores {
                        return Err(Why::Broken);
                    }
                    let (batch, blobs) = parcels.entry(value.to).or_default();
                    batch.carry(value.archive, value.blob.is_some());
                    blobs.extend(value.blob.map(|blob| Blob::from(blob.to_vec())));
                    used += count;
                }
            }
        }
        for (to, (batch, blobs)) in parcels {
            // From here on it is trusted like what this process wrote.
            if batch.heard::<Said>().any(|heard| heard.is_err()) {
                return Err(Why::Broken);
            }
            self.lanes.relay(from, CoreId(to), batch, blobs);
        }
        Ok(used)
    }

    /// Says something to a core of another node.
    pub(crate) fn send_over_link(&mut self, node: NodeId, core: CoreId, said: &Said, blob: Option<Blob>) {
        let up = self.links.ours.iter().find(|ours| ours.node == node && ours.is_up);
        let Some(conn) = up.and_then(|ours| ours.conn) else { return };
        let mut batch = Batch::new();
        said.write(&mut batch, blob.is_some());
        let envelope = batch.envelopes().next().expect("one was written");
        let header = link::header(core.0, envelope.archive.len(), blob.as_ref().map(|blob| blob.len()));
        self.put(conn, &header);
        self.put(conn, envelope.archive);
        if let Some(blob) = blob {
            self.put_blob(conn, blob);
        }
        let most = self.limits.link_max;
        if self.conns.get(conn.0).is_some_and(|held| held.output.waiting() > most) {
            self.lose(conn, Why::Overfull);
        }
    }

    /// A link's connection ended, however.
    pub(crate) fn link_ended(&mut self, conn: ConnId, why: Why) {
        if self.conns.get(conn.0).is_some_and(|held| held.stage != Stage::Dead) {
            self.kill(conn);
        }
        let Some(Role::Ours(index)) = self.links.roles.remove(&conn) else { return };
        let ours = &mut self.links.ours[index];
        ours.conn = None;
        let wait = REDIAL_FIRST.saturating_mul(1 << ours.failures.min(10)).min(REDIAL_MOST);
        ours.failures += 1;
        ours.redial_at = Some(self.now.at + wait);
        if std::mem::take(&mut ours.is_up) {
            self.happenings.push_back(Happening::Link(ours.node, Link::Down(why)));
        }
        self.plan_redial();
    }

    fn plan_redial(&mut self) {
        let next = self.links.ours.iter().filter_map(|ours| ours.redial_at).min();
        self.patience.set(REDIAL_TIMER, next);
    }

    /// Dials again what is due.
    pub(crate) fn redial_links(&mut self) {
        for index in 0..self.links.ours.len() {
            if self.links.ours[index].redial_at.is_some_and(|at| at <= self.now.at) {
                self.dial_link(index);
            }
        }
        self.plan_redial();
    }
}
