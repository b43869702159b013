//! An entry as it is stored: 40 bytes with its small value inside, or one allocation that holds key and value, or
//! a blob that is counted and never copied. Which of the three it is follows from lengths alone, so two tables
//! with the same content have the same shape.

use machine::blob::BLOB_MIN;
use machine::{Blob, WallTime};

/// The longest key and value, together, that need no allocation of their own.
pub(super) const INLINE_MAX: usize = 21;

/// Stands for "never" among deadlines.
pub(super) const NEVER: u64 = u64::MAX;

/// What an entry costs beside the bytes it allocates: its bucket of 40 bytes at the mean load of 5/8.
pub const ENTRY_OVERHEAD: usize = 64;

/// What the allocator is taken to add to each allocation.
const ALLOCATION_OVERHEAD: usize = 16;

/// A value on its way into the table. Other types of values will be further variants.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// To be copied.
    Bytes(&'a [u8]),
    /// To be shared; copied after all when it is shorter than [`BLOB_MIN`].
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

/// A value as it lies in the table: a blob from [`BLOB_MIN`] bytes on, else bytes.
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
    /// When it was last looked up or set, in whole seconds of the wall clock, modulo 2^32.
    pub used_second: u32,
}

impl<'a> Entry<'a> {
    /// The bytes of its value.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.value.as_bytes()
    }
}

/// A place for an entry.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Microseconds after the epoch, or [`NEVER`].
    pub(super) deadline: u64,
    pub(super) hash: u32,
    pub(super) used_second: u32,
    pub(super) body: Body,
}

#[derive(Debug, Default)]
pub(super) enum Body {
    #[default]
    Vacant,
    /// Key, then value, then nothing.
    Inline { key_len: u8, len: u8, bytes: [u8; INLINE_MAX] },
    /// Key, then value.
    Heap { key_len: u32, bytes: Box<[u8]> },
    /// Boxed to keep buckets small; beside a blob of [`BLOB_MIN`] bytes the allocation is nothing.
    Large(Box<Large>),
}

#[derive(Debug)]
pub(super) struct Large {
    key: Box<[u8]>,
    value: Blob,
}

const _: () = assert!(size_of::<Body>() == 24, "the inline bytes were chosen to fill the body");
const _: () = assert!(size_of::<Bucket>() == 40, "three buckets in two cache lines");

impl Body {
    pub(super) fn new(key: &[u8], value: Value<'_>) -> Self {
        let len = value.as_bytes().len();
        if len >= BLOB_MIN {
            let value = match value {
                Value::Blob(blob) => blob,
                Value::Bytes(bytes) => Blob::from(bytes.to_vec()),
            };
            return Self::Large(Box::new(Large { key: key.into(), value }));
        }
        let value = value.as_bytes();
        if key.len() + len <= INLINE_MAX {
            let mut bytes = [0; INLINE_MAX];
            bytes[..key.len()].copy_from_slice(key);
            bytes[key.len()..key.len() + len].copy_from_slice(value);
            return Self::Inline { key_len: key.len() as u8, len: (key.len() + len) as u8, bytes };
        }
        let key_len = u32::try_from(key.len()).expect("keys are shorter than 4 GiB");
        let mut bytes = Vec::with_capacity(key.len() + len);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Self::Heap { key_len, bytes: bytes.into_boxed_slice() }
    }

    pub(super) const fn is_vacant(&self) -> bool {
        matches!(self, Self::Vacant)
    }

    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Vacant => &[],
            Self::Inline { key_len, bytes, .. } => &bytes[..usize::from(*key_len)],
            Self::Heap { key_len, bytes } => &bytes[..*key_len as usize],
            Self::Large(large) => &large.key,
        }
    }

    pub(super) fn value(&self) -> View<'_> {
        match self {
            Self::Vacant => View::Bytes(&[]),
            Self::Inline { key_len, len, bytes } => {
                View::Bytes(&bytes[usize::from(*key_len)..usize::from(*len)])
            }
            Self::Heap { key_len, bytes } => View::Bytes(&bytes[*key_len as usize..]),
            Self::Large(large) => View::Blob(&large.value),
        }
    }

    /// The bytes of a value that is not shared.
    pub(super) fn value_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Vacant | Self::Large(_) => None,
            Self::Inline { key_len, len, bytes } => {
                Some(&mut bytes[usize::from(*key_len)..usize::from(*len)])
            }
            Self::Heap { key_len, bytes } => Some(&mut bytes[*key_len as usize..]),
        }
    }

    /// What it is taken to cost in memory, in bytes.
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Vacant => 0,
            Self::Inline { .. } => ENTRY_OVERHEAD,
            Self::Heap { bytes, .. } => ENTRY_OVERHEAD + ALLOCATION_OVERHEAD + bytes.len(),
            Self::Large(large) => {
                let allocations = 4 * ALLOCATION_OVERHEAD + size_of::<Large>();
                ENTRY_OVERHEAD + allocations + large.key.len() + large.value.len()
            }
        }
    }
}

impl Bucket {
    pub(super) fn entry(&self) -> Entry<'_> {
        Entry {
            key: self.body.key(),
            value: self.body.value(),
            expiry: self.expiry(),
            used_second: self.used_second,
        }
    }

    pub(super) fn expiry(&self) -> Option<WallTime> {
        (self.deadline != NEVER).then(|| WallTime::from_micros(self.deadline))
    }

    pub(super) const fn expires(&self) -> bool {
        self.deadline != NEVER
    }

    /// Whether it is gone at `now`: from its deadline on.
    pub(super) const fn is_expired(&self, now: WallTime) -> bool {
        self.deadline != NEVER && self.deadline <= now.micros()
    }
}
