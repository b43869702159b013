//! The words that talk to a cluster: each is a request or a few, to any node or the client page, and what came back as
//! people read it.

use clap::Args;
use reactor::Fatal;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;

/// How long a node may be silent: longer than it waits for a majority.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two looks at a job that is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// Where to ask.
#[derive(Args)]
pub(super) struct Server {
    /// A node, or the client page
    #[arg(long, env = "RINGWISE_SERVER", default_value = "127.0.0.1:3001", value_name = "ADDR:PORT")]
    server: String,
    /// A file of tokens, of which the first is shown
    #[arg(long, env = "RINGWISE_AUTH_FILE", value_name = "FILE")]
    auth_file: Option<PathBuf>,
}

#[derive(Args)]
pub(super) struct Submit {
    #[command(flatten)]
    server: Server,
    /// The program's text; - for standard input
    file: PathBuf,
    /// The program's arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
    /// What runs it
    #[arg(long, default_value = "python3", value_name = "COMMAND")]
    interpreter: String,
    /// A file that it reads as its standard input
    #[arg(long, value_name = "FILE")]
    stdin: Option<PathBuf>,
    /// A variable of its environment; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// How long it may run, in seconds
    #[arg(long, default_value_t = 60.0, value_name = "SECONDS")]
    timeout: f64,
    /// Processors that it needs
    #[arg(long, default_value_t = 1.0)]
    cpu: f64,
    /// Memory that it needs, in MiB
    #[arg(long, default_value_t = 128)]
    memory_mb: u64,
    /// Never start it twice
    #[arg(long)]
    at_most_once: bool,
    /// A key of your own: the same key is the same job
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Wait for the result and print it
    #[arg(long)]
    wait: bool,
}

#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    server: Server,
    /// Only those: accepted, assigned, running, finished, failed, dead, cancelled or lost
    #[arg(long)]
    state: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    limit: u32,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Job {
    #[command(flatten)]
    server: Server,
    /// Which job
    id: String,
    /// Wait until it has ended
    #[arg(long)]
    wait: bool,
}

#[derive(Args)]
pub(super) struct Nodes {
    #[command(flatten)]
    server: Server,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Logs {
    #[command(flatten)]
    server: Server,
    /// Go on with what comes
    #[arg(long)]
    follow: bool,
}

/// An answer.
struct Answer {
    status: u16,
    body: BufReader<TcpStream>,
    is_chunked: bool,
}

impl Server {
    fn ask(&self, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Result<Answer, Fatal> {
        let server = self.server.trim_start_matches("http://").trim_end_matches('/');
        self.ask_at(server, method, target, fields, body)
    }

    fn ask_at(
        &self,
        server: &str,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, Fatal> {
        let wrong = |error: std::io::Error| {
            Fatal::machine(format!(
                "{server}: {error}; is a scheduler there? Try: scheduler up, or --server ADDR:PORT"
            ))
        };
        let mut stream = TcpStream::connect(server).map_err(wrong)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(wrong)?;
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n");
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        if let Some(path) = &self.auth_file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Fatal::misuse(format!("{}: {error}", path.display())))?;
            head += &format!("Authorization: Bearer {}\r\n", text.lines().next().unwrap_or_default().trim());
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).map_err(wrong)?;
        Answer::begin(stream).map_err(wrong)
    }

    /// JSON, or the sentence with which it was refused.
    fn json(
        &self,
        method: &str,
        target: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Result<(u16, Value), Fatal> {
        let mut answer = self.ask(method, target, fields, body)?;
        let text = answer.text().map_err(|error| Fatal::machine(format!("{}: {error}", self.server)))?;
        let value = value(&text);
        match answer.status {
            200..=299 => Ok((answer.status, value)),
            status => Err(refused(status, &value)),
        }
    }
}

/// What an answer says; what is no JSON is the sentence of a refusal.
fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_else(|_| {
        let text = String::from_utf8_lossy(text);
        json!({ "error": text.trim() })
    })
}

/// Why an answer is none that was wished for.
fn refused(status: u16, value: &Value) -> Fatal {
    let sentence = match value["error"].as_str() {
        Some(why) => format!("{status}: {why}"),
        None => format!("the answer was {status}"),
    };
    Fatal { status: 1, sentence }
}

impl Answer {
    fn begin(stream: TcpStream) -> std::io::Result<Self> {
        let mut body = BufReader::new(stream);
        let mut line = String::new();
        body.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| {
            std::io::Error::new(std::io::ErrorKind::InvalidData, "what answers there does not speak HTTP")
        })?;
        let mut is_chunked = false;
        loop {
            line.clear();
            if body.read_line(&mut line)? == 0 || line.trim().is_empty() {
                return Ok(Self { status, body, is_chunked });
            }
            is_chunked |= line.to_ascii_lowercase().starts_with("transfer-encoding: chunked");
        }
    }

