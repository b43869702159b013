//! The process that forks slots: a Python that has imported what the operator named. It is told by lines and tells by
//! lines. When it is no more, every slot is, and another is started after a pause that grows.

use super::config::Config;
use crate::dispatch::{JAILS, PAYLOAD_MAX};
use crate::python;
use core::time::Duration;
use machine::{ChildId, Command, ConnId, Instant, Outbox, PipeKind};
use serde_json::{Value, json};

/// The longest line it says, in bytes; a longer one is not ours and is dropped.
const LINE_MAX: usize = 16 * 1024;

/// The pause before it is started again, and the longest.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What it is, once it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The version of Python.
    pub python: Box<str>,
    /// The version of dill; empty for none.
    pub dill: Box<str>,
    /// Bits of the jails that hold.
    pub jails: u16,
    /// Why others do not.
    pub remarks: Box<str>,
}

/// How a slot's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// What the zygote says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It can fork slots.
    Ready(Facts),
    /// It cannot, and ends.
    Failed(Box<str>),
    /// This slot's process ended so, by itself.
    Ended(u64, How),
    /// Nothing is left of this slot.
    Gone(u64),
    /// This slot could not be forked.
    Unstarted(u64, Box<str>),
}

/// The zygote.
#[derive(Debug, Default)]
pub struct Zygote {
    child: Option<ChildId>,
    input: Option<ConnId>,
    output: Option<ConnId>,
    errors: Option<ConnId>,
    heard: Vec<u8>,
    complained: Vec<u8>,
    facts: Option<Facts>,
    failures: u32,
    /// When to start it, while there is none.
    start_at: Option<Instant>,
}

impl Zygote {
    /// Starts it.
    pub fn start<S>(&mut self, config: &Config, out: &mut impl Outbox<Said = S>) {
        self.start_at = None;
        self.heard.clear();
        self.complained.clear();
        let env =
            vec![("PYTHONUNBUFFERED".into(), "1".into()), ("PYTHONDONTWRITEBYTECODE".into(), "1".into())];
        self.child = Some(out.spawn(Command {
            program: config.python.clone(),
            args: vec!["-c".into(), python::SOURCE.into()],
            env,
            dir: Some(config.directory.clone()),
            pipes: vec![PipeKind::Input, PipeKind::Output, PipeKind::Error],
            limits: Vec::new(),
        }));
    }

    /// One of its streams is there.
    pub fn on_pipe<S>(
        &mut self,
        child: ChildId,
        kind: PipeKind,
        conn: ConnId,
        config: &Config,
        out: &mut impl Outbox<Said = S>,
    ) {
        if self.child != Some(child) {
            return;
        }
        match kind {
            PipeKind::Input => {
                self.input = Some(conn);
                out.write(conn, format!("{}\n", settings(config)).as_bytes());
            }
            PipeKind::Output => self.output = Some(conn),
            PipeKind::Error => self.errors = Some(conn),
        }
    }

    /// Whether this connection is one of its streams.
    #[must_use]
    pub fn owns(&self, conn: ConnId) -> bool {
        [self.input, self.output, self.errors].contains(&Some(conn))
    }

    /// What it is; none while it is not ready.
    #[must_use]
    pub fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// It is no more. Says whether it had been ours.
    pub fn on_gone(&mut self, child: ChildId, now: Instant) -> bool {
        if self.child != Some(child) {
            return false;
        }
        let pause = PAUSE.saturating_mul(1 << self.failures.min(8)).min(PAUSE_MAX);
        let failures = self.failures + 1;
        *self = Self { failures, start_at: Some(now + pause), ..Self::default() };
        true
    }

    /// When it is to be started.
    #[must_use]
    pub fn start_at(&self) -> Option<Instant> {
        self.start_at
    }

    /// Its process.
    #[must_use]
    pub fn child(&self) -> Option<ChildId> {
        self.child
    }

    /// Forks a slot.
    pub fn launch<S>(&mut self, launch: u64, secret: &[u8; 16], out: &mut impl Outbox<Said = S>) {
        if let Some(conn) = self.input {
            let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
            out.write(conn, format!("start {launch} {secret}\n").as_bytes());
        }
    }

