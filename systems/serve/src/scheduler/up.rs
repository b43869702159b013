//! A whole cluster on one machine, and the client page, alone or with it.
//!
//! The hard thing is ports: every node must know all others before any of them runs. So they are found here, and given
//! back just before the nodes take them; free ones are taken from below those that the kernel gives to connections, so
//! that a node that is started again finds its own free.

use super::cluster::One;
use super::{CLIENT_PORT, CLIENTS, Work, node, refuse_strangers};
use crate::options::Common;
use crate::{doctor, doors, logs, values};
use clap::Args;
use reactor::{Doors, Fatal, Keeper, Plan, allowed_cores, fatal};
use scheduler::client::nursery::Nursling;
use scheduler::{Client, ClientConfig, Kind};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// Free ports are looked for from here on, below those of outgoing connections.
const FREE_FIRST: u16 = 10_240;
const FREE_COUNT: u16 = 20_000;

#[derive(Args)]
pub(super) struct Up {
    #[command(flatten)]
    common: Common,
    /// How many workers; one more node leads, and any of them may
    #[arg(long, env = "RINGWISE_WORKERS", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=32))]
    workers: u16,
    /// The port of the client page; 0 takes free ones for everything, and READY tells them
    #[arg(long, env = "RINGWISE_PORT", default_value_t = CLIENT_PORT)]
    port: u16,
    /// The port of the first leader; workers have those from two after it on [default: 3002]
    #[arg(long, env = "RINGWISE_NODE_PORT", value_name = "PORT")]
    node_port: Option<u16>,
    /// The port of the event log [default: 3003]
    #[arg(long, env = "RINGWISE_LOG_PORT", value_name = "PORT")]
    log_port: Option<u16>,
    /// Processors and MiB of each node in turn, as CPU:MIB,…, for nodes with different room
    #[arg(long, env = "RINGWISE_ROOMS", value_delimiter = ',', value_name = "CPU:MIB", value_parser = room)]
    rooms: Vec<(f64, u64)>,
    /// How long a node that has died stays dead before it is started again
    #[arg(long, env = "RINGWISE_RESTART_AFTER", default_value = "3s", value_parser = values::span)]
    restart_after: Duration,
    /// Never start a node again that has died
    #[arg(long, env = "RINGWISE_NO_RESTART")]
    no_restart: bool,
    #[command(flatten)]
    work: Work,
}

#[derive(Args)]
pub(super) struct ClientOptions {
    #[command(flatten)]
    common: Common,
    /// The port of the page; 0 takes a free one, and READY tells it
    #[arg(long, env = "RINGWISE_PORT", default_value_t = CLIENT_PORT)]
    port: u16,
    /// The nodes, by their pages, which are asked in turn
    #[arg(long, env = "RINGWISE_NODES", value_delimiter = ',', value_name = "ADDR:PORT", default_values = ["127.0.0.1:3002", "127.0.0.1:3004", "127.0.0.1:3005", "127.0.0.1:3006"])]
    nodes: Vec<SocketAddr>,
    /// A file of tokens, one a line, of which one must be shown: Authorization: Bearer TOKEN
    #[arg(long, env = "RINGWISE_AUTH_FILE", value_name = "FILE")]
    auth_file: Option<PathBuf>,
}

fn room(text: &str) -> Result<(f64, u64), String> {
    let wrong = || format!("{text:?} is no room such as 2:4096");
    let (cpu, memory) = text.split_once(':').ok_or_else(wrong)?;
    let cpu = cpu.parse::<f64>().ok().filter(|cpu| *cpu > 0.0).ok_or_else(wrong)?;
    Ok((cpu, memory.parse().map_err(|_| wrong())?))
}

static READY: OnceLock<String> = OnceLock::new();

fn ready() {
    if let Some(line) = READY.get() {
        // Whoever started us may not care to read it.
        let mut out = std::io::stdout();
        let _ = out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush());
        logs::say(logs::Level::Info, line);
    }
}

fn line(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Ports for everything, none of which anybody listens on.
struct Ports {
    listen: IpAddr,
    next: u16,
}

impl Ports {
    fn new(listen: IpAddr) -> Self {
        let mut seed = [0; 2];
        let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut seed));
        let seed = read.map_or(std::process::id() as u16, |()| u16::from_ne_bytes(seed));
        Self { listen, next: seed % FREE_COUNT }
    }

    fn free(&mut self) -> Result<SocketAddr, Fatal> {
        for _ in 0..FREE_COUNT {
            let at = SocketAddr::new(self.listen, FREE_FIRST + self.next);
            self.next = (self.next + 1) % FREE_COUNT;
            if TcpListener::bind(at).is_ok() {
                return Ok(at);
            }
        }
        Err(Fatal::taken(format!("no free port from {FREE_FIRST} on")))
    }

    /// That port, if nobody listens there; a free one for none.
    fn fixed_or_free(&mut self, port: Option<u16>) -> Result<SocketAddr, Fatal> {
        let Some(port) = port else { return self.free() };
        // The reactor's doors try for a second, as a program that was just killed may hold its port a moment longer.
        Doors::default().reserve(SocketAddr::new(self.listen, port))
    }
}

