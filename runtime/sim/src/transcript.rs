//! Transcripts: a protocol as a file that anyone can read, run against the simulated world and against a real
//! process. What is sent and what is expected stand line by line:
//!
//! ```text
//! # a comment
//! > SET key value            sent; lines that follow each other are sent together
//! < +OK                      expected, byte for byte
//! ~ +version *               expected, where * stands for anything up to the line's end
//! b> GET key                 on another connection, called b; it is opened when it is first named
//! b< $5
//! door b 1                   b connects to the second listener; must come before b is used
//! wait 10ms                  lets time pass: us, ms, s
//! quiet b 10ms               nothing is heard on b for so long
//! finish b                   says that all is said (`finish` alone: the unnamed connection)
//! leave b                    drops the connection with what has come unread: they see a reset
//! ended b                    they have said all, and nothing unexpected
//! ends lf                    from here on lines end with \n; `crlf` (as at the beginning), `nothing`
//! ```
//!
//! Escapes: `\r`, `\n`, `\t`, `\0`, `\\`, `\xHH`, and `\(1000)a` for a thousand times `a`. A lone `\` at the end of a
//! line: this one has no line end. What was heard and not expected is a mismatch at the end of the file.

mod parse;
mod real;

pub use real::run_real;

use crate::world::{Client, World};
use core::fmt;
use core::time::Duration;
use machine::{NodeId, Shard};
use std::collections::BTreeMap;
use wire::peer::Message;

/// How long, at the end, nothing more may be heard.
const AFTERWARDS: Duration = Duration::from_millis(50);

/// A transcript as meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    name: String,
    steps: Vec<(usize, Step)>,
}

/// One line, or several that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send(String, Vec<u8>),
    Expect(String, Vec<u8>),
    /// Parts of a line between which anything may stand.
    Like(String, Vec<Vec<u8>>),
    Door(String, usize),
    Wait(Duration),
    Quiet(String, Duration),
    Finish(String),
    Ended(String),
    Leave(String),
}

/// Where a transcript and what was heard differ, or why a line means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The transcript's name.
    pub name: String,
    /// The line, from 1; 0: after the last.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.name, self.line, self.what)
    }
}

impl std::error::Error for Mismatch {}

impl Transcript {
    /// Reads a transcript; `name` is for mismatches.
    pub fn parse(name: &str, text: &str) -> Result<Self, Mismatch> {
        parse::steps(text)
            .map(|steps| Self { name: name.to_owned(), steps })
            .map_err(|(line, what)| Mismatch { name: name.to_owned(), line, what })
    }

    fn run(&self, arm: &mut impl Arm) -> Result<(), Mismatch> {
        let mut talks: BTreeMap<String, Talk> = BTreeMap::new();
        for (line, step) in &self.steps {
            step.run(arm, &mut talks).map_err(|what| self.mismatch(*line, what))?;
        }
        arm.wait(AFTERWARDS);
        for (name, talk) in &mut talks {
            if talk.conn.is_some() {
                talk.poll(arm);
            }
            if !talk.heard.is_empty() {
                return Err(self.mismatch(0, format!("{name}: heard besides: {}", shown(&talk.heard))));
            }
        }
        Ok(())
    }

    fn mismatch(&self, line: usize, what: String) -> Mismatch {
        Mismatch { name: self.name.clone(), line, what }
    }
}

/// Runs a transcript against a node of the world.
pub fn run_world<S: Shard>(
    transcript: &Transcript,
    world: &mut World<S>,
    node: NodeId,
) -> Result<(), Mismatch>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    transcript.run(&mut InWorld { world, node, clients: Vec::new() })
}

/// One connection of a transcript.
#[derive(Debug, Default)]
struct Talk {
    door: usize,
    conn: Option<usize>,
    heard: Vec<u8>,
    ended: bool,
}

/// What came when more was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum More {
    Bytes,
    Ended,
    Nothing,
}

/// Against what a transcript runs.
pub(crate) trait Arm {
    fn open(&mut self, door: usize) -> Result<usize, String>;
    fn say(&mut self, conn: usize, bytes: &[u8]) -> Result<(), String>;
    fn finish(&mut self, conn: usize);
    /// Waits until something has come, leaves it unread, and drops the connection.
    fn leave(&mut self, conn: usize) -> Result<(), String>;
    /// Waits for more, at most so long; `None`: as long as this arm has patience.
    fn more(&mut self, conn: usize, heard: &mut Vec<u8>, span: Option<Duration>) -> More;
    fn wait(&mut self, span: Duration);
}

impl Talk {
    fn conn(&mut self, arm: &mut impl Arm) -> Result<usize, String> {
        match self.conn {
            Some(conn) => Ok(conn),
            None => {
                let conn = arm.open(self.door)?;
                self.conn = Some(conn);
                Ok(conn)
            }
        }
    }

    fn poll(&mut self, arm: &mut impl Arm) {
        if let Some(conn) = self.conn {
            while arm.more(conn, &mut self.heard, Some(Duration::from_micros(1))) == More::Bytes {}
        }
    }

    /// Waits for more; a sentence when none comes.
    fn wait_for(&mut self, arm: &mut impl Arm, expected: &str) -> Result<(), String> {
        let conn = self.conn(arm)?;
        let why = match arm.more(conn, &mut self.heard, None) {
            More::Bytes => return Ok(()),
            More::Ended => "they had said all",
            More::Nothing => "nothing more came",
        };
        Err(format!("expected {expected}, heard {}, then {why}", shown(&self.heard)))
    }

