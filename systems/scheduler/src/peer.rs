//! What nodes of this system say to each other. Archived by rkyv, checked on arrival, read in place.
//!
//! Whatever is lost with a link is said again: beats by themselves, proposals until they are applied, runs and results
//! until the ledger shows them, log lines when the link is back.

#![allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]

use crate::entry::{Fact, JobId, Origin};
use crate::load::Load;
use rkyv::{Archive, Deserialize, Serialize};

/// One message.
#[derive(Archive, Serialize, Clone, Debug)]
pub enum Said {
    /// Of the group that keeps the ledger.
    Group(consensus::Message),
    /// I live.
    Beat(Beat),
    /// I lead, and have heard that beat: your lease begins with the moment you sent it.
    Heard { life: u64, number: u64 },
    /// You lead: please propose this.
    Propose { origin: Origin, fact: Fact },
    /// The ledger says, at that entry, that this is yours: start it, if you have not.
    Run { id: JobId, attempt: u32, index: u64, life: u64 },
    /// Lines of my log, from that number on.
    Lines { life: u64, first: u64, lines: Vec<String> },
}

/// What a node tells all others again and again.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Which life of the node: drawn at each start.
    pub life: u64,
    pub number: u64,
    pub pid: u32,
    pub load: Load,
    /// Entries applied there.
    pub applied: u64,
    /// What it runs, or has the result of.
    pub holds: Vec<(JobId, u32)>,
    /// What it was given and will not finish, because it had heard no leader for too long.
    pub gave_up: Vec<(JobId, u32)>,
}

/// A beat's archive back as it was said.
impl ArchivedBeat {
    pub(crate) fn read(&self) -> Beat {
        rkyv::deserialize::<Beat, rkyv::rancor::Error>(self).expect("plain values have no way to fail")
    }
}
