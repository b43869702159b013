//! Replicas in containers: the few calls of the Docker Engine's API that a life needs, over its unix socket.
//!
//! A life is a row of calls: create, start, ask for the address; and at its end stop, with a grace time, and remove.
//! What a row began and could not end it takes back. The engine's events tell of a container's end at once. Containers
//! and their network carry a label with the network's name, so that those of an earlier run, which nobody stopped, are
//! found before the first start and removed: a replica of an unknown age is worth less than the second it takes to
//! start another. The hard thing is to touch nothing that is not ours: a container of the right name without the label
//! is somebody else's, and stays.
//!
//! Nothing here is an engine's word taken on trust: answers are bounded in bytes and in time, and what is not as
//! expected is a sentence.

mod call;
mod rows;

use crate::config::Docker;
use crate::peer::{Said, Tenancy};
use call::{Call, Version, request};
use machine::{Address, Close, ConnId, Dial, Input, Instant, Now, Outbox, Signal};
use rows::ended;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// Until the engine takes a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// Until a call is answered, beyond what it waits for by itself.
const ANSWER: Duration = Duration::from_secs(60);

/// From the end of a stream of events to the next.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

/// Who died so soon after his start is asked for his last words.
const YOUNG: Duration = Duration::from_secs(10);

/// What became of a replica's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It runs, with its id and where it is; or why there is none.
    Made(Tenancy, Result<(Box<str>, Address), String>),
    /// The container of this id ended by itself, and how.
    Died(Box<str>, String),
    /// It is gone, and may be forgotten.
    Ended(Tenancy),
}

/// How a container is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// By the stop signal, and after the grace time by SIGKILL.
    Polite,
    /// By SIGKILL, at once.
    Curt,
}

/// What is being asked of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// Which versions it speaks.
    Version,
    /// The network of the replicas.
    Network,
    /// Who is left from an earlier run.
    Left,
    /// One of those goes.
    Removed,
    /// Who dies.
    Events,
    /// What one who died young had to say; its id, and how it ended.
    LastWords(Box<str>, String),
    /// A new one.
    Created(Begun),
    /// Whose container it is that has the name.
    Looked(Begun),
    /// One of ours that had the name goes.
    Cleared(Begun),
    Started(Tenancy, Box<str>),
    Inspected(Tenancy, Box<str>),
    /// What one that was made, and does not run, had to say.
    Excused(Tenancy, Box<str>, String),
    /// That one goes.
    TakenBack(Tenancy, String),
    Stopped(Tenancy, Box<str>),
    Discarded(Tenancy),
}

/// A container that is to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Begun {
    tenancy: Tenancy,
    name: Box<str>,
    /// Whether the name was made free for it.
    is_cleared: bool,
}

/// What must be done before the first start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Preparation {
    None,
    /// So many calls are under way.
    Under(usize),
    Done,
}

/// The engine, and what is under way there.
#[derive(Debug)]
pub struct Engine {
    config: Docker,
    /// From the stop signal to SIGKILL, in whole seconds.
    grace: Duration,
    signal: Signal,
    version: Option<Version>,
    calls: BTreeMap<ConnId, Call<Step>>,
    preparation: Preparation,
    /// What stood in the way of it.
    obstacle: Option<String>,
    /// Starts that wait for it.
    waiting: Vec<(Tenancy, Box<str>)>,
    /// Containers of the process before this one that go on.
    kept: Vec<Box<str>>,
    /// When containers were started, by id: those that are young.
    young: BTreeMap<Box<str>, Instant>,
    /// When events are to be asked for again.
    listen_at: Option<Instant>,
    /// Since when events are missed, in seconds of the wall's clock.
    deaf_since: Option<u64>,
    news: Vec<News>,
}

impl Engine {
    /// Not asked yet.
    #[must_use]
    pub fn new(config: &Docker, grace: Duration, signal: Signal) -> Self {
        Self {
            config: config.clone(),
            grace: Duration::from_secs(grace.as_secs().max(1)),
            signal,
            version: None,
            calls: BTreeMap::new(),
            preparation: Preparation::None,
            obstacle: None,
            waiting: Vec::new(),
            kept: Vec::new(),
            young: BTreeMap::new(),
            listen_at: None,
            deaf_since: None,
            news: Vec::new(),
        }
    }

    /// Those are not left over: they were handed over.
    pub fn keep(&mut self, containers: Vec<Box<str>>) {
        self.kept = containers;
    }