/// Where everything of a cluster is kept.
struct Place {
    dir: PathBuf,
    is_passing: bool,
}

impl Place {
    fn of(asked: &Up) -> Result<Self, Fatal> {
        let (dir, is_passing) = match (&asked.common.data, asked.port) {
            (Some(dir), _) => (dir.clone(), false),
            (None, 0) => {
                let name = format!("ringwise-scheduler-{}", std::process::id());
                (std::env::temp_dir().join(name), true)
            }
            (None, _) => {
                let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
                let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).or(home);
                let state = state.unwrap_or_else(std::env::temp_dir);
                (state.join(format!("ringwise/scheduler-{}", asked.workers)), false)
            }
        };
        std::fs::create_dir_all(&dir)
            .map_err(|error| Fatal::unreadable(format!("{}: {error}", dir.display())))?;
        Ok(Self { dir, is_passing })
    }

    /// The key of the cluster, made the first time. Its name says nothing to who cannot read it.
    fn key(&self) -> Result<PathBuf, Fatal> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.dir.join("cluster.key");
        let wrong = |error: std::io::Error| Fatal::unreadable(format!("{}: {error}", path.display()));
        if path.exists() {
            return Ok(path);
        }
        let mut random = [0; 32];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut random))
            .map_err(wrong)?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(wrong)?;
        Ok(path)
    }

    /// Refuses data of a cluster of other members: a majority of these is none of those.
    fn is_of(&self, nodes: &[One]) -> Result<(), Fatal> {
        let path = self.dir.join("members");
        let ids: Vec<String> = nodes.iter().map(One::name).collect();
        let wanted = ids.join(" ");
        match std::fs::read_to_string(&path) {
            Ok(found) if found.trim() == wanted => Ok(()),
            Ok(found) => Err(Fatal::unreadable(format!(
                "{} keeps a cluster of {}, and this one has {wanted}: give another --data DIR, or as many --workers",
                self.dir.display(),
                found.trim()
            ))),
            Err(_) => std::fs::write(&path, wanted)
                .map_err(|error| Fatal::unreadable(format!("{}: {error}", path.display()))),
        }
    }

    fn leave(&self) {
        if self.is_passing {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

/// The nodes: a first leader, workers, and the event log.
fn nodes(asked: &Up, ports: &mut Ports) -> Result<Vec<One>, Fatal> {
    let fixed = |port: Option<u16>, usual: u16| port.or((asked.port != 0).then_some(usual));
    let first = fixed(asked.node_port, 3002);
    let mut http = vec![ports.fixed_or_free(first)?];
    for worker in 0..asked.workers {
        let port = first.map(|first| first.saturating_add(2 + worker));
        http.push(ports.fixed_or_free(port)?);
    }
    http.push(ports.fixed_or_free(fixed(asked.log_port, 3003))?);
    let mut found = Vec::new();
    for (at, http) in http.iter().enumerate() {
        let kind = if at + 1 == http_count(asked) { Kind::Log } else { Kind::Server };
        let usual = http.port().checked_add(10_000).filter(|_| asked.port != 0);
        let link = ports.fixed_or_free(usual)?;
        found.push(One { id: at as u16 + 1, kind, http: *http, link });
    }
    Ok(found)
}

fn http_count(asked: &Up) -> usize {
    usize::from(asked.workers) + 2
}

/// How a node is started.
fn nursling(asked: &Up, node: &One, all: &[One], place: &Place, key: &Path) -> Result<Nursling, Fatal> {
    let servers = usize::from(asked.workers) + 1;
    let (cpu, memory) = match asked.rooms.get((usize::from(node.id) - 1) % asked.rooms.len().max(1)) {
        Some((cpu, memory)) => ((cpu * 1000.0) as u64, *memory),
        None => node::room(&asked.work, servers as u64),
    };
    let typed: Vec<String> = all.iter().map(One::typed).collect();
    let common = &asked.common;
    let mut words: Vec<String> = vec![
        if node.kind == Kind::Log { "log" } else { "node" }.into(),
        format!("--id={}", node.id),
        format!("--cluster={}", typed.join(",")),
        format!("--data={}", place.dir.join(node.name()).display()),
        format!("--key-file={}", key.display()),
        format!("--listen={}", common.listen),
        format!("--cpu={}", cpu as f64 / 1000.0),
        format!("--memory-mb={memory}"),
        format!("--result-ttl={}s", asked.work.result_ttl.as_secs().max(1)),
        format!("--keep-every={}", asked.work.keep_every),
        format!("--spin-us={}", common.spin_us),
        "--drain-timeout=2s".into(),
    ];
    if common.insecure_open {
        words.push("--insecure-open".into());
    }
    let cores: Vec<String> = common.cores().iter().map(ToString::to_string).collect();
    if !cores.is_empty() {
        words.push(format!("--cores={}", cores.join(",")));
    }
    if let Some(file) = &asked.work.auth_file {
        let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.clone());
        words.push(format!("--auth-file={}", file.display()));
    }
    if let Some(point) = asked.work.crash {
        words.push(format!("--crash={}", point.name()));
        words.push(format!(
            "--crash-token={}",
            place.dir.join(format!("crashed-{}", std::process::id())).display()
        ));
    }
    let command = machine::Command {
        program: node::own_program()?,
        args: words.into_iter().map(Into::into).collect(),
        pipes: vec![machine::PipeKind::Output, machine::PipeKind::Error],
        ..machine::Command::default()
    };
    Ok(Nursling { name: node.name().into(), command })
}

pub(super) fn up(asked: &Up) -> Result<(), Fatal> {
    let common = &asked.common;
    logs::want(common.log_level, common.log_format);
    refuse_strangers(common, &asked.work)?;
    let tokens = asked.work.tokens()?;
    doctor::before_start(1, CLIENTS)?;
    // Before anything is opened, and before there is a thread.
    let keeper = Keeper::fork(1)?;
    let doors = Doors::default();
    let mut ports = Ports::new(common.listen);
    let wanted = if asked.port == 0 { ports.free()? } else { SocketAddr::new(common.listen, asked.port) };
    let client = doors.reserve(wanted)?;
    let all = nodes(asked, &mut ports)?;
    let place = Place::of(asked)?;
    place.is_of(&all)?;
    let key = place.key()?;
    let mut config = ClientConfig::new(
        client.into(),
        all.iter().map(|node| (node.name().into(), node.http.into())).collect(),
    );
    for node in &all {
        config.nurslings.push(nursling(asked, node, &all, &place, &key)?);
    }
    config.again = (!asked.no_restart).then_some(asked.restart_after);
    config.tokens = tokens;
    let servers: Vec<SocketAddr> =
        all.iter().filter(|node| node.kind == Kind::Server).map(|node| node.http).collect();
    let log = all.iter().find(|node| node.kind == Kind::Log).map_or(client, |node| node.http);
    let line = format!(
        "READY scheduler client={client} log={log} nodes={} pid={}",
        doors::listed(&servers),
        std::process::id()
    );
    let _ = READY.set(line);
    let outcome = serve(common, config, doors, Some(keeper));
    place.leave();
    outcome
}

pub(super) fn client(asked: &ClientOptions) -> Result<(), Fatal> {
    let common = &asked.common;
    logs::want(common.log_level, common.log_format);
    common.refuse_strangers(asked.auth_file.is_some())?;
    doctor::before_start(1, CLIENTS)?;
    let doors = Doors::default();
    let at = doors.reserve(SocketAddr::new(common.listen, asked.port))?;
    let nodes = asked.nodes.iter().map(|at| (at.to_string().into(), (*at).into())).collect();
    let mut config = ClientConfig::new(at.into(), nodes);
    config.tokens = match &asked.auth_file {
        None => Vec::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Fatal::misuse(format!("{}: {error}", path.display())))?;
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Into::into).collect()
        }
    };
    let _ = READY.set(format!("READY scheduler client={at} pid={}", std::process::id()));
    serve(common, config, doors, None)
}

fn serve(
    common: &Common,
    mut config: ClientConfig,
    doors: Doors,
    keeper: Option<Keeper>,
) -> Result<(), Fatal> {
    config.line = line;
    let has_nodes = keeper.is_some();
    if has_nodes {
        config.ready = ready;
        config.refuse = |status, why| fatal::exit(Fatal { status, sentence: why.to_owned() });
    }
    let chosen = common.cores();
    let cores = if chosen.is_empty() { allowed_cores() } else { chosen };
    let mut plan = Plan::new("scheduler", config);
    // The page is one conversation; the last core, for the first node is on the first.
    plan.cores = cores.last().copied().into_iter().collect();
    plan.doors = doors;
    plan.keeper = keeper;
    plan.limits.buffers = 1024;
    plan.drain = common.drain_timeout;
    plan.spin = Duration::from_micros(common.spin_us);
    plan.stall = Duration::from_millis(100);
    plan.warn = |sentence| logs::say(logs::Level::Warn, sentence);
    if !has_nodes {
        plan.on_ready = Box::new(ready);
    }
    reactor::run::<Client>(plan).map(drop)
}
