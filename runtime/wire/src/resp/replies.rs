//! The client's reader: finds where a reply ends, nested within a bound, cut anywhere.
//!
//! The one hard thing is a list in pieces: the reader keeps where it stands and how many elements are missing on
//! each level, so each element is looked at once however the input is cut, and nothing is allocated for a count
//! that was merely announced. Attributes (`|`) are read and dropped. Strings and lists of unknown length (`$?`,
//! `*?`), which no Redis sends, are faults.

use super::number::{Line, LineEnd, line_end, number_line};
use super::reply::{Many, Reply, ReplyFault, ReplyLimits, UNLIMITED};
use crate::Outcome;
use smallvec::SmallVec;

/// Reads replies from the front of what a connection has received. One a connection.
///
/// After `Partial`, the next call must bring the same bytes and more; after `Done`, the bytes after `used`.
#[derive(Debug)]
pub struct Replies {
    limits: ReplyLimits,
    scan: Scan,
}

/// How far the end of a reply was looked for.
#[derive(Debug, Default)]
struct Scan {
    /// Everything before this was understood.
    at: usize,
    /// Up to here no line end was found.
    seen: usize,
    /// Where the reply itself begins, behind its attributes.
    head: usize,
    /// Elements missing on each level within the reply, the innermost last.
    levels: SmallVec<[Level; 4]>,
}

#[derive(Debug, Clone, Copy)]
struct Level {
    left: usize,
    /// Attributes stand before an element and are none.
    attribute: bool,
}

/// One thing read: a scalar or the head of a list.
enum Piece<'a> {
    Leaf(Reply<'a>),
    List { kind: u8, elements: usize },
}

/// Why there is no piece.
enum Lack {
    Partial { need: usize },
    Fault(ReplyFault),
}

impl Replies {
    /// A reader at the beginning of a connection.
    pub fn new(limits: ReplyLimits) -> Self {
        Replies { limits, scan: Scan::default() }
    }

    /// The first reply of `bytes`, which are all bytes received and not consumed.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Outcome<Reply<'a>, ReplyFault> {
        if self.scan.at == 0 {
            match piece(bytes, 0, &mut self.scan.seen, &self.limits) {
                Ok((Piece::Leaf(value), used)) => {
                    self.scan.seen = 0;
                    return Outcome::Done { value, used };
                }
                Ok((Piece::List { .. }, _)) => {}
                Err(Lack::Partial { need }) => return Outcome::Partial { need },
                Err(Lack::Fault(fault)) => return Outcome::Fault(fault),
            }
        }
        match self.scan.run(bytes, &self.limits) {
            Ok(()) => {
                let scan = std::mem::take(&mut self.scan);
                self.scan.levels = scan.levels;
                Outcome::Done { value: whole(&bytes[scan.head..scan.at]), used: scan.at }
            }
            Err(Lack::Partial { need }) => Outcome::Partial { need },
            Err(Lack::Fault(fault)) => Outcome::Fault(fault),
        }
    }
}

impl Scan {
    /// Goes on until the reply's end.
    fn run(&mut self, bytes: &[u8], limits: &ReplyLimits) -> Result<(), Lack> {
        loop {
            let (piece, next) = piece(bytes, self.at, &mut self.seen, limits)?;
            let (elements, attribute) = match piece {
                Piece::Leaf(_) => (0, false),
                Piece::List { kind, elements } => (elements, kind == b'|'),
            };
            if !attribute {
                match self.levels.last_mut() {
                    Some(level) => level.left -= 1,
                    None => self.head = self.at,
                }
            }
            self.at = next;
            if elements > 0 {
                if self.levels.len() >= limits.depth_max {
                    return Err(Lack::Fault(ReplyFault::TooDeep));
                }
                self.levels.push(Level { left: elements, attribute });
            }
            if self.close_levels(attribute) {
                return Ok(());
            }
        }
    }

    /// Leaves the levels that are complete. Whether the reply is: what ended last is no attribute, and nothing
    /// is around it. `attribute` says what ended if no level did.
    fn close_levels(&mut self, mut attribute: bool) -> bool {
        while let Some(level) = self.levels.last()
            && level.left == 0
        {
            attribute = level.attribute;
            self.levels.pop();
        }
        self.levels.is_empty() && !attribute
    }
}

/// The reply that a whole one's bytes are.
fn whole(bytes: &[u8]) -> Reply<'_> {
    match piece(bytes, 0, &mut 0, &UNLIMITED) {
        Ok((Piece::Leaf(reply), _)) => reply,
        Ok((Piece::List { kind, elements }, next)) => {
            let many = Many { count: elements, bytes: &bytes[next..] };
            match kind {
                b'~' => Reply::Set(many),
                b'%' => Reply::Map(many),
                b'>' => Reply::Push(many),
                _ => Reply::Array(many),
            }
        }
        // Not reached: these bytes were read a moment ago.
        Err(_) => Reply::Null,
    }
}

