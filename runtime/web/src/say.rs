//! What the face says: answers, refusals, the beginnings of what has no end.
//!
//! An answer is put together in one buffer, whose memory is used again, and leaves as one piece: one copy, no
//! allocation, and one send with whatever else the turn has for that connection.

use crate::answer::{Answer, Content, JSON};
use crate::ask::{AskId, Manner};
use crate::asset::Asset;
use crate::session::{Reading, Session};
use crate::site::Site;
use machine::pipeline::Piece;
use machine::{ConnId, Now, Outbox, WallTime};
use serde::Serialize;
use wire::http::{DATE_BYTES, Framing, HeadWriter, Version, chunk};

/// From this many bytes on a body is not copied behind its head but written by itself.
const TOGETHER_MAX: usize = 32 * 1024;

/// Seconds after which who was refused for want of room may try again.
const RETRY_AFTER: &str = "1";

/// The date of the second at hand: nearly every answer of a second carries the same.
#[derive(Debug)]
pub(crate) struct Date {
    second: u64,
    text: [u8; DATE_BYTES],
}

impl Default for Date {
    fn default() -> Self {
        Self { second: 0, text: wire::http::date(0) }
    }
}

impl Date {
    fn at(&mut self, wall: WallTime) -> [u8; DATE_BYTES] {
        let second = wall.millis() / 1000;
        if second != self.second {
            *self = Self { second, text: wire::http::date(second) };
        }
        self.text
    }
}

impl<R: Copy> Site<R> {
    /// Answers an ask, now or later. One that was answered, or whose connection is gone, is not answered again.
    pub fn answer(&mut self, now: Now, id: AskId, answer: Answer<'_>, out: &mut impl Outbox) {
        let Some(mut session) = self.sessions.take(id.conn) else { return };
        self.say(now, &mut session, id, answer, out);
        self.settle(now, session, out);
    }

    /// Answers an ask with a value as JSON.
    ///
    /// # Panics
    /// When the value cannot be JSON (a map whose keys are no texts): a mistake of ours.
    pub fn json(&mut self, now: Now, id: AskId, status: u16, value: &impl Serialize, out: &mut impl Outbox) {
        let mut text = core::mem::take(&mut self.live.text);
        text.clear();
        serde_json::to_writer(&mut text, value).expect("the value can be JSON");
        self.answer(now, id, Answer::new(status, JSON, &text), out);
        self.live.text = text;
    }

    /// Refuses an ask in the face's own manner: the sentence in the system's form. 429 and 503 say when to try again,
    /// 405 what may be asked instead.
    pub fn refused(&mut self, now: Now, id: AskId, status: u16, sentence: &str, out: &mut impl Outbox) {
        let Some(mut session) = self.sessions.take(id.conn) else { return };
        self.refuse(now, &mut session, id, status, sentence, out);
        self.settle(now, session, out);
    }

    /// Begins an answer whose length is not known: `part` follows, then `finish`.
    pub fn begin(&mut self, now: Now, id: AskId, answer: Answer<'_>, out: &mut impl Outbox) {
        let Some(mut session) = self.sessions.take(id.conn) else { return };
        if id.manner.is_old {
            self.begin_endless(now, &mut session, id, &answer, out);
        } else {
            self.head(now, id, &answer, Framing::Chunked);
            self.piece(&mut session, id, out);
        }
        self.settle(now, session, out);
    }

    /// A part of a begun answer. A polite system looks at `out.room` first, and goes on when there is room again.
    pub fn part(&mut self, now: Now, id: AskId, bytes: &[u8], out: &mut impl Outbox) {
        let Some(mut session) = self.sessions.take(id.conn) else { return };
        self.begun_part(&mut session, id, bytes, out);
        self.settle(now, session, out);
    }

