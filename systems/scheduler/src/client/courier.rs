//! Requests to nodes: each on a connection of its own, tried at the next node where one does not answer or can promise
//! nothing. Trying again is safe because a job goes out with its key, and all else may happen twice.

use core::time::Duration;
use machine::{Address, Close, ConnId, Dial, End, Input, Instant, Now, Outbox};
use std::collections::BTreeMap;
use wire::Outcome;
use wire::http::{Asked, Body, Framing, HeadWriter, Limits, Method, ResponseReader, Version};

/// Requests under way at once; one more is told to come later.
pub const LETTERS_MAX: usize = 4096;

/// How long one node may take before another is asked: longer than it waits for a majority itself.
const NODE_PATIENCE: Duration = Duration::from_secs(7);

/// How long a node may take to accept a connection.
const DIAL_PATIENCE: Duration = Duration::from_millis(700);

/// How long all nodes may take together.
const PATIENCE: Duration = Duration::from_secs(12);

/// Between two rounds over all nodes.
const ROUND: Duration = Duration::from_millis(150);

/// Bytes of an answer.
const ANSWER_MAX: usize = 64 << 20;

/// Fields of a request that go on to the node.
const PASSED: &[&str] = &["idempotency-key", "authorization", "content-type", "accept"];

/// Fields of an answer that go on to who asked.
const RETURNED: &[&str] = &["Location", "Allow"];

/// A request.
#[derive(Clone, Debug)]
pub struct Letter<W> {
    /// Who wants the answer.
    pub whom: W,
    /// GET or POST.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// Its body.
    pub body: Vec<u8>,
    /// Fields that go with it.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Only this node is asked, by its place among all.
    pub only: Option<usize>,
}

impl<W> Letter<W> {
    /// A question.
    pub fn get(whom: W, target: String) -> Self {
        Self { whom, method: "GET", target, body: Vec::new(), fields: Vec::new(), only: None }
    }

