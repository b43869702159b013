//! The program `waves`: options, and nothing else.

use clap::{Args, Parser, Subcommand, ValueEnum};
use reactor::{Doors, Fatal, Keeper, Plan, allowed_cores, fatal};
use serve::options::{self, Common};
use serve::{doctor, doors, logs, values};
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use waves::apart::{self, Apart, Troop};
use waves::balance::{Balancer, bound, compare, plot};
use waves::families::Family;
use waves::network::{Network, Spec, UNITS_MAX, plain_units};
use waves::topology::{self, Settings};
use waves::wave::field::Bounds;
use waves::{Config, Waves};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clients for which `doctor` asks whether the machine can.
const CLIENTS: usize = 1000;

/// How long units that are processes may take to listen, before READY is said all the same.
const UNITS_START: Duration = Duration::from_secs(10);

/// The files that are read where they are, when nobody names others.
const TOPOLOGY: &str = "topology.json";
const SETTINGS: &str = "config.json";

#[derive(Parser)]
#[command(
    name = "waves",
    version,
    about = "A network of units, balanced by wave algorithms and watched live"
)]
struct Typed {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run a network in the foreground until SIGTERM
    Up(Box<Up>),
    /// Be one unit of `up --processes`: what it is, it reads from standard input
    #[command(hide = true)]
    Unit,
    /// Write a topology.json drawn from a seed
    Generate(Drawn),
    /// Run the balancers side by side on one graph and one seed
    Compare(Compare),
    /// Say what this machine lacks, each with the line to type
    Doctor,
}

/// A graph from a seed.
#[derive(Args, Clone)]
struct Drawn {
    /// The family of graphs
    #[arg(long, env = "RINGWISE_FAMILY", default_value = "balanced", value_parser = family)]
    family: Named,
    /// How many units
    #[arg(long, env = "RINGWISE_UNITS", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=UNITS_MAX as i64))]
    units: u32,
    /// Whatever is drawn is drawn from this
    #[arg(long, env = "RINGWISE_SEED", default_value_t = 1)]
    seed: u64,
    /// Processors of each unit
    #[arg(long, env = "RINGWISE_CPU", default_value_t = 4)]
    cpu: u32,
}

#[derive(Clone, Copy, Debug)]
struct Named(&'static str, Family);

fn family(text: &str) -> Result<Named, String> {
    let found = Family::ALL.iter().find(|(name, _)| *name == text);
    found.map(|(name, family)| Named(name, *family)).ok_or_else(|| {
        let known: Vec<&str> = Family::ALL.iter().map(|(name, _)| *name).collect();
        format!("one of {}", known.join(", "))
    })
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    Greedy,
    Diffusion,
    Matching,
    None,
}

#[derive(Args)]
struct Up {
    #[command(flatten)]
    common: Common,
    /// Where the page and the balancer are served; 0 takes free ports for all, and READY tells them
    #[arg(long, env = "RINGWISE_PORT", default_value_t = 7999)]
    port: u16,
    /// Where the page is served besides; 0 for nowhere [default: 3000, or nowhere with --port 0]
    #[arg(long, env = "RINGWISE_PAGE_PORT")]
    page_port: Option<u16>,
    /// How many units have a port of their own
    #[arg(long, env = "RINGWISE_UNIT_PORTS", default_value_t = 256)]
    unit_ports: usize,
    /// The units and links, as a tree or a graph [default: topology.json, if there is one and no --family]
    #[arg(long, env = "RINGWISE_TOPOLOGY", value_name = "FILE.json", conflicts_with = "family")]
    topology: Option<PathBuf>,
    /// max_cpu, task_time and rebalance_interval [default: config.json, if there is one]
    #[arg(long, env = "RINGWISE_SETTINGS", value_name = "FILE.json")]
    settings: Option<PathBuf>,
    /// Run each unit as a process of its own, up to 60
    #[arg(long, env = "RINGWISE_PROCESSES")]
    processes: bool,
    #[command(flatten)]
    drawn: Drawn,
    /// How tasks are moved every rebalance_interval seconds
    #[arg(long, env = "RINGWISE_BALANCER", value_enum, default_value = "greedy")]
    balancer: Way,
    /// Pages of other origins that may start waves and read answers
    #[arg(long, env = "RINGWISE_ORIGINS", value_delimiter = ',', default_value = "http://localhost:3000")]
    origins: Vec<String>,
    /// How long a neighbour may be silent in a wave before it is given up
    #[arg(long, env = "RINGWISE_EDGE_TIMEOUT", default_value = "1s", value_parser = values::span)]
    edge_timeout: Duration,
    /// How long a wave may last
    #[arg(long, env = "RINGWISE_WAVE_MAX", default_value = "30s", value_parser = values::span)]
    wave_max: Duration,
}

#[derive(Args)]
struct Compare {
    #[command(flatten)]
    drawn: Drawn,
    /// How many rounds
    #[arg(long, default_value_t = 200)]
    rounds: u32,
    /// Tasks a processor on average; at first they all lie on a tenth of the units
    #[arg(long, default_value_t = 8)]
    tasks: u32,
    /// Draw discrepancy over rounds into this file
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
}

fn main() {
    fatal::install("waves");
    let outcome = options::parse::<Typed>().and_then(|typed| match typed.what {
        What::Up(asked) => up(&asked),
        What::Unit => unit(),
        What::Generate(drawn) => network(&drawn).map(|network| say(&topology::write(&network))),
        What::Compare(asked) => compare(&asked),
        What::Doctor => doctor::show(CLIENTS),
    });
    if let Err(why) = outcome {
        fatal::exit(why);
    }
}

/// Whoever started us may not care to read it.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn network(drawn: &Drawn) -> Result<Network, Fatal> {
    let links = drawn.family.1.links(drawn.units, machine::Chance::new(drawn.seed));
    let units = plain_units(drawn.units as usize, drawn.cpu);
    Network::new(units, &links).map_err(|flaw| Fatal::misuse(flaw.to_string()))
}

