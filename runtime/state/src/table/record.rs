//! A record: how an entry lies among the bytes of its segment. Five bytes and the deadline, if there is one, come
//! before key and value; nothing is aligned and nothing is padded, because millions of these are what memory goes
//! to. The one choice to make was what all records carry: their lengths and when they were used, no hash.
//!
//! ```text
//! flags, lengths   2 bytes   a key of at most 31 bytes and a value of at most 255
//!                  4 bytes   longer ones, to RECORD_MAX in all
//! used             3 bytes   see usage
//! deadline         8 bytes   microseconds, only when there is one
//! key, value                 or, outside, nothing: then the key's length is the place among the segment's larges
//! ```

use super::chunks::CHUNK;
use super::usage::Usage;
use machine::WallTime;

/// Stands for "never" among deadlines.
pub(super) const NEVER: u64 = u64::MAX;

/// The longest record: two fit into a chunk. A longer entry has an allocation of its own, which then costs it
/// little.
pub(super) const RECORD_MAX: usize = CHUNK / 2;

const EXPIRES: u8 = 0x80;
const OUTSIDE: u8 = 0x40;
const LONG: u8 = 0x20;
/// What is left of the first byte for the key's length, or for its high bits.
const LENGTH: u8 = 0x1f;
const SHORT_KEY_MAX: usize = 31;
const SHORT_VALUE_MAX: usize = 255;
const USED_BYTES: usize = 3;
const DEADLINE_BYTES: usize = 8;
const HEAD_MAX: usize = 4 + USED_BYTES + DEADLINE_BYTES;

/// A record as it lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    /// From its first byte on, and further than its last.
    bytes: &'a [u8],
    flags: u8,
    key_len: usize,
    value_len: usize,
}

impl<'a> Record<'a> {
    /// The record that begins with the first of `bytes`.
    #[inline]
    pub(super) fn at(bytes: &'a [u8]) -> Self {
        let flags = bytes[0];
        let (key_len, value_len) = if flags & LONG == 0 {
            (usize::from(flags & LENGTH), usize::from(bytes[1]))
        } else {
            let high = usize::from(flags & LENGTH) << 8;
            (high | usize::from(bytes[1]), usize::from(u16::from_le_bytes([bytes[2], bytes[3]])))
        };
        Self { bytes, flags, key_len, value_len }
    }

    const fn used_at(self) -> usize {
        if self.flags & LONG == 0 { 2 } else { 4 }
    }

    pub(super) const fn key_at(self) -> usize {
        self.used_at() + USED_BYTES + if self.expires() { DEADLINE_BYTES } else { 0 }
    }

    pub(super) const fn expires(self) -> bool {
        self.flags & EXPIRES != 0
    }

    /// The place among the larges, if the entry lies there.
    pub(super) const fn outside(self) -> Option<usize> {
        if self.flags & OUTSIDE == 0 { None } else { Some(self.key_len) }
    }

    /// The bytes it takes.
    pub(super) const fn size(self) -> usize {
        self.value_range().1
    }

    /// Where the value begins and ends, both after the record's start.
    pub(super) const fn value_range(self) -> (usize, usize) {
        let start = self.key_at() + if self.outside().is_some() { 0 } else { self.key_len };
        (start, start + self.value_len)
    }

    /// The key, of a record that is not outside.
    pub(super) fn key(self) -> &'a [u8] {
        &self.bytes[self.key_at()..][..self.key_len]
    }

    /// Whether that is the key, of a record that is not outside.
    #[inline]
    pub(super) fn has_key(self, key: &[u8]) -> bool {
        self.key_len == key.len() && same(self.key(), key)
    }

    /// The value, of a record that is not outside.
    pub(super) fn value(self) -> &'a [u8] {
        let (start, end) = self.value_range();
        &self.bytes[start..end]
    }

    pub(super) fn used(self) -> Usage {
        let at = self.used_at();
        Usage::from_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2]])
    }

    pub(super) fn deadline(self) -> u64 {
        if !self.expires() {
            return NEVER;
        }
        let mut bytes = [0; DEADLINE_BYTES];
        bytes.copy_from_slice(&self.bytes[self.used_at() + USED_BYTES..][..DEADLINE_BYTES]);
        u64::from_le_bytes(bytes)
    }

    pub(super) fn expiry(self) -> Option<WallTime> {
        self.expires().then(|| WallTime::from_micros(self.deadline()))
    }

    /// Whether it is gone at `now`: from its deadline on.
    pub(super) fn is_expired(self, now: WallTime) -> bool {
        self.expires() && self.deadline() <= now.micros()
    }
}

/// Whether two texts of one length are the same. Keys of 8 to 16 bytes, which most are, are compared as two words, with
/// some bytes in both, and without a call.
#[inline]
fn same(one: &[u8], other: &[u8]) -> bool {
    match (one.first_chunk::<8>(), other.first_chunk::<8>(), one.last_chunk::<8>(), other.last_chunk::<8>()) {
        (Some(first), Some(second), Some(third), Some(fourth)) if one.len() <= 16 => {
            (u64::from_le_bytes(*first) ^ u64::from_le_bytes(*second))
                | (u64::from_le_bytes(*third) ^ u64::from_le_bytes(*fourth))
                == 0
        }
        _ => one == other,
    }
}

/// Notes in the record that begins with the first of `bytes` when it was used.
pub(super) fn set_used(bytes: &mut [u8], used: Usage) {
    let at = Record::at(bytes).used_at();
    bytes[at..at + USED_BYTES].copy_from_slice(&used.to_bytes());
}

