//! What a small answer over HTTP costs: a kilobyte of text from a face of ours on one core beside nginx on one, which
//! says it out of its memory and out of a file, asked by wrk from another core.
//!
//! The hard thing is not to favour anybody: servers take turns, fresh for each run, and each round begins with another;
//! what is compared is answers for a second of the server's processor time, over the whole run, connecting included,
//! because wrk does not say when it begins to count.

use super::contest::median;
use super::record::{self, Found};
use super::server::{READY_WITHIN, free_port, part_cores, pinned, processor_seconds, require};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Bytes of an answer, without its head.
const BYTES: usize = 1024;
/// Descriptors that a program needs besides its connections.
const SPARE_DESCRIPTORS: u64 = 200;
/// wrk counts an answer that takes longer as an error.
const ANSWER_MAX: &str = "10s";
/// What starting and ending a server and connecting take.
const AROUND_SECONDS: f64 = 1.5;
const SECONDS_QUICK: u64 = 2;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Connections, each of which asks again when it is answered
    #[arg(long, value_delimiter = ',', default_values_t = [50, 1000, 10_000], value_parser = clap::value_parser!(u64).range(1..=10_000))]
    connections: Vec<u64>,
    /// One round of two seconds
    #[arg(long)]
    quick: bool,
    /// Seconds of each run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Our program, in place of the example `stand` of the crate web that is built for release
    #[arg(long, value_name = "FILE")]
    stand: Option<PathBuf>,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    NginxMemory,
    NginxFile,
    Web,
}

const ALL: [Who; 3] = [Who::NginxMemory, Who::NginxFile, Who::Web];

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NginxMemory => "nginx, return",
            Self::NginxFile => "nginx, file",
            Self::Web => "web",
        })
    }
}

impl Who {
    const fn path(self) -> &'static str {
        match self {
            Self::NginxMemory => "/memory",
            Self::NginxFile => "/kilobyte.txt",
            Self::Web => "/kilobyte",
        }
    }
}

/// What wrk says of a run, and what the server took for it.
#[derive(Clone, Debug, PartialEq)]
struct Sample {
    requests: u64,
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    processor_seconds: f64,
    /// Of a core.
    share: f64,
    /// In wrk's words.
    wrong: Option<String>,
}

impl Sample {
    fn per_processor_second(&self) -> f64 {
        self.requests as f64 / self.processor_seconds
    }
}

/// Measures everybody with each number of connections.
pub(super) fn measure(root: &Path, options: &Options) -> Result<Found, String> {
    require("nginx", "nginx-light")?;
    require("wrk", "wrk")?;
    let stand = options.stand.clone().unwrap_or_else(|| root.join("target/release/examples/stand"));
    let busy = record::busy();
    let (core, how) = part_cores()?;
    let folder = root.join("report/peers/nginx");
    fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let (seconds, rounds) =
        if options.quick { (SECONDS_QUICK, 1) } else { (options.seconds, options.rounds) };
    let runs = options.connections.len() * ALL.len() * rounds as usize;
    let minutes = runs as f64 * (seconds as f64 + AROUND_SECONDS) / 60.0;
    println!("{runs} runs of {seconds} s, about {minutes:.1} minutes in all.");
    let mut samples: BTreeMap<(u64, Who), Vec<Sample>> = BTreeMap::new();
    let mut remarks: Vec<String> = busy.into_iter().collect();
    for &connections in &options.connections {
        if connections + SPARE_DESCRIPTORS > record::descriptors() {
            remarks.push(format!("{connections} connections are left out: too few descriptors (ulimit -n)."));
            continue;
        }
        for round in 0..rounds as usize {
            for turn in 0..ALL.len() {
                let who = ALL[(turn + round) % ALL.len()];
                let server = Running::start(who, &stand, &folder, &core)?;
                let sample = server.asked(connections, seconds)?;
                println!("{connections} connections, {who}: {}", shown(&sample));
                samples.entry((connections, who)).or_default().push(sample);
            }
        }
    }
    Ok(found(&samples, remarks, &how_measured(seconds, rounds, &how)))
}