fn compare(asked: &Compare) -> Result<(), Fatal> {
    let Drawn { family, units, seed, cpu: _ } = asked.drawn;
    let plan = compare::Plan { family: family.1, units, tasks: asked.tasks, rounds: asked.rounds, seed };
    let courses = compare::run(&plan, &compare::all());
    let title = format!("{} of {units} units, {} tasks a processor, seed {seed}", family.0, asked.tasks);
    let beside = bound::measure(&plan);
    say(&format!("{title}\n{}\n{beside}\n", compare::table(&courses)));
    let Some(file) = &asked.svg else { return Ok(()) };
    std::fs::write(file, plot::svg(&title, &courses))
        .map_err(|error| Fatal::misuse(format!("{}: {error}", file.display())))
}

/// A file that was named, or else the one that is read where it is.
fn text(named: Option<&Path>, usual: Option<&str>) -> Result<Option<(PathBuf, String)>, Fatal> {
    let path = match (named, usual.map(Path::new).filter(|usual| usual.exists())) {
        (Some(named), _) => named,
        (None, Some(usual)) => usual,
        (None, None) => return Ok(None),
    };
    let wrong = |why: String| Fatal::misuse(format!("{}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if length > topology::FILE_MAX as u64 {
        return Err(wrong(format!("has more than {} bytes", topology::FILE_MAX)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Ok(Some((path.to_owned(), text)))
}

/// The network that was meant, and how it was made.
fn meant(asked: &Up) -> Result<(Network, String), Fatal> {
    let is_drawn = std::env::args().any(|word| word.starts_with("--family") || word.starts_with("--units"));
    match text(asked.topology.as_deref(), Some(TOPOLOGY).filter(|_| !is_drawn))? {
        Some((path, text)) => {
            let network = topology::read(&text);
            let network = network.map_err(|wrong| Fatal::misuse(format!("{}: {wrong}", path.display())))?;
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            Ok((network, format!("topology={name}")))
        }
        None => {
            let Drawn { family, units, seed, cpu } = &asked.drawn;
            let label = format!("family={}&units={units}&seed={seed}&cpu={cpu}", family.0);
            Ok((network(&asked.drawn)?, label))
        }
    }
}

fn settings(asked: &Up) -> Result<Settings, Fatal> {
    let Some((path, text)) = text(asked.settings.as_deref(), Some(SETTINGS))? else {
        return Ok(Settings::default());
    };
    topology::settings(&text).map_err(|wrong| Fatal::misuse(format!("{}: {wrong}", path.display())))
}

/// The doors of the first units; where any free port will do, units are named by the ports that were found.
fn unit_doors(asked: &Up, network: Network, doors: &Doors) -> Result<(Network, Vec<SocketAddr>), Fatal> {
    let count = asked.unit_ports.min(network.units().len());
    let at = |port| SocketAddr::new(asked.common.listen, port);
    if asked.port != 0 {
        let ports: Result<Vec<_>, _> =
            network.units()[..count].iter().map(|unit| doors.reserve(at(unit.port))).collect();
        return Ok((network, ports?));
    }
    let found = doors::for_cores(doors, asked.common.listen, 0, count)?;
    let mut units: Vec<Spec> = network.units().to_vec();
    for (unit, at) in units.iter_mut().zip(&found) {
        unit.port = at.port();
    }
    let links: Vec<(u32, u32)> = network.links().iter().map(|(a, b)| (a.0, b.0)).collect();
    let network = Network::new(units, &links).map_err(|flaw| Fatal::misuse(flaw.to_string()))?;
    Ok((network, found))
}

fn up(asked: &Up) -> Result<(), Fatal> {
    let common = &asked.common;
    logs::want(common.log_level, common.log_format);
    common.refuse_strangers(false)?;
    let settings = settings(asked)?;
    let (network, label) = meant(asked)?;
    if asked.processes && network.units().len() > apart::PROCESSES_MAX {
        let units = network.units().len();
        let most = apart::PROCESSES_MAX;
        return Err(Fatal::misuse(format!("--processes is for up to {most} units, and these are {units}")));
    }
    // Before the first thread: it is a fork.
    let keeper = asked.processes.then(|| Keeper::fork(1)).transpose()?;
    let doors = Doors::default();
    let at = doors.reserve(SocketAddr::new(common.listen, asked.port))?;
    let page_port = asked.page_port.unwrap_or(if asked.port == 0 { 0 } else { 3000 });
    let mut http = vec![at];
    if page_port != 0 {
        http.push(doors.reserve(SocketAddr::new(common.listen, page_port))?);
    }
    // The ports of units that are processes are theirs to take: here they are only tried.
    let tried = Doors::default();
    let unit_ports = if asked.processes { &tried } else { &doors };
    let (network, units) = unit_doors(asked, network, unit_ports)?;
    drop(tried);
    let listed = if units.is_empty() { "none".to_owned() } else { doors::listed(&units) };
    let ready = format!("READY waves http={at} units={listed} pid={}", std::process::id());
    let max_cpu = settings.max_cpu;
    let config = Config {
        network: Arc::new(network),
        settings,
        balancer: match asked.balancer {
            Way::Greedy => Some(Balancer::Greedy { max_cpu }),
            Way::Diffusion => Some(Balancer::Diffusion),
            Way::Matching => Some(Balancer::Matching),
            Way::None => None,
        },
        bounds: Bounds { edge_timeout: asked.edge_timeout, wave_max: asked.wave_max, ..Bounds::default() },
        http,
        units,
        origins: asked.origins.iter().map(|origin| origin.as_str().into()).collect(),
        is_apart: asked.processes,
        label,
    };
    if let Some(keeper) = keeper {
        return up_apart(asked, config, at, doors, keeper, ready);
    }
    let mut plan = Plan::new("waves", config);
    plan.doors = doors;
    plan.cores = common.cores();
    plan.drain = common.drain_timeout;
    plan.spin = Duration::from_micros(common.spin_us);
    plan.on_ready = Box::new(move || say(&format!("{ready}\n")));
    reactor::run::<Waves>(plan).map(drop)
}

/// The balancer's process of a network whose units are processes of their own.
fn up_apart(
    asked: &Up,
    config: Config,
    balancer_at: SocketAddr,
    doors: Doors,
    keeper: Keeper,
    ready: String,
) -> Result<(), Fatal> {
    let program = std::env::current_exe().map_err(|error| Fatal::misuse(format!("this program: {error}")))?;
    let common = &asked.common;
    let units = config.units.clone();
    let troop = Troop {
        member: 0,
        key: key()?,
        ip: common.listen,
        balancer_at,
        program: program.to_string_lossy().into(),
        wounds: Vec::new(),
        is_late: false,
        warn: |line| logs::say(logs::Level::Warn, line),
        config,
    };
    let mut plan = Plan::new("waves", troop);
    plan.doors = doors;
    plan.keeper = Some(keeper);
    plan.cores = common.cores().into_iter().chain(allowed_cores()).take(1).collect();
    plan.drain = common.drain_timeout;
    plan.spin = Duration::from_micros(common.spin_us);
    plan.on_ready = Box::new(move || {
        std::thread::spawn(move || {
            // Ready is who can be asked, and so each of them is.
            let patience = std::time::Instant::now() + UNITS_START;
            let is_up = |at: &SocketAddr| std::net::TcpStream::connect(at).is_ok();
            while !units.iter().all(is_up) && std::time::Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(10));
            }
            say(&format!("{ready}\n"));
        });
    });
    reactor::run::<Apart>(plan).map(drop)
}

/// Sixteen bytes that nobody guesses.
fn key() -> Result<apart::Key, Fatal> {
    let mut key = apart::Key::default();
    let source = std::fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut key));
    source.map(|()| key).map_err(|error| Fatal::misuse(format!("/dev/urandom: {error}")))
}

/// One unit, as its balancer tells it on standard input.
fn unit() -> Result<(), Fatal> {
    let mut told = String::new();
    let _ = std::io::stdin().take(topology::FILE_MAX as u64).read_to_string(&mut told);
    let troop = Troop::read(&told);
    let troop = troop.ok_or_else(|| Fatal::misuse("`waves unit` is started by `waves up --processes`"))?;
    let doors = Doors::default();
    let number = usize::from(troop.member) - 1;
    if let Some(at) = troop.config.units.get(number) {
        doors.reserve(*at)?;
    }
    let allowed = allowed_cores();
    let mut plan = Plan::new("waves", troop);
    plan.doors = doors;
    plan.cores = allowed.get(number % allowed.len().max(1)).copied().into_iter().collect();
    reactor::run::<Apart>(plan).map(drop)
}
