//! How a log and a snapshot look on disk: a header of 64 bytes, then records, each with its length and checksum.
//! The hard thing is to know a torn tail (the power went while the last group was written: normal) from damage
//! among records that were safe (never to be passed over). Files are used again and again, so stale bytes lie behind
//! the end. The checksum of a record covers its place and the *salt* of its file, a random number that no client
//! knows, so nothing stale and nothing that a client wrote looks like a record. And each group ends with a *notice*
//! of what was safe when it was written, so a readable notice beyond an unreadable record says that this record had
//! been safe.

use machine::Seat;

/// Bytes of a header.
pub(super) const HEADER: usize = 64;
/// Bytes before a record's payload: its length and kind, and its checksum.
pub(super) const PREFIX: usize = 8;
/// Bytes of a notice with its prefix.
pub(super) const NOTICE: usize = PREFIX + 8;
/// The longest record or part, in bytes: the upper two bits of its length say its kind.
pub const RECORD_MAX: usize = (1 << 30) - 1;

const MAGIC: [u8; 8] = *b"RINGWISE";
const FORMAT: u16 = 2;
const NAME_MAX: usize = 16;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Log,
    Snapshot,
}

impl Holds {
    const fn tag(self) -> [u8; 4] {
        match self {
            Self::Log => *b"log\0",
            Self::Snapshot => *b"snap",
        }
    }
}

/// Whose file it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) holds: Holds,
    pub(super) system: String,
    pub(super) version: u32,
    pub(super) seat: Seat,
    /// The mark of the first byte after the header; 0 in a snapshot.
    pub(super) base: u64,
    /// What checksums of its records begin with.
    pub(super) salt: u64,
    /// Which of this log's segments it is, counted from its first; 0 in a snapshot.
    pub(super) number: u32,
}

/// What a header's bytes turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Header(Header),
    /// Zeros, or too few bytes: it was never written, and so nothing after it was ever safe.
    Torn,
    /// Something else; the words complete "… is".
    Foreign(&'static str),
}

impl Header {
    pub(super) fn write(&self) -> [u8; HEADER] {
        assert!(self.system.len() <= NAME_MAX, "a system's name has at most {NAME_MAX} bytes");
        let mut bytes = [0; HEADER];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&self.holds.tag());
        bytes[12..12 + self.system.len()].copy_from_slice(self.system.as_bytes());
        bytes[28..32].copy_from_slice(&self.version.to_le_bytes());
        bytes[32..34].copy_from_slice(&self.seat.node.0.to_le_bytes());
        bytes[34..36].copy_from_slice(&self.seat.core.0.to_le_bytes());
        bytes[36..38].copy_from_slice(&self.seat.cores.to_le_bytes());
        bytes[38..40].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.base.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.salt.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.number.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..60]);
        bytes[60..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the first bytes of a file, as many as there are up to [`HEADER`].
    pub(super) fn read(bytes: &[u8], holds: Holds) -> Read {
        if bytes.len() < HEADER || bytes.iter().all(|byte| *byte == 0) {
            return Read::Torn;
        }
        if bytes[0..8] != MAGIC {
            return Read::Foreign("not a file of this program: it does not begin with RINGWISE");
        }
        if word(bytes, 60) != crc32fast::hash(&bytes[..60]) {
            return Read::Foreign("damaged in its header");
        }
        if half(bytes, 38) != FORMAT || bytes[8..12] != holds.tag() {
            return Read::Foreign("of a format that this program does not know");
        }
        let name = bytes[12..28].split(|byte| *byte == 0).next().unwrap_or_default();
        let seat = Seat {
            node: machine::NodeId(half(bytes, 32)),
            core: machine::CoreId(half(bytes, 34)),
            cores: half(bytes, 36),
        };
        let system = String::from_utf8_lossy(name).into_owned();
        Read::Header(Self {
            holds,
            system,
            version: word(bytes, 28),
            seat,
            base: long(bytes, 40),
            salt: long(bytes, 48),
            number: word(bytes, 56),
        })
    }
}

/// What a record is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A record or part of the shard's.
    Data,
    /// The log was opened again: everything before this mark was safe, and records behind it have another salt.
    Life,
    /// Ends a group: everything before this mark was safe.
    Notice,
    /// Ends a snapshot: the mark it stands for, and how many parts it has.
    End,
}

impl Kind {
    const fn bits(self) -> u32 {
        match self {
            Self::Data => 0,
            Self::Life => 1 << 30,
            Self::Notice => 2 << 30,
            Self::End => 3 << 30,
        }
    }
}

/// A record's prefix, read but not believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefix {
    pub(super) kind: Kind,
    pub(super) length: usize,
    checksum: u32,
}

impl Prefix {
    pub(super) fn read(bytes: [u8; PREFIX]) -> Self {
        let first = word(&bytes, 0);
        let kind = match first >> 30 {
            0 => Kind::Data,
            1 => Kind::Life,
            2 => Kind::Notice,
            _ => Kind::End,
        };
        Self { kind, length: (first as usize) & RECORD_MAX, checksum: word(&bytes, 4) }
    }

