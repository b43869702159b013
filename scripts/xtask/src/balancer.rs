//! `scripts/balancer`: the two experiments of a balancer, each one command.
//!
//! `spread` asks ten thousand requests at once over two to six replicas, by every ring, and draws who got how many.
//! `kills` kills replicas, or lets them hang, while requests come at a steady rate, and counts what failed and how long
//! it took until another answered. The hard thing in both is to believe nobody but the answers: replicas say their
//! number, so who answered is known without asking the balancer.

mod chart;
mod kills;
mod load;
mod process;
mod spread;

use crate::peers::record;
use clap::{Args, Subcommand};
use std::fs;
use std::path::{Path, PathBuf};

/// What is typed.
#[derive(Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
    /// Keep what was found in this folder
    #[arg(long, value_name = "DIR", global = true)]
    save: Option<PathBuf>,
    /// Keep it in bench-results/runs/DATE-MACHINE-COMMIT/
    #[arg(long, global = true, conflicts_with = "save")]
    record: bool,
    /// The balancer to run, in place of the one built for release
    #[arg(long, value_name = "FILE", global = true)]
    program: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Ten thousand requests at once over two to six replicas, by every ring
    Spread(spread::Options),
    /// Replicas killed, or hung, under a steady load
    Kills(kills::Options),
}

/// What an experiment found: the table, and files to lie beside it.
struct Outcome {
    found: record::Found,
    files: Vec<(String, String)>,
}

/// Runs it, shows the table, keeps it when told.
///
/// # Errors
/// A sentence when the balancer does not start, or a request failed.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), String> {
    let program = options.program.clone().unwrap_or_else(|| root.join("target/release/balancer"));
    let load_before = record::load();
    let outcome = match &options.what {
        What::Spread(asked) => spread::measure(&program, asked)?,
        What::Kills(asked) => kills::measure(&program, asked)?,
    };
    let facts = record::Facts::gather_as(root, load_before, "scripts/balancer", 2);
    println!("\n{}", record::markdown(&outcome.found, &facts));
    let recorded = || root.join("bench-results/runs").join(facts.run_name(root)).join(outcome.found.name);
    if let Some(folder) = options.save.clone().or_else(|| options.record.then(recorded)) {
        record::keep(&folder, &outcome.found, &facts)?;
        for (name, text) in &outcome.files {
            let file = folder.join(name);
            fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        }
        println!("kept in {}", folder.display());
    }
    Ok(())
}
