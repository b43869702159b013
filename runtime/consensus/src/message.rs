//! What the nodes of a group say to each other, in types of our own. The Raft library has protobuf messages; none is
//! ever read from a network or a disk. What arrives is a checked archive, its numbers are bounded here, and only
//! then it becomes a message of the library, with the sender that the link has proved and not one that it names.
//!
//! The hard thing is that the library trusts its peers: what makes no sense ends the process. So everything that can
//! be known to make no sense from a message alone is refused here, and the rest in [`Group`](crate::Group).

use crate::members::Change;
use raft::eraftpb::{self, EntryType, MessageType};
use rkyv::rancor::Error;
use rkyv::{Archive, Deserialize, Serialize};

/// Terms and indexes stay under this: what is over it is a lie, and adding to what is under it never overflows.
pub(crate) const NUMBER_MAX: u64 = 1 << 56;

/// A message of one node of a group to another: carried, and read by [`Group::on_message`] alone.
///
/// [`Group::on_message`]: crate::Group::on_message
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The term in which it was said; 0 in a question that has none.
    pub term: u64,
    pub(crate) body: Body,
}

/// What is said.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// Entries that follow the one at `index`, which is of `log_term`.
    Append {
        log_term: u64,
        index: u64,
        commit: u64,
        entries: Vec<Entry>,
    },
    /// All up to `index` is on this node's disk; or it is not what the leader believed, with a hint.
    Appended {
        index: u64,
        commit: u64,
        rejected: Option<Hint>,
    },
    Heartbeat {
        commit: u64,
        context: Vec<u8>,
    },
    HeartbeatAnswer {
        commit: u64,
        context: Vec<u8>,
    },
    /// `is_pre`: would you? A candidate asks that first, so that one who cannot win disturbs nobody.
    AskVote {
        is_pre: bool,
        log_term: u64,
        index: u64,
        commit: u64,
        commit_term: u64,
        is_transfer: bool,
    },
    Vote {
        is_pre: bool,
        is_refused: bool,
        commit: u64,
        commit_term: u64,
    },
    /// Stand for election at once: leadership is handed over.
    TimeoutNow,
    AskIndex {
        context: u64,
    },
    Index {
        context: u64,
        index: u64,
    },
    /// Bytes of a snapshot, from `offset`; it is whole at `total`.
    Part {
        of: Meta,
        offset: u64,
        total: u64,
        bytes: Vec<u8>,
    },
    /// Everything before `next` of that snapshot has arrived.
    PartArrived {
        index: u64,
        next: u64,
    },
}

/// Where a follower that refused entries may agree with the leader.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    pub(crate) index: u64,
    pub(crate) term: u64,
}

/// One entry of the ledger.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) term: u64,
    pub(crate) index: u64,
    pub(crate) what: What,
}

/// What an entry says.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A new leader's first entry: nothing.
    Nothing,
    /// What a system proposed.
    Bytes(Vec<u8>),
    /// Another member.
    Change(Change),
}

/// Which state a snapshot stands for.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) voters: Vec<u16>,
    pub(crate) learners: Vec<u16>,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It makes no sense: the other node is broken, or no node of ours. State is unchanged; cut the link.
    Malformed,
    /// It contradicts what is committed here. One of the two disks lost what it had called safe. This node must
    /// stop: going on could make two truths.
    Contradiction,
}

impl core::fmt::Display for Fault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "another node sent a message that makes no sense",
            Self::Contradiction => {
                "another node knows entries to be committed that this one does not have: a disk lost what it had \
                 called safe; remove this node's data, and take it into the group again"
            }
        })
    }
}

/// The library's number of a node; 0 is nobody there.
pub(crate) fn raft_id(node: machine::NodeId) -> u64 {
    u64::from(node.0) + 1
}

/// The node of a number that the library gives.
pub(crate) fn node_id(raft: u64) -> Option<machine::NodeId> {
    raft.checked_sub(1).and_then(|number| u16::try_from(number).ok()).map(machine::NodeId)
}

impl Entry {
    pub(crate) fn from_raft(entry: &eraftpb::Entry) -> Self {
        let what = match entry.get_entry_type() {
            EntryType::EntryNormal if entry.data.is_empty() => What::Nothing,
            EntryType::EntryNormal => What::Bytes(entry.data.to_vec()),
            EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                What::Change(Change::from_raft(&entry.data))
            }
        };
        Self { term: entry.term, index: entry.index, what }
    }

    pub(crate) fn into_raft(self) -> eraftpb::Entry {
        let mut entry = eraftpb::Entry { term: self.term, index: self.index, ..Default::default() };
        match self.what {
            What::Nothing => {}
            What::Bytes(bytes) => entry.data = bytes.into(),
            What::Change(change) => {
                entry.set_entry_type(EntryType::EntryConfChange);
                entry.data = change.to_raft().into();
            }
        }
        entry
    }
}

