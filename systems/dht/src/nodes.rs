//! Static nodes: a table that is spread over processes by a list which all of them, and their clients, were given.
//!
//! Nothing is agreed at run time: the same list and the same rule give everybody the same answer to the one question,
//! which node has this key. Two rules exist. By [`Rule::Md5Mod`] clients of the classic table compute the node
//! themselves, and a node stores what arrives. By [`Rule::Ring`] slots are shared by all cores of all nodes as
//! [`Placement`] proposes, so a list that is one node longer moves little. The hard thing is a list that differs
//! between two nodes: each would believe that the other has a key. So a list has a [fingerprint],
//! which nodes compare before one asks the other.

use core::fmt;
use machine::{CoreId, NodeId};
use md5::{Digest as _, Md5};
use state::hash::hash64;
use state::{Member, Placement, Refused, Slot};
use std::net::SocketAddr;

/// The most nodes of a list: with one core each, as many as slots are shared among.
pub const NODES_MAX: usize = state::placement::MEMBERS_MAX;

/// Seeds the fingerprint; a change of what it covers is a new number.
const FINGERPRINT_SEED: u64 = 1;

/// One process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it serves framed text.
    pub frame: SocketAddr,
    /// Where it serves RESP, if that is known: where clients that speak it are sent.
    pub resp: Option<SocketAddr>,
    /// On how many cores: at least 1. Its share of the slots, by the ring.
    pub cores: u16,
}

/// Which node has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `int(md5(key)) mod n`, the digest read as one number, its first byte the highest.
    Md5Mod,
    /// The slot's owner by the placement over all cores of all nodes.
    Ring,
}

/// A list of nodes with its rule, ready to be asked.
#[derive(Debug)]
pub struct Nodes {
    nodes: Vec<Node>,
    by: By,
}

#[derive(Debug)]
enum By {
    Md5Mod,
    Ring(Placement),
}

impl Nodes {
    /// The nodes, by id from 0.
    ///
    /// # Errors
    /// When there are none or too many, or too many cores for a ring.
    pub fn new(nodes: Vec<Node>, rule: Rule) -> Result<Self, Refused> {
        if nodes.is_empty() {
            return Err(Refused::Nobody);
        }
        if nodes.len() > NODES_MAX {
            return Err(Refused::TooMany);
        }
        let by = match rule {
            Rule::Md5Mod => By::Md5Mod,
            Rule::Ring => By::Ring(placement(&nodes)?),
        };
        Ok(Self { nodes, by })
    }

    /// The node that has this key.
    #[must_use]
    pub fn node_of(&self, key: &[u8]) -> NodeId {
        match &self.by {
            By::Md5Mod => NodeId(md5_mod(key, self.nodes.len())),
            By::Ring(placement) => placement.owner(Slot::of(key)).0,
        }
    }

    /// All of them, by id.
    #[must_use]
    pub fn all(&self) -> &[Node] {
        &self.nodes
    }
}

/// Who shares the slots of these nodes, proposed.
///
/// # Errors
/// When there are no cores or too many.
pub fn placement(nodes: &[Node]) -> Result<Placement, Refused> {
    let members: Vec<Member> = nodes
        .iter()
        .zip(0..)
        .flat_map(|(node, id)| (0..node.cores).map(move |core| (NodeId(id), CoreId(core))))
        .collect();
    Placement::propose(&members)
}

/// One number for what nodes must agree on before one asks the other: who has which part of the ring, and where.
#[must_use]
pub fn fingerprint(nodes: &[Node]) -> u64 {
    let text: String = nodes.iter().map(|node| format!("{} {}\n", node.frame, node.cores)).collect();
    hash64(text.as_bytes(), FINGERPRINT_SEED)
}

/// `int(md5(key)) mod count`. Not for secrets: MD5 is here because clients of the classic table compute it.
fn md5_mod(key: &[u8], count: usize) -> u16 {
    let digest: [u8; 16] = Md5::digest(key).into();
    (u128::from_be_bytes(digest) % count as u128) as u16
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Md5Mod => "md5-mod",
            Self::Ring => "ring",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(cores: &[u16]) -> Vec<Node> {
        let at = |id: u16| SocketAddr::from(([127, 0, 0, 1], 5050 + id));
        (0..).zip(cores).map(|(id, cores)| Node { frame: at(id), resp: None, cores: *cores }).collect()
    }

    #[test]
    fn keys_are_where_clients_of_the_classic_table_look() {
        #[track_caller]
        fn check(key: &str, count: usize, expected: u16) {
            let nodes = Nodes::new(nodes(&vec![1; count]), Rule::Md5Mod).expect("there are some");
            assert_eq!(nodes.node_of(key.as_bytes()), NodeId(expected), "{key} of {count}");
        }
        check("100000", 8, 3);
        check("199999", 8, 1);
        check("200000", 8, 3);
        check("899999", 8, 3);
        check("123456", 8, 6);
        check("abc", 8, 2);
        check("abc", 1, 0);
        check("abc", 3, 1);
        check("abc", 10, 0);
    }

    #[test]
    fn on_the_ring_a_node_has_what_its_cores_own() {
        let all = nodes(&[1, 3]);
        let of_cores = placement(&all).expect("there are some");
        let ring = Nodes::new(all, Rule::Ring).expect("there are some");
        let mut counts = [0, 0];
        for number in 100_000..110_000 {
            let key = number.to_string();
            let node = ring.node_of(key.as_bytes());
            assert_eq!(node, of_cores.owner(Slot::of(key.as_bytes())).0);
            counts[usize::from(node.0)] += 1;
        }
        assert!((2_000..3_000).contains(&counts[0]), "a quarter of the cores has {} of 10,000", counts[0]);
    }

    #[test]
    fn a_fingerprint_tells_lists_apart() {
        let one = nodes(&[1, 1]);
        let mut moved = one.clone();
        moved.swap(0, 1);
        let mut told = one.clone();
        told[0].resp = Some(SocketAddr::from(([127, 0, 0, 1], 6379)));
        assert_ne!(fingerprint(&one), fingerprint(&moved));
        assert_ne!(fingerprint(&one), fingerprint(&nodes(&[1, 2])));
        assert_ne!(fingerprint(&one), fingerprint(&nodes(&[1])));
        assert_eq!(fingerprint(&one), fingerprint(&told), "where RESP is spoken is no part of it");
    }

    #[test]
    fn nobody_and_too_many_are_refused() {
        assert_eq!(Nodes::new(Vec::new(), Rule::Md5Mod).err(), Some(Refused::Nobody));
        assert_eq!(Nodes::new(nodes(&vec![1; NODES_MAX + 1]), Rule::Md5Mod).err(), Some(Refused::TooMany));
        assert_eq!(Nodes::new(nodes(&[u16::MAX]), Rule::Ring).err(), Some(Refused::TooMany));
    }
}
