//! The programs that ask: our load generator, the raw io_uring client that comes with the bare servers,
//! redis-benchmark, and the plain client of this crate. Each is run on the load's core, and says how many requests a
//! second were answered and how long they took.
//!
//! The hard thing is the server's processor time for just those requests: a client first fills the server and warms it
//! up, and we do not see when it begins to count. So the server's time is looked at all along, and what share of a
//! core it took is read from the middle of the counted time, which ends shortly before the client does.

use super::cell::{Cell, What};
use super::plain::{self, Dialect};
use crate::peers::server::{Kind, Server, pinned, require};
use clap::ValueEnum;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Asked before counting, so that connections are made and tables warm. `lg` has half a second of its own.
const WARM_UP: Duration = Duration::from_secs(1);
/// How often the server's processor time is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// What of the counted time the server's share is taken from, in its middle.
const MIDDLE: f64 = 0.6;
/// Before a client ends it adds up, and closes its connections: so many of them a second.
const ENDING_SECONDS: f64 = 0.1;
const CLOSED_A_SECOND: f64 = 20_000.0;
/// Connections that a client makes a second, at the least that was seen.
const CONNECTED_A_SECOND: f64 = 3000.0;
/// A client that takes so much longer than foretold hangs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests a second that redis-benchmark is given work for, by whether many are in flight: it counts requests and
/// not time, and gives out at about these.
const BENCHMARK_RATE: f64 = 90_000.0;
const BENCHMARK_RATE_PIPELINED: f64 = 1_400_000.0;

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum By {
    /// Our load generator
    Loadgen,
    /// The raw io_uring client that comes with the bare servers
    Lg,
    /// redis-benchmark, as a cross-check
    RedisBenchmark,
    /// A plain client that also speaks to memcached
    Plain,
}

impl By {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Loadgen => "loadgen",
            Self::Lg => "lg",
            Self::RedisBenchmark => "redis-benchmark",
            Self::Plain => "plain client",
        }
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|by| by.name() == name)
    }

    /// Whether this client can ask this of that server.
    pub(crate) const fn can(self, kind: Kind, cell: &Cell) -> bool {
        let speaks = match self {
            Self::Loadgen | Self::Lg | Self::RedisBenchmark => !matches!(kind, Kind::Memcached),
            Self::Plain => true,
        };
        let asks = match self {
            Self::Lg | Self::RedisBenchmark => !matches!(cell.what, What::Mix),
            Self::Loadgen | Self::Plain => true,
        };
        speaks && asks
    }
}

/// What came of one client at one server.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Requests answered a second.
    pub(crate) rate: f64,
    /// What of a core the server took meanwhile: 1 is all of it.
    pub(crate) share: f64,
    /// p50, p99, p99.9 in microseconds, where the client tells them.
    pub(crate) latency_us: [Option<f64>; 3],
    /// What the client says against its own figures.
    pub(crate) doubt: Option<String>,
}

impl Sample {
    /// Requests for a second of the server's processor time.
    pub(crate) fn per_processor_second(&self) -> f64 {
        self.rate / self.share
    }
}

/// Where the clients are and how long they count.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) loadgen: PathBuf,
    /// The folder of the bare servers, with `lg`.
    pub(crate) bare: Option<PathBuf>,
    /// The load's core.
    pub(crate) core: String,
    pub(crate) duration: Duration,
    /// A folder for what clients write.
    pub(crate) scratch: PathBuf,
    /// Whether loadgen may look on where it would sleep. Not where the disk counts: its interrupts may come to the
    /// load's core, and then the kernel's work after a write waits for a client that does not let go, up to 4 ms.
    pub(crate) spins: bool,
    /// Requests a second that loadgen offers at random moments; none: as many as are answered. Latency is then from
    /// when a request was due.
    pub(crate) rate: Option<u64>,
}

impl Clients {
    /// How long one takes, connecting and filling included.
    pub(crate) fn foretold(&self, cell: &Cell) -> Duration {
        let connecting = cell.connections as f64 / CONNECTED_A_SECOND;
        let filling = cell.size.bytes() as f64 / 2000.0 + 0.5;
        self.duration + WARM_UP + Duration::from_secs_f64(connecting + filling)
    }

