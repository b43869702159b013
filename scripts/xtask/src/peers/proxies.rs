//! What it costs to pass a request on: the balancer on one core beside haproxy, nginx and relays that parse nothing, asked
//! by wrk, before the same replicas, which say a kilobyte.
//!
//! The hard thing is to bound all alike. Replicas are four ports of one nginx; the balancer and haproxy let 256 requests
//! at a time to each and keep the rest in order; nginx has no such queue in its free version, so it has no bound, and
//! the relays keep one connection for each client. What counts is requests for a second of the proxy's processor time,
//! because replicas and wrk share the other core and are what gives out first.

use super::contest::median;
use super::pages::version;
use super::record::{self, Found};
use super::server::{READY_WITHIN, free_port, part_cores, pinned, processor_seconds, require};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of an answer, without its head.
const BYTES: usize = 1024;
const REPLICAS: usize = 4;
/// Requests in flight to a replica.
const IN_FLIGHT: u32 = 256;
/// Descriptors that a program needs besides its connections.
const SPARE_DESCRIPTORS: u64 = 2_000;
/// wrk counts an answer that takes longer as an error.
const ANSWER_MAX: &str = "10s";
/// What starting and ending a proxy and connecting take.
const AROUND_SECONDS: f64 = 2.5;
/// wrk tells no 99.9th percentile by itself.
const SCRIPT: &str = "done = function(summary, latency, requests)\n  local e = summary.errors\n  \
    io.write(string.format('FOUND %d %d %d %d %d %d\\n', summary.requests, summary.duration, \
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), \
    e.connect + e.read + e.write + e.status + e.timeout))\nend\n";

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Connections, each of which asks again when it is answered
    #[arg(long, value_delimiter = ',', default_values_t = [50, 1000, 9000], value_parser = clap::value_parser!(u64).range(1..=9_000))]
    connections: Vec<u64>,
    /// Seconds of each run
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// The folder of relay_uring and relay_epoll, which parse nothing
    #[arg(long, value_name = "DIR")]
    bare: Option<PathBuf>,
    /// Only these
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// What balancer is started with besides
    #[arg(last = true)]
    options: Vec<String>,
}

/// Who passes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Balancer,
    Haproxy,
    Nginx,
    RelayUring,
    RelayEpoll,
}

const ALL: [Who; 5] = [Who::Balancer, Who::Haproxy, Who::Nginx, Who::RelayUring, Who::RelayEpoll];

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Balancer => "balancer",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::RelayUring => "relay_uring",
            Self::RelayEpoll => "relay_epoll",
        })
    }
}

/// What wrk found, and what the proxy took for it.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    requests: u64,
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    wrong: u64,
    processor_seconds: f64,
    resident_kib: u64,
}

impl Sample {
    fn per_processor_second(&self) -> f64 {
        self.requests as f64 / self.processor_seconds
    }
}

/// Where everything is.
struct Stage {
    balancer: PathBuf,
    bare: Option<PathBuf>,
    folder: PathBuf,
    core: String,
    options: Vec<String>,
    replicas: Vec<SocketAddr>,
}

/// Measures everybody with each number of connections.
pub(super) fn measure(root: &Path, program: Option<&Path>, options: &Options) -> Result<Found, String> {
    require("haproxy", "haproxy")?;
    require("nginx", "nginx-light")?;
    require("wrk", "wrk")?;
    let mut remarks: Vec<String> = record::busy().into_iter().collect();
    let (core, how) = part_cores()?;
    let folder = root.join("report/peers/proxies");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    fs::write(folder.join("found.lua"), SCRIPT).map_err(|error| error.to_string())?;
    let replicas: Result<Vec<SocketAddr>, String> = (0..REPLICAS).map(|_| free_port()).collect();
    let balancer = program.map_or_else(|| root.join("target/release/balancer"), Path::to_path_buf);
    let stage = Stage {
        balancer,
        bare: options.bare.clone(),
        folder,
        core,
        options: options.options.clone(),
        replicas: replicas?,
    };
    let _origin = stage.origin()?;
    let takes_part = |who: &Who| {
        let is_wanted = options.only.is_empty() || options.only.iter().any(|name| *name == who.to_string());
        is_wanted && (options.bare.is_some() || !matches!(who, Who::RelayUring | Who::RelayEpoll))
    };
    let who: Vec<Who> = ALL.into_iter().filter(takes_part).collect();
    let runs = options.connections.len() * who.len() * options.rounds as usize;
    let minutes = runs as f64 * (options.seconds as f64 + AROUND_SECONDS) / 60.0;
    println!("{runs} runs of {} s, about {minutes:.1} minutes in all.", options.seconds);
    let mut samples: BTreeMap<(u64, Who), Vec<Sample>> = BTreeMap::new();
    for &connections in &options.connections {
        if connections + SPARE_DESCRIPTORS > record::descriptors() {
            remarks.push(format!("{connections} connections are left out: too few descriptors (ulimit -n)."));
            continue;
        }
        for round in 0..options.rounds as usize {
            for turn in 0..who.len() {
                let who = who[(turn + round) % who.len()];
                let sample = stage.run(who, connections, options.seconds)?;
                println!(
                    "{connections} connections, {who}: {:.0} for a CPU-second, {:.0}/s, p50 {:.0} µs, p99.9 {:.0} µs, {} wrong",
                    sample.per_processor_second(),
                    sample.rate,
                    sample.p50_us,
                    sample.p999_us,
                    sample.wrong
                );
                samples.entry((connections, who)).or_default().push(sample);
            }
        }
    }
    Ok(found(&samples, remarks, &stage.how(options, &how)))
}