    /// A part of an answer whose head was said, in the form that they understand.
    pub(crate) fn begun_part(
        &mut self,
        session: &mut Session,
        id: AskId,
        bytes: &[u8],
        out: &mut impl Outbox,
    ) {
        self.draft.clear();
        match id.manner {
            Manner { head_only: true, .. } => {}
            Manner { is_old: true, .. } => self.draft.extend_from_slice(bytes),
            Manner { .. } => chunk::write(&mut self.draft, bytes),
        }
        self.piece(session, id, out);
    }

    /// A begun answer is whole.
    pub fn finish(&mut self, now: Now, id: AskId, out: &mut impl Outbox) {
        let Some(mut session) = self.sessions.take(id.conn) else { return };
        self.draft.clear();
        if !id.manner.head_only && !id.manner.is_old {
            self.draft.extend_from_slice(chunk::LAST);
        }
        self.piece(&mut session, id, out);
        self.done(now, &mut session, id, out);
        self.settle(now, session, out);
    }

    /// A whole answer.
    pub(crate) fn say(
        &mut self,
        now: Now,
        session: &mut Session,
        id: AskId,
        answer: Answer<'_>,
        out: &mut impl Outbox,
    ) {
        let has_body = !matches!(answer.status, 100..200 | 204 | 304);
        let framing = if has_body { Framing::Length(answer.body.len() as u64) } else { Framing::None };
        self.head(now, id, &answer, framing);
        if has_body && !id.manner.head_only {
            match answer.body {
                Content::Bytes(bytes) if bytes.len() <= TOGETHER_MAX => self.draft.extend_from_slice(bytes),
                Content::Bytes(bytes) => {
                    self.piece(session, id, out);
                    self.draft.clear();
                    pass(session, id, Piece::Bytes(bytes), out);
                }
                Content::Blob(blob) => {
                    self.piece(session, id, out);
                    self.draft.clear();
                    pass(session, id, Piece::Blob(blob), out);
                }
            }
        }
        self.piece(session, id, out);
        self.done(now, session, id, out);
    }

    /// A refusal. It is the connection's last word where the request was not understood to its end.
    pub(crate) fn refuse(
        &mut self,
        now: Now,
        session: &mut Session,
        id: AskId,
        status: u16,
        sentence: &str,
        out: &mut impl Outbox,
    ) {
        let mut text = core::mem::take(&mut self.live.text);
        text.clear();
        let media = (self.face.refusal)(status, sentence, &mut text);
        let fields: &[(&str, &str)] = match status {
            429 | 503 => &[("Retry-After", RETRY_AFTER)],
            426 => &[("Upgrade", "websocket"), ("Connection", "Upgrade")],
            _ => &[],
        };
        self.say(now, session, id, Answer::new(status, media, &text).with(fields), out);
        self.live.text = text;
        if !id.manner.keeps {
            session.reading = Reading::Nothing;
            session.is_closing = true;
        }
    }

    /// That there are only other methods here (RFC 9110, section 15.5.6), or which there are, for OPTIONS.
    pub(crate) fn other_methods(
        &mut self,
        now: Now,
        session: &mut Session,
        (id, allowed, is_asked): (AskId, &str, bool),
        out: &mut impl Outbox,
    ) {
        let fields = [
            ("Allow", allowed),
            ("Access-Control-Allow-Methods", allowed),
            ("Access-Control-Allow-Headers", "Content-Type, Idempotency-Key"),
        ];
        let fields = if id.manner.origin > 0 { &fields[..] } else { &fields[..1] };
        if is_asked {
            return self.say(now, session, id, Answer::empty(204).with(fields), out);
        }
        let mut text = Vec::new();
        let media = (self.face.refusal)(405, "this can be asked by other methods only", &mut text);
        self.say(now, session, id, Answer::new(405, media, &text).with(fields), out);
    }

