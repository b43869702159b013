//! The sockets by which one member of a troop speaks to the others: each dialled when there is first something to
//! say, and again when it has ended and there is more.
//!
//! What is said waits until the socket is open, in order and bounded. What was under way when a socket ends is lost
//! with it: between living processes of one machine that does not happen, and who has died is not spoken to.

use crate::peer::Said;
use core::time::Duration;
use machine::{Address, Close, ConnId, Dial, Input, Instant, Now, Outbox, Stream};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use wire::Outcome;
use wire::http::{Asked, Limits, ResponseReader};
use wire::websocket::{Heard, Socket, request};

/// The longest message that a member takes of another: a tree of all units, many times over.
const MESSAGE_MAX: usize = 4 << 20;

/// Bytes that may wait for a member who cannot be reached; past it the oldest are dropped, as if a line were cut.
const WAITING_MAX: usize = 8 << 20;

/// How long a connection may take on this machine.
const DIAL: Duration = Duration::from_secs(2);

/// How long until a member who refused is dialled again: it may just be starting.
const AGAIN: Duration = Duration::from_millis(50);

/// What is said to a member.
#[derive(Clone, Debug)]
pub(crate) enum Saying {
    /// A wave's message.
    Text(String),
    /// Anything else.
    Bytes(Vec<u8>),
}

impl Saying {
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

#[derive(Debug)]
enum State {
    Closed,
    /// Dialled, or waiting for the answer to the handshake, which must carry these words.
    Asking(ConnId, ResponseReader, String),
    Open(ConnId, Box<Socket>),
}

#[derive(Debug)]
struct Line {
    to: SocketAddr,
    state: State,
    waiting: Vec<Saying>,
    again_at: Option<Instant>,
}

/// One member's lines to the others.
#[derive(Debug)]
pub(crate) struct Lines {
    lines: BTreeMap<u16, Line>,
    by_conn: BTreeMap<ConnId, u16>,
    nonces: Stream,
}

impl Lines {
    pub(crate) fn new(nonces: Stream) -> Self {
        Self { lines: BTreeMap::new(), by_conn: BTreeMap::new(), nonces }
    }

    /// Whether a connection is one of these.
    pub(crate) fn has(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// When a member is to be dialled again.
    pub(crate) fn next_again(&self) -> Option<Instant> {
        self.lines.values().filter_map(|line| line.again_at).min()
    }

    /// Says something to a member who is at that address.
    pub(crate) fn say(
        &mut self,
        now: Now,
        member: u16,
        to: SocketAddr,
        saying: Saying,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let line = self.lines.entry(member).or_insert_with(|| Line {
            to,
            state: State::Closed,
            waiting: Vec::new(),
            again_at: None,
        });
        if let State::Open(conn, socket) = &mut line.state {
            write(*conn, socket, &saying, out);
            return;
        }
        line.waiting.push(saying);
        let mut bytes: usize = line.waiting.iter().map(Saying::len).sum();
        while bytes > WAITING_MAX {
            bytes -= line.waiting.remove(0).len();
        }
        if matches!(line.state, State::Closed) && line.again_at.is_none() {
            self.dial(now, member, out);
        }
    }

    fn dial(&mut self, now: Now, member: u16, out: &mut impl Outbox<Said = Said>) {
        let Some(line) = self.lines.get_mut(&member) else { return };
        line.again_at = None;
        let conn = out.dial(Dial { to: Address::Ip(line.to), from: None, tls: None, by: now.at + DIAL });
        let nonce =
            (u128::from(self.nonces.next_u64()) << 64 | u128::from(self.nonces.next_u64())).to_le_bytes();
        let (head, accept) = request(&line.to.to_string(), "/ws", nonce);
        out.write(conn, head.as_bytes());
        line.state = State::Asking(conn, ResponseReader::new(Limits::default()), accept);
        self.by_conn.insert(conn, member);
    }

    /// A member has died: nothing more is said to it.
    pub(crate) fn forget(&mut self, member: u16, out: &mut impl Outbox<Said = Said>) {
        let Some(line) = self.lines.remove(&member) else { return };
        if let State::Asking(conn, ..) | State::Open(conn, _) = line.state {
            self.by_conn.remove(&conn);
            out.close(conn, Close::Now);
        }
    }

    /// Dials those who are due.
    pub(crate) fn again(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let due = self.lines.iter().filter(|(_, line)| line.again_at.is_some_and(|at| at <= now.at));
        let due: Vec<u16> = due.map(|(member, _)| *member).collect();
        for member in due {
            self.dial(now, member, out);
        }
    }

    /// Bytes have come: what a member says by the socket that we dialled.
    pub(crate) fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Vec<(u16, Saying)> {
        let mut heard = Vec::new();
        let Some(&member) = self.by_conn.get(&conn) else { return heard };
        let Some(line) = self.lines.get_mut(&member) else { return heard };
        if let State::Asking(_, reader, accept) = &mut line.state {
            let is_granted = match reader.next(input.bytes(), Asked::Upgrade) {
                Outcome::Partial { need: _ } => return heard,
                Outcome::Done { value, used } => {
                    let said = value.fields.get("sec-websocket-accept");
                    let is_granted = value.status == 101 && said == Some(accept.as_bytes());
                    input.used(used);
                    is_granted
                }
                Outcome::Fault(_) => false,
            };
            if !is_granted {
                input.used(input.bytes().len());
                out.close(conn, Close::Now);
                self.on_end(now, conn);
                return heard;
            }
            let mut socket = Box::new(Socket::client(MESSAGE_MAX));
            for saying in line.waiting.drain(..) {
                write(conn, &mut socket, &saying, out);
            }
            line.state = State::Open(conn, socket);
        }
        let State::Open(_, socket) = &mut line.state else { return heard };
        let before = input.bytes();
        let (mut rest, mut answer) = (before, Vec::new());
        let mut is_over = false;
        while let Some(what) = socket.take(&mut rest, &mut answer) {
            match what {
                Heard::Text(text) => heard.push((member, Saying::Text(text.to_string()))),
                Heard::Binary(data) => heard.push((member, Saying::Bytes(data.to_vec()))),
                Heard::Pong => {}
                Heard::Over => is_over = true,
            }
        }
        input.used(before.len() - rest.len());
        if !answer.is_empty() {
            out.write(conn, &answer);
        }
        if is_over {
            out.close(conn, Close::Flushed);
            self.on_end(now, conn);
        }
        heard
    }

    /// A dial failed, or a socket has ended.
    pub(crate) fn on_end(&mut self, now: Now, conn: ConnId) {
        let Some(member) = self.by_conn.remove(&conn) else { return };
        let Some(line) = self.lines.get_mut(&member) else { return };
        line.state = State::Closed;
        line.again_at = (!line.waiting.is_empty()).then_some(now.at + AGAIN);
    }
}

fn write(conn: ConnId, socket: &mut Socket, saying: &Saying, out: &mut impl Outbox<Said = Said>) {
    let mut draft = Vec::new();
    match saying {
        Saying::Text(text) => socket.text(text, &mut draft),
        Saying::Bytes(bytes) => socket.binary(bytes, &mut draft),
    };
    out.write(conn, &draft);
}
