//! Requests to an HTTP/1.1 server, each made from one template, and the check of each response: its status, and what
//! its body holds. A connection is kept alive, and several requests may be in flight on it.
//!
//! The one hard thing is to cost nothing: a request is a copy of its template with a key in some places, whose length
//! never changes, so that Content-Length stands in the template; and a body is looked through as it comes, once.

use crate::protocol::{Answer, Malformed};
use crate::workload::write_key;
use std::sync::Arc;
use wire::Outcome;
use wire::http::{Asked, Body, Framing, HeadWriter, Limits, Method, ResponseReader};

/// Where a key goes in a path, a header or a body.
const KEY: &str = "{key}";
/// The longest body of a response, bytes: it is held whole while it comes.
const BODY_MAX: u64 = 16 << 20;
/// The longest request.
const REQUEST_MAX: usize = 16 << 20;

/// What is asked of an HTTP server, and what is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The request around its keys: a key stands between each two.
    pieces: Vec<Vec<u8>>,
    greeting: Vec<u8>,
    asked: Asked,
    statuses: (u16, u16),
    /// What a body must hold; anything when empty.
    holds: Vec<u8>,
}

/// How it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Typed {
    /// The method.
    pub method: String,
    /// What Host says.
    pub host: String,
    /// The path and the query; `{key}` stands for a key.
    pub path: String,
    /// `Name: value`, each.
    pub headers: Vec<String>,
    /// The body; `{key}` stands for a key.
    pub body: Option<String>,
    /// From which status to which is right.
    pub statuses: (u16, u16),
    /// What a body must hold.
    pub holds: Option<String>,
}

impl Ask {
    /// What these words mean, for keys of that many bytes.
    ///
    /// # Errors
    /// A sentence, when they cannot be said in HTTP.
    pub fn mean(typed: &Typed, key_size: usize) -> Result<Self, String> {
        let text = Self::text(typed, key_size)?;
        // Said once by the writer that knows what may be said, with a key in its place.
        let checked = Typed {
            path: typed.path.replace(KEY, "k"),
            headers: typed.headers.iter().map(|header| header.replace(KEY, "k")).collect(),
            ..typed.clone()
        };
        sayable(&checked)?;
        let mut greeting = Vec::new();
        let method = if typed.method == "HEAD" { Method::Head } else { Method::Get };
        let mut head = HeadWriter::request(&mut greeting, method, "/").map_err(|error| error.to_string())?;
        head.field("Host", &typed.host).map_err(|error| error.to_string())?;
        head.end();
        Ok(Self {
            pieces: text.split(KEY).map(|piece| piece.as_bytes().to_vec()).collect(),
            greeting,
            asked: Asked::of(Method::of(&typed.method), false),
            statuses: typed.statuses,
            holds: typed.holds.clone().unwrap_or_default().into_bytes(),
        })
    }

    fn text(typed: &Typed, key_size: usize) -> Result<String, String> {
        let Typed { method, host, path, headers, body, .. } = typed;
        let mut text = format!("{method} {path} HTTP/1.1\r\n");
        let names = |name: &str| {
            let of =
                |header: &&String| header.split(':').next().is_some_and(|is| is.eq_ignore_ascii_case(name));
            headers.iter().find(of)
        };
        if names("content-length").is_some() || names("transfer-encoding").is_some() {
            return Err("how long a body is follows from --body".to_owned());
        }
        if names("host").is_none() {
            text += &format!("Host: {host}\r\n");
        }
        headers.iter().for_each(|header| text += &format!("{header}\r\n"));
        if let Some(body) = body {
            let keys = body.matches(KEY).count();
            let length = body.len() - keys * KEY.len() + keys * key_size;
            text += &format!("Content-Length: {length}\r\n");
        }
        text += "\r\n";
        text += body.as_deref().unwrap_or_default();
        match text.len() > REQUEST_MAX {
            true => Err(format!("a request of {} bytes is over the bound of {REQUEST_MAX}", text.len())),
            false => Ok(text),
        }
    }

    /// Appends the request for this key.
    pub fn write(&self, into: &mut Vec<u8>, key: &[u8]) {
        for (place, piece) in self.pieces.iter().enumerate() {
            if place > 0 {
                into.extend_from_slice(key);
            }
            into.extend_from_slice(piece);
        }
    }

