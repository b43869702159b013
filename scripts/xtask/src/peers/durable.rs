//! What it costs to keep what is written: the hash table with `memory`, `batch` and `sync` beside redis-server that
//! keeps no log, syncs it every second, and syncs it before each answer.
//!
//! The hard thing is the disk, whose speed differs from minute to minute: so in each round all six take turns, ratios
//! are those of a round, and their medians are told.

use super::contest::cell::Cell;
use super::contest::client::{By, Clients, Sample};
use super::contest::median;
use super::record::Found;
use super::server::{Kept, Kind, Server, part_cores};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is asked.
const CELLS: [&str; 3] = ["1x1/set/small", "50x1/set/small", "50x16/set/small"];

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Seconds that count in each cell
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Only these durabilities
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kept::ALL)]
    kept: Vec<Kept>,
    /// The client
    #[arg(long, value_enum, default_value_t = By::Loadgen)]
    by: By,
    /// The folder of the bare client lg
    #[arg(long, value_name = "DIR")]
    bare: Option<PathBuf>,
    /// Where the servers keep what is written: a folder on the disk that is meant
    #[arg(long, value_name = "DIR")]
    disk: Option<PathBuf>,
}

/// One server, one durability, one cell, by round.
struct Row {
    cell: Cell,
    kept: Kept,
    kind: Kind,
    samples: Vec<Sample>,
    /// What INFO tells of groups, in the last round.
    groups: String,
}

pub(super) fn measure(root: &Path, dht: &Path, options: &Options) -> Result<Found, String> {
    let (core, how) = part_cores()?;
    let clients = Clients {
        loadgen: root.join("target/release/loadgen"),
        bare: options.bare.clone(),
        core: super::server::last_core(),
        duration: Duration::from_secs(options.seconds),
        scratch: root.join("report/peers/loadgen"),
        spins: false,
        rate: None,
    };
    let disk = options.disk.clone().unwrap_or_else(|| root.join("report/peers/durable"));
    let mut rows = Vec::new();
    for cell in Cell::chosen(&CELLS.map(str::to_owned))? {
        for kept in &options.kept {
            for kind in [Kind::Dht, Kind::Redis] {
                rows.push(Row { cell, kept: *kept, kind, samples: Vec::new(), groups: String::new() });
            }
        }
    }
    for round in 0..options.rounds {
        for row in &mut rows {
            let place = disk.join(format!("{}-{}", row.kind, row.kept.name()));
            let _ = std::fs::remove_dir_all(&place);
            std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
            let server = Server::start_kept(row.kind, dht, &core, row.kept, &place)?;
            let sample = clients.run(options.by, &server, &row.cell)?;
            if row.kind == Kind::Dht {
                row.groups = server.client()?.info("persistence")?.word("log_groups");
            }
            println!(
                "round {round} {} {} {}: {:.0}/s, p99 {:.0} us",
                row.cell,
                row.kind,
                row.kept.told(row.kind),
                sample.rate,
                sample.latency_us[1].unwrap_or(0.0)
            );
            row.samples.push(sample);
            drop(server);
            let _ = std::fs::remove_dir_all(&place);
        }
    }
    Ok(found(&rows, options, &how))
}

fn found(rows: &[Row], options: &Options, how: &str) -> Found {
    Found {
        name: "dht-durable",
        title: "Writes that are kept".to_owned(),
        how: format!(
            "SET of 3-byte values by {} for {} s, {} rounds in which all servers take turns, each fresh and with an \
             empty directory on the same disk; medians. The ratio is dht to redis-server within a round. {how}.",
            options.by.name(),
            options.seconds,
            options.rounds
        ),
        columns: vec![
            "cell",
            "server",
            "kept",
            "writes/s",
            "p50 us",
            "p99 us",
            "to redis-server",
            "groups by changes",
        ],
        rows: rows.iter().map(|row| row.shown(rows)).collect(),
        remarks: Vec::new(),
        json: json!({ "rows": rows.iter().map(Row::json).collect::<Vec<_>>() }),
    }
}

impl Row {
    fn rate(&self) -> f64 {
        median(self.samples.iter().map(|sample| sample.rate).collect())
    }

    fn latency(&self, part: usize) -> f64 {
        median(self.samples.iter().filter_map(|sample| sample.latency_us[part]).collect())
    }

    fn shown(&self, rows: &[Self]) -> Vec<String> {
        let is_peer = |row: &&Self| row.cell == self.cell && row.kept == self.kept && row.kind == Kind::Redis;
        let ratio = rows.iter().find(is_peer).filter(|_| self.kind == Kind::Dht).map(|peer| {
            let pairs = self.samples.iter().zip(&peer.samples);
            format!("{:.2}", median(pairs.map(|(ours, theirs)| ours.rate / theirs.rate).collect()))
        });
        vec![
            self.cell.to_string(),
            self.kind.to_string(),
            self.kept.told(self.kind).to_owned(),
            format!("{:.0}", self.rate()),
            format!("{:.0}", self.latency(0)),
            format!("{:.0}", self.latency(1)),
            ratio.unwrap_or_default(),
            self.groups.clone(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "cell": self.cell.to_string(),
            "server": self.kind.to_string(),
            "kept": self.kept.told(self.kind),
            "rates": self.samples.iter().map(|sample| sample.rate).collect::<Vec<_>>(),
            "shares": self.samples.iter().map(|sample| sample.share).collect::<Vec<_>>(),
            "latency_us": self.samples.iter().map(|sample| sample.latency_us).collect::<Vec<_>>(),
            "groups": self.groups,
        })
    }
}