impl Stage {
    /// The replicas: one nginx on several ports, on the core of the load.
    fn origin(&self) -> Result<Running, String> {
        let listen: String = self.replicas.iter().map(|at| format!("listen {at} backlog=4096; ")).collect();
        let body = "k".repeat(BYTES);
        let server = format!(
            "{listen} location = /kilobyte {{ return 200 \"{body}\"; }} location = /heartbeat {{ return 200; }}"
        );
        let file = self.nginx("origin", &server, "")?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "nginx", "-e", "stderr", "-p"])
            .arg(&self.folder)
            .arg("-c")
            .arg(file);
        Running::start(command, "the replicas", self.replicas[0])
    }

    fn proxy(&self, who: Who, at: SocketAddr) -> Result<Running, String> {
        let mut command = pinned(&self.core);
        match who {
            Who::Balancer => {
                command.arg(&self.balancer).args(["serve", "--driver", "static", "--log-level", "warn"]);
                command.args(["--port", &at.port().to_string(), "--admin-port", "0", "--cores", &self.core]);
                command.args(["--replicas", &REPLICAS.to_string(), "--replica-max", &IN_FLIGHT.to_string()]);
                command.args(["--x-forwarded", "off", "--via", "off", "--queue-timeout", "60s"]);
                for replica in &self.replicas {
                    command.args(["--replica-address", &replica.to_string()]);
                }
                command.args(&self.options);
            }
            Who::Haproxy => {
                command.args(["haproxy", "-db", "-f"]).arg(self.haproxy(at)?);
            }
            Who::Nginx => {
                let upstream: String = self.replicas.iter().map(|at| format!("server {at}; ")).collect();
                let upstream = format!(
                    "upstream replicas {{ {upstream} keepalive {}; keepalive_requests 1000000000; keepalive_timeout 600s; \
                     keepalive_time 24h; }}",
                    IN_FLIGHT as usize * REPLICAS
                );
                let server = format!(
                    "listen {at} backlog=4096; location / {{ proxy_pass http://replicas; proxy_http_version 1.1; \
                     proxy_set_header Connection \"\"; }}"
                );
                let file = self.nginx("proxy", &server, &upstream)?;
                command.args(["nginx", "-e", "stderr", "-p"]).arg(&self.folder).arg("-c").arg(file);
            }
            Who::RelayUring | Who::RelayEpoll => {
                let folder = self.bare.as_deref().ok_or("--bare DIR was not given")?;
                command.arg(folder.join(who.to_string())).args(["--port", &at.port().to_string()]);
                command.args(["--up", &self.replicas[0].port().to_string(), "--core", &self.core]);
            }
        }
        Running::start(command, &who.to_string(), at)
    }

    /// By haproxy's own guide to many connections: one thread, reuse of every connection, and a pool that may hold as
    /// many descriptors as there are.
    fn haproxy(&self, at: SocketAddr) -> Result<PathBuf, String> {
        let servers: String = (self.replicas.iter().enumerate())
            .map(|(number, at)| format!("  server s{number} {at} maxconn {IN_FLIGHT} pool-max-conn -1\n"))
            .collect();
        let text = format!(
            "global\n  nbthread 1\n  maxconn 9500\n  tune.pool-low-fd-ratio 90\n  tune.pool-high-fd-ratio 95\n\
             defaults\n  mode http\n  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n  \
             timeout queue 60s\n  option http-keep-alive\n  http-reuse always\n  no log\n\
             frontend front\n  bind {at} backlog 4096\n  default_backend replicas\n\
             backend replicas\n  balance roundrobin\n{servers}"
        );
        let file = self.folder.join("haproxy.cfg");
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }

    /// nginx as one process, which is its one worker, with nothing written. All its folders are ours.
    fn nginx(&self, name: &str, server: &str, upstream: &str) -> Result<PathBuf, String> {
        let text = format!(
            "daemon off;\nmaster_process off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\n\
             error_log stderr crit;\npid {name}.pid;\n\
             events {{ worker_connections 19500; multi_accept on; use epoll; }}\n\
             http {{\n  access_log off;\n  tcp_nodelay on;\n  keepalive_requests 1000000000;\n  \
             keepalive_timeout 600s;\n  default_type text/plain;\n  client_body_temp_path {name}-body;\n  \
             proxy_temp_path {name}-proxy;\n  fastcgi_temp_path {name}-fastcgi;\n  uwsgi_temp_path {name}-uwsgi;\n  \
             scgi_temp_path {name}-scgi;\n  {upstream}\n  server {{ {server} }}\n}}\n"
        );
        let file = self.folder.join(format!("{name}.conf"));
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        Ok(file)
    }

    fn run(&self, who: Who, connections: u64, seconds: u64) -> Result<Sample, String> {
        let at = free_port()?;
        let proxy = self.proxy(who, at)?;
        let gone = || format!("{who} is gone");
        let before = processor_seconds(proxy.child.id()).ok_or_else(gone)?;
        let output = Command::new("wrk")
            .args([
                "-t1",
                &format!("-c{connections}"),
                &format!("-d{seconds}s"),
                "--timeout",
                ANSWER_MAX,
                "-s",
            ])
            .arg(self.folder.join("found.lua"))
            .arg(format!("http://{at}/kilobyte"))
            .output()
            .map_err(|error| format!("wrk: {error}"))?;
        let after = processor_seconds(proxy.child.id()).ok_or_else(gone)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut sample = read(&text).ok_or_else(|| format!("{who}: wrk says {text}"))?;
        sample.processor_seconds = after - before;
        sample.resident_kib = proxy.resident_kib();
        Ok(sample)
    }

    fn how(&self, options: &Options, cores: &str) -> String {
        let besides = match self.options.is_empty() {
            true => String::new(),
            false => format!(" Balancer with {}.", self.options.join(" ")),
        };
        format!(
            "Whoever passes requests on takes turns, fresh for each run of {} s; {} rounds, medians. Replicas are {REPLICAS} \
             ports of one nginx that says {BYTES} bytes; balancer and haproxy send {IN_FLIGHT} requests at a time to each and \
             let the rest wait; nginx cannot, and is not bounded; relays have a connection to one port for each client. \
             balancer spreads by rendezvous over random keys with bounded load, the others in turn. Nobody adds headers about \
             the client.{besides} wrk waits for an answer before it asks again, so its times leave out what others would have \
             waited. Processor seconds are user and system time of all threads of the proxy, connecting included. {cores}. \
             {}. {}. {}.",
            options.seconds,
            options.rounds,
            version("haproxy", "-v"),
            version("nginx", "-v"),
            version("wrk", "-v"),
        )
    }
}

