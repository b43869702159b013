//! The program `scheduler`: options, and what starts from them.
//!
//! `up` runs a whole cluster on one machine: the client page in this process, every node in a process of its own.
//! `node`, `log` and `client` run one role each, so that a cluster spreads over machines; the other words talk to one.

mod asker;
mod cluster;
mod node;
mod sense;
mod up;

use crate::options::{self, Common};
use crate::{doctor, values};
use clap::{Args, Parser, Subcommand};
use reactor::{Fatal, fatal};
use scheduler::crash::Point;
use std::path::PathBuf;
use std::time::Duration;

/// Clients for which `doctor` asks whether the machine can.
const CLIENTS: usize = 1000;

/// Where the client page is, when nobody says otherwise.
const CLIENT_PORT: u16 = 3001;

#[derive(Parser)]
#[command(
    name = "scheduler",
    version,
    about = "A leader, workers, and no job lost when they die",
    after_help = "Try: scheduler up --workers 3, then open http://127.0.0.1:3001/"
)]
struct Typed {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run a whole cluster on this machine until SIGTERM: nodes, event log, client page
    Up(Box<up::Up>),
    /// Run one node that can lead and work
    Node(Box<node::NodeOptions>),
    /// Run the event log: it votes, keeps everybody's log, and runs nothing
    Log(Box<node::NodeOptions>),
    /// Run the client page
    Client(Box<up::ClientOptions>),
    /// Send a job: a program text in a file, or on standard input with -
    Submit(asker::Submit),
    /// List jobs, the youngest first
    List(asker::List),
    /// Print the result of a job
    Result(asker::Job),
    /// Show one job with its whole history
    Show(asker::Job),
    /// Give up a job
    Cancel(asker::Job),
    /// Try a job again that is failed, dead, cancelled or lost
    Retry(asker::Job),
    /// List the nodes
    Nodes(asker::Nodes),
    /// Print everybody's log
    Logs(asker::Logs),
    /// Say what this machine lacks, each with the line to type
    Doctor,
    /// Print the load of this machine, twice a second
    #[command(hide = true)]
    Sense,
}

/// What a node can be told, alone or by `up`.
#[derive(Args, Clone, Debug)]
struct Work {
    /// Processors that a node may give to jobs [default: twice those of the machine, and at least 4]
    #[arg(long, env = "RINGWISE_CPU", value_name = "CPUS")]
    cpu: Option<f64>,
    /// Memory that a node may give to jobs, in MiB [default: that of the machine, shared by the nodes on it]
    #[arg(long, env = "RINGWISE_MEMORY_MB", value_name = "MIB")]
    memory_mb: Option<u64>,
    /// How long the result of a job is kept
    #[arg(long, env = "RINGWISE_RESULT_TTL", default_value = "1440m", value_parser = values::span)]
    result_ttl: Duration,
    /// Save the state and drop the log before it after so many entries
    #[arg(long, env = "RINGWISE_KEEP_EVERY", default_value_t = 20_000)]
    keep_every: u64,
    /// Kill the first node that comes to this point of a job's way: for tests
    #[arg(long, value_name = "POINT", value_parser = point)]
    crash: Option<Point>,
    /// A file of tokens, one a line, of which one must be shown: Authorization: Bearer TOKEN
    #[arg(long, env = "RINGWISE_AUTH_FILE", value_name = "FILE")]
    auth_file: Option<PathBuf>,
}

fn point(text: &str) -> Result<Point, String> {
    Point::read(text).ok_or_else(|| {
        let known: Vec<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        format!("one of {}", known.join(", "))
    })
}

impl Work {
    fn tokens(&self) -> Result<Vec<Box<str>>, Fatal> {
        self.auth_file.as_deref().map_or_else(|| Ok(Vec::new()), options::tokens)
    }
}

/// Programs of strangers would run here: more than data is at stake.
fn refuse_strangers(common: &Common, work: &Work) -> Result<(), Fatal> {
    common.refuse_strangers(work.auth_file.is_some())
}

/// The whole program.
pub fn main() -> ! {
    fatal::install("scheduler");
    let outcome = options::parse::<Typed>().and_then(|typed| match typed.what {
        What::Up(asked) => up::up(&asked),
        What::Node(asked) => node::run(&asked, scheduler::Kind::Server),
        What::Log(asked) => node::run(&asked, scheduler::Kind::Log),
        What::Client(asked) => up::client(&asked),
        What::Submit(asked) => asker::submit(&asked),
        What::List(asked) => asker::list(&asked),
        What::Result(asked) => asker::result(&asked),
        What::Show(asked) => asker::show(&asked),
        What::Cancel(asked) => asker::change(&asked, "cancel"),
        What::Retry(asked) => asker::change(&asked, "retry"),
        What::Nodes(asked) => asker::nodes(&asked),
        What::Logs(asked) => asker::logs(&asked),
        What::Doctor => doctor::show(CLIENTS),
        What::Sense => sense::run(),
    });
    match outcome {
        Ok(()) => std::process::exit(0),
        Err(why) => fatal::exit(why),
    }
}
