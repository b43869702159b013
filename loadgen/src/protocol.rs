//! What requests and replies look like in each protocol, as one small set of meanings: a reply says that it is
//! done, brings a value, finds nothing, or refuses. The bytes themselves are the crate `wire`'s.

use crate::http::{Ask, Responses};
use crate::workload::Verb;
use std::sync::Arc;
use wire::{Outcome, frame, resp};

/// The longest frame that is read: the longest value there can be and the words around it.
const FRAME_TEXT_MAX: usize = (16 << 20) + 1024;

/// Which protocol is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// RESP2: GET, SET, DEL.
    Resp,
    /// The dht's framed text: get, put, rem.
    Frame,
    /// HTTP/1.1: one request, whatever the operation.
    Http(Arc<Ask>),
}

/// What a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Done.
    Done,
    /// This is the value.
    Value(&'a [u8]),
    /// There is no such key.
    Nothing,
    /// No, and why.
    Refused(&'a [u8]),
    /// A response that is as it should be.
    Right,
    /// One with a status that is not right.
    WrongStatus(u16),
    /// One whose body does not hold what it must.
    WrongBody,
    /// A well-formed reply that answers none of our requests.
    Strange,
}

impl Dialect {
    /// Appends a request. `value` is used by a write only.
    pub fn write(&self, into: &mut Vec<u8>, verb: Verb, key: &[u8], value: &[u8]) {
        match (self, verb) {
            (Self::Resp, Verb::Get) => resp::write_request(into, &[b"GET", key]),
            (Self::Resp, Verb::Set) => resp::write_request(into, &[b"SET", key, value]),
            (Self::Resp, Verb::Del) => resp::write_request(into, &[b"DEL", key]),
            (Self::Frame, Verb::Get) => frame::write_request(into, frame::Request::Get { key }),
            (Self::Frame, Verb::Set) => frame::write_request(into, frame::Request::Put { key, value }),
            (Self::Frame, Verb::Del) => frame::write_request(into, frame::Request::Rem { key }),
            (Self::Http(ask), Verb::Get | Verb::Set | Verb::Del) => ask.write(into, key),
        }
    }

    /// Appends what a new connection is greeted with. Any reply will do: it shows that somebody has accepted.
    pub fn write_greeting(&self, into: &mut Vec<u8>) {
        match self {
            Self::Resp => resp::write_request(into, &[b"PING"]),
            Self::Frame => frame::write_request(into, frame::Request::Get { key: b"greeting" }),
            Self::Http(ask) => ask.write_greeting(into),
        }
    }

    /// Appends what lets the next request in where a slot is being moved to. Only RESP knows it.
    pub fn write_asking(into: &mut Vec<u8>) {
        resp::write_request(into, &[b"ASKING"]);
    }

    /// The reader of a new connection.
    #[must_use]
    pub fn reader(&self) -> Reader {
        match self {
            Self::Resp => Reader::Resp(Box::new(resp::Replies::new(resp::ReplyLimits::default()))),
            Self::Frame => Reader::Frame,
            Self::Http(ask) => Reader::Http(Box::new(Responses::new(ask.clone()))),
        }
    }
}

/// Reads the replies of one connection.
#[derive(Debug)]
pub enum Reader {
    /// RESP; it remembers how far it looked.
    Resp(Box<resp::Replies>),
    /// Frames; nothing to remember.
    Frame,
    /// HTTP; it remembers the body that is coming.
    Http(Box<Responses>),
}

/// What cannot be a reply. The connection has no future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

impl Reader {
    /// The first reply of `bytes`, which are all that came and was not used.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Outcome<Answer<'a>, Malformed> {
        match self {
            Self::Resp(replies) => match replies.next(bytes) {
                Outcome::Done { value, used } => Outcome::Done { value: resp_answer(value), used },
                Outcome::Partial { need } => Outcome::Partial { need },
                Outcome::Fault(_) => Outcome::Fault(Malformed),
            },
            Self::Http(responses) => responses.next(bytes),
            Self::Frame => match frame::read_reply(bytes, FRAME_TEXT_MAX) {
                Outcome::Done { value, used } => Outcome::Done { value: frame_answer(value), used },
                Outcome::Partial { need } => Outcome::Partial { need },
                Outcome::Fault(_) => Outcome::Fault(Malformed),
            },
        }
    }
}

