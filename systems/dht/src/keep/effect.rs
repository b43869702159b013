//! What became of keys, as it stands in the log: the effect of a command and not the command, so that told again in
//! the same order it comes to the same, whatever the clock says then. A record is a run of entries; a reader answers
//! each, or that the rest is none, and believes no length before it has looked.
//!
//! The hard thing is what several cores do as one. Each of them logs its *part*, with the same id and the number of
//! parts there are; whether all of them are there is decided when everything has been read ([`Replay`]).
//!
//! [`Replay`]: super::replay::Replay

use machine::{CoreId, WallTime};
use state::Slot;

/// The number of slots, as bytes of one bit each.
const SLOT_BYTES: usize = 16_384 / 8;

/// One thing that came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect<'a> {
    /// The key has this value, and ends then.
    Put {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// When it ends, if ever.
        until: Option<WallTime>,
    },
    /// The key, which was there, has another value and the life it had.
    Value {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
    },
    /// These bytes stand in its value from an offset on, which is the value's length where they were appended.
    Patch {
        /// The key.
        key: &'a [u8],
        /// From where on.
        offset: u64,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The key ends then.
    Life {
        /// The key.
        key: &'a [u8],
        /// When it ends, if ever.
        until: Option<WallTime>,
    },
    /// The key is gone.
    Del {
        /// The key.
        key: &'a [u8],
    },
    /// All keys of these slots are gone.
    Flush(Slots<'a>),
}

/// Slots, a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots<'a>(&'a [u8]);

impl Slots<'_> {
    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Slot> {
        let bytes = self.0.to_vec();
        (0..16_384u16)
            .filter(move |slot| bytes[usize::from(slot / 8)] & (1 << (slot % 8)) != 0)
            .filter_map(Slot::new)
    }
}

/// What several cores do as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FactId {
    /// A number drawn by the core that asked, when it started.
    pub life: u64,
    /// That core.
    pub core: u16,
    /// The deal, as it names it.
    pub deal: u64,
}

/// What stands in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Something came to be.
    Effect(Effect<'a>),
    /// A part of what several cores did as one: entries of effects.
    Part {
        /// Which.
        id: FactId,
        /// How many parts there are, each in the log of another core.
        parts: u16,
        /// Whose log this is.
        at: CoreId,
        /// The entries.
        inside: &'a [u8],
    },
    /// At a start this was found without its other parts, and taken back.
    Dropped(FactId),
    /// A snapshot of this number was begun here, on all cores at one moment.
    Point {
        /// Its number.
        number: u64,
        /// Whose log this is.
        core: CoreId,
    },
    /// What follows is the snapshot of this number.
    Snapshot {
        /// Its number.
        number: u64,
    },
}

const PUT: u8 = 1;
const VALUE: u8 = 2;
const PATCH: u8 = 3;
const LIFE: u8 = 4;
const DEL: u8 = 5;
const FLUSH: u8 = 6;
const PART: u8 = 7;
const POINT: u8 = 8;
const SNAPSHOT: u8 = 9;
const DROPPED: u8 = 10;

/// Bytes of the entry that a snapshot begins with.
pub(crate) const SNAPSHOT_HEAD: usize = 1 + 8;
/// Bytes of a part before its entries.
const PART_HEAD: usize = 1 + 8 + 2 + 8 + 2 + 2 + 4;

/// Entries being written.
#[derive(Debug, Default)]
pub struct Entries {
    bytes: Vec<u8>,
    /// Where the part that is being written begins.
    part: Option<usize>,
    /// Where the last point ends.
    cut: Option<usize>,
}

impl Entries {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Where the last point among them ends: what is before it and what is behind it are records of their own.
    #[must_use]
    pub fn cut(&self) -> Option<usize> {
        self.cut
    }

    /// Forgets where the last point is: they become one record.
    pub fn uncut(&mut self) {
        self.cut = None;
    }

    /// Forgets them; keeps some of the memory.
    pub fn clear(&mut self) {
        self.cut = None;
        self.bytes.clear();
        self.bytes.shrink_to(1024 * 1024);
    }

