//! The nodes as processes: where each listens, on which cores it runs, how it is awaited and ended.

use super::Options;
use serde_json::{Map, Value, json};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A node must be ready within this; it takes a few hundredths of a second on a free machine.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// And gone within this after its input ended; its own drain may take 10 s.
const GONE_WITHIN: Duration = Duration::from_secs(15);
/// Where the search for free ports begins: under what kernels give out by themselves.
const PORTS_FROM: u16 = 21_000;
/// And ends.
const PORTS_TO: u16 = 32_000;

/// Running nodes. Each ends with its standard input, which is ours: also when we end.
pub(super) struct Nodes {
    file: PathBuf,
    children: Vec<Child>,
}

impl Nodes {
    /// Writes the list, starts every node, and waits until all are ready.
    pub(super) fn start(program: &Path, folder: &Path, options: &Options) -> Result<Self, String> {
        let ports = ports(usize::from(options.nodes), options.base_port)?;
        let file = folder.join("config.json");
        fs::write(&file, list(&ports, options.cores_each))
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let allowed = allowed_cores();
        println!("list of nodes: {}", file.display());
        let mut nodes = Self { file, children: Vec::new() };
        for (id, port) in ports.iter().enumerate() {
            let cores = cores_of(id, usize::from(options.cores_each), &allowed)?;
            let log = folder.join(format!("node-{id}.log"));
            let mut command = Command::new(program);
            command.args(["serve", "--port", "0", "--prompt", "--placement", options.placement.name()]);
            command.args(["--id", &id.to_string(), "--cores", &cores]).arg("--nodes").arg(&nodes.file);
            let into = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(into);
            let child = command.spawn().map_err(|error| format!("{}: {error}", program.display()))?;
            nodes.children.push(child);
            println!("node {id}: 127.0.0.1:{port}, pinned to core {cores}");
        }
        if ports.len() * usize::from(options.cores_each) + 1 > allowed.len() {
            println!(
                "{} cores are here: nodes and clients share them, so the figures are of all together",
                allowed.len()
            );
        }
        nodes.await_ready(folder)?;
        Ok(nodes)
    }

    /// The list, as clients want it.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Ends every node as its operator would.
    pub(super) fn stop(mut self) -> Result<(), String> {
        for (id, mut child) in self.children.drain(..).enumerate() {
            drop(child.stdin.take());
            let until = Instant::now() + GONE_WITHIN;
            loop {
                match child.try_wait().map_err(|error| error.to_string())? {
                    Some(status) if status.success() => break,
                    Some(status) => return Err(format!("node {id} ended with {status}")),
                    None if Instant::now() > until => {
                        let _ = child.kill();
                        let _ = child.wait();
                        return Err(format!("node {id} did not end within {} s", GONE_WITHIN.as_secs()));
                    }
                    None => std::thread::sleep(Duration::from_millis(10)),
                }
            }
        }
        Ok(())
    }

    fn await_ready(&mut self, folder: &Path) -> Result<(), String> {
        let until = Instant::now() + READY_WITHIN;
        for (id, child) in self.children.iter_mut().enumerate() {
            let line = first_line(child.stdout.take(), until.saturating_duration_since(Instant::now()));
            if !line.starts_with("READY ") {
                let log = fs::read_to_string(folder.join(format!("node-{id}.log"))).unwrap_or_default();
                return Err(format!(
                    "node {id} is not ready: {}",
                    log.lines().last().unwrap_or("it says nothing")
                ));
            }
        }
        Ok(())
    }
}

impl Drop for Nodes {
    /// After an error: whatever still runs is ended at once.
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The first line that a node prints within that time; empty when it prints none. The pipe stays open behind it.
fn first_line(stdout: Option<ChildStdout>, within: Duration) -> String {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let mut lines = stdout.map(|stdout| BufReader::new(stdout).lines());
        let mut next = || lines.as_mut().and_then(Iterator::next).and_then(Result::ok);
        let _ = tell.send(next().unwrap_or_default());
        while next().is_some() {}
    });
    told.recv_timeout(within).unwrap_or_default()
}

fn list(ports: &[u16], cores: u16) -> String {
    let node = |port: &u16| json!({"ip": "127.0.0.1", "port": port, "cores": cores});
    let nodes: Map<String, Value> =
        ports.iter().enumerate().map(|(id, port)| (id.to_string(), node(port))).collect();
    format!("{:#}\n", Value::Object(nodes))
}

/// That many ports from `base` on, or free ones where it is 0.
fn ports(count: usize, base: u16) -> Result<Vec<u16>, String> {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let found: Vec<u16> = match base {
        0 => (PORTS_FROM..PORTS_TO).filter(is_free).take(count).collect(),
        base => (base..=u16::MAX).take(count).collect(),
    };
    if found.len() == count { Ok(found) } else { Err(format!("there are no {count} ports from {base} on")) }
}

/// The cores of a node, as `--cores` wants them: the next ones in turn.
fn cores_of(id: usize, each: usize, allowed: &[usize]) -> Result<String, String> {
    if each > allowed.len() {
        return Err(format!(
            "--cores-each {each} is more than the {} cores that are allowed here",
            allowed.len()
        ));
    }
    let cores = (0..each).map(|core| allowed[(id * each + core) % allowed.len()].to_string());
    Ok(cores.collect::<Vec<_>>().join(","))
}

/// The cores that this process may run on.
fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let listed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cores = parse_cores(listed.unwrap_or("0"));
    if cores.is_empty() { vec![0] } else { cores }
}

/// `0-2,5` as numbers; what is no number is left out.
fn parse_cores(listed: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
    };
    listed.split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_given_in_turn() {
        assert_eq!(parse_cores("\t0-2,5\n"), [0, 1, 2, 5]);
        let all = |each| (0..4).map(|id| cores_of(id, each, &[0, 1, 5])).collect::<Result<Vec<_>, _>>();
        assert_eq!(all(1), Ok(vec!["0".into(), "1".into(), "5".into(), "0".into()]));
        assert_eq!(all(2), Ok(vec!["0,1".into(), "5,0".into(), "1,5".into(), "0,1".into()]));
        assert!(all(4).is_err());
    }

    #[test]
    fn the_list_is_what_nodes_read() {
        let text = list(&[21_000, 21_001], 2);
        let read: Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(read["1"], json!({"ip": "127.0.0.1", "port": 21_001, "cores": 2}));
    }
}
