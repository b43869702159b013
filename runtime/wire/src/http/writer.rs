//! Heads as bytes, of requests and of responses, appended to what leaves in one send.
//!
//! The one hard thing is that a value from a stranger must not become two lines. So every name and value is looked
//! at before it is written, and the fields that say where a message ends can be written by one method only, once.

use super::byte::{is_all_token, is_value};
use super::fields::Field;
use super::framing::Framing;
use super::{Method, Version};
use std::fmt;

/// Why a field was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsayable {
    /// The name is not a token.
    Name,
    /// The value holds a control byte (a line end, NUL), or begins or ends with white space.
    Value,
    /// Content-Length and Transfer-Encoding are said by [`HeadWriter::framing`].
    Framing,
}

impl fmt::Display for Unsayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unsayable::Name => "a header name must be a token",
            Unsayable::Value => "a header value must not hold control bytes or begin or end with white space",
            Unsayable::Framing => "the framing of a message is said once, by its own method",
        })
    }
}

impl std::error::Error for Unsayable {}

/// Appends one head. [`HeadWriter::end`] must be the last thing said.
#[derive(Debug)]
#[must_use = "a head without its end is no head"]
pub struct HeadWriter<'o> {
    out: &'o mut Vec<u8>,
    framed: bool,
}

impl<'o> HeadWriter<'o> {
    /// A request head, HTTP/1.1. Host is a field like others and the caller's to write.
    ///
    /// # Errors
    /// [`Unsayable::Value`], and nothing was appended: the target is empty or holds a space, a control byte, `#` or
    /// bytes over 0x7f. [`Unsayable::Name`]: the method is not a token.
    pub fn request(out: &'o mut Vec<u8>, method: Method<'_>, target: &str) -> Result<Self, Unsayable> {
        if !is_all_token(method.as_str().as_bytes()) {
            return Err(Unsayable::Name);
        }
        if target.is_empty() || !target.bytes().all(super::byte::is_target) {
            return Err(Unsayable::Value);
        }
        for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        Ok(HeadWriter { out, framed: false })
    }

    /// A response head. An empty `reason` becomes the usual one.
    ///
    /// # Panics
    /// When the status is not of three digits, or the reason holds a control byte: a mistake of ours, since both a
    /// reader and [`reason`](super::reason) give such that do not.
    pub fn response(out: &'o mut Vec<u8>, version: Version, status: u16, reason: impl AsRef<[u8]>) -> Self {
        assert!((100..1000).contains(&status), "a status of {status}");
        let reason = match reason.as_ref() {
            [] => super::reason(status).as_bytes(),
            reason => reason,
        };
        assert!(reason.iter().all(|&byte| is_value(byte)), "a reason without control bytes");
        out.extend_from_slice(version.as_str().as_bytes());
        let digits = [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8);
        out.extend_from_slice(&[b' ', digits[0], digits[1], digits[2], b' ']);
        out.extend_from_slice(reason);
        out.extend_from_slice(b"\r\n");
        HeadWriter { out, framed: false }
    }

    /// A field whose name and value come from anywhere.
    ///
    /// # Errors
    /// [`Unsayable`], and nothing was appended.
    pub fn field(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Unsayable> {
        field_line(self.out, name.as_bytes(), value.as_ref())
    }

    /// A field that we know: a name and a value in our own source, or a value that can hold nothing else (a number, a
    /// date).
    ///
    /// # Panics
    /// When it can not be said: a mistake of ours.
    pub fn known(&mut self, name: &'static str, value: impl AsRef<[u8]>) {
        let written = self.field(name, value);
        assert!(written.is_ok(), "{name}: {written:?}");
    }

    /// A field that was read, passed on. Framing is not: it is dropped here without a word.
    #[inline]
    pub fn pass(&mut self, field: Field<'_>) {
        if !is_framing(field.name()) {
            line(self.out, field.name(), field.value());
        }
    }

    /// What follows the head: `Content-Length`, `Transfer-Encoding: chunked`, or nothing said. For a response to HEAD
    /// or a 304, the length that the body would have had.
    ///
    /// [`Framing::None`] says nothing, which is right for requests without a body, and for 1xx, 204 and 304; for
    /// other responses say `Length(0)`, or the client waits for the connection's end. A client of HTTP/1.0 knows no
    /// chunks: to it a body of unknown length is [`Framing::UntilClose`], whatever version our own line names.
    ///
    /// # Panics
    /// When it was said before: two of them are how requests are smuggled.
    pub fn framing(&mut self, framing: Framing) {
        assert!(!self.framed, "a message's framing is said once");
        self.framed = true;
        match framing {
            Framing::Length(length) => {
                let mut digits = itoa::Buffer::new();
                line(self.out, b"Content-Length", digits.format(length).as_bytes());
            }
            Framing::Chunked => line(self.out, b"Transfer-Encoding", b"chunked"),
            Framing::None | Framing::UntilClose | Framing::Tunnel => {}
        }
    }

    /// `Connection: close` or `Connection: keep-alive` where the other side's version would take the opposite for
    /// granted, else nothing.
    pub fn persistence(&mut self, version: Version, persists: bool) {
        match (version, persists) {
            (Version::Http11, true) | (Version::Http10, false) => {}
            (Version::Http11, false) => line(self.out, b"Connection", b"close"),
            (Version::Http10, true) => line(self.out, b"Connection", b"keep-alive"),
        }
    }

    /// The empty line.
    #[inline]
    pub fn end(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Appends one field's line if it can be said.
pub(super) fn field_line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), Unsayable> {
    if !is_all_token(name) {
        return Err(Unsayable::Name);
    }
    let padded = matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t']);
    if padded || !value.iter().all(|&byte| is_value(byte)) {
        return Err(Unsayable::Value);
    }
    if is_framing(name) {
        return Err(Unsayable::Framing);
    }
    line(out, name, value);
    Ok(())
}

#[inline]
fn is_framing(name: &[u8]) -> bool {
    match name.len() {
        14 => name.eq_ignore_ascii_case(b"content-length"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => false,
    }
}

#[inline]
fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}
