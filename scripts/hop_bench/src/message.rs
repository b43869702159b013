//! What crosses: 64 bytes, alone or many in one archive, in an envelope as the lanes have it.

use rkyv::{Archive, Serialize};
use wire::peer::{Batch, Message as _};

/// A request and its reply.
#[derive(Clone, Copy, Archive, Serialize)]
pub(crate) struct Word {
    pub(crate) number: u64,
    /// Nanoseconds since the asker began.
    pub(crate) sent: u64,
    pub(crate) key: [u8; 16],
    pub(crate) value: [u8; 32],
}

const _: () = assert!(size_of::<ArchivedWord>() == 64);

/// What cores say to each other.
#[derive(Archive, Serialize)]
pub(crate) enum Said {
    One(Word),
    Many(Vec<Word>),
    Stop,
}

impl Word {
    pub(crate) const fn new(number: u64, sent: u64) -> Self {
        Self { number, sent, key: *b"key:000000012345", value: [7; 32] }
    }
}

impl Said {
    /// Requests from this number on.
    pub(crate) fn asking(number: u64, count: usize, sent: u64) -> Self {
        match count {
            1 => Self::One(Word::new(number, sent)),
            count => Self::Many((0..count as u64).map(|more| Word::new(number + more, sent)).collect()),
        }
    }

    /// In a batch of its own.
    pub(crate) fn into_batch(self) -> Batch {
        let mut batch = Batch::new();
        self.write(&mut batch, false);
        batch
    }
}

impl ArchivedSaid {
    /// The reply: the same words, made anew from what was read.
    pub(crate) fn answer(&self) -> Said {
        let word = |word: &ArchivedWord| Word {
            number: word.number.to_native(),
            sent: word.sent.to_native(),
            key: word.key,
            value: word.value,
        };
        match self {
            Self::One(one) => Said::One(word(one)),
            Self::Many(many) => Said::Many(many.iter().map(word).collect()),
            Self::Stop => Said::Stop,
        }
    }

    /// What came back: how many, the number of the first, and when it was sent.
    pub(crate) fn answered(&self) -> Option<(usize, u64, u64)> {
        match self {
            Self::One(word) => Some((1, word.number.to_native(), word.sent.to_native())),
            Self::Many(words) => {
                words.first().map(|first| (words.len(), first.number.to_native(), first.sent.to_native()))
            }
            Self::Stop => None,
        }
    }
}

/// Reads the only message of a batch in place.
pub(crate) fn read(batch: &Batch) -> &ArchivedSaid {
    let envelope = batch.envelopes().next().expect("a batch has a message");
    // SAFETY: batches here are written by `into_batch` alone, in this process, and cross by moving: so does the
    // reactor trust its lanes, and the ways are to be compared.
    unsafe { rkyv::access_unchecked::<ArchivedSaid>(envelope.archive) }
}
