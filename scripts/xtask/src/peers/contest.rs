//! The contest: the hash table on one core beside redis-server, memcached and bare loops over io_uring and epoll, each
//! on one core too, asked by clients on another.
//!
//! Absolute rates say little on a virtual machine, whose host gives now more and now less. So servers take turns within
//! a cell, round after round, each fresh and each round beginning with another; medians and the whole spread are told;
//! and what is compared is requests for a second of the server's processor time.

pub(crate) mod cell;
pub(crate) mod client;
mod outcome;
mod plain;
pub(super) mod splice;

use super::Keep;
use super::record::{self, Facts, Found};
use super::server::{Kind, Server, part_cores};
use cell::Cell;
use clap::{Args, ValueEnum};
use client::{By, Clients};
use outcome::Outcomes;
pub(super) use outcome::median;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Seconds that a client counts; under it the server's time, told in hundredths of a second, is coarse.
const SECONDS: u64 = 5;
const SECONDS_QUICK: u64 = 2;
/// What starting and ending a server takes.
const SERVER_SECONDS: f64 = 0.5;
/// Descriptors that a program needs besides its connections.
const SPARE_DESCRIPTORS: u64 = 200;

/// Which servers take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Named {
    Redis,
    Memcached,
    Uring,
    /// kv_uring --spin: what dht-spinning can reach at most
    UringSpinning,
    Epoll,
    Dht,
    /// dht --spin-us 200: for one connection, which a wake-up costs most
    DhtSpinning,
}

impl Named {
    const fn kind(self) -> Kind {
        match self {
            Self::Redis => Kind::Redis,
            Self::Memcached => Kind::Memcached,
            Self::Uring => Kind::BareUring,
            Self::UringSpinning => Kind::BareUringSpinning,
            Self::Epoll => Kind::BareEpoll,
            Self::Dht => Kind::Dht,
            Self::DhtSpinning => Kind::DhtSpinning,
        }
    }
}

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Only cells with these parts in their names, such as 50x16/get/small, get/small, 10000x1
    #[arg(long, value_name = "CELL", value_delimiter = ',')]
    only: Vec<String>,
    /// Count two seconds a cell in place of five
    #[arg(long)]
    quick: bool,
    /// Seconds that count in each cell
    #[arg(long, conflicts_with = "quick", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: Option<u64>,
    /// Rounds of each cell; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Servers, the first being what the others are compared to
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Named::Redis, Named::Memcached, Named::Uring, Named::Epoll, Named::Dht])]
    servers: Vec<Named>,
    /// Clients
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [By::Loadgen, By::Lg, By::RedisBenchmark, By::Plain])]
    by: Vec<By>,
    /// The folder of the bare servers kv_uring and kv_epoll and of the bare client lg; without it they take no part
    #[arg(long, value_name = "DIR")]
    bare: Option<PathBuf>,
    /// The load generator to run, in place of the one built for release
    #[arg(long, value_name = "FILE")]
    loadgen: Option<PathBuf>,
}

/// One server, one client, one cell.
#[derive(Clone, Copy, Debug)]
struct Bout {
    by: By,
    kind: Kind,
    cell: Cell,
}

/// What is to be done.
struct Plan {
    dht: PathBuf,
    clients: Clients,
    server_core: String,
    how: String,
    rounds: u32,
    first: Kind,
    /// In the order in which they are run, all rounds of a cell together.
    bouts: Vec<Bout>,
}

