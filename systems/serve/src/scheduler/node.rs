//! One node: what is typed becomes what is meant.

use super::cluster::{self, One};
use super::{CLIENTS, Work, refuse_strangers, sense};
use crate::options::Common;
use crate::{doctor, logs};
use clap::Args;
use reactor::{Doors, Fatal, Keeper, Key, Neighbours, Plan, allowed_cores, fatal};
use scheduler::crash::Point;
use scheduler::{Config, Kind, Scheduler, Terminal};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// The version of what nodes say to each other.
const VERSION: u16 = 1;

#[derive(Args)]
pub(super) struct NodeOptions {
    #[command(flatten)]
    pub(super) common: Common,
    /// Which of the nodes of --cluster this is
    #[arg(long, env = "RINGWISE_ID", value_name = "N")]
    pub(super) id: u16,
    /// All nodes: `ID=ADDR:PORT[/LINK-PORT][/log],…`
    #[arg(long, env = "RINGWISE_CLUSTER", value_delimiter = ',', required = true, value_name = "NODES", value_parser = cluster::one)]
    pub(super) cluster: Vec<One>,
    /// A file that all nodes of a cluster have and nobody else: who does not know it is no node
    #[arg(long, env = "RINGWISE_KEY_FILE", value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) work: Work,
    /// Where it is noted that a node has died at --crash, so that no other does
    #[arg(long, hide = true, value_name = "FILE")]
    pub(super) crash_token: Option<PathBuf>,
}

static TOKEN: OnceLock<PathBuf> = OnceLock::new();

/// Dies, unless somebody of this cluster has died of the same before.
fn die(point: Point) {
    let is_first = TOKEN.get().is_none_or(|token| std::fs::File::create_new(token).is_ok());
    if is_first {
        let _ = writeln!(std::io::stderr(), "this process kills itself: {}", point.name());
        std::process::abort();
    }
}

fn refuse(why: &str) {
    fatal::exit(Fatal::unreadable(why));
}

fn line(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Reads the key that the nodes of a cluster share.
fn key(path: &Path) -> Result<Key, Fatal> {
    let wrong = |why: String| Fatal::misuse(format!("{}: {why}", path.display()));
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    Key::new(bytes.trim_ascii())
        .ok_or_else(|| wrong("it is too short for a key: put 32 random bytes there".into()))
}

pub(super) fn run(asked: &NodeOptions, kind: Kind) -> Result<(), Fatal> {
    let common = &asked.common;
    logs::want(common.log_level, common.log_format);
    refuse_strangers(common, &asked.work)?;
    cluster::checked(&asked.cluster)?;
    let Some(me) = asked.cluster.iter().find(|node| node.id == asked.id) else {
        return Err(Fatal::misuse(format!("--cluster has no node {}", asked.id)));
    };
    if me.kind != kind {
        let word = if me.kind == Kind::Log { "log" } else { "node" };
        return Err(Fatal::misuse(format!("node {} of --cluster is started by: scheduler {word}", me.id)));
    }
    let Some(data) = &common.data else {
        return Err(Fatal::misuse("a node keeps what it promises: say where with --data DIR"));
    };
    let core = core(common, me.id)?;
    doctor::before_start(1, CLIENTS)?;
    // Before anything is opened, and before there is a thread.
    let keeper = Keeper::fork(1)?;
    let doors = Doors::default();
    let http = doors.reserve(me.http)?;
    let link = doors.reserve(me.link)?;
    if let Some(token) = &asked.crash_token {
        let _ = TOKEN.set(token.clone());
    }
    let config = config(asked)?;
    let others = asked.cluster.iter().filter(|node| node.id != me.id);
    let mut plan = Plan::new("scheduler", config);
    plan.node = machine::NodeId(me.id);
    plan.cores = vec![core];
    plan.doors = doors;
    plan.data = Some(data.clone());
    plan.keeper = Some(keeper);
    plan.neighbours = Some(Neighbours {
        at: link,
        version: VERSION,
        nodes: others.map(|node| (machine::NodeId(node.id), node.link)).collect(),
        key: asked.key_file.as_deref().map(key).transpose()?,
    });
    plan.limits.buffers = 1024;
    plan.drain = common.drain_timeout;
    plan.spin = Duration::from_micros(common.spin_us);
    plan.warn = |sentence| logs::say(logs::Level::Warn, sentence);
    plan.stall = Duration::from_millis(100);
    let ready = format!("READY scheduler {}={http} link={link} pid={}", me.name(), std::process::id());
    plan.on_ready = Box::new(move || {
        // Whoever started us may not care to read it.
        let _ = writeln!(std::io::stdout(), "{ready}");
    });
    reactor::run::<Scheduler>(plan).map(drop)
}

/// A ledger is one order of things, so a node runs on one core: which one, by its number, so that several nodes on one
/// machine share all of them.
fn core(common: &Common, id: u16) -> Result<usize, Fatal> {
    let chosen = common.cores();
    let cores = if chosen.is_empty() { allowed_cores() } else { chosen };
    cores
        .get((usize::from(id) - 1) % cores.len().max(1))
        .copied()
        .ok_or_else(|| Fatal::machine("there is no core to run on"))
}

fn config(asked: &NodeOptions) -> Result<Config, Fatal> {
    let work = &asked.work;
    let mut config = Config::new(asked.cluster.iter().map(One::member).collect());
    let servers = asked.cluster.iter().filter(|node| node.kind == Kind::Server);
    config.first = servers.map(|node| node.id).min().map(machine::NodeId);
    config.room = room(work, 1);
    config.dir = std::env::temp_dir().to_string_lossy().into();
    config.pid = std::process::id();
    config.result_ttl = work.result_ttl;
    config.keep_every = work.keep_every.max(100);
    config.crash = work.crash;
    config.tokens = work.tokens()?;
    config.terminal = Terminal { line, die, refuse };
    config.sense = Some(sensor()?);
    Ok(config)
}

/// What a node may give to jobs, where `nodes` share this machine.
pub(super) fn room(work: &Work, nodes: u64) -> (u64, u64) {
    /// Most programs wait more than they compute.
    const OVER: f64 = 2.0;
    let cpus = work.cpu.unwrap_or_else(|| (allowed_cores().len() as f64 * OVER).max(4.0));
    let memory = work.memory_mb.unwrap_or_else(|| sense::meminfo("MemTotal:") / 1024 / nodes.max(1));
    ((cpus * 1000.0) as u64, memory)
}

fn sensor() -> Result<machine::Command, Fatal> {
    Ok(machine::Command {
        program: own_program()?,
        args: vec!["sense".into()],
        pipes: vec![machine::PipeKind::Output],
        ..machine::Command::default()
    })
}

/// This program, for children that are it again.
pub(super) fn own_program() -> Result<Box<str>, Fatal> {
    let path = std::env::current_exe()
        .map_err(|error| Fatal::machine(format!("cannot find this program to start it again: {error}")))?;
    Ok(path.to_string_lossy().into())
}