    /// Whether this is the payload that was written, at this place of a file with this salt.
    pub(super) fn fits(&self, salt: u64, place: u64, payload: &[u8]) -> bool {
        self.length == payload.len() && self.checksum == checksum(salt, place, self.kind, payload)
    }
}

/// Appends a record without its checksum, which depends on where it will stand: see [`seal`].
pub(super) fn put(into: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    assert!(payload.len() <= RECORD_MAX, "a record has at most {RECORD_MAX} bytes");
    into.extend_from_slice(&(payload.len() as u32 | kind.bits()).to_le_bytes());
    into.extend_from_slice(&[0; 4]);
    into.extend_from_slice(payload);
}

/// Writes the checksums of these records, of which the first will stand at `place`. Gives the salt of what follows
/// them.
pub(super) fn seal(records: &mut [u8], place: u64, salt: u64) -> u64 {
    let (mut at, mut salt) = (0, salt);
    while let Some(first) = records[at..].first_chunk::<PREFIX>() {
        let prefix = Prefix::read(*first);
        let (begin, end) = (at + PREFIX, at + PREFIX + prefix.length);
        let payload = &records[begin..end];
        let sum = checksum(salt, place + at as u64, prefix.kind, payload);
        if prefix.kind == Kind::Life {
            salt = mark(payload).expect("a life has a salt");
        }
        records[at + 4..begin].copy_from_slice(&sum.to_le_bytes());
        at = end;
    }
    salt
}

/// The number in the payload of a notice or a life.
pub(super) fn mark(payload: &[u8]) -> Option<u64> {
    payload.try_into().ok().map(u64::from_le_bytes)
}

/// Mark and parts in the payload of a snapshot's end.
pub(super) fn end(payload: &[u8]) -> Option<(u64, u64)> {
    (payload.len() == 16).then(|| (long(payload, 0), long(payload, 8)))
}

fn checksum(salt: u64, place: u64, kind: Kind, payload: &[u8]) -> u32 {
    let mut head = [0; 20];
    head[..8].copy_from_slice(&salt.to_le_bytes());
    head[8..16].copy_from_slice(&place.to_le_bytes());
    head[16..].copy_from_slice(&(payload.len() as u32 | kind.bits()).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head);
    hasher.update(payload);
    hasher.finalize()
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from(half(bytes, at)) | u32::from(half(bytes, at + 2)) << 16
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) | u64::from(word(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::{CoreId, NodeId};

    fn header() -> Header {
        let seat = Seat { node: NodeId(7), core: CoreId(2), cores: 9 };
        Header {
            holds: Holds::Log,
            system: "scheduler".into(),
            version: 3,
            seat,
            base: 1 << 40,
            salt: 99,
            number: 7,
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        assert_eq!(Header::read(&header().write(), Holds::Log), Read::Header(header()));
    }

    #[test]
    fn a_header_cut_or_never_written_is_torn_and_a_changed_one_is_refused() {
        let bytes = header().write();
        for cut in 0..HEADER {
            assert_eq!(Header::read(&bytes[..cut], Holds::Log), Read::Torn);
        }
        assert_eq!(Header::read(&[0; HEADER], Holds::Log), Read::Torn);
        for bit in 0..HEADER * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(Header::read(&bytes, Holds::Log), Read::Foreign(_)), "bit {bit}");
        }
        assert!(matches!(Header::read(&bytes, Holds::Snapshot), Read::Foreign(_)));
    }

    #[test]
    fn a_record_fits_only_its_own_bytes_place_kind_and_salt() {
        let mut bytes = Vec::new();
        put(&mut bytes, Kind::Data, b"payload");
        assert_eq!(seal(&mut bytes, 100, 5), 5);
        let prefix = |bytes: &[u8]| Prefix::read(bytes[..PREFIX].try_into().unwrap());
        assert!(prefix(&bytes).fits(5, 100, b"payload"));
        assert!(!prefix(&bytes).fits(5, 101, b"payload"));
        assert!(!prefix(&bytes).fits(6, 100, b"payload"));
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(!prefix(&bytes).fits(5, 100, &bytes[PREFIX..]), "bit {bit}");
        }
    }

    #[test]
    fn a_life_changes_the_salt_of_what_follows_it() {
        let mut bytes = Vec::new();
        put(&mut bytes, Kind::Data, b"");
        put(&mut bytes, Kind::Life, &9u64.to_le_bytes());
        let second = bytes.len();
        put(&mut bytes, Kind::Data, b"x");
        assert_eq!(seal(&mut bytes, 0, 5), 9);
        let at = |at: usize| Prefix::read(*bytes[at..].first_chunk().unwrap());
        assert!(at(0).fits(5, 0, b"") && at(second).fits(9, second as u64, b"x"));
        assert!(at(PREFIX).fits(5, PREFIX as u64, &9u64.to_le_bytes()));
    }

    #[test]
    fn zeros_are_no_record() {
        assert!(!Prefix::read([0; PREFIX]).fits(0, 0, b""));
    }
}
