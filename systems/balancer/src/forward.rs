//! Requests of ours that the process which took over must answer: said to it on its admin port, and its words passed
//! back. Only those that a client had sent before it knew of the other, so there are few.

use crate::config::Config;
use crate::control::{self, Verb};
use crate::fleet::{Asker, Held};
use crate::peer::Said;
use machine::{Address, Close, ConnId, Dial, Input, Now, Outbox};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wire::Outcome;
use wire::http::{Asked, Body, Limits, ResponseReader};

/// Bytes of an answer: the longest lists all replicas.
const ANSWER_MAX: usize = 1 << 20;

#[derive(Debug)]
struct Forward {
    asker: Asker,
    reader: ResponseReader,
    status: u16,
    body: Option<Body>,
    text: Vec<u8>,
}

/// An answer and whose it is.
pub(crate) struct Answered {
    pub(crate) asker: Asker,
    pub(crate) status: u16,
    pub(crate) text: String,
}

/// All that are under way.
#[derive(Debug, Default)]
pub(crate) struct Forwards {
    by_conn: BTreeMap<ConnId, Forward>,
}

impl Forwards {
    pub(crate) fn has(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// Says one to the process that serves now.
    pub(crate) fn ask(&mut self, config: &Config, held: &Held, now: Now, out: &mut impl Outbox<Said = Said>) {
        let by = now.at + config.waits.connect;
        let conn = out.dial(Dial { to: reachable(&config.admin), from: None, tls: None, by });
        let (method, path) = match held.verb {
            Verb::List => ("GET", "/rep"),
            Verb::Add => ("POST", "/add"),
            Verb::Remove => ("DELETE", "/rm"),
        };
        let kind = if held.is_json { "Content-Type: application/json\r\n" } else { "" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {}\r\nConnection: close\r\n\r\n",
            held.body.len()
        );
        out.write(conn, head.as_bytes());
        out.write(conn, &held.body);
        let reader = ResponseReader::new(Limits::default());
        let forward = Forward { asker: held.asker, reader, status: 0, body: None, text: Vec::new() };
        self.by_conn.insert(conn, forward);
    }

    pub(crate) fn on_bytes(
        &mut self,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Option<Answered> {
        let forward = self.by_conn.get_mut(&conn)?;
        match forward.read(input) {
            Some(true) => {
                let Forward { asker, status, text, .. } = self.by_conn.remove(&conn)?;
                out.close(conn, Close::Flushed);
                Some(Answered { asker, status, text: String::from_utf8_lossy(&text).into_owned() })
            }
            Some(false) => None,
            None => {
                input.used(input.bytes().len());
                self.on_end(conn, out)
            }
        }
    }

    /// It ended without an answer.
    pub(crate) fn on_end(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) -> Option<Answered> {
        let asker = self.by_conn.remove(&conn)?.asker;
        out.close(conn, Close::Now);
        let text = control::failure("The process that took over did not answer");
        Some(Answered { asker, status: 502, text })
    }
}

impl Forward {
    /// Whether the answer is whole; none when it is none.
    fn read(&mut self, input: &mut Input<'_>) -> Option<bool> {
        loop {
            let bytes = input.bytes();
            let Some(body) = &mut self.body else {
                match self.reader.next(bytes, Asked::Plain) {
                    Outcome::Done { value, used } => {
                        self.status = value.status;
                        let is_last = !value.is_interim();
                        self.body = is_last.then(|| Body::new(value.framing, Limits::default()));
                        input.used(used);
                    }
                    Outcome::Partial { need: _ } => return Some(false),
                    Outcome::Fault(_) => return None,
                }
                continue;
            };
            if body.is_done() || bytes.is_empty() {
                return Some(body.is_done());
            }
            let piece = body.next(bytes).ok()?;
            self.text.extend_from_slice(&bytes[piece.payload]);
            input.used(piece.used);
            if self.text.len() > ANSWER_MAX {
                return None;
            }
        }
    }
}

/// Where who listens everywhere is reached.
fn reachable(at: &Address) -> Address {
    match at {
        Address::Ip(at) if at.ip().is_unspecified() => {
            let ip =
                if at.is_ipv4() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { IpAddr::V6(Ipv6Addr::LOCALHOST) };
            Address::Ip(SocketAddr::new(ip, at.port()))
        }
        other => other.clone(),
    }
}
