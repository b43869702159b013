//! What can be known to be wrong with a message only beside this node's own state. The Raft library ends the process
//! over such messages; here they are refused one by one.

use crate::group::Group;
use crate::message::{Body, Fault, Message, raft_id};
use machine::NodeId;
use raft::StateRole;

impl Group {
    /// Whether the message concerns this node as it is now.
    pub(crate) fn is_wanted(&mut self, from: NodeId, message: &Message) -> Result<bool, Fault> {
        let raft = &self.raft().raft;
        let last = raft.raft_log.last_index();
        let is_leader = raft.state == StateRole::Leader;
        let is_old = message.term < raft.term;
        match &message.body {
            // A leader says as committed only what this node has acknowledged.
            Body::Heartbeat { commit, .. } if !is_old && *commit > last => Err(Fault::Contradiction),
            Body::Append { index, log_term, commit, entries } if !is_old => {
                let committed = raft.raft_log.committed;
                let ours = |index: u64| raft.raft_log.term(index).ok();
                let differs = |index: u64, term: u64| {
                    index <= committed && ours(index).is_some_and(|ours| ours != 0 && ours != term)
                };
                let known = *index <= *commit && differs(*index, *log_term);
                let other =
                    entries.iter().any(|entry| entry.index <= *commit && differs(entry.index, entry.term));
                if known || other { Err(Fault::Contradiction) } else { Ok(true) }
            }
            Body::Appended { index, .. } if is_leader && !is_old && *index > last => Err(Fault::Malformed),
            Body::TimeoutNow => {
                Ok(raft.leader_id == raft_id(from) && message.term == raft.term && !is_leader)
            }
            Body::AskIndex { .. } => Ok(is_leader),
            Body::Part { .. } => Ok(!(is_old || is_leader && message.term == raft.term)),
            Body::PartArrived { .. } => Ok(is_leader && !is_old),
            _ => Ok(true),
        }
    }
}