/// Runs all bouts; what is done is kept after each cell, so that nothing is lost when it is broken off.
pub(super) fn run(root: &Path, dht: &Path, keep: &Keep, options: &Options) -> Result<(), String> {
    let load_before = record::load();
    let busy = record::busy();
    if let Some(busy) = &busy {
        println!("{busy}");
    }
    let plan = Plan::mean(root, dht, options)?;
    println!("{}", plan.foretold());
    let facts = Facts::gather(root, load_before.clone());
    let kept_folder = keep.folder(root, &facts, "dht-peers");
    let mut outcomes = Outcomes::new(plan.first);
    // A run may be made in pieces at one commit; what is not kept begins anew each time.
    let before = kept_folder.as_deref().and_then(record::kept);
    if let Some(before) = &before {
        plan.join(&before["result"], &mut outcomes)?;
    }
    let facts = || Facts::gather(root, load_before.clone()).after(before.as_ref());
    let folder = kept_folder.unwrap_or_else(|| root.join("report/peers/dht"));
    let began = Instant::now();
    for bouts in plan.bouts.chunk_by(|one, other| (one.cell, one.by) == (other.cell, other.by)) {
        plan.cell(bouts, &mut outcomes);
        record::keep(&folder, &plan.found(&outcomes, busy.as_deref()), &facts())?;
    }
    if outcomes.is_empty() {
        return Err("No cell was measured; why stands above.".to_owned());
    }
    println!("\n{}", record::markdown(&plan.found(&outcomes, busy.as_deref()), &facts()));
    println!("Kept in {} after {:.0} s.", folder.display(), began.elapsed().as_secs_f64());
    if keep.record {
        let table = outcomes.summary();
        if table.is_empty() {
            println!("No page was renewed: they quote get/small, which was not measured.");
        } else {
            splice::renew(root, &folder, "scripts/peers dht", &table, busy.is_some())?;
        }
    }
    Ok(())
}

impl Plan {
    /// Everything that could be missing is looked for now and not after an hour.
    fn mean(root: &Path, dht: &Path, options: &Options) -> Result<Self, String> {
        let cells = Cell::chosen(&options.only)?;
        let loadgen = options.loadgen.clone().unwrap_or_else(|| root.join("target/release/loadgen"));
        let seconds = options.seconds.unwrap_or(if options.quick { SECONDS_QUICK } else { SECONDS });
        let (server_core, how) = part_cores()?;
        let clients = Clients {
            loadgen,
            bare: options.bare.clone(),
            core: super::server::last_core(),
            duration: Duration::from_secs(seconds),
            scratch: root.join("report/peers/loadgen"),
            spins: true,
            rate: None,
        };
        let mut plan = Self {
            dht: dht.to_path_buf(),
            clients,
            server_core,
            how,
            rounds: options.rounds,
            first: Kind::Redis,
            bouts: Vec::new(),
        };
        let kinds = plan.kinds(options)?;
        let by = plan.by(options)?;
        plan.first =
            *kinds.first().ok_or("Nobody takes part: without --bare DIR there are no bare servers.")?;
        let descriptors = record::descriptors();
        for cell in cells {
            if cell.connections as u64 + SPARE_DESCRIPTORS > descriptors {
                println!("{cell} is left out: a process may open {descriptors} files here (ulimit -n).");
                continue;
            }
            for by in &by {
                let can = kinds.iter().filter(|kind| by.can(**kind, &cell));
                plan.bouts.extend(can.map(|kind| Bout { by: *by, kind: *kind, cell }));
            }
        }
        Ok(plan)
    }

    /// Takes over the cells of a run before that are not measured anew.
    fn join(&self, before: &Value, outcomes: &mut Outcomes) -> Result<(), String> {
        let is_alike = [("seconds", self.clients.duration.as_secs()), ("rounds", u64::from(self.rounds))]
            .iter()
            .all(|(name, now)| before[*name].as_u64() == Some(*now));
        if !is_alike || before["first"].as_str() != Some(&self.first.to_string()) {
            return Err(
                "What was kept there has other seconds, rounds or another first server: run it as that was, \
                        or move it away."
                    .to_owned(),
            );
        }
        let is_anew = |cell: &Cell, by| self.bouts.iter().any(|bout| bout.cell == *cell && bout.by == by);
        let count = outcomes.join(before, is_anew);
        println!("{count} samples of other cells were kept before and stay.");
        Ok(())
    }

    fn kinds(&self, options: &Options) -> Result<Vec<Kind>, String> {
        let mut kinds = Vec::new();
        for kind in options.servers.iter().map(|named| named.kind()) {
            match kind {
                Kind::BareUring | Kind::BareUringSpinning | Kind::BareEpoll => match self.bare_path(kind) {
                    Some(path) => client::is_there(&path)?,
                    None => {
                        println!("{kind} takes no part: --bare DIR was not given.");
                        continue;
                    }
                },
                Kind::Dht | Kind::DhtSpinning => client::is_there(&self.dht)?,
                Kind::Redis | Kind::Memcached => {
                    super::server::require(&kind.to_string(), &kind.to_string())?
                }
            }
            kinds.push(kind);
        }
        Ok(kinds)
    }

