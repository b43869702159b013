//! The client's reader: response heads, from a line such as `HTTP/1.1 200 OK` to the empty line.
//!
//! The one hard thing is that a response alone does not say where it ends: one must know what was asked (RFC 9112 section
//! 6.3). So each call is told, and what has no body whatever its head says is known to have none.

use super::Version;
use super::fault::Fault;
use super::fields::Fields;
use super::framing::{Framing, Known};
use super::limits::Limits;
use super::method::Asked;
use super::ordinary::{self, ResponseParts};
use super::progress::{Progress, Role, Step};
use crate::Outcome;

/// The head of one response.
#[derive(Debug, Clone)]
pub struct ResponseHead<'a> {
    /// The version of the one who answers.
    pub version: Version,
    /// Three digits, 100 to 999. Over 599 it means what 500 does (RFC 9110 section 15).
    pub status: u16,
    /// What stands behind the status; means nothing, may be empty.
    pub reason: &'a [u8],
    /// The fields.
    pub fields: Fields<'a>,
    /// What follows.
    pub framing: Framing,
    /// Whether the connection can be used for another request when the body has been read.
    pub persistent: bool,
    /// The Content-Length that was said, also where no body follows (a response to HEAD, a 304).
    pub length: Option<u64>,
}

impl<'a> ResponseHead<'a> {
    /// Whether it is a 1xx after which the response itself is still to come. A 101 is none: it is the end of HTTP.
    #[inline]
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    fn judge(parts: ResponseParts<'a>, asked: Asked, limits: &Limits) -> Result<Self, Fault> {
        let ResponseParts { version, status, reason, mut fields, known, used: _ } = parts;
        let said = known.framing(version)?;
        let framing = framing(&known, said, status, asked)?;
        if let Framing::Length(length) = framing
            && length > limits.body_max
        {
            return Err(Fault::BodyTooLong);
        }
        fields.set_connection(known.connection);
        Ok(ResponseHead {
            version,
            status,
            reason,
            framing,
            persistent: known.connection.persists(version) && is_clear(framing, said, status),
            length: known.length()?,
            fields,
        })
    }
}

/// RFC 9112 section 6.3, in its order.
fn framing(known: &Known<'_>, said: Option<Framing>, status: u16, asked: Asked) -> Result<Framing, Fault> {
    Ok(match (status, asked) {
        (101, Asked::Upgrade) if known.connection.upgrade && known.upgrade.is_some() => Framing::Tunnel,
        (101, _) => return Err(Fault::SwitchUnasked),
        (100..=199 | 204 | 304, _) | (_, Asked::Head) => Framing::None,
        (200..=299, Asked::Connect) => Framing::Tunnel,
        (_, Asked::Connect | Asked::Upgrade | Asked::Plain) => said.unwrap_or(Framing::UntilClose),
    })
}

/// Whether nobody could think that the message ends elsewhere. A 1xx or 204 must not announce a body (RFC 9110
/// section 8.6, RFC 9112 section 6.1); one that does is read without it, and the connection is not trusted any more.
fn is_clear(framing: Framing, said: Option<Framing>, status: u16) -> bool {
    match framing {
        Framing::UntilClose | Framing::Tunnel => false,
        Framing::None => {
            !matches!((status, said), (100..=199 | 204, Some(Framing::Length(_) | Framing::Chunked)))
        }
        Framing::Length(_) | Framing::Chunked => true,
    }
}

/// Reads response heads from the front of what a connection has received. One a connection.
///
/// After `Partial`, the next call must bring the same bytes and more; after `Done`, the bytes after `used`, and after
/// the body. After an interim response comes another head for the same request; how many is for the caller to
/// bound, by time.
#[derive(Debug)]
pub struct ResponseReader {
    limits: Limits,
    progress: Progress,
}

impl ResponseReader {
    /// A reader at the beginning of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        ResponseReader { limits: limits.cut(), progress: Progress::new(Role::Response) }
    }

    /// Whether a head has begun to arrive: it is too late to send the request elsewhere unnoticed.
    #[inline]
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.progress.is_fresh()
    }

    /// The first response head of `bytes`, which are all bytes received and not consumed, to what was `asked`.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8], asked: Asked) -> Outcome<ResponseHead<'a>, Fault> {
        if self.progress.is_fresh()
            && let Some(parts) = ordinary::response(bytes, &self.limits)
        {
            return self.judged(parts, asked);
        }
        self.resume(bytes, asked)
    }

    #[inline(never)]
    fn resume<'a>(&mut self, bytes: &'a [u8], asked: Asked) -> Outcome<ResponseHead<'a>, Fault> {
        match self.progress.advance(bytes, &self.limits) {
            Step::Whole { start, end } => {
                self.progress = Progress::new(Role::Response);
                match split(&bytes[start..end]) {
                    Some(parts) => self.judged(parts, asked),
                    None => Outcome::Fault(Fault::Status),
                }
            }
            Step::Partial => Outcome::Partial { need: bytes.len() + 1 },
            Step::Fault(fault) => Outcome::Fault(fault),
        }
    }

    #[inline]
    fn judged<'a>(&self, parts: ResponseParts<'a>, asked: Asked) -> Outcome<ResponseHead<'a>, Fault> {
        let used = parts.used;
        match ResponseHead::judge(parts, asked, &self.limits) {
            Ok(value) => Outcome::Done { value, used },
            Err(fault) => Outcome::Fault(fault),
        }
    }
}

/// The parts of a whole head that the strict reader has gone through. None can not be: it would not have gone through.
fn split(text: &[u8]) -> Option<ResponseParts<'_>> {
    let line_end = memchr::memchr(b'\r', text)?;
    let (start, rest) = text[..line_end].split_first_chunk::<12>()?;
    let version = match start[7] {
        b'0' => Version::Http10,
        _ => Version::Http11,
    };
    let status = start[9..].iter().fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    let mut known = Known::default();
    let fields = Fields::split(text, line_end + 2, &mut known);
    let reason = rest.strip_prefix(b" ").unwrap_or_default();
    Some(ResponseParts { version, status, reason, fields, known, used: text.len() })
}
