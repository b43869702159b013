//! Requests for keys of another node: passed on in framed text, or their client is told where to go.
//!
//! With static nodes on a ring a client may ask any node. Who speaks RESP is told `MOVED`, as cluster clients expect;
//! who speaks framed text knows of no such thing, so this core asks the other node as a client would, over a
//! connection that is dialled when first needed and kept. The answer finds its place in the pipeline, so replies keep
//! request order. These are not the seam's links: those carry what cores say, this is the protocol of everybody.
//!
//! The hard thing is what is not known. When a connection is lost, requests that wait on it get `FAILURE` although
//! the other node may have done them, or may still do them. And two nodes with different lists could pass a request
//! to and fro for ever: so the first frame on such a connection is `nodes` and the list's fingerprint; a node that
//! has another list refuses, and what comes over such a connection is never passed on.

use crate::act::{Op, Payload};
use crate::answer::{self, Raw};
use crate::nodes::{Node, fingerprint};
use crate::peer::{Asker, Said};
use crate::refusal::Refusal;
use crate::reply::{Reply, Shape};
use crate::session::{Session, Speaks};
use crate::shard::Dht;
use core::time::Duration;
use machine::blob::BLOB_MIN;
use machine::{Address, Close, ConnId, Dial, Input, Instant, NodeId, Now, Outbox, TimerId};
use state::Slot;
use std::collections::VecDeque;
use wire::{Outcome, frame};

/// Fires when the oldest request that another node has may have waited too long.
pub(crate) const PATIENCE: TimerId = TimerId(1);
/// How long a dial may take. Longer than a lost packet of its handshake costs (1 s), twice.
const DIAL_WITHIN: Duration = Duration::from_secs(3);
/// How long another node may be silent while it has requests of ours. Over it the connection is cut.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// The verb of the first frame.
const AGREE: &[u8] = b"nodes ";

/// The ways from this core to the other nodes.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// By node; this node's own is never used. Empty when this node has all keys.
    ways: Vec<Way>,
    /// What both sides of a way must have.
    fingerprint: u64,
    /// Ways whose output has no room.
    full: usize,
    has_wake: bool,
    /// Requests passed on, ever.
    pub(crate) forwarded: u64,
    /// Those that were answered by a failure of the way.
    pub(crate) failed: u64,
}

/// One of them.
#[derive(Debug)]
struct Way {
    to: Node,
    /// None when it must be dialled.
    conn: Option<ConnId>,
    /// The other node has said that its list is ours.
    has_agreed: bool,
    is_full: bool,
    /// Who waits, in the order of the requests: at most `places_max` of each client.
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    asker: Asker,
    asked: Instant,
}

impl Ways {
    /// The ways to these nodes; none is dialled.
    pub(crate) fn new(nodes: &[Node]) -> Self {
        let way = |to: &Node| Way {
            to: *to,
            conn: None,
            has_agreed: false,
            is_full: false,
            waiting: VecDeque::new(),
        };
        Self { ways: nodes.iter().map(way).collect(), fingerprint: fingerprint(nodes), ..Self::default() }
    }

    /// Whether there are other nodes that may have a key.
    pub(crate) fn is_empty(&self) -> bool {
        self.ways.is_empty()
    }

    /// Whether a request might find its way full.
    pub(crate) fn is_full(&self) -> bool {
        self.full > 0
    }

    fn of(&self, conn: ConnId) -> Option<usize> {
        self.ways.iter().position(|way| way.conn == Some(conn))
    }

    fn fill(&mut self, index: usize, is_full: bool) {
        let before = core::mem::replace(&mut self.ways[index].is_full, is_full);
        self.full = self.full + usize::from(is_full) - usize::from(before);
    }
}

impl Dht {
    /// An act on a key that another node has.
    #[cold]
    pub(crate) fn elsewhere(
        &mut self,
        now: Now,
        session: &mut Session,
        op: Op<'_>,
        shape: Shape,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let slot = Slot::of(op.key);
        let node = self.placement.owner(slot).0;
        match (&session.speaks, session.is_node) {
            (Speaks::Resp { .. }, _) => {
                let refusal = self.moved(slot, node);
                self.refuse(session, &refusal, out);
            }
            (Speaks::Frames, true) => self.fail_at_once(session, "this node does not have that key", out),
            (Speaks::Frames, false) => self.forward(now, session, node, &op, shape, out),
        }
    }