    /// Adds an effect.
    pub fn effect(&mut self, effect: &Effect<'_>) {
        match *effect {
            Effect::Put { key, value, until } => {
                self.head(PUT, key);
                self.moment(until);
                self.text(value);
            }
            Effect::Value { key, value } => {
                self.head(VALUE, key);
                self.text(value);
            }
            Effect::Patch { key, offset, bytes } => {
                self.head(PATCH, key);
                self.number(offset);
                self.text(bytes);
            }
            Effect::Life { key, until } => {
                self.head(LIFE, key);
                self.moment(until);
            }
            Effect::Del { key } => self.head(DEL, key),
            Effect::Flush(Slots(bits)) => {
                self.bytes.push(FLUSH);
                self.bytes.extend_from_slice(bits);
            }
        }
    }

    /// Adds that all keys of these slots are gone.
    pub fn flush(&mut self, slots: impl Iterator<Item = Slot>) {
        let mut bits = [0; SLOT_BYTES];
        for slot in slots {
            bits[usize::from(slot.number() / 8)] |= 1 << (slot.number() % 8);
        }
        self.effect(&Effect::Flush(Slots(&bits)));
    }

    /// What is added from here on is a part.
    pub fn begin_part(&mut self, id: FactId, parts: u16, at: CoreId) {
        self.part = Some(self.bytes.len());
        self.bytes.push(PART);
        self.id(id);
        self.bytes.extend_from_slice(&parts.to_le_bytes());
        self.bytes.extend_from_slice(&at.0.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
    }

    /// Up to here.
    pub fn end_part(&mut self) {
        let Some(begin) = self.part.take() else { return };
        let inside = begin + PART_HEAD;
        let length = (self.bytes.len() - inside) as u32;
        self.bytes[inside - 4..inside].copy_from_slice(&length.to_le_bytes());
    }

    /// Adds that a fact was taken back.
    pub fn dropped(&mut self, id: FactId) {
        self.bytes.push(DROPPED);
        self.id(id);
    }

    /// Adds that a snapshot was begun.
    pub fn point(&mut self, number: u64, core: CoreId) {
        self.bytes.push(POINT);
        self.number(number);
        self.bytes.extend_from_slice(&core.0.to_le_bytes());
        self.cut = Some(self.bytes.len());
    }

    /// Adds of which number a snapshot is.
    pub fn snapshot(&mut self, number: u64) {
        self.bytes.push(SNAPSHOT);
        self.number(number);
    }

    fn head(&mut self, kind: u8, key: &[u8]) {
        self.bytes.push(kind);
        self.text(key);
    }

    fn text(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(text);
    }

    fn id(&mut self, id: FactId) {
        self.number(id.life);
        self.bytes.extend_from_slice(&id.core.to_le_bytes());
        self.number(id.deal);
    }

    fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    /// Microseconds; the greatest number for never.
    fn moment(&mut self, until: Option<WallTime>) {
        self.number(until.map_or(u64::MAX, WallTime::micros));
    }
}

/// Reads entries one by one. What is no entry ends it, with [`is_whole`](Self::is_whole) false.
#[derive(Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    is_whole: bool,
}

impl<'a> Reader<'a> {
    /// Of a record, a part of a snapshot, or the inside of a part.
    #[must_use]
    pub fn new(record: &'a [u8]) -> Self {
        Self { rest: record, is_whole: true }
    }

    /// Whether everything so far was an entry.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Whether a snapshot begins with these bytes.
    #[must_use]
    pub fn begins_snapshot(bytes: &[u8]) -> bool {
        bytes.first() == Some(&SNAPSHOT)
    }