/// Reads the scalar or the head of a list at `at`, and where the next one begins.
#[inline]
fn piece<'a>(
    bytes: &'a [u8],
    at: usize,
    seen: &mut usize,
    limits: &ReplyLimits,
) -> Result<(Piece<'a>, usize), Lack> {
    let Some(&kind) = bytes.get(at) else {
        return Err(Lack::Partial { need: at + 1 });
    };
    match kind {
        b'$' | b'!' | b'=' => bulk(kind, bytes, at + 1, seen, limits),
        b'*' | b'~' | b'%' | b'>' | b'|' => list(kind, bytes, at + 1, seen, limits),
        b':' => {
            let (value, next) = number(kind, bytes, at + 1, seen, limits)?;
            Ok((Piece::Leaf(Reply::Integer(value)), next))
        }
        b'+' | b'-' | b'_' | b'#' | b',' | b'(' => {
            let (text, next) = line(bytes, at + 1, seen, limits)?;
            let reply = scalar(kind, text).ok_or(Lack::Fault(ReplyFault::Line(kind)))?;
            Ok((Piece::Leaf(reply), next))
        }
        other => Err(Lack::Fault(ReplyFault::Kind(other))),
    }
}

/// What the text of a one-line reply means.
fn scalar(kind: u8, text: &[u8]) -> Option<Reply<'_>> {
    match (kind, text) {
        (b'+', _) => Some(Reply::Simple(text)),
        (b'-', _) => Some(Reply::Error(text)),
        (b'_', []) => Some(Reply::Null),
        (b'#', b"t") => Some(Reply::Boolean(true)),
        (b'#', b"f") => Some(Reply::Boolean(false)),
        (b',', _) => std::str::from_utf8(text).ok()?.parse().ok().map(Reply::Double),
        (b'(', _) => {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
            plain.then_some(Reply::BigNumber(text))
        }
        _ => None,
    }
}

fn bulk<'a>(
    kind: u8,
    bytes: &'a [u8],
    at: usize,
    seen: &mut usize,
    limits: &ReplyLimits,
) -> Result<(Piece<'a>, usize), Lack> {
    let (length, start) = number(kind, bytes, at, seen, limits)?;
    if length == -1 && kind == b'$' {
        return Ok((Piece::Leaf(Reply::Null), start));
    }
    let length = usize::try_from(length).map_err(|_| Lack::Fault(ReplyFault::BulkLength))?;
    if length > limits.bulk_max {
        return Err(Lack::Fault(ReplyFault::BulkLength));
    }
    let end = start + length;
    if end + 2 > limits.reply_max {
        return Err(Lack::Fault(ReplyFault::TooBig));
    }
    let Some(close) = bytes.get(end..end + 2) else {
        return Err(Lack::Partial { need: end + 2 });
    };
    if close != b"\r\n" {
        return Err(Lack::Fault(ReplyFault::End));
    }
    let text = &bytes[start..end];
    let reply = match kind {
        b'$' => Reply::Bulk(text),
        b'!' => Reply::Error(text),
        _ => match (text.get(..3), text.get(3), text.get(4..)) {
            (Some(format), Some(b':'), Some(text)) => Reply::Verbatim { format, text },
            _ => return Err(Lack::Fault(ReplyFault::Line(kind))),
        },
    };
    Ok((Piece::Leaf(reply), end + 2))
}

fn list<'a>(
    kind: u8,
    bytes: &'a [u8],
    at: usize,
    seen: &mut usize,
    limits: &ReplyLimits,
) -> Result<(Piece<'a>, usize), Lack> {
    let (count, next) = number(kind, bytes, at, seen, limits)?;
    if count == -1 && kind == b'*' {
        return Ok((Piece::Leaf(Reply::Null), next));
    }
    let count = usize::try_from(count).map_err(|_| Lack::Fault(ReplyFault::Count))?;
    let each = if matches!(kind, b'%' | b'|') { 2 } else { 1 };
    match count.checked_mul(each) {
        Some(elements) if elements <= limits.elements_max => Ok((Piece::List { kind, elements }, next)),
        _ => Err(Lack::Fault(ReplyFault::Count)),
    }
}

/// Reads the number on the line at `at`.
#[inline]
fn number(
    kind: u8,
    bytes: &[u8],
    at: usize,
    seen: &mut usize,
    limits: &ReplyLimits,
) -> Result<(i64, usize), Lack> {
    match number_line(bytes, at, seen, limits.line_max) {
        Line::Number { value, next } => {
            within(next, bytes, limits)?;
            Ok((value, next))
        }
        Line::NotANumber => Err(Lack::Fault(ReplyFault::Line(kind))),
        Line::Partial => Err(Lack::Partial { need: bytes.len() + 1 }),
        Line::TooLong => Err(Lack::Fault(ReplyFault::LineTooLong)),
    }
}

/// Reads the line at `at`.
#[inline]
fn line<'a>(
    bytes: &'a [u8],
    at: usize,
    seen: &mut usize,
    limits: &ReplyLimits,
) -> Result<(&'a [u8], usize), Lack> {
    match line_end(bytes, at, seen, limits.line_max) {
        LineEnd::At(end) => {
            within(end + 2, bytes, limits)?;
            Ok((&bytes[at..end], end + 2))
        }
        LineEnd::Partial => Err(Lack::Partial { need: bytes.len() + 1 }),
        LineEnd::TooLong => Err(Lack::Fault(ReplyFault::LineTooLong)),
    }
}

/// A line that ends before `next` ends with `\n`, and within the reply's bound.
#[inline]
fn within(next: usize, bytes: &[u8], limits: &ReplyLimits) -> Result<(), Lack> {
    if bytes[next - 1] != b'\n' {
        return Err(Lack::Fault(ReplyFault::End));
    }
    if next > limits.reply_max { Err(Lack::Fault(ReplyFault::TooBig)) } else { Ok(()) }
}