    /// Runs it.
    pub(crate) fn run(&self, by: By, server: &Server, cell: &Cell) -> Result<Sample, String> {
        match by {
            By::Loadgen => self.loadgen(server, cell),
            By::Lg => self.lg(server, cell),
            By::RedisBenchmark => self.redis_benchmark(server, cell),
            By::Plain => self.plain(server, cell),
        }
    }

    fn loadgen(&self, server: &Server, cell: &Cell) -> Result<Sample, String> {
        let _ = fs::remove_dir_all(&self.scratch);
        let value_size = cell.size.bytes().to_string();
        let target = format!("resp://{}", server.at());
        let duration = format!("{}ms", self.duration.as_millis());
        let mut command = pinned(&self.core);
        command.arg(&self.loadgen).args(["run", &target, "--cores", &self.core, "--seed", "1"]);
        command.args(["--connections", &cell.connections.to_string()]);
        command.args(["--pipeline", &cell.pipeline.to_string(), "--value-size", &value_size]);
        command.args(["--duration", &duration, "--warm-up", &format!("{}ms", WARM_UP.as_millis())]);
        match cell.what {
            What::Get => command.args(["--mix", "get=1"]),
            What::Set => command.args(["--mix", "set=1"]),
            What::Mix => command.args(["--mix", "get=90,set=10", "--key-choice", "zipfian:0.99"]),
        };
        if !self.spins {
            command.args(["--spin", "0s"]);
        }
        if let Some(rate) = self.rate {
            command.args(["--rate", &rate.to_string(), "--arrival", "poisson"]);
        }
        command.arg("--out").arg(&self.scratch);
        let ended = self.watch(command, server, cell)?;
        let text = fs::read_to_string(self.scratch.join("run.json"));
        let text = text.map_err(|error| format!("loadgen wrote no run.json: {error}"))?;
        loadgen_sample(&text, if self.rate.is_some() { "response" } else { "service" }, ended.share)
    }

    fn lg(&self, server: &Server, cell: &Cell) -> Result<Sample, String> {
        let bare = self.bare.as_ref().ok_or("lg is where the bare servers are: give --bare DIR")?;
        let mut command = pinned(&self.core);
        command.arg(bare.join("lg")).args(["--port", &server.at().port().to_string(), "--core", &self.core]);
        command.args(["-c", &cell.connections.to_string(), "-P", &cell.pipeline.to_string()]);
        command.args(["-d", &cell.size.bytes().to_string(), "-r", &plain::KEYS.to_string()]);
        command.args(["-t", &self.duration.as_secs().max(1).to_string()]);
        if cell.what == What::Set {
            command.arg("--set");
        }
        let ended = self.watch(command, server, cell)?;
        lg_sample(&ended.said, ended.share)
    }

    /// It fills nothing and counts requests, so the server's time is all that passes while it runs.
    fn redis_benchmark(&self, server: &Server, cell: &Cell) -> Result<Sample, String> {
        require("redis-benchmark", "redis-tools")?;
        plain::fill(server.at(), Dialect::Resp, cell)?;
        let rate = if cell.pipeline > 1 { BENCHMARK_RATE_PIPELINED } else { BENCHMARK_RATE };
        let requests = (rate * self.duration.as_secs_f64()).round();
        let mut command = pinned(&self.core);
        command.args(["redis-benchmark", "-p", &server.at().port().to_string(), "--csv"]);
        command.args(["-c", &cell.connections.to_string(), "-P", &cell.pipeline.to_string()]);
        command.args(["-d", &cell.size.bytes().to_string(), "-r", &plain::KEYS.to_string()]);
        command.args(["-n", &requests.to_string(), "-t", if cell.what == What::Set { "set" } else { "get" }]);
        let before = server.processor_seconds()?;
        let ended = self.watch(command, server, cell)?;
        let processor_seconds = server.processor_seconds()? - before;
        benchmark_sample(&ended.said, requests, processor_seconds)
    }