impl Meta {
    pub(crate) fn from_raft(meta: &eraftpb::SnapshotMetadata) -> Self {
        let nodes = |ids: &[u64]| ids.iter().filter_map(|id| node_id(*id)).map(|node| node.0).collect();
        let state = meta.get_conf_state();
        Self {
            index: meta.index,
            term: meta.term,
            voters: nodes(state.get_voters()),
            learners: nodes(state.get_learners()),
        }
    }

    pub(crate) fn to_raft(&self) -> eraftpb::SnapshotMetadata {
        let ids = |nodes: &[u16]| nodes.iter().map(|node| u64::from(*node) + 1).collect::<Vec<u64>>();
        let mut meta = eraftpb::SnapshotMetadata { index: self.index, term: self.term, ..Default::default() };
        meta.set_conf_state(eraftpb::ConfState::from((ids(&self.voters), ids(&self.learners))));
        meta
    }

    fn is_sound(&self) -> bool {
        let mut all: Vec<u16> = self.voters.iter().chain(&self.learners).copied().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        let numbers = self.index > 0 && self.term > 0 && self.index < NUMBER_MAX && self.term < NUMBER_MAX;
        !self.voters.is_empty() && all.len() == count && all.last() < Some(&u16::MAX) && numbers
    }
}

impl ArchivedMessage {
    /// The message, its numbers bounded.
    pub(crate) fn read(&self) -> Result<Message, Fault> {
        let message: Message = rkyv::deserialize::<Message, Error>(self).map_err(|_| Fault::Malformed)?;
        if message.is_sound() { Ok(message) } else { Err(Fault::Malformed) }
    }
}

impl Message {
    fn is_sound(&self) -> bool {
        let small = |numbers: &[u64]| numbers.iter().all(|number| *number < NUMBER_MAX);
        let body = match &self.body {
            Body::Append { log_term, index, commit, entries } => {
                small(&[*log_term, *index, *commit]) && follows(*log_term, *index, entries, self.term)
            }
            Body::Appended { index, commit, rejected } => {
                let hint = rejected.unwrap_or(Hint { index: 0, term: 0 });
                small(&[*index, *commit, hint.index, hint.term])
            }
            Body::Heartbeat { commit, context } | Body::HeartbeatAnswer { commit, context } => {
                small(&[*commit]) && matches!(context.len(), 0 | CONTEXT)
            }
            Body::AskVote { log_term, index, commit, commit_term, .. } => {
                small(&[*log_term, *index, *commit, *commit_term])
            }
            Body::Vote { commit, commit_term, .. } => small(&[*commit, *commit_term]),
            Body::TimeoutNow | Body::AskIndex { .. } => true,
            Body::Index { index, .. } => small(&[*index]),
            Body::Part { of, offset, total, bytes } => {
                let end = offset.checked_add(bytes.len() as u64);
                of.is_sound() && small(&[*total]) && end.is_some_and(|end| end <= *total)
            }
            Body::PartArrived { index, next } => small(&[*index, *next]),
        };
        let has_term = self.term > 0 || matches!(self.body, Body::AskIndex { .. });
        body && has_term && self.term < NUMBER_MAX
    }
}

/// Bytes of a context: a number that a read is known by.
pub(crate) const CONTEXT: usize = 8;

/// Whether entries follow each other, and the one before them, as a leader of `term` would have them.
fn follows(log_term: u64, index: u64, entries: &[Entry], term: u64) -> bool {
    let mut before = (log_term, index);
    entries.iter().all(|entry| {
        let next = entry.index == before.1 + 1 && entry.term >= before.0 && entry.term > 0;
        before = (entry.term, entry.index);
        next && entry.term <= term && !matches!(&entry.what, What::Bytes(bytes) if bytes.is_empty())
    })
}

const TRANSFER: &[u8] = b"CampaignTransfer";

