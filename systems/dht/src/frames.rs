//! Framed text: `put`, `get` and `rem` as acts on keys.
//!
//! A stored value that reads `SUCCESS`, `NONE` or `FAILURE …` cannot be told from the reply of that name; the
//! protocol is so by design, and RESP is not.

use crate::act::{Act, Op, Payload, Set};
use crate::command::index_of;
use crate::config::Limits;
use crate::reply::Shape;
use wire::frame::write_reply;

// What who asks needs: the same frames from the other side.
pub use wire::Outcome;
pub use wire::frame::{HEADER, Reply, Request, read as read_text, text_max, write_request};

const GET: usize = index_of("get");
const SET: usize = index_of("set");
const DEL: usize = index_of("del");

/// What a request asks for.
#[derive(Debug)]
pub enum Asked<'a> {
    /// An act on a key, how its reply is told, and the command of the same meaning, for counting.
    One(Op<'a>, Shape, usize),
    /// Nothing that can be done: the reply is here already.
    Told(Vec<u8>),
}

/// What this request asks for, within the bounds.
#[must_use]
pub fn asked<'a>(request: Request<'a>, limits: &Limits) -> Asked<'a> {
    let told = |reply: Reply<'_>| {
        let mut bytes = Vec::new();
        write_reply(&mut bytes, reply);
        Asked::Told(bytes)
    };
    match request {
        Request::Put { key, .. } | Request::Get { key } | Request::Rem { key }
            if key.len() > limits.key_max =>
        {
            told(Reply::Failure(format!("a key may have {} bytes", limits.key_max).as_bytes()))
        }
        Request::Put { value, .. } if value.len() > limits.value_max => {
            told(Reply::Failure(format!("a value may have {} bytes", limits.value_max).as_bytes()))
        }
        Request::Put { key, value } => Asked::One(
            Op { key, payload: Payload::Bytes(value), act: Act::Set(Set::default()) },
            Shape::Put,
            SET,
        ),
        Request::Get { key } => Asked::One(Op::of(key, Act::Get), Shape::Get, GET),
        Request::Rem { key } => Asked::One(Op::of(key, Act::Del), Shape::Rem, DEL),
        Request::Misshapen(why) => told(Reply::Failure(why.as_bytes())),
        Request::Unknown => told(Reply::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_that_is_passed_is_a_failure_and_not_the_connection() {
        let limits = Limits { key_max: 4, value_max: 6, ..Limits::default() };
        #[track_caller]
        fn check(text: &str, limits: &Limits, expected: &str) {
            let shown = match asked(Request::parse(text.as_bytes()), limits) {
                Asked::One(op, shape, _) => format!("{shape:?} {}", String::from_utf8_lossy(op.key)),
                Asked::Told(bytes) => String::from_utf8_lossy(&bytes[4..]).into_owned(),
            };
            assert_eq!(shown, expected, "{text}");
        }
        check("put abcd 123456", &limits, "Put abcd");
        check("put abcde 1", &limits, "FAILURE a key may have 4 bytes");
        check("get abcde", &limits, "FAILURE a key may have 4 bytes");
        check("put a 1234567", &limits, "FAILURE a value may have 6 bytes");
        check("get a", &limits, "Get a");
        check("rem a", &limits, "Rem a");
        check("put a", &limits, "FAILURE put needs a value");
        check("jump a", &limits, "NONE");
    }
}
