//! Which node of a cluster a request goes to, and what waits for a free connection there. A server that holds slots
//! answers a request for another's with `MOVED` or `ASK`; the request is then sent again, once, to the node named,
//! and the time it took to find that out is the server's answer time like any other: nothing of it is left out.
//!
//! The one hard thing is a node that has no room while others have: its requests wait here with the times they
//! had, so that they are neither forgotten nor in the way of others, in a bound of as many as may be in flight.

use crate::session::Asked;
use machine::Instant;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Slots of a cluster.
pub const SLOTS: usize = 16_384;
/// The most nodes; a map that names more is not followed.
pub const NODES_MAX: usize = 1024;
/// How often one request is sent on before it counts as failed.
pub const LEGS_MAX: u8 = 16;

/// Where a server says that a request should have gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The slot.
    pub slot: u16,
    /// The node.
    pub to: SocketAddr,
    /// Whether only this request (`ASK`), or all of the slot from now on.
    pub once: bool,
}

impl Redirect {
    /// What the text of a refusal says, where it is a redirect to an address.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(text).ok()?;
        let mut words = text.split(' ');
        let once = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let slot = words.next()?.parse().ok().filter(|slot| usize::from(*slot) < SLOTS)?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let to = SocketAddr::new(host.parse().ok()?, port.parse().ok()?);
        Some(Self { slot, to, once })
    }
}

/// A request that waits for room at its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// What is asked.
    pub asked: Asked,
    /// Whether it is to be let in by `ASKING`.
    pub asking: bool,
}

/// What one core knows of a cluster.
#[derive(Clone, Debug)]
pub struct Routing {
    owners: Box<[u16]>,
    nodes: Vec<SocketAddr>,
    waiting: Vec<VecDeque<Waiting>>,
    count: usize,
}

impl Routing {
    /// These nodes, and for each slot the node that has it.
    ///
    /// # Panics
    /// When a slot's owner is no node, or there are not [`SLOTS`].
    #[must_use]
    pub fn new(nodes: &[SocketAddr], owners: &[u16]) -> Self {
        assert_eq!(owners.len(), SLOTS, "every slot has an owner");
        assert!(owners.iter().all(|owner| usize::from(*owner) < nodes.len()), "owners are nodes");
        let waiting = nodes.iter().map(|_| VecDeque::new()).collect();
        Self { owners: owners.into(), nodes: nodes.to_vec(), waiting, count: 0 }
    }

    /// How many nodes are known.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The address of this node.
    #[must_use]
    pub fn address(&self, node: u16) -> SocketAddr {
        self.nodes[usize::from(node)]
    }

    /// The node that has the slot of this key.
    #[must_use]
    pub fn owner(&self, key: &[u8]) -> u16 {
        self.owners[usize::from(slot_of(key))]
    }

    /// Learns from a redirect: the node it names, and whether that was unknown. None when there are too many.
    pub fn learn(&mut self, redirect: Redirect) -> Option<(u16, bool)> {
        let known = self.nodes.iter().position(|node| *node == redirect.to);
        let (node, new) = match known {
            Some(node) => (node, false),
            None if self.nodes.len() >= NODES_MAX => return None,
            None => {
                self.nodes.push(redirect.to);
                self.waiting.push(VecDeque::new());
                (self.nodes.len() - 1, true)
            }
        };
        if !redirect.once {
            self.owners[usize::from(redirect.slot)] = node as u16;
        }
        Some((node as u16, new))
    }

    /// How many wait, for all nodes.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.count
    }

    /// This waits for room at that node, behind those that do.
    pub fn wait(&mut self, node: u16, waiting: Waiting) {
        self.waiting[usize::from(node)].push_back(waiting);
        self.count += 1;
    }

    /// This was sent on and goes before those that wait.
    pub fn wait_first(&mut self, node: u16, waiting: Waiting) {
        self.waiting[usize::from(node)].push_front(waiting);
        self.count += 1;
    }

    /// The first that waits for this node, taken.
    pub fn take(&mut self, node: u16) -> Option<Waiting> {
        let first = self.waiting[usize::from(node)].pop_front()?;
        self.count -= 1;
        Some(first)
    }

    /// Takes away those that have waited since before `then`, and gives them.
    pub fn expire(&mut self, then: Instant) -> Vec<Asked> {
        let mut gone = Vec::new();
        for queue in &mut self.waiting {
            queue.retain(|waiting| {
                let stays = waiting.asked.sent >= then;
                if !stays {
                    gone.push(waiting.asked);
                }
                stays
            });
        }
        self.count -= gone.len();
        gone
    }
}

/// The slot of a key: CRC16 (XMODEM) of what stands in its first braces, where something does, else of all of it.
#[must_use]
pub fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    let crc = tag
        .unwrap_or(key)
        .iter()
        .fold(0_u16, |crc, byte| crc << 8 ^ CRC[usize::from((crc >> 8) as u8 ^ byte)]);
    crc % SLOTS as u16
}

const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_every_cluster() {
        // 0x31c3 is CRC16/XMODEM of "123456789"; the others were asked of a redis-server.
        assert_eq!(slot_of(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"{foo}bar"), 12_182);
        assert_eq!(slot_of(b"x{foo}{bar}"), 12_182);
        assert_ne!(slot_of(b"{}foo"), 12_182);
    }

    #[test]
    fn redirects_are_read_and_other_refusals_are_not() {
        let to = "127.0.0.1:7001".parse().unwrap();
        assert_eq!(Redirect::read(b"MOVED 5 127.0.0.1:7001"), Some(Redirect { slot: 5, to, once: false }));
        assert_eq!(Redirect::read(b"ASK 5 127.0.0.1:7001"), Some(Redirect { slot: 5, to, once: true }));
        assert!(Redirect::read(b"MOVED 5 [::1]:7001").is_some_and(|redirect| redirect.to.is_ipv6()));
        for other in
            [&b"MOVED"[..], b"MOVED 16384 127.0.0.1:1", b"MOVED 5 :7001", b"MOVED x y", b"ERR no", b""]
        {
            assert_eq!(Redirect::read(other), None);
        }
    }

    #[test]
    fn a_move_is_kept_and_an_ask_is_not() {
        let nodes: Vec<SocketAddr> = vec!["10.0.0.1:1".parse().unwrap(), "10.0.0.2:1".parse().unwrap()];
        let mut routing = Routing::new(&nodes, &[0; SLOTS]);
        let redirect = Redirect { slot: slot_of(b"k"), to: nodes[1], once: true };
        assert_eq!(routing.learn(redirect), Some((1, false)));
        assert_eq!(routing.owner(b"k"), 0);
        assert_eq!(routing.learn(Redirect { once: false, ..redirect }), Some((1, false)));
        assert_eq!(routing.owner(b"k"), 1);
        let stranger = "10.0.0.3:1".parse().unwrap();
        assert_eq!(routing.learn(Redirect { to: stranger, ..redirect }), Some((2, true)));
        assert_eq!((routing.nodes(), routing.address(2)), (3, stranger));
    }
}
