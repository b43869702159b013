//! Several agents do what one process with as many cores does: the same operations, every connection, all of the rate.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A server that keeps every key it was asked for, and answers with a null.
fn serve() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let kept = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (kept, stream) = (kept.clone(), stream.unwrap());
            std::thread::spawn(move || answer(stream, &kept));
        }
    });
    (address, asked)
}

fn answer(mut stream: TcpStream, kept: &Mutex<Vec<String>>) {
    stream.set_nodelay(true).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let mut lines = BufReader::new(&mut stream).lines().map_while(Result::ok);
    while let Some(head) = lines.next() {
        let elements: usize = head.trim_start_matches('*').parse().unwrap();
        let words: Vec<String> = (0..2 * elements).filter_map(|_| lines.next()).collect();
        let reply: &[u8] = match &words[1][..] {
            "PING" => b"+PONG\r\n",
            "GET" => b"$-1\r\n",
            _ => b"-ERR unknown\r\n",
        };
        if words[1] == "GET" {
            kept.lock().unwrap().push(words[3].clone());
        }
        if writer.write_all(reply).is_err() {
            return;
        }
    }
}

/// An agent on one core, killed when it is dropped.
struct Agent(Child, String);

impl Agent {
    fn start(more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["agent", "--listen", "127.0.0.1:0", "--cores", "0"])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
        let at = ready.split_whitespace().find_map(|word| word.strip_prefix("agent=")).unwrap().to_owned();
        Self(child, at)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("loadgen-agents-{name}-{}", std::process::id()))
}

/// What a run finds, and the keys that were asked for, in order.
fn found(name: &str, more: &[&str]) -> (serde_json::Value, Vec<String>) {
    let (target, asked) = serve();
    let out = path(name);
    let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["run", &format!("resp://{target}"), "--no-load", "--mix", "get=1", "--seed", "1"])
        .args("-c 7 --rate 500 -d 2s -k 1000 --out".split_whitespace())
        .arg(&out)
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(out.join("run.json")).unwrap();
    std::fs::remove_dir_all(out).unwrap();
    let mut keys = asked.lock().unwrap().clone();
    keys.sort_unstable();
    (serde_json::from_str(&text).unwrap(), keys)
}

#[test]
fn agents_merged_are_one_process_with_the_sum_of_cores() {
    let (one, of_one) = found("one", &["--cores", "0,1"]);
    let agents = [Agent::start(&[]), Agent::start(&[])];
    let (merged, of_agents) = found("merged", &["--agents", &format!("{},{}", agents[0].1, agents[1].1)]);
    assert_eq!(merged["operations_hash"], one["operations_hash"]);
    assert_eq!((&merged["requests"], &one["requests"]), (&1_000.into(), &1_000.into()));
    assert_eq!(of_agents, of_one);
    assert_eq!(merged["errors"], serde_json::json!({}));
    // An agent takes orders again.
    let (again, _) = found("again", &["--agents", &agents[0].1]);
    assert_eq!(again["requests"], 1_000);
}

#[test]
fn who_has_not_the_key_gives_no_orders() {
    let (key, other) = (path("key"), path("other"));
    std::fs::write(&key, "a key of more than sixteen bytes").unwrap();
    std::fs::write(&other, "another key of as many bytes....").unwrap();
    let agent = Agent::start(&["--key-file", key.to_str().unwrap()]);
    let asks = |more: &[&str]| {
        let (target, _) = serve();
        let output = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["run", &format!("resp://{target}"), "--no-load", "-d", "1s", "--agents", &agent.1])
            .args(more)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (status, said) = asks(&["--key-file", key.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{said}");
    for refused in [&["--key-file", other.to_str().unwrap()][..], &[]] {
        let (status, said) = asks(refused);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("key") || said.contains("cannot be reached"), "{said}");
    }
    let mut open = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let open = open.args(["agent", "--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(open.status.code(), Some(2));
    // What is no greeting ends the conversation, and not the agent.
    let mut stranger = TcpStream::connect(&agent.1).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = stranger.read_to_end(&mut Vec::new());
    let (status, said) = asks(&["--key-file", key.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{said}");
    [key, other].into_iter().for_each(|file| std::fs::remove_file(file).unwrap());
}

#[test]
fn an_agent_that_is_told_to_end_ends_with_its_order() {
    let told = |agent: &mut Agent, signal: &str| {
        assert!(Command::new("kill").args([signal, &agent.0.id().to_string()]).status().unwrap().success());
        assert_eq!(agent.0.wait().unwrap().code(), Some(0), "{signal}");
    };
    told(&mut Agent::start(&[]), "-TERM");
    for signal in ["-TERM", "-INT"] {
        let mut agent = Agent::start(&[]);
        let (target, asked) = serve();
        let mut run = Command::new(env!("CARGO_BIN_EXE_loadgen"))
            .args(["run", &format!("resp://{target}"), "--no-load", "--mix", "get=1", "--agents", &agent.1])
            .args("-c 2 --rate 500 -d 60s".split_whitespace())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while asked.lock().unwrap().is_empty() {
            assert!(began.elapsed() < Duration::from_secs(20), "it never began");
            std::thread::sleep(Duration::from_millis(10));
        }
        told(&mut agent, signal);
        // What it found until then is told.
        assert_eq!(run.wait().unwrap().code(), Some(0), "{signal}");
        let count = asked.lock().unwrap().len();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(asked.lock().unwrap().len(), count, "{signal}");
    }
}