    /// What was heard since this was asked last.
    pub fn news(&mut self) -> Vec<News> {
        core::mem::take(&mut self.news)
    }

    /// Makes the network and finds who is left.
    pub fn begin(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.preparation = Preparation::Under(1);
        self.obstacle = None;
        self.ask(Step::Version, "GET", "/version", None, now, out);
    }

    /// The version is known: the rest of the preparation.
    fn prepare(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.preparation = Preparation::Under(3);
        let network = json!({ "Name": self.config.network, "CheckDuplicate": true, "Labels": self.labels() });
        self.ask(Step::Network, "POST", "/networks/create", Some(&network), now, out);
        let filter = json!({ "label": [self.label()] }).to_string();
        let path = format!("/containers/json?all=true&filters={}", escaped(&filter));
        self.ask(Step::Left, "GET", &path, None, now, out);
        self.listen(now, out);
        self.one_less(now, out);
    }

    /// Asks to be told of every container of ours that dies.
    fn listen(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.listen_at = None;
        let filter = json!({ "label": [self.label()], "type": ["container"], "event": ["die"] }).to_string();
        let since = self.deaf_since.take().map(|since| format!("&since={since}")).unwrap_or_default();
        let path = format!("/events?filters={}{since}", escaped(&filter));
        self.ask(Step::Events, "GET", &path, None, now, out);
    }

    /// Whether this connection is one of ours.
    #[must_use]
    pub fn has(&self, conn: ConnId) -> bool {
        self.calls.contains_key(&conn)
    }

    /// Makes a container of that name, and starts it.
    pub fn create(&mut self, tenancy: Tenancy, name: &str, now: Now, out: &mut impl Outbox<Said = Said>) {
        match self.preparation {
            Preparation::Done => {
                let begun = Begun { tenancy, name: name.into(), is_cleared: false };
                self.make(begun, now, out);
            }
            Preparation::Under(_) => self.waiting.push((tenancy, name.into())),
            Preparation::None => {
                self.waiting.push((tenancy, name.into()));
                self.begin(now, out);
            }
        }
    }

    fn make(&mut self, begun: Begun, now: Now, out: &mut impl Outbox<Said = Said>) {
        let path = format!("/containers/create?name={}", begun.name);
        let asked = self.container(begun.tenancy, &begun.name);
        self.ask(Step::Created(begun), "POST", &path, Some(&asked), now, out);
    }

    /// Ends a container, and removes it.
    pub fn discard(
        &mut self,
        tenancy: Tenancy,
        id: &str,
        farewell: Farewell,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.young.remove(id);
        match farewell {
            Farewell::Polite => {
                let path = format!("/containers/{id}/stop?t={}", self.grace.as_secs());
                self.ask(Step::Stopped(tenancy, id.into()), "POST", &path, None, now, out);
            }
            Farewell::Curt => self.remove(Step::Discarded(tenancy), id, now, out),
        }
    }

    fn remove(&mut self, step: Step, id: &str, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.ask(step, "DELETE", &format!("/containers/{id}?force=true&v=true"), None, now, out);
    }

    fn ask(
        &mut self,
        step: Step,
        method: &str,
        path: &str,
        body: Option<&Value>,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let version = match step {
            Step::Version => None,
            _ => self.version.or(Some(Version::of(&Value::Null))),
        };
        let by = match step {
            Step::Events => None,
            Step::Stopped(..) => Some(now.at + self.grace + ANSWER),
            _ => Some(now.at + ANSWER),
        };
        let to = Address::Unix(self.config.socket.clone());
        let conn = out.dial(Dial { to, from: None, tls: None, by: now.at + CONNECT });
        out.write(conn, request(method, version, path, body).as_bytes());
        self.calls.insert(conn, Call::new(step, by));
    }

