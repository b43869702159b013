//! Processes that are linked, what they print, and a network that can be cut.

use super::Scratch;
use super::herald::CORES;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails. Nothing here takes a tenth of it on an idle machine.
const DEADLINE: Duration = Duration::from_secs(60);

type Lines = Arc<Mutex<Vec<String>>>;

struct Node {
    process: Child,
    lines: Lines,
    /// Lines that were waited for and found.
    seen: Mutex<usize>,
}

/// Nodes by number.
pub(crate) struct Cluster {
    at: Vec<SocketAddr>,
    pub(crate) keys: Vec<Option<String>>,
    pub(crate) link_max: usize,
    /// Where each node runs, if not here.
    pub(crate) namespaces: Vec<String>,
    nodes: Vec<Option<Node>>,
    /// Gaps of processes that are gone.
    gaps: Vec<String>,
    scratch: Scratch,
}

/// So many free addresses of this machine.
pub(crate) fn loopback(count: usize) -> Vec<SocketAddr> {
    // An address of this process's own, so that nobody else takes a port between here and there.
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = IpAddr::V4(Ipv4Addr::new(127, 77, high, low));
    let held: Vec<_> = (0..count).map(|_| TcpListener::bind((ip, 0)).expect("a port is free")).collect();
    held.iter().map(|listener| listener.local_addr().expect("it is bound")).collect()
}

