//! A balancer of one's own: started on free ports, asked on its admin port, and ended with its replicas.

use crate::peers::server::{READY_WITHIN, require};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// Until something that must come has come.
const PATIENCE: Duration = Duration::from_secs(60);

/// One that runs.
pub(super) struct Balancer {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    pub(super) http: SocketAddr,
    pub(super) admin: SocketAddr,
    killer: Killer,
}

impl Balancer {
    /// Starts it with these options and so many replicas, and waits until all are healthy.
    pub(super) fn start(program: &Path, replicas: usize, options: &[String]) -> Result<Self, String> {
        require("setpriv", "util-linux")?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args([
            "serve",
            "--port",
            "0",
            "--admin-port",
            "0",
        ]);
        command.args(["--log-level", "error", "--replicas", &replicas.to_string()]).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
        let mut stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        let mut line = String::new();
        stdout.read_line(&mut line).map_err(|error| error.to_string())?;
        let place = |key: &str| {
            let word = line.split_whitespace().find_map(|word| word.strip_prefix(key));
            let wrong = || format!("{} does not start; what it said stands above", program.display());
            word.and_then(|word| word.parse().ok()).ok_or_else(wrong)
        };
        let (http, admin) = (place("http=")?, place("admin=")?);
        let balancer = Self { child, _stdout: stdout, http, admin, killer: Killer::start()? };
        balancer.settle(replicas)?;
        Ok(balancer)
    }

    /// Waits until so many replicas are healthy.
    pub(super) fn settle(&self, replicas: usize) -> Result<(), String> {
        let until = Instant::now() + PATIENCE.max(READY_WITHIN);
        loop {
            let told = self.told("/replicas")?;
            let all = told["replicas"].as_array().cloned().unwrap_or_default();
            let healthy = all.iter().filter(|each| each["state"] == "healthy").count();
            if healthy == replicas && all.len() == replicas {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!("{replicas} replicas are not healthy within {PATIENCE:?}: {told}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the admin port says.
    pub(super) fn told(&self, path: &str) -> Result<Value, String> {
        let text = asked(self.admin, path)?;
        serde_json::from_str(&text).map_err(|error| format!("{path}: {error}: {text}"))
    }

    /// A counter, summed over cores.
    pub(super) fn counted(&self, name: &str) -> Result<u64, String> {
        let text = asked(self.admin, "/metrics")?;
        let lines = text.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64)
    }

    /// The processes of replicas, by the number that they say.
    pub(super) fn replicas(&self) -> BTreeMap<u64, u32> {
        let mut parents = BTreeMap::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent =
                stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
            parents.insert(pid, parent.unwrap_or(0_u32));
        }
        // Replicas are the keeper's children, and the keeper is the balancer's.
        let is_ours = |pid: &u32| {
            let keeper = parents.get(pid).copied().unwrap_or(0);
            parents.get(&keeper) == Some(&self.child.id())
        };
        let number = |pid: u32| {
            let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words: Vec<&str> = words.split('\0').collect();
            words.iter().position(|word| *word == "--id").and_then(|at| words.get(at + 1)?.parse().ok())
        };
        parents.keys().filter(|pid| is_ours(pid)).filter_map(|pid| Some((number(*pid)?, *pid))).collect()
    }

    /// Signals a process; when that was done.
    pub(super) fn signal(&mut self, signal: &str, pid: u32) -> Result<Instant, String> {
        self.killer.signal(signal, pid)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // By the polite signal, and if that does not do, by the other: the keeper ends replicas either way.
        let _ = self.killer.signal("TERM", self.child.id());
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shell that sends signals: by its own `kill`, so that none waits for a program to start.
struct Killer {
    child: Child,
    orders: ChildStdin,
    done: BufReader<ChildStdout>,
}

impl Killer {
    fn start() -> Result<Self, String> {
        let mut child = Command::new("sh")
            .args(["-c", "while read signal pid; do kill -$signal $pid; echo done; done"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("sh: {error}"))?;
        let orders = child.stdin.take().ok_or("no standard input")?;
        let done = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { child, orders, done })
    }

    fn signal(&mut self, signal: &str, pid: u32) -> Result<Instant, String> {
        let at = Instant::now();
        let mut line = String::new();
        writeln!(self.orders, "{signal} {pid}")
            .and_then(|()| self.done.read_line(&mut line))
            .map_err(|error| format!("kill -{signal} {pid}: {error}"))?;
        Ok(at)
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of an answer.
fn asked(at: SocketAddr, path: &str) -> Result<String, String> {
    let told = |error: std::io::Error| format!("{at}{path}: {error}");
    let mut client = TcpStream::connect(at).map_err(told)?;
    client.set_read_timeout(Some(PATIENCE)).map_err(told)?;
    let ask = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client.write_all(ask.as_bytes()).map_err(told)?;
    let mut said = String::new();
    client.read_to_string(&mut said).map_err(told)?;
    match said.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(format!("{at}{path}: {said:?}")),
    }
}
