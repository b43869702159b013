//! The program `balancer`: its options, and what they mean.

mod reload;
mod typed;

use crate::options::{self, Common};
use crate::sweep::{self, Sweep};
use crate::values::span;
use crate::{doctor, logs};
use balancer::config::{Docker, Driver, KeyFrom, Telling, Waits, Watching};
use balancer::replica::{self, Replica};
use balancer::spread::Way;
use balancer::spread::slots512::{self, Pair};
use balancer::{Balancer, Config, admin};
use clap::{Args, Parser, Subcommand, ValueEnum};
use machine::{Address, Command, Gauges, Signal};
use reactor::{Doors, Fatal, Inheritance, Keeper, Plan, allowed_cores, fatal};
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use typed::{address, factor, key, ports, signal, words};

/// How long READY waits for the first replicas: who reads it may ask at once, and replicas that do not come are told of
/// by answers.
const REPLICAS_WAITED: Duration = Duration::from_secs(2);

/// Clients for which `doctor` asks whether the machine can.
const CLIENTS: usize = 10_000;

#[derive(Parser)]
#[command(name = "balancer", version, about = "An HTTP load balancer that owns its replicas")]
struct Typed {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Serve in the foreground until SIGTERM
    Serve(Box<Serve>),
    /// Be a replica that says hello: what `serve` starts by default
    Replica(BeReplica),
    /// Remove containers and networks that a killed balancer left at a Docker engine
    Sweep(Engine),
    /// Say what this machine lacks, each with the line to type
    Doctor,
}

/// Where containers are.
#[derive(Args, Clone)]
struct Engine {
    /// The engine's socket, for --driver docker
    #[arg(long, env = "RINGWISE_DOCKER_SOCKET", default_value = "/var/run/docker.sock", value_name = "PATH")]
    docker_socket: String,
    /// The network of the replicas, made when it is not there
    #[arg(long, env = "RINGWISE_DOCKER_NETWORK", default_value = "ringwise")]
    docker_network: String,
}

impl Engine {
    fn sweep(&self) -> Sweep {
        Sweep { socket: self.docker_socket.clone().into(), network: self.docker_network.clone() }
    }

    /// What the keeper does when the program is gone, whoever ended it.
    fn last_act(&self) -> Result<Command, Fatal> {
        let words =
            ["sweep", "--docker-socket", &self.docker_socket, "--docker-network", &self.docker_network];
        let args = words.into_iter().map(Into::into).collect();
        Ok(Command { program: own_program()?.into(), args, ..Command::default() })
    }
}

#[derive(Args)]
struct BeReplica {
    /// Where to listen
    #[arg(long, env = "RINGWISE_LISTEN", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDR")]
    listen: IpAddr,
    /// The port
    #[arg(long, env = "RINGWISE_PORT", default_value_t = 5000)]
    port: u16,
    /// The number it says hello with
    #[arg(long, env = "RINGWISE_ID", default_value_t = 1)]
    id: u64,
}

#[derive(Args, Clone)]
struct Serve {
    #[command(flatten)]
    common: Common,
    /// Where clients connect; 0 takes a free port, and READY tells it
    #[arg(long, env = "RINGWISE_PORT", default_value_t = 5000)]
    port: u16,
    /// Where operators connect: page, /explain, /distribution, /metrics, /healthz
    #[arg(long, env = "RINGWISE_ADMIN_PORT", default_value_t = 5001)]
    admin_port: u16,
    /// The address of the admin port
    #[arg(long, env = "RINGWISE_ADMIN_LISTEN", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDR")]
    admin_listen: IpAddr,
    /// A file of bearer tokens, one a line, with which others than this machine may add and remove
    #[arg(long, env = "RINGWISE_AUTH_FILE", value_name = "FILE")]
    auth_file: Option<PathBuf>,
    /// Whether /rep, /add and /rm are on the traffic port; else they are on the admin port alone
    #[arg(long, env = "RINGWISE_CLASSIC", default_value = "on")]
    classic: Switch,
    /// What requests are spread by: request-id, path, client-ip, header:NAME
    #[arg(long, env = "RINGWISE_KEY", default_value = "request-id", value_parser = key)]
    key: KeyFrom,
    /// How they are spread; rendezvous up to 64 replicas and maglev over it when none is given
    #[arg(long, env = "RINGWISE_RING")]
    ring: Option<RingName>,
    /// Which hash functions the ring of 512 slots uses
    #[arg(long, env = "RINGWISE_SLOTS512_PAIR", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..3))]
    slots512_pair: u8,
    /// How many times the mean a replica may bear before its requests go elsewhere; 0: no bound
    #[arg(long, env = "RINGWISE_LOAD_FACTOR", default_value = "1.25", value_parser = factor)]
    load_factor: u32,
    /// How many replicas there are at first
    #[arg(long, env = "RINGWISE_REPLICAS", default_value_t = 3)]
    replicas: usize,
    /// Requests in flight to one replica; more wait
    #[arg(long, env = "RINGWISE_REPLICA_MAX", default_value_t = 256)]
    replica_max: u32,
    /// Replicas that start or stop at once
    #[arg(long, env = "RINGWISE_START_BATCH", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    start_batch: u16,
    #[command(flatten)]
    run: Run,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    times: Times,
    #[command(flatten)]
    tell: Tell,
}