    /// Appends what a new connection is greeted with: something that changes nothing.
    pub fn write_greeting(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.greeting);
    }

    /// A request in words, for the key with number 0.
    #[must_use]
    pub fn shown(&self, key_size: usize) -> String {
        let (mut key, mut text) = (Vec::new(), Vec::new());
        write_key(&mut key, 0, key_size);
        self.write(&mut text, &key);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn judge(&self, status: u16, held: bool) -> Answer<'static> {
        match (self.statuses.0..=self.statuses.1).contains(&status) {
            false => Answer::WrongStatus(status),
            true if held => Answer::Right,
            true => Answer::WrongBody,
        }
    }
}

/// Whether the head can be said.
fn sayable(typed: &Typed) -> Result<(), String> {
    let wrong = |what: &str| format!("{what:?} cannot be said in a request");
    let mut out = Vec::new();
    let head = HeadWriter::request(&mut out, Method::of(&typed.method), &typed.path);
    let mut head = head.map_err(|_| wrong(&format!("{} {}", typed.method, typed.path)))?;
    head.field("Host", &typed.host).map_err(|_| wrong(&typed.host))?;
    for header in &typed.headers {
        let (name, value) = header.split_once(':').ok_or_else(|| wrong(header))?;
        head.field(name, value.trim()).map_err(|_| wrong(header))?;
    }
    head.framing(Framing::None);
    head.end();
    match Method::of(&typed.method) {
        Method::Connect => Err("CONNECT makes a tunnel, which is nothing to measure".to_owned()),
        _ => Ok(()),
    }
}

/// Statuses: `200`, `200-299`.
///
/// # Errors
/// A sentence, when they are none.
pub fn statuses(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("{text:?} are no statuses: write 200 or 200-299");
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.parse::<u16>().ok().filter(|status| (100..1000).contains(status));
    match (number(from).ok_or_else(wrong)?, number(to).ok_or_else(wrong)?) {
        (from, to) if from <= to => Ok((from, to)),
        _ => Err(wrong()),
    }
}

/// Reads the responses of one connection.
#[derive(Debug)]
pub struct Responses {
    ask: Arc<Ask>,
    heads: ResponseReader,
    body: Option<Coming>,
}

/// A body on its way.
#[derive(Debug)]
struct Coming {
    status: u16,
    body: Body,
    /// Bytes from the head's first on that were looked at.
    at: usize,
    /// Where what the body must hold was found, or how much of it may have begun.
    found: Found,
}

/// A look for bytes in pieces: as much of the end of what came as could be a beginning.
#[derive(Debug, Default)]
struct Found {
    whole: bool,
    tail: Vec<u8>,
}

impl Found {
    fn look(&mut self, piece: &[u8], wanted: &[u8]) {
        if self.whole || wanted.is_empty() {
            self.whole = true;
            return;
        }
        self.tail.extend_from_slice(piece);
        self.whole = self.tail.windows(wanted.len()).any(|window| window == wanted);
        let kept = self.tail.len().min(wanted.len() - 1);
        self.tail.drain(..self.tail.len() - kept);
    }
}

fn limits() -> Limits {
    Limits { body_max: BODY_MAX, ..Limits::default() }
}

impl Responses {
    /// The reader of a new connection.
    #[must_use]
    pub fn new(ask: Arc<Ask>) -> Self {
        Self { ask, heads: ResponseReader::new(limits()), body: None }
    }

