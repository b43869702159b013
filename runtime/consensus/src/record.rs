//! What a group writes down, and reads again after a restart: bytes in the log of its core, behind a byte that says
//! how they are meant. What was kept by an earlier version of this file stays readable; a newer one is refused.

use crate::message::{Entry, Meta};
use rkyv::rancor::Error;
use rkyv::util::AlignedVec;
use rkyv::{Archive, Deserialize, Serialize};

/// The version of the archive below.
const VERSION: u8 = 1;

/// One thing written down.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// What one step added: the promises made, and entries that replace all from the first one's index on.
    Step { hard: Option<Hard>, entries: Vec<Entry> },
    /// Bytes of a snapshot that came from the leader, from `offset`. With the last of `total` it replaces all before it.
    Piece { of: Meta, offset: u64, total: u64, bytes: Vec<u8> },
    /// All of a group, standing for every record before it; the state up to `of` is kept by the system.
    Base { hard: Hard, of: Meta, entries: Vec<Entry> },
}

/// What must never be forgotten: the latest term, and for whom this node voted in it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Hard {
    pub(crate) term: u64,
    pub(crate) vote: u64,
    pub(crate) commit: u64,
}

/// Kept bytes that this version cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// A newer program wrote them.
    Newer(u8),
    /// They are not what a group writes.
    Malformed,
}

impl core::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Newer(version) => write!(
                f,
                "what was kept of the group is of version {version}, and this program knows {VERSION}: start the newer one"
            ),
            Self::Malformed => f.write_str("what was kept of the group is not what a group writes"),
        }
    }
}

impl Record {
    pub(crate) fn write(&self) -> Vec<u8> {
        let archive = rkyv::to_bytes::<Error>(self).expect("memory is the only bound");
        let mut bytes = Vec::with_capacity(1 + archive.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&archive);
        bytes
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let (version, archive) = bytes.split_first().ok_or(Unreadable::Malformed)?;
        match *version {
            VERSION => {}
            0 => return Err(Unreadable::Malformed),
            newer => return Err(Unreadable::Newer(newer)),
        }
        let mut aligned: AlignedVec<16> = AlignedVec::with_capacity(archive.len());
        aligned.extend_from_slice(archive);
        rkyv::from_bytes::<Self, Error>(&aligned).map_err(|_| Unreadable::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::What;

    fn step() -> Record {
        let entries = vec![
            Entry { term: 3, index: 7, what: What::Bytes(b"seven".to_vec()) },
            Entry { term: 4, index: 8, what: What::Nothing },
        ];
        Record::Step { hard: Some(Hard { term: 4, vote: 1, commit: 6 }), entries }
    }

    #[test]
    fn a_record_is_read_as_it_was_written_wherever_it_lies() {
        let bytes = step().write();
        for shift in 0..16 {
            let mut shifted = vec![0; shift];
            shifted.extend_from_slice(&bytes);
            assert_eq!(Record::read(&shifted[shift..]), Ok(step()));
        }
    }

    #[test]
    fn every_cut_of_a_record_is_refused_and_a_newer_one_says_so() {
        let mut bytes = step().write();
        for cut in 0..bytes.len() {
            assert_eq!(Record::read(&bytes[..cut]), Err(Unreadable::Malformed), "cut at {cut}");
        }
        bytes[0] = 2;
        assert_eq!(Record::read(&bytes), Err(Unreadable::Newer(2)));
    }
}