impl Message {
    /// What the library wants said, in our words. None for what it says to itself and for snapshots, which are sent
    /// in parts.
    pub(crate) fn from_raft(message: &eraftpb::Message) -> Option<Self> {
        let (log_term, index, commit) = (message.log_term, message.index, message.commit);
        let commit_term = message.commit_term;
        let number = |context: &[u8]| context.try_into().map_or(0, u64::from_le_bytes);
        let asked = || message.entries.first().map_or(0, |entry| number(&entry.data));
        let kind = message.get_msg_type();
        let body = match kind {
            MessageType::MsgAppend => {
                let entries = message.entries.iter().map(Entry::from_raft).collect();
                Body::Append { log_term, index, commit, entries }
            }
            MessageType::MsgAppendResponse => {
                let hint = Hint { index: message.reject_hint, term: log_term };
                Body::Appended { index, commit, rejected: message.reject.then_some(hint) }
            }
            MessageType::MsgHeartbeat => Body::Heartbeat { commit, context: message.context.to_vec() },
            MessageType::MsgHeartbeatResponse => {
                Body::HeartbeatAnswer { commit, context: message.context.to_vec() }
            }
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => Body::AskVote {
                is_pre: kind == MessageType::MsgRequestPreVote,
                log_term,
                index,
                commit,
                commit_term,
                is_transfer: &message.context[..] == TRANSFER,
            },
            MessageType::MsgRequestVoteResponse | MessageType::MsgRequestPreVoteResponse => Body::Vote {
                is_pre: kind == MessageType::MsgRequestPreVoteResponse,
                is_refused: message.reject,
                commit,
                commit_term,
            },
            MessageType::MsgTimeoutNow => Body::TimeoutNow,
            MessageType::MsgReadIndex => Body::AskIndex { context: asked() },
            MessageType::MsgReadIndexResp => Body::Index { context: asked(), index },
            MessageType::MsgSnapshot
            | MessageType::MsgHup
            | MessageType::MsgBeat
            | MessageType::MsgPropose
            | MessageType::MsgUnreachable
            | MessageType::MsgSnapStatus
            | MessageType::MsgCheckQuorum
            | MessageType::MsgTransferLeader => return None,
        };
        Some(Self { term: message.term, body })
    }

    /// The library's message. None for parts of snapshots, which it never sees.
    pub(crate) fn into_raft(self, from: u64, to: u64) -> Option<eraftpb::Message> {
        let mut message = eraftpb::Message { from, to, term: self.term, ..Default::default() };
        let asking = |context: u64| {
            vec![eraftpb::Entry { data: context.to_le_bytes().to_vec().into(), ..Default::default() }]
        };
        let kind = match self.body {
            Body::Append { log_term, index, commit, entries } => {
                (message.log_term, message.index, message.commit) = (log_term, index, commit);
                message.set_entries(entries.into_iter().map(Entry::into_raft).collect::<Vec<_>>().into());
                MessageType::MsgAppend
            }
            Body::Appended { index, commit, rejected } => {
                (message.index, message.commit) = (index, commit);
                if let Some(hint) = rejected {
                    (message.reject, message.reject_hint, message.log_term) = (true, hint.index, hint.term);
                }
                MessageType::MsgAppendResponse
            }
            Body::Heartbeat { commit, context } => {
                (message.commit, message.context) = (commit, context.into());
                MessageType::MsgHeartbeat
            }
            Body::HeartbeatAnswer { commit, context } => {
                (message.commit, message.context) = (commit, context.into());
                MessageType::MsgHeartbeatResponse
            }
            Body::AskVote { is_pre, log_term, index, commit, commit_term, is_transfer } => {
                (message.log_term, message.index) = (log_term, index);
                (message.commit, message.commit_term) = (commit, commit_term);
                if is_transfer {
                    message.context = TRANSFER.to_vec().into();
                }
                if is_pre { MessageType::MsgRequestPreVote } else { MessageType::MsgRequestVote }
            }
            Body::Vote { is_pre, is_refused, commit, commit_term } => {
                (message.reject, message.commit, message.commit_term) = (is_refused, commit, commit_term);
                if is_pre {
                    MessageType::MsgRequestPreVoteResponse
                } else {
                    MessageType::MsgRequestVoteResponse
                }
            }
            Body::TimeoutNow => MessageType::MsgTimeoutNow,
            Body::AskIndex { context } => {
                message.set_entries(asking(context).into());
                MessageType::MsgReadIndex
            }
            Body::Index { context, index } => {
                message.index = index;
                message.set_entries(asking(context).into());
                MessageType::MsgReadIndexResp
            }
            Body::Part { .. } | Body::PartArrived { .. } => return None,
        };
        message.set_msg_type(kind);
        Some(message)
    }
}
