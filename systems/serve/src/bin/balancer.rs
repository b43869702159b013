//! The program `balancer`: options, and nothing else.

use balancer::{Balancer, Config};
use clap::{Args, Parser, Subcommand};
use reactor::{Doors, Fatal, Plan, fatal};
use serve::options::{self, Common};
use serve::{doctor, logs};
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients for which `doctor` asks whether the machine can.
const CLIENTS: usize = 1000;

#[derive(Parser)]
#[command(name = "balancer", version, about = "Counters by name, spread over the cores")]
struct Typed {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Serve in the foreground until SIGTERM
    Serve(Box<Serve>),
    /// Say what this machine lacks, each with the line to type
    Doctor,
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    common: Common,
    /// Where lines are served; 0 takes a free port, and READY tells it
    #[arg(long, env = "RINGWISE_PORT", default_value_t = 6400)]
    port: u16,
}

fn main() {
    fatal::install("balancer");
    let outcome = options::parse::<Typed>().and_then(|typed| match typed.what {
        What::Serve(asked) => serve(&asked),
        What::Doctor => doctor::show(CLIENTS),
    });
    if let Err(why) = outcome {
        fatal::exit(why);
    }
}

fn serve(asked: &Serve) -> Result<(), Fatal> {
    let common = &asked.common;
    logs::want(common.log_level, common.log_format);
    common.refuse_strangers(false)?;
    let doors = Doors::default();
    let at = doors.reserve(SocketAddr::new(common.listen, asked.port))?;
    let mut plan = Plan::new("balancer", Config { listen: at.into() });
    plan.doors = doors;
    plan.cores = common.cores();
    plan.drain = common.drain_timeout;
    plan.spin = Duration::from_micros(common.spin_us);
    plan.on_ready = Box::new(move || {
        let _ = writeln!(std::io::stdout(), "READY balancer lines={at} pid={}", std::process::id());
    });
    reactor::run::<Balancer>(plan).map(drop)
}
