//! Links between nodes, as data: which two nodes hear each other, and what is on its way between them. A link
//! lives from its Up to its Down; what was on its way then is lost. Cutting one way is worse than cutting both:
//! one side goes on believing for a while.

use crate::desk::Parcel;
use machine::{CoreId, Instant, NodeId};
use std::collections::{BTreeMap, VecDeque};

/// What travels on a link: who says it, to whom.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) at: Instant,
    pub(crate) from: CoreId,
    pub(crate) to: CoreId,
    pub(crate) parcel: Parcel,
}

/// One direction between two nodes.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// Nothing passes.
    pub(crate) cut: bool,
    /// The sending side believes that the link is up.
    pub(crate) up: bool,
    /// It is over, and the sending side does not know yet.
    pub(crate) dead: bool,
    pub(crate) flying: VecDeque<Sent>,
    pub(crate) waiting: usize,
    pub(crate) last_at: Instant,
}

/// All ways by (from, to).
#[derive(Debug, Default)]
pub(crate) struct Links {
    pub(crate) ways: BTreeMap<(NodeId, NodeId), Way>,
    /// Which life of the link between two nodes (lower first) this is.
    pub(crate) lives: BTreeMap<(NodeId, NodeId), u64>,
}

/// Two nodes, the lower first.
pub(crate) fn pair(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

impl Links {
    pub(crate) fn way(&mut self, from: NodeId, to: NodeId) -> &mut Way {
        self.ways.entry((from, to)).or_default()
    }

    pub(crate) fn life(&self, one: NodeId, other: NodeId) -> u64 {
        self.lives.get(&pair(one, other)).copied().unwrap_or(0)
    }

    /// Ends this life: whatever is on its way is lost.
    pub(crate) fn end_life(&mut self, one: NodeId, other: NodeId) {
        *self.lives.entry(pair(one, other)).or_default() += 1;
        for (from, to) in [(one, other), (other, one)] {
            let way = self.way(from, to);
            way.flying.clear();
            way.waiting = 0;
        }
    }

    pub(crate) fn is_cut(&self, one: NodeId, other: NodeId) -> bool {
        [(one, other), (other, one)].iter().any(|ways| self.ways.get(ways).is_some_and(|way| way.cut))
    }
}