    fn plain(&self, server: &Server, cell: &Cell) -> Result<Sample, String> {
        let dialect = match server.kind() {
            Kind::Memcached => Dialect::Memcached,
            Kind::Dht
            | Kind::DhtSpinning
            | Kind::Redis
            | Kind::BareUring
            | Kind::BareUringSpinning
            | Kind::BareEpoll => Dialect::Resp,
        };
        plain::fill(server.at(), dialect, cell)?;
        let mut looks = Vec::new();
        let done = plain::run(server.at(), dialect, cell, WARM_UP, self.duration, || {
            looks.push(server.processor_seconds()?);
            Ok(())
        })?;
        let at = |part: f64| {
            let index = (done.took_us.len() as f64 * part) as usize;
            done.took_us.get(index).copied()
        };
        Ok(Sample {
            rate: done.requests as f64 / done.seconds,
            share: (looks[1] - looks[0]) / done.seconds,
            latency_us: [at(0.5), at(0.99), at(0.999)],
            doubt: None,
        })
    }

    /// Runs a client to its end and looks at the server meanwhile.
    fn watch(
        &self,
        mut command: std::process::Command,
        server: &Server,
        cell: &Cell,
    ) -> Result<Ended, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("taskset does not start: {error}"))?;
        let mut child = Ending(Some(child));
        let until = Instant::now() + self.foretold(cell) * 2 + PATIENCE;
        let mut looks = Vec::new();
        while !child.has_ended()? {
            looks.push((Instant::now(), server.processor_seconds()?));
            if Instant::now() > until {
                return Err(format!("a client did not end within {:?}", self.foretold(cell) * 2 + PATIENCE));
            }
            std::thread::sleep(LOOK);
        }
        let (succeeded, said) = child.said()?;
        if !succeeded {
            let lines: Vec<&str> = said.lines().rev().take(3).collect();
            return Err(format!(
                "the client failed: {}",
                lines.into_iter().rev().collect::<Vec<_>>().join(" ")
            ));
        }
        let ending = ENDING_SECONDS + cell.connections as f64 / CLOSED_A_SECOND;
        Ok(Ended { share: share(&looks, self.duration.as_secs_f64(), ending)?, said })
    }
}

/// A client that has ended.
struct Ended {
    /// What of a core the server took while it counted.
    share: f64,
    said: String,
}

/// A client that is ended with us, should we fail.
struct Ending(Option<Child>);

impl Ending {
    fn has_ended(&mut self) -> Result<bool, String> {
        let Some(child) = &mut self.0 else { return Ok(true) };
        child.try_wait().map(|status| status.is_some()).map_err(|error| format!("a client is lost: {error}"))
    }

