//! Who and what: every id of the seam, each with a type of its own so that none is taken for another.

use core::fmt;

/// A node: one process of a system that runs on several. At most 65,535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NodeId(pub u16);

/// A core of a node, counted from zero in the order of `--cores`; not the number the kernel gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CoreId(pub u16);

impl CoreId {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a shard sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seat {
    /// The node it is on.
    pub node: NodeId,
    /// Its core there.
    pub core: CoreId,
    /// How many cores that node has: at least 1.
    pub cores: u16,
}

impl Seat {
    /// All cores of this node, in order.
    pub fn all_cores(self) -> impl Iterator<Item = CoreId> + Clone {
        (0..self.cores).map(CoreId)
    }

    /// The other cores of this node, in order.
    pub fn other_cores(self) -> impl Iterator<Item = CoreId> + Clone {
        self.all_cores().filter(move |core| *core != self.core)
    }
}

/// Who speaks in `on_peer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// A core of this node, by its lane.
    Core(CoreId),
    /// A core of another node, by its link.
    Node(NodeId, CoreId),
}

/// A place in a slab and which tenant of that place: an id whose tenant has left never names the next one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The place.
    pub index: u32,
    /// Which tenant of it; never 0.
    pub generation: u32,
}

impl Key {
    /// In one word, as the kernel's `user_data` wants it.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.generation as u64) << 32 | self.index as u64
    }

    /// The key that [`Key::to_bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

/// A connection of this core: accepted, dialled, or a child's pipe. Not used again after its end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub Key);

impl ConnId {
    /// The place of this connection among those of its core: small, reused after its end.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0.index as usize
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn {:?}", self.0)
    }
}

/// A listener of this core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u32);

/// A timer of this shard. The shard picks the number; the world only gives it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(pub u64);

/// A process that this core owns. Unique in a node for as long as its keeper lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChildId(pub u64);

/// A place in this core's log: everything before it. Marks only grow, also over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogMark(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_kernel() {
        for key in [Key { index: 0, generation: 1 }, Key { index: u32::MAX, generation: u32::MAX }] {
            assert_eq!(Key::from_bits(key.to_bits()), key);
        }
    }

    #[test]
    fn other_cores_leaves_out_only_this_one() {
        let seat = Seat { node: NodeId(0), core: CoreId(1), cores: 3 };
        assert_eq!(seat.other_cores().collect::<Vec<_>>(), [CoreId(0), CoreId(2)]);
        assert_eq!(seat.all_cores().count(), 3);
    }
}
