//! Replicas in containers: the few calls of the Docker Engine's API that a life needs, over its unix socket.
//!
//! A life is a row of calls: remove who had the name before, create, start, ask for the address; and at its end stop,
//! with a grace time, and remove. Each call has a connection of its own, since they are few. Containers carry a label,
//! so that those of an earlier run, which nobody stopped, are found at the start and removed: a replica of an unknown
//! age is worth less than the second it takes to start another.
//!
//! Nothing here is an engine's word taken on trust: answers are bounded, and what is not as expected is a sentence.

use crate::config::Docker;
use crate::peer::{Said, Tenancy};
use machine::{Address, Close, ConnId, Dial, Input, Now, Outbox};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use wire::Outcome;
use wire::http::{Asked, Body, Limits, ResponseReader};

/// Until the engine takes a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Bytes of an answer; the longest is the list of containers.
const ANSWER_MAX: usize = 4 << 20;

/// What became of a replica's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It runs, with its id and where it is; or why there is none.
    Made(Tenancy, Result<(Box<str>, Address), String>),
    /// It is gone, and may be forgotten.
    Ended(Tenancy),
}

/// What is being asked of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// The network of the replicas.
    Network,
    /// Who is left from an earlier run.
    Left,
    /// One of those goes.
    Removed,
    /// Who has the name of a new one goes.
    Cleared(Tenancy, Box<str>),
    Created(Tenancy),
    Started(Tenancy, Box<str>),
    Inspected(Tenancy, Box<str>),
    Stopped(Tenancy, Box<str>),
    Discarded(Tenancy),
}

#[derive(Debug)]
struct Call {
    step: Step,
    reader: ResponseReader,
    status: u16,
    body: Option<Body>,
    text: Vec<u8>,
}

/// The engine, and what is under way there.
#[derive(Debug)]
pub struct Engine {
    config: Docker,
    /// Seconds from the stop signal to SIGKILL.
    grace_s: u64,
    signal: &'static str,
    calls: BTreeMap<ConnId, Call>,
    /// Starts that wait until those of an earlier run are gone.
    waiting: Vec<(Tenancy, Box<str>)>,
    /// Calls that must end before anything is started.
    clearing: usize,
}

impl Engine {
    /// Not asked yet.
    #[must_use]
    pub fn new(config: &Docker, grace: Duration, signal: &'static str) -> Self {
        Self {
            config: config.clone(),
            grace_s: grace.as_secs().max(1),
            signal,
            calls: BTreeMap::new(),
            waiting: Vec::new(),
            clearing: 0,
        }
    }

    /// Makes the network and finds who is left.
    pub fn begin(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let labels = json!({ &*self.config.label: "" });
        let network = json!({ "Name": self.config.network, "CheckDuplicate": true, "Labels": labels });
        self.clearing = 2;
        self.call(Step::Network, "POST", "/networks/create", Some(&network), now, out);
        let filter = json!({ "label": [self.config.label] }).to_string();
        let path = format!("/containers/json?all=true&filters={}", escaped(&filter));
        self.call(Step::Left, "GET", &path, None, now, out);
    }

    /// Whether this connection is one of ours.
    #[must_use]
    pub fn has(&self, conn: ConnId) -> bool {
        self.calls.contains_key(&conn)
    }

    /// Makes a container of that name, and starts it.
    pub fn create(&mut self, tenancy: Tenancy, name: &str, now: Now, out: &mut impl Outbox<Said = Said>) {
        if self.clearing > 0 {
            return self.waiting.push((tenancy, name.into()));
        }
        let path = format!("/containers/{name}?force=true");
        self.call(Step::Cleared(tenancy, name.into()), "DELETE", &path, None, now, out);
    }

    /// Stops a container, and removes it.
    pub fn discard(&mut self, tenancy: Tenancy, id: &str, now: Now, out: &mut impl Outbox<Said = Said>) {
        let path = format!("/containers/{id}/stop?t={}", self.grace_s);
        self.call(Step::Stopped(tenancy, id.into()), "POST", &path, None, now, out);
    }

    fn call(
        &mut self,
        step: Step,
        method: &str,
        path: &str,
        body: Option<&Value>,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let to = Address::Unix(self.config.socket.clone());
        let conn = out.dial(Dial { to, from: None, tls: None, by: now.at + CONNECT });
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} /v1.41{path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        out.write(conn, head.as_bytes());
        out.write(conn, body.as_bytes());
        let reader = ResponseReader::new(Limits::default());
        self.calls.insert(conn, Call { step, reader, status: 0, body: None, text: Vec::new() });
    }

    /// Bytes of the engine.
    pub fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Option<News> {
        let call = self.calls.get_mut(&conn)?;
        match call.read(input) {
            Ok(false) => None,
            Ok(true) => {
                let call = self.calls.remove(&conn)?;
                out.close(conn, Close::Flushed);
                self.answered(call, now, out)
            }
            Err(why) => {
                input.used(input.bytes().len());
                self.failed(conn, &why, now, out)
            }
        }
    }

    /// The engine's side ended, or never was.
    pub fn on_end(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) -> Option<News> {
        let call = self.calls.get_mut(&conn)?;
        if call.body.as_mut().is_some_and(|body| body.end().is_ok()) {
            let call = self.calls.remove(&conn)?;
            out.close(conn, Close::Now);
            return self.answered(call, now, out);
        }
        let why = format!("the engine at {} ended the connection without an answer", self.config.socket);
        self.failed(conn, &why, now, out)
    }

