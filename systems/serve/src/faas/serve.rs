//! `faas serve`: the service.

use crate::logs::{self, Level};
use crate::options::Common;
use crate::values;
use clap::{Args, ValueEnum};
use faas::config::{Config, Dispatch, Failure, Limits, Local, Manners, Mode, Patience, Tokens};
use faas::{Faas, dispatch};
use reactor::{Doors, Fatal, Keeper, Plan, Replays};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

/// What the service can be told.
#[derive(Args)]
pub struct Serve {
    #[command(flatten)]
    common: Common,
    /// Where clients are served; 0 takes a free port, and READY tells it
    #[arg(long, env = "RINGWISE_PORT", default_value_t = 8000)]
    port: u16,
    /// Whose workers run tasks: started here (local), or connecting and asking (pull) or being sent (push) tasks
    #[arg(long, env = "RINGWISE_MODE", value_enum, default_value = "local")]
    mode: Way,
    /// Slots of local workers in all: so many tasks run at once [default: as many as cores]
    #[arg(long, env = "RINGWISE_WORKERS")]
    workers: Option<u16>,
    /// Where workers connect in pull and push mode [default: 5555, or a free port with --port 0]
    #[arg(long, env = "RINGWISE_DISPATCH_PORT")]
    dispatch_port: Option<u16>,
    /// What outlives the process, and where: memory (nothing), log (in --data) or log:DIR
    #[arg(long, env = "RINGWISE_STORE", default_value = "log", value_parser = store)]
    store: Store,
    /// A file of tokens, one a line: who asks must show one (Authorization: Bearer TOKEN), and so must workers
    #[arg(long, env = "RINGWISE_AUTH_FILE", value_name = "FILE")]
    auth_file: Option<PathBuf>,
    #[command(flatten)]
    manners: Spoken,
    #[command(flatten)]
    bounds: Bounds,
    /// The Python of local workers, 3.8 or newer; functions pickled by value need the version they were pickled by
    #[arg(long, env = "RINGWISE_PYTHON", value_name = "PROGRAM")]
    python: Option<String>,
    /// Where local workers look for the modules of functions, before the places in PYTHONPATH
    #[arg(long, env = "RINGWISE_PYTHONPATH", value_name = "DIR:DIR")]
    pythonpath: Option<String>,
    /// Modules that local workers import once, before slots are forked
    #[arg(long, env = "RINGWISE_PRELOAD", value_name = "MODULE,MODULE")]
    preload: Option<String>,
    /// Further arguments for local workers, as they are typed: "--allow-network --slot-memory-mib 512"
    #[arg(long, env = "RINGWISE_WORKER_ARGS", default_value = "", allow_hyphen_values = true)]
    worker_args: String,
}

/// How clients are answered.
#[derive(Args)]
struct Spoken {
    /// How clients are answered: strict is to the letter; lax answers 200 for what was created and registers anything
    #[arg(long, env = "RINGWISE_PROFILE", value_enum, default_value = "strict")]
    profile: Profile,
    /// The status of what was created
    #[arg(long, env = "RINGWISE_CREATED_STATUS", value_parser = clap::value_parser!(u16).range(200..300))]
    created_status: Option<u16>,
    /// The status for unknown functions and tasks
    #[arg(long, env = "RINGWISE_UNKNOWN_STATUS", value_parser = clap::value_parser!(u16).range(400..600))]
    unknown_status: Option<u16>,
    /// The status of a result that is not there yet
    #[arg(long, env = "RINGWISE_PENDING_STATUS", value_parser = clap::value_parser!(u16).range(200..600))]
    pending_status: Option<u16>,
    /// The result of a failed task: the exception, or what it says
    #[arg(long, env = "RINGWISE_FAILURE_AS", value_enum, default_value = "exception")]
    failure_as: FailureAs,
    /// What the state of a task is called that went well
    #[arg(
        long,
        env = "RINGWISE_COMPLETED_WORD",
        value_enum,
        default_value = "COMPLETED",
        ignore_case = true
    )]
    completed_word: Completed,
}