    /// The next piece; empty at the end.
    fn piece(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        if !self.is_chunked {
            self.body.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
        let mut line = String::new();
        self.body.read_line(&mut line)?;
        let length =
            usize::from_str_radix(line.trim().split(';').next().unwrap_or_default(), 16).unwrap_or(0);
        bytes.resize(length, 0);
        self.body.read_exact(&mut bytes)?;
        line.clear();
        self.body.read_line(&mut line)?;
        Ok(bytes)
    }

    fn text(&mut self) -> std::io::Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let piece = self.piece()?;
            if piece.is_empty() {
                return Ok(all);
            }
            all.extend(piece);
        }
    }
}

/// Where a job is. Without an id that would be the place of all jobs.
fn place(id: &str) -> Result<String, Fatal> {
    if id.is_empty() {
        return Err(Fatal::misuse("the id of a job is missing: scheduler list shows all of them"));
    }
    Ok(format!("/api/v1/jobs/{}", encoded(id)))
}

/// A text as a part of a path or a value of a query: what could mean something else there is escaped (RFC 3986,
/// section 2.1).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded += &format!("%{byte:02X}");
        }
    }
    encoded
}

/// A key goes out in a field of its own, which a line's end would end.
fn check_key(key: &str) -> Result<(), Fatal> {
    if key.chars().any(char::is_control) {
        return Err(Fatal::misuse(format!("--key {key:?} has control characters, which no key may have")));
    }
    Ok(())
}

/// Whoever started us may not care to read it.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn read(path: &PathBuf) -> Result<String, Fatal> {
    let read = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    read.map_err(|error| Fatal::misuse(format!("{}: {error}", path.display())))
}

pub(super) fn submit(asked: &Submit) -> Result<(), Fatal> {
    if let Some(key) = &asked.key {
        check_key(key)?;
    }
    let mut env = serde_json::Map::new();
    for pair in &asked.env {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| Fatal::misuse(format!("--env {pair:?} is no NAME=VALUE")))?;
        env.insert(name.to_owned(), value.into());
    }
    let body = json!({
        "program": read(&asked.file)?,
        "interpreter": asked.interpreter,
        "args": asked.args,
        "stdin": asked.stdin.as_ref().map(read).transpose()?.unwrap_or_default(),
        "env": env,
        "timeout_s": asked.timeout,
        "cpu": asked.cpu,
        "memory_mb": asked.memory_mb,
        "at_most_once": asked.at_most_once,
    });
    let mut fields = vec![("Content-Type", "application/json")];
    fields.extend(asked.key.as_deref().map(|key| ("Idempotency-Key", key)));
    let (_, answer) = asked.server.json("POST", "/api/v1/jobs", &fields, body.to_string().as_bytes())?;
    let id = answer["id"].as_str().unwrap_or_default();
    if asked.wait {
        return wait(&asked.server, &place(id)?).and_then(|job| print(&job));
    }
    say(&format!("{id}\n"));
    Ok(())
}

/// The job, once it has ended. A cluster that changes its leader meanwhile is asked again.
fn wait(server: &Server, place: &str) -> Result<Value, Fatal> {
    let mut misses = 0;
    loop {
        match server.json("GET", place, &[], b"") {
            Ok((_, job)) if !matches!(job["state"].as_str(), Some("accepted" | "assigned" | "running")) => {
                return Ok(job);
            }
            Ok(_) => misses = 0,
            Err(why) if misses > 100 || why.sentence.starts_with("404") => return Err(why),
            Err(_) => misses += 1,
        }
        std::thread::sleep(LOOK);
    }
}

/// A result as the program said it, with its exit status as ours.
fn print(job: &Value) -> Result<(), Fatal> {
    let result = &job["result"];
    let state = job["state"].as_str().unwrap_or_default();
    if result.is_null() {
        return Err(ended_otherwise(job));
    }
    say(result["stdout"].as_str().unwrap_or_default());
    let _ = std::io::stderr().write_all(result["stderr"].as_str().unwrap_or_default().as_bytes());
    if state == "finished" {
        return Ok(());
    }
    let exit = result["exit"].as_i64().unwrap_or(1);
    let why = result["why"].as_str().map_or_else(|| format!("exit status {exit}"), str::to_owned);
    Err(Fatal { status: u8::try_from(exit).unwrap_or(1).max(1), sentence: format!("the job failed: {why}") })
}

/// That a job has ended in another way than was wished for, and why.
fn ended_otherwise(job: &Value) -> Fatal {
    let state = job["state"].as_str().unwrap_or_default();
    let last = job["history"].as_array().and_then(|all| all.last()).and_then(|event| event["why"].as_str());
    Fatal { status: 1, sentence: format!("the job is {state}: {}", last.unwrap_or_default()) }
}

pub(super) fn result(asked: &Job) -> Result<(), Fatal> {
    let place = place(&asked.id)?;
    if asked.wait {
        return wait(&asked.server, &place).and_then(|job| print(&job));
    }
    let (_, job) = asked.server.json("GET", &place, &[], b"")?;
    match job["state"].as_str() {
        Some(state @ ("accepted" | "assigned" | "running")) => Err(Fatal {
            status: 1,
            sentence: format!("the job is {state}: there is no result yet (--wait waits)"),
        }),
        _ => print(&job),
    }
}