    fn expect(&mut self, arm: &mut impl Arm, bytes: &[u8]) -> Result<(), String> {
        let mut rest = bytes;
        loop {
            let both = rest.len().min(self.heard.len());
            if rest[..both] != self.heard[..both] {
                return Err(format!("expected {}, heard {}", shown(rest), shown(&self.heard)));
            }
            self.heard.drain(..both);
            rest = &rest[both..];
            if rest.is_empty() {
                return Ok(());
            }
            self.wait_for(arm, &shown(rest))?;
        }
    }

    fn expect_like(&mut self, arm: &mut impl Arm, parts: &[Vec<u8>]) -> Result<(), String> {
        let pattern = || parts.iter().map(|part| shown(part)).collect::<Vec<_>>().join("*");
        let end = loop {
            match self.heard.iter().position(|byte| *byte == b'\n') {
                Some(end) => break end + 1,
                None => self.wait_for(arm, &pattern())?,
            }
        };
        if !is_like(parts, &self.heard[..end]) {
            return Err(format!("expected {}, heard {}", pattern(), shown(&self.heard[..end])));
        }
        self.heard.drain(..end);
        Ok(())
    }
}

impl Step {
    /// The connection it is about.
    fn name(&self) -> &str {
        match self {
            Self::Send(name, _) | Self::Expect(name, _) | Self::Like(name, _) | Self::Door(name, _) => name,
            Self::Quiet(name, _) | Self::Finish(name) | Self::Ended(name) | Self::Leave(name) => name,
            Self::Wait(_) => "",
        }
    }

    fn run(&self, arm: &mut impl Arm, talks: &mut BTreeMap<String, Talk>) -> Result<(), String> {
        if let Self::Wait(span) = self {
            arm.wait(*span);
            return Ok(());
        }
        let talk = talks.entry(self.name().to_owned()).or_default();
        match self {
            Self::Wait(_) => Ok(()),
            Self::Send(_, bytes) => {
                let conn = talk.conn(arm)?;
                arm.say(conn, bytes)
            }
            Self::Expect(_, bytes) => talk.expect(arm, bytes),
            Self::Like(_, parts) => talk.expect_like(arm, parts),
            Self::Door(_, nth) => {
                talk.door = *nth;
                Ok(())
            }
            Self::Quiet(_, span) => {
                arm.wait(*span);
                talk.poll(arm);
                if talk.heard.is_empty() {
                    Ok(())
                } else {
                    Err(format!("expected nothing, heard {}", shown(&talk.heard)))
                }
            }
            Self::Finish(_) => {
                let conn = talk.conn(arm)?;
                arm.finish(conn);
                Ok(())
            }
            Self::Leave(_) => {
                let conn = talk.conn(arm)?;
                talk.conn = None;
                talk.heard.clear();
                arm.leave(conn)
            }
            Self::Ended(_) => {
                let conn = talk.conn(arm)?;
                while !talk.ended {
                    match arm.more(conn, &mut talk.heard, None) {
                        More::Ended => talk.ended = true,
                        More::Bytes => {}
                        More::Nothing => return Err("expected the end, which did not come".to_owned()),
                    }
                }
                if talk.heard.is_empty() {
                    Ok(())
                } else {
                    Err(format!("expected the end, heard {}", shown(&talk.heard)))
                }
            }
        }
    }
}

/// Whether the parts stand in the line in order, the first at its beginning, the last at its end.
fn is_like(parts: &[Vec<u8>], line: &[u8]) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|only| only == line);
    };
    let Some(mut rest) = line.strip_prefix(&first[..]) else { return false };
    for part in middle {
        if part.is_empty() {
            continue;
        }
        let Some(at) = rest.windows(part.len()).position(|window| window == &part[..]) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Bytes as a transcript would write them.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 400;
    let head = &bytes[..bytes.len().min(MOST)];
    let more = if bytes.len() > MOST { format!("... ({} bytes)", bytes.len()) } else { String::new() };
    format!("\"{}\"{more}", head.escape_ascii())
}

struct InWorld<'a, S: Shard>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    world: &'a mut World<S>,
    node: NodeId,
    clients: Vec<Client>,
}

impl<S: Shard> Arm for InWorld<'_, S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    fn open(&mut self, door: usize) -> Result<usize, String> {
        self.clients.push(self.world.connect(self.node, door));
        Ok(self.clients.len() - 1)
    }

    fn say(&mut self, conn: usize, bytes: &[u8]) -> Result<(), String> {
        self.world.say(self.clients[conn], bytes);
        Ok(())
    }

    fn finish(&mut self, conn: usize) {
        self.world.finish(self.clients[conn]);
    }

    fn leave(&mut self, conn: usize) -> Result<(), String> {
        let (client, patience) = (self.clients[conn], self.world.patience());
        if !self.world.run_within(patience, |world| !world.heard(client).is_empty()) {
            return Err("nothing came that could be left unread".to_owned());
        }
        self.world.reset(client);
        Ok(())
    }

    fn more(&mut self, conn: usize, heard: &mut Vec<u8>, span: Option<Duration>) -> More {
        let client = self.clients[conn];
        let span = span.unwrap_or_else(|| self.world.patience());
        let came = |world: &World<S>| !world.heard(client).is_empty() || world.ended(client).is_some();
        self.world.run_within(span, came);
        let bytes = self.world.take_heard(client);
        heard.extend_from_slice(&bytes);
        match (bytes.is_empty(), self.world.ended(client)) {
            (false, _) => More::Bytes,
            (true, Some(_)) => More::Ended,
            (true, None) => More::Nothing,
        }
    }

    fn wait(&mut self, span: Duration) {
        self.world.run_for(span);
    }
}
