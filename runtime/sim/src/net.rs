//! Byte streams between two ends, as data: what waits at the sender, what flies, what has arrived and was not
//! taken. The window bounds what flies and has arrived together, so a receiver that does not read fills its
//! sender, as TCP does.

use machine::{Address, ChildId, ConnId, CoreId, Instant, NodeId, PipeKind, Why};
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Who holds an end of a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Shard(NodeId, CoreId, ConnId),
    Client(usize),
    Child(NodeId, ChildId, PipeKind),
    /// Nobody listens any more, and what still waits is sent: a connection closed, flushed.
    Lingering,
    /// Nobody at all.
    Nobody,
    /// A core that is yet to be told of it: what comes waits. A child prints before its start is told.
    Coming,
}

/// What flies.
#[derive(Debug)]
pub(crate) enum Packet {
    Bytes(Vec<u8>),
    Fin,
    Reset(Why),
}

/// One direction of a wire.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    pub(crate) waiting: VecDeque<u8>,
    /// After what waits, nothing more is said.
    pub(crate) fin_wanted: bool,
    pub(crate) fin_sent: bool,
    pub(crate) flying: VecDeque<(Instant, Packet)>,
    pub(crate) flying_bytes: usize,
    pub(crate) arrived: VecDeque<u8>,
    pub(crate) fin_arrived: bool,
    pub(crate) last_at: Instant,
}

impl Flow {
    /// Bytes that the receiver's window counts.
    pub(crate) fn in_window(&self) -> usize {
        self.flying_bytes + self.arrived.len()
    }

    /// Takes at most `count` bytes that have arrived.
    pub(crate) fn take(&mut self, count: usize, into: &mut Vec<u8>) -> usize {
        let count = count.min(self.arrived.len());
        move_front(&mut self.arrived, count, into);
        count
    }
}

/// Moves the first `count` bytes, which are there.
pub(crate) fn move_front(from: &mut VecDeque<u8>, count: usize, into: &mut Vec<u8>) {
    // By slices: byte by byte it would be most of what a run of megabytes costs.
    let (front, back) = from.as_slices();
    let of_front = count.min(front.len());
    into.extend_from_slice(&front[..of_front]);
    into.extend_from_slice(&back[..count - of_front]);
    from.drain(..count);
}

/// Two ends; `flows[i]` leads from end i to the other.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) ends: [Holder; 2],
    pub(crate) flows: [Flow; 2],
    pub(crate) window: usize,
}

impl Wire {
    pub(crate) fn new(one: Holder, other: Holder, window: usize) -> Self {
        Self { ends: [one, other], flows: [Flow::default(), Flow::default()], window }
    }
}

/// The address of a node.
pub(crate) fn ip_of(node: NodeId) -> IpAddr {
    let [high, low] = (node.0 + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
}

/// Whether what `dialled` names, seen from `from`, is the listener `bound` of `node`.
pub(crate) fn reaches(from: NodeId, dialled: &Address, node: NodeId, bound: &Address) -> bool {
    match (dialled, bound) {
        (Address::Ip(to), Address::Ip(at)) if to.port() == at.port() => {
            let here = (to.ip().is_loopback() || to.ip().is_unspecified()) && from == node;
            let open = at.ip().is_unspecified() || at.ip() == to.ip() || to.ip().is_unspecified();
            let named = to.ip() == ip_of(node);
            (here && (open || at.ip().is_loopback())) || (named && (open || at.ip().is_loopback()))
        }
        (Address::Unix(to), Address::Unix(at)) => from == node && to == at,
        (Address::Name(host, port), Address::Ip(at)) => {
            at.port() == *port && ((&**host == "localhost" && from == node) || **host == *name_of(node))
        }
        _ => false,
    }
}

/// The host name of a node.
pub(crate) fn name_of(node: NodeId) -> String {
    format!("node{}", node.0)
}

/// Where a client with this number is who reached the listener `bound`: on the node itself, where nobody else can.
pub(crate) fn address_of(client: usize, bound: &Address) -> Address {
    let port = 1024 + (client % 60_000) as u16;
    let is_here = matches!(bound, Address::Ip(at) if at.ip().is_loopback());
    let ip = if is_here { Ipv4Addr::LOCALHOST } else { Ipv4Addr::new(10, 1, 0, 1) };
    Address::Ip(SocketAddr::new(IpAddr::V4(ip), port))
}