/// Who runs replicas, and how.
#[derive(Args, Clone)]
struct Run {
    /// Who runs replicas: processes of ours, containers, or somebody else
    #[arg(long, env = "RINGWISE_DRIVER", default_value = "process")]
    driver: DriverName,
    /// What a replica is started by, with {port}, {host} and {id} filled in; our own when none is given
    #[arg(long, env = "RINGWISE_REPLICA_COMMAND", value_name = "COMMAND")]
    replica_command: Option<String>,
    /// Ports that replicas may be given
    #[arg(long, env = "RINGWISE_REPLICA_PORTS", default_value = "20000-29999", value_parser = ports)]
    replica_ports: (u16, u16),
    /// A replica that somebody else runs; again for each
    #[arg(long, env = "RINGWISE_REPLICA_ADDRESS", value_name = "HOST:PORT", value_delimiter = ',')]
    replica_address: Vec<String>,
    #[command(flatten)]
    engine: Engine,
    /// The image of a replica
    #[arg(long, env = "RINGWISE_DOCKER_IMAGE", default_value = "ringwise-replica")]
    docker_image: String,
    /// Which system calls a replica may make: a profile, or unconfined; the engine's own rule when none is given, which
    /// forbids io_uring from engine 25 on
    #[arg(long, env = "RINGWISE_DOCKER_SECCOMP", value_name = "FILE|unconfined")]
    docker_seccomp: Option<String>,
    /// The port of a replica in its container
    #[arg(long, env = "RINGWISE_DOCKER_PORT", default_value_t = 5000)]
    docker_port: u16,
    /// What asks a replica to end
    #[arg(long, env = "RINGWISE_STOP_SIGNAL", default_value = "INT", value_parser = signal)]
    stop_signal: Signal,
}

/// How replicas are watched.
#[derive(Args, Clone)]
struct Watch {
    /// Between two heartbeats, and how long one may take
    #[arg(long, env = "RINGWISE_HEARTBEAT_INTERVAL", default_value = "1s", value_parser = span)]
    heartbeat_interval: Duration,
    /// So many missed in a row, and a replica is dead
    #[arg(long, env = "RINGWISE_MAX_FAIL", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    max_fail: u32,
    /// So many failed connections in a row, and a replica is out for a while; 0: never
    #[arg(long, env = "RINGWISE_EJECT_AFTER", default_value_t = 5)]
    eject_after: u32,
    /// So many responses of 500 and more in a row, and a replica is out for a while; 0: never
    #[arg(long, env = "RINGWISE_EJECT_AFTER_5XX", default_value_t = 0)]
    eject_after_5xx: u32,
    /// For how long at first
    #[arg(long, env = "RINGWISE_EJECT_TIME", default_value = "10s", value_parser = span)]
    eject_time: Duration,
}

