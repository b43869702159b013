//! The run as it is meant: every default filled in, every name resolved, every bound held. What is in here can be
//! run; what cannot was refused with a sentence when the command line was read.

use crate::agent::AGENTS_MAX;
use crate::cli::RunArgs;
use crate::discover::discover;
use crate::events::Events;
use crate::http::{Ask, Typed};
use crate::jobs;
use crate::keys::Choice;
use crate::pace::Arrival;
use crate::protocol::Dialect;
use crate::sizes::Sizes;
use crate::units::{Mix, Rate};
use crate::workload::{KEYS_MAX, NAMED_VALUE_MIN, key_size_min};
use reactor::fatal::Fatal;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Exit status for a target that cannot be reached.
pub const STATUS_UNREACHABLE: u8 = 1;
/// The most connections: more than any machine has descriptors for by default.
pub const CONNECTIONS_MAX: u64 = 10_000_000;
/// The most requests in flight on a connection.
pub const PIPELINE_MAX: u64 = 65_536;
/// The most bytes in flight on a connection, half of what a connection's output may hold.
pub const FLIGHT_BYTES_MAX: usize = 32 << 20;
/// The longest value.
pub const VALUE_SIZE_MAX: usize = 16 << 20;
/// How long a worker on a core of its own looks on before it sleeps: over the time between requests at any rate at
/// which the time a sleeper takes to wake matters.
pub const SPIN: Duration = Duration::from_millis(1);
/// The longest key.
pub const KEY_SIZE_MAX: usize = 64 << 10;

/// What is asked of the target, the same on every core.
#[derive(Clone, Debug)]
pub struct Load {
    /// What is spoken.
    pub dialect: Dialect,
    /// Where to; at least one. Connections go round them.
    pub targets: Vec<SocketAddr>,
    /// Where from; the kernel's choice when empty. Connections go round them.
    pub sources: Vec<IpAddr>,
    /// How many connections, over all cores.
    pub connections: u32,
    /// How many requests may be in flight on each.
    pub pipeline: u32,
    /// A fixed rate over all cores; none is a closed loop.
    pub rate: Option<Rate>,
    /// How arrivals at that rate are spaced.
    pub arrival: Arrival,
    /// How fast to connect, over all cores; none is as fast as the bound on dials in flight lets us.
    pub ramp: Option<Rate>,
    /// Sent but not measured, before the measurement.
    pub warm_up: Duration,
    /// How long to measure; none is until `requests` are sent.
    pub duration: Option<Duration>,
    /// How many measured requests to send at most, over all cores.
    pub requests: Option<u64>,
    /// How many keys there are.
    pub keys: u64,
    /// Bytes of a key.
    pub key_size: usize,
    /// How keys are chosen.
    pub choice: Choice,
    /// Bytes of values.
    pub values: Sizes,
    /// How often each operation comes.
    pub mix: Mix,
    /// In a cluster, for each slot the place of its node among the targets.
    pub owners: Option<Arc<[u16]>>,
    /// What decides the stream of operations.
    pub seed: u64,
    /// A connection whose oldest request is not answered within this is closed.
    pub timeout: Duration,
    /// Whether every key is written before the run.
    pub preload: bool,
    /// Whether every key is known to be there without that.
    pub every_key: bool,
    /// Whether values are looked at.
    pub check: bool,
    /// Whether every read and write is kept.
    pub history: bool,
    /// Whether every key is read when all is over.
    pub looks_back: bool,
    /// Which of the cores of several machines ours are; all there are, where there is one machine.
    pub part: Option<Part>,
}

/// Some of the cores of several machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The number of our first, among all.
    pub first: u16,
    /// How many there are.
    pub all: u16,
}

impl Default for Load {
    /// 50 connections in a closed loop for 10 s, 100,000 keys of 16 bytes, values of 32, nine reads to a write.
    fn default() -> Self {
        Self {
            dialect: Dialect::Resp,
            targets: Vec::new(),
            sources: Vec::new(),
            connections: 50,
            pipeline: 1,
            rate: None,
            arrival: Arrival::Constant,
            ramp: None,
            warm_up: Duration::ZERO,
            duration: Some(Duration::from_secs(10)),
            requests: None,
            keys: 100_000,
            key_size: 16,
            choice: Choice::Uniform,
            values: Sizes::Fixed(32),
            mix: Mix { get: 90, set: 10, del: 0 },
            owners: None,
            seed: 1,
            timeout: Duration::from_secs(5),
            preload: true,
            every_key: false,
            check: true,
            history: false,
            looks_back: false,
            part: None,
        }
    }
}

