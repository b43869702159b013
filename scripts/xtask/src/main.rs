//! The workshop: what keeps the tree in order and takes part in no program.
//!
//! Scripts in `scripts/` stay thin and call this crate wherever there is logic. `tidy` holds the rules of the
//! tree as data and checks them; `test` runs the parts of a full test one after another and counts them;
//! `scale` runs several nodes and measures them; `peers` measures the hash table beside other servers, `flamegraph` where its time goes; `new-system` writes a sixth system to start from. The hard thing is to stay quick to build, for a stranger
//! waits for it first: so it depends on the command line, cargo's own metadata, and nothing of ours.

#![forbid(unsafe_code)]

mod balancer;
mod bench;
mod flamegraph;
mod new_system;
mod parts;
mod peers;
mod scale;
mod tidy;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "xtask", about = "Keeps the Ringwise tree in order")]
struct Typed {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the rules of the tree: imports, unsafe, sizes, paths named in ARCHITECTURE.md
    Tidy,
    /// Run the parts of the test, one after another, and count them
    Test {
        /// Which parts
        #[arg(value_enum, default_value_t = parts::Which::Fast)]
        which: parts::Which,
        /// Only parts whose name contains this
        #[arg(long)]
        only: Option<String>,
    },
    /// What needs no more than cargo: fmt, clippy, tests (tidy among them), deny
    Ci,
    /// Run several nodes on this machine and measure what they do together; scripts/scale builds them first
    Scale(Box<scale::Options>),
    /// Measure the hash table beside other servers, and beside itself; scripts/peers builds it first
    Peers(Box<peers::Options>),
    /// The experiments of a balancer: who gets how many requests, and what an end of a replica costs
    Balancer(Box<balancer::Options>),
    /// Measure what the README quotes; scripts/bench builds it first
    Bench(bench::Options),
    /// Look where a server's time goes; scripts/flamegraph builds it first
    Flamegraph(Box<flamegraph::Options>),
    /// Write systems/NAME: a small system that works, to start from
    NewSystem {
        /// Lower-case letters, digits and underscores, beginning with a letter
        name: String,
    },
}

fn main() -> ExitCode {
    let root = root();
    let done = match Typed::parse().task {
        Task::Tidy => tidy::report(&root),
        Task::Test { which, only } => parts::run(&root, which, only.as_deref()),
        Task::Ci => parts::run(&root, parts::Which::Ci, None),
        Task::Scale(options) => scale::run(&root, &options),
        Task::Peers(options) => peers::run(&root, &options),
        Task::Balancer(options) => balancer::run(&root, &options),
        Task::Bench(options) => bench::run(&root, &options),
        Task::Flamegraph(options) => flamegraph::run(&root, &options),
        Task::NewSystem { name } => new_system::write(&root, &name),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace that cargo runs this in. Asked when it runs and not when it was built: two copies of
/// the tree may share a target folder, and then they share this program.
fn root() -> PathBuf {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&here).ancestors().nth(2).expect("scripts/xtask lies two folders under the root").to_path_buf()
}