    fn failed(
        &mut self,
        conn: ConnId,
        why: &str,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) -> Option<News> {
        let call = self.calls.remove(&conn)?;
        out.close(conn, Close::Now);
        match call.step {
            Step::Network | Step::Left | Step::Removed => {
                self.cleared(now, out);
                None
            }
            Step::Cleared(tenancy, _)
            | Step::Created(tenancy)
            | Step::Started(tenancy, _)
            | Step::Inspected(tenancy, _) => {
                Some(News::Made(tenancy, Err(format!("has no container: {why}"))))
            }
            Step::Stopped(tenancy, _) | Step::Discarded(tenancy) => Some(News::Ended(tenancy)),
        }
    }

    /// A whole answer: what it says, and the next call of the row.
    fn answered(&mut self, call: Call, now: Now, out: &mut impl Outbox<Said = Said>) -> Option<News> {
        let is_well = matches!(call.status, 200..=299 | 304);
        let said: Value = serde_json::from_slice(&call.text).unwrap_or(Value::Null);
        let why = || {
            let words = said["message"].as_str().unwrap_or("no reason");
            format!("has no container: the engine answered {}: {words}", call.status)
        };
        match call.step {
            Step::Network | Step::Removed => {
                self.cleared(now, out);
                None
            }
            Step::Left => {
                let left: Vec<&str> =
                    said.as_array().into_iter().flatten().filter_map(|each| each["Id"].as_str()).collect();
                self.clearing += left.len();
                for id in left {
                    let path = format!("/containers/{id}?force=true");
                    self.call(Step::Removed, "DELETE", &path, None, now, out);
                }
                self.cleared(now, out);
                None
            }
            // That there is none of that name is as good.
            Step::Cleared(tenancy, name) => {
                let path = format!("/containers/create?name={name}");
                let asked = self.container(tenancy, &name);
                self.call(Step::Created(tenancy), "POST", &path, Some(&asked), now, out);
                None
            }
            Step::Created(tenancy) => match said["Id"].as_str().filter(|id| is_well && is_id(id)) {
                Some(id) => {
                    let path = format!("/containers/{id}/start");
                    self.call(Step::Started(tenancy, id.into()), "POST", &path, None, now, out);
                    None
                }
                None => Some(News::Made(tenancy, Err(why()))),
            },
            Step::Started(tenancy, id) if is_well => {
                let path = format!("/containers/{id}/json");
                self.call(Step::Inspected(tenancy, id), "GET", &path, None, now, out);
                None
            }
            Step::Started(tenancy, _) => Some(News::Made(tenancy, Err(why()))),
            Step::Inspected(tenancy, id) => {
                let networks = &said["NetworkSettings"]["Networks"][&*self.config.network];
                let ip = networks["IPAddress"].as_str().and_then(|ip| ip.parse().ok());
                let made = match ip {
                    Some(ip) => Ok((id, Address::Ip(SocketAddr::new(ip, self.config.port)))),
                    None => Err("has no container that runs: it ended at once, or has no address".to_owned()),
                };
                Some(News::Made(tenancy, made))
            }
            Step::Stopped(tenancy, id) => {
                let path = format!("/containers/{id}?force=true");
                self.call(Step::Discarded(tenancy), "DELETE", &path, None, now, out);
                None
            }
            Step::Discarded(tenancy) => Some(News::Ended(tenancy)),
        }
    }

    fn container(&self, tenancy: Tenancy, name: &str) -> Value {
        let id = tenancy.life;
        json!({
            "Image": self.config.image,
            "Hostname": name,
            "Env": [format!("SERVER_ID={id}"), format!("RINGWISE_ID={id}"), format!("RINGWISE_PORT={}", self.config.port)],
            "Labels": { &*self.config.label: "" },
            "StopSignal": self.signal,
            "HostConfig": { "NetworkMode": self.config.network },
        })
    }

    /// One call less stands before the first start.
    fn cleared(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.clearing = self.clearing.saturating_sub(1);
        if self.clearing == 0 {
            for (tenancy, name) in core::mem::take(&mut self.waiting) {
                self.create(tenancy, &name, now, out);
            }
        }
    }
}

impl Call {
    /// Takes what has come; true when the answer is whole.
    fn read(&mut self, input: &mut Input<'_>) -> Result<bool, String> {
        let wrong = |fault: wire::http::Fault| format!("the engine's answer is not HTTP: {fault}");
        loop {
            let bytes = input.bytes();
            let Some(body) = &mut self.body else {
                match self.reader.next(bytes, Asked::Plain) {
                    Outcome::Done { value, used } if value.is_interim() => input.used(used),
                    Outcome::Done { value, used } => {
                        self.status = value.status;
                        self.body = Some(Body::new(value.framing, Limits::default()));
                        input.used(used);
                    }
                    Outcome::Partial { need: _ } => return Ok(false),
                    Outcome::Fault(fault) => return Err(wrong(fault)),
                }
                continue;
            };
            if body.is_done() || bytes.is_empty() {
                return Ok(body.is_done());
            }
            let piece = body.next(bytes).map_err(wrong)?;
            self.text.extend_from_slice(&bytes[piece.payload]);
            input.used(piece.used);
            if self.text.len() > ANSWER_MAX {
                return Err("the engine's answer is too long".into());
            }
        }
    }
}

/// Whether this can stand in a path: an engine's ids are hexadecimal.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// With escapes for all but what may stand in a query as it is.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