impl Load {
    /// Whether a read that finds nothing is a failure: all keys were written and none is deleted.
    #[must_use]
    pub fn every_key_exists(&self) -> bool {
        (self.preload || self.every_key) && self.mix.del == 0
    }

    /// How many of `whole`, shared out one by one, fall to this core.
    #[must_use]
    pub fn share(whole: u64, core: u16, cores: u16) -> u64 {
        let (core, cores) = (u64::from(core), u64::from(cores));
        whole / cores + u64::from(core < whole % cores)
    }
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What is asked.
    pub load: Load,
    /// The target as it was typed.
    pub target: String,
    /// The command line as it was typed, fit for a shell.
    pub command: String,
    /// Kernel numbers of the cores to run on; every core allowed when empty.
    pub cores: Vec<usize>,
    /// How long a worker that has nothing to do looks on before it sleeps.
    pub spin: Duration,
    /// Where the server's own count of requests is to be read, for who is not asked by INFO.
    pub metric: Option<String>,
    /// Where the results go.
    pub out: Option<PathBuf>,
    /// What was done to the server meanwhile.
    pub events: Option<Events>,
    /// Where the history goes.
    pub history: Option<PathBuf>,
    /// Whether the kernel is asked when it had each reply.
    pub stamps: bool,
    /// Who does it; this machine when empty.
    pub agents: Vec<String>,
    /// The key that they have, too.
    pub key_file: Option<PathBuf>,
    /// The words of `loadgen run`.
    pub words: Vec<String>,
    /// Whether an invalid result is an exit status of its own.
    pub strict: bool,
    /// The commit that is measured, as far as it was told.
    pub git_commit: String,
}

impl Run {
    /// What these words mean. `command` is the whole line, `drawn_seed` the seed when none was typed.
    ///
    /// # Errors
    /// A sentence: wrong use, or a host that has no address.
    pub fn mean(typed: RunArgs, command: String, drawn_seed: u64) -> Result<Self, Fatal> {
        let asked = typed.target.clone();
        let typed = jobs::as_http(typed);
        let (scheme, addresses) = target(&typed.target)?;
        check(&typed)?;
        let mut targets = addresses.split(',').map(resolve).collect::<Result<Vec<_>, _>>()?;
        let mut owners = None;
        let dialect = match scheme {
            Scheme::Resp => Dialect::Resp,
            Scheme::Frame => Dialect::Frame,
            Scheme::Cluster => {
                let cluster = discover(&targets)?;
                targets = cluster.nodes;
                owners = Some(cluster.owners.into());
                Dialect::Resp
            }
            Scheme::Http => Dialect::Http(Arc::new(http(&typed, addresses)?)),
            Scheme::Faas => Dialect::Http(Arc::new(faas(&typed, addresses)?)),
            Scheme::Waves => Dialect::Http(Arc::new(waves(&typed, addresses)?)),
        };
        // One request, whatever is asked: nothing to write before, nothing to mix.
        let plain = matches!(scheme, Scheme::Http | Scheme::Faas | Scheme::Waves);
        let sources = typed.source.unwrap_or_default();
        let matches = |source: &IpAddr| targets.iter().all(|target| target.is_ipv4() == source.is_ipv4());
        if let Some(source) = sources.iter().find(|source| !matches(source)) {
            return Err(Fatal::misuse(format!("--source {source} and the target are not of one family")));
        }
        let duration = match (typed.duration, typed.requests) {
            (None, None) => Some(Duration::from_secs(10)),
            (duration, _) => duration,
        };
        let load = Load {
            dialect,
            targets,
            sources,
            connections: typed.connections as u32,
            pipeline: typed.pipeline as u32,
            rate: typed.rate,
            arrival: typed.arrival,
            ramp: typed.ramp,
            warm_up: typed.warm_up,
            duration,
            requests: typed.requests,
            keys: typed.keys,
            key_size: typed.key_size,
            choice: typed.key_choice,
            values: typed.value_size,
            mix: if plain { Mix { get: 1, set: 0, del: 0 } } else { typed.mix },
            owners,
            seed: typed.seed.unwrap_or(drawn_seed),
            timeout: typed.timeout,
            preload: !typed.no_load && !plain,
            every_key: false,
            check: !typed.no_check,
            history: false,
            looks_back: false,
            part: None,
        };
        let unkept = unkept(&load);
        if let (Some(_), Some(why)) = (&typed.history, unkept) {
            return Err(Fatal::misuse(format!("--history {why}")));
        }
        if !typed.agents.is_empty() && (typed.events.is_some() || typed.history.is_some()) {
            return Err(Fatal::misuse(
                "--agents have clocks of their own: no --history or --events over several",
            ));
        }
        if typed.agents.len() > AGENTS_MAX {
            return Err(Fatal::misuse(format!(
                "{} agents are over the bound of {AGENTS_MAX}",
                typed.agents.len()
            )));
        }
        let looks_back = typed.events.is_some() && unkept.is_none();
        let load = Load { history: looks_back || typed.history.is_some(), looks_back, ..load };
        Ok(Self {
            load,
            target: asked,
            command,
            // Cores that were given to us are ours to use up; else a sleeping worker leaves its core to the server.
            spin: typed.spin.unwrap_or(if typed.cores.is_some() { SPIN } else { Duration::ZERO }),
            cores: typed.cores.unwrap_or_default(),
            metric: typed.metric,
            out: typed.out,
            events: typed.events,
            history: typed.history,
            agents: typed.agents,
            key_file: typed.key_file,
            words: typed.words,
            stamps: !typed.no_stamps,
            strict: typed.strict,
            git_commit: typed.git_commit,
        })
    }
}