/// A server, ended with this value.
struct Running {
    who: Who,
    child: Child,
    at: SocketAddr,
    /// Held open, so that what it writes has somewhere to go.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it on that core, and waits until it answers what it must.
    fn start(who: Who, stand: &Path, folder: &Path, core: &str) -> Result<Self, String> {
        let mut command = pinned(core);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut at = free_port()?;
        match who {
            Who::Web => command.arg(stand).arg("patient"),
            Who::NginxMemory | Who::NginxFile => {
                let file = configuration(folder, at)?;
                command.args(["nginx", "-e", "stderr", "-p"]).arg(folder).arg("-c").arg(file)
            }
        };
        let mut child = command.spawn().map_err(|error| format!("{who}: {error}"))?;
        let mut stdout = child.stdout.take().map(BufReader::new);
        if let (Who::Web, Some(stdout)) = (who, &mut stdout) {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let wrong = |_| format!("{} does not start; what it said stands above", stand.display());
            at = line.trim().parse().map_err(wrong)?;
        }
        let mut running = Self { who, child, at, _stdout: stdout };
        let until = Instant::now() + READY_WITHIN;
        while let Err(why) = running.answers() {
            if let Ok(Some(status)) = running.child.try_wait() {
                return Err(format!("{who} ended at once with {status}"));
            }
            if Instant::now() > until {
                return Err(format!("{who} does not answer as it must: {why}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }

    /// Whether one request is answered with a kilobyte.
    fn answers(&self) -> Result<(), String> {
        let told = |error: std::io::Error| error.to_string();
        let mut client = TcpStream::connect(self.at).map_err(told)?;
        client.set_read_timeout(Some(READY_WITHIN)).map_err(told)?;
        let ask = format!("GET {} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", self.who.path());
        client.write_all(ask.as_bytes()).map_err(told)?;
        let mut said = String::new();
        client.read_to_string(&mut said).map_err(told)?;
        let body = said.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let is_right = said.starts_with("HTTP/1.1 200 ") && body.len() == BYTES;
        if is_right { Ok(()) } else { Err(format!("{said:?}")) }
    }

    /// Has wrk ask it.
    fn asked(&self, connections: u64, seconds: u64) -> Result<Sample, String> {
        let gone = || format!("{} is gone", self.who);
        let before = processor_seconds(self.child.id()).ok_or_else(gone)?;
        let (duration, connections) = (format!("-d{seconds}s"), format!("-c{connections}"));
        let output = Command::new("wrk")
            .args(["-t1", &connections, &duration, "--latency", "--timeout", ANSWER_MAX])
            .arg(format!("http://{}{}", self.at, self.who.path()))
            .output()
            .map_err(|error| format!("wrk: {error}"))?;
        let after = processor_seconds(self.child.id()).ok_or_else(gone)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut sample = read(&text).ok_or_else(|| format!("wrk says {text}"))?;
        sample.processor_seconds = after - before;
        sample.share = sample.processor_seconds * sample.rate / sample.requests as f64;
        Ok(sample)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nginx as one process, which is its one worker, with everything on that makes it fast and nothing written. All its
/// folders are ours, so that anybody may start it.
fn configuration(folder: &Path, at: SocketAddr) -> Result<PathBuf, String> {
    let body = "k".repeat(BYTES);
    let text = format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\nworker_rlimit_nofile 20000;\n\
         error_log stderr crit;\npid nginx.pid;\n\
         events {{ worker_connections 12000; multi_accept on; use epoll; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  tcp_nodelay on;\n\
         \x20 keepalive_requests 1000000000;\n  keepalive_timeout 75s;\n\
         \x20 open_file_cache max=16 inactive=600s;\n  open_file_cache_valid 600s;\n  default_type text/plain;\n\
         \x20 client_body_temp_path body;\n  proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n\
         \x20 uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n\
         \x20 server {{\n    listen {at} backlog=4096;\n    root .;\n\
         \x20   location = /memory {{ return 200 \"{body}\"; }}\n  }}\n}}\n"
    );
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::write(folder.join("kilobyte.txt"), &body).map_err(wrong)?;
    let file = folder.join("nginx.conf");
    fs::write(&file, text).map_err(wrong)?;
    Ok(file)
}

/// What stands in wrk's report; the server's time is not known from it.
fn read(text: &str) -> Option<Sample> {
    let behind = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start));
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "))?.0;
    let wrong = ["Socket errors:", "Non-2xx or 3xx responses:"];
    let wrong: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| wrong.iter().any(|start| line.starts_with(start)))
        .collect();
    Some(Sample {
        requests: requests.parse().ok()?,
        rate: behind("Requests/sec:")?.trim().parse().ok()?,
        p50_us: microseconds(behind("50%")?)?,
        p99_us: microseconds(behind("99%")?)?,
        processor_seconds: 0.0,
        share: 0.0,
        wrong: (!wrong.is_empty()).then(|| wrong.join("; ")),
    })
}

/// `1.23ms` and the like, as microseconds.
fn microseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|letter: char| letter.is_ascii_alphabetic())?);
    let factor = match unit {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 60e6,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// For who waits.
fn shown(sample: &Sample) -> String {
    format!(
        "{:.0} answers per CPU-second, {:.0}/s, p50 {:.0} µs, p99 {:.0} µs{}",
        sample.per_processor_second(),
        sample.rate,
        sample.p50_us,
        sample.p99_us,
        sample.wrong.as_ref().map(|wrong| format!(", {wrong}")).unwrap_or_default()
    )
}

fn how_measured(seconds: u64, rounds: u32, how: &str) -> String {
    format!(
        "GET of {BYTES} bytes over connections that are kept, asked by one thread of wrk for {seconds} s; servers take \
         turns, fresh for each run; {rounds} rounds, medians, and the whole spread of answers for a processor second \
         of the server (user and system time out of /proc, connecting included). web is the example `stand` of that \
         crate, whose shard answers out of memory; nginx is one process without a master, which answers by `return` \
         or from a file with sendfile and open_file_cache, and logs nothing. Heads differ: nginx says some headers \
         more. wrk waits for an answer before it asks again, so its times leave out what others would have waited. \
         {how}. {}. {}.",
        version("nginx", "-v"),
        version("wrk", "-v"),
    )
}

/// The first line that a program says of itself, wherever it says it.
pub(super) fn version(program: &str, word: &str) -> String {
    let output = Command::new(program).arg(word).output();
    let said = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().next().unwrap_or_default();
    line.split(" Copyright").next().unwrap_or_default().trim().to_owned()
}

fn found(samples: &BTreeMap<(u64, Who), Vec<Sample>>, mut remarks: Vec<String>, how: &str) -> Found {
    let rows = samples.iter().map(|(key, all)| row(samples, *key, all)).collect();
    for ((connections, who), all) in samples {
        let wrong = all.iter().filter_map(|sample| sample.wrong.as_ref());
        remarks.extend(wrong.map(|wrong| format!("{connections} connections, {who}: {wrong}.")));
    }
    Found {
        name: "http-peers",
        title: "A kilobyte over HTTP, one core each".to_owned(),
        how: how.to_owned(),
        columns: vec![
            "connections",
            "server",
            "answers per CPU-second",
            "lowest to highest",
            "to nginx, return",
            "answers/s",
            "server's share of its core",
            "p50, p99 µs",
        ],
        rows,
        remarks,
        json: Value::Array(
            samples.iter().flat_map(|(key, all)| all.iter().map(|one| told(*key, one))).collect(),
        ),
    }
}

fn row(
    samples: &BTreeMap<(u64, Who), Vec<Sample>>,
    (connections, who): (u64, Who),
    all: &[Sample],
) -> Vec<String> {
    let middle = |of: fn(&Sample) -> f64, all: &[Sample]| median(all.iter().map(of).collect());
    let costs = all.iter().map(Sample::per_processor_second);
    let cost = middle(Sample::per_processor_second, all);
    let first = samples.get(&(connections, Who::NginxMemory));
    let ratio = first.map(|first| cost / middle(Sample::per_processor_second, first));
    vec![
        connections.to_string(),
        who.to_string(),
        format!("{cost:.0}"),
        format!("{:.0} to {:.0}", costs.clone().fold(f64::INFINITY, f64::min), costs.fold(0.0, f64::max)),
        ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
        format!("{:.0}", middle(|sample| sample.rate, all)),
        format!("{:.2}", middle(|sample| sample.share, all)),
        format!("{:.0}, {:.0}", middle(|sample| sample.p50_us, all), middle(|sample| sample.p99_us, all)),
    ]
}

fn told((connections, who): (u64, Who), sample: &Sample) -> Value {
    json!({
        "connections": connections,
        "server": who.to_string(),
        "requests": sample.requests,
        "rate": sample.rate,
        "p50_us": sample.p50_us,
        "p99_us": sample.p99_us,
        "processor_seconds": sample.processor_seconds,
        "requests_per_processor_second": sample.per_processor_second(),
        "wrong": sample.wrong,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "Running 2s test @ http://127.0.0.1:1/kilobyte\n  1 threads and 50 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency   613.48us  204.00us   3.86ms   84.10%\n    \
        Req/Sec    81.32k     3.10k   86.00k    70.00%\n  Latency Distribution\n     50%  580.00us\n     75%  1.20ms\n     \
        90%    2.00ms\n     99%    1.25s \n  161802 requests in 2.00s, 177.76MB read\nRequests/sec:  80812.51\n\
        Transfer/sec:     88.78MB\n";

    #[test]
    fn the_report_of_wrk_is_read() {
        let sample = read(SAID).expect("it is a report");
        assert_eq!((sample.requests, sample.wrong.clone()), (161_802, None));
        assert_eq!([sample.rate, sample.p50_us, sample.p99_us], [80_812.51, 580.0, 1.25e6]);
        let wrong = "  Socket errors: connect 0, read 3, write 0, timeout 0\n  Non-2xx or 3xx responses: 9\n";
        let told = read(&format!("{SAID}{wrong}")).and_then(|sample| sample.wrong);
        let words = "Socket errors: connect 0, read 3, write 0, timeout 0; Non-2xx or 3xx responses: 9";
        assert_eq!(told.as_deref(), Some(words));
        assert_eq!(read("unable to connect to 127.0.0.1:1 Connection refused\n"), None);
    }

    #[test]
    fn rows_have_their_columns_and_are_compared_to_nginx() {
        let sample =
            |requests| Sample { requests, processor_seconds: 2.0, ..read(SAID).expect("it is a report") };
        let samples = BTreeMap::from([
            ((50, Who::Web), vec![sample(300), sample(500), sample(400)]),
            ((50, Who::NginxMemory), vec![sample(100)]),
        ]);
        let found = found(&samples, Vec::new(), "How.");
        assert!(found.rows.iter().all(|row| row.len() == found.columns.len()));
        assert_eq!(found.rows[1][..5], ["50", "web", "200", "150 to 250", "4.00"]);
    }
}
