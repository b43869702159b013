//! A whole message, head and body, as one thing that is told all unconsumed bytes: what the cuts are tried on.

use std::fmt::Write as _;
use wire::Outcome;
use wire::http::{
    Asked, Body, Fault, Fields, Limits, RequestHead, RequestReader, ResponseHead, ResponseReader,
};

/// A head as text: everything a reader found in it.
pub(crate) fn shown_request(head: &RequestHead<'_>) -> String {
    let mut text = format!("{} {} {}", head.method.as_str(), head.target, head.version.as_str());
    let host = head.host.unwrap_or("-");
    let _ = write!(text, " host={host} {:?} path={} query={:?}", head.framing, head.path(), head.query());
    let _ = write!(text, " {}", if head.persistent { "persists" } else { "ends" });
    if head.expects_continue {
        text.push_str(" expects");
    }
    if let Some(upgrade) = head.upgrade {
        let _ = write!(text, " upgrade={}", upgrade.escape_ascii());
    }
    text + &shown_fields(&head.fields)
}

/// The same of a response.
pub(crate) fn shown_response(head: &ResponseHead<'_>) -> String {
    let reason = head.reason.escape_ascii();
    let mut text = format!("{} {} {reason} {:?}", head.version.as_str(), head.status, head.framing);
    let _ = write!(text, " {}", if head.persistent { "persists" } else { "ends" });
    if let Some(length) = head.length {
        let _ = write!(text, " length={length}");
    }
    if head.is_interim() {
        text.push_str(" interim");
    }
    text + &shown_fields(&head.fields)
}

fn shown_fields(fields: &Fields<'_>) -> String {
    let mut text = String::from(" [");
    for field in fields.iter() {
        let _ = write!(text, "{}={};", field.name().escape_ascii(), field.value().escape_ascii());
    }
    assert_eq!(fields.iter().count(), fields.len());
    text + "]"
}

/// A body on its way, with what it was made of.
struct Course {
    told: String,
    body: Body,
    /// Bytes of the message that were used.
    used: usize,
    payload: Vec<u8>,
    trailers: Vec<u8>,
}

impl Course {
    fn new(told: String, body: Body, used: usize) -> Self {
        Course { told, body, used, payload: Vec::new(), trailers: Vec::new() }
    }

    /// Takes what is there, until the body is over or more is needed.
    fn advance(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        while !self.body.is_done() && self.used < bytes.len() {
            let there = &bytes[self.used..];
            let piece = self.body.next(there)?;
            assert!(piece.used > 0 && piece.payload.end <= piece.used && piece.trailers.end <= piece.used);
            self.payload.extend_from_slice(&there[piece.payload]);
            self.trailers.extend_from_slice(&there[piece.trailers]);
            self.used += piece.used;
        }
        Ok(self.body.is_done())
    }

    fn told(self) -> String {
        format!(
            "{} body={} trailers={}",
            self.told,
            self.payload.escape_ascii(),
            self.trailers.escape_ascii()
        )
    }
}

/// Whole messages, from the server's reader or the client's.
fn session(mut head: impl FnMut(&[u8]) -> Outcome<(String, Body), Fault> + 'static) -> crate::corpus::Reader {
    let mut course: Option<Course> = None;
    Box::new(move |bytes| {
        if course.is_none() {
            match head(bytes) {
                Outcome::Done { value: (told, body), used } => course = Some(Course::new(told, body, used)),
                Outcome::Partial { need } => return Outcome::Partial { need },
                Outcome::Fault(fault) => return Outcome::Fault(format!("{fault:?}")),
            }
        }
        let mut on_its_way = course.take().expect("a head was read");
        match on_its_way.advance(bytes) {
            Ok(true) => Outcome::Done { used: on_its_way.used, value: on_its_way.told() },
            Ok(false) => {
                course = Some(on_its_way);
                Outcome::Partial { need: bytes.len() + 1 }
            }
            Err(fault) => Outcome::Fault(format!("{fault:?}")),
        }
    })
}

/// Requests with their bodies.
pub(crate) fn request_session() -> crate::corpus::Reader {
    let limits = Limits::default();
    let mut reader = RequestReader::new(limits);
    session(move |bytes| {
        reader.next(bytes).map(|head| (shown_request(&head), Body::new(head.framing, limits)))
    })
}

/// Responses with their bodies, each to a plain request that offered an upgrade.
pub(crate) fn response_session() -> crate::corpus::Reader {
    let limits = Limits::default();
    let mut reader = ResponseReader::new(limits);
    session(move |bytes| {
        let outcome = reader.next(bytes, Asked::Upgrade);
        outcome.map(|head| (shown_response(&head), Body::new(head.framing, limits)))
    })
}
