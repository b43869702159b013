//! `faas worker`: the program that runs functions.

use crate::logs::{self, Level};
use crate::values::{self, Cores};
use clap::{ArgGroup, Args};
use faas::dispatch::Mode;
use faas::python;
use faas::worker::{self, Bounds, Config};
use machine::Address;
use reactor::{Fatal, Keeper, Plan, allowed_cores};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The most slots of one worker: each is two processes, and a connection.
const SLOTS_MAX: i64 = 1024;

/// What the name of a worker's directory begins with.
const DIRECTORY: &str = "faas-worker-";

/// What a worker can be told.
#[derive(Args)]
#[command(group(ArgGroup::new("mode").args(["pull", "push"])))]
pub struct Worker {
    /// Ask the service for tasks when there is room (the default)
    #[arg(long)]
    pull: bool,
    /// Let the service send tasks
    #[arg(long)]
    push: bool,
    /// How many tasks run at a time, each in a process of its own
    #[arg(default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=SLOTS_MAX))]
    slots: u16,
    /// Where the service is: tcp://HOST:PORT or unix:PATH
    #[arg(default_value = "tcp://127.0.0.1:5555", value_parser = address)]
    service: Address,
    #[command(flatten)]
    python: Python,
    #[command(flatten)]
    jail: Jail,
    /// The kernel's number of the core to run on; slots run on any
    #[arg(long, env = "RINGWISE_CORES", value_parser = values::cores)]
    cores: Option<Cores>,
    /// A file whose first line proves to the service that this worker may register
    #[arg(long, env = "RINGWISE_AUTH_FILE", value_name = "FILE")]
    auth_file: Option<PathBuf>,
    /// A file in which every option can stand, without its dashes
    #[arg(long, env = "RINGWISE_CONFIG", value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// What is worth a line on standard error
    #[arg(long, env = "RINGWISE_LOG_LEVEL", default_value = "info")]
    log_level: logs::Level,
    /// How such a line looks
    #[arg(long, env = "RINGWISE_LOG_FORMAT", default_value = "text")]
    log_format: logs::Format,
    /// How long running tasks may take to finish after SIGTERM
    #[arg(long, env = "RINGWISE_DRAIN_TIMEOUT", default_value = "10s", value_parser = values::span)]
    drain_timeout: Duration,
    /// How long to look for more before sleeping, when there is nothing to do, in microseconds
    #[arg(long, env = "RINGWISE_SPIN_US", default_value_t = 0)]
    spin_us: u64,
}

/// Which Python, and what it finds.
#[derive(Args)]
struct Python {
    /// The Python that runs functions, 3.8 or newer; functions pickled by value need the version they were pickled by
    #[arg(long, env = "RINGWISE_PYTHON", default_value = "python3", value_name = "PROGRAM")]
    python: String,
    /// Modules that are imported once, before slots are forked
    #[arg(long, env = "RINGWISE_PRELOAD", value_delimiter = ',', value_name = "MODULE")]
    preload: Vec<String>,
    /// Where modules of functions are looked for, before the places in PYTHONPATH
    #[arg(long, env = "RINGWISE_PYTHONPATH", value_delimiter = ':', value_name = "DIR")]
    pythonpath: Vec<String>,
}

/// What functions may use. Where a number is 0 there is no bound.
#[derive(Args)]
struct Jail {
    /// MiB of address space of a process
    #[arg(long, env = "RINGWISE_SLOT_MEMORY_MIB", default_value_t = 2048)]
    slot_memory_mib: u64,
    /// MiB of a file
    #[arg(long, env = "RINGWISE_SLOT_FILE_MIB", default_value_t = 1024)]
    slot_file_mib: u64,
    /// Processor time of a process for one task
    #[arg(long, env = "RINGWISE_SLOT_CPU", default_value = "5m", value_parser = values::span)]
    slot_cpu: Duration,
    /// Processes and threads of a slot
    #[arg(long, env = "RINGWISE_SLOT_PROCESSES", default_value_t = 64)]
    slot_processes: u64,
    /// KiB that a task may print
    #[arg(long, env = "RINGWISE_SLOT_OUTPUT_KIB", default_value_t = 16 * 1024)]
    slot_output_kib: u64,
    /// Let functions use the network
    #[arg(long, env = "RINGWISE_ALLOW_NETWORK")]
    allow_network: bool,
    /// The first of 65,536 user ids for slots, where root starts the worker [default: some above 1000000000]
    #[arg(
        long,
        env = "RINGWISE_SLOT_USERS",
        default_value_t = 0,
        value_name = "UID",
        hide_default_value = true
    )]
    slot_users: u32,
}

/// Where the service is, as it is typed.
fn address(text: &str) -> Result<Address, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if path.is_empty() {
            Err("unix: needs a path".into())
        } else {
            Ok(Address::Unix(path.into()))
        };
    }
    let wrong = || format!("{text:?} is neither tcp://HOST:PORT nor unix:PATH");
    let rest = text.strip_prefix("tcp://").unwrap_or(text);
    if let Ok(ip) = rest.parse::<SocketAddr>() {
        return if ip.port() > 0 { Ok(Address::Ip(ip)) } else { Err(wrong()) };
    }
    match rest.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
        Some((host, Ok(port))) if !host.is_empty() && port > 0 => Ok(Address::Name(host.into(), port)),
        _ => Err(wrong()),
    }
}