/// How long things may take.
#[derive(Args, Clone)]
struct Times {
    /// From the first byte of a request's head to its last
    #[arg(long, env = "RINGWISE_HEAD_TIMEOUT", default_value = "10s", value_parser = span)]
    head_timeout: Duration,
    /// Between two pieces of a request's body
    #[arg(long, env = "RINGWISE_BODY_TIMEOUT", default_value = "60s", value_parser = span)]
    body_timeout: Duration,
    /// Until a replica takes a connection
    #[arg(long, env = "RINGWISE_CONNECT_TIMEOUT", default_value = "2s", value_parser = span)]
    connect_timeout: Duration,
    /// From a request's end to its answer, and between two pieces of the answer
    #[arg(long, env = "RINGWISE_RESPONSE_TIMEOUT", default_value = "60s", value_parser = span)]
    response_timeout: Duration,
    /// Between two requests on a connection
    #[arg(long, env = "RINGWISE_IDLE_TIMEOUT", default_value = "60s", value_parser = span)]
    idle_timeout: Duration,
    /// In the queue, when every replica has as many requests as it may
    #[arg(long, env = "RINGWISE_QUEUE_TIMEOUT", default_value = "30s", value_parser = span)]
    queue_timeout: Duration,
    /// From a replica's start to its first heartbeat
    #[arg(long, env = "RINGWISE_START_TIMEOUT", default_value = "10s", value_parser = span)]
    start_timeout: Duration,
    /// From the stop signal to SIGKILL
    #[arg(long, env = "RINGWISE_STOP_TIMEOUT", default_value = "5s", value_parser = span)]
    stop_timeout: Duration,
    /// How long a newcomer takes less than its share
    #[arg(long, env = "RINGWISE_SLOW_START", default_value = "1s", value_parser = span)]
    slow_start: Duration,
}