    /// Why these keys cannot be served here together, if so.
    pub(crate) fn refuse_keys<'k>(&self, keys: impl Iterator<Item = &'k [u8]>) -> Option<Refusal> {
        if self.ways.is_empty() {
            return None;
        }
        let mut slots = keys.map(Slot::of);
        let first = slots.next()?;
        if slots.any(|slot| slot != first) {
            return Some(Refusal::Says("CROSSSLOT Keys in request don't hash to the same slot".into()));
        }
        let node = self.placement.owner(first).0;
        (node != self.seat.node).then(|| self.moved(first, node))
    }

    /// A node has said which list it has. Only with the same one may it ask.
    pub(crate) fn agree(&mut self, session: &mut Session, said: u64, out: &mut impl Outbox<Said = Said>) {
        if self.ways.is_empty() {
            self.fail_at_once(session, "this node has all keys and shares none", out);
            session.is_closing = true;
        } else if said != self.ways.fingerprint {
            self.fail_at_once(session, "this node has another list of nodes", out);
            session.is_closing = true;
        } else {
            session.is_node = true;
            self.tell_frame(session, frame::Reply::Success, out);
        }
    }

    /// Bytes of a connection that no client has.
    pub(crate) fn hear_node(
        &mut self,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let limits = self.config.limits;
        let text_max = frame::text_max(limits.key_max, limits.value_max);
        // Answering may lose the way; what is left then is nobody's.
        while let Some(index) = self.ways.of(conn) {
            match frame::read(input.bytes(), text_max) {
                Outcome::Done { value, used } if self.ways.ways[index].has_agreed => {
                    let Some(Waiting { asker, .. }) = self.ways.ways[index].waiting.pop_front() else {
                        return self.cut(index, "sent a reply that nobody asked for", out);
                    };
                    if value.len() < BLOB_MIN {
                        input.used(used);
                        self.hear(asker, Reply::Bulk(value), out);
                    } else {
                        input.used(frame::HEADER);
                        let blob = input.take(value.len());
                        self.hear(asker, Reply::Blob(blob), out);
                    }
                }
                Outcome::Done { value: b"SUCCESS", used } => {
                    input.used(used);
                    self.ways.ways[index].has_agreed = true;
                }
                Outcome::Done { value, .. } => {
                    let said = value.strip_prefix(b"FAILURE ").unwrap_or(b"it shares no list of nodes");
                    let why = format!("refuses: {}", String::from_utf8_lossy(said));
                    return self.cut(index, &why, out);
                }
                Outcome::Partial { need } => {
                    if need >= BLOB_MIN {
                        input.need(need);
                    }
                    return;
                }
                Outcome::Fault(_) => return self.cut(index, "does not speak framed text", out),
            }
        }
    }

    /// A connection that no client has came to an end, half or whole.
    pub(crate) fn node_ends(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        if let Some(index) = self.ways.of(conn) {
            self.cut(index, UNREACHABLE, out);
        }
    }

    /// A connection that no client has may be written to again.
    pub(crate) fn node_has_room(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        if let Some(index) = self.ways.of(conn) {
            self.ways.fill(index, false);
            self.read_on(out);
        }
    }

    /// The time of [`PATIENCE`] has come: nodes that were silent too long are cut off.
    pub(crate) fn cut_the_silent(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let due = |way: &Way| way.waiting.front().map(|waiting| waiting.asked + ANSWER_WITHIN);
        for index in 0..self.ways.ways.len() {
            if due(&self.ways.ways[index]).is_some_and(|due| due <= now.at) {
                self.cut(index, "does not answer", out);
            }
        }
        let next = self.ways.ways.iter().filter_map(due).min();
        self.ways.has_wake = next.is_some();
        if next.is_some() {
            out.wake(PATIENCE, next);
        }
    }

    /// Whether this session may ask for what its way has no room for. Never a node's: it asks for nothing that is
    /// passed on, and two nodes whose ways to each other are full would wait for each other.
    #[inline]
    pub(crate) fn is_held(&self, session: &Session) -> bool {
        self.ways.is_full() && !session.is_node && matches!(session.speaks, Speaks::Frames)
    }

    fn forward(
        &mut self,
        now: Now,
        session: &mut Session,
        node: NodeId,
        op: &Op<'_>,
        shape: Shape,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let index = usize::from(node.0);
        let conn = self.way(now, index, out);
        write(conn, op, shape, out);
        // The other node's words are passed on as they are, as the value that any text is.
        let asker = Asker {
            conn: session.conn.0.to_bits(),
            ticket: session.pipeline.wait().0,
            shape: Shape::Get,
            command: 0,
        };
        self.ways.ways[index].waiting.push_back(Waiting { asker, asked: now.at });
        self.ways.forwarded += 1;
        if out.room(conn) == 0 {
            self.ways.fill(index, true);
        }
        if !core::mem::replace(&mut self.ways.has_wake, true) {
            out.wake(PATIENCE, Some(now.at + ANSWER_WITHIN));
        }
    }

    /// The connection to a node, dialled and greeted if there is none.
    fn way(&mut self, now: Now, index: usize, out: &mut impl Outbox<Said = Said>) -> ConnId {
        let way = &mut self.ways.ways[index];
        if let Some(conn) = way.conn {
            return conn;
        }
        let by = now.at + DIAL_WITHIN;
        let conn = out.dial(Dial { to: Address::Ip(way.to.frame), from: None, tls: None, by });
        way.conn = Some(conn);
        let mut greeting = Vec::new();
        frame::write(&mut greeting, &[AGREE, format!("{:016x}", self.ways.fingerprint).as_bytes()]);
        out.write(conn, &greeting);
        conn
    }

    /// Ends a way; who waits on it is told why.
    fn cut(&mut self, index: usize, why: &str, out: &mut impl Outbox<Said = Said>) {
        self.ways.fill(index, false);
        let way = &mut self.ways.ways[index];
        way.has_agreed = false;
        if let Some(conn) = way.conn.take() {
            out.close(conn, Close::Now);
        }
        let waiting = core::mem::take(&mut way.waiting);
        self.ways.failed += waiting.len() as u64;
        let words = format!("FAILURE node {index} {why}");
        for Waiting { asker, .. } in waiting {
            self.hear(asker, Reply::Bulk(words.as_bytes()), out);
        }
        self.read_on(out);
    }

    /// Goes on with clients that were held back by a full way.
    fn read_on(&mut self, out: &mut impl Outbox<Said = Said>) {
        let paused: Vec<ConnId> =
            self.sessions.iter().filter(|session| session.is_paused).map(|session| session.conn).collect();
        for conn in paused {
            if let Some(session) = self.sessions.take(conn) {
                self.settle(session, out);
            }
        }
    }

    fn moved(&self, slot: Slot, node: NodeId) -> Refusal {
        let to = &self.ways.ways[usize::from(node.0)].to;
        let slot = slot.number();
        Refusal::Says(match to.resp {
            Some(resp) => format!("MOVED {slot} {resp}").into(),
            None => format!(
                "ERR slot {slot} is on node {}, whose RESP port is not in the list of nodes; it speaks framed text at {}",
                node.0, to.frame
            )
            .into(),
        })
    }

    fn fail_at_once(&mut self, session: &mut Session, why: &str, out: &mut impl Outbox<Said = Said>) {
        self.tell_frame(session, frame::Reply::Failure(why.as_bytes()), out);
    }

    fn tell_frame(
        &mut self,
        session: &mut Session,
        reply: frame::Reply<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let mut bytes = Vec::new();
        frame::write_reply(&mut bytes, reply);
        answer::at_once(session, &mut self.direct, Raw(&bytes), Shape::Get, out);
    }
}

const UNREACHABLE: &str = "cannot be reached";

/// The list that a node says it has, if this is the frame that says so.
pub(crate) fn agreed(text: &[u8]) -> Option<u64> {
    let digits = text.strip_prefix(AGREE).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

/// The request as its client wrote it.
fn write(conn: ConnId, op: &Op<'_>, shape: Shape, out: &mut impl Outbox) {
    let (verb, between): (&[u8], &[u8]) = match shape {
        Shape::Put => (b"put ", b" "),
        Shape::Rem => (b"rem ", b""),
        Shape::Get | Shape::Two | Shape::Three | Shape::Silent => (b"get ", b""),
    };
    let length = verb.len() + op.key.len() + between.len() + op.payload.bytes().len();
    let mut bytes = Vec::with_capacity(frame::HEADER + length);
    bytes.extend_from_slice(&frame::header(length));
    for part in [verb, op.key, between] {
        bytes.extend_from_slice(part);
    }
    match &op.payload {
        Payload::Bytes(value) => {
            bytes.extend_from_slice(value);
            out.write(conn, &bytes);
        }
        Payload::Blob(blob) => {
            out.write(conn, &bytes);
            out.write_blob(conn, blob.clone());
        }
    }
}
