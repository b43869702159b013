//! Whole heads in one pass, which is nearly all heads: `httparse` finds the parts, many bytes at a time.
//!
//! The one hard thing: httparse is kinder than we are. It takes a bare line feed for a line end, bytes over 0x7f
//! and `#` in a target, and any number of empty lines before a head. So each place where it may have been kind is
//! looked at again here, a few bytes a line. Nothing here is a fault: none says only "not ordinary", and the strict
//! reader (`progress`) then finds out why, or that the head is merely cut.

use super::Version;
use super::fields::{Fields, SPANS_INLINE, Span};
use super::framing::Known;
use super::limits::{Limits, METHOD_MAX};
use httparse::{Header, Status};
use std::mem::MaybeUninit;

/// `HTTP/1.1` has this many bytes.
const VERSION_BYTES: usize = 8;
/// `HTTP/1.1 200` has this many bytes.
const STATUS_LINE_BYTES: usize = 12;

/// The parts of a request's head, well-formed each by itself.
pub(super) struct RequestParts<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) version: Version,
    pub(super) fields: Fields<'a>,
    pub(super) known: Known<'a>,
    /// Bytes of all this.
    pub(super) used: usize,
}

/// The parts of a response's head.
pub(super) struct ResponseParts<'a> {
    pub(super) version: Version,
    pub(super) status: u16,
    pub(super) reason: &'a [u8],
    pub(super) fields: Fields<'a>,
    pub(super) known: Known<'a>,
    pub(super) used: usize,
}

/// A whole request head at the front of `bytes`.
#[inline(always)]
pub(super) fn request<'a>(bytes: &'a [u8], limits: &Limits) -> Option<RequestParts<'a>> {
    let bytes = &bytes[..bytes.len().min(limits.head_max)];
    let mut array = [const { MaybeUninit::<Header<'a>>::uninit() }; SPANS_INLINE];
    let mut parsed = httparse::Request::new(&mut []);
    let Ok(Status::Complete(used)) =
        parsed.parse_with_uninit_headers(bytes, &mut array[..limits.fields_max.min(SPANS_INLINE)])
    else {
        return None;
    };
    let (method, target, minor) = (parsed.method?, parsed.path?, parsed.version?);
    let line_end = method.len() + 1 + target.len() + 1 + VERSION_BYTES;
    // With empty lines before it, the method would not be at the front.
    if place(bytes, method.as_bytes()) != 0
        || method.len() > METHOD_MAX
        || target.len() > limits.target_max
        || target.bytes().fold(false, |strange, byte| strange | (byte == b'#') | (byte >= 0x7f))
    {
        return None;
    }
    let (fields, known) = collect(&bytes[..used], line_end, parsed.headers)?;
    Some(RequestParts { method, target, version: version(minor), fields, known, used })
}

/// A whole response head at the front of `bytes`.
#[inline]
pub(super) fn response<'a>(bytes: &'a [u8], limits: &Limits) -> Option<ResponseParts<'a>> {
    let bytes = &bytes[..bytes.len().min(limits.head_max)];
    let mut array = [const { MaybeUninit::<Header<'a>>::uninit() }; SPANS_INLINE];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let Ok(Status::Complete(used)) = config.parse_response_with_uninit_headers(
        &mut parsed,
        bytes,
        &mut array[..limits.fields_max.min(SPANS_INLINE)],
    ) else {
        return None;
    };
    let (minor, status) = (parsed.version?, parsed.code?);
    // The line ends where the first field begins, or the empty line.
    let next = parsed.headers.first().map_or(used - 2, |field| place(bytes, field.name.as_bytes()));
    let line_end = next.checked_sub(2)?;
    let reason = match bytes.get(STATUS_LINE_BYTES..line_end)? {
        [] => &[][..],
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    if bytes[0] != b'H' || status < 100 {
        return None;
    }
    let (fields, known) = collect(&bytes[..used], line_end, parsed.headers)?;
    Some(ResponseParts { version: version(minor), status, reason, fields, known, used })
}

/// Notes the fields of the head `text`, if every line of it ends in CR LF, the start line at `line_end`.
#[inline(always)]
fn collect<'a>(text: &'a [u8], line_end: usize, headers: &[Header<'a>]) -> Option<(Fields<'a>, Known<'a>)> {
    let (mut spans, mut known) = ([Span::NONE; SPANS_INLINE], Known::default());
    let mut at = line_end;
    for (span, header) in spans.iter_mut().zip(headers) {
        if text.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        let (name, value) = (at + 2, place(text, header.value));
        let end = value + header.value.len();
        known.note(header.name.as_bytes(), header.value);
        *span = Span::new(name, name + header.name.len(), value, end);
        at = end;
        while matches!(text.get(at)?, b' ' | b'\t') {
            at += 1;
        }
    }
    (text.get(at..)? == b"\r\n\r\n").then(|| (Fields::of(text, spans, headers.len()), known))
}

/// Where `part`, which was cut out of `text`, begins in it.
#[inline]
fn place(text: &[u8], part: &[u8]) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

#[inline]
fn version(minor: u8) -> Version {
    match minor {
        0 => Version::Http10,
        _ => Version::Http11,
    }
}
