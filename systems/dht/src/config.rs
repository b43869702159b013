//! What the operator meant, the same on every core. Parsed once in `serve`; nothing here is read from anywhere.

use crate::keep::Durability;
use crate::login::Users;
use crate::nodes::Node;
use crate::policy::Policy;
use std::net::{IpAddr, SocketAddr};

/// The version of Redis whose words and edge cases are spoken; clients decide by it what they may use.
pub const REDIS_VERSION: &str = "7.2.4";

/// Everything a core is told before it starts.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where every core listens for RESP; the port is one that was found free.
    pub resp: Option<SocketAddr>,
    /// Where every core listens for framed text.
    pub frame: Option<SocketAddr>,
    /// Where each core alone listens for RESP, by core; empty for none.
    pub core_ports: Vec<SocketAddr>,
    /// Where every core serves the page, metrics and health.
    pub watch: Option<SocketAddr>,
    /// Static nodes that share the keys by the ring, this one among them; empty when it has all keys that arrive.
    pub nodes: Vec<Node>,
    /// Whom cluster clients are told to ask.
    pub announce: Announce,
    /// The address they are told, where it is not the one of the listener.
    pub announce_ip: Option<IpAddr>,
    /// Who may come in; everybody, when nobody stands there.
    pub users: Users,
    /// The bounds.
    pub limits: Limits,
    /// What an acknowledged write outlives; more than memory needs a world that keeps logs, and tells all of them.
    pub durability: Durability,
    /// The world has a place for logs and snapshots.
    pub has_data: bool,
    /// The process id, as INFO shows it; 0 where there is no process.
    pub pid: u32,
    /// Has the process drained and ended, without waiting for that; none where clients may not ask for it.
    pub end: Option<fn()>,
}

/// Whom CLUSTER SLOTS and its like name as the owner of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// The owning core, by its own port.
    #[default]
    Cores,
    /// The node, by the port that all cores share.
    Node,
}

/// What each bound is and what happens when it is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the whole node. One more is answered `-ERR max number of clients reached` and closed. Cores tell
    /// each other how many they have whenever that changed by a 64th of a core's share, so for a moment there may be
    /// more or fewer by as much a core.
    pub clients_max: u32,
    /// Bytes of a key. A longer one is answered with an error.
    pub key_max: usize,
    /// Bytes of a value. As an argument a longer one is a protocol fault, as in Redis; a value that would grow
    /// over it (APPEND) is answered with an error and stays.
    pub value_max: usize,
    /// Bytes of one request, under what the world lets wait as input. The price of more is memory that an unfinished
    /// request can hold.
    pub request_max: usize,
    /// Requests of one connection that wait for an answer or behind one. At this many no more are read until
    /// half of them are answered. More hides more latency between cores; each place costs 32 bytes.
    pub places_max: usize,
    /// Bytes of answers of one connection held back by an earlier request. Over it no more are read.
    pub held_max: usize,
    /// Bytes of values in one answer (MGET); more is answered with an error. Under the world's `output_max`.
    pub answer_max: usize,
    /// Bytes that keys and values may cost on this node, in equal shares for its cores; 0 for no bound. A write that
    /// would pass its core's share makes room first or, by the policy or because room for it would cost too long, is
    /// answered `-OOM command not allowed when used memory > 'maxmemory'.`
    pub memory_max: u64,
    /// What gives way to such a write.
    pub policy: Policy,
    /// Microseconds from which on an event is noted as slow (SLOWLOG); 0 notes all, a negative number none.
    pub slow_us: i64,
    /// Slow events that each core remembers, and that are shown of all together; the oldest are forgotten.
    pub slow_max: u32,
    /// Milliseconds from which on an event is a sample (LATENCY); 0 for never.
    pub latency_ms: u64,
    /// Seconds that a client may be idle; 0 for ever. Who was silent longer is closed without a word.
    pub idle_max_s: u32,
    /// Bytes that a core's log grows by, since the last snapshot and no less than that one's, until the next is begun;
    /// 0 for never. Fewer make a start shorter, and all keys be written more often.
    pub snapshot_after: u64,
}

impl Default for Limits {
    /// 10,000 clients, 64 KiB a key, 16 MiB a value, 48 MiB a request, 1,024 places, 1 MiB held, 40 MiB an
    /// answer, no bound on memory or idleness; 10 ms are slow; a snapshot after
    /// 256 MiB of log.
    fn default() -> Self {
        Self {
            clients_max: 10_000,
            key_max: 64 * 1024,
            value_max: 16 * 1024 * 1024,
            request_max: 48 * 1024 * 1024,
            places_max: 1024,
            held_max: 1024 * 1024,
            answer_max: 40 * 1024 * 1024,
            memory_max: 0,
            policy: Policy::NoEviction,
            slow_us: 10_000,
            slow_max: 128,
            latency_ms: 0,
            idle_max_s: 0,
            snapshot_after: 256 * 1024 * 1024,
        }
    }
}