/// How much of everything.
#[derive(Args)]
struct Bounds {
    /// Bytes of a request's body; over it 413
    #[arg(long, env = "RINGWISE_BODY_MAX", default_value_t = 48 * 1024 * 1024)]
    body_max: usize,
    /// Tasks that wait or run; over it 429
    #[arg(long, env = "RINGWISE_TASKS_MAX", default_value_t = 2_000_000)]
    tasks_max: usize,
    /// Bytes of payloads and results in memory; over it 429
    #[arg(long, env = "RINGWISE_BYTES_MAX", default_value_t = 4 * 1024 * 1024 * 1024)]
    bytes_max: usize,
    /// Functions; over it 429
    #[arg(long, env = "RINGWISE_FUNCTIONS_MAX", default_value_t = 10_000)]
    functions_max: usize,
    /// Tasks in one batch
    #[arg(long, env = "RINGWISE_BATCH_MAX", default_value_t = 10_000)]
    batch_max: usize,
    /// How long results are kept
    #[arg(long, env = "RINGWISE_RESULT_TTL", default_value = "1440m", value_parser = values::span)]
    result_ttl: Duration,
    /// Results that are kept; of more the oldest go
    #[arg(long, env = "RINGWISE_RESULTS_MAX", default_value_t = 1_000_000)]
    results_max: usize,
    /// How long a task may run where it does not say itself ("timeout_s")
    #[arg(long, env = "RINGWISE_TASK_TIMEOUT", default_value = "60s", value_parser = values::span)]
    task_timeout: Duration,
    /// How often a task is begun whose worker or slot is lost, before it fails
    #[arg(long, env = "RINGWISE_MAX_ATTEMPTS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    max_attempts: u32,
    /// How long a worker that has tasks may be silent before it is taken for lost
    #[arg(long, env = "RINGWISE_HEARTBEAT_TIMEOUT", default_value = "1500ms", value_parser = values::span)]
    heartbeat_timeout: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    Local,
    Pull,
    Push,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    Strict,
    Lax,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FailureAs {
    Exception,
    String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Completed {
    #[value(name = "COMPLETED")]
    Completed,
    #[value(name = "COMPLETE")]
    Complete,
}

/// What outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Store {
    Memory,
    Log(Option<PathBuf>),
}

fn store(text: &str) -> Result<Store, String> {
    match text.split_once(':') {
        None if text == "memory" => Ok(Store::Memory),
        None if text == "log" => Ok(Store::Log(None)),
        Some(("log", dir)) if !dir.is_empty() => Ok(Store::Log(Some(dir.into()))),
        Some(("redis", _)) => Err("this build has no store in Redis; memory, log or log:DIR".to_owned()),
        _ => Err("memory, log or log:DIR".to_owned()),
    }
}

impl Serve {
    fn manners(&self) -> Manners {
        let spoken = &self.manners;
        let profile = match spoken.profile {
            Profile::Strict => Manners::STRICT,
            Profile::Lax => Manners::LAX,
        };
        Manners {
            created: spoken.created_status.unwrap_or(profile.created),
            unknown: spoken.unknown_status.unwrap_or(profile.unknown),
            pending: spoken.pending_status.unwrap_or(profile.pending),
            completed: match spoken.completed_word {
                Completed::Completed => "COMPLETED",
                Completed::Complete => "COMPLETE",
            },
            failure: match spoken.failure_as {
                FailureAs::Exception => Failure::Exception,
                FailureAs::String => Failure::Text,
            },
            ..profile
        }
    }

    /// Bounds of the whole are shared by the cores.
    fn limits(&self, cores: usize) -> Limits {
        let bounds = &self.bounds;
        let share = |whole: usize| whole.div_ceil(cores.max(1));
        Limits {
            body_max: bounds.body_max,
            tasks_max: share(bounds.tasks_max),
            bytes_max: share(bounds.bytes_max),
            functions_max: bounds.functions_max,
            batch_max: bounds.batch_max,
            result_ttl: bounds.result_ttl,
            results_max: share(bounds.results_max),
            task_timeout: bounds.task_timeout,
            patience: Patience { attempts_max: bounds.max_attempts, ..Limits::default().patience },
            silence_max: bounds.heartbeat_timeout,
            ..Limits::default()
        }
    }

    /// Where the log is kept; none for memory.
    fn data(&self) -> Result<Option<PathBuf>, Fatal> {
        let Store::Log(dir) = &self.store else { return Ok(None) };
        let dir = dir.clone().or_else(|| self.common.data.clone()).or_else(usual_data);
        let dir = dir.ok_or_else(|| {
            Fatal::misuse("there is no home to keep the log in: say where with --data DIR, or --store memory")
        })?;
        std::fs::create_dir_all(&dir)
            .map_err(|error| Fatal::unreadable(format!("cannot use {}: {error}", dir.display())))?;
        Ok(Some(dir))
    }

