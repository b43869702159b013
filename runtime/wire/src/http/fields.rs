//! The fields of a head: places in the bytes that were read, nothing copied.
//!
//! Up to 24 fields cost no allocation; browsers send some 15. A [`Field`] is made by the readers alone, so whoever
//! holds one holds the proof that it can be written again.

use super::byte::trim;
use super::framing::{Connection, Known};
use super::text::has_token;
use smallvec::SmallVec;
use std::fmt;

/// Fields noted without an allocation. The quick reader takes heads of so many and leaves longer ones to the strict one.
pub(super) const SPANS_INLINE: usize = 24;

/// Fields that concern one connection alone (RFC 9110 sections 7.6.1, 7.8, 10.1.4 and 11.7, RFC 7540 section 3.2.1),
/// and Content-Length: who forwards a message says its framing anew.
const HOPS: [&str; 9] = [
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "proxy-authenticate",
    "proxy-authorization",
    "http2-settings",
    "content-length",
];

/// Where a field is in its head, which has 16 bits of bytes at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    name: u16,
    colon: u16,
    value: u16,
    end: u16,
}

impl Span {
    /// No field.
    pub(super) const NONE: Span = Span { name: 0, colon: 0, value: 0, end: 0 };

    /// A name from `name` on, its colon, and the value trimmed.
    #[inline(always)]
    pub(super) fn new(name: usize, colon: usize, value: usize, end: usize) -> Self {
        Span { name: name as u16, colon: colon as u16, value: value as u16, end: end as u16 }
    }
}

/// One field as it came: a name that is a token, and a value without control bytes and outer white space.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

impl<'a> Field<'a> {
    /// The name, in the case in which it came.
    #[inline]
    #[must_use]
    pub fn name(&self) -> &'a [u8] {
        self.name
    }

    /// The value: visible bytes, spaces, tabs, and bytes over 0x7f. May be empty.
    #[inline]
    #[must_use]
    pub fn value(&self) -> &'a [u8] {
        self.value
    }

    /// Whether its name is this, in any case.
    #[inline]
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name.escape_ascii(), self.value.escape_ascii())
    }
}

/// The fields of one head, in the order in which they came.
#[derive(Clone)]
pub struct Fields<'a> {
    text: &'a [u8],
    spans: SmallVec<[Span; SPANS_INLINE]>,
    connection: Connection,
}

impl<'a> Fields<'a> {
    /// The first `count` of `spans`, places in the head `text`.
    #[inline(always)]
    pub(super) fn of(text: &'a [u8], spans: [Span; SPANS_INLINE], count: usize) -> Self {
        Fields { text, spans: SmallVec::from_buf_and_len(spans, count), connection: Connection::default() }
    }

    /// The fields of a head that was found well-formed, its first field line at `at`.
    pub(super) fn split(text: &'a [u8], mut at: usize, known: &mut Known<'a>) -> Self {
        let mut spans = SmallVec::new();
        while let Some(feed) = memchr::memchr(b'\n', &text[at..])
            && let Some(colon) = memchr::memchr(b':', &text[at..at + feed])
        {
            let (name, colon, line_end) = (at, at + colon, at + feed - 1);
            let blank = text[colon + 1..line_end].iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
            let value = colon + 1 + blank.count();
            let end = value + trim(&text[value..line_end]).len();
            known.note(&text[name..colon], &text[value..end]);
            spans.push(Span::new(name, colon, value, end));
            at = line_end + 2;
        }
        Fields { text, spans, connection: Connection::default() }
    }

    pub(super) fn set_connection(&mut self, connection: Connection) {
        self.connection = connection;
    }

    /// How many fields.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// All of them.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> Iter<'a, '_> {
        Iter { text: self.text, spans: self.spans.iter() }
    }

    /// The value of the first field of this name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|field| field.is(name)).map(|field| field.value())
    }

    /// The values of all fields of this name.
    pub fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'a [u8]> + 'f {
        self.iter().filter(move |field| field.is(name)).map(|field| field.value())
    }

    /// What the Connection fields said.
    #[inline]
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// What is passed on to the next hop: all but Connection, what it names, the other fields of one connection
    /// (RFC 9110 section 7.6.1) and Content-Length, since a writer says the framing anew. Host is passed on even if
    /// Connection names it.
    #[must_use]
    pub fn end_to_end(&self) -> EndToEnd<'a, '_> {
        EndToEnd { fields: self, all: self.iter() }
    }

    fn is_hop(&self, field: &Field<'a>) -> bool {
        if field.is("connection") || HOPS.iter().any(|hop| field.is(hop)) {
            return true;
        }
        self.connection.names_others
            && !field.is("host")
            && self.all("connection").any(|value| has_token(value, field.name))
    }
}

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Fields, one after another.
#[derive(Debug, Clone)]
pub struct Iter<'a, 'f> {
    text: &'a [u8],
    spans: std::slice::Iter<'f, Span>,
}

impl<'a> Iterator for Iter<'a, '_> {
    type Item = Field<'a>;

    #[inline]
    fn next(&mut self) -> Option<Field<'a>> {
        self.spans.next().map(|span| Field {
            name: &self.text[usize::from(span.name)..usize::from(span.colon)],
            value: &self.text[usize::from(span.value)..usize::from(span.end)],
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.spans.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_, '_> {}

/// The fields that are passed on.
#[derive(Debug, Clone)]
pub struct EndToEnd<'a, 'f> {
    fields: &'f Fields<'a>,
    all: Iter<'a, 'f>,
}

impl<'a> Iterator for EndToEnd<'a, '_> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        self.all.find(|field| !self.fields.is_hop(field))
    }
}
