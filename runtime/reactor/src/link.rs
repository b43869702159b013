//! Links: how the cores of one node speak with those of another. Each core dials every other node once and sends
//! what it says there over that one connection, so what it said arrives in order; the node that accepted hands
//! each message to the lane of the core it is for. What is lost with a link is lost; the shard is told, and the
//! link is dialled again with growing patience.
//!
//! The hard thing is that silence is no end: a network that is cut says nothing. So the kernel is told to give a link
//! up when what was sent is not acknowledged for [`SILENCE`], and to ask when nothing was sent.

mod greet;

use crate::conn::{Left, Owner, Stage};
use crate::io::{Happening, Io, patience_of};
use greet::Greeting;
use machine::{
    Blob, ConnId, CoreId, Dial, Instant, Link, ListenerId, Listening, NodeId, Opened, Peer, TimerId, Why,
};
use socket2::{SockRef, TcpKeepalive};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use wire::Outcome;
use wire::link;
use wire::peer::{Batch, Message};
use wire::proof::Key;

/// The internal timer for dialling again.
pub(crate) const REDIAL_TIMER: TimerId = TimerId(3);
/// The first and the longest wait before a link is dialled again; it doubles in between.
const REDIAL_FIRST: Duration = Duration::from_millis(20);
const REDIAL_MOST: Duration = Duration::from_secs(1);
/// How long a dial may take. The kernel tries after 0, 1 and 3 seconds, so what is cut is tried twice.
const DIAL_PATIENCE: Duration = Duration::from_secs(2);
/// How long who connected may take to say and prove who they are.
const GREETING_PATIENCE: Duration = Duration::from_secs(3);
/// How long the other end may acknowledge nothing. Longer than a machine that swaps, shorter than people wait.
const SILENCE: Duration = Duration::from_secs(3);
/// Links that have not yet said who they are; one more ends at once.
const STRANGERS_MAX: usize = 256;
/// The same sentence about the same node is not said again within this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The other nodes, as every core of this one knows them.
#[derive(Clone, Debug)]
pub struct Neighbours {
    /// Where links to this node are accepted.
    pub at: SocketAddr,
    /// The version of what nodes of this system say to each other.
    pub version: u16,
    /// Every other node and where it accepts links.
    pub nodes: Vec<(NodeId, SocketAddr)>,
    /// What a node must know to be one of ours; without it, whoever reaches the port is believed.
    pub key: Option<Key>,
}

/// One core's links.
pub(crate) struct Links {
    system: &'static str,
    warn: fn(&str),
    neighbours: Option<Neighbours>,
    door: Option<ListenerId>,
    ours: Vec<Outgoing>,
    roles: BTreeMap<ConnId, Role>,
    /// What was said last about whom, and when; about all who are not known together.
    complaints: BTreeMap<Option<NodeId>, (String, Instant)>,
}

struct Outgoing {
    node: NodeId,
    at: SocketAddr,
    conn: Option<ConnId>,
    is_up: bool,
    failures: u32,
    redial_at: Option<Instant>,
}

enum Role {
    /// We dialled it: the place among `ours`, and how far the greeting is.
    Ours(usize, Greeting),
    /// They dialled it, and who they are is not yet known.
    Stranger(Greeting),
    /// They dialled it.
    Theirs(Peer),
}

impl Links {
    pub(crate) fn new(system: &'static str, neighbours: Option<Neighbours>, warn: fn(&str)) -> Self {
        let nodes = neighbours.as_ref().map_or(&[][..], |known| &known.nodes);
        let ours = nodes
            .iter()
            .map(|&(node, at)| Outgoing { node, at, conn: None, is_up: false, failures: 0, redial_at: None })
            .collect();
        let (roles, complaints) = (BTreeMap::new(), BTreeMap::new());
        Self { system, warn, neighbours, door: None, ours, roles, complaints }
    }

    fn version(&self) -> u16 {
        self.neighbours.as_ref().map_or(0, |known| known.version)
    }

    fn key(&self) -> Option<&Key> {
        self.neighbours.as_ref().and_then(|known| known.key.as_ref())
    }