fn resp_answer(reply: resp::Reply<'_>) -> Answer<'_> {
    match reply {
        resp::Reply::Simple(b"OK") => Answer::Done,
        resp::Reply::Bulk(value) => Answer::Value(value),
        resp::Reply::Null => Answer::Nothing,
        resp::Reply::Integer(0) => Answer::Nothing,
        resp::Reply::Integer(_) => Answer::Done,
        resp::Reply::Error(text) => Answer::Refused(text),
        resp::Reply::Simple(_)
        | resp::Reply::Boolean(_)
        | resp::Reply::Double(_)
        | resp::Reply::BigNumber(_)
        | resp::Reply::Verbatim { .. }
        | resp::Reply::Array(_)
        | resp::Reply::Set(_)
        | resp::Reply::Map(_)
        | resp::Reply::Push(_) => Answer::Strange,
    }
}

fn frame_answer(reply: frame::Reply<'_>) -> Answer<'_> {
    match reply {
        frame::Reply::Success => Answer::Done,
        frame::Reply::None => Answer::Nothing,
        frame::Reply::Failure(reason) => Answer::Refused(reason),
        frame::Reply::Value(value) => Answer::Value(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dialect: &Dialect, bytes: &[u8], expected: Answer<'_>) {
        for cut in 0..bytes.len() {
            let mut reader = dialect.reader();
            assert!(matches!(reader.next(&bytes[..cut]), Outcome::Partial { .. }), "{cut}");
            assert_eq!(reader.next(bytes), Outcome::Done { value: expected, used: bytes.len() });
        }
    }

    #[test]
    fn replies_mean_the_same_in_both_protocols_however_cut() {
        check(&Dialect::Resp, b"+OK\r\n", Answer::Done);
        check(&Dialect::Resp, b"$3\r\nabc\r\n", Answer::Value(b"abc"));
        check(&Dialect::Resp, b"$-1\r\n", Answer::Nothing);
        check(&Dialect::Resp, b":1\r\n", Answer::Done);
        check(&Dialect::Resp, b":0\r\n", Answer::Nothing);
        check(&Dialect::Resp, b"-OOM no\r\n", Answer::Refused(b"OOM no"));
        check(&Dialect::Resp, b"*1\r\n:1\r\n", Answer::Strange);
        check(&Dialect::Frame, b"\0\0\0\x07SUCCESS", Answer::Done);
        check(&Dialect::Frame, b"\0\0\0\x04NONE", Answer::Nothing);
        check(&Dialect::Frame, b"\0\0\0\x03abc", Answer::Value(b"abc"));
        check(&Dialect::Frame, b"\0\0\0\x0aFAILURE no", Answer::Refused(b"no"));
    }

    #[test]
    fn what_cannot_be_a_reply_is_said_so() {
        assert_eq!(Dialect::Resp.reader().next(b"?\r\n"), Outcome::Fault(Malformed));
        assert_eq!(Dialect::Frame.reader().next(b"\xff\xff\xff\xff"), Outcome::Fault(Malformed));
    }

    #[test]
    fn requests_are_written_in_their_protocol() {
        let written = |dialect: &Dialect, verb| {
            let mut bytes = Vec::new();
            dialect.write(&mut bytes, verb, b"k1", b"v");
            bytes
        };
        assert_eq!(written(&Dialect::Resp, Verb::Set), b"*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$1\r\nv\r\n");
        assert_eq!(written(&Dialect::Resp, Verb::Get), b"*2\r\n$3\r\nGET\r\n$2\r\nk1\r\n");
        assert_eq!(written(&Dialect::Frame, Verb::Set), b"\0\0\0\x08put k1 v");
        assert_eq!(written(&Dialect::Frame, Verb::Del), b"\0\0\0\x06rem k1");
    }
}
