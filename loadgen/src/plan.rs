//! The run as it is meant: every default filled in, every name resolved, every bound held. What is in here can be
//! run; what cannot was refused with a sentence when the command line was read.

use crate::protocol::Dialect;
use crate::units::{Mix, Rate};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Local ports that one source address has towards one target, by Linux's default `ip_local_port_range`.
pub const PORTS_A_PAIR: u64 = 28_232;
/// The most connections: more than any machine has descriptors for by default.
pub const CONNECTIONS_MAX: u64 = 10_000_000;
/// The most requests in flight on a connection.
pub const PIPELINE_MAX: u64 = 65_536;
/// The most bytes in flight on a connection, half of what a connection's output may hold.
pub const FLIGHT_BYTES_MAX: usize = 32 << 20;
/// The longest value.
pub const VALUE_SIZE_MAX: usize = 16 << 20;
/// The longest key.
pub const KEY_SIZE_MAX: usize = 64 << 10;

/// What is asked of the target, the same on every core.
#[derive(Clone, Debug)]
pub struct Load {
    /// What is spoken.
    pub dialect: Dialect,
    /// Where to; at least one. Connections go round them.
    pub targets: Vec<SocketAddr>,
    /// Where from; the kernel's choice when empty. Connections go round them.
    pub sources: Vec<IpAddr>,
    /// How many connections, over all cores.
    pub connections: u32,
    /// How many requests may be in flight on each.
    pub pipeline: u32,
    /// A fixed rate over all cores; none is a closed loop.
    pub rate: Option<Rate>,
    /// How fast to connect, over all cores; none is as fast as the bound on dials in flight lets us.
    pub ramp: Option<Rate>,
    /// Sent but not measured, before the measurement.
    pub warm_up: Duration,
    /// How long to measure; none is until `requests` are sent.
    pub duration: Option<Duration>,
    /// How many measured requests to send at most, over all cores.
    pub requests: Option<u64>,
    /// How many keys there are.
    pub keys: u64,
    /// Bytes of a key.
    pub key_size: usize,
    /// Bytes of a value.
    pub value_size: usize,
    /// How often each operation comes.
    pub mix: Mix,
    /// What decides the stream of operations.
    pub seed: u64,
    /// A connection whose oldest request is not answered within this is closed.
    pub timeout: Duration,
    /// Whether every key is written before the run.
    pub preload: bool,
}

impl Default for Load {
    /// 50 connections in a closed loop for 10 s, 100,000 keys of 16 bytes, values of 32, nine reads to a write.
    fn default() -> Self {
        Self {
            dialect: Dialect::Resp,
            targets: Vec::new(),
            sources: Vec::new(),
            connections: 50,
            pipeline: 1,
            rate: None,
            ramp: None,
            warm_up: Duration::ZERO,
            duration: Some(Duration::from_secs(10)),
            requests: None,
            keys: 100_000,
            key_size: 16,
            value_size: 32,
            mix: Mix { get: 90, set: 10, del: 0 },
            seed: 1,
            timeout: Duration::from_secs(5),
            preload: true,
        }
    }
}

impl Load {
    /// Whether a read that finds nothing is a failure: all keys were written and none is deleted.
    #[must_use]
    pub fn every_key_exists(&self) -> bool {
        self.preload && self.mix.del == 0
    }

    /// How many of `whole`, shared out one by one, fall to this core.
    #[must_use]
    pub fn share(whole: u64, core: u16, cores: u16) -> u64 {
        let (core, cores) = (u64::from(core), u64::from(cores));
        whole / cores + u64::from(core < whole % cores)
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What is asked.
    pub load: Load,
    /// The target as it was typed.
    pub target: String,
    /// The command line as it was typed, fit for a shell.
    pub command: String,
    /// Kernel numbers of the cores to run on; every core allowed when empty.
    pub cores: Vec<usize>,
    /// Where the results go.
    pub out: Option<PathBuf>,
    /// Whether an invalid result is an exit status of its own.
    pub strict: bool,
    /// The commit that is measured, as far as it was told.
    pub git_commit: String,
}