    /// Says why there is no link, once and then once a minute: it is tried again and again.
    fn complain(&mut self, now: Instant, about: Option<NodeId>, sentence: &str) {
        let said = self.complaints.get(&about);
        let soon = |at: Instant, span| now.since(at) < span;
        // What strangers say is theirs to choose, so it does not make a sentence new.
        if said.is_some_and(|(last, at)| soon(*at, COMPLAIN_EVERY) && (about.is_none() || last == sentence)) {
            return;
        }
        let whose = about.map_or_else(|| "a link".to_owned(), |node| format!("the link to node {}", node.0));
        (self.warn)(&format!("{}: {whose} was refused: {sentence}", self.system));
        self.complaints.insert(about, (sentence.to_owned(), now));
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
        let greeting = self.greeting();
        self.links.roles.insert(conn, Role::Ours(index, greeting));
    }

    /// A connection at the door for links is one.
    pub(crate) fn adopt_link(&mut self, conn: ConnId) {
        let strangers = self.links.roles.values().filter(|role| matches!(role, Role::Stranger(_))).count();
        let greeting = self.greeting();
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        held.owner = Owner::Link;
        if strangers >= STRANGERS_MAX {
            return self.lose(conn, Why::Exhausted);
        }
        self.links.roles.insert(conn, Role::Stranger(greeting));
        self.prepare(conn);
    }

    /// A dialled link is connected: say who we are.
    pub(crate) fn link_opened(&mut self, conn: ConnId) {
        self.prepare(conn);
        if let Some(Role::Ours(_, greeting)) = self.links.roles.get(&conn) {
            let hello = greeting.hello();
            self.put(conn, &hello);
        }
    }

    /// Bounds how long the greeting may take, and how long the other end may be silent after it.
    fn prepare(&mut self, conn: ConnId) {
        self.patience.set(patience_of(conn), Some(self.now.at + GREETING_PATIENCE));
        let Some(fd) = self.conns.get(conn.0).and_then(|held| held.fd.as_ref()) else { return };
        let socket = SockRef::from(fd);
        let keepalive =
            TcpKeepalive::new().with_time(Duration::from_secs(1)).with_interval(Duration::from_secs(1));
        // A kernel that knows neither option has longer patience; that is all.
        let _ = socket.set_tcp_keepalive(&keepalive);
        let _ = socket.set_tcp_user_timeout(Some(SILENCE));
    }

    /// Reads what a link brought; gives what is left of it.
    pub(crate) fn read_link(&mut self, conn: ConnId, mut left: Left) -> Left {
        loop {
            let Some(role) = self.links.roles.get(&conn) else { return left };
            let read = match role {
                Role::Ours(index, _) if self.links.ours[*index].is_up => {
                    // Whoever accepted has nothing more to say on this connection.
                    if left.len() > 0 { Err(Why::Broken) } else { Ok(0) }
                }
                Role::Ours(..) => self.greet(conn, left.bytes()),
                Role::Stranger(_) => self.greeted(conn, left.bytes()),
                Role::Theirs(peer) => self.read_messages(*peer, left.bytes()),
            };
            match read {
                Ok(0) => return left,
                Ok(used) => left.used(used),
                Err(why) => {
                    self.lose(conn, why);
                    return left;
                }
            }
            if left.len() == 0 {
                return left;
            }
        }
    }

    /// A link of ours can be used.
    fn link_is_up(&mut self, conn: ConnId, index: usize, version: u16) {
        self.patience.set(patience_of(conn), None);
        let ours = &mut self.links.ours[index];
        (ours.is_up, ours.failures) = (true, 0);
        self.links.complaints.remove(&Some(ours.node));
        self.happenings.push_back(Happening::Link(ours.node, Link::Up { version: u32::from(version) }));
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
        let Some(Role::Ours(index, _)) = self.links.roles.remove(&conn) else { return };
        let ours = &mut self.links.ours[index];
        ours.conn = None;
        let wait = REDIAL_FIRST.saturating_mul(1 << ours.failures.min(10)).min(REDIAL_MOST);
        // Who was refused will be refused again until somebody does something.
        let wait = if why == Why::Untrusted { REDIAL_MOST } else { wait };
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