    /// Whether it succeeded, and all it said.
    fn said(&mut self) -> Result<(bool, String), String> {
        let child = self.0.take().ok_or("a client is lost")?;
        let output = child.wait_with_output().map_err(|error| format!("a client is lost: {error}"))?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What of a core the server took in the middle of the counted time, out of looks at its processor time.
fn share(looks: &[(Instant, f64)], counted: f64, ending: f64) -> Result<f64, String> {
    let (last, _) = *looks.last().ok_or("a client ended at once")?;
    let to = last - Duration::from_secs_f64(ending + counted * (1.0 - MIDDLE) / 4.0);
    let from = to - Duration::from_secs_f64(counted * MIDDLE);
    let inside = |(at, _): &&(Instant, f64)| (from..=to).contains(at);
    let first = looks.iter().find(inside);
    let last = looks.iter().rev().find(inside);
    match (first, last) {
        (Some((from, before)), Some((to, after))) if to > from && after > before => {
            Ok((after - before) / (*to - *from).as_secs_f64())
        }
        _ => Err("a client ended too soon, or the server did nothing".to_owned()),
    }
}

fn loadgen_sample(text: &str, time: &str, share: f64) -> Result<Sample, String> {
    let run: Value = serde_json::from_str(text).map_err(|error| format!("run.json: {error}"))?;
    let failures: u64 = run["errors"].as_object().into_iter().flatten().filter_map(|(_, n)| n.as_u64()).sum();
    if failures > 0 {
        return Err(format!("loadgen counted errors: {}", run["errors"]));
    }
    let rate = run["rate"].as_f64().ok_or("run.json tells no rate")?;
    let latency_us = ["p50", "p99", "p99_9"].map(|name| run["latency_us"][time][name].as_f64());
    let why = run["why"].as_str().unwrap_or_default();
    let verdict = run["verdict"].as_str().unwrap_or_default();
    let doubt = (verdict != "VALID").then(|| format!("{verdict}: {why}"));
    Ok(Sample { rate, share, latency_us, doubt })
}

fn lg_sample(said: &str, share: f64) -> Result<Sample, String> {
    let number = |name: &str| {
        let mut pairs = said.split_whitespace().filter_map(|word| word.split_once('='));
        pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<f64>().ok())
    };
    let rate = number("rps").ok_or_else(|| format!("lg says {said:?}"))?;
    let latency_us = ["p50us", "p99us", "p999us"].map(number);
    Ok(Sample { rate, share, latency_us, doubt: None })
}

/// The last line of its table has the rate, and in milliseconds: average, min, p50, p95, p99, max.
fn benchmark_sample(said: &str, requests: f64, processor_seconds: f64) -> Result<Sample, String> {
    let wrong = || format!("redis-benchmark says {said:?}");
    let line = said.lines().rfind(|line| line.starts_with("\"GET\"") || line.starts_with("\"SET\""));
    let fields: Vec<f64> =
        line.ok_or_else(wrong)?.split(',').filter_map(|field| field.trim_matches('"').parse().ok()).collect();
    let [rate, _, _, p50, _, p99, _] = fields[..] else { return Err(wrong()) };
    let share = processor_seconds / (requests / rate);
    Ok(Sample { rate, share, latency_us: [Some(p50 * 1e3), Some(p99 * 1e3), None], doubt: None })
}

/// Whether a program is there to be run, by its path.
pub(crate) fn is_there(path: &Path) -> Result<(), String> {
    if path.is_file() { Ok(()) } else { Err(format!("there is no {}", path.display())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_is_understood() {
        let text = r#"{"rate": 1e5, "verdict": "INVALID", "why": "slow", "errors": {},
            "latency_us": {"service": {"p50": 400, "p99": 900, "p99_9": 1000}}}"#;
        let sample = loadgen_sample(text, "service", 0.5).expect("it is whole");
        assert_eq!((sample.rate, sample.per_processor_second()), (1e5, 2e5));
        assert_eq!(sample.latency_us, [Some(400.0), Some(900.0), Some(1000.0)]);
        assert_eq!(sample.doubt.as_deref(), Some("INVALID: slow"));
        let failed = text.replace("{},", "{\"missing\": 2},");
        assert!(loadgen_sample(&failed, "service", 0.5).expect_err("there are errors").contains("missing"));

        let said = "rps=187306 p50us=264 p99us=410 p999us=702 max=1 conn_s=0.01 lg_cpu=0.97\n";
        let sample = lg_sample(said, 1.0).expect("it is whole");
        assert_eq!((sample.rate, sample.latency_us[2]), (187_306.0, Some(702.0)));
        assert!(lg_sample("thread 'main' panicked", 1.0).is_err());

        let said = "\"test\",\"rps\"\n\"GET\",\"90000.0\",\"0.5\",\"0.1\",\"0.4\",\"0.8\",\"0.9\",\"4.4\"\n";
        let sample = benchmark_sample(said, 180_000.0, 1.0).expect("it is whole");
        assert_eq!((sample.share, sample.latency_us[0]), (0.5, Some(400.0)));
        assert!(benchmark_sample("Could not connect", 1.0, 1.0).is_err());
    }

    #[test]
    fn the_share_is_of_the_counted_time_alone() {
        let start = Instant::now();
        // A second of filling that takes all of a core, then two that take half of it.
        let look = |step: u32| {
            let seconds = f64::from(step) / 50.0;
            let taken = if seconds < 1.0 { seconds } else { 1.0 + (seconds - 1.0) / 2.0 };
            (start + Duration::from_secs_f64(seconds), taken)
        };
        let looks: Vec<_> = (0..=150).map(look).collect();
        let share = share(&looks, 2.0, 0.1).expect("there are looks");
        assert!((share - 0.5).abs() < 1e-6, "{share}");
        assert!(super::share(&looks[..2], 2.0, 0.1).is_err());
    }
}