    /// Takes from a request's fields those that go on.
    pub fn pass(&mut self, fields: &wire::http::Fields<'_>) {
        for name in PASSED {
            if let Some(value) = fields.get(name) {
                self.fields.push(((*name).to_owned(), value.to_vec()));
            }
        }
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply<W> {
    /// Who wanted it.
    pub whom: W,
    /// Its status; 503 also where nobody answered.
    pub status: u16,
    /// Its media type.
    pub media: String,
    /// Its fields that go on.
    pub fields: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Which node said it.
    pub node: usize,
}

struct Sent<W> {
    letter: Letter<W>,
    node: usize,
    tried: usize,
    began: Instant,
    since: Instant,
    reader: ResponseReader,
    head: Option<(u16, String, Body)>,
    fields: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// What the last node that refused said.
    refusal: Option<(u16, String, Vec<u8>)>,
}

/// All requests under way.
pub struct Courier<W> {
    nodes: Vec<Address>,
    at: usize,
    sent: BTreeMap<ConnId, Sent<W>>,
    resting: Vec<(Instant, Sent<W>)>,
    /// What came back and was not yet taken.
    pub replies: Vec<Reply<W>>,
}

impl<W> Courier<W> {
    /// Nothing under way.
    #[must_use]
    pub fn new(nodes: Vec<Address>) -> Self {
        Self { nodes, at: 0, sent: BTreeMap::new(), resting: Vec::new(), replies: Vec::new() }
    }

    /// How many requests are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sent.len() + self.resting.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The port of the node that is asked first.
    #[must_use]
    pub fn port(&self, node: usize) -> u16 {
        match self.nodes.get(node) {
            Some(Address::Ip(at)) => at.port(),
            Some(Address::Name(_, port)) => *port,
            Some(Address::Unix(_)) | None => 0,
        }
    }

    /// Sends a request.
    pub fn send(&mut self, now: Now, letter: Letter<W>, out: &mut impl Outbox) {
        let node = letter.only.unwrap_or(self.at);
        let sent = Sent {
            letter,
            node,
            tried: 0,
            began: now.at,
            since: now.at,
            reader: ResponseReader::new(Limits::default()),
            head: None,
            fields: Vec::new(),
            body: Vec::new(),
            refusal: None,
        };
        if self.len() >= LETTERS_MAX {
            return self.give_up(sent, "too many requests are under way");
        }
        self.dial(now, sent, out);
    }

    fn dial(&mut self, now: Now, mut sent: Sent<W>, out: &mut impl Outbox) {
        let Some(to) = self.nodes.get(sent.node).cloned() else {
            return self.give_up(sent, "there is no such node");
        };
        sent.since = now.at;
        sent.reader = ResponseReader::new(Limits::default());
        sent.head = None;
        sent.fields.clear();
        sent.body.clear();
        let host = to.to_string();
        let conn = out.dial(Dial { to, from: None, tls: None, by: now.at + DIAL_PATIENCE });
        out.write(conn, &written(&sent.letter, &host));
        self.sent.insert(conn, sent);
    }

    fn give_up(&mut self, sent: Sent<W>, why: &str) {
        let (status, media, body) = sent.refusal.unwrap_or_else(|| {
            let text = serde_json::json!({ "error": why }).to_string();
            (503, web::JSON.to_owned(), text.into_bytes())
        });
        let fields = Vec::new();
        self.replies.push(Reply { whom: sent.letter.whom, status, media, fields, body, node: sent.node });
    }

    /// This node will not do: the next one, after all of them a short rest, in the end nobody.
    fn next(&mut self, now: Now, mut sent: Sent<W>, out: &mut impl Outbox) {
        sent.tried += 1;
        let is_over = now.at.since(sent.began) >= PATIENCE;
        if is_over || sent.letter.only.is_some() {
            return self.give_up(sent, "no node answers");
        }
        sent.node = (sent.node + 1) % self.nodes.len().max(1);
        if self.at != sent.node && sent.tried == 1 {
            self.at = sent.node;
        }
        if sent.tried.is_multiple_of(self.nodes.len().max(1)) {
            // Who was refused by all for a good reason is told so, after one more round.
            if sent.refusal.is_some() && sent.tried >= 2 * self.nodes.len() {
                return self.give_up(sent, "no node answers");
            }
            self.resting.push((now.at + ROUND, sent));
        } else {
            self.dial(now, sent, out);
        }
    }

    /// Whether that connection is the courier's.
    #[must_use]
    pub fn owns(&self, conn: ConnId) -> bool {
        self.sent.contains_key(&conn)
    }

    /// Bytes of an answer.
    pub fn on_bytes(&mut self, now: Now, conn: ConnId, input: &mut Input<'_>, out: &mut impl Outbox) {
        let Some(sent) = self.sent.get_mut(&conn) else { return };
        let is_done = match sent.read(input) {
            Ok(is_done) => is_done,
            Err(()) => {
                input.used(input.bytes().len());
                out.close(conn, Close::Now);
                let sent = self.sent.remove(&conn).expect("it was just there");
                return self.next(now, sent, out);
            }
        };
        if is_done {
            input.used(input.bytes().len());
            out.close(conn, Close::Flushed);
            self.done(now, conn, out);
        }
    }

    fn done(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox) {
        let Some(mut sent) = self.sent.remove(&conn) else { return };
        let Some((status, media, _)) = sent.head.take() else { return self.next(now, sent, out) };
        let body = core::mem::take(&mut sent.body);
        // A node that simulates a crash, and one that has no majority: another may do better.
        if matches!(status, 418 | 503) && sent.letter.only.is_none() {
            sent.refusal = if status == 503 { Some((status, media, body)) } else { sent.refusal };
            return self.next(now, sent, out);
        }
        let fields = core::mem::take(&mut sent.fields);
        self.replies.push(Reply { whom: sent.letter.whom, status, media, fields, body, node: sent.node });
    }

    /// A connection ended, or could not be made. Whether it was the courier's.
    pub fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox) -> bool {
        let Some(sent) = self.sent.get(&conn) else { return false };
        if end == End::Half {
            out.close(conn, Close::Now);
        }
        let until_close =
            sent.head.as_ref().is_some_and(|(.., body)| !body.is_done() && body.ahead().is_none());
        if until_close {
            self.done(now, conn, out);
        } else if let Some(sent) = self.sent.remove(&conn) {
            self.next(now, sent, out);
        }
        true
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now, out: &mut impl Outbox) {
        let slow = |sent: &Sent<W>| now.at.since(sent.since) >= NODE_PATIENCE;
        let over: Vec<ConnId> =
            self.sent.iter().filter(|(_, sent)| slow(sent)).map(|(conn, _)| *conn).collect();
        for conn in over {
            out.close(conn, Close::Now);
            if let Some(sent) = self.sent.remove(&conn) {
                self.next(now, sent, out);
            }
        }
        let due: Vec<(Instant, Sent<W>)> = self.resting.extract_if(.., |(at, _)| *at <= now.at).collect();
        for (_, sent) in due {
            self.dial(now, sent, out);
        }
    }
}

impl<W> Sent<W> {
    /// Reads on; whether the answer is whole. An error where it is no HTTP.
    fn read(&mut self, input: &mut Input<'_>) -> Result<bool, ()> {
        while self.head.is_none() {
            match self.reader.next(input.bytes(), Asked::Plain) {
                Outcome::Partial { .. } => return Ok(false),
                Outcome::Fault(_) => return Err(()),
                Outcome::Done { value, used } => {
                    if !value.is_interim() {
                        let media = value.fields.get("content-type").unwrap_or_default();
                        let media = String::from_utf8_lossy(media).into_owned();
                        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                        let field = |name: &&'static str| Some((*name, text(value.fields.get(name)?)));
                        self.fields = RETURNED.iter().filter_map(field).collect();
                        let limits = Limits { body_max: ANSWER_MAX as u64, ..Limits::default() };
                        self.head = Some((value.status, media, Body::new(value.framing, limits)));
                    }
                    input.used(used);
                }
            }
        }
        let Some((.., body)) = &mut self.head else { return Ok(false) };
        while !body.is_done() && !input.bytes().is_empty() {
            let bytes = input.bytes();
            let piece = body.next(bytes).map_err(|_| ())?;
            self.body.extend_from_slice(&bytes[piece.payload]);
            input.used(piece.used);
        }
        Ok(body.is_done())
    }
}

fn written<W>(letter: &Letter<W>, host: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let Ok(mut head) = HeadWriter::request(&mut bytes, Method::of(letter.method), &letter.target) else {
        return Vec::new();
    };
    head.known("Host", host);
    for (name, value) in &letter.fields {
        // A value that cannot be said was not said to us either.
        let _ = head.field(name, value);
    }
    head.persistence(Version::Http11, false);
    let length = letter.body.len() as u64;
    head.framing(if letter.method == "GET" { Framing::None } else { Framing::Length(length) });
    head.end();
    bytes.extend_from_slice(&letter.body);
    bytes
}
