//! The server's reader: requests as arrays of bulks (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) or as inline lines.
//!
//! Arguments are ranges of the input: nothing is copied and an ordinary request allocates nothing. The one
//! hard thing is a request in pieces. The reader keeps how far it came (which argument, how far a line end
//! was looked for), so each byte is looked at twice at most, however finely the input is cut; what it keeps
//! is on the heap and exists only while a request is partial, so ten thousand idle connections pay eight
//! bytes each for it. An argument costs eight bytes of bookkeeping and at least six on the wire, and is noted
//! when its bytes are there: an announced count allocates nothing.

use super::fault::Fault;
use super::inline;
use super::number::{Line, number_line, short_number};
use crate::{BLOB_MIN, Outcome};
use memchr::memchr;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::ops::{Index, Range};

/// Before AUTH a client may send this many arguments and no more (Redis' number).
const STRANGER_ARGUMENTS_MAX: i64 = 10;
/// Before AUTH an argument may have this many bytes and no more (Redis' number).
const STRANGER_BULK_MAX: i64 = 16_384;
/// Arguments held without an allocation: SET with all its options has seven.
const SPANS_INLINE: usize = 8;

/// Where an argument is, in the text of its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Self {
        Span { start: start as u32, end: end as u32 }
    }

    #[inline]
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

pub(super) type Spans = SmallVec<[Span; SPANS_INLINE]>;

/// How much one request may be. The price of a greater bound is memory an unfinished request can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one request, its name included.
    pub arguments_max: usize,
    /// Bytes of one argument.
    pub bulk_max: usize,
    /// Bytes of one line: an inline request, or the number after `*` or `$`.
    pub inline_max: usize,
    /// Bytes of a whole request; at most `u32::MAX`, and cut to that.
    pub request_max: usize,
    /// Whether the client has yet to say who it is. A stranger may send 10 arguments of 16 KiB, as in Redis.
    pub stranger: bool,
}

impl Default for Limits {
    /// 1,048,576 arguments, 16 MiB an argument, 64 KiB a line, 256 MiB a request, no stranger.
    fn default() -> Self {
        Limits {
            arguments_max: 1024 * 1024,
            bulk_max: 16 * 1024 * 1024,
            inline_max: 64 * 1024,
            request_max: 256 * 1024 * 1024,
            stranger: false,
        }
    }
}

/// One request: its arguments, the command's name first.
///
/// It may have *no* arguments (`*0\r\n`, `*-1\r\n`, an empty line): consume it and answer nothing, as Redis does.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    text: Cow<'a, [u8]>,
    spans: Spans,
}

impl Request<'_> {
    /// How many arguments, the command's name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is nothing to answer.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `index`, 0 being the command's name.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.spans.get(index).map(|span| &self.text[span.range()])
    }

    /// All arguments from `first` on.
    #[inline]
    pub fn arguments(&self, first: usize) -> Arguments<'_> {
        Arguments { text: &self.text, spans: self.spans.get(first..).unwrap_or_default().iter() }
    }

    /// Where the argument at `index` is in the bytes that were read. None beyond the last, and None for a line
    /// with quotes, whose arguments are not in the input as they were meant.
    #[inline]
    pub fn range(&self, index: usize) -> Option<Range<usize>> {
        match &self.text {
            Cow::Borrowed(_) => self.spans.get(index).map(|span| span.range()),
            Cow::Owned(_) => None,
        }
    }

    /// Where the last argument is in the bytes that were read, if it has [`BLOB_MIN`] bytes or more: take the
    /// buffer of `used` bytes and this sub-range of it is the value, uncopied.
    #[inline]
    pub fn blob(&self) -> Option<Range<usize>> {
        self.range(self.len().checked_sub(1)?).filter(|range| range.len() >= BLOB_MIN)
    }
}

impl Index<usize> for Request<'_> {
    type Output = [u8];

    /// The argument at `index`. Panics beyond the last: check [`Request::len`] once, then index.
    #[inline]
    fn index(&self, index: usize) -> &[u8] {
        &self.text[self.spans[index].range()]
    }
}

/// The arguments of a request, one after another.
#[derive(Debug, Clone)]
pub struct Arguments<'r> {
    text: &'r [u8],
    spans: std::slice::Iter<'r, Span>,
}

impl<'r> Iterator for Arguments<'r> {
    type Item = &'r [u8];

