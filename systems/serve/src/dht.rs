//! The program `dht`: its options, its plan, and the order in which it starts.

use crate::dht_bounds::{Bounds, Durable};
use crate::logs::{self, Level};
use crate::options::{self, Common};
use crate::static_nodes::{self, This};
use crate::{check, client, doctor, doors, exchange};
use ::dht::login::Users;
use ::dht::{Announce, Config, Dht, Limits};
use clap::{Args, Parser, Subcommand};
use reactor::log::Keeping;
use reactor::{Doors, Fatal, Plan, Replays, fatal};
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

/// Where RESP is served when nobody says otherwise.
const PORT: u16 = 6379;
/// Where framed text is.
pub(crate) const FRAME_PORT: u16 = 5050;
/// The first core's own port.
const CORE_PORT: u16 = 7000;
/// Where the page and metrics are.
const METRICS_PORT: u16 = 9121;

#[derive(Parser)]
#[command(name = "dht", version, about = "A distributed hash table: every core owns a part of all keys")]
struct Typed {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Serve in the foreground until SIGTERM
    Serve(Box<Serve>),
    /// Ask a server, or all nodes of a list: a prompt that also takes commands from a pipe
    Client(client::Options),
    /// Say what this machine lacks, each with the line to type
    Doctor,
    /// Say whether what a directory keeps can be read, and what there is
    Check(check::Options),
    /// Write all keys to standard output, as requests that set them
    Export(exchange::export::Options),
    /// Carry out the requests of a file, such as export writes, on a server
    Import(exchange::import::Options),
}

#[derive(Args)]
struct Serve {
    #[command(flatten)]
    common: Common,
    /// Where RESP is served; 0 takes a free one, and READY tells it
    /// [default: 6379, or what --nodes says]
    #[arg(long, env = "RINGWISE_PORT", value_name = "PORT")]
    port: Option<u16>,
    /// Where framed text is served [default: 5050, or a free one with --port 0]
    #[arg(long, env = "RINGWISE_FRAME_PORT", value_name = "PORT")]
    frame_port: Option<u16>,
    /// The first core's own port, the next core having the next [default: 7000, or free ones with --port 0]
    #[arg(long, env = "RINGWISE_CORE_PORT", value_name = "PORT")]
    core_port: Option<u16>,
    /// Where the page, /metrics and /healthz are served [default: 9121, or a free one with --port 0]
    #[arg(long, env = "RINGWISE_METRICS_PORT", value_name = "PORT")]
    metrics_port: Option<u16>,
    #[command(flatten)]
    several: static_nodes::Options,
    #[command(flatten)]
    bounds: Bounds,
}

impl Serve {
    /// What is to be kept wants a place.
    fn refuse_unkept(&self) -> Result<(), Fatal> {
        match (self.bounds.durability, &self.common.data) {
            (Durable::Memory, _) | (Durable::Batch | Durable::Sync, Some(_)) => Ok(()),
            (Durable::Batch | Durable::Sync, None) => Err(Fatal::misuse(
                "--durability batch and sync keep what is written: say where with --data DIR".to_owned(),
            )),
        }
    }

    /// Framed text knows no passwords: with an --auth-file it is answered by a refusal, and so nothing may need it.
    fn refuse_unguarded(&self, users: &Users) -> Result<(), Fatal> {
        if users.is_open() || !(self.several.prompt || self.several.is_one_of_several()) {
            return Ok(());
        }
        Err(Fatal::misuse(
            "framed text knows no passwords, so --auth-file goes neither with --nodes nor with --prompt"
                .to_owned(),
        ))
    }
}

/// The whole program.
pub fn main() -> ! {
    fatal::install("dht");
    let outcome = options::parse::<Typed>().and_then(|typed| match typed.what {
        What::Serve(asked) => serve(&asked),
        What::Client(asked) => client::run(&asked),
        What::Check(asked) => check::run(&asked),
        What::Export(asked) => exchange::export::run(&asked),
        What::Import(asked) => exchange::import::run(&asked),
        What::Doctor => doctor::show(Limits::default().clients_max as usize),
    });
    match outcome {
        Ok(()) => std::process::exit(0),
        Err(why) => fatal::exit(why),
    }
}

