//! The larges of a segment: entries too long for a record, each with an allocation of its own; a value from
//! [`BLOB_MIN`] on is a counted blob instead. A record keeps the place. Places are used again, so there are never
//! more of them than records.

use super::entry::{Value, View};
use super::room::{make_room, roomy};
use machine::Blob;
use machine::blob::BLOB_MIN;

/// What a blob takes beside its bytes: its count and vector in one allocation, [`Shared`] in another.
const BLOB_OVERHEAD: usize = 48 + roomy(size_of::<Shared>());

/// Entries too long for a record.
#[derive(Debug, Default)]
pub(super) struct Larges {
    places: Vec<Option<Large>>,
    /// What they have allocated, `places` apart.
    bytes: usize,
}

#[derive(Debug)]
pub(super) enum Large {
    /// Key, then value.
    Bytes { key_len: u32, bytes: Box<[u8]> },
    /// A value that is not copied.
    Blob(Box<Shared>),
}

/// Boxed to keep places small; beside a blob the allocation is nothing.
#[derive(Debug)]
pub(super) struct Shared {
    key: Box<[u8]>,
    value: Blob,
}

impl Large {
    pub(super) fn new(key: &[u8], value: Value<'_>) -> Self {
        if value.as_bytes().len() >= BLOB_MIN {
            let value = match value {
                Value::Blob(blob) => blob,
                Value::Bytes(bytes) => Blob::from(bytes.to_vec()),
            };
            return Self::Blob(Box::new(Shared { key: key.into(), value }));
        }
        let key_len = u32::try_from(key.len()).expect("keys are shorter than 4 GiB");
        let value = value.as_bytes();
        let mut bytes = Vec::with_capacity(key.len() + value.len());
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Self::Bytes { key_len, bytes: bytes.into_boxed_slice() }
    }

    pub(super) fn key(&self) -> &[u8] {
        match self {
            Self::Bytes { key_len, bytes } => &bytes[..*key_len as usize],
            Self::Blob(shared) => &shared.key,
        }
    }

    pub(super) fn value(&self) -> View<'_> {
        match self {
            Self::Bytes { key_len, bytes } => View::Bytes(&bytes[*key_len as usize..]),
            Self::Blob(shared) => View::Blob(&shared.value),
        }
    }

    /// The bytes of a value that is not shared.
    pub(super) fn value_mut(&mut self) -> Option<&mut [u8]> {
        match self {
            Self::Bytes { key_len, bytes } => Some(&mut bytes[*key_len as usize..]),
            Self::Blob(_) => None,
        }
    }

    /// What it has allocated, in bytes.
    pub(super) fn cost(&self) -> usize {
        match self {
            Self::Bytes { bytes, .. } => roomy(bytes.len()),
            Self::Blob(shared) => roomy(shared.key.len()) + roomy(shared.value.len()) + BLOB_OVERHEAD,
        }
    }
}

impl Larges {
    pub(super) fn get(&self, place: usize) -> &Large {
        self.places[place].as_ref().expect("a record names a place in use")
    }

    pub(super) fn get_mut(&mut self, place: usize) -> &mut Large {
        self.places[place].as_mut().expect("a record names a place in use")
    }

    /// Keeps it. Returns where.
    pub(super) fn put(&mut self, large: Large) -> usize {
        self.bytes += large.cost();
        let place = match self.places.iter().position(Option::is_none) {
            Some(place) => place,
            None => {
                make_room(&mut self.places);
                self.places.push(None);
                self.places.len() - 1
            }
        };
        self.places[place] = Some(large);
        place
    }

    /// Takes it out.
    pub(super) fn take(&mut self, place: usize) -> Large {
        let large = self.places[place].take().expect("a record names a place in use");
        self.bytes -= large.cost();
        while self.places.last().is_some_and(Option::is_none) {
            self.places.pop();
        }
        large
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What they have allocated, in bytes.
    pub(super) fn allocated(&self) -> usize {
        size_of::<Self>() + self.places.capacity() * size_of::<Option<Large>>() + self.bytes
    }

    /// The same, counted anew.
    #[cfg(test)]
    pub(super) fn recounted(&self) -> usize {
        let costs: usize = self.places.iter().flatten().map(Large::cost).sum();
        size_of::<Self>() + self.places.capacity() * size_of::<Option<Large>>() + costs
    }
}
