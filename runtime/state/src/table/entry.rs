//! An entry as it is seen from outside: a key, a value on its way in or as it lies, and what else is known.

use super::usage::{Track, Usage};
use machine::{Blob, WallTime};

/// What a small entry costs beside its key and value, in bytes, on average over segments that are two thirds full:
/// what stands before them in its record (5), its tag and offset (5), its part of the rest of its segment and of the
/// slot's table (5), of ends of chunks (5), and of what the allocator keeps to itself (2).
pub const ENTRY_OVERHEAD: usize = 22;

/// A value on its way into the table. Other types of values will be further variants.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// To be copied.
    Bytes(&'a [u8]),
    /// To be shared; copied after all when it is shorter than [`BLOB_MIN`](machine::blob::BLOB_MIN).
    Blob(Blob),
}

impl Value<'_> {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Blob(blob) => blob,
        }
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Blob> for Value<'_> {
    fn from(blob: Blob) -> Self {
        Self::Blob(blob)
    }
}

/// A value as it lies in the table: a blob from [`BLOB_MIN`](machine::blob::BLOB_MIN) bytes on, else bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View<'a> {
    /// Copied when it is to leave the table.
    Bytes(&'a [u8]),
    /// Cloned when it is to leave the table.
    Blob(&'a Blob),
}

impl<'a> View<'a> {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Blob(blob) => blob,
        }
    }

    /// The same, to be put into a table.
    #[must_use]
    pub fn to_value(self) -> Value<'a> {
        match self {
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Blob(blob) => Value::Blob(blob.clone()),
        }
    }
}

/// An entry as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: View<'a>,
    /// From when on it is gone; none when it stays.
    pub expiry: Option<WallTime>,
    /// When it was last looked up or set, in whole seconds of the wall clock modulo 2^32; modulo 2^24 in a sample.
    pub used_second: u32,
    pub(super) usage: Usage,
    pub(super) track: Track,
}

impl<'a> Entry<'a> {
    /// The bytes of its value.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.value.as_bytes()
    }

    /// Seconds since it was last looked up or set, modulo 194 days. In whole minutes modulo 45 days, while the
    /// table tracks frequency.
    #[must_use]
    pub fn idle_seconds(&self, now: WallTime) -> u32 {
        self.usage.idle_seconds(self.track, now)
    }

    /// About how often it was used, on a scale to 255 that some million uses reach; none unless the table tracks
    /// frequency.
    #[must_use]
    pub fn frequency(&self, now: WallTime) -> Option<u8> {
        match self.track {
            Track::Recency => None,
            Track::Frequency => Some(self.usage.count(now)),
        }
    }

    /// About what it costs in memory, in bytes.
    #[must_use]
    pub fn cost(&self) -> usize {
        let expiry = if self.expiry.is_some() { size_of::<WallTime>() } else { 0 };
        self.key.len() + self.value.as_bytes().len() + expiry + ENTRY_OVERHEAD
    }
}