/// Changes the deadline of the record that begins with the first of `bytes`, which must have one.
pub(super) fn set_deadline(bytes: &mut [u8], deadline: u64) {
    let at = Record::at(bytes).used_at() + USED_BYTES;
    bytes[at..at + DEADLINE_BYTES].copy_from_slice(&deadline.to_le_bytes());
}

/// Changes the place among the larges in the record that begins with the first of `bytes`, which is outside.
pub(super) fn set_outside(bytes: &mut [u8], place: usize) {
    bytes[0] = (bytes[0] & !LENGTH) | (place >> 8) as u8;
    bytes[1] = place as u8;
}

/// A record on its way in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draft<'a> {
    head: [u8; HEAD_MAX],
    head_len: usize,
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Draft<'a> {
    /// Of an entry that fits ([`fits`]).
    pub(super) fn inside(key: &'a [u8], value: &'a [u8], deadline: u64, used: Usage) -> Self {
        let (head, head_len) = head(0, key.len(), value.len(), deadline, used);
        Self { head, head_len, key, value }
    }

    /// Of an entry that lies among the larges.
    pub(super) fn outside(place: usize, deadline: u64, used: Usage) -> Self {
        // Always the long form, so that the place can be changed where it lies.
        let (head, head_len) = head(OUTSIDE | LONG, place, 0, deadline, used);
        Self { head, head_len, key: &[], value: &[] }
    }

    pub(super) const fn size(&self) -> usize {
        self.head_len + self.key.len() + self.value.len()
    }

    /// Writes it over the first of `bytes`.
    pub(super) fn write(&self, bytes: &mut [u8]) {
        let (head, rest) = bytes.split_at_mut(self.head_len);
        let (key, rest) = rest.split_at_mut(self.key.len());
        head.copy_from_slice(&self.head[..self.head_len]);
        key.copy_from_slice(self.key);
        rest[..self.value.len()].copy_from_slice(self.value);
    }
}

/// Whether such an entry is to lie among the records: the same with and without a deadline, so that where an
/// entry lies follows from its lengths.
pub(super) const fn fits(key_len: usize, value_len: usize) -> bool {
    key_len.saturating_add(value_len) <= RECORD_MAX - HEAD_MAX
}

fn head(flags: u8, key_len: usize, value_len: usize, deadline: u64, used: Usage) -> ([u8; HEAD_MAX], usize) {
    let mut head = [0; HEAD_MAX];
    let short = flags & LONG == 0 && key_len <= SHORT_KEY_MAX && value_len <= SHORT_VALUE_MAX;
    let expires = if deadline == NEVER { 0 } else { EXPIRES };
    let mut at = if short {
        head[0] = flags | expires | key_len as u8;
        head[1] = value_len as u8;
        2
    } else {
        head[0] = flags | expires | LONG | (key_len >> 8) as u8;
        head[1] = key_len as u8;
        head[2..4].copy_from_slice(&(value_len as u16).to_le_bytes());
        4
    };
    head[at..at + USED_BYTES].copy_from_slice(&used.to_bytes());
    at += USED_BYTES;
    if expires != 0 {
        head[at..at + DEADLINE_BYTES].copy_from_slice(&deadline.to_le_bytes());
        at += DEADLINE_BYTES;
    }
    (head, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_what_was_written_at_every_length() {
        let used = Usage::from_bytes([1, 2, 3]);
        let text = [b'x'; 300];
        for key_len in [0, 1, 31, 32, 100, 240, 241] {
            for value_len in [0, 1, 200, 240, 255, 256, 300] {
                for deadline in [0, 77, NEVER - 1, NEVER] {
                    let (key, value) = (&text[..key_len], &text[..value_len]);
                    let draft = Draft::inside(key, value, deadline, used);
                    let size = draft.size();
                    assert!(!fits(key_len, value_len) || size <= RECORD_MAX);
                    let mut bytes = vec![0xff; size + 4];
                    draft.write(&mut bytes);
                    assert_eq!(bytes[size..], [0xff; 4]);
                    let record = Record::at(&bytes);
                    assert_eq!((record.key(), record.value()), (key, value));
                    assert_eq!((record.size(), record.deadline(), record.outside()), (size, deadline, None));
                    assert_eq!(record.used(), used);
                }
            }
        }
    }

    #[test]
    fn what_lies_outside_says_where() {
        for place in 0..64 {
            let draft = Draft::outside(place, 5, Usage::default());
            let mut bytes = vec![0; draft.size()];
            draft.write(&mut bytes);
            assert_eq!(Record::at(&bytes).outside(), Some(place));
            set_outside(&mut bytes, 63 - place);
            set_deadline(&mut bytes, 6);
            let record = Record::at(&bytes);
            assert_eq!((record.outside(), record.deadline()), (Some(63 - place), 6));
            assert_eq!(record.size(), bytes.len());
        }
    }

    #[test]
    fn keys_are_the_same_when_every_byte_is() {
        let text: Vec<u8> = (0..40).collect();
        for len in 0..=text.len() {
            let mut other = text[..len].to_vec();
            assert!(same(&text[..len], &other));
            for at in 0..len {
                other[at] ^= 0x10;
                assert!(!same(&text[..len], &other), "{len} bytes, another at {at}");
                other[at] ^= 0x10;
            }
        }
    }
}
