//! Bodies: brought whole, in parts, or let pass because nobody wants them.
//!
//! The one hard thing is a body that is brought whole. Nothing of its request is used before all of it is there, so
//! that the ask lies in the bytes that brought it and nothing is copied; its head is therefore read twice, once to
//! know what to wait for and once to tell it.

use crate::ask::{Ask, AskId, Manner};
use crate::place::Place;
use crate::read::{Event, Step, pause};
use crate::route::{BODY_MAX, BodyRule};
use crate::session::{Gather, Reading, Session, Whole};
use crate::site::{Over, Site};
use machine::pipeline::Piece;
use machine::{ConnId, Input, Now, Outbox};
use std::borrow::Cow;
use wire::Outcome;
use wire::http::{Body, Framing, Limits, RequestHead};

/// The longest body that is taken in although nobody wants it, so that the connection can go on.
const SKIP_MAX: u64 = BODY_MAX as u64;

/// A body's raw bytes may be so many times its payload, chunk lines included; over it the answer is 413.
const RAW_FACTOR: usize = 8;

impl<R: Copy> Site<R> {
    /// A request of the system's own: told at once, or with its whole body, or before its parts.
    pub(crate) fn begin_body<'i>(
        &mut self,
        now: Now,
        session: &mut Session,
        (id, used): (AskId, usize),
        ask: Ask<'i, R>,
        rule: BodyRule,
        input: &mut Input<'i>,
        out: &mut impl Outbox,
    ) -> Step<'i, R> {
        let (most, in_parts) = match rule {
            BodyRule::Whole(most) => (most as u64, false),
            BodyRule::Parts(most) => (most, true),
        };
        let framing = ask.head.framing;
        if framing == Framing::None {
            input.used(used);
            return Step::Event(Event::Ask(ask));
        }
        if matches!(framing, Framing::Length(length) if length > most) {
            let sentence = "the body is longer than is taken here";
            return self.turn_down(now, session, (id, &ask.head, used), 413, sentence, input, out);
        }
        if ask.head.expects_continue && input.bytes().len() == used {
            let conn = session.conn;
            let piece = Piece::Bytes(b"HTTP/1.1 100 Continue\r\n\r\n");
            session.pipeline.part(id.ticket, piece, &mut |piece| out.write_piece(conn, piece));
        }
        let body = Body::new(framing, Limits { body_max: most, ..self.face.limits.http });
        if in_parts {
            input.used(used);
            session.reading = Reading::Parts(id, body);
            return Step::Event(Event::Ask(ask));
        }
        let how = match framing {
            Framing::Length(length) => Gather::Length(used + length as usize),
            Framing::Chunked | Framing::None | Framing::UntilClose | Framing::Tunnel => {
                Gather::Chunks { body: Box::new(body), at: used, plain: Vec::new() }
            }
        };
        session.reading = Reading::Whole(Whole { id, how });
        Step::Again
    }

    /// Within a body that is brought whole: told with its request once it is.
    pub(crate) fn read_whole<'i>(
        &mut self,
        now: Now,
        session: &mut Session,
        input: &mut Input<'i>,
        out: &mut impl Outbox,
    ) -> Step<'i, R> {
        let Reading::Whole(whole) = &mut session.reading else { return Step::Again };
        let bytes = input.bytes();
        let id = whole.id;
        let end = match &mut whole.how {
            Gather::Length(total) if bytes.len() < *total => {
                input.need(*total);
                return Step::Wait;
            }
            Gather::Length(total) => *total,
            Gather::Chunks { body, at, plain } => {
                if let Err(fault) = gather(body, bytes, at, plain) {
                    self.counts.faults += 1;
                    return self.broken(now, session, id, (fault.status(), fault.sentence()), out);
                }
                let raw_max = self.face.limits.http.head_max + RAW_FACTOR * (plain.len() + BODY_MAX);
                if bytes.len() > raw_max {
                    let sentence = "the chunks are smaller than what surrounds them";
                    return self.broken(now, session, id, (413, sentence), out);
                }
                if !body.is_done() {
                    return Step::Wait;
                }
                *at
            }
        };
        let Reading::Whole(whole) = core::mem::replace(&mut session.reading, Reading::Head) else {
            return Step::Again;
        };
        let Outcome::Done { value: head, used } = session.reader.next(bytes) else {
            unreachable!("the head was read before, from the same bytes")
        };
        let Place::Ask(to, parameters, _) = self.place(&head) else {
            unreachable!("the request was the system's before")
        };
        input.used(end);
        let body = match whole.how {
            Gather::Length(_) => Cow::Borrowed(&bytes[used..end]),
            Gather::Chunks { plain, .. } => Cow::Owned(plain),
        };
        Step::Event(Event::Ask(Ask { id, to, head, parameters, body }))
    }

    /// Within a body that is brought in parts.
    pub(crate) fn read_part<'i>(
        &mut self,
        now: Now,
        session: &mut Session,
        input: &mut Input<'i>,
        out: &mut impl Outbox,
    ) -> Step<'i, R> {
        let may_read = !session.is_held && out.room(session.conn) > 0;
        let Reading::Parts(id, body) = &mut session.reading else { return Step::Again };
        let (id, bytes) = (*id, input.bytes());
        // Told even while it is held: nothing more may come to tell it with.
        if body.is_done() {
            session.reading = Reading::Head;
            session.is_held = false;
            return Step::Event(Event::Whole(id));
        }
        if !may_read {
            return pause(session, out);
        }
        if bytes.is_empty() {
            return Step::Wait;
        }
        match body.next(bytes) {
            Ok(piece) => {
                input.used(piece.used);
                session.came += piece.used as u64;
                match piece.payload.is_empty() {
                    true => Step::Again,
                    false => Step::Event(Event::Part(id, &bytes[piece.payload])),
                }
            }
            Err(fault) => {
                self.counts.faults += 1;
                self.overs.push_back(Over::Parts(id));
                self.broken(now, session, id, (fault.status(), fault.sentence()), out)
            }
        }
    }

    /// Within a body that nobody wants.
    pub(crate) fn skip<'i>(
        &mut self,
        now: Now,
        session: &mut Session,
        input: &mut Input<'i>,
        out: &mut impl Outbox,
    ) -> Step<'i, R> {
        let _ = (now, out);
        let Reading::Skip(body) = &mut session.reading else { return Step::Again };
        if body.is_done() {
            session.reading = Reading::Head;
            return Step::Again;
        }
        if input.bytes().is_empty() {
            return Step::Wait;
        }
        match body.next(input.bytes()) {
            Ok(piece) => input.used(piece.used),
            // The request was answered; there is nothing to say, and nothing more to read.
            Err(_) => {
                session.reading = Reading::Nothing;
                session.is_closing = true;
            }
        }
        Step::Again
    }

    /// The framing of a body is broken: its request's answer says so, and nothing follows.
    pub(crate) fn broken<'i>(
        &mut self,
        now: Now,
        session: &mut Session,
        id: AskId,
        (status, sentence): (u16, &str),
        out: &mut impl Outbox,
    ) -> Step<'i, R> {
        let id = AskId { manner: Session::LAST, ..id };
        self.refuse(now, session, id, status, sentence, out);
        Step::Again
    }

    /// Refuses a request whose body nobody reads.
    pub(crate) fn turn_down<'i>(
        &mut self,
        now: Now,
        session: &mut Session,
        (id, head, used): (AskId, &RequestHead<'i>, usize),
        status: u16,
        sentence: &str,
        input: &mut Input<'i>,
        out: &mut impl Outbox,
    ) -> Step<'i, R> {
        let id = self.let_body_pass(session, id, head, used, input);
        self.refuse(now, session, id, status, sentence, out);
        Step::Again
    }

    /// Lets a body pass that nobody wants. Where it is long, or they may never send it, the connection ends instead:
    /// the id that is given says so.
    pub(crate) fn let_body_pass<'i>(
        &self,
        session: &mut Session,
        id: AskId,
        head: &RequestHead<'i>,
        used: usize,
        input: &mut Input<'i>,
    ) -> AskId {
        let waits = head.expects_continue && input.bytes().len() == used;
        input.used(used);
        let passes = match head.framing {
            Framing::None => return id,
            Framing::Length(length) => length <= SKIP_MAX && !waits,
            Framing::Chunked => !waits,
            Framing::UntilClose | Framing::Tunnel => false,
        };
        if passes && id.manner.keeps {
            let limits = Limits { body_max: SKIP_MAX, ..self.face.limits.http };
            session.reading = Reading::Skip(Body::new(head.framing, limits));
            return id;
        }
        AskId { manner: Manner { keeps: false, ..id.manner }, ..id }
    }

    /// Takes no more of that connection's body for now, until [`go_on`](Self::go_on).
    pub fn hold(&mut self, conn: ConnId) {
        if let Some(session) = self.sessions.get_mut(conn) {
            session.is_held = true;
        }
    }

    /// Takes again what was held back.
    pub fn go_on(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox) {
        let Some(mut session) = self.sessions.take(conn) else { return };
        session.is_held = false;
        session.began = now.at;
        session.came = 0;
        self.settle(now, session, out);
    }
}

/// The chunks that are there, as what they hold.
fn gather(
    body: &mut Body,
    bytes: &[u8],
    at: &mut usize,
    plain: &mut Vec<u8>,
) -> Result<(), wire::http::Fault> {
    while *at < bytes.len() && !body.is_done() {
        let piece = body.next(&bytes[*at..])?;
        plain.extend_from_slice(&bytes[*at..][piece.payload]);
        *at += piece.used;
    }
    Ok(())
}
