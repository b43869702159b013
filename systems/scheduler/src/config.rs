//! A node as the operator meant it. The same on every node of a cluster, but for what the world tells each: its number.

use crate::crash::Point;
use core::time::Duration;
use machine::{Address, Command, NodeId};

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It can lead and work.
    Server,
    /// It votes, keeps the ledger and everybody's log, and runs nothing.
    Log,
}

/// One node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number, by which links name it.
    pub node: NodeId,
    /// How people know it: its container id.
    pub name: Box<str>,
    /// What it is for.
    pub kind: Kind,
    /// Where it serves pages and the JSON interface.
    pub http: Address,
}

impl Member {
    /// The port of its page.
    #[must_use]
    pub fn port(&self) -> u16 {
        match &self.http {
            Address::Ip(at) => at.port(),
            Address::Name(_, port) => *port,
            Address::Unix(_) => 0,
        }
    }
}

/// What a node does to its own process: things that no outbox has, because nothing follows from them.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Shows a line to who watches the process.
    pub line: fn(&str),
    /// Kills the process at a crash point, if nobody of the cluster has died there before.
    pub die: fn(Point),
    /// Says why the process cannot go on with the data it has, and ends it.
    pub refuse: fn(&str),
}

impl Terminal {
    /// Nobody watches.
    pub const NONE: Self = Self { line: |_| {}, die: |_| {}, refuse: |why| panic!("{why}") };
}

/// A node as it was meant.
#[derive(Clone, Debug)]
pub struct Config {
    /// All nodes, this one too.
    pub members: Vec<Member>,
    /// The node that stands for election at once when it has never been one of a group.
    pub first: Option<NodeId>,
    /// Thousandths of processors and MiB that its jobs may take together.
    pub room: (u64, u64),
    /// What prints the machine's load, line by line ([`Load::hear`](crate::load::Load::hear)).
    pub sense: Option<Command>,
    /// Where programs run.
    pub dir: Box<str>,
    /// This process.
    pub pid: u32,
    /// How long ended jobs are remembered.
    pub result_ttl: Duration,
    /// How the group keeps time.
    pub group: consensus::Config,
    /// Entries after which the state is saved and the log before it goes.
    pub keep_every: u64,
    /// Where to die.
    pub crash: Option<Point>,
    /// The tokens of which one must be shown; empty when everybody may do everything.
    pub tokens: Vec<Box<str>>,
    /// The process.
    pub terminal: Terminal,
}

impl Config {
    /// A cluster of these members, with the usual values.
    #[must_use]
    pub fn new(members: Vec<Member>) -> Self {
        Self {
            first: members.first().map(|member| member.node),
            members,
            room: (4000, 4096),
            sense: None,
            dir: "/".into(),
            pid: 0,
            result_ttl: Duration::from_secs(24 * 3600),
            group: consensus::Config::default(),
            keep_every: 20_000,
            crash: None,
            tokens: Vec::new(),
            terminal: Terminal::NONE,
        }
    }

    /// The member of that number.
    #[must_use]
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == node)
    }

    /// How people know that node.
    #[must_use]
    pub fn name(&self, node: u16) -> &str {
        self.member(NodeId(node)).map_or("?", |member| &member.name)
    }
}
