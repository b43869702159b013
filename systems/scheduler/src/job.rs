//! One job in the ledger: what was sent, where it stands, and everything that has happened to it.

#![allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]

use crate::entry::{JobId, Outcome};
use crate::spec::Spec;
use rkyv::{Archive, Deserialize, Serialize};

/// What may be remembered of one job: more than all attempts of several retries cause. Over it the oldest but the
/// first is forgotten.
pub const HISTORY_MAX: usize = 100;

/// Results of old attempts that are kept.
pub const LATE_MAX: usize = 4;

/// Where a job stands.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It waits for a worker.
    Accepted,
    /// A worker was chosen.
    Assigned,
    /// The worker has started it.
    Running,
    /// It ended well.
    Finished,
    /// It ended otherwise.
    Failed,
    /// It lost its worker too often.
    Dead,
    /// Somebody wanted it no more.
    Cancelled,
    /// It may be started once only, and its worker was lost.
    Lost,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Assigned,
        Self::Running,
        Self::Finished,
        Self::Failed,
        Self::Dead,
        Self::Cancelled,
        Self::Lost,
    ];

    /// As it is said in the interface.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Failed => "failed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_end(self) -> bool {
        match self {
            Self::Accepted | Self::Assigned | Self::Running => false,
            Self::Finished | Self::Failed | Self::Dead | Self::Cancelled | Self::Lost => true,
        }
    }

    /// Whether a worker has it.
    #[must_use]
    pub const fn is_held(self) -> bool {
        matches!(self, Self::Assigned | Self::Running)
    }
}

/// Something that happened to a job.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which entry of the log says so.
    pub index: u64,
    pub what: String,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    pub why: String,
    pub attempt: u32,
    pub worker: Option<u16>,
}

/// A result that came for an attempt that was given up.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Late {
    pub attempt: u32,
    pub worker: u16,
    pub outcome: Outcome,
}

/// One job.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Job {
    pub id: JobId,
    pub key: String,
    pub spec: Spec,
    pub state: State,
    /// Attempts begun: the number of the last.
    pub attempt: u32,
    /// Those lost since it was sent or retried.
    pub losses: u32,
    /// Who has or had the last attempt.
    pub worker: Option<u16>,
    /// In which life of that worker.
    pub life: u64,
    /// The entry by which it was assigned.
    pub assigned_index: u64,
    /// Not to be tried again before: milliseconds since 1970.
    pub not_before_ms: u64,
    pub accepted_ms: u64,
    pub accepted_index: u64,
    /// When it ended; 0 while it has not.
    pub ended_ms: u64,
    pub outcome: Option<Outcome>,
    pub late: Vec<Late>,
    pub history: Vec<Event>,
}

impl Job {
    /// Bytes that it takes, roughly: what its bounds are counted by.
    #[must_use]
    pub fn weight(&self) -> usize {
        const BESIDE: usize = 1024;
        let outcomes = self.outcome.iter().chain(self.late.iter().map(|late| &late.outcome));
        BESIDE + self.spec.program.len() + self.spec.stdin.len() + outcomes.map(Outcome::len).sum::<usize>()
    }

    pub(crate) fn remember(&mut self, event: Event) {
        if self.history.len() >= HISTORY_MAX {
            self.history.remove(1);
        }
        self.history.push(event);
    }
}
