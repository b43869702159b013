//! What a core can say of itself when INFO is asked: its counts, and what holds for the whole node.

use crate::command::COMMANDS;
use crate::info::Facts;
use crate::peer::Stats;
use crate::shard::Dht;
use machine::{Gauges, Now};

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
            log_groups: self.keep.groups.to_vec(),
            log_held: self.keep.held(),
            log_replayed: self.keep.replayed,
            log_dropped: self.keep.dropped,
            is_log_refused: self.keep.refuses().is_some(),
            log_grown: self.snapshots.grown(),
            unsaved: self.snapshots.unsaved(self.store.changes()),
            snapshot_bytes: self.snapshots.bytes,
            snapshot_keys: self.snapshots.keys,
            snapshot_ahead: self.snapshots.ahead,
            snapshot_taken: self.snapshots.taken,
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
            saving_seconds: self.snapshots.begun().map(|begun| now.at.since(begun).as_secs()),
            saved_second: self.snapshots.second,
            saves: self.snapshots.rounds,
            save_took_ms: self.snapshots.took_ms,
            is_save_failed: self.snapshots.fault.is_some(),
            is_cluster: false,
            world: None,
        }
    }

    /// What is counted here, for who looks at all cores together.
    pub(crate) fn count_into(&self, into: &mut Gauges) {
        for (entry, count) in COMMANDS.iter().zip(&self.counts.by_command) {
            let name = format!("ringwise_dht_commands_total{{command=\"{}\"}}", entry.name);
            into.counter(name, "requests read, by command", *count);
        }
        let stats = self.stats();
        into.counter("ringwise_dht_unknown_total", "requests that name no command", self.counts.unknown);
        into.counter("ringwise_dht_hits_total", "look-ups that found a value", stats.hits);
        into.counter("ringwise_dht_misses_total", "look-ups that found none", stats.misses);
        into.counter("ringwise_dht_expired_total", "keys whose time had come", stats.expired);
        into.counter("ringwise_dht_evicted_total", "keys that gave way to others", stats.evicted);
        into.counter("ringwise_dht_idle_total", "clients let go because they were idle", stats.idled);
        into.counter("ringwise_dht_overfull_total", "clients cut off with too many answers", stats.overfull);
        into.counter(
            "ringwise_dht_errors_total",
            "errors told",
            stats.errors.iter().map(|(_, count)| count).sum(),
        );
        into.counter("ringwise_dht_hops_total", "questions to other cores", stats.hops);
        into.counter("ringwise_dht_forwarded_total", "requests passed to other nodes", self.ways.forwarded);
        into.counter("ringwise_dht_forward_failures_total", "of those, failed on the way", self.ways.failed);
        into.counter("ringwise_dht_rejected_total", "clients turned away", stats.rejected);
        into.level("ringwise_dht_keys", "keys owned", stats.keys as i64);
        into.level("ringwise_dht_bytes", "bytes that keys and values take", stats.bytes as i64);
        into.level("ringwise_dht_connections", "clients connected", stats.connections as i64);
        into.level("ringwise_dht_log_bytes", "log that a start would read", self.snapshots.grown() as i64);
        into.counter("ringwise_dht_snapshots_total", "snapshots that became whole", self.snapshots.rounds);
        into.level("ringwise_dht_snapshot_bytes", "bytes of the last snapshot", self.snapshots.bytes as i64);
    }
}
