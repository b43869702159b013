//! The real program: the transcripts of the simulated world once more, and what only a process has: its READY line,
//! its exit status, its signals.

use sim::transcript::{Transcript, run_real};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_dht");
/// For everything that is waited for; a test that holds waits for far less.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `dht serve` on free ports; killed if it was not ended.
struct Server {
    child: Child,
    ready: String,
}

impl Server {
    fn start(options: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--port", "0", "--log-level", "error"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program is built");
        let mut ready = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut ready).expect("it says READY");
        Self { child, ready }
    }

    /// The value of a key of the READY line.
    fn word(&self, key: &str) -> &str {
        let found = self.ready.split_whitespace().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        found.unwrap_or_else(|| panic!("no {key}= in {:?}", self.ready))
    }

    fn at(&self, key: &str) -> SocketAddr {
        self.word(key).parse().expect("an address")
    }

    /// SIGTERM, and the exit status.
    fn end(mut self) -> Option<i32> {
        let kill = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(kill.expect("kill is there").success());
        self.child.wait().expect("it ends").code()
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

fn check(name: &str, text: &str) {
    let transcript = Transcript::parse(name, text).unwrap_or_else(|wrong| panic!("{wrong}"));
    let server = Server::start(&[]);
    let doors = [server.at("resp"), server.at("frame"), server.at("metrics")];
    run_real(&transcript, &doors, PATIENCE).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    assert_eq!(server.end(), Some(0));
}

#[test]
fn strings() {
    check("strings.txt", include_str!("../../dht/transcripts/strings.txt"));
}

#[test]
fn expiry() {
    check("expiry.txt", include_str!("../../dht/transcripts/expiry.txt"));
}

#[test]
fn connection() {
    check("connection.txt", include_str!("../../dht/transcripts/connection.txt"));
}

#[test]
fn cluster() {
    check("cluster.txt", include_str!("../../dht/transcripts/cluster.txt"));
}

#[test]
fn server() {
    check("server.txt", include_str!("../../dht/transcripts/server.txt"));
}

#[test]
fn frames() {
    check("frames.txt", include_str!("../../dht/transcripts/frames.txt"));
}

#[test]
fn watch() {
    check("watch.txt", include_str!("../../dht/transcripts/watch.txt"));
}

#[test]
fn ready_tells_every_listener_and_each_core_has_its_own() {
    let server = Server::start(&["--cores", "0"]);
    assert!(server.ready.starts_with("READY dht resp=127.0.0.1:"), "{:?}", server.ready);
    assert_eq!(server.word("pid"), server.child.id().to_string());
    let transcript = Transcript::parse("core", "> PING\n< +PONG\n").expect("it is right");
    run_real(&transcript, &[server.at("cores")], PATIENCE).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    assert_eq!(server.end(), Some(0));
}

#[test]
fn metrics_are_told_for_every_core() {
    let server = Server::start(&["--cores", "0"]);
    let get = |path: &str| {
        let mut stream = TcpStream::connect(server.at("metrics")).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text
    };
    assert!(get("/healthz").ends_with("\r\n\r\nok\n"));
    let begun = std::time::Instant::now();
    while !get("/metrics").contains("ringwise_dht_keys{core=\"0\"} 0") {
        assert!(begun.elapsed() < PATIENCE, "{}", get("/metrics"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_taken_port_is_exit_status_4() {
    let server = Server::start(&[]);
    let port = server.at("resp").port().to_string();
    let second =
        run(&["serve", "--port", &port, "--frame-port", "0", "--core-port", "0", "--metrics-port", "0"]);
    assert_eq!(second.status.code(), Some(4));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&port), "{said}");
}

#[test]
fn wrong_use_is_exit_status_2_and_a_sentence() {
    let check = |arguments: &[&str], words: &str| {
        let ended = run(arguments);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
    };
    check(&["serve", "--listen", "0.0.0.0", "--port", "0"], "--insecure-open");
    check(&["serve", "--port", "many"], "invalid value 'many'");
    check(&["serve", "--cores", "60000", "--port", "0"], "60000");
    check(&["serve", "--config", "/nowhere/dht.toml"], "/nowhere/dht.toml");
    check(&["dance"], "dance");
}

/// A file of that content, which nobody else has.
fn file(name: &str, text: &str) -> String {
    let path = std::env::temp_dir().join(format!("ringwise-dht-{}-{name}", std::process::id()));
    std::fs::write(&path, text).expect("it can be written");
    path.display().to_string()
}

fn talk(server: &Server, key: &str, text: &str) {
    let transcript = Transcript::parse(key, text).unwrap_or_else(|wrong| panic!("{wrong}"));
    run_real(&transcript, &[server.at(key)], PATIENCE).unwrap_or_else(|mismatch| panic!("{mismatch}"));
}

#[test]
fn who_may_come_in_is_read_from_a_file() {
    let users = file("users", "sesame\nalice:wonder\n");
    let server = Server::start(&["--auth-file", &users]);
    let text = "> GET k\n< -NOAUTH Authentication required.\n> AUTH alice wonder\n< +OK\n> GET k\n< $-1\n";
    talk(&server, "resp", text);
    assert_eq!(server.end(), Some(0));
    let refused = |arguments: &[&str], words: &str| {
        let ended = run(&[&["serve", "--port", "0", "--auth-file", &users], arguments].concat());
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert!(said.contains(words) && !said.contains("sesame"), "{said}");
    };
    refused(&["--prompt"], "framed text knows no passwords");
    refused(&["--max-memory", "much"], "100mb");
    let empty = file("nobody", "");
    let ended = run(&["serve", "--port", "0", "--auth-file", &empty]);
    assert_eq!(ended.status.code(), Some(2));
}

#[test]
fn a_node_that_hides_its_cores_owns_every_slot() {
    let server = Server::start(&["--cluster-announce", "node", "--cores", "0"]);
    assert!(!server.ready.contains("cores="), "{:?}", server.ready);
    let port = server.at("resp").port();
    let text = format!(
        "> CLUSTER SLOTS\n< *1\n< *3\n< :0\n< :16383\n< *4\n< $9\n< 127.0.0.1\n< :{port}\n< $40\n~ *\n< *0\n"
    );
    talk(&server, "resp", &text);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn bounds_are_those_that_were_typed() {
    let server =
        Server::start(&["--max-memory", "1mb", "--max-memory-policy", "volatile-ttl", "--max-key", "3"]);
    let text = "> CONFIG GET maxmemory-policy\n< *2\n< $16\n< maxmemory-policy\n< $12\n< volatile-ttl\n\
                > GET long\n< -ERR key is too long (maximum is 3 bytes)\n";
    talk(&server, "resp", text);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_client_may_end_it() {
    let mut server = Server::start(&[]);
    talk(&server, "resp", "> SET k v\n< +OK\n> SHUTDOWN NOSAVE\nended\n");
    assert_eq!(server.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn the_environment_is_heard() {
    let ended = Command::new(PROGRAM).arg("serve").env("RINGWISE_LISTEN", "0.0.0.0").output();
    assert_eq!(ended.expect("the program is built").status.code(), Some(2));
}