    fn read(&mut self) -> Option<Entry<'a>> {
        let kind = self.array::<1>()?[0];
        Some(match kind {
            PUT => {
                let (key, until, value) = (self.text()?, self.moment()?, self.text()?);
                Entry::Effect(Effect::Put { key, value, until })
            }
            VALUE => Entry::Effect(Effect::Value { key: self.text()?, value: self.text()? }),
            PATCH => {
                let (key, offset, bytes) = (self.text()?, self.number()?, self.text()?);
                Entry::Effect(Effect::Patch { key, offset, bytes })
            }
            LIFE => Entry::Effect(Effect::Life { key: self.text()?, until: self.moment()? }),
            DEL => Entry::Effect(Effect::Del { key: self.text()? }),
            FLUSH => Entry::Effect(Effect::Flush(Slots(self.take(SLOT_BYTES)?))),
            PART => {
                let (id, parts, at) = (self.id()?, self.half()?, CoreId(self.half()?));
                Entry::Part { id, parts, at, inside: self.text()? }
            }
            DROPPED => Entry::Dropped(self.id()?),
            POINT => Entry::Point { number: self.number()?, core: CoreId(self.half()?) },
            SNAPSHOT => Entry::Snapshot { number: self.number()? },
            _ => return None,
        })
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn id(&mut self) -> Option<FactId> {
        Some(FactId { life: self.number()?, core: self.half()?, deal: self.number()? })
    }

    fn half(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.array().map(u32::from_le_bytes)?;
        self.take(length as usize)
    }

    fn moment(&mut self) -> Option<Option<WallTime>> {
        self.number().map(|micros| (micros != u64::MAX).then(|| WallTime::from_micros(micros)))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if self.rest.is_empty() || !self.is_whole {
            return None;
        }
        let entry = self.read();
        self.is_whole = entry.is_some();
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Entries {
        let mut entries = Entries::default();
        let until = Some(WallTime::from_micros(77));
        entries.effect(&Effect::Put { key: b"k", value: b"value", until });
        entries.effect(&Effect::Put { key: b"", value: b"", until: None });
        entries.effect(&Effect::Value { key: b"k", value: b"v" });
        entries.begin_part(FactId { life: 1, core: 2, deal: 3 }, 4, CoreId(5));
        entries.effect(&Effect::Patch { key: b"k", offset: 9, bytes: b"x" });
        entries.effect(&Effect::Life { key: b"k", until: None });
        entries.end_part();
        entries.effect(&Effect::Del { key: b"k" });
        entries.flush([0, 7, 8, 16_383].into_iter().filter_map(Slot::new));
        entries.point(5, CoreId(1));
        entries.dropped(FactId { life: 4, core: 5, deal: 6 });
        entries.snapshot(6);
        entries
    }

    #[test]
    fn what_is_written_is_read() {
        let entries = all();
        let mut reader = Reader::new(entries.bytes());
        let read: Vec<Entry<'_>> = reader.by_ref().collect();
        assert!(reader.is_whole());
        assert_eq!(read.len(), 9);
        let Entry::Part { id, parts: 4, at: CoreId(5), inside } = &read[3] else { panic!("{read:?}") };
        assert_eq!(*id, FactId { life: 1, core: 2, deal: 3 });
        assert_eq!(Reader::new(inside).count(), 2);
        let Entry::Effect(Effect::Flush(slots)) = &read[5] else { panic!("{read:?}") };
        assert_eq!(slots.iter().map(Slot::number).collect::<Vec<_>>(), [0, 7, 8, 16_383]);
        assert_eq!(read[8], Entry::Snapshot { number: 6 });
    }

    #[test]
    fn a_cut_is_never_read_as_more_than_what_was_there() {
        let entries = all();
        let whole: Vec<Entry<'_>> = Reader::new(entries.bytes()).collect();
        for cut in 0..entries.bytes().len() {
            let mut reader = Reader::new(&entries.bytes()[..cut]);
            let read: Vec<Entry<'_>> = reader.by_ref().collect();
            assert_eq!(read, whole[..read.len()], "cut at {cut}");
            assert!(read.len() < whole.len());
        }
    }

    #[test]
    fn changed_bytes_are_read_within_their_bounds() {
        let entries = all();
        for byte in 0..entries.bytes().len().min(200) {
            for value in [0, 1, 127, 128, 255] {
                let mut changed = entries.bytes().to_vec();
                changed[byte] = value;
                let mut reader = Reader::new(&changed);
                assert!(reader.by_ref().count() <= changed.len());
            }
        }
    }
}