impl Cluster {
    pub(crate) fn new(at: Vec<SocketAddr>, key: Option<&str>) -> Self {
        let keys = vec![key.map(str::to_owned); at.len()];
        let nodes = at.iter().map(|_| None).collect();
        let scratch = Scratch::new();
        Self { at, keys, link_max: 64 << 20, namespaces: Vec::new(), nodes, gaps: Vec::new(), scratch }
    }

    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        self.at[node]
    }

    pub(crate) fn start_all(&mut self) {
        for node in 0..self.at.len() {
            self.start(node);
        }
    }

    pub(crate) fn start(&mut self, node: usize) {
        let key = self.keys[node].as_ref().map_or_else(
            || "-".to_owned(),
            |key| {
                let file = self.scratch.0.join(format!("key-{node}"));
                std::fs::write(&file, key).expect("it can be written");
                file.display().to_string()
            },
        );
        let me = std::env::current_exe().expect("a test has a file");
        let mut command = match self.namespaces.get(node) {
            None => Command::new(me),
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name]).arg(me);
                command
            }
        };
        command.args(["node", &node.to_string(), &self.link_max.to_string(), &key]);
        command.args(self.at.iter().map(ToString::to_string));
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("a node can be started");
        let lines = Lines::default();
        let outputs: [Box<dyn Read + Send>; 2] = [
            Box::new(process.stdout.take().expect("it is piped")),
            Box::new(process.stderr.take().expect("it is piped")),
        ];
        for output in outputs {
            let lines = lines.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    lines.lock().expect("nobody panics with it").push(line);
                }
            });
        }
        self.nodes[node] = Some(Node { process, lines, seen: Mutex::new(0) });
    }

    fn node(&self, node: usize) -> &Node {
        self.nodes[node].as_ref().expect("it runs")
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].is_some()).collect()
    }

    /// Waits until this holds of a node's lines.
    pub(crate) fn wait(&self, node: usize, what: &str, mut holds: impl FnMut(&[String]) -> bool) {
        let until = Instant::now() + DEADLINE;
        loop {
            let lines = self.node(node).lines.lock().expect("nobody panics with it").clone();
            if holds(&lines) {
                return;
            }
            let tail = &lines[lines.len().saturating_sub(20)..];
            assert!(Instant::now() < until, "node {node}: not seen: {what}; last:\n{}", tail.join("\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a line that begins so, behind those that were waited for before; gives it.
    pub(crate) fn wait_line(&self, node: usize, begins: &str) -> String {
        let mut found = String::new();
        self.wait(node, begins, |lines| {
            let line = lines.iter().rev().find(|line| line.starts_with(begins));
            // A link that came up again since is no answer to "down", so only what follows the last mark counts.
            let mark = *self.node(node).seen.lock().expect("nobody panics with it");
            let fresh = lines.iter().skip(mark).any(|line| line.starts_with(begins));
            if fresh {
                found = line.expect("it is among them").clone();
            }
            fresh
        });
        found
    }

    /// Waits until every core of every running node has its link to every other; what was printed before is past.
    pub(crate) fn await_links(&self) {
        for node in self.running() {
            for other in self.running().into_iter().filter(|other| *other != node) {
                for core in 0..CORES {
                    let up = format!("UP {other} {core}");
                    let down = format!("DOWN {other} {core} ");
                    self.wait(node, &up, |lines| {
                        let last = lines.iter().rev().find(|line| **line == up || line.starts_with(&down));
                        last == Some(&up)
                    });
                }
            }
        }
        for node in self.running() {
            let node = self.node(node);
            *node.seen.lock().expect("nobody panics with it") = node.lines.lock().expect("as above").len();
        }
    }

    /// How many lines hold this.
    pub(crate) fn lines(&self, node: usize, holds: &str) -> usize {
        let lines = self.node(node).lines.lock().expect("nobody panics with it");
        lines.iter().filter(|line| line.contains(holds)).count()
    }

    /// How many messages of that node all cores of this one have heard.
    pub(crate) fn heard(&self, node: usize, other: usize) -> u64 {
        let lines = self.node(node).lines.lock().expect("nobody panics with it");
        let of_core = |core: u16| {
            let begins = format!("HEARD {other} {core} ");
            let line = lines.iter().rev().find_map(|line| line.strip_prefix(&begins));
            line.map_or(0, |count| count.parse().expect("a count"))
        };
        (0..CORES).map(of_core).sum()
    }

    pub(crate) fn signal(&self, node: usize, signal: &str) {
        let pid = self.node(node).process.id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(status.is_ok_and(|status| status.success()), "node {node} is there");
    }

    pub(crate) fn kill(&mut self, node: usize) {
        let mut gone = self.nodes[node].take().expect("it runs");
        gone.process.kill().expect("it is ours");
        gone.process.wait().expect("it is ours");
        let lines = gone.lines.lock().expect("nobody panics with it");
        self.gaps.extend(lines.iter().filter(|line| line.starts_with("GAP")).cloned());
    }

    pub(crate) fn assert_no_gaps(&self) {
        assert_eq!(self.gaps, Vec::<String>::new());
        for node in self.running() {
            let lines = self.node(node).lines.lock().expect("nobody panics with it");
            let gap = lines.iter().find(|line| line.starts_with("GAP") || line.contains("panicked"));
            assert_eq!(gap, None, "node {node}");
        }
    }

    pub(crate) fn stop_all(&mut self) {
        for node in self.running() {
            self.signal(node, "TERM");
            let status = self.nodes[node].as_mut().expect("it runs").process.wait().expect("it is ours");
            assert!(status.success(), "node {node} ended with {status}");
            self.nodes[node] = None;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.iter_mut().flatten() {
            let _ = node.process.kill();
            let _ = node.process.wait();
        }
    }
}

/// Network namespaces joined by a bridge in one more.
pub(crate) struct Network {
    name: String,
    count: usize,
}

impl Network {
    pub(crate) fn new(count: usize) -> Self {
        let network = Self { name: format!("rwl{}", std::process::id()), count };
        network.ip(&format!("netns add {}", network.name));
        network.inside(&network.name, "link add bridge type bridge");
        network.inside(&network.name, "link set bridge up");
        for node in 0..count {
            let name = network.namespace(node);
            network.ip(&format!("netns add {name}"));
            network
                .inside(&network.name, &format!("link add port{node} type veth peer name eth netns {name}"));
            network.inside(&network.name, &format!("link set port{node} master bridge up"));
            network.inside(&name, "link set lo up");
            network.inside(&name, &format!("addr add 10.77.0.{}/24 dev eth", node + 1));
            network.inside(&name, "link set eth up");
        }
        network
    }

    fn namespace(&self, node: usize) -> String {
        format!("{}-{node}", self.name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        (0..self.count).map(|node| self.namespace(node)).collect()
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        (0..self.count).map(|node| SocketAddr::from(([10, 77, 0, node as u8 + 1], 7000))).collect()
    }

    /// Nothing passes to or from that node, and nobody is told.
    pub(crate) fn cut(&self, node: usize) {
        self.inside(&self.name, &format!("link set port{node} nomaster"));
    }

    pub(crate) fn heal(&self, node: usize) {
        self.inside(&self.name, &format!("link set port{node} master bridge"));
    }

    /// Nothing passes from one to the other.
    pub(crate) fn cut_one_way(&self, from: usize, to: usize) {
        self.inside(&self.namespace(from), &format!("route add blackhole 10.77.0.{}/32", to + 1));
    }

    pub(crate) fn heal_one_way(&self, from: usize, to: usize) {
        self.inside(&self.namespace(from), &format!("route del blackhole 10.77.0.{}/32", to + 1));
    }

    fn inside(&self, namespace: &str, words: &str) {
        self.ip(&format!("-n {namespace} {words}"));
    }

    fn ip(&self, words: &str) {
        let output = Command::new("ip").args(words.split(' ')).output();
        let output = output.expect("this test needs ip (Debian: iproute2)");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "ip {words}: {said}; this test needs root");
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.names().iter().chain([&self.name]) {
            let _ = Command::new("ip").args(["netns", "del", name]).output();
        }
    }
}
