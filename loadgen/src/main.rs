//! The program `loadgen`.

use clap::Parser;
use loadgen::cli::{Cli, Command, quoted};
use loadgen::{agent, compare, doctor, history, html, plan, run, saturate, series, sweep};
use reactor::Fatal;
use reactor::fatal;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    fatal::install("loadgen");
    match obey(Cli::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(fatal) => fatal::exit(fatal),
    }
}

fn obey(cli: Cli) -> Result<u8, Fatal> {
    match cli.command {
        Command::Run(mut typed) => {
            let words: Vec<String> = std::env::args().skip(1).collect();
            typed.words = words.iter().skip(1).cloned().collect();
            let command = format!("loadgen {}", quoted(&words));
            run::run(plan::Run::mean(*typed, command, drawn_seed())?)
        }
        Command::Scenario(typed) => series::scenario(&typed, drawn_seed()),
        Command::Saturate(typed) => saturate::saturate(&typed, drawn_seed()),
        Command::Sweep(typed) => sweep::sweep(&typed, drawn_seed()),
        Command::Compare(typed) => compare::compare(&typed),
        Command::Agent(typed) => agent::serve(&typed),
        Command::Check(typed) => history::check(&typed.file),
        Command::Report(typed) => {
            html::write(&typed.folder)
                .map_err(|why| Fatal::misuse(format!("{}: {why}", typed.folder.display())))?;
            println!("{}", typed.folder.join("report.html").display());
            Ok(0)
        }
        Command::Doctor(typed) => doctor::run(&typed),
    }
}

/// A seed for those who give none: it is told in the report.
fn drawn_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (since.as_nanos() as u64 ^ u64::from(std::process::id()) << 40) >> 11
}
