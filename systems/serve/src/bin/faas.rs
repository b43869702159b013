//! The program `faas`: its subcommands, and nothing else.

use clap::{Parser, Subcommand};
use reactor::fatal;
use serve::faas::serve::Serve;
use serve::faas::worker::Worker;
use serve::{doctor, faas, options};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients for which `doctor` asks whether the machine can.
const CLIENTS: usize = 1000;

#[derive(Parser)]
#[command(name = "faas", version, about = "Functions: register one, run it on a worker, fetch its result")]
struct Typed {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Serve in the foreground until SIGTERM
    Serve(Box<Serve>),
    /// Run functions for a service until SIGTERM
    Worker(Box<Worker>),
    /// Say what this machine lacks, each with the line to type
    Doctor,
}

fn main() {
    fatal::install("faas");
    let outcome = options::parse::<Typed>().and_then(|typed| match typed.what {
        What::Serve(asked) => faas::serve::serve(&asked),
        What::Worker(asked) => faas::worker::work(&asked),
        What::Doctor => doctor::show(CLIENTS),
    });
    if let Err(why) = outcome {
        fatal::exit(why);
    }
}