/// What replicas are told of clients.
#[derive(Args, Clone)]
struct Tell {
    /// Add X-Forwarded-For, -Proto and -Host
    #[arg(long, env = "RINGWISE_X_FORWARDED", default_value = "on")]
    x_forwarded: Switch,
    /// Add Forwarded
    #[arg(long, env = "RINGWISE_FORWARDED", default_value = "off")]
    forwarded: Switch,
    /// Add Via, to requests and to answers
    #[arg(long, env = "RINGWISE_VIA", default_value = "on")]
    via: Switch,
    /// Bytes of a head; a longer one is 431
    #[arg(long, env = "RINGWISE_HEAD_MAX", default_value_t = 16 * 1024)]
    head_max: usize,
    /// Headers of a head; more are 431
    #[arg(long, env = "RINGWISE_HEADERS_MAX", default_value_t = 100)]
    headers_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl Switch {
    fn is_on(self) -> bool {
        self == Self::On
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RingName {
    Rendezvous,
    Maglev,
    Slots512,
    P2c,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DriverName {
    Process,
    Docker,
    Static,
}

/// The whole program.
pub fn main() -> ! {
    fatal::install("balancer");
    let outcome = options::parse::<Typed>().and_then(|typed| match typed.what {
        What::Serve(asked) => serve(&asked),
        What::Replica(asked) => be_replica(&asked),
        What::Sweep(engine) => engine.sweep().run().map(|(containers, networks)| {
            let _ = writeln!(std::io::stdout(), "{containers} containers and {networks} networks removed");
        }),
        What::Doctor => doctor::show(CLIENTS),
    });
    match outcome {
        Ok(()) => std::process::exit(0),
        Err(why) => fatal::exit(why),
    }
}

impl Serve {
    fn driver(&self) -> Result<Driver, Fatal> {
        let run = &self.run;
        match run.driver {
            DriverName::Process => {
                let command = match &run.replica_command {
                    Some(text) => words(text).map_err(Fatal::misuse)?,
                    None => own_replica()?,
                };
                Ok(Driver::Process { command, ports: run.replica_ports })
            }
            DriverName::Static => {
                let addresses: Result<Vec<Address>, String> =
                    run.replica_address.iter().map(|text| address(text)).collect();
                match addresses.map_err(Fatal::misuse)? {
                    addresses if addresses.is_empty() => {
                        Err(Fatal::misuse("--driver static needs --replica-address HOST:PORT"))
                    }
                    addresses => Ok(Driver::Static(addresses)),
                }
            }
            DriverName::Docker => Ok(Driver::Docker(Docker {
                socket: run.engine.docker_socket.as_str().into(),
                image: run.docker_image.as_str().into(),
                network: run.engine.docker_network.as_str().into(),
                port: run.docker_port,
                label: sweep::LABEL.into(),
                seccomp: run.docker_seccomp.as_deref().map(seccomp).transpose()?,
            })),
        }
    }

    fn way(&self) -> Way {
        match self.ring {
            None => Way::Best,
            Some(RingName::Rendezvous) => Way::Rendezvous,
            Some(RingName::Maglev) => Way::Maglev,
            Some(RingName::P2c) => Way::TwoChoices,
            Some(RingName::Slots512) => Way::Slots512(Pair::numbered(self.slots512_pair).unwrap_or_default()),
        }
    }

    fn waits(&self) -> Waits {
        let times = &self.times;
        Waits {
            head: times.head_timeout,
            body: times.body_timeout,
            connect: times.connect_timeout,
            response: times.response_timeout,
            idle: times.idle_timeout,
            queue: times.queue_timeout,
            start: times.start_timeout,
            stop: times.stop_timeout,
            drain: self.common.drain_timeout,
            slow_start: times.slow_start,
        }
    }

    fn config(&self, traffic: SocketAddr, admin: SocketAddr, cores: usize) -> Result<Config, Fatal> {
        if (self.replica_max as usize) < cores {
            return Err(Fatal::misuse(format!(
                "--replica-max {} leaves some of {cores} cores without a request: give at least {cores}",
                self.replica_max
            )));
        }
        if matches!(self.way(), Way::Slots512(_)) && self.replicas > slots512::REPLICAS_MAX {
            return Err(Fatal::misuse(format!(
                "--ring slots512 has slots for {} replicas, and --replicas are {}",
                slots512::REPLICAS_MAX,
                self.replicas
            )));
        }
        let mut config = Config::new(traffic.into(), admin.into(), self.driver()?);
        config.classic = self.classic.is_on();
        config.tokens = self.tokens()?;
        config.key = self.key.clone();
        config.way = self.way();
        config.load_factor = self.load_factor;
        config.replicas = self.replicas.min(balancer::control::REPLICAS_MAX);
        config.replica_max = self.replica_max;
        config.start_batch = usize::from(self.start_batch);
        config.stop_signal = self.run.stop_signal;
        config.watching = Watching {
            interval: self.watch.heartbeat_interval.max(Duration::from_millis(10)),
            max_fail: self.watch.max_fail,
            eject_after: self.watch.eject_after,
            eject_after_5xx: self.watch.eject_after_5xx,
            eject_for: self.watch.eject_time,
        };
        config.waits = self.waits();
        config.telling = Telling {
            x_forwarded: self.tell.x_forwarded.is_on(),
            forwarded: self.tell.forwarded.is_on(),
            via: self.tell.via.is_on(),
        };
        config.limits.head_max = self.tell.head_max;
        config.limits.fields_max = self.tell.headers_max;
        Ok(config)
    }

    fn tokens(&self) -> Result<Vec<Box<str>>, Fatal> {
        self.auth_file.as_deref().map_or_else(|| Ok(Vec::new()), options::tokens)
    }
}

/// A profile of system calls as the engine takes it: the text itself.
fn seccomp(named: &str) -> Result<Box<str>, Fatal> {
    if named == "unconfined" {
        return Ok(named.into());
    }
    let text = std::fs::read_to_string(named).map_err(|error| Fatal::misuse(format!("{named}: {error}")))?;
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(profile) => Ok(profile.to_string().into()),
        Err(error) => Err(Fatal::misuse(format!("{named} is no profile of system calls: {error}"))),
    }
}

/// This program, to be started again as something else.
fn own_program() -> Result<String, Fatal> {
    let program = std::env::current_exe()
        .map_err(|error| Fatal::machine(format!("cannot find this program to start it again: {error}")))?;
    Ok(program.to_string_lossy().into_owned())
}

/// The command that starts a replica of ours.
fn own_replica() -> Result<Vec<Box<str>>, Fatal> {
    let program = own_program()?;
    let words = ["replica", "--listen", "{host}", "--port", "{port}", "--id", "{id}"];
    Ok(std::iter::once(program.as_str()).chain(words).map(Into::into).collect())
}

fn serve(asked: &Serve) -> Result<(), Fatal> {
    let common = &asked.common;
    logs::want(common.log_level, common.log_format);
    let is_open = |at: IpAddr| !at.is_loopback() && !common.insecure_open && asked.auth_file.is_none();
    if is_open(asked.admin_listen) {
        return Err(Fatal::misuse(format!(
            "--admin-listen {} would let everybody who can reach it add, remove and kill replicas; \
             say who may with --auth-file, or if everybody may, add --insecure-open",
            asked.admin_listen
        )));
    }
    common.refuse_strangers(asked.auth_file.is_some())?;
    let cores = common.cores();
    let count = if cores.is_empty() { allowed_cores().len() } else { cores.len() };
    // Before anything is opened, and before there is a thread.
    let last_act = match asked.run.driver {
        DriverName::Docker => {
            asked.run.engine.sweep().find_engine()?;
            Some(asked.run.engine.last_act()?)
        }
        DriverName::Process | DriverName::Static => None,
    };
    let mut inheritance = Inheritance::take(count)?;
    let keeper = match inheritance.as_mut().and_then(Inheritance::keeper) {
        Some(keeper) => keeper,
        None => Keeper::fork_with_last_act(count, last_act)?,
    };
    doctor::before_start(count, CLIENTS)?;
    let doors = inheritance.as_mut().map(Inheritance::doors).unwrap_or_default();
    let traffic = doors.reserve(SocketAddr::new(common.listen, asked.port))?;
    let operators = doors.reserve(SocketAddr::new(asked.admin_listen, asked.admin_port))?;
    let config = asked.config(traffic, operators, count)?;
    let mut plan = Plan::new("balancer", config);
    plan.inheritance = inheritance;
    plan.hands_over = true;
    plan.warn = |sentence| logs::say(logs::Level::Warn, sentence);
    let first = asked.clone();
    plan.reread = Some(Box::new(move || reload::again(&first, traffic, operators, count)));
    plan.doors = doors;
    plan.cores = cores;
    plan.keeper = Some(keeper);
    plan.drain = common.drain_timeout;
    plan.spin = Duration::from_micros(common.spin_us);
    let gatherer = plan.gatherer.clone();
    let ready = move || {
        let ready = format!("READY balancer http={traffic} admin={operators} pid={}", std::process::id());
        // Whoever started us may not care to read it.
        let _ = writeln!(std::io::stdout(), "{ready}");
        logs::say(logs::Level::Info, &ready);
    };
    plan.on_ready = Box::new(move || {
        let wait = move || {
            let until = Instant::now() + REPLICAS_WAITED;
            let sum = |cores: &[Gauges], name| cores.iter().map(|core| core.number(name)).sum::<i64>();
            let lacks_some = || {
                let cores = gatherer.gather();
                sum(&cores, admin::HEALTHY) < sum(&cores, admin::REPLICAS)
            };
            while lacks_some() && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            ready();
        };
        // Where there is no thread for it, nothing is served either, and the operator hears of that.
        let _ = std::thread::Builder::new().name("ready".into()).spawn(wait);
    });
    reactor::run::<Balancer>(plan).map(drop)
}

fn be_replica(asked: &BeReplica) -> Result<(), Fatal> {
    doctor::before_start(1, 0)?;
    let doors = Doors::default();
    let listen = doors.reserve(SocketAddr::new(asked.listen, asked.port))?;
    let mut plan = Plan::new("replica", replica::Config { listen: listen.into(), id: asked.id });
    let allowed = allowed_cores();
    // One core is enough for a hello; which one, by number, so that many replicas share all cores.
    plan.cores = allowed.get(asked.id as usize % allowed.len().max(1)).copied().into_iter().collect();
    // It has one core and little to say, and somebody waits for it: a start is a replica that is missing.
    plan.pinned = false;
    (plan.limits.buffers, plan.limits.buffer_bytes) = (256, 4096);
    plan.doors = doors;
    plan.drain = Duration::from_millis(100);
    reactor::run::<Replica>(plan).map(drop)
}