/// What a target begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Resp,
    Cluster,
    Frame,
    Http,
    Faas,
    Waves,
}

/// What is asked of an HTTP server.
fn http(typed: &RunArgs, addresses: &str) -> Result<Ask, Fatal> {
    let path = typed.target.splitn(4, '/').nth(3).map_or("/".to_owned(), |path| format!("/{path}"));
    let body = match typed.body.as_deref().map(|body| (body, body.strip_prefix('@'))) {
        None => None,
        Some((_, Some(file))) => Some(
            std::fs::read_to_string(file)
                .map_err(|error| Fatal::misuse(format!("--body @{file} cannot be read: {error}")))?,
        ),
        Some((body, None)) => Some(body.to_owned()),
    };
    let asked = Typed {
        method: typed
            .method
            .clone()
            .unwrap_or_else(|| if body.is_some() { "POST" } else { "GET" }.to_owned()),
        host: addresses.split(',').next().unwrap_or_default().to_owned(),
        path,
        headers: typed.header.clone(),
        body,
        statuses: typed.expect_status,
        holds: typed.expect_body.clone(),
    };
    Ask::mean(&asked, typed.key_size).map_err(Fatal::misuse)
}

/// A call of a function and the wait for its result, as one request: `faas://host:port/FUNCTION-ID`. The arguments are
/// `--body`, as base64 of a pickle; without it none.
fn faas(typed: &RunArgs, addresses: &str) -> Result<Ask, Fatal> {
    /// `((), {})`, pickled.
    const NO_ARGUMENTS: &str = "gAQpfZSGlC4=";
    let function = typed.target.splitn(4, '/').nth(3).unwrap_or_default().trim_end_matches('/');
    if function.is_empty() {
        return Err(Fatal::misuse("name a function that is registered there: faas://host:port/FUNCTION-ID"));
    }
    let payload = typed.body.as_deref().unwrap_or(NO_ARGUMENTS);
    let asked = Typed {
        method: "POST".to_owned(),
        host: addresses.split(',').next().unwrap_or_default().to_owned(),
        path: format!("/execute_function?wait={}", typed.timeout.as_secs().max(1)),
        headers: vec!["Content-Type: application/json".to_owned()],
        body: Some(format!("{{\"function_id\":\"{function}\",\"payload\":\"{payload}\"}}")),
        statuses: (200, 201),
        holds: Some("\"status\":\"COMPLETED\"".to_owned()),
    };
    Ask::mean(&asked, typed.key_size).map_err(Fatal::misuse)
}

