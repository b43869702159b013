//! `scripts/peers`: the hash table beside redis-server, the balancer beside haproxy and nginx, a face beside nginx, and
//! ours beside itself, on one machine in one run.
//!
//! What is asked: how many requests a second of processor time is worth beside other servers, what a key costs in
//! memory, whether a bound on memory holds and what it leaves in, and what a request costs that crosses cores. The hard thing is to be fair on few cores: a server that is measured alone has a
//! core of its own and the load another, both servers get the same requests, and where the load must share the
//! server's cores the output says so and counts the server's processor time instead of the clock's.

mod bench;
mod chance;
pub(crate) mod contest;
mod cores;
mod driver;
mod durable;
mod eviction;
mod functions;
mod hops;
mod jobs;
mod lanes;
mod memory;
mod owners;
mod pages;
mod proxies;
pub(crate) mod record;
mod resp;
pub(crate) mod server;
mod zipf;

use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// What is typed.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    question: Question,
    #[command(flatten)]
    keep: Keep,
    /// The dht to run, in place of the one built for release
    #[arg(long, value_name = "FILE", global = true)]
    program: Option<PathBuf>,
}

/// Where a run is kept.
#[derive(Args, Debug)]
struct Keep {
    /// Keep README.md and result.json in this folder
    #[arg(long, value_name = "DIR", global = true)]
    save: Option<PathBuf>,
    /// Keep them in bench-results/runs/DATE-MACHINE-COMMIT/, and renew the tables that quote the run
    #[arg(long, global = true, conflicts_with = "save")]
    record: bool,
}

impl Keep {
    /// The folder for a measurement of this name, when it is to be kept.
    fn folder(&self, root: &Path, facts: &record::Facts, name: &str) -> Option<PathBuf> {
        let recorded = || root.join("bench-results/runs").join(facts.run_name(root)).join(name);
        self.save.clone().or_else(|| self.record.then(recorded))
    }
}

#[derive(Subcommand, Debug)]
enum Question {
    /// Requests for a processor second, dht on one core beside redis-server, memcached and bare loops
    #[command(name = "dht")]
    Contest(Box<contest::Options>),
    /// Answers of a kilobyte for a processor second, a face on one core beside nginx
    #[command(name = "http")]
    Pages(pages::Options),
    /// Requests for a processor second of who passes them on: balancer on one core beside haproxy, nginx, bare relays
    #[command(name = "balancer")]
    Proxies(proxies::Options),
    /// No-op functions, faas beside Celery with Redis
    #[command(name = "faas")]
    Functions(functions::Options),
    /// Jobs, scheduler beside beanstalkd and etcd, and when its processes are killed
    #[command(name = "jobs")]
    Jobs(jobs::Options),
    /// A message from core to core: the reactor's lanes beside other channels
    #[command(name = "hops")]
    Lanes(lanes::Options),
    /// Ways to drive a core's ring beside the one that the reactor takes
    Driver(driver::Options),
    /// Resident bytes a key, dht on one core and redis-server
    #[command(name = "dht-memory")]
    Memory(memory::Options),
    /// Writes a second and how long they take, kept in memory, in a log, and on the disk before the answer; dht on one
    /// core and redis-server
    #[command(name = "dht-durable")]
    Durable(durable::Options),
    /// Hit ratio and resident memory under allkeys-lru, dht on one core and redis-server
    #[command(name = "dht-eviction")]
    Eviction(eviction::Options),
    /// The same offered rate on one core and on all, dht
    #[command(name = "dht-cores")]
    Cores(cores::Options),
    /// Requests that cross cores and requests that do not, dht on all cores
    #[command(name = "dht-hops")]
    Hops(hops::Options),
}

/// Starts what is asked for, measures it, shows the table and keeps it when told.
///
/// # Errors
/// A sentence when a program is missing, does not start, or answers what it must not.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), String> {
    let dht = options.program.clone().unwrap_or_else(|| root.join("target/release/dht"));
    let load_before = record::load();
    let found = match &options.question {
        Question::Contest(asked) => {
            contest::prepare(root)?;
            return contest::run(root, &dht, &options.keep, asked);
        }
        Question::Pages(asked) => pages::measure(root, asked)?,
        Question::Proxies(asked) => proxies::measure(root, options.program.as_deref(), asked)?,
        Question::Functions(asked) => functions::measure(root, asked)?,
        Question::Jobs(asked) => jobs::measure(root, asked)?,
        Question::Lanes(asked) => lanes::measure(root, asked)?,
        Question::Driver(asked) => driver::measure(root, asked)?,
        Question::Memory(asked) => memory::measure(&dht, asked)?,
        Question::Durable(asked) => durable::measure(root, &dht, asked)?,
        Question::Eviction(asked) => eviction::measure(&dht, asked)?,
        Question::Cores(asked) => cores::measure(root, &dht, asked)?,
        Question::Hops(asked) => hops::measure(&dht, asked)?,
    };
    let facts = record::Facts::gather(root, load_before);
    println!("\n{}", record::markdown(&found, &facts));
    match options.keep.folder(root, &facts, found.name) {
        None => Ok(()),
        Some(folder) => {
            record::keep(&folder, &found, &facts)?;
            if let (Question::Proxies(_), true) = (&options.question, options.keep.record) {
                let busy = found.remarks.iter().any(|remark| remark.starts_with("Busy machine"));
                let table = proxies::summary(&found);
                contest::splice::renew(root, &folder, "scripts/peers balancer", &table, busy)?;
            }
            println!("kept in {}", folder.display());
            Ok(())
        }
    }
}
