//! A replica as shipped: what `balancer replica` runs.
//!
//! It says hello with its number, answers heartbeats, and knows nothing else. It is a shard of its own, so that it can
//! bear what the balancer sends it, and so that the simulated world can run it too.

use machine::{
    Address, Blob, Chance, Close, ConnId, End, Gauges, Input, Now, Opened, Order, Outbox, Peer, Seat, Shard,
};
use rkyv::{Archive, Serialize};
use std::collections::BTreeMap;
use wire::Outcome;
use wire::http::{Body, Framing, HeadWriter, Limits, Method, RequestReader, Version};

/// What a replica is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where it listens.
    pub listen: Address,
    /// Its number.
    pub id: u64,
}

/// Cores of a replica have nothing to say to each other.
#[derive(Archive, Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Nothing;

#[derive(Debug)]
struct Conn {
    reader: RequestReader,
    /// What is left of the request's body, and the answer that waits for its end.
    body: Option<(Body, Answer)>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    text: String,
    version: Version,
    persists: bool,
    is_head: bool,
}

/// A replica.
#[derive(Debug)]
pub struct Replica {
    config: Config,
    conns: BTreeMap<ConnId, Conn>,
    scratch: Vec<u8>,
    requests: u64,
}

impl Replica {
    fn answer(&self, method: Method<'_>, path: &str) -> (u16, String) {
        match (method, path) {
            (Method::Get | Method::Head, "/home") => {
                let id = self.config.id;
                (200, format!("{{\"message\":\"Hello from Server: {id}\",\"status\":\"successful\"}}\n"))
            }
            (Method::Get | Method::Head, "/heartbeat") => (200, String::new()),
            _ => (404, crate::control::failure("Page not found")),
        }
    }

    fn say(&mut self, conn: ConnId, answer: &Answer, out: &mut impl Outbox<Said = Nothing>) {
        self.requests += 1;
        self.scratch.clear();
        let mut writer = HeadWriter::response(&mut self.scratch, Version::Http11, answer.status, "");
        writer.known("Content-Type", "application/json");
        writer.framing(Framing::Length(answer.text.len() as u64));
        writer.persistence(answer.version, answer.persists);
        writer.end();
        if !answer.is_head {
            self.scratch.extend_from_slice(answer.text.as_bytes());
        }
        out.write(conn, &self.scratch);
        if !answer.persists {
            self.conns.remove(&conn);
            out.close(conn, Close::Flushed);
        }
    }

    /// One step of a connection; false when more must come, or it is over.
    fn step(&mut self, conn: ConnId, input: &mut Input<'_>, out: &mut impl Outbox<Said = Nothing>) -> bool {
        let Some(each) = self.conns.get_mut(&conn) else { return false };
        if let Some((body, _)) = &mut each.body {
            let Ok(piece) = body.next(input.bytes()) else {
                self.conns.remove(&conn);
                out.close(conn, Close::Now);
                return false;
            };
            input.used(piece.used);
            if !body.is_done() {
                return piece.used > 0;
            }
            if let Some((_, answer)) = each.body.take() {
                self.say(conn, &answer, out);
            }
            return true;
        }
        match each.reader.next(input.bytes()) {
            Outcome::Done { value: head, used } => {
                let body = Body::new(head.framing, Limits::default());
                let (status, text) = self.answer(head.method, head.path());
                let (version, persists) = (head.version, head.persistent);
                let is_head = head.method == Method::Head;
                let answer = Answer { status, text, version, persists, is_head };
                if head.expects_continue && !body.is_done() {
                    out.write(conn, b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                input.used(used);
                if body.is_done() {
                    self.say(conn, &answer, out);
                } else if let Some(each) = self.conns.get_mut(&conn) {
                    each.body = Some((body, answer));
                }
                true
            }
            Outcome::Partial { need: _ } => false,
            Outcome::Fault(fault) => {
                let (status, text) = (fault.status(), crate::control::failure(&fault.to_string()));
                let answer =
                    Answer { status, text, version: Version::Http11, persists: false, is_head: false };
                self.say(conn, &answer, out);
                false
            }
        }
    }
}

impl Shard for Replica {
    type Config = Config;
    type Said = Nothing;
    type Heard = ArchivedNothing;

    fn new(_: Seat, config: &Config, _: Chance) -> Self {
        Self { config: config.clone(), conns: BTreeMap::new(), scratch: Vec::new(), requests: 0 }
    }

    fn on_start(&mut self, _: Now, out: &mut impl Outbox<Said = Nothing>) {
        out.listen(self.config.listen.clone());
    }

    fn on_open(&mut self, _: Now, conn: ConnId, _: Opened, _: &mut impl Outbox<Said = Nothing>) {
        self.conns.insert(conn, Conn { reader: RequestReader::new(Limits::default()), body: None });
    }

    fn on_bytes(
        &mut self,
        _: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Nothing>,
    ) {
        while !input.bytes().is_empty() && self.step(conn, input, out) {}
    }

    fn on_end(&mut self, _: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Nothing>) {
        if self.conns.remove(&conn).is_some() && end == End::Half {
            out.close(conn, Close::Flushed);
        }
    }

    fn on_peer(
        &mut self,
        _: Now,
        _: Peer,
        _: &ArchivedNothing,
        _: Option<Blob>,
        _: &mut impl Outbox<Said = Nothing>,
    ) {
        unreachable!("cores of a replica say nothing to each other")
    }

    fn on_order(&mut self, _: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Nothing>) {
        match order {
            Order::Reload(_) => {}
            Order::Drain { by: _ } => out.drained(),
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        into.counter("replica_requests_total", "requests answered", self.requests);
    }
}
