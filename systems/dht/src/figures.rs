//! What a core can say of itself when INFO is asked: its counts, and what holds for the whole node.

use crate::info::Facts;
use crate::peer::Stats;
use crate::shard::Dht;
use machine::Now;

impl Dht {
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            core: self.seat.core.0,
            keys: self.store.len() as u64,
            expiring: self.store.expiring() as u64,
            bytes: self.store.bytes() as u64,
            connections: self.sessions.len() as u64,
            accepted: self.counts.accepted,
            rejected: self.counts.rejected,
            commands: self.counts.by_command.iter().sum::<u64>() + self.counts.unknown,
            hits: self.store.hits,
            misses: self.store.misses,
            expired: self.store.expired(),
            hops: self.counts.hops,
            bytes_in: self.counts.bytes_in,
            held: self.sessions.iter().map(|session| session.cost() as u64).sum(),
            evicted: self.store.evicted(),
            idled: self.counts.idled,
            overfull: self.counts.overfull,
            log_runs: self.keep.runs,
            log_held: self.keep.held(),
            log_replayed: self.keep.replayed,
            log_dropped: self.keep.dropped,
            is_log_refused: self.keep.refuses().is_some(),
            by_command: self.counts.by_command.clone(),
            refused: self.counts.refused.clone(),
            nanos: self.slowness.nanos().to_vec(),
            bytes_peak: self.bytes_peak.max(self.store.bytes()) as u64,
            errors: self.counts.errors.clone(),
        }
    }

    pub(crate) fn facts(&self, now: Now) -> Facts {
        Facts {
            pid: self.config.pid,
            port: self.config.resp.map_or(0, |at| at.port()),
            uptime_seconds: now.at.since(self.started.at).as_secs(),
            started_second: self.started.wall.millis() / 1000,
            clients_max: self.config.limits.clients_max,
            memory_max: self.config.limits.memory_max,
            policy: self.config.limits.policy,
            cores: self.seat.cores,
            durability: self.config.durability,
            is_cluster: false,
            world: None,
        }
    }
}
