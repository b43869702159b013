//! What they say: bytes become asks, parts of bodies and messages, one at a time, in order.

use crate::answer::Answer;
use crate::ask::{Ask, AskId};
use crate::live::GAUGES;
use crate::place::Place;
use crate::route::Speech;
use crate::session::{Reading, Session};
use crate::site::Site;
use machine::{ConnId, Input, Now, Outbox};
use std::borrow::Cow;
use wire::Outcome;
use wire::http::{Framing, Method, RequestHead};
use wire::websocket::{Data, Text};

/// What came.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "it lives on the stack for one match")]
pub enum Event<'i, R> {
    /// A request.
    Ask(Ask<'i, R>),
    /// A part of the body of an ask that was told before.
    Part(AskId, &'i [u8]),
    /// That body is whole.
    Whole(AskId),
    /// A message by a WebSocket.
    Message(ConnId, Message),
}

/// What came by a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text.
    Text(Text),
    /// Bytes.
    Binary(Data),
}

/// What one step of reading came to.
#[allow(clippy::large_enum_variant, reason = "it lives on the stack for one match")]
pub(crate) enum Step<'i, R> {
    Event(Event<'i, R>),
    /// It went on; look again.
    Again,
    /// Nothing more can be read now.
    Wait,
}

impl<R: Copy> Site<R> {
    /// The next that came on a connection of the face. To be called until it gives none; what it gives may be
    /// answered in between.
    pub fn take<'i>(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'i>,
        out: &mut impl Outbox,
    ) -> Option<Event<'i, R>> {
        let mut session = self.sessions.take(conn)?;
        let event = loop {
            match self.step(now, &mut session, input, out) {
                Step::Event(event) => break Some(event),
                Step::Again => {}
                Step::Wait => break None,
            }
        };
        self.settle(now, session, out);
        event
    }

    fn step<'i>(
        &mut self,
        now: Now,
        session: &mut Session,
        input: &mut Input<'i>,
        out: &mut impl Outbox,
    ) -> Step<'i, R> {
        match &mut session.reading {
            Reading::Head => self.read_head(now, session, input, out),
            Reading::Whole(_) => self.read_whole(now, session, input, out),
            Reading::Parts(..) => self.read_part(now, session, input, out),
            Reading::Skip(_) => self.skip(now, session, input, out),
            Reading::Asked(_) => pause(session, out),
            Reading::Socket(_) => self.read_socket(now, session, input, out),
            Reading::Stream(_) | Reading::Nothing => {
                input.used(input.bytes().len());
                Step::Wait
            }
        }
    }

    fn read_head<'i>(
        &mut self,
        now: Now,
        session: &mut Session,
        input: &mut Input<'i>,
        out: &mut impl Outbox,
    ) -> Step<'i, R> {
        if !session.may_read(&self.face.limits, out) {
            return pause(session, out);
        }
        let bytes = input.bytes();
        if bytes.is_empty() {
            return Step::Wait;
        }
        let had_begun = session.reader.has_begun();
        match session.reader.next(bytes) {
            Outcome::Done { value: head, used } => self.begin_request(now, session, (head, used), input, out),
            Outcome::Partial { need } => {
                input.need(need);
                if !had_begun {
                    session.began = now.at;
                }
                Step::Wait
            }
            Outcome::Fault(fault) => {
                self.counts.faults += 1;
                let id = session.place(Session::LAST);
                self.refuse(now, session, id, fault.status(), fault.sentence(), out);
                Step::Again
            }
        }
    }

    /// A head is there: what it is for decides what becomes of its body.
    fn begin_request<'i>(
        &mut self,
        now: Now,
        session: &mut Session,
        (head, used): (RequestHead<'i>, usize),
        input: &mut Input<'i>,
        out: &mut impl Outbox,
    ) -> Step<'i, R> {
        session.began = now.at;
        session.came = 0;
        let id = session.place(self.manner(&head));
        match self.place(&head) {
            Place::Ask(_, _, speech) if self.is_foreign(&head, speech) => self.turn_down(
                now,
                session,
                (id, &head, used),
                403,
                "other origins may not ask this",
                input,
                out,
            ),
            Place::Ask(to, parameters, Speech::Socket) => {
                if head.upgrade.is_none_or(|upgrade| !wire::http::has_token(upgrade, "websocket")) {
                    let sentence = "this is for WebSockets";
                    return self.turn_down(now, session, (id, &head, used), 426, sentence, input, out);
                }
                if head.framing != Framing::None {
                    let sentence = "a handshake has no body";
                    return self.turn_down(now, session, (id, &head, used), 400, sentence, input, out);
                }
                input.used(used);
                session.reading = Reading::Asked(id);
                Step::Event(Event::Ask(Ask { id, to, head, parameters, body: Cow::Borrowed(b"") }))
            }
            Place::Ask(to, parameters, Speech::Plain(rule)) => self.begin_body(
                now,
                session,
                (id, used),
                Ask { id, to, head, parameters, body: Cow::Borrowed(b"") },
                rule,
                input,
                out,
            ),
            Place::OtherMethods(allowed) => {
                let is_asked = head.method == Method::Options;
                let id = self.let_body_pass(session, id, &head, used, input);
                self.other_methods(now, session, (id, &allowed, is_asked), out);
                Step::Again
            }
            Place::Nothing => {
                self.turn_down(now, session, (id, &head, used), 404, "there is nothing here", input, out)
            }
            Place::File(asset) => {
                let tags = head.fields.get("if-none-match").and_then(|tags| core::str::from_utf8(tags).ok());
                let has = tags.is_some_and(|tags| asset.is_among(tags));
                let id = self.let_body_pass(session, id, &head, used, input);
                self.file(now, session, (id, asset, has), out);
                Step::Again
            }
            Place::Health => {
                let id = self.let_body_pass(session, id, &head, used, input);
                let answer = match self.is_draining {
                    true => Answer::text(503, "draining\n"),
                    false => Answer::text(200, "ok\n"),
                };
                self.say(now, session, id, answer, out);
                Step::Again
            }
            Place::Metrics => {
                let id = self.let_body_pass(session, id, &head, used, input);
                self.metrics(id, out);
                Step::Again
            }
            Place::Live => {
                let id = self.let_body_pass(session, id, &head, used, input);
                self.begin_live(now, session, id, out);
                Step::Again
            }
        }
    }

    fn begin_live(&mut self, now: Now, session: &mut Session, id: AskId, out: &mut impl Outbox) {
        if id.manner.head_only {
            return self.say(now, session, id, Answer::new(200, wire::sse::MEDIA_TYPE, b""), out);
        }
        if self.is_draining {
            return self.refuse(now, session, id, 503, "draining", out);
        }
        self.begin_stream(now, session, id, GAUGES, out);
        self.watch(now, out);
    }
}

/// Reads no more for now.
pub(crate) fn pause<'i, R>(session: &mut Session, out: &mut impl Outbox) -> Step<'i, R> {
    session.is_paused = true;
    out.pause(session.conn);
    Step::Wait
}