pub(super) fn show(asked: &Job) -> Result<(), Fatal> {
    let place = place(&asked.id)?;
    let job = match asked.wait {
        true => wait(&asked.server, &place)?,
        false => asked.server.json("GET", &place, &[], b"")?.1,
    };
    say(&format!("{job:#}\n"));
    Ok(())
}

pub(super) fn change(asked: &Job, what: &str) -> Result<(), Fatal> {
    let place = place(&asked.id)?;
    let (_, mut job) = asked.server.json("POST", &format!("{place}/{what}"), &[], b"")?;
    if asked.wait {
        job = wait(&asked.server, &place)?;
        if what != "cancel" {
            return print(&job);
        }
        if job["state"].as_str() != Some("cancelled") {
            return Err(ended_otherwise(&job));
        }
    }
    say(&format!(
        "{} {}\n",
        job["id"].as_str().unwrap_or_default(),
        job["state"].as_str().unwrap_or_default()
    ));
    Ok(())
}

pub(super) fn list(asked: &List) -> Result<(), Fatal> {
    let state = asked.state.as_ref().map(|state| format!("&state={}", encoded(state))).unwrap_or_default();
    let (_, all) =
        asked.server.json("GET", &format!("/api/v1/jobs?limit={}{state}", asked.limit), &[], b"")?;
    if asked.json {
        say(&format!("{all:#}\n"));
        return Ok(());
    }
    let mut text = format!("{:16}  {:9}  {:>7}  {:8}  {}\n", "ID", "STATE", "ATTEMPT", "WORKER", "KEY");
    for job in all["jobs"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let word = |name: &str| job[name].as_str().unwrap_or("-").to_owned();
        text += &format!(
            "{:16}  {:9}  {:>7}  {:8}  {}\n",
            word("id"),
            word("state"),
            job["attempt"].as_u64().unwrap_or_default(),
            word("worker"),
            word("key")
        );
    }
    say(&text);
    Ok(())
}

pub(super) fn nodes(asked: &Nodes) -> Result<(), Fatal> {
    let (_, all) = asked.server.json("GET", "/api/v1/nodes", &[], b"")?;
    if asked.json {
        say(&format!("{all:#}\n"));
        return Ok(());
    }
    let mut text = format!(
        "{:8}  {:6}  {:7}  {:>8}  {:>6}  {:>6}  {}\n",
        "ID", "ROLE", "STATE", "PID", "CPU %", "MEM %", "ADDRESS"
    );
    for node in all["nodes"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let word = |name: &str| node[name].as_str().unwrap_or("-").to_owned();
        let number = |name: &str| if node[name].is_null() { "-".to_owned() } else { node[name].to_string() };
        text += &format!(
            "{:8}  {:6}  {:7}  {:>8}  {:>6}  {:>6}  {}\n",
            word("id"),
            word("role"),
            word("state"),
            number("pid"),
            number("cpu"),
            number("memory"),
            word("address")
        );
    }
    say(&text);
    Ok(())
}

pub(super) fn logs(asked: &Logs) -> Result<(), Fatal> {
    let (_, all) = asked.server.json("GET", "/api/v1/nodes", &[], b"")?;
    let nodes = all["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let log = nodes
        .iter()
        .find(|node| node["id"].as_str().is_some_and(|id| id.starts_with("log")))
        .and_then(|node| node["address"].as_str())
        .ok_or_else(|| Fatal { status: 1, sentence: "this cluster has no event log".to_owned() })?;
    let mut answer = asked.server.ask_at(log, "GET", "/logging?follow=1", &[], b"")?;
    let wrong = |error: std::io::Error| Fatal::machine(format!("{log}: {error}"));
    if answer.status != 200 {
        let text = answer.text().map_err(wrong)?;
        return Err(refused(answer.status, &value(&text)));
    }
    if asked.follow {
        answer.body.get_ref().set_read_timeout(None).map_err(wrong)?;
    } else {
        // What there is comes at once.
        answer.body.get_ref().set_read_timeout(Some(Duration::from_millis(500))).map_err(wrong)?;
    }
    loop {
        match answer.piece() {
            Ok(piece) if piece.is_empty() => return Ok(()),
            Ok(piece) => say(&String::from_utf8_lossy(&piece)),
            Err(_) if !asked.follow => return Ok(()),
            Err(error) => return Err(wrong(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_mean_something_else_is_escaped() {
        assert_eq!(encoded("0123456789abcdef-._~"), "0123456789abcdef-._~");
        assert_eq!(encoded("dead&limit=x"), "dead%26limit%3Dx");
        assert_eq!(encoded("a b/\r\n?%ü"), "a%20b%2F%0D%0A%3F%25%C3%BC");
    }

    #[test]
    fn a_job_has_an_id() {
        assert_eq!(place("0a").expect("it is one"), "/api/v1/jobs/0a");
        assert_eq!(place("").expect_err("it is none").status, 2);
    }

    #[test]
    fn a_key_cannot_begin_another_field() {
        assert_eq!(check_key("order 7, ü"), Ok(()));
        assert_eq!(check_key("a\r\nX-Y: z").expect_err("it has line ends").status, 2);
    }
}
