//! `scripts/scale`: several nodes on this machine, and what they do together.
//!
//! For the hash table it is the experiment whose figures the project set out to replace: each client puts, then gets,
//! then removes its 100,000 keys, one request in flight, with more and more clients at once. The hard thing is to
//! leave nothing behind whatever happens: a node's standard input is a pipe of ours, and a node ends with its input, so
//! an end of this process by any signal is an end of all of them.

mod experiment;
mod nodes;
mod table;

use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::Command;

use experiment::Round;
use nodes::Nodes;

/// Each client has the keys of one leading digit: so many.
const COUNT_MAX: u32 = 100_000;

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum System {
    /// The hash table: static nodes, asked by `dht client`
    Dht,
}

/// Which node has a key, as `dht` understands it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Placement {
    /// The client picks the node
    Md5Mod,
    /// Any node can be asked; clients know the ring and ask the right one
    Ring,
}

impl Placement {
    const fn name(self) -> &'static str {
        match self {
            Self::Md5Mod => "md5-mod",
            Self::Ring => "ring",
        }
    }
}

/// What is typed.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// What to scale
    #[arg(value_enum)]
    system: System,
    /// How many nodes
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    nodes: u16,
    /// On how many cores each node runs; cores are given in turn, and shared when there are fewer
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..))]
    cores_each: u16,
    /// How many clients at once, one round after another; at most 9, as each has the keys of one leading digit
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8], value_parser = clap::value_parser!(u16).range(1..=9))]
    clients: Vec<u16>,
    /// Operations of each kind a client does
    #[arg(long, default_value_t = COUNT_MAX, value_parser = clap::value_parser!(u32).range(1..=i64::from(COUNT_MAX)))]
    count: u32,
    /// Bytes of a value
    #[arg(long, default_value_t = 20, value_name = "BYTES")]
    value_size: usize,
    /// Which node has a key
    #[arg(long, value_enum, default_value = "md5-mod")]
    placement: Placement,
    /// The first node's port, the others having the next; 0 finds free ones
    #[arg(long, default_value_t = 0)]
    base_port: u16,
    /// Keep table and numbers in this folder [without one: bench-results/runs/DATE-classic]
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "")]
    save: Option<PathBuf>,
    /// The program to run, in place of the one built for release
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Starts the nodes, runs the rounds, shows and keeps the table, stops the nodes.
///
/// # Errors
/// A sentence when the options cannot be meant, or a node or a client failed.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), String> {
    let System::Dht = options.system;
    let report = root.join("report/scale");
    std::fs::create_dir_all(&report).map_err(|error| format!("{}: {error}", report.display()))?;
    let program = options.program.clone().unwrap_or_else(|| root.join("target/release/dht"));
    let load_before = table::load();
    let nodes = Nodes::start(&program, &report, options)?;
    let mut rounds = Vec::new();
    for clients in &options.clients {
        let round = Round::run(&program, nodes.file(), usize::from(*clients), options)?;
        println!("{}", round.line());
        rounds.push(round);
    }
    nodes.stop()?;
    let facts = table::Facts {
        date: said("date", &["-u", "+%Y-%m-%d"], root),
        commit: said("git", &["rev-parse", "--short=12", "HEAD"], root),
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        load_before,
        load_after: table::load(),
    };
    println!("\n{}", table::markdown(options, &facts, &rounds));
    let folder = match &options.save {
        None => report,
        Some(named) if named.as_os_str().is_empty() => {
            root.join("bench-results/runs").join(format!("{}-classic", facts.date))
        }
        Some(named) => named.clone(),
    };
    table::keep(&folder, options, &facts, &rounds)
}

/// The one line that a program prints, or `unknown`.
fn said(program: &str, words: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(words).current_dir(folder).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map_or_else(|| "unknown".to_owned(), |text| String::from_utf8_lossy(&text).trim().to_owned())
}