    /// The first response of `bytes`, which are all that came and was not used.
    pub fn next(&mut self, bytes: &[u8]) -> Outcome<Answer<'static>, Malformed> {
        if self.body.is_none() {
            match self.head(bytes) {
                Outcome::Done { value, .. } => self.body = Some(value),
                Outcome::Partial { need } => return Outcome::Partial { need },
                Outcome::Fault(fault) => return Outcome::Fault(fault),
            }
        }
        let Some(coming) = &mut self.body else { return Outcome::Fault(Malformed) };
        coming.found.look(&[], &self.ask.holds);
        while !coming.body.is_done() {
            if coming.at == bytes.len() {
                let ahead = coming.body.ahead().unwrap_or(1).clamp(1, BODY_MAX) as usize;
                return Outcome::Partial { need: bytes.len() + ahead };
            }
            let Ok(piece) = coming.body.next(&bytes[coming.at..]) else { return Outcome::Fault(Malformed) };
            coming.found.look(&bytes[coming.at..][piece.payload], &self.ask.holds);
            coming.at += piece.used;
        }
        let (status, held, used) = (coming.status, coming.found.whole, coming.at);
        self.body = None;
        Outcome::Done { value: self.ask.judge(status, held), used }
    }

    /// The first head that is not interim.
    fn head(&mut self, bytes: &[u8]) -> Outcome<Coming, Malformed> {
        let mut at = 0;
        loop {
            match self.heads.next(&bytes[at..], self.ask.asked) {
                Outcome::Done { value, used } if value.is_interim() => at += used,
                Outcome::Done { value, used } => {
                    // Where only the connection's end ends a body, nothing says that it is whole.
                    if matches!(value.framing, Framing::UntilClose | Framing::Tunnel) {
                        return Outcome::Fault(Malformed);
                    }
                    let body = Body::new(value.framing, limits());
                    let coming =
                        Coming { status: value.status, body, at: at + used, found: Found::default() };
                    return Outcome::Done { value: coming, used: 0 };
                }
                Outcome::Partial { .. } if at > 0 => {
                    // The interim head comes again with the rest: read from the beginning then.
                    self.heads = ResponseReader::new(limits());
                    return Outcome::Partial { need: bytes.len() + 1 };
                }
                Outcome::Partial { need } => return Outcome::Partial { need },
                Outcome::Fault(_) => return Outcome::Fault(Malformed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed() -> Typed {
        Typed {
            method: "POST".to_owned(),
            host: "h:1".to_owned(),
            path: "/a/{key}?b={key}".to_owned(),
            headers: vec!["X-Y: z".to_owned()],
            body: Some("<{key}>".to_owned()),
            statuses: (200, 299),
            holds: Some("ok!".to_owned()),
        }
    }

    #[test]
    fn a_request_is_its_template_with_the_key() {
        let ask = Ask::mean(&typed(), 5).unwrap();
        assert_eq!(
            ask.shown(5),
            "POST /a/k0000?b=k0000 HTTP/1.1\r\nHost: h:1\r\nX-Y: z\r\nContent-Length: 7\r\n\r\n<k0000>"
        );
        let mut greeting = Vec::new();
        ask.write_greeting(&mut greeting);
        assert_eq!(greeting, b"GET / HTTP/1.1\r\nHost: h:1\r\n\r\n");
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        let refused = |typed: Typed| Ask::mean(&typed, 5).is_err();
        assert!(refused(Typed { path: "/a b".to_owned(), ..typed() }));
        assert!(refused(Typed { method: "G T".to_owned(), ..typed() }));
        assert!(refused(Typed { method: "CONNECT".to_owned(), ..typed() }));
        assert!(refused(Typed { headers: vec!["X: a\r\nY: b".to_owned()], ..typed() }));
        assert!(refused(Typed { headers: vec!["no colon".to_owned()], ..typed() }));
        assert!(refused(Typed { headers: vec!["content-length: 3".to_owned()], ..typed() }));
        assert!(statuses("200-299").is_ok() && statuses("99").is_err() && statuses("300-200").is_err());
    }

    #[test]
    fn responses_are_judged_however_cut() {
        let check = |bytes: &[u8], expected: Answer<'static>| {
            for cut in 0..bytes.len() {
                let mut reader = Responses::new(Arc::new(Ask::mean(&typed(), 5).unwrap()));
                assert!(
                    matches!(reader.next(&bytes[..cut]), Outcome::Partial { need } if need > cut),
                    "{cut}"
                );
                let more = [bytes, b"HTTP/1.1 200"].concat();
                assert_eq!(reader.next(&more), Outcome::Done { value: expected, used: bytes.len() }, "{cut}");
            }
        };
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n-ok!-", Answer::Right);
        check(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", Answer::WrongBody);
        check(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n-o\r\n3\r\nk!-\r\n0\r\n\r\n",
            Answer::Right,
        );
        check(b"HTTP/1.1 503 No\r\nContent-Length: 3\r\n\r\nok!", Answer::WrongStatus(503));
        check(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok!", Answer::Right);
        check(b"HTTP/1.1 204 No Content\r\n\r\n", Answer::WrongBody);
    }

    #[test]
    fn what_has_no_end_or_no_sense_is_malformed() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\n\r\nuntil the end"[..],
            b"+OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        ] {
            let mut reader = Responses::new(Arc::new(Ask::mean(&typed(), 5).unwrap()));
            assert_eq!(reader.next(bytes), Outcome::Fault(Malformed));
        }
    }
}
