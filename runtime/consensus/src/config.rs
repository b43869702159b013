//! How a group keeps time and how much it holds: set once, the same on every node of the group.

use core::time::Duration;

/// Settings of a [`Group`](crate::Group). The defaults are for nodes on one machine or in one building.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often a leader speaks to its followers when there is nothing to say. Well over the way there and back.
    pub heartbeat: Duration,
    /// A follower that hears nothing for between one and two of these stands for election; a leader that does not
    /// hear from a majority for one steps down. At least five heartbeats, or a late one causes an election.
    pub election: Duration,
    /// This node leads only when it must: its patience is thrice that of the others, and when it is elected all the
    /// same (because nobody else has all that was committed) it hands leadership on as soon as another has it too.
    pub is_reluctant: bool,
    /// The most bytes of entries in one message, more than which only a single entry may have.
    pub message_max: usize,
    /// The longest entry. It travels in one message, so it must fit a link's
    /// (`wire::link::Limits::archive_max`, 4 MiB) with room to spare.
    pub entry_max: usize,
    /// How many messages with entries may be on their way to one follower.
    pub pipeline_max: usize,
    /// Bytes of entries that a leader takes before a majority has them; beyond, proposals are refused as
    /// [`Busy`](crate::Refused::Busy). It bounds the memory of a leader that is cut off.
    pub uncommitted_max: usize,
    /// How many committed entries are kept in memory for followers that are behind. One that is further behind gets a
    /// snapshot. A snapshot costs all of the state, so: as many as a node misses while it restarts.
    pub tail: u64,
    /// Bytes of a snapshot in one message; there are never more than two on their way to one node.
    pub part_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election: Duration::from_millis(300),
            is_reluctant: false,
            message_max: 256 << 10,
            entry_max: 2 << 20,
            pipeline_max: 64,
            uncommitted_max: 64 << 20,
            tail: 10_000,
            part_max: 256 << 10,
        }
    }
}

/// Ticks of the Raft library in one heartbeat. More make elections less often a draw and cost nothing, because nobody
/// is woken for a tick that changes nothing.
pub(crate) const TICKS_OF_HEARTBEAT: u32 = 10;

impl Config {
    pub(crate) fn tick(&self) -> Duration {
        self.heartbeat / TICKS_OF_HEARTBEAT
    }

    /// Ticks of the shortest election timeout.
    pub(crate) fn election_ticks(&self) -> u32 {
        let ticks = self.election.as_nanos() / self.tick().as_nanos().max(1);
        u32::try_from(ticks).unwrap_or(u32::MAX / 8).max(5 * TICKS_OF_HEARTBEAT / 2)
    }
}
