//! The real program `waves`: the transcript of the simulated world once more, and what only a process has: its READY
//! line, its exit status, its signals, its files.
#![cfg(feature = "waves")]

use sim::transcript::{Transcript, run_real};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_waves");
/// For everything that is waited for; a test that holds waits for far less.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `waves up` on free ports; killed if it was not ended.
struct Server {
    child: Child,
    ready: String,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["up", "--port", "0", "--log-level", "error"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("it says READY");
        Self { child, ready }
    }

    fn at(&self, key: &str) -> SocketAddr {
        let found = self.ready.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let found = found.unwrap_or_else(|| panic!("no {key}= in {:?}", self.ready));
        // Of several ports, the first.
        found.split([',', '-']).next().and_then(|first| first.parse().ok()).expect("an address")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing to do for one that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().expect("the program is built")
}

#[track_caller]
fn refused(arguments: &[&str], status: i32, words: &str) {
    let output = run(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?} said {said:?}");
}

#[test]
fn the_interface_is_as_it_is_written_down_and_ends_by_a_signal() {
    let text = include_str!("../../waves/transcripts/balancer.txt");
    let transcript = Transcript::parse("balancer.txt", text).unwrap_or_else(|wrong| panic!("{wrong}"));
    let mut server = Server::start(&["--family", "line", "--units", "3", "--balancer", "none"]);
    let doors = [server.at("http"), server.at("units")];
    run_real(&transcript, &doors, PATIENCE).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    let kill = Command::new("kill").arg(server.child.id().to_string()).status();
    assert!(kill.expect("kill is there").success());
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn what_is_generated_can_be_run() {
    let folder = std::env::temp_dir().join(format!("ringwise-waves-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("topology.json");
    let drawn = run(&["generate", "--family", "barabasi-albert", "--units", "50", "--seed", "7"]);
    assert_eq!(drawn.status.code(), Some(0));
    std::fs::write(&file, &drawn.stdout).expect("a file");
    let named = file.to_str().expect("a path of letters");
    let server = Server::start(&["--topology", named, "--unit-ports", "0"]);
    assert!(server.ready.contains("units=none"), "{}", server.ready);
    drop(server);
    std::fs::write(&file, "{\"nodes\":[\"a\"],\"links\":[[0,1]]}").expect("a file");
    refused(&["up", "--port", "0", "--topology", named], 2, "which is no node");
    std::fs::remove_dir_all(&folder).expect("it is ours");
}

#[test]
fn balancers_are_compared_and_drawn() {
    let file = std::env::temp_dir().join(format!("ringwise-waves-{}.svg", std::process::id()));
    let named = file.to_str().expect("a path of letters");
    let output = run(&["compare", "--family", "grid", "--units", "64", "--seed", "1", "--svg", named]);
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(["greedy", "diffusion", "matching"].iter().all(|name| table.contains(name)), "{table}");
    assert!(std::fs::read_to_string(&file).expect("it is drawn").starts_with("<svg"));
    std::fs::remove_file(&file).expect("it is ours");
}

#[test]
fn what_cannot_be_is_said_with_a_status() {
    refused(&["up", "--listen", "0.0.0.0", "--port", "0"], 2, "--insecure-open");
    refused(&["up", "--port", "0", "--family", "pear"], 2, "barabasi-albert");
    refused(&["up", "--port", "0", "--topology", "/nowhere.json"], 2, "/nowhere.json");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it has one").port().to_string();
    refused(&["up", "--port", &port, "--page-port", "0", "--unit-ports", "0"], 4, &port);
}