    /// Ends a slot and all it started.
    pub fn kill<S>(&mut self, launch: u64, out: &mut impl Outbox<Said = S>) {
        if let Some(conn) = self.input {
            out.write(conn, format!("kill {launch}\n").as_bytes());
        }
    }

    /// What it says, line by line; what it complains of is passed on.
    pub fn hear(&mut self, conn: ConnId, bytes: &[u8], say: fn(&str)) -> Vec<News> {
        let is_complaint = self.errors == Some(conn);
        let held = if is_complaint { &mut self.complained } else { &mut self.heard };
        held.extend_from_slice(bytes);
        let mut news = Vec::new();
        while let Some(end) = held.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&held[..end]).into_owned();
            held.drain(..=end);
            if is_complaint {
                say(&format!("python: {line}"));
            } else {
                news.extend(read(&line));
            }
        }
        if held.len() > LINE_MAX {
            held.clear();
        }
        for each in &news {
            if let News::Ready(facts) = each {
                self.facts = Some(facts.clone());
                self.failures = 0;
            }
        }
        news
    }
}

fn read(line: &str) -> Option<News> {
    let (verb, rest) = line.split_once(' ')?;
    Some(match verb {
        "ready" => News::Ready(facts(&serde_json::from_str(rest).ok()?)),
        "failed" => News::Failed(rest.into()),
        "gone" => News::Gone(rest.parse().ok()?),
        "ended" => {
            let mut words = rest.split(' ');
            let launch = words.next()?.parse().ok()?;
            let how = words.next()?;
            let number = words.next()?.parse().ok()?;
            News::Ended(launch, if how == "signal" { How::Signal(number) } else { How::Exit(number) })
        }
        "unstarted" => {
            let (launch, words) = rest.split_once(' ')?;
            News::Unstarted(launch.parse().ok()?, words.into())
        }
        _ => return None,
    })
}

fn facts(said: &Value) -> Facts {
    let text = |name: &str| -> Box<str> { said[name].as_str().unwrap_or_default().into() };
    let names: Vec<&str> = said["jails"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let jails = JAILS.iter().filter(|jail| names.contains(&jail.name())).map(|jail| jail.bit()).sum();
    Facts { python: text("python"), dill: text("dill"), jails, remarks: text("remarks") }
}

fn settings(config: &Config) -> Value {
    let bounds = &config.bounds;
    let texts = |all: &[Box<str>]| -> Vec<String> { all.iter().map(|text| text.to_string()).collect() };
    json!({
        "socket": socket(config),
        "directory": &*config.directory,
        "preload": texts(&config.preload),
        "pythonpath": texts(&config.pythonpath),
        "memory": bounds.memory,
        "file_size": bounds.file_size,
        "cpu": bounds.cpu.as_secs(),
        "processes": bounds.processes,
        "output": bounds.output,
        "result": PAYLOAD_MAX,
        "network": config.is_networked,
        "user_base": config.user_base,
    })
}

/// Where slots connect.
#[must_use]
pub fn socket(config: &Config) -> String {
    format!("{}/slots", config.directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Jail;

    #[test]
    fn lines_are_news_or_nothing() {
        assert_eq!(read("ended 7 signal 11"), Some(News::Ended(7, How::Signal(11))));
        assert_eq!(read("ended 7 exit 3"), Some(News::Ended(7, How::Exit(3))));
        assert_eq!(read("gone 8"), Some(News::Gone(8)));
        assert_eq!(read("unstarted 9 OSError: no"), Some(News::Unstarted(9, "OSError: no".into())));
        assert_eq!(read("failed --preload x: no"), Some(News::Failed("--preload x: no".into())));
        let said = r#"ready {"python":"3.11.7","dill":"","jails":["memory","no-network"],"remarks":""}"#;
        let Some(News::Ready(facts)) = read(said) else { panic!("it is ready") };
        assert_eq!((&*facts.python, facts.jails), ("3.11.7", Jail::Memory.bit() | Jail::NoNetwork.bit()));
        for nothing in ["", "ready", "ready {", "ended 7", "ended x exit 3", "gone", "gone x", "hello there"]
        {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }
}
