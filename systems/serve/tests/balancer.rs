//! The real program `balancer`: the transcript of the simulated world once more, and what only a process has: its READY
//! line, its exit status, its signals.
#![cfg(feature = "balancer")]

use sim::transcript::{Transcript, run_real};
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_balancer");
/// For everything that is waited for; a test that holds waits for far less.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running balancer on free ports; killed if it was not ended.
struct Server {
    child: Child,
    ready: String,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--port", "0", "--admin-port", "0", "--log-level", "error"])
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
        found.and_then(|at| at.parse().ok()).unwrap_or_else(|| panic!("no {key}= in {:?}", self.ready))
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
    let text = include_str!("../../balancer/transcripts/control.txt");
    let transcript = Transcript::parse("control.txt", text).unwrap_or_else(|wrong| panic!("{wrong}"));
    let mut server = Server::start(&["--replicas", "1"]);
    let doors = [server.at("http"), server.at("admin")];
    assert!(server.ready.ends_with(&format!("pid={}\n", server.child.id())), "{}", server.ready);
    run_real(&transcript, &doors, PATIENCE).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    let kill = Command::new("kill").arg(server.child.id().to_string()).status();
    assert!(kill.expect("kill is there").success());
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn what_cannot_be_is_said_with_a_status() {
    refused(&["serve", "--ring", "pear"], 2, "rendezvous");
    refused(&["serve", "--key", "cookie"], 2, "request-id");
    refused(&["serve", "--port", "0", "--admin-port", "0", "--driver", "static"], 2, "--replica-address");
    refused(&["serve", "--admin-listen", "0.0.0.0"], 2, "--insecure-open");
    refused(&["serve", "--listen", "0.0.0.0"], 2, "--auth-file");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("it has one").port().to_string();
    refused(&["serve", "--port", &port, "--admin-port", "0"], 4, &port);
}