    #[inline]
    fn next(&mut self) -> Option<&'r [u8]> {
        self.spans.next().map(|span| &self.text[span.range()])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Arguments<'_> {}

/// Reads requests from the front of what a connection has received. One a connection.
///
/// After `Partial`, the next call must bring the same bytes and more; after `Done`, the bytes after `used`.
#[derive(Debug)]
pub struct Reader {
    limits: Limits,
    partial: Option<Box<Progress>>,
}

/// How far a request in pieces has come.
#[derive(Debug, Default)]
struct Progress {
    /// Whether the `*` line was read.
    counted: bool,
    /// Arguments whose bytes are not all there.
    left: usize,
    /// The length of the argument at `at`, if its `$` line was read; `at` is then its first byte.
    length: Option<usize>,
    /// Everything before this was understood.
    at: usize,
    /// Up to here no line end was found.
    seen: usize,
    spans: Spans,
}

/// Where one more look at the bytes led.
enum Step {
    Whole,
    Partial { need: usize },
    Fault(Fault),
}

impl Reader {
    /// A reader at the beginning of a connection.
    pub fn new(limits: Limits) -> Self {
        let mut reader = Reader { limits, partial: None };
        reader.set_limits(limits);
        reader
    }

    /// Changes the limits from the next request on (after AUTH, say, the client is no stranger).
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = Limits { request_max: limits.request_max.min(u32::MAX as usize), ..limits };
    }

    /// Whether nothing of a request in pieces was read: what comes next begins one.
    #[inline]
    pub fn is_at_start(&self) -> bool {
        self.partial.is_none()
    }

    /// The limits in force.
    #[inline]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// After `Partial { need }`: whether what is missing is the rest of a *last* argument of [`BLOB_MIN`] bytes or
    /// more. Then `need` is exactly the request's length, and receiving it into one buffer of that size lets
    /// the value be taken out without a copy. (For an earlier argument that would not pay: the buffer would
    /// have to grow, and be copied, for each further one.)
    pub fn blob_pending(&self) -> bool {
        match &self.partial {
            Some(progress) => progress.left == 1 && progress.length.is_some_and(|length| length >= BLOB_MIN),
            None => false,
        }
    }

    /// The first request of `bytes`, which are all bytes received and not consumed.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Outcome<Request<'a>, Fault> {
        match bytes.first() {
            Some(b'*') => {}
            Some(_) => return self.inline(bytes),
            None => return Outcome::Partial { need: 1 },
        }
        if self.partial.is_none()
            && let Some((spans, used)) = ordinary(bytes, &self.limits)
        {
            return Outcome::Done { value: Request { text: Cow::Borrowed(&bytes[..used]), spans }, used };
        }
        self.resume(bytes)
    }

    /// Goes on where the last call stopped, or begins with what is not ordinary. So what came with the first call
    /// may be looked at twice, and nothing more often.
    #[inline(never)]
    fn resume<'a>(&mut self, bytes: &'a [u8]) -> Outcome<Request<'a>, Fault> {
        let mut progress = self.partial.take().unwrap_or_default();
        match progress.advance(bytes, &self.limits) {
            Step::Whole => progress.done(bytes),
            Step::Partial { need } => {
                self.partial = Some(progress);
                Outcome::Partial { need }
            }
            Step::Fault(fault) => Outcome::Fault(fault),
        }
    }

    #[cold]
    fn inline<'a>(&mut self, bytes: &'a [u8]) -> Outcome<Request<'a>, Fault> {
        let bound = bytes.len().min(self.limits.inline_max + 1);
        let seen = self.partial.take().map_or(0, |progress| progress.seen).min(bound);
        let Some(found) = memchr(b'\n', &bytes[seen..bound]) else {
            if bytes.len() > self.limits.inline_max {
                return Outcome::Fault(Fault::InlineTooBig);
            }
            self.partial = Some(Box::new(Progress { seen: bound, ..Progress::default() }));
            return Outcome::Partial { need: bytes.len() + 1 };
        };
        let end = seen + found;
        let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
        match inline::split(line) {
            Ok((text, spans)) => Outcome::Done { value: Request { text, spans }, used: end + 1 },
            Err(inline::Unbalanced) => Outcome::Fault(Fault::UnbalancedQuotes),
        }
    }
}