    /// Bytes of the engine.
    pub fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(call) = self.calls.get_mut(&conn) else { return };
        let read = call.read(input);
        if call.step == Step::Events && call.is_well() {
            let events = call.lines();
            self.deaths(&events, now, out);
        }
        match read {
            Ok(false) => {}
            Ok(true) => {
                if let Some(call) = self.calls.remove(&conn) {
                    out.close(conn, Close::Flushed);
                    self.answered(call, now, out);
                }
            }
            Err(why) => {
                input.used(input.bytes().len());
                self.failed(conn, &why, now, out);
            }
        }
    }

    /// The engine's side ended, or never was.
    pub fn on_end(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(call) = self.calls.get_mut(&conn) else { return };
        if !call.end() {
            let why = format!("no Docker Engine answers at {}", self.config.socket);
            return self.failed(conn, &why, now, out);
        }
        if let Some(call) = self.calls.remove(&conn) {
            out.close(conn, Close::Now);
            self.answered(call, now, out);
        }
    }

    /// Looks for what is late or due.
    pub fn tick(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let is_late = |call: &Call<Step>| call.by.is_some_and(|by| by <= now.at);
        let late: Vec<ConnId> =
            self.calls.iter().filter(|(_, call)| is_late(call)).map(|(conn, _)| *conn).collect();
        for conn in late {
            let why = format!("the engine at {} did not answer in time", self.config.socket);
            self.failed(conn, &why, now, out);
        }
        self.young.retain(|_, since| now.at.since(*since) < YOUNG);
        if self.listen_at.is_some_and(|at| at <= now.at) {
            self.listen(now, out);
        }
    }

    /// When [`Engine::tick`] is wanted next.
    #[must_use]
    pub fn next_tick(&self) -> Option<Instant> {
        self.calls.values().filter_map(|call| call.by).chain(self.listen_at).min()
    }

    /// Containers of ours that ended.
    fn deaths(&mut self, events: &[Value], now: Now, out: &mut impl Outbox<Said = Said>) {
        for event in events {
            let Some(id) = event["Actor"]["ID"].as_str().filter(|id| is_id(id)) else { continue };
            let how = ended(event["Actor"]["Attributes"]["exitCode"].as_str());
            match self.young.remove(id) {
                Some(since) if now.at.since(since) < YOUNG => {
                    self.ask_last_words(Step::LastWords(id.into(), how), id, now, out)
                }
                Some(_) | None => self.news.push(News::Died(id.into(), how)),
            }
        }
    }

    fn ask_last_words(&mut self, step: Step, id: &str, now: Now, out: &mut impl Outbox<Said = Said>) {
        let path = format!("/containers/{id}/logs?stdout=true&stderr=true&tail=5");
        self.ask(step, "GET", &path, None, now, out);
    }

    /// The stream of events is at its end.
    fn deaf(&mut self, now: Now) {
        self.listen_at = Some(now.at + LISTEN_AGAIN);
        self.deaf_since = Some(now.wall.millis() / 1000);
    }

    /// One call less stands before the first start.
    fn one_less(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        match &mut self.preparation {
            Preparation::Under(calls) if *calls > 1 => return *calls -= 1,
            Preparation::Under(_) => {}
            Preparation::None | Preparation::Done => return,
        }
        let waiting = core::mem::take(&mut self.waiting);
        match self.obstacle.take() {
            None => {
                self.preparation = Preparation::Done;
                for (tenancy, name) in waiting {
                    self.create(tenancy, &name, now, out);
                }
            }
            Some(why) => {
                self.preparation = Preparation::None;
                for (tenancy, _) in waiting {
                    self.unmade(tenancy, &format!("has no container: {why}"));
                }
            }
        }
    }

    fn labels(&self) -> Value {
        json!({ &*self.config.label: self.config.network })
    }

    fn label(&self) -> String {
        format!("{}={}", self.config.label, self.config.network)
    }

    fn container(&self, tenancy: Tenancy, name: &str) -> Value {
        let (id, port) = (tenancy.life, self.config.port);
        let security: Vec<String> =
            self.config.seccomp.iter().map(|profile| format!("seccomp={profile}")).collect();
        json!({
            "Image": self.config.image,
            "Hostname": name,
            "Env": [
                format!("SERVER_ID={id}"),
                format!("RINGWISE_ID={id}"),
                format!("RINGWISE_PORT={port}"),
                "RINGWISE_LISTEN=0.0.0.0",
            ],
            "Labels": self.labels(),
            "StopSignal": signal_name(self.signal),
            "HostConfig": {
                "NetworkMode": self.config.network,
                "SecurityOpt": security,
                // Rings lock memory, which the kernel counts for all containers of a user together: within the usual
                // 8 MiB the third replica would find none.
                "CapAdd": ["IPC_LOCK"],
            },
        })
    }
}

/// As the engine calls it.
const fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Interrupt => "SIGINT",
        Signal::Terminate => "SIGTERM",
        Signal::Kill => "SIGKILL",
        Signal::HangUp => "SIGHUP",
        Signal::Stop => "SIGSTOP",
        Signal::Continue => "SIGCONT",
        Signal::User1 => "SIGUSR1",
        Signal::User2 => "SIGUSR2",
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
