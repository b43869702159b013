//! INFO: how the server does, in the lines that tools read.

use crate::command::{COMMANDS, Sections};
use crate::config::REDIS_VERSION;
use crate::keep::{Durability, GROUPS};
use crate::peer::Stats;
use crate::policy::Policy;
use crate::world::{Turns, World};
use core::fmt::Write as _;
use std::collections::BTreeMap;
use wire::resp::Writer;

/// What INFO tells of the process, the same whichever core is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its id.
    pub pid: u32,
    /// Where it serves RESP; 0 for nowhere.
    pub port: u16,
    /// How long it has run, in seconds.
    pub uptime_seconds: u64,
    /// Since when, in seconds after 1970.
    pub started_second: u64,
    /// The most clients it takes.
    pub clients_max: u32,
    /// The most bytes that keys and values may cost; 0 for no bound.
    pub memory_max: u64,
    /// What gives way when they cost more.
    pub policy: Policy,
    /// On how many cores.
    pub cores: u16,
    /// What an acknowledged write outlives.
    pub durability: Durability,
    /// For how long a snapshot has been in the making, if one is.
    pub saving_seconds: Option<u64>,
    /// The second of the last snapshot, or of the start.
    pub saved_second: u64,
    /// Snapshots made since the start.
    pub saves: u64,
    /// How long the last one took, in milliseconds.
    pub save_took_ms: u64,
    /// The last one that was begun failed.
    pub is_save_failed: bool,
    /// Whether the asker came by a core's own port.
    pub is_cluster: bool,
    /// What the world counts, where it was asked.
    pub world: Option<World>,
}

/// The text, with a blank line between sections.
#[must_use]
pub fn text(sections: &Sections, facts: &Facts, mut cores: Vec<Stats>) -> String {
    cores.sort_unstable_by_key(|stats| stats.core);
    let mut text = String::new();
    let mut section = |name: &str, title: &str, is_usual: bool, write: fn(&mut String, &Facts, &[Stats])| {
        if sections.has(name, is_usual) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {title}\r\n");
            write(&mut text, facts, &cores);
        }
    };
    section("server", "Server", true, server);
    section("clients", "Clients", true, clients);
    section("memory", "Memory", true, memory_lines);
    section("persistence", "Persistence", true, persistence);
    section("stats", "Stats", true, stats);
    section("replication", "Replication", true, replication);
    section("cpu", "CPU", true, |text, facts, _| line(text, "cores", facts.cores));
    section("cores", "Cores", true, each_core);
    section("commandstats", "Commandstats", false, commands);
    section("errorstats", "Errorstats", true, errors);
    section("cluster", "Cluster", true, |text, _, _| line(text, "cluster_enabled", 1));
    section("keyspace", "Keyspace", true, keyspace);
    text
}

fn sum(cores: &[Stats], of: fn(&Stats) -> u64) -> u64 {
    cores.iter().map(of).sum()
}

fn server(text: &mut String, facts: &Facts, _: &[Stats]) {
    line(text, "redis_version", REDIS_VERSION);
    line(text, "ringwise_version", env!("CARGO_PKG_VERSION"));
    line(text, "redis_mode", if facts.is_cluster { "cluster" } else { "standalone" });
    line(text, "arch_bits", usize::BITS);
    line(text, "process_id", facts.pid);
    line(text, "tcp_port", facts.port);
    line(text, "uptime_in_seconds", facts.uptime_seconds);
    line(text, "uptime_in_days", facts.uptime_seconds / 86_400);
}

fn clients(text: &mut String, facts: &Facts, cores: &[Stats]) {
    line(text, "connected_clients", sum(cores, |stats| stats.connections));
    line(text, "cluster_connections", 0);
    line(text, "maxclients", facts.clients_max);
    line(text, "blocked_clients", 0);
    line(text, "tracking_clients", 0);
    line(text, "clients_in_timeout_table", 0);
    line(text, "idle_clients_closed", sum(cores, |stats| stats.idled));
    line(text, "overfull_clients_closed", sum(cores, |stats| stats.overfull));
}

fn memory_lines(text: &mut String, facts: &Facts, cores: &[Stats]) {
    let (dataset, held) = (sum(cores, |stats| stats.bytes), sum(cores, |stats| stats.held));
    line(text, "used_memory", dataset + held);
    line(text, "used_memory_human", human(dataset + held));
    let peak = sum(cores, |stats| stats.bytes_peak) + held;
    if let Some(world) = &facts.world {
        line(text, "used_memory_rss", world.resident);
        line(text, "used_memory_rss_human", human(world.resident));
    }
    line(text, "used_memory_peak", peak);
    line(text, "used_memory_peak_human", human(peak));
    line(text, "used_memory_dataset", dataset);
    line(text, "mem_clients_normal", held);
    line(text, "maxmemory", facts.memory_max);
    line(text, "maxmemory_human", human(facts.memory_max));
    line(text, "maxmemory_per_core", facts.memory_max / u64::from(facts.cores.max(1)));
    line(text, "maxmemory_policy", facts.policy.name());
    line(text, "mem_allocator", "mimalloc");
}

