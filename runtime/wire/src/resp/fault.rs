//! Why bytes can not be a request, in the words Redis sends before it closes.
//!
//! The one hard thing: client libraries and their tests compare these words, so they are Redis 7's to the byte.

use std::fmt;

/// Why bytes can not be a request. [`Fault::write`] gives the words Redis answers with before it closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The number after `*` is none, or over `arguments_max`.
    MultibulkLength,
    /// The number after `$` is none, negative, or over `bulk_max`.
    BulkLength,
    /// An argument began with this byte instead of `$`.
    NotABulk(u8),
    /// An inline line over `inline_max`.
    InlineTooBig,
    /// The line after `*` is over `inline_max`.
    MultibulkCountTooBig,
    /// The line after `$` is over `inline_max`.
    BulkCountTooBig,
    /// A quote in an inline line is not closed.
    UnbalancedQuotes,
    /// More arguments than one who has not said who they are may send.
    StrangerMultibulk,
    /// A longer argument than one who has not said who they are may send.
    StrangerBulk,
    /// The request as a whole is over `request_max`. (Redis closes without a word here.)
    RequestTooBig,
}

impl Fault {
    /// Appends the error reply, `-ERR Protocol error: …\r\n`, byte for byte as Redis 7 sends it.
    pub fn write(self, into: &mut Vec<u8>) {
        into.extend_from_slice(b"-ERR Protocol error: ");
        match self {
            Fault::NotABulk(byte) => {
                let shown = if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
                into.extend_from_slice(b"expected '$', got '");
                into.extend_from_slice(&[shown, b'\'']);
            }
            other => into.extend_from_slice(other.words().as_bytes()),
        }
        into.extend_from_slice(b"\r\n");
    }

    fn words(self) -> &'static str {
        match self {
            Fault::MultibulkLength => "invalid multibulk length",
            Fault::BulkLength => "invalid bulk length",
            Fault::NotABulk(_) => "expected '$'",
            Fault::InlineTooBig => "too big inline request",
            Fault::MultibulkCountTooBig => "too big mbulk count string",
            Fault::BulkCountTooBig => "too big bulk count string",
            Fault::UnbalancedQuotes => "unbalanced quotes in request",
            Fault::StrangerMultibulk => "unauthenticated multibulk length",
            Fault::StrangerBulk => "unauthenticated bulk length",
            Fault::RequestTooBig => "too big request",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotABulk(byte) => {
                write!(f, "Protocol error: expected '$', got '{}'", char::from(*byte).escape_default())
            }
            other => write!(f, "Protocol error: {}", other.words()),
        }
    }
}

impl std::error::Error for Fault {}
