//! What a system answers: a status, a media type, some fields and the bytes.

use machine::Blob;

/// An answer. What is not said here (length, date, what becomes of the connection) is added when it is sent.
#[derive(Clone, Debug)]
pub struct Answer<'a> {
    /// Its status: 200.
    pub status: u16,
    /// The media type of its body; empty for none.
    pub media: &'a str,
    /// Further fields. One whose name or value may not be said so is left out, and an assertion fails in tests.
    pub fields: &'a [(&'a str, &'a str)],
    /// Its body.
    pub body: Content<'a>,
}

/// A body.
#[derive(Clone, Debug)]
pub enum Content<'a> {
    /// Copied into the connection's output, once.
    Bytes(&'a [u8]),
    /// Moved there: for what is large.
    Blob(Blob),
}

impl Content<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Blob(blob) => blob.len(),
        }
    }
}

/// The media type of JSON.
pub const JSON: &str = "application/json";
/// The media type of plain text.
pub const TEXT: &str = "text/plain; charset=utf-8";

impl<'a> Answer<'a> {
    /// An answer of these bytes.
    #[must_use]
    pub const fn new(status: u16, media: &'a str, bytes: &'a [u8]) -> Self {
        Self { status, media, fields: &[], body: Content::Bytes(bytes) }
    }

    /// Nothing but a status.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self::new(status, "", b"")
    }

    /// A text.
    #[must_use]
    pub const fn text(status: u16, text: &'a str) -> Self {
        Self::new(status, TEXT, text.as_bytes())
    }

    /// JSON that is already bytes; a value is answered by [`Site::json`](crate::Site::json).
    #[must_use]
    pub const fn json(status: u16, bytes: &'a [u8]) -> Self {
        Self::new(status, JSON, bytes)
    }

    /// Bytes that are moved.
    #[must_use]
    pub const fn blob(status: u16, media: &'a str, blob: Blob) -> Self {
        Self { status, media, fields: &[], body: Content::Blob(blob) }
    }

    /// The same with these further fields.
    #[must_use]
    pub const fn with(mut self, fields: &'a [(&'a str, &'a str)]) -> Self {
        self.fields = fields;
        self
    }
}
