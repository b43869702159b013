//! The server's reader: request heads, from a line such as `GET /a?b HTTP/1.1` to the empty line.
//!
//! Nothing is copied, and a head that came whole allocates nothing. The one hard thing is a head in pieces from one
//! who sends a byte a second: each byte is looked at once (and once more when the head is whole), and a fault is told
//! with the byte that makes it one.

use super::fault::Fault;
use super::fields::Fields;
use super::framing::{Framing, Known};
use super::limits::Limits;
use super::method::{Asked, Method};
use super::ordinary::{self, RequestParts};
use super::progress::{Progress, Role, Step};
use super::target::{self, Target, is_host};
use super::{Version, text};
use crate::Outcome;

/// The head of one request. What follows it is [`RequestHead::framing`], read by a [`Body`](super::Body).
#[derive(Debug, Clone)]
pub struct RequestHead<'a> {
    /// What is to be done.
    pub method: Method<'a>,
    /// With what, as it was sent: visible ASCII, never empty, of a form that the method takes.
    pub target: &'a str,
    /// The version of the one who asks.
    pub version: Version,
    /// The fields.
    pub fields: Fields<'a>,
    /// What follows: nothing, a length, or chunks.
    pub framing: Framing,
    /// Whether the client will ask again on this connection, if we let it (RFC 9112 section 9.3).
    pub persistent: bool,
    /// Whether the client waits for a 100 before it sends the body (RFC 9110 section 10.1.1). Send none if the body
    /// has begun to arrive.
    pub expects_continue: bool,
    /// Whom it is for: the authority of an absolute or authority target, else Host. None or empty only where the
    /// client said so.
    pub host: Option<&'a str>,
    /// To which protocols the client offers to switch, if Connection says so too and the version is 1.1 (RFC 9110
    /// section 7.8). Nothing is switched before a 101 was sent.
    pub upgrade: Option<&'a [u8]>,
}

impl<'a> RequestHead<'a> {
    /// The four forms told apart.
    #[must_use]
    pub fn form(&self) -> Target<'a> {
        // The reader has refused what has no form.
        target::parse(self.method, self.target).unwrap_or(Target::Asterisk)
    }

    /// The path, not decoded: `/` and more, or `*`. Of an authority target it is empty.
    #[inline]
    #[must_use]
    pub fn path(&self) -> &'a str {
        match self.target.as_bytes().first() {
            Some(b'/') => text::path(self.target).0,
            _ => self.form().path(),
        }
    }

    /// What follows the first `?`, not decoded.
    #[inline]
    #[must_use]
    pub fn query(&self) -> Option<&'a str> {
        match self.target.as_bytes().first() {
            Some(b'/') => text::path(self.target).1,
            _ => self.form().query(),
        }
    }

    /// What its response's reader must know.
    #[must_use]
    pub fn asked(&self) -> Asked {
        Asked::of(self.method, self.upgrade.is_some())
    }

    /// From parts that are well-formed each by itself: whether they go together.
    #[inline(always)]
    fn judge(parts: RequestParts<'a>, limits: &Limits) -> Result<Self, Fault> {
        let RequestParts { method, target, version, mut fields, known, used: _ } = parts;
        let method = Method::of(method);
        let host = host(&known, target::check(method, target)?, version)?;
        let framing = known.framing(version)?.unwrap_or(Framing::None);
        if let Framing::Length(length) = framing
            && length > limits.body_max
        {
            return Err(Fault::BodyTooLong);
        }
        fields.set_connection(known.connection);
        Ok(RequestHead {
            method,
            target,
            version,
            framing,
            persistent: known.connection.persists(version),
            expects_continue: known.expectation(version)?,
            host,
            upgrade: known.upgrade.filter(|_| known.connection.upgrade && version == Version::Http11),
            fields,
        })
    }
}

/// Whom a request is for: RFC 9112 sections 3.2 and 3.3.
#[inline]
fn host<'a>(
    known: &Known<'a>,
    authority: Option<&'a str>,
    version: Version,
) -> Result<Option<&'a str>, Fault> {
    let said = match (known.hosts, version) {
        (0, Version::Http10) => None,
        (0, Version::Http11) => return Err(Fault::HostMissing),
        (1, _) => known.host,
        _ => return Err(Fault::HostRepeated),
    };
    let said = match said {
        Some(host) if is_host(host) => Some(std::str::from_utf8(host).map_err(|_| Fault::HostInvalid)?),
        Some(_) => return Err(Fault::HostInvalid),
        None => None,
    };
    Ok(authority.or(said))
}

/// Reads request heads from the front of what a connection has received. One a connection.
///
/// After `Partial`, the next call must bring the same bytes and more; after `Done`, the bytes after `used`, and after
/// the body that the head announced.
#[derive(Debug)]
pub struct RequestReader {
    limits: Limits,
    progress: Progress,
}

impl RequestReader {
    /// A reader at the beginning of a connection.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        RequestReader { limits: limits.cut(), progress: Progress::new(Role::Request) }
    }

    /// Whether a head has begun to arrive: the time for it runs.
    #[inline]
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.progress.is_fresh()
    }

    /// The first request head of `bytes`, which are all bytes received and not consumed.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Outcome<RequestHead<'a>, Fault> {
        if self.progress.is_fresh()
            && let Some(parts) = ordinary::request(bytes, &self.limits)
        {
            return self.judged(parts, 0);
        }
        self.resume(bytes)
    }

    /// Goes on where the last call stopped, or begins with what is not ordinary.
    #[inline(never)]
    fn resume<'a>(&mut self, bytes: &'a [u8]) -> Outcome<RequestHead<'a>, Fault> {
        match self.progress.advance(bytes, &self.limits) {
            Step::Whole { start, end } => {
                self.progress = Progress::new(Role::Request);
                match split(&bytes[start..end]) {
                    Some(parts) => self.judged(parts, start),
                    None => Outcome::Fault(Fault::TargetByte),
                }
            }
            Step::Partial => Outcome::Partial { need: bytes.len() + 1 },
            Step::Fault(fault) => Outcome::Fault(fault),
        }
    }

    #[inline(always)]
    fn judged<'a>(&self, parts: RequestParts<'a>, start: usize) -> Outcome<RequestHead<'a>, Fault> {
        let used = start + parts.used;
        match RequestHead::judge(parts, &self.limits) {
            Ok(value) => Outcome::Done { value, used },
            Err(fault) => Outcome::Fault(fault),
        }
    }
}

/// The parts of a whole head that the strict reader has gone through. None can not be: it would not have gone through.
fn split(text: &[u8]) -> Option<RequestParts<'_>> {
    let line_end = memchr::memchr(b'\r', text)?;
    let mut words = std::str::from_utf8(&text[..line_end]).ok()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let version = match words.next()? {
        "HTTP/1.0" => Version::Http10,
        _ => Version::Http11,
    };
    let mut known = Known::default();
    let fields = Fields::split(text, line_end + 2, &mut known);
    Some(RequestParts { method, target, version, fields, known, used: text.len() })
}
