//! What happens, and what is asked for: the nouns that cross the seam. Plain values without behaviour; each says
//! who makes it and what follows it.

use crate::id::{ChildId, ListenerId};
use crate::time::Instant;
use core::fmt;
use core::time::Duration;
use std::net::SocketAddr;

/// Where something listens or is reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a TCP port.
    Ip(SocketAddr),
    /// The path of a unix stream socket.
    Unix(Box<str>),
    /// A host name and a TCP port, resolved when it is dialled. Never listened on.
    Name(Box<str>, u16),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{path}"),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// Whom a peer has proved to be by its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subject's common name.
    pub subject: Box<str>,
}

/// How a connection came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Somebody connected to a listener of ours.
    Accepted {
        /// The listener.
        listener: ListenerId,
        /// Where they are.
        from: Address,
        /// Whom they proved to be, where a client certificate was asked for.
        identity: Option<Identity>,
    },
    /// A [`Dial`] of ours succeeded.
    Dialled,
    /// A stream of a child of ours.
    Pipe(ChildId, PipeKind),
}

/// Which standard stream of a child. Input can only be written, the others only be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PipeKind {
    /// Its standard input: what we write, it reads.
    Input,
    /// Its standard output.
    Output,
    /// Its standard error.
    Error,
}

/// How far a connection has ended. A child's stream goes one way only, so it has no half: it ends `Gone(Closed)`
/// when the child closed its side, or when we finished ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// They have said all (FIN); we may still speak.
    Half,
    /// The connection is no more and its id names nobody. Also how a dial that failed ends.
    Gone(Why),
}

/// Why a connection or a link is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    /// Both sides had said all.
    Closed,
    /// They reset it.
    Reset,
    /// Nobody listens there.
    Refused,
    /// There is no way there, or no such host.
    Unreachable,
    /// Not connected by the time that was given, or the kernel gave up on them.
    TimedOut,
    /// More waited to be sent than `output_max` allows: they read too slowly.
    Overfull,
    /// TLS: their certificate or ours was not accepted, or this build speaks none.
    Untrusted,
    /// This machine lacks something: descriptors, ports, memory.
    Exhausted,
    /// Any other error of the kernel.
    Broken,
}

/// How to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// Send what waits, say that all is said, take in for a while what still comes (so that the last bytes are
    /// not destroyed by a reset), then close.
    Flushed,
    /// At once: what waits is dropped and they see a reset.
    Now,
}

/// With whom to speak TLS on a dialled connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The name their certificate must carry.
    pub server_name: Box<str>,
}

/// A connection to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Where to.
    pub to: Address,
    /// From which local address; the kernel picks port and, if none, address.
    pub from: Option<SocketAddr>,
    /// Whether to speak TLS.
    pub tls: Option<Tls>,
    /// Given up at this instant, with [`Why::TimedOut`].
    pub by: Instant,
}

/// What became of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listening {
    /// It accepts, at this address (the port found, where 0 was asked for).
    Bound(Address),
    /// It cannot: taken, forbidden, no such address. The sentence says which.
    Failed(Box<str>),
}

/// What became of what was logged or saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Every record before this mark outlives a power cut.
    Logged(crate::id::LogMark),
    /// The snapshot is whole and outlives a power cut; the log before this mark is gone.
    Saved(crate::id::LogMark),
    /// There was no room for the snapshot that was being made: it is given up, the one before it stands. Nothing
    /// happened to the log. What is saved before the shard says `unsave` is thrown away: it would be half a snapshot.
    Unsaved,
    /// There is no room. What was logged waits and is tried again; log nothing more before a `Logged` says that
    /// there is room again.
    Full,
    /// The disk failed. What was not `Logged` may be lost, and nothing will be logged until a restart.
    Failed,
}

/// A piece of what was kept, handed to a shard before it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept<'a> {
    /// A part of the last whole snapshot, in the order in which parts were saved; all parts come first.
    Part(&'a [u8]),
    /// A record logged after that snapshot, in order.
    Record(&'a [u8]),
}

/// What became of a link to another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It carries what is sent from now on. The version is the one both sides speak.
    Up {
        /// The version of what nodes say to each other.
        version: u32,
    },
    /// It is no more. What was sent and not answered is lost: it may have arrived or not.
    Down(Why),
}

/// A process to be started in a group of its own.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Command {
    /// The program: a path, or a name looked up in PATH.
    pub program: Box<str>,
    /// Its arguments, without its own name.
    pub args: Vec<Box<str>>,
    /// Its whole environment; nothing is inherited but PATH, HOME and LANG where these do not name them.
    pub env: Vec<(Box<str>, Box<str>)>,
    /// Where it runs; ours when none.
    pub dir: Option<Box<str>>,
    /// The streams that become connections; the others are `/dev/null`.
    pub pipes: Vec<PipeKind>,
    /// What it may use.
    pub limits: Vec<Limit>,
}

/// One bound on a child, by setrlimit(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of address space.
    Memory(u64),
    /// CPU time, in whole seconds, rounded up.
    Cpu(Duration),
    /// Open descriptors.
    Files(u64),
    /// Bytes of a file it writes.
    FileSize(u64),
    /// Processes and threads of its user.
    Processes(u64),
}

/// What to send to a child's whole group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// SIGHUP.
    HangUp,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Continue,
    /// SIGUSR1.
    User1,
    /// SIGUSR2.
    User2,
}

/// What became of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildEvent {
    /// It runs. An `on_open` for each of its pipes follows.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// It could not be started; the sentence says why. Nothing follows.
    Unstarted(Box<str>),
    /// It exited with this status. Its pipes may still hold output: they end by themselves.
    Exited(i32),
    /// This signal ended it.
    Killed(i32),
}