fn persistence(text: &mut String, facts: &Facts, cores: &[Stats]) {
    line(text, "loading", 0);
    line(text, "async_loading", 0);
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, |seconds| seconds as i64);
    let took = (facts.saves > 0 || facts.is_save_failed).then_some(facts.save_took_ms / 1000);
    line(text, "rdb_changes_since_last_save", sum(cores, |stats| stats.unsaved));
    line(text, "rdb_bgsave_in_progress", u8::from(facts.saving_seconds.is_some()));
    line(text, "rdb_last_save_time", facts.saved_second);
    line(text, "rdb_last_bgsave_status", if facts.is_save_failed { "err" } else { "ok" });
    line(text, "rdb_last_bgsave_time_sec", seconds(took));
    line(text, "rdb_current_bgsave_time_sec", seconds(facts.saving_seconds));
    line(text, "rdb_saves", facts.saves);
    line(text, "rdb_last_cow_size", sum(cores, |stats| stats.snapshot_taken));
    line(text, "aof_enabled", u8::from(facts.durability != Durability::Memory));
    line(text, "aof_rewrite_in_progress", 0);
    line(text, "aof_current_size", sum(cores, |stats| stats.log_grown));
    let is_refused = cores.iter().any(|stats| stats.is_log_refused);
    line(text, "aof_last_write_status", if is_refused { "err" } else { "ok" });
    line(text, "durability", facts.durability.name());
    line(text, "log_runs", sum(cores, |stats| stats.log_runs));
    line(text, "log_groups", group_sizes(cores));
    line(text, "log_answers_waiting", sum(cores, |stats| stats.log_held));
    line(text, "log_replayed", sum(cores, |stats| stats.log_replayed));
    line(text, "snapshot_took_ms", facts.save_took_ms);
    line(text, "snapshot_bytes", sum(cores, |stats| stats.snapshot_bytes));
    line(text, "snapshot_keys", sum(cores, |stats| stats.snapshot_keys));
    line(text, "snapshot_keys_ahead", sum(cores, |stats| stats.snapshot_ahead));
    line(text, "log_facts_dropped", cores.iter().map(|stats| stats.log_dropped).max().unwrap_or(0));
}

/// Groups made safe by one write each, by how many changes they held at least: `1=5,2=9,64=700`.
fn group_sizes(cores: &[Stats]) -> String {
    let of = |kind| cores.iter().filter_map(|stats| stats.log_groups.get(kind)).sum::<u64>();
    let some = (0..GROUPS).map(|kind| (kind, of(kind))).filter(|(_, count)| *count > 0);
    some.map(|(kind, count)| format!("{}={count}", 1_u64 << kind)).collect::<Vec<_>>().join(",")
}

fn stats(text: &mut String, _: &Facts, cores: &[Stats]) {
    line(text, "total_connections_received", sum(cores, |stats| stats.accepted));
    line(text, "total_commands_processed", sum(cores, |stats| stats.commands));
    line(text, "total_net_input_bytes", sum(cores, |stats| stats.bytes_in));
    line(text, "rejected_connections", sum(cores, |stats| stats.rejected));
    line(text, "expired_keys", sum(cores, |stats| stats.expired));
    line(text, "evicted_keys", sum(cores, |stats| stats.evicted));
    line(text, "evicted_clients", 0);
    line(text, "keyspace_hits", sum(cores, |stats| stats.hits));
    line(text, "keyspace_misses", sum(cores, |stats| stats.misses));
    line(text, "pubsub_channels", 0);
    line(text, "pubsub_patterns", 0);
    line(text, "total_error_replies", sum(cores, |stats| stats.errors.iter().map(|(_, count)| count).sum()));
    line(text, "core_hops", sum(cores, |stats| stats.hops));
}

fn replication(text: &mut String, _: &Facts, _: &[Stats]) {
    line(text, "role", "master");
    line(text, "connected_slaves", 0);
    line(text, "master_failover_state", "no-failover");
    line(text, "master_repl_offset", 0);
}

/// Two lines a core: what it holds and has done, and how its turns went.
fn each_core(text: &mut String, facts: &Facts, cores: &[Stats]) {
    for stats in cores {
        let _ = write!(
            text,
            "core{}:keys={},bytes={},clients={},commands={},hops={},hits={},misses={},expired={},evicted={}\r\n",
            stats.core,
            stats.keys,
            stats.bytes,
            stats.connections,
            stats.commands,
            stats.hops,
            stats.hits,
            stats.misses,
            stats.expired,
            stats.evicted
        );
        let world = facts.world.as_ref().and_then(|world| world.cores.get(usize::from(stats.core)));
        if let Some(turns) = world {
            each_turn(text, stats, turns);
        }
    }
}

