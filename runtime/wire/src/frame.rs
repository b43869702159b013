//! The framed text protocol of the dht: a 4-byte big-endian length, then `put k v`, `get k`, `rem k`, or a reply.
//!
//! Reading is stateless: the length is read again on each call (a few instructions), the text only once whole, so a
//! frame in pieces costs what it costs in one. The one hard thing is that everything inside a frame has an
//! answer: a bad request never costs the connection, only a length over the limit does.
//!
//! By design of the protocol a stored value that reads `SUCCESS`, `NONE` or `FAILURE …` can not be told from the
//! reply of that name. RESP has no such ambiguity.

use crate::Outcome;
use std::fmt;

/// Bytes of the length before each frame.
pub const HEADER: usize = 4;

/// Bytes of the text around a key and a value: `put `, a space, and some to spare for a reply's `FAILURE `.
const AROUND: usize = 16;

/// The bound on a frame's text, in bytes, that lets the longest key and the longest value through.
pub const fn text_max(key_max: usize, value_max: usize) -> usize {
    key_max + value_max + AROUND
}

/// The announced length is over the limit: answer with one `FAILURE`, then close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Bytes announced.
    pub length: u32,
    /// Bytes allowed.
    pub text_max: usize,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "frame of {} bytes is over the limit of {}", self.length, self.text_max)
    }
}

impl std::error::Error for Fault {}

/// What a client asks. A value is always the end of its frame: of `used` bytes it is the last `value.len()`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// `put <key> <value>`; the value may hold spaces and may be empty.
    Put {
        /// Not empty, without spaces.
        key: &'a [u8],
        /// All that follows the key's space.
        value: &'a [u8],
    },
    /// `get <key>`
    Get {
        /// Not empty, without spaces.
        key: &'a [u8],
    },
    /// `rem <key>`
    Rem {
        /// Not empty, without spaces.
        key: &'a [u8],
    },
    /// A put of the wrong shape: the answer is `FAILURE` and this reason.
    Misshapen(&'static str),
    /// No verb we know, or no key: the answer is `NONE`.
    Unknown,
}

impl<'a> Request<'a> {
    /// What a frame's text asks. Every text asks something.
    pub fn parse(text: &'a [u8]) -> Request<'a> {
        let (verb, rest) = word(text);
        match (verb, rest.map(word)) {
            (b"put", Some((key, Some(value)))) if !key.is_empty() => Request::Put { key, value },
            (b"put", Some((key, None))) if !key.is_empty() => Request::Misshapen("put needs a value"),
            (b"put", _) => Request::Misshapen("put needs a key and a value"),
            (b"get", Some((key, _))) if !key.is_empty() => Request::Get { key },
            (b"rem", Some((key, _))) if !key.is_empty() => Request::Rem { key },
            _ => Request::Unknown,
        }
    }
}

/// What precedes the first space, and what follows it if there is one.
fn word(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b' ', text) {
        Some(space) => (&text[..space], Some(&text[space + 1..])),
        None => (text, None),
    }
}

/// What a server answers, as far as the text can tell: see the ambiguity above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `SUCCESS`: a put or rem was done.
    Success,
    /// `NONE`: no such key, or no such verb.
    None,
    /// `FAILURE <reason>`
    Failure(&'a [u8]),
    /// Any other text: the value that was asked for.
    Value(&'a [u8]),
}

impl<'a> Reply<'a> {
    /// What a reply's text says.
    pub fn parse(text: &'a [u8]) -> Reply<'a> {
        match text {
            b"SUCCESS" => Reply::Success,
            b"NONE" => Reply::None,
            b"FAILURE" => Reply::Failure(b""),
            _ => match text.strip_prefix(b"FAILURE ") {
                Some(reason) => Reply::Failure(reason),
                None => Reply::Value(text),
            },
        }
    }
}

/// The text of the first frame of `bytes`, which are all bytes received and not consumed. `need` is the whole
/// frame as soon as its length is known, so that a long value can be received into a buffer of its own.
#[inline]
pub fn read(bytes: &[u8], text_max: usize) -> Outcome<&[u8], Fault> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Outcome::Partial { need: HEADER };
    };
    let length = u32::from_be_bytes(*header);
    if length as usize > text_max {
        return Outcome::Fault(Fault { length, text_max });
    }
    let used = HEADER + length as usize;
    match rest.get(..length as usize) {
        Some(value) => Outcome::Done { value, used },
        None => Outcome::Partial { need: used },
    }
}

/// The server's reader.
#[inline]
pub fn read_request(bytes: &[u8], text_max: usize) -> Outcome<Request<'_>, Fault> {
    read(bytes, text_max).map(Request::parse)
}

/// The client's reader.
#[inline]
pub fn read_reply(bytes: &[u8], text_max: usize) -> Outcome<Reply<'_>, Fault> {
    read(bytes, text_max).map(Reply::parse)
}

/// The header of a frame whose text of `length` bytes follows by other means (a blob). Lengths are bounded by
/// whoever admitted the text; one over 4 GiB is our own mistake.
#[inline]
pub fn header(length: usize) -> [u8; HEADER] {
    assert!(length <= u32::MAX as usize, "a frame's text of {length} bytes");
    (length as u32).to_be_bytes()
}

/// Appends one frame whose text is `parts` in a row.
#[inline]
pub fn write(into: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum();
    into.reserve(HEADER + length);
    into.extend_from_slice(&header(length));
    for part in parts {
        into.extend_from_slice(part);
    }
}

/// Appends a request. One that could not be parsed back as itself (no key, a space in the key) is the caller's to
/// refuse; [`Request::Misshapen`] and [`Request::Unknown`] are written as an empty frame.
pub fn write_request(into: &mut Vec<u8>, request: Request<'_>) {
    match request {
        Request::Put { key, value } => write(into, &[b"put ", key, b" ", value]),
        Request::Get { key } => write(into, &[b"get ", key]),
        Request::Rem { key } => write(into, &[b"rem ", key]),
        Request::Misshapen(_) | Request::Unknown => write(into, &[]),
    }
}

/// Appends a reply.
pub fn write_reply(into: &mut Vec<u8>, reply: Reply<'_>) {
    match reply {
        Reply::Success => write(into, &[b"SUCCESS"]),
        Reply::None => write(into, &[b"NONE"]),
        Reply::Failure(reason) => write(into, &[b"FAILURE ", reason]),
        Reply::Value(value) => write(into, &[value]),
    }
}