/// An echo wave over a network of units: asked for at its balancer, which answers with the tree that the wave brought.
fn waves(typed: &RunArgs, addresses: &str) -> Result<Ask, Fatal> {
    let asked = Typed {
        method: "GET".to_owned(),
        host: addresses.split(',').next().unwrap_or_default().to_owned(),
        path: "/echo".to_owned(),
        headers: typed.header.clone(),
        body: None,
        statuses: (200, 200),
        holds: Some("\"children\"".to_owned()),
    };
    Ask::mean(&asked, typed.key_size).map_err(Fatal::misuse)
}

/// Why the reads and writes of this load are no history of registers; none when they are.
fn unkept(load: &Load) -> Option<&'static str> {
    let named = load.values.least() >= NAMED_VALUE_MIN;
    match (&load.dialect, load.preload, named, load.mix.del) {
        (Dialect::Http(_), ..) => Some("keeps reads and writes of keys, and HTTP has none"),
        (_, false, ..) => Some("needs every key written before the run: leave out --no-load"),
        (_, _, false, _) => Some("needs values that name their version: a --value-size of 16 and more"),
        (.., 1..) => Some("knows reads and writes only: leave del out of the --mix"),
        (.., 0) => None,
    }
}

fn scheme(name: &str) -> Option<Scheme> {
    match name {
        "resp" => Some(Scheme::Resp),
        "resp-cluster" => Some(Scheme::Cluster),
        "frame" => Some(Scheme::Frame),
        "http" => Some(Scheme::Http),
        "faas" => Some(Scheme::Faas),
        "waves" => Some(Scheme::Waves),
        _ => None,
    }
}

/// Whether an address begins with a scheme; what follows it may have been cut off with the path.
fn has_scheme(address: &str) -> bool {
    let cut = address.strip_suffix(':');
    address.contains("://") || cut.is_some_and(|name| name == "jobs" || scheme(name).is_some())
}

/// Scheme and addresses of a target.
fn target(text: &str) -> Result<(Scheme, &str), Fatal> {
    let wrong = || {
        Fatal::misuse(format!(
            "{text:?} is no target: write resp://host:port, resp-cluster://host:port, frame://host:port, \
             http://host:port/path, jobs://host:port, waves://host:port or faas://host:port/FUNCTION-ID"
        ))
    };
    let (name, addresses) = text.split_once("://").ok_or_else(wrong)?;
    let scheme = scheme(name).ok_or_else(wrong)?;
    let addresses = match scheme {
        Scheme::Http | Scheme::Faas | Scheme::Waves => addresses.split('/').next().unwrap_or_default(),
        Scheme::Resp | Scheme::Cluster | Scheme::Frame => addresses,
    };
    if addresses.split(',').skip(1).any(has_scheme) {
        return Err(Fatal::misuse(format!(
            "{text:?} is no target: the scheme is written once, before the first address, as in resp://a:1,b:2"
        )));
    }
    match addresses.split(',').all(|address| address.contains(':')) {
        true => Ok((scheme, addresses.trim_end_matches('/'))),
        false => Err(wrong()),
    }
}

/// The first address of `host:port`.
fn resolve(text: &str) -> Result<SocketAddr, Fatal> {
    let unreachable = |why: String| Fatal {
        status: STATUS_UNREACHABLE,
        sentence: format!("{text} cannot be reached: {why}"),
    };
    let mut all = text.to_socket_addrs().map_err(|error| unreachable(error.to_string()))?;
    all.next().ok_or_else(|| unreachable("the host has no address".to_owned()))
}