fn each_turn(text: &mut String, stats: &Stats, turns: &Turns) {
    let ratio = |some: u64, of: u64| some as f64 / of.max(1) as f64;
    let _ = write!(
        text,
        "core{}_turns:turns={},events={},events_per_turn={:.2},enters={},enters_per_request={:.2},completions={},\
         parks={},hops={},hop_us_p50={:.1},hop_us_p99={:.1},stalls={},longest_us={},longest_in={}\r\n",
        stats.core,
        turns.turns,
        turns.events,
        ratio(turns.events, turns.turns),
        turns.enters,
        ratio(turns.enters, stats.commands),
        turns.completions,
        turns.parks,
        turns.hops,
        turns.hop_median_ns as f64 / 1000.0,
        turns.hop_late_ns as f64 / 1000.0,
        turns.stalls,
        turns.longest_us,
        turns.longest_in
    );
}

/// Times are what events took, shared by the requests in them; see [`slow`](crate::slow).
fn commands(text: &mut String, _: &Facts, cores: &[Stats]) {
    for (index, entry) in COMMANDS.iter().enumerate() {
        let of =
            |of: fn(&Stats) -> &Vec<u64>| cores.iter().filter_map(|stats| of(stats).get(index)).sum::<u64>();
        let (read, refused) = (of(|stats| &stats.by_command), of(|stats| &stats.refused));
        if read > 0 {
            let calls = read.saturating_sub(refused);
            let usec = of(|stats| &stats.nanos) as f64 / 1000.0;
            let each = usec / calls.max(1) as f64;
            let _ = write!(
                text,
                "cmdstat_{}:calls={calls},usec={usec:.0},usec_per_call={each:.2},rejected_calls={refused},\
                 failed_calls=0\r\n",
                entry.name
            );
        }
    }
}

fn errors(text: &mut String, _: &Facts, cores: &[Stats]) {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for (code, count) in cores.iter().flat_map(|stats| &stats.errors) {
        *all.entry(code).or_default() += count;
    }
    for (code, count) in all {
        let _ = write!(text, "errorstat_{code}:count={count}\r\n");
    }
}

fn keyspace(text: &mut String, _: &Facts, cores: &[Stats]) {
    let keys = sum(cores, |stats| stats.keys);
    if keys > 0 {
        let expiring = sum(cores, |stats| stats.expiring);
        let _ = write!(text, "db0:keys={keys},expires={expiring},avg_ttl=0\r\n");
    }
}

/// MEMORY STATS, as far as it is known.
pub fn memory(cores: &[Stats], into: &mut Writer<'_>) {
    let (dataset, held) = (sum(cores, |stats| stats.bytes), sum(cores, |stats| stats.held));
    let keys = sum(cores, |stats| stats.keys);
    let fields = [
        ("total.allocated", dataset + held),
        ("clients.normal", held),
        ("overhead.total", held),
        ("keys.count", keys),
        ("keys.bytes-per-key", dataset.checked_div(keys).unwrap_or(0)),
        ("dataset.bytes", dataset),
    ];
    into.map(fields.len());
    for (name, value) in fields {
        into.bulk(name.as_bytes());
        into.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }
}

/// Bytes as people read them.
fn human(bytes: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    match units.into_iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, unit)) => format!("{:.2}{unit}", bytes as f64 / (1_u64 << shift) as f64),
        None => format!("{bytes}B"),
    }
}

fn line(text: &mut String, name: &str, value: impl core::fmt::Display) {
    let _ = write!(text, "{name}:{value}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_summed_up_and_told_one_by_one() {
        let core = |core, keys| Stats { core, keys, hits: 2, ..Stats::default() };
        let facts = Facts { port: 6379, ..Facts::default() };
        let all = text(&Sections::Usual, &facts, vec![core(1, 5), core(0, 3)]);
        assert!(all.starts_with("# Server\r\nredis_version:"));
        assert!(all.contains("\r\n\r\n# Stats\r\n") && all.contains("keyspace_hits:4\r\n"));
        assert!(all.contains("core0:keys=3,") && all.contains("core1:keys=5,"));
        assert!(all.ends_with("# Keyspace\r\ndb0:keys=8,expires=0,avg_ttl=0\r\n"));
        let only = text(&Sections::Named(vec!["keyspace".into()]), &facts, vec![core(0, 0)]);
        assert_eq!(only, "# Keyspace\r\n");
        assert_eq!(text(&Sections::Named(vec!["foo".into()]), &facts, Vec::new()), "");
    }
}