fn serve(asked: &Serve) -> Result<(), Fatal> {
    let common = &asked.common;
    logs::want(common.log_level, common.log_format);
    let users = asked.bounds.users()?;
    common.refuse_strangers(!users.is_open())?;
    asked.refuse_unguarded(&users)?;
    asked.refuse_unkept()?;
    let this = asked.several.this(common.listen, asked.frame_port.unwrap_or(FRAME_PORT))?;
    let cores = match (&this, common.cores()) {
        (Some(this), chosen) => this.cores(chosen, reactor::allowed_cores())?,
        (None, chosen) if chosen.is_empty() => reactor::allowed_cores(),
        (None, chosen) => chosen,
    };
    doctor::before_start(cores.len(), asked.bounds.max_clients as usize)?;
    let doors = Doors::default();
    let at = |port: u16| SocketAddr::new(common.listen, port);
    // Who takes a free port for one listener wants to meet nobody at the others either.
    let or =
        |port: Option<u16>, default: u16| port.unwrap_or(if asked.port == Some(0) { 0 } else { default });
    let (resp_port, frame_port) = match &this {
        Some(this) => (this.resp_port(asked.port)?, asked.frame_port.or(Some(this.node().frame.port()))),
        None => (asked.port, asked.frame_port),
    };
    let resp = doors.reserve(at(resp_port.unwrap_or(PORT)))?;
    let frame = doors.reserve(at(or(frame_port, FRAME_PORT)))?;
    let announce = Announce::from(asked.bounds.cluster_announce);
    let core_count = if announce == Announce::Cores { cores.len() } else { 0 };
    let core_ports = doors::for_cores(&doors, common.listen, or(asked.core_port, CORE_PORT), core_count)?;
    let metrics = doors.reserve(at(or(asked.metrics_port, METRICS_PORT)))?;
    let pid = std::process::id();
    let listed = match &core_ports[..] {
        [] => String::new(),
        some => format!(" cores={}", doors::listed(some)),
    };
    let ready = format!("READY dht resp={resp}{listed} frame={frame} metrics={metrics} pid={pid}");
    let nodes = this.as_ref().map(This::sharing).unwrap_or_default();
    let config = Config {
        resp: Some(resp),
        frame: Some(frame),
        watch: Some(metrics),
        core_ports,
        nodes,
        announce,
        announce_ip: asked.bounds.cluster_announce_ip,
        users,
        limits: asked.bounds.limits(),
        durability: asked.bounds.durability.into(),
        has_data: common.data.is_some(),
        pid,
        end: Some(reactor::terminate),
    };
    let mut plan = Plan::new("dht", config);
    plan.node = this.as_ref().map_or(plan.node, |this| this.id);
    plan.cores = cores;
    plan.doors = doors;
    plan.data = common.data.clone();
    plan.replays = Replays::All;
    plan.keeping = Keeping { segment_bytes: asked.bounds.log_segment, calls: asked.bounds.log_calls.clone() };
    plan.drain = common.drain_timeout;
    plan.spin = Duration::from_micros(common.spin_us);
    plan.stall = asked.bounds.stall;
    plan.warn = |sentence| logs::say(Level::Warn, sentence);
    let prompts = asked.several.prompt;
    plan.on_ready = Box::new(move || {
        // Whoever started us may not care to read it.
        let _ = writeln!(std::io::stdout(), "{ready}");
        logs::say(Level::Info, &ready);
        if prompts {
            client::start_in_server(frame, this);
        }
    });
    reactor::run::<Dht>(plan)?;
    logs::say(Level::Info, "drained");
    Ok(())
}