/// One that runs, ended with this value.
struct Running {
    child: Child,
}

impl Running {
    /// Starts it and waits until it passes a kilobyte on.
    fn start(mut command: Command, name: &str, at: SocketAddr) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
        let mut running = Self { child };
        let until = Instant::now() + READY_WITHIN;
        while let Err(why) = answers(at) {
            if let Ok(Some(status)) = running.child.try_wait() {
                return Err(format!("{name} ended at once with {status}"));
            }
            if Instant::now() > until {
                return Err(format!("{name} does not answer as it must: {why}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether one request is answered with a kilobyte.
fn answers(at: SocketAddr) -> Result<(), String> {
    let told = |error: std::io::Error| error.to_string();
    let mut client = TcpStream::connect(at).map_err(told)?;
    client.set_read_timeout(Some(READY_WITHIN)).map_err(told)?;
    client.write_all(b"GET /kilobyte HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").map_err(told)?;
    let mut said = String::new();
    client.read_to_string(&mut said).map_err(told)?;
    let body = said.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let is_right = said.starts_with("HTTP/1.1 200 ") && body.len() == BYTES;
    if is_right { Ok(()) } else { Err(format!("{said:?}")) }
}

/// The line that the script writes at the end of a run.
fn read(text: &str) -> Option<Sample> {
    let line = text.lines().find_map(|line| line.strip_prefix("FOUND "))?;
    let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [requests, duration_us, p50, p99, p999, wrong] = numbers[..] else { return None };
    Some(Sample {
        requests,
        rate: requests as f64 * 1e6 / duration_us.max(1) as f64,
        p50_us: p50 as f64,
        p99_us: p99 as f64,
        p999_us: p999 as f64,
        wrong,
        processor_seconds: 0.0,
        resident_kib: 0,
    })
}

fn middle(all: &[Sample], of: fn(&Sample) -> f64) -> f64 {
    median(all.iter().map(of).collect())
}

fn found(samples: &BTreeMap<(u64, Who), Vec<Sample>>, remarks: Vec<String>, how: &str) -> Found {
    let rows =
        samples.iter().map(|((connections, who), all)| row(samples, *connections, *who, all)).collect();
    let told = |(connections, who): &(u64, Who), sample: &Sample| {
        json!({
            "connections": connections,
            "proxy": who.to_string(),
            "requests": sample.requests,
            "rate": sample.rate,
            "p50_us": sample.p50_us,
            "p99_us": sample.p99_us,
            "p999_us": sample.p999_us,
            "wrong": sample.wrong,
            "processor_seconds": sample.processor_seconds,
            "requests_per_processor_second": sample.per_processor_second(),
            "resident_kib_at_most": sample.resident_kib,
        })
    };
    Found {
        name: "balancer-peers",
        title: "Passing a kilobyte on, one core each".to_owned(),
        how: how.to_owned(),
        columns: vec![
            "connections",
            "proxy",
            "requests per CPU-second",
            "lowest to highest",
            "to haproxy",
            "to the better relay",
            "requests/s",
            "p50, p99, p99.9 ms",
            "wrong",
            "resident at most, MiB",
        ],
        rows,
        remarks,
        json: Value::Array(
            samples.iter().flat_map(|(key, all)| all.iter().map(|one| told(key, one))).collect(),
        ),
    }
}

fn row(
    samples: &BTreeMap<(u64, Who), Vec<Sample>>,
    connections: u64,
    who: Who,
    all: &[Sample],
) -> Vec<String> {
    let cost =
        |who: Who| samples.get(&(connections, who)).map(|all| middle(all, Sample::per_processor_second));
    let own = middle(all, Sample::per_processor_second);
    let relay = [Who::RelayUring, Who::RelayEpoll].into_iter().filter_map(cost).reduce(f64::max);
    let ratio = |to: Option<f64>| to.map_or_else(|| "–".to_owned(), |to| format!("{:.2}", own / to));
    let costs = || all.iter().map(Sample::per_processor_second);
    vec![
        connections.to_string(),
        who.to_string(),
        format!("{own:.0}"),
        format!("{:.0} to {:.0}", costs().fold(f64::INFINITY, f64::min), costs().fold(0.0, f64::max)),
        ratio(cost(Who::Haproxy)),
        ratio(relay),
        format!("{:.0}", middle(all, |one| one.rate)),
        format!(
            "{:.2}, {:.2}, {:.2}",
            middle(all, |one| one.p50_us) / 1e3,
            middle(all, |one| one.p99_us) / 1e3,
            middle(all, |one| one.p999_us) / 1e3
        ),
        all.iter().map(|one| one.wrong).sum::<u64>().to_string(),
        format!("{:.1}", middle(all, |one| one.resident_kib as f64) / 1024.0),
    ]
}

/// The short table that pages quote.
pub(super) fn summary(found: &Found) -> String {
    let mut text = "Requests for a processor second of the proxy, a kilobyte each, asked by wrk; in brackets to haproxy and \
                    to the better of two relays that parse nothing:\n\n\
                    | connections | proxy | requests per CPU-second | p99.9 ms |\n|---|---|---|---|\n"
        .to_owned();
    for row in &found.rows {
        let last = row[7].rsplit(", ").next().unwrap_or_default();
        text += &format!("| {} | {} | {} ({}; {}) | {last} |\n", row[0], row[1], row[2], row[4], row[5]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_script_is_read() {
        let said = "Running 2s test\nFOUND 161802 2000000 580 1250 9000 3\n";
        let sample = read(said).expect("it is a line");
        assert_eq!((sample.requests, sample.rate, sample.wrong), (161_802, 80_901.0, 3));
        assert_eq!([sample.p50_us, sample.p99_us, sample.p999_us], [580.0, 1250.0, 9000.0]);
        assert_eq!(read("FOUND 1 2\n"), None);
    }

    #[test]
    fn rows_have_their_columns_and_are_compared_to_haproxy_and_to_the_better_relay() {
        let sample = |requests| Sample {
            requests,
            processor_seconds: 2.0,
            ..read("FOUND 1 1 1 1 1 0").expect("it is a line")
        };
        let samples = BTreeMap::from([
            ((50, Who::Balancer), vec![sample(300), sample(500), sample(400)]),
            ((50, Who::Haproxy), vec![sample(100)]),
            ((50, Who::RelayUring), vec![sample(200)]),
            ((50, Who::RelayEpoll), vec![sample(800)]),
        ]);
        let found = found(&samples, Vec::new(), "How.");
        assert!(found.rows.iter().all(|row| row.len() == found.columns.len()));
        assert_eq!(found.rows[0][..6], ["50", "balancer", "200", "150 to 250", "4.00", "0.50"]);
        assert!(
            summary(&found).contains("| 50 | balancer | 200 (4.00; 0.50) | 0.00 |"),
            "{}",
            summary(&found)
        );
    }
}