impl Worker {
    fn config(&self, directory: &Path) -> Result<Config, Fatal> {
        const MIB: u64 = 1024 * 1024;
        let text = |text: &String| -> Box<str> { text.as_str().into() };
        let inherited = std::env::var("PYTHONPATH").unwrap_or_default();
        let inherited = inherited.split(':').filter(|place| !place.is_empty()).map(str::to_owned);
        // Slots run in directories of their own, so what is relative to ours is said in full.
        let place = |place: String| {
            let whole = std::path::absolute(&place).unwrap_or_else(|_| PathBuf::from(&place));
            whole.display().to_string().into()
        };
        let jail = &self.jail;
        Ok(Config {
            mode: if self.push { Mode::Push } else { Mode::Pull },
            slots: self.slots,
            service: self.service.clone(),
            token: self.token()?,
            python: self.python.python.as_str().into(),
            preload: self.python.preload.iter().map(text).collect(),
            pythonpath: self.python.pythonpath.iter().cloned().chain(inherited).map(place).collect(),
            directory: directory.display().to_string().into(),
            bounds: Bounds {
                memory: jail.slot_memory_mib.saturating_mul(MIB),
                file_size: jail.slot_file_mib.saturating_mul(MIB),
                cpu: jail.slot_cpu,
                processes: jail.slot_processes,
                output: jail.slot_output_kib.saturating_mul(1024),
            },
            is_networked: jail.allow_network,
            user_base: jail.slot_users,
            pid: std::process::id(),
            say: |line| logs::say(Level::Info, line),
        })
    }

    fn token(&self) -> Result<Box<str>, Fatal> {
        let Some(path) = &self.auth_file else { return Ok(Box::default()) };
        Ok(crate::options::tokens(path)?.swap_remove(0))
    }
}

/// Works until it is told to stop.
pub fn work(asked: &Worker) -> Result<(), Fatal> {
    logs::want(asked.log_level, asked.log_format);
    let directory = directory()?;
    let config = asked.config(&directory)?;
    // Before there is a thread.
    let keeper = Keeper::fork(1)?;
    let outcome = look_at_python(&config).and_then(|()| run(asked, config, keeper));
    let _ = std::fs::remove_dir_all(&directory);
    outcome
}

fn run(asked: &Worker, config: Config, keeper: Keeper) -> Result<(), Fatal> {
    let (slots, service) = (config.slots, config.service.clone());
    let mode = if config.mode == Mode::Push { "push" } else { "pull" };
    let mut plan = Plan::new("worker", config);
    plan.cores = match &asked.cores {
        Some(cores) => cores.0.iter().copied().take(1).collect(),
        // Workers of one machine spread over its cores.
        None => {
            let allowed = allowed_cores();
            allowed.get(std::process::id() as usize % allowed.len().max(1)).copied().into_iter().collect()
        }
    };
    plan.keeper = Some(keeper);
    plan.drain = asked.drain_timeout;
    plan.spin = Duration::from_micros(asked.spin_us);
    plan.warn = |sentence| logs::say(Level::Warn, sentence);
    plan.limits.output_max = 256 * 1024 * 1024;
    plan.on_ready = Box::new(move || {
        let pid = std::process::id();
        let ready = format!("READY worker mode={mode} slots={slots} service={service} pid={pid}");
        // Whoever started us may not care to read it.
        let _ = writeln!(std::io::stdout(), "{ready}");
        logs::say(Level::Info, &ready);
    });
    reactor::run::<worker::Worker>(plan)?;
    logs::say(Level::Info, "drained");
    Ok(())
}

/// Asks a Python for its version, and imports what is named in the first argument from the places in the others.
const LOOK: &str = "import sys
if sys.version_info < (3, 8):
    sys.exit('Python %s is too old: 3.8 is the oldest that can run slots' % sys.version.split()[0])
sys.path[:0] = sys.argv[2:]
for name in sys.argv[1].split(','):
    __import__(name)
";

/// Whether the Python that was named can do the work; an operator wants to know that before anything else.
fn look_at_python(config: &Config) -> Result<(), Fatal> {
    let mut names = vec!["sys".to_owned()];
    names.extend(config.preload.iter().map(ToString::to_string));
    let mut command = Command::new(&*config.python);
    command.args(["-c", LOOK, &names.join(",")]).args(config.pythonpath.iter().map(|place| &**place));
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Fatal::machine(format!("cannot start --python {}: {error}", config.python)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("it says nothing");
    Err(Fatal::machine(format!("--python {} cannot run slots: {last}", config.python)))
}

/// A directory of ours, for sockets and for what functions write. Those of workers that were killed are removed.
fn directory() -> Result<PathBuf, Fatal> {
    let above = std::env::temp_dir();
    for entry in std::fs::read_dir(&above).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(DIRECTORY).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let path = above.join(format!("{DIRECTORY}{}", std::process::id()));
    let cannot = |error: std::io::Error| Fatal::machine(format!("cannot use {}: {error}", path.display()));
    std::fs::create_dir(&path).map_err(cannot)?;
    // Slots are other users where root runs the worker: they pass through to their own.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o711)).map_err(cannot)?;
    Ok(path)
}

/// The Python side must fit into one argument of a program.
const _: () = assert!(python::SOURCE.len() < 64 * 1024);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_named_by_its_address() {
        let ip = Address::Ip("127.0.0.1:5555".parse().expect("it is one"));
        assert_eq!(address("tcp://127.0.0.1:5555"), Ok(ip.clone()));
        assert_eq!(address("127.0.0.1:5555"), Ok(ip));
        assert_eq!(address("tcp://host:1"), Ok(Address::Name("host".into(), 1)));
        assert_eq!(address("unix:/run/faas-0"), Ok(Address::Unix("/run/faas-0".into())));
        assert_eq!(address("unix:///run/faas-0"), Ok(Address::Unix("/run/faas-0".into())));
        for wrong in ["", "tcp://", "host", ":5555", "tcp://host:0", "tcp://host:99999", "unix:"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
