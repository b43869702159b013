//! What an act on a key came to, and how a client is told.
//!
//! The store answers with a [`Reply`]; a [`Shape`] says in whose language. The one hard thing: a reply that waits for
//! another core must be told the way its request asked for, even if the connection has changed its version since,
//! so the shape travels with the question and comes back with the answer.

use crate::act::Kind;
use crate::refusal::Fault;
use machine::Blob;
use rkyv::{Archive, Deserialize, Serialize};
use wire::frame;
use wire::resp::{Version, Writer};

/// What an act came to. Borrows from the store where it can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Done.
    Ok,
    /// No such value, or not done.
    Nil,
    /// A number.
    Integer(i64),
    /// A short value.
    Bulk(&'a [u8]),
    /// A long value.
    Blob(Blob),
    /// The kind of a value.
    Kind(Kind),
    /// Not done, and why.
    Refused(Fault),
}

/// In whose language a reply is told.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// RESP, version 2.
    Two,
    /// RESP, version 3.
    Three,
    /// Framed text, to a put.
    Put,
    /// Framed text, to a get.
    Get,
    /// Framed text, to a rem.
    Rem,
    /// Nothing is told: the client wants to hear no answer.
    Silent,
}

impl Shape {
    /// The version of RESP; 2 for framed text, where it decides nothing.
    #[must_use]
    pub const fn version(self) -> Version {
        match self {
            Self::Three => Version::Three,
            Self::Two | Self::Put | Self::Get | Self::Rem | Self::Silent => Version::Two,
        }
    }
}

impl From<Version> for Shape {
    fn from(version: Version) -> Self {
        match version {
            Version::Two => Self::Two,
            Version::Three => Self::Three,
        }
    }
}

/// Where a reply's bytes go: appended to one vector, but for blobs, which go as they are, after what was appended.
pub trait Sink {
    /// The vector to append to.
    fn bytes(&mut self) -> &mut Vec<u8>;
    /// A blob comes next.
    fn blob(&mut self, blob: Blob);
}

/// Something a client can be told.
pub trait Tell {
    /// Tells it in that language.
    fn tell(self, shape: Shape, into: &mut impl Sink);
}

impl Tell for Reply<'_> {
    #[inline]
    fn tell(self, shape: Shape, into: &mut impl Sink) {
        match shape {
            Shape::Two | Shape::Three => resp(self, shape.version(), into),
            Shape::Put | Shape::Get | Shape::Rem => framed(self, shape, into),
            Shape::Silent => {}
        }
    }
}

/// Something that is told by writing it: what needs no other core and has no blobs.
#[derive(Debug)]
pub struct Says<F>(pub F);

impl<F: FnOnce(&mut Writer<'_>)> Tell for Says<F> {
    #[inline]
    fn tell(self, shape: Shape, into: &mut impl Sink) {
        if shape == Shape::Silent {
            return;
        }
        (self.0)(&mut Writer::new(into.bytes(), shape.version()));
    }
}

#[inline]
fn resp(reply: Reply<'_>, version: Version, into: &mut impl Sink) {
    let mut writer = Writer::new(into.bytes(), version);
    match reply {
        Reply::Ok => writer.ok(),
        Reply::Nil => writer.null(),
        Reply::Integer(number) => writer.integer(number),
        Reply::Bulk(bytes) => writer.bulk(bytes),
        Reply::Kind(kind) => writer.simple(kind.name()),
        Reply::Refused(fault) => writer.error(fault.words()),
        Reply::Blob(blob) => {
            writer.bulk_header(blob.len());
            into.blob(blob);
            Writer::new(into.bytes(), version).bulk_end();
        }
    }
}

fn framed(reply: Reply<'_>, shape: Shape, into: &mut impl Sink) {
    use frame::Reply::{Failure, None, Success, Value};
    let said = match (reply, shape) {
        (Reply::Blob(blob), _) => {
            into.bytes().extend_from_slice(&frame::header(blob.len()));
            return into.blob(blob);
        }
        (Reply::Nil, _) | (Reply::Integer(0), Shape::Rem) => None,
        (Reply::Bulk(bytes), _) => return frame::write_reply(into.bytes(), Value(bytes)),
        (Reply::Refused(fault), _) => {
            let words = fault.words();
            Failure(words.strip_prefix("ERR ").unwrap_or(words).as_bytes())
        }
        (Reply::Ok | Reply::Integer(_) | Reply::Kind(_), _) => Success,
    };
    frame::write_reply(into.bytes(), said);
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Plain(Vec<u8>);

    impl Sink for Plain {
        fn bytes(&mut self) -> &mut Vec<u8> {
            &mut self.0
        }
        fn blob(&mut self, blob: Blob) {
            self.0.extend_from_slice(&blob);
        }
    }

    fn check(reply: Reply<'_>, shape: Shape, expected: &str) {
        let mut plain = Plain(Vec::new());
        reply.clone().tell(shape, &mut plain);
        assert_eq!(String::from_utf8_lossy(&plain.0), expected, "{reply:?} as {shape:?}");
    }

    #[test]
    fn replies_are_told_in_the_language_that_asked() {
        check(Reply::Ok, Shape::Two, "+OK\r\n");
        check(Reply::Nil, Shape::Two, "$-1\r\n");
        check(Reply::Nil, Shape::Three, "_\r\n");
        check(Reply::Integer(-7), Shape::Three, ":-7\r\n");
        check(Reply::Kind(Kind::String), Shape::Two, "+string\r\n");
        check(Reply::Bulk(b"v"), Shape::Two, "$1\r\nv\r\n");
        check(Reply::Blob(Blob::from(b"long".to_vec())), Shape::Three, "$4\r\nlong\r\n");
        check(Reply::Refused(Fault::Overflow), Shape::Two, "-ERR increment or decrement would overflow\r\n");
        check(Reply::Ok, Shape::Put, "\0\0\0\u{7}SUCCESS");
        check(Reply::Nil, Shape::Get, "\0\0\0\u{4}NONE");
        check(Reply::Bulk(b"a b"), Shape::Get, "\0\0\0\u{3}a b");
        check(Reply::Blob(Blob::from(b"long".to_vec())), Shape::Get, "\0\0\0\u{4}long");
        check(Reply::Integer(0), Shape::Rem, "\0\0\0\u{4}NONE");
        check(Reply::Integer(1), Shape::Rem, "\0\0\0\u{7}SUCCESS");
        let words = "string exceeds maximum allowed size (proto-max-bulk-len)";
        check(Reply::Refused(Fault::ValueTooLong), Shape::Put, &format!("\0\0\0@FAILURE {words}"));
    }
}