/// A request of few short arguments, all there: nearly every request, read in one tight loop. None says only that it is
/// not one of these. Every bound holds here too: a count or length this loop takes is either within a
/// stranger's bounds by being short, or compared.
#[inline]
fn ordinary(bytes: &[u8], limits: &Limits) -> Option<(Spans, usize)> {
    let (count, mut at) = short_number(bytes, 1)?;
    let mut spans = [Span::new(0, 0); SPANS_INLINE];
    if count > limits.arguments_max {
        return None;
    }
    for span in spans.get_mut(..count)? {
        if bytes.get(at) != Some(&b'$') {
            return None;
        }
        let (length, start) = short_number(bytes, at + 1)?;
        let end = start + length;
        if length > limits.bulk_max || end + 2 > bytes.len() {
            return None;
        }
        *span = Span::new(start, end);
        at = end + 2;
    }
    (at <= limits.request_max).then(|| (Spans::from_buf_and_len(spans, count), at))
}

impl Progress {
    fn done<'a>(&mut self, bytes: &'a [u8]) -> Outcome<Request<'a>, Fault> {
        let spans = std::mem::take(&mut self.spans);
        Outcome::Done { value: Request { text: Cow::Borrowed(&bytes[..self.at]), spans }, used: self.at }
    }

    /// Takes in what can be taken in, from `at` on.
    #[inline]
    fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Step {
        if !self.counted {
            match number_line(bytes, 1, &mut self.seen, limits.inline_max) {
                Line::Number { value, next } => match count(value, limits) {
                    Ok(left) => (self.counted, self.left, self.at) = (true, left, next),
                    Err(fault) => return Step::Fault(fault),
                },
                Line::NotANumber => return Step::Fault(Fault::MultibulkLength),
                Line::Partial => return Step::Partial { need: bytes.len() + 1 },
                Line::TooLong => return Step::Fault(Fault::MultibulkCountTooBig),
            }
        }
        while self.left > 0 {
            let length = match self.length {
                Some(length) => length,
                None => match self.bulk_line(bytes, limits) {
                    Ok(length) => length,
                    Err(step) => return step,
                },
            };
            // As in Redis, the two bytes that end an argument are counted and not looked at.
            let end = self.at + length;
            if end + 2 > bytes.len() {
                self.length = Some(length);
                return Step::Partial { need: end + 2 };
            }
            self.spans.push(Span::new(self.at, end));
            (self.at, self.left, self.length) = (end + 2, self.left - 1, None);
        }
        Step::Whole
    }

    /// Reads the `$` line at `at` and moves `at` behind it; the length, within every bound.
    #[inline]
    fn bulk_line(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Step> {
        match bytes.get(self.at) {
            Some(b'$') => {}
            Some(&byte) => return Err(Step::Fault(Fault::NotABulk(byte))),
            None => return Err(Step::Partial { need: self.at + 1 }),
        }
        match number_line(bytes, self.at + 1, &mut self.seen, limits.inline_max) {
            Line::Number { value, next } => {
                let length = length(value, limits).map_err(Step::Fault)?;
                if next + length + 2 > limits.request_max {
                    return Err(Step::Fault(Fault::RequestTooBig));
                }
                self.at = next;
                Ok(length)
            }
            Line::NotANumber => Err(Step::Fault(Fault::BulkLength)),
            Line::Partial => Err(Step::Partial { need: bytes.len() + 1 }),
            Line::TooLong => Err(Step::Fault(Fault::BulkCountTooBig)),
        }
    }
}

/// How many arguments follow: none for zero and below, as in Redis.
#[inline]
fn count(value: i64, limits: &Limits) -> Result<usize, Fault> {
    let count = usize::try_from(value.max(0)).map_err(|_| Fault::MultibulkLength)?;
    if count > limits.arguments_max {
        return Err(Fault::MultibulkLength);
    }
    if limits.stranger && value > STRANGER_ARGUMENTS_MAX {
        return Err(Fault::StrangerMultibulk);
    }
    Ok(count)
}

#[inline]
fn length(value: i64, limits: &Limits) -> Result<usize, Fault> {
    let length = usize::try_from(value).map_err(|_| Fault::BulkLength)?;
    if length > limits.bulk_max {
        return Err(Fault::BulkLength);
    }
    if limits.stranger && value > STRANGER_BULK_MAX {
        return Err(Fault::StrangerBulk);
    }
    Ok(length)
}
