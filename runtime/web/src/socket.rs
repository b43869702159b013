//! WebSockets: the handshake, and messages both ways.

use crate::answer::Answer;
use crate::ask::{Ask, AskId, Manner};
use crate::read::{Event, Message, Step};
use crate::session::{Reading, Session};
use crate::site::{Over, Site};
use machine::{Close, ConnId, Input, Now, Outbox};
use wire::http::RequestHead;
use wire::websocket::{Heard, Socket};

impl<R: Copy> Site<R> {
    pub(crate) fn read_socket<'i>(
        &mut self,
        now: Now,
        session: &mut Session,
        input: &mut Input<'i>,
        out: &mut impl Outbox,
    ) -> Step<'i, R> {
        let Reading::Socket(socket) = &mut session.reading else { return Step::Again };
        let before = input.bytes();
        let mut rest = before;
        self.draft.clear();
        let heard = socket.take(&mut rest, &mut self.draft);
        input.used(before.len() - rest.len());
        if before.len() > rest.len() {
            (session.beat, session.is_asked) = (now.at, false);
        }
        let conn = session.conn;
        if !self.draft.is_empty() {
            out.write(conn, &self.draft);
        }
        match heard {
            None => Step::Wait,
            Some(Heard::Pong) => Step::Again,
            Some(Heard::Text(text)) => Step::Event(Event::Message(conn, Message::Text(text))),
            Some(Heard::Binary(data)) => Step::Event(Event::Message(conn, Message::Binary(data))),
            Some(Heard::Over) => {
                self.overs.push_back(Over::Socket(conn));
                session.reading = Reading::Nothing;
                session.is_closing = true;
                Step::Again
            }
        }
    }

    /// Grants a WebSocket to an ask that came by a route for sockets. Messages follow. An ask whose handshake is not
    /// right is answered 400 instead. Whether it was granted.
    pub fn accept(&mut self, now: Now, ask: &Ask<'_, R>, out: &mut impl Outbox) -> bool {
        let Some(mut session) = self.sessions.take(ask.id.conn) else { return false };
        let is_asked = matches!(session.reading, Reading::Asked(id) if id == ask.id);
        let granted = is_asked.then(|| handshake(&ask.head)).flatten();
        match granted {
            Some(accept) => {
                let fields =
                    [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", &accept)];
                session.reading = Reading::Socket(Box::new(Socket::server(self.face.limits.message_max)));
                (session.beat, session.is_asked) = (now.at, false);
                let id = AskId { manner: Manner { keeps: true, ..ask.id.manner }, ..ask.id };
                self.say(now, &mut session, id, Answer::empty(101).with(&fields), out);
            }
            None => {
                let id = AskId { manner: Session::LAST, ..ask.id };
                self.refuse(now, &mut session, id, 400, "this is no WebSocket handshake of version 13", out);
            }
        }
        let is_granted = matches!(session.reading, Reading::Socket(_));
        self.settle(now, session, out);
        is_granted
    }

    /// Says a text by a socket. Whether it was said: not to one that is closed or takes nothing, which is then cut.
    pub fn send_text(&mut self, now: Now, conn: ConnId, text: &str, out: &mut impl Outbox) -> bool {
        self.send(now, conn, out, |socket, draft| socket.text(text, draft))
    }

    /// Says bytes by a socket.
    pub fn send_binary(&mut self, now: Now, conn: ConnId, bytes: &[u8], out: &mut impl Outbox) -> bool {
        self.send(now, conn, out, |socket, draft| socket.binary(bytes, draft))
    }

    fn send(
        &mut self,
        now: Now,
        conn: ConnId,
        out: &mut impl Outbox,
        say: impl FnOnce(&mut Socket, &mut Vec<u8>) -> bool,
    ) -> bool {
        let Some(mut session) = self.sessions.take(conn) else { return false };
        let Reading::Socket(socket) = &mut session.reading else {
            self.sessions.put_back(session);
            return false;
        };
        if out.room(conn) == 0 {
            // What cannot be said in order is not said at all; they come back and ask anew.
            self.counts.missed += 1;
            out.close(conn, Close::Now);
            self.forget(session);
            return false;
        }
        self.draft.clear();
        let said = say(socket, &mut self.draft);
        out.write(conn, &self.draft);
        self.settle(now, session, out);
        said
    }
}

/// What a handshake is answered with (RFC 6455, section 4.2.1).
fn handshake(head: &RequestHead<'_>) -> Option<String> {
    let version = head.fields.get("sec-websocket-version")?;
    let key = core::str::from_utf8(head.fields.get("sec-websocket-key")?).ok()?;
    (version == b"13").then(|| wire::websocket::accept(key)).flatten()
}
