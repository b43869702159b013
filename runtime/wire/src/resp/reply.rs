//! What a server answers, as its client has it: every reply type of RESP2 and RESP3.
//!
//! Nothing is built: scalars are borrowed from the bytes that brought them, and a list is the bytes of its elements,
//! walked only if somebody asks. The one hard thing is that walking can not fail: a list is handed out only
//! after every element in it was read once.

use super::replies::Replies;
use crate::Outcome;
use std::fmt;

/// How much one reply may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyLimits {
    /// Bytes of a line: a simple string, an error, a number.
    pub line_max: usize,
    /// Bytes of a bulk.
    pub bulk_max: usize,
    /// Elements of one list (keys and values of a map).
    pub elements_max: usize,
    /// Lists within lists; also bounds whoever walks them recursively.
    pub depth_max: usize,
    /// Bytes of a whole reply.
    pub reply_max: usize,
}

impl Default for ReplyLimits {
    /// 64 KiB a line, 512 MiB a bulk, 16 Mi elements, 32 levels, 1 GiB a reply.
    fn default() -> Self {
        ReplyLimits {
            line_max: 64 * 1024,
            bulk_max: 512 * 1024 * 1024,
            elements_max: 16 * 1024 * 1024,
            depth_max: 32,
            reply_max: 1024 * 1024 * 1024,
        }
    }
}

/// Why bytes can not be a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyFault {
    /// No reply begins with this byte.
    Kind(u8),
    /// A line's text is not what its kind demands.
    Line(u8),
    /// A bulk or a line does not end with `\r\n`.
    End,
    /// A line over `line_max`.
    LineTooLong,
    /// A bulk over `bulk_max`, or a negative length.
    BulkLength,
    /// A list over `elements_max`, or a negative count.
    Count,
    /// Lists nested deeper than `depth_max`.
    TooDeep,
    /// A reply over `reply_max`.
    TooBig,
}

impl fmt::Display for ReplyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplyFault::Kind(byte) => write!(f, "no reply begins with '{}'", byte.escape_ascii()),
            ReplyFault::Line(kind) => write!(f, "malformed text in a '{}' reply", kind.escape_ascii()),
            ReplyFault::End => f.write_str("a reply does not end with a line end"),
            ReplyFault::LineTooLong => f.write_str("a reply's line is too long"),
            ReplyFault::BulkLength => f.write_str("a bulk reply's length is negative or too great"),
            ReplyFault::Count => f.write_str("a list reply's count is negative or too great"),
            ReplyFault::TooDeep => f.write_str("a reply is nested too deeply"),
            ReplyFault::TooBig => f.write_str("a reply is too long"),
        }
    }
}

impl std::error::Error for ReplyFault {}

/// One reply, borrowed from the bytes that brought it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reply<'a> {
    /// `+`
    Simple(&'a [u8]),
    /// `-` or `!`: the code, a space, words.
    Error(&'a [u8]),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(&'a [u8]),
    /// `_`, `$-1` or `*-1`
    Null,
    /// `#`
    Boolean(bool),
    /// `,`
    Double(f64),
    /// `(`, as decimal text.
    BigNumber(&'a [u8]),
    /// `=`
    Verbatim {
        /// Three letters: `txt` or `mkd`.
        format: &'a [u8],
        /// The text itself.
        text: &'a [u8],
    },
    /// `*`
    Array(Many<'a>),
    /// `~`
    Set(Many<'a>),
    /// `%`: keys and values in turn.
    Map(Many<'a>),
    /// `>`: nobody asked for it.
    Push(Many<'a>),
}

/// The elements of a list, whole and well-formed, as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Many<'a> {
    pub(super) count: usize,
    pub(super) bytes: &'a [u8],
}

impl<'a> Many<'a> {
    /// How many elements; for a map, keys and values both counted.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The elements' bytes as they came.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The elements, one after another. Each step scans that element once more.
    pub fn iter(&self) -> Elements<'a> {
        Elements { left: self.count, bytes: self.bytes }
    }
}

impl<'a> IntoIterator for Many<'a> {
    type Item = Reply<'a>;
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

/// Walks the elements of a list.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    left: usize,
    bytes: &'a [u8],
}

/// The bounds were held when the list was read; they need not be held again.
pub(super) const UNLIMITED: ReplyLimits = ReplyLimits {
    line_max: usize::MAX >> 1,
    bulk_max: usize::MAX >> 1,
    elements_max: usize::MAX >> 1,
    depth_max: usize::MAX,
    reply_max: usize::MAX,
};

impl<'a> Iterator for Elements<'a> {
    type Item = Reply<'a>;

    fn next(&mut self) -> Option<Reply<'a>> {
        self.left = self.left.checked_sub(1)?;
        match Replies::new(UNLIMITED).next(self.bytes) {
            Outcome::Done { value, used } => {
                self.bytes = &self.bytes[used..];
                Some(value)
            }
            // Not reached: a Many is made only of bytes that were read whole.
            Outcome::Partial { .. } | Outcome::Fault(_) => None,
        }
    }
}
