//! The client page: people create payloads, send them, and see their results arrive. It has no ledger; it asks the
//! nodes, whichever answers, and passes the JSON interface on to them, so that there is one address to know.
//!
//! The hard thing is that the page must not lie while a cluster changes its leader: what was sent is "executing" until
//! a node says otherwise, and a request that no node took is sent again with its key, so that it is one job whatever
//! became of the first try.

pub mod courier;
pub mod nursery;
mod shard;

pub use shard::Client;

use core::time::Duration;
use machine::{Address, NodeId, Stream};
use nursery::Nursling;

/// What the client page is to be.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where it serves.
    pub http: Address,
    /// The nodes, by name.
    pub nodes: Vec<(Box<str>, Address)>,
    /// Nodes that run as children of this process.
    pub nurslings: Vec<Nursling>,
    /// After which time a child that ended is started again; never, when none.
    pub again: Option<Duration>,
    /// The tokens of which one must be shown; empty when everybody may do everything.
    pub tokens: Vec<Box<str>>,
    /// Shows a line to who watches the process.
    pub line: fn(&str),
    /// Called once, when the children serve and there is a leader.
    pub ready: fn(),
    /// Ends the process with that status and sentence.
    pub refuse: fn(u8, &str),
}

impl ClientConfig {
    /// The client page of these nodes.
    #[must_use]
    pub fn new(http: Address, nodes: Vec<(Box<str>, Address)>) -> Self {
        let (line, ready): (fn(&str), fn()) = (|_| {}, || {});
        let refuse = |status, why: &str| panic!("{why}, status {status}");
        Self { http, nodes, nurslings: Vec::new(), again: None, tokens: Vec::new(), line, ready, refuse }
    }
}

/// A payload that was created and not yet sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Under which it is sent; its hash is the job's name.
    pub key: String,
    /// The program.
    pub program: String,
}

impl Payload {
    /// A program that sleeps 10 to 60 seconds, then prints the sum of two numbers.
    #[must_use]
    pub fn generate(chance: &mut Stream) -> Self {
        let seconds = chance.between(10, 60);
        let (one, other) = (chance.below(1000), chance.below(1000));
        let program = format!("import time\n\ntime.sleep({seconds})\nprint({one} + {other})\n");
        let key = format!("payload-{:016x}{:016x}", chance.next_u64(), chance.next_u64());
        Self { key, program }
    }

    /// What it will be called.
    #[must_use]
    pub fn hash(&self) -> String {
        crate::entry::JobId::of(&self.key).to_string()
    }

    /// The longest it may take: its sleep and then some.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        serde_json::json!({"program": self.program, "timeout_s": 120}).to_string().into_bytes()
    }
}

/// The number of a client page among nodes: it is none.
pub const NODE: NodeId = NodeId(0);