/// Whether every number is within its bounds.
fn check(typed: &RunArgs) -> Result<(), Fatal> {
    let bounds = [
        ("--connections", typed.connections, 1, CONNECTIONS_MAX),
        ("--pipeline", typed.pipeline, 1, PIPELINE_MAX),
        ("--keys", typed.keys, 1, KEYS_MAX),
        ("--key-size", typed.key_size as u64, key_size_min(typed.keys) as u64, KEY_SIZE_MAX as u64),
        ("--value-size", typed.value_size.least() as u64, 1, VALUE_SIZE_MAX as u64),
        ("--value-size", typed.value_size.most() as u64, 1, VALUE_SIZE_MAX as u64),
        ("--requests", typed.requests.unwrap_or(1), 1, u64::MAX),
        ("--timeout in ms", typed.timeout.as_millis() as u64, 1, 24 * 3600 * 1000),
    ];
    for (name, value, least, most) in bounds {
        if value < least || value > most {
            return Err(Fatal::misuse(format!(
                "{name} is from {least} to {most}, and {value} was asked for"
            )));
        }
    }
    if typed.rate.is_none() && typed.arrival == Arrival::Poisson {
        return Err(Fatal::misuse("--arrival poisson spaces the requests of a --rate, and there is none"));
    }
    if typed.duration == Some(Duration::ZERO) {
        return Err(Fatal::misuse("--duration 0s measures nothing"));
    }
    let flight = (typed.value_size.most() + typed.key_size).saturating_mul(typed.pipeline as usize);
    if flight > FLIGHT_BYTES_MAX {
        return Err(Fatal::misuse(format!(
            "--pipeline times --value-size is {flight} bytes on each connection, over the bound of {FLIGHT_BYTES_MAX}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn meant(line: &str) -> Result<Run, Fatal> {
        let words = format!("loadgen run {line}");
        let Command::Run(typed) = Cli::try_parse_from(words.split_whitespace()).unwrap().command else {
            panic!("run was asked for")
        };
        Run::mean(*typed, words, 77)
    }

    #[test]
    fn a_function_is_called_and_its_result_waited_for() {
        let plan = meant("faas://127.0.0.1:8000/7c9e6679-7425-40de-944b-e07fc1f90ae7").unwrap();
        let Dialect::Http(ask) = &plan.load.dialect else { panic!("it is asked by HTTP") };
        let text = ask.shown(plan.load.key_size);
        assert!(text.starts_with("POST /execute_function?wait="), "{text}");
        assert!(
            text.ends_with(
                "{\"function_id\":\"7c9e6679-7425-40de-944b-e07fc1f90ae7\",\"payload\":\"gAQpfZSGlC4=\"}"
            ),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let run = meant("resp://127.0.0.1:6379,127.0.0.1:6380").unwrap();
        assert_eq!(run.load.targets.len(), 2);
        assert_eq!(run.load.duration, Some(Duration::from_secs(10)));
        assert_eq!((run.load.seed, run.load.preload, run.load.every_key_exists()), (77, true, true));
        assert_eq!(meant("resp://127.0.0.1:1 -n 5").unwrap().load.duration, None);
        assert!(!meant("frame://127.0.0.1:1 --mix del=1").unwrap().load.every_key_exists());
        assert_eq!(meant("frame://127.0.0.1:1 --seed 5").unwrap().load.seed, 5);
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let status = |line: &str| meant(line).unwrap_err().status;
        for line in [
            "127.0.0.1:6379",
            "https://127.0.0.1:80",
            "http://127.0.0.1",
            "http://127.0.0.1:80/a%20b --header x",
            "faas://127.0.0.1:80",
            "resp://127.0.0.1",
            "resp://127.0.0.1:1 -c 0",
            "resp://127.0.0.1:1 --key-size 3",
            "resp://127.0.0.1:1 --value-size 17MiB",
            "resp://127.0.0.1:1 --value-size 16MiB --pipeline 3",
            "resp://127.0.0.1:1 --duration 0s",
            "resp://127.0.0.1:1 --arrival poisson",
            "resp://127.0.0.1:1 --value-size 16-17MiB",
            "resp://[::1]:1 --source 127.0.0.2",
        ] {
            assert_eq!(status(line), 2, "{line}");
        }
        assert_eq!(status("resp://127.0.0.1:notaport"), 1);
    }

    #[test]
    fn a_scheme_is_written_once() {
        for line in ["resp://127.0.0.1:1,resp://127.0.0.1:2", "http://127.0.0.1:1,http://127.0.0.1:2/a"] {
            let fatal = meant(line).unwrap_err();
            assert!(fatal.status == 2 && fatal.sentence.contains("the scheme is written once"), "{fatal}");
        }
        assert!(meant("http://127.0.0.1:1,127.0.0.1:2/a?from=b,http://c").is_ok());
    }

    #[test]
    fn shares_add_up() {
        for (whole, cores) in [(10, 3), (2, 4), (0, 2), (9, 1)] {
            assert_eq!((0..cores).map(|core| Load::share(whole, core, cores)).sum::<u64>(), whole);
        }
    }
}
