//! The bounds of `dht serve`, and who may come in: what is typed becomes what is meant, or a sentence.

use clap::Args;
use dht::login::Users;
use dht::policy::Policy;
use dht::{Announce, Durability, Limits, parameter};
use reactor::Fatal;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The greatest --max-key and --max-value: what a request with both still has room for.
const KEY_MAX: u64 = 1 << 20;
const VALUE_MAX: u64 = 32 << 20;

/// What is typed about it.
#[derive(Args, Clone, Debug)]
pub struct Bounds {
    /// One more client of all cores together is answered an error and closed
    #[arg(long, env = "RINGWISE_MAX_CLIENTS", default_value_t = Limits::default().clients_max, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_clients: u32,
    /// What all keys and values may cost, in equal shares for the cores: 0 (no bound), 100mb, 2gb
    #[arg(long, env = "RINGWISE_MAX_MEMORY", default_value = "0", value_name = "BYTES", value_parser = memory)]
    pub max_memory: u64,
    /// What gives way when memory is full: noeviction (the write is refused), allkeys-lru, allkeys-lfu,
    /// allkeys-random, volatile-lru, volatile-lfu, volatile-random, volatile-ttl
    #[arg(long, env = "RINGWISE_MAX_MEMORY_POLICY", default_value = "noeviction", value_name = "POLICY",
          value_parser = policy)]
    pub max_memory_policy: Policy,
    /// A longer key is answered an error
    #[arg(long, env = "RINGWISE_MAX_KEY", default_value = "64kb", value_name = "BYTES", value_parser = key_max)]
    pub max_key: usize,
    /// A longer value is answered an error, and in RESP the connection closed
    #[arg(long, env = "RINGWISE_MAX_VALUE", default_value = "16mb", value_name = "BYTES", value_parser = value_max)]
    pub max_value: usize,
    /// Who is idle for so long is closed without a word; 0 for never
    #[arg(long, env = "RINGWISE_TIMEOUT", default_value = "0", value_parser = crate::values::span)]
    pub timeout: Duration,
    /// A core that is at one thing for longer says so in a line and counts it in /metrics
    #[arg(long, env = "RINGWISE_STALL", default_value = "10ms", value_parser = crate::values::span)]
    pub stall: Duration,
    /// What an acknowledged write outlives; batch and sync want --data: memory (nothing but snapshots, if there is
    /// --data and somebody says SAVE), batch (the process
    /// and the power, but for the last 10 ms and what the disk is at just then), sync (on the disk before the answer)
    #[arg(long, env = "RINGWISE_DURABILITY", default_value = "memory")]
    pub durability: Durable,
    /// Bytes of a segment of the log, of which each core writes two at its first start
    #[arg(long, env = "RINGWISE_LOG_SEGMENT", default_value = "32mb", value_name = "BYTES", value_parser = segment)]
    pub log_segment: u64,
    /// A snapshot is begun when a core's log has grown by this much since the last, and by as much as that was long; the
    /// log before it goes. Less makes a start shorter, and all keys be written more often; 0 for never
    #[arg(long, env = "RINGWISE_SNAPSHOT_AFTER", default_value = "256mb", value_name = "BYTES", value_parser = memory)]
    pub snapshot_after: u64,
    /// Where to note what the disk is asked, for tests of power cuts
    #[arg(long, hide = true, value_name = "FILE")]
    pub log_calls: Option<PathBuf>,
    /// Who may come in: lines of user:password, or of a password alone, which is the default user's
    #[arg(long, env = "RINGWISE_AUTH_FILE", value_name = "FILE")]
    pub auth_file: Option<PathBuf>,
    /// Whom cluster clients are told to ask: the owning core by its own port, or the node by the shared one
    #[arg(long, env = "RINGWISE_CLUSTER_ANNOUNCE", default_value = "core")]
    pub cluster_announce: Whom,
    /// The address they are told [default: that of --listen, or if it is for everybody, the one they asked]
    #[arg(long, env = "RINGWISE_CLUSTER_ANNOUNCE_IP", value_name = "ADDR")]
    pub cluster_announce_ip: Option<IpAddr>,
}