    fn local(&self, cores: usize) -> Result<Local, Fatal> {
        let program = std::env::current_exe()
            .map_err(|error| Fatal::misuse(format!("cannot find this program itself: {error}")))?;
        let path = private_folder()?.join("core");
        let mut args: Vec<Box<str>> = vec!["worker".into()];
        let named =
            [("--python", &self.python), ("--pythonpath", &self.pythonpath), ("--preload", &self.preload)];
        for (name, value) in named {
            if let Some(value) = value {
                args.extend([name.into(), value.as_str().into()]);
            }
        }
        args.extend(self.worker_args.split_whitespace().map(Box::from));
        let env = std::env::vars()
            .filter(|(name, _)| name.starts_with("PYTHON") || name == "VIRTUAL_ENV" || name == "PATH")
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Ok(Local {
            path: path.display().to_string().into(),
            program: program.display().to_string().into(),
            args,
            slots: self.workers.unwrap_or(cores as u16).max(1),
            env,
        })
    }
}

/// A folder that only we can enter, for the sockets of our workers. Those of services that were killed are removed.
fn private_folder() -> Result<PathBuf, Fatal> {
    let above = std::env::temp_dir();
    let begin = "ringwise-faas-pid-";
    for entry in std::fs::read_dir(&above).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(begin).and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            // Not ours to remove if it cannot be.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    let folder = above.join(format!("{begin}{}", std::process::id()));
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&folder)
        .map_err(|error| Fatal::misuse(format!("cannot make {}: {error}", folder.display())))?;
    Ok(folder)
}

/// As other programs of a user keep what they must not lose (XDG Base Directory Specification).
fn usual_data() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("ringwise/faas"))
}

/// Serves until it is told to stop.
pub fn serve(asked: &Serve) -> Result<(), Fatal> {
    let common = &asked.common;
    logs::want(common.log_level, common.log_format);
    common.refuse_strangers(asked.auth_file.is_some())?;
    let tokens = asked.auth_file.as_deref().map(crate::options::tokens).transpose()?.unwrap_or_default();
    if asked.bounds.body_max < 1024 || asked.bounds.body_max > 2 * dispatch::PAYLOAD_MAX {
        return Err(Fatal::misuse(format!("--body-max is from 1024 to {}", 2 * dispatch::PAYLOAD_MAX)));
    }
    let cores = Some(common.cores()).filter(|some| !some.is_empty()).unwrap_or_else(reactor::allowed_cores);
    let data = asked.data()?;
    // Before any thread: children live with it, and end with us.
    let keeper = match asked.mode {
        Way::Local => Some(Keeper::fork(cores.len())?),
        Way::Pull | Way::Push => None,
    };
    let doors = Doors::default();
    let http = doors.reserve(SocketAddr::new(common.listen, asked.port))?;
    let (at, dispatch, sockets) = match asked.mode {
        Way::Local => {
            let local = asked.local(cores.len())?;
            let sockets = std::path::Path::new(&*local.path).parent().map(PathBuf::from);
            (format!("unix:{}-0", local.path), Dispatch::Own(local), sockets)
        }
        Way::Pull | Way::Push => {
            let port = asked.dispatch_port.unwrap_or(if asked.port == 0 { 0 } else { 5555 });
            let at = doors.reserve(SocketAddr::new(common.listen, port))?;
            (at.to_string(), Dispatch::Shared(at.into()), None)
        }
    };
    let config = Config {
        http: http.into(),
        dispatch,
        mode: match asked.mode {
            Way::Local => Mode::Local,
            Way::Pull => Mode::Pull,
            Way::Push => Mode::Push,
        },
        manners: asked.manners(),
        tokens: Tokens::new(tokens),
        limits: asked.limits(cores.len()),
        is_kept: data.is_some(),
        say: |line| logs::say(Level::Info, line),
    };
    let mut plan = Plan::new("faas", config);
    plan.keeper = keeper;
    plan.doors = doors;
    plan.cores = cores;
    plan.data = data;
    plan.replays = Replays::All;
    plan.drain = common.drain_timeout;
    plan.spin = Duration::from_micros(common.spin_us);
    plan.warn = |sentence| logs::say(Level::Warn, sentence);
    plan.limits.output_max = 256 * 1024 * 1024;
    plan.on_ready = Box::new(move || {
        let ready = format!("READY faas http={http} dispatch={at} pid={}", std::process::id());
        // Whoever started us may not care to read it.
        let _ = writeln!(std::io::stdout(), "{ready}");
        logs::say(Level::Info, &ready);
    });
    let ended = reactor::run::<Faas>(plan).map(drop);
    if let Some(folder) = sockets {
        let _ = std::fs::remove_dir_all(folder);
    }
    ended?;
    logs::say(Level::Info, "drained");
    Ok(())
}
