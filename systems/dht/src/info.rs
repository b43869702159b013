//! INFO: how the server does, in the lines that tools read.

use crate::command::Sections;
use crate::config::REDIS_VERSION;
use crate::peer::Stats;
use core::fmt::Write as _;

/// What INFO tells of the process, the same whichever core is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its id.
    pub pid: u32,
    /// Where it serves RESP; 0 for nowhere.
    pub port: u16,
    /// How long it has run, in seconds.
    pub uptime_seconds: u64,
    /// The most clients it takes.
    pub clients_max: u32,
}

/// The text, with a blank line between sections.
#[must_use]
pub fn text(sections: &Sections, facts: &Facts, mut cores: Vec<Stats>) -> String {
    cores.sort_unstable_by_key(|stats| stats.core);
    let sum = |of: fn(&Stats) -> u64| cores.iter().map(of).sum::<u64>();
    let mut text = String::new();
    let mut section = |name: &str, title: &str, lines: &dyn Fn(&mut String)| {
        if sections.has(name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            let _ = write!(text, "# {title}\r\n");
            lines(&mut text);
        }
    };
    section("server", "Server", &|text| server(text, facts));
    section("clients", "Clients", &|text| {
        line(text, "connected_clients", sum(|stats| stats.connections));
        line(text, "maxclients", facts.clients_max);
        line(text, "blocked_clients", 0);
    });
    section("memory", "Memory", &|text| {
        line(text, "used_memory", sum(|stats| stats.bytes));
        line(text, "maxmemory", 0);
        line(text, "maxmemory_policy", "noeviction");
    });
    section("persistence", "Persistence", &|text| {
        line(text, "loading", 0);
        line(text, "rdb_bgsave_in_progress", 0);
        line(text, "aof_enabled", 0);
    });
    section("stats", "Stats", &|text| {
        line(text, "total_connections_received", sum(|stats| stats.accepted));
        line(text, "total_commands_processed", sum(|stats| stats.commands));
        line(text, "total_net_input_bytes", sum(|stats| stats.bytes_in));
        line(text, "rejected_connections", sum(|stats| stats.rejected));
        line(text, "expired_keys", sum(|stats| stats.expired));
        line(text, "evicted_keys", 0);
        line(text, "keyspace_hits", sum(|stats| stats.hits));
        line(text, "keyspace_misses", sum(|stats| stats.misses));
        line(text, "core_hops", sum(|stats| stats.hops));
    });
    section("replication", "Replication", &|text| {
        line(text, "role", "master");
        line(text, "connected_slaves", 0);
    });
    section("cores", "Cores", &|text| {
        for stats in &cores {
            let _ = write!(
                text,
                "core{}:keys={},bytes={},clients={},commands={},hops={},hits={},misses={},expired={}\r\n",
                stats.core,
                stats.keys,
                stats.bytes,
                stats.connections,
                stats.commands,
                stats.hops,
                stats.hits,
                stats.misses,
                stats.expired
            );
        }
    });
    section("cluster", "Cluster", &|text| line(text, "cluster_enabled", 0));
    section("keyspace", "Keyspace", &|text| {
        let keys = sum(|stats| stats.keys);
        if keys > 0 {
            let expiring = sum(|stats| stats.expiring);
            let _ = write!(text, "db0:keys={keys},expires={expiring},avg_ttl=0\r\n");
        }
    });
    text
}

fn server(text: &mut String, facts: &Facts) {
    line(text, "redis_version", REDIS_VERSION);
    line(text, "ringwise_version", env!("CARGO_PKG_VERSION"));
    line(text, "redis_mode", "standalone");
    line(text, "arch_bits", usize::BITS);
    line(text, "process_id", facts.pid);
    line(text, "tcp_port", facts.port);
    line(text, "uptime_in_seconds", facts.uptime_seconds);
    line(text, "uptime_in_days", facts.uptime_seconds / 86_400);
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
        let all = text(&Sections::All, &facts, vec![core(1, 5), core(0, 3)]);
        assert!(all.starts_with("# Server\r\nredis_version:"));
        assert!(all.contains("\r\n\r\n# Stats\r\n") && all.contains("keyspace_hits:4\r\n"));
        assert!(all.contains("core0:keys=3,") && all.contains("core1:keys=5,"));
        assert!(all.ends_with("# Keyspace\r\ndb0:keys=8,expires=0,avg_ttl=0\r\n"));
        let only = text(&Sections::Named(vec!["keyspace".into()]), &facts, vec![core(0, 0)]);
        assert_eq!(only, "# Keyspace\r\n");
        assert_eq!(text(&Sections::Named(vec!["foo".into()]), &facts, Vec::new()), "");
    }
}