/// Whom cluster clients are told to ask.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Each core has a port, and owns its slots there
    Core,
    /// No core has a port of its own
    Node,
}

/// What an acknowledged write outlives.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// Nothing
    Memory,
    /// The process and the power, but for the last moments
    Batch,
    /// The process and the power
    Sync,
}

impl From<Durable> for Durability {
    fn from(durable: Durable) -> Self {
        match durable {
            Durable::Memory => Self::Memory,
            Durable::Batch => Self::Batch,
            Durable::Sync => Self::Sync,
        }
    }
}

impl From<Whom> for Announce {
    fn from(whom: Whom) -> Self {
        match whom {
            Whom::Core => Self::Cores,
            Whom::Node => Self::Node,
        }
    }
}

impl Bounds {
    /// The same as the shards know them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            clients_max: self.max_clients,
            key_max: self.max_key,
            value_max: self.max_value,
            memory_max: self.max_memory,
            policy: self.max_memory_policy,
            snapshot_after: self.snapshot_after,
            // A part of a second would be rounded to no bound at all.
            idle_max_s: u32::try_from(self.timeout.as_millis().div_ceil(1000)).unwrap_or(u32::MAX),
            ..Limits::default()
        }
    }

    /// Who may come in; nobody stands there when everybody may.
    ///
    /// # Errors
    /// Status 2 when the file cannot be read or names nobody.
    pub fn users(&self) -> Result<Users, Fatal> {
        let Some(file) = &self.auth_file else { return Ok(Users::default()) };
        let wrong = |why: String| Fatal::misuse(format!("--auth-file {}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        Users::read(&text).map_err(wrong)
    }
}

fn memory(text: &str) -> Result<u64, String> {
    parameter::memory(text).ok_or_else(|| format!("{text:?} is no amount of memory such as 100mb or 2gb"))
}

fn segment(text: &str) -> Result<u64, String> {
    match memory(text)? {
        bytes @ 4096..=0x4000_0000 => Ok(bytes),
        _ => Err("it must be between 4kb and 1gb".into()),
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    let names = || Policy::ALL.map(Policy::name).join(", ");
    Policy::named(text).ok_or_else(|| format!("there are {}", names()))
}

fn key_max(text: &str) -> Result<usize, String> {
    between(text, KEY_MAX)
}

fn value_max(text: &str) -> Result<usize, String> {
    between(text, VALUE_MAX)
}

fn between(text: &str, most: u64) -> Result<usize, String> {
    match memory(text)? {
        bytes if (1..=most).contains(&bytes) => Ok(bytes as usize),
        _ => Err(format!("it must be between 1 and {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        bounds: Bounds,
    }

    fn bounds(words: &str) -> Result<Bounds, String> {
        let typed = std::iter::once("x").chain(words.split_whitespace());
        Typed::try_parse_from(typed).map(|typed| typed.bounds).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_typed_is_what_holds() {
        assert_eq!(bounds("").expect("it is right").limits(), Limits::default());
        let typed =
            "--max-memory 1gb --max-memory-policy allkeys-lru --max-key 1kb --max-value 1mb --timeout 1500ms";
        let expected = Limits {
            memory_max: 1 << 30,
            policy: Policy::AllKeysLru,
            key_max: 1 << 10,
            value_max: 1 << 20,
            idle_max_s: 2,
            ..Limits::default()
        };
        assert_eq!(bounds(typed).expect("it is right").limits(), expected);
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        #[track_caller]
        fn check(typed: &str, words: &str) {
            let said = bounds(typed).expect_err(typed);
            assert!(said.contains(words), "{typed}: {said}");
        }
        check("--max-memory much", "100mb");
        check("--max-memory-policy lru", "allkeys-lru");
        check("--max-value 33mb", "between 1 and");
        check("--max-key 0", "between 1 and");
        check("--max-clients 0", "0");
        check("--cluster-announce all", "core");
        let missing = bounds("--auth-file /nowhere/users").expect("it is read later").users();
        assert!(missing.expect_err("there is none").sentence.contains("/nowhere/users"));
    }
}
