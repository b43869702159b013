//! Who belongs to a group, and one change of that at a time (Ongaro's thesis, section 4.1: two majorities that
//! differ by one member always meet, so no joint configuration is needed).

use machine::NodeId;
use raft::eraftpb::{ConfChange, ConfChangeType, ConfState};
use rkyv::{Archive, Deserialize, Serialize};

/// A change of one member.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It votes from now on. Let it learn first, or the group waits for it while it catches up.
    Voter(#[rkyv(with = Number)] NodeId),
    /// It is sent everything and does not vote.
    Learner(#[rkyv(with = Number)] NodeId),
    /// It belongs no longer.
    Leaves(#[rkyv(with = Number)] NodeId),
}

/// Who belongs to a group.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Members {
    /// Those who vote, in order.
    pub voters: Vec<NodeId>,
    /// Those who are sent everything and do not vote, in order.
    pub learners: Vec<NodeId>,
}

/// A node's number, archived as such.
pub(crate) struct Number;

impl rkyv::with::ArchiveWith<NodeId> for Number {
    type Archived = rkyv::Archived<u16>;
    type Resolver = ();
    fn resolve_with(node: &NodeId, (): (), out: rkyv::Place<Self::Archived>) {
        rkyv::Archive::resolve(&node.0, (), out);
    }
}

impl<S: rkyv::rancor::Fallible + ?Sized> rkyv::with::SerializeWith<NodeId, S> for Number {
    fn serialize_with(_: &NodeId, _: &mut S) -> Result<(), S::Error> {
        Ok(())
    }
}

impl<D: rkyv::rancor::Fallible + ?Sized> rkyv::with::DeserializeWith<rkyv::Archived<u16>, NodeId, D>
    for Number
{
    fn deserialize_with(number: &rkyv::Archived<u16>, _: &mut D) -> Result<NodeId, D::Error> {
        Ok(NodeId(number.to_native()))
    }
}

impl Members {
    pub(crate) fn from_raft(state: &ConfState) -> Self {
        let nodes = |ids: &[u64]| {
            let mut nodes: Vec<NodeId> = ids.iter().filter_map(|id| crate::message::node_id(*id)).collect();
            nodes.sort_unstable();
            nodes
        };
        Self { voters: nodes(state.get_voters()), learners: nodes(state.get_learners()) }
    }
}

impl Change {
    /// Whom it is about.
    #[must_use]
    pub fn node(self) -> NodeId {
        match self {
            Self::Voter(node) | Self::Learner(node) | Self::Leaves(node) => node,
        }
    }

    pub(crate) fn as_raft(self) -> ConfChange {
        let kind = match self {
            Self::Voter(_) => ConfChangeType::AddNode,
            Self::Learner(_) => ConfChangeType::AddLearnerNode,
            Self::Leaves(_) => ConfChangeType::RemoveNode,
        };
        let mut change = ConfChange { node_id: crate::message::raft_id(self.node()), ..Default::default() };
        change.set_change_type(kind);
        change
    }

    /// The bytes that the library wants to see in an entry: a protobuf message of two small numbers (field 2: the
    /// kind, left out when 0; field 3: the node), written and read by hand so that no parser is in the way.
    pub(crate) fn to_raft(self) -> Vec<u8> {
        let kind = match self {
            Self::Voter(_) => 0,
            Self::Leaves(_) => 1,
            Self::Learner(_) => 2,
        };
        let mut bytes = if kind == 0 { Vec::new() } else { vec![2 << 3, kind] };
        bytes.push(3 << 3);
        let mut id = crate::message::raft_id(self.node());
        while id >= 0x80 {
            bytes.push((id & 0x7f) as u8 | 0x80);
            id >>= 7;
        }
        bytes.push(id as u8);
        bytes
    }

    /// # Panics
    /// When the bytes are not of [`to_raft`](Self::to_raft): they are made in this process only.
    pub(crate) fn from_raft(bytes: &[u8]) -> Self {
        let (kind, rest) = match bytes {
            [0x10, kind, rest @ ..] => (*kind, rest),
            rest => (0, rest),
        };
        let [0x18, number @ ..] = rest else { panic!("a change of members that was not written here") };
        let id = number.iter().rev().fold(0u64, |id, byte| id << 7 | u64::from(byte & 0x7f));
        let node = crate::message::node_id(id).expect("a change names a node");
        match kind {
            0 => Self::Voter(node),
            1 => Self::Leaves(node),
            2 => Self::Learner(node),
            other => panic!("a change of members of kind {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_survives_the_library_and_is_what_it_would_have_written() {
        for number in [0, 1, 126, 127, 128, 16_383, 65_534] {
            for change in [
                Change::Voter(NodeId(number)),
                Change::Learner(NodeId(number)),
                Change::Leaves(NodeId(number)),
            ] {
                assert_eq!(Change::from_raft(&change.to_raft()), change);
                let library = change.as_raft();
                assert_eq!(raft_bytes(&library), change.to_raft(), "{change:?}");
            }
        }
    }

    /// As the library writes it: through a proposal of a group of one.
    fn raft_bytes(change: &ConfChange) -> Vec<u8> {
        use raft::storage::MemStorage;
        let config = raft::Config { id: 1, election_tick: 10, heartbeat_tick: 1, ..Default::default() };
        let store = MemStorage::new_with_conf_state((vec![1], vec![]));
        let mut node =
            raft::RawNode::new(&config, store, &slog::Logger::root(slog::Discard, slog::o!())).unwrap();
        node.campaign().unwrap();
        node.propose_conf_change(Vec::new(), change.clone()).unwrap();
        node.raft.raft_log.unstable_entries().last().unwrap().data.to_vec()
    }
}