    fn by(&self, options: &Options) -> Result<Vec<By>, String> {
        let mut all = Vec::new();
        for by in &options.by {
            match (by, &options.bare) {
                (By::Lg, None) => {
                    println!("lg takes no part: --bare DIR was not given.");
                    continue;
                }
                (By::Lg, Some(bare)) => client::is_there(&bare.join("lg"))?,
                (By::Loadgen, _) => client::is_there(&self.clients.loadgen)?,
                (By::RedisBenchmark, _) => super::server::require("redis-benchmark", "redis-tools")?,
                (By::Plain, _) => {}
            }
            all.push(*by);
        }
        Ok(all)
    }

    fn bare_path(&self, kind: Kind) -> Option<PathBuf> {
        let program = if kind == Kind::BareEpoll { "kv_epoll" } else { "kv_uring" };
        self.clients.bare.as_ref().map(|bare| bare.join(program))
    }

    /// How much there is to do.
    fn foretold(&self) -> String {
        let once: f64 = self
            .bouts
            .iter()
            .map(|bout| self.clients.foretold(&bout.cell).as_secs_f64() + SERVER_SECONDS)
            .sum();
        let minutes = once * f64::from(self.rounds) / 60.0;
        let bouts = self.bouts.len() * self.rounds as usize;
        format!("{bouts} runs of {} s, about {minutes:.0} minutes in all.", self.clients.duration.as_secs())
    }

    /// All rounds of a cell by one client; each round begins with another server.
    fn cell(&self, bouts: &[Bout], outcomes: &mut Outcomes) {
        for round in 0..self.rounds as usize {
            for turn in 0..bouts.len() {
                let bout = &bouts[(turn + round) % bouts.len()];
                match self.bout(bout) {
                    Ok(sample) => {
                        println!("{}", outcome::line(bout, &sample));
                        outcomes.add(bout, sample);
                    }
                    Err(why) => {
                        println!("{} by {}, {}: FAILED: {why}", bout.cell, bout.by.name(), bout.kind);
                        outcomes.failed(bout, why);
                    }
                }
            }
        }
    }

    fn bout(&self, bout: &Bout) -> Result<client::Sample, String> {
        let program = match bout.kind {
            Kind::BareUring | Kind::BareUringSpinning | Kind::BareEpoll => {
                self.bare_path(bout.kind).unwrap_or_default()
            }
            Kind::Dht | Kind::DhtSpinning | Kind::Redis | Kind::Memcached => self.dht.clone(),
        };
        let server = Server::start(bout.kind, &program, &self.server_core, None)?;
        self.clients.run(bout.by, &server, &bout.cell)
    }

    fn found(&self, outcomes: &Outcomes, busy: Option<&str>) -> Found {
        let mut remarks = outcomes.remarks();
        if let Some(busy) = busy {
            remarks.insert(0, busy.to_owned());
        }
        Found {
            name: "dht-peers",
            title: "Beside the peers, one core each".to_owned(),
            how: format!(
                "Servers take turns, fresh for each run, without persistence; {} keys of 16 bytes; {} s count of each \
                 run, {} rounds, medians, and the whole spread of requests for a processor second of the server (user \
                 and system time of all its threads out of /proc). The mix is nine reads and a write, zipfian (θ \
                 0.99). loadgen, lg and redis-benchmark speak RESP; the plain client also speaks memcached's text, \
                 and tells latency for one connection only. {}.",
                plain::KEYS,
                self.clients.duration.as_secs(),
                self.rounds,
                self.how
            ),
            columns: outcome::COLUMNS.to_vec(),
            rows: outcomes.rows(),
            remarks,
            json: self.with_terms(outcomes.json()),
        }
    }

    /// With what must be alike in all pieces of a run.
    fn with_terms(&self, mut json: Value) -> Value {
        json["seconds"] = self.clients.duration.as_secs().into();
        json["rounds"] = self.rounds.into();
        json
    }
}

/// Where a run is left that nobody wants to keep: made before a client needs it.
pub(super) fn prepare(root: &Path) -> Result<(), String> {
    let folder = root.join("report/peers");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))
}