    /// A file of ours; its fingerprint alone where they have it.
    pub(crate) fn file(
        &mut self,
        now: Now,
        session: &mut Session,
        (id, asset, has): (AskId, &Asset, bool),
        out: &mut impl Outbox,
    ) {
        let fields = [
            ("ETag", asset.tag()),
            ("Cache-Control", "no-cache"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'"),
        ];
        let answer = match has {
            true => Answer::empty(304),
            false => Answer::new(200, asset.media, asset.bytes),
        };
        self.say(now, session, id, answer.with(&fields), out);
    }

    /// The head of an answer behind which nothing follows on this connection.
    pub(crate) fn begin_endless(
        &mut self,
        now: Now,
        session: &mut Session,
        id: AskId,
        answer: &Answer<'_>,
        out: &mut impl Outbox,
    ) {
        let manner = Manner { keeps: false, ..id.manner };
        let framing = if manner.is_old { Framing::UntilClose } else { Framing::Chunked };
        self.head(now, AskId { manner, ..id }, answer, framing);
        self.piece(session, id, out);
        session.is_closing = true;
    }

    /// Puts a head together in the draft.
    fn head(&mut self, now: Now, id: AskId, answer: &Answer<'_>, framing: Framing) {
        let counted = usize::from(answer.status / 100).clamp(1, 5) - 1;
        self.counts.answers[counted] += 1;
        self.draft.clear();
        let date = self.date.at(now.wall);
        let mut head = HeadWriter::response(&mut self.draft, Version::Http11, answer.status, "");
        head.known("Date", date);
        if !answer.media.is_empty() {
            let written = head.field("Content-Type", answer.media);
            debug_assert!(written.is_ok(), "a media type of {:?}", answer.media);
        }
        for (name, value) in answer.fields {
            let written = head.field(name, value);
            debug_assert!(written.is_ok(), "{name}: {value:?}: {written:?}");
        }
        if let Some(origin) = usize::from(id.manner.origin).checked_sub(1) {
            let written = head.field("Access-Control-Allow-Origin", self.face.origins[origin].as_bytes());
            debug_assert!(written.is_ok(), "an origin of {:?}", self.face.origins[origin]);
            head.known("Vary", "Origin");
        }
        head.framing(framing);
        let version = if id.manner.is_old { Version::Http10 } else { Version::Http11 };
        let keeps = id.manner.keeps && !self.is_draining && framing != Framing::UntilClose;
        if answer.status != 101 {
            head.persistence(version, keeps);
        }
        head.end();
    }

    /// Passes the draft on as a part of that answer.
    pub(crate) fn piece(&self, session: &mut Session, id: AskId, out: &mut impl Outbox) {
        if !self.draft.is_empty() {
            pass(session, id, Piece::Bytes(&self.draft), out);
        }
    }

    /// That answer is whole.
    pub(crate) fn done(&mut self, now: Now, session: &mut Session, id: AskId, out: &mut impl Outbox) {
        let conn = session.conn;
        session.pipeline.done(id.ticket, &mut |piece| out.write_piece(conn, piece));
        session.quiet_since = now.at;
        session.reading = match core::mem::replace(&mut session.reading, Reading::Nothing) {
            // It was asked for, and refused.
            Reading::Asked(asked) if asked.ticket == id.ticket => Reading::Head,
            // Who was answered before they had said all, is not listened to any more.
            Reading::Parts(asked, body) if asked.ticket == id.ticket => {
                session.is_held = false;
                Reading::Skip(body)
            }
            other => other,
        };
        if !id.manner.keeps || self.is_draining {
            session.is_closing = true;
            if matches!(session.reading, Reading::Head) {
                session.reading = Reading::Nothing;
            }
        }
    }

    /// Whether so many bytes can be written there before a polite system waits.
    #[must_use]
    pub fn has_room(&self, conn: ConnId, out: &impl Outbox) -> bool {
        out.room(conn) > 0
    }
}

fn pass(session: &mut Session, id: AskId, piece: Piece<'_>, out: &mut impl Outbox) {
    let conn = session.conn;
    session.pipeline.part(id.ticket, piece, &mut |piece| out.write_piece(conn, piece));
}
