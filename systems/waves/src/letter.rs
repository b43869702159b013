//! What one unit writes to another while a wave passes, and how letters travel: all that one turn has for a core in
//! one post, archived as two flat arrays and read in place where they arrive.
//!
//! A letter is small and of one size; what some carry besides (readings, what is missing, growth of sets) stands as
//! plain words behind all of them. So a wave over ten thousand units allocates nothing for a message.

#![allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]

use crate::network::UnitId;
use machine::Instant;
pub use rkyv::rend::u32_le as Word;
use rkyv::{Archive, Deserialize, Serialize};

/// Which wave: whose, and which of theirs. Never used twice by one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaveId {
    /// Who started it; of several, who named it.
    pub initiator: UnitId,
    /// Which of the waves of that unit, from 1.
    pub number: u32,
}

impl WaveId {
    /// In one word.
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.initiator.0 as u64) << 32 | self.number as u64
    }

    /// The id that [`WaveId::to_bits`] gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { initiator: UnitId((bits >> 32) as u32), number: bits as u32 }
    }
}

impl core::fmt::Display for WaveId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.initiator.0, self.number)
    }
}

/// By which algorithm a wave runs.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Chang 1982; Tel, algorithm 6.5.
    Echo,
    /// Finn 1979; Tel, algorithm 6.9. Over both directions of each link.
    Finn,
    /// The same over links as they are written only, from parent to child. Such a graph is not strongly connected, so
    /// this is not a wave: units decide too early. Kept because the classic demonstration runs so.
    Directed,
}

/// What a wave is for.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Count units, loads and processors.
    Count,
    /// Bring every unit's reading to the initiator.
    Status,
    /// The same, to move tasks by it.
    Rebalance,
    /// Give every unit that decides one more task.
    Tasks,
}

impl Purpose {
    /// Whether readings travel with echoes, and not sums alone.
    #[must_use]
    pub const fn gathers(self) -> bool {
        matches!(self, Self::Status | Self::Rebalance)
    }
}

/// What all letters of a wave say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// What for.
    pub purpose: Purpose,
    /// When it was started. Who came to be later takes no part.
    pub started_at: Instant,
}

/// What a letter says.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Echo, on its way out.
    Explore,
    /// Echo, on its way back: units, load and processors of a subtree; its readings and what is missing of it.
    Back,
    /// To an [`Explore`](Kind::Explore): I came later than this wave and take no part.
    Late,
    /// Finn: growth of Inc, of NInc, and of those given up.
    Sets,
    /// I still wait for others. Not a message of the algorithm.
    Beat,
}

/// One letter.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    pub wave: u64,
    pub started_at: u64,
    pub from: u32,
    pub to: u32,
    /// Where its words begin in the post.
    pub words_from: u32,
    /// How many words each of its lists has.
    pub lists: [u32; 3],
    /// Of echoes: units, load, processors. Of sets: which message of its channel, from 1.
    pub sums: [u32; 3],
    pub kind: Kind,
    pub algorithm: Algorithm,
    pub purpose: Purpose,
}

impl Letter {
    /// A letter without sums or words.
    #[must_use]
    pub fn plain(wave: WaveId, terms: Terms, kind: Kind, from: UnitId, to: UnitId) -> Self {
        Self {
            wave: wave.to_bits(),
            started_at: terms.started_at.nanos(),
            from: from.0,
            to: to.0,
            words_from: 0,
            lists: [0; 3],
            sums: [0; 3],
            kind,
            algorithm: terms.algorithm,
            purpose: terms.purpose,
        }
    }

    /// Which wave.
    #[must_use]
    pub fn wave_id(&self) -> WaveId {
        WaveId::from_bits(self.wave)
    }

    /// What it says of the wave.
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms {
            algorithm: self.algorithm,
            purpose: self.purpose,
            started_at: Instant::from_nanos(self.started_at),
        }
    }

    /// How many words it has.
    #[must_use]
    pub fn words(&self) -> usize {
        self.lists.iter().map(|len| *len as usize).sum()
    }
}

impl ArchivedLetter {
    /// The letter, copied out of where it lies.
    #[inline]
    #[must_use]
    pub fn native(&self) -> Letter {
        Letter {
            wave: self.wave.to_native(),
            started_at: self.started_at.to_native(),
            from: self.from.to_native(),
            to: self.to.to_native(),
            words_from: self.words_from.to_native(),
            lists: self.lists.map(|len| len.to_native()),
            sums: self.sums.map(|sum| sum.to_native()),
            kind: match self.kind {
                ArchivedKind::Explore => Kind::Explore,
                ArchivedKind::Back => Kind::Back,
                ArchivedKind::Late => Kind::Late,
                ArchivedKind::Sets => Kind::Sets,
                ArchivedKind::Beat => Kind::Beat,
            },
            algorithm: match self.algorithm {
                ArchivedAlgorithm::Echo => Algorithm::Echo,
                ArchivedAlgorithm::Finn => Algorithm::Finn,
                ArchivedAlgorithm::Directed => Algorithm::Directed,
            },
            purpose: match self.purpose {
                ArchivedPurpose::Count => Purpose::Count,
                ArchivedPurpose::Status => Purpose::Status,
                ArchivedPurpose::Rebalance => Purpose::Rebalance,
                ArchivedPurpose::Tasks => Purpose::Tasks,
            },
        }
    }
}

/// Letters for the units of one core, with their words.
#[derive(Archive, Serialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Post {
    pub letters: Vec<Letter>,
    pub words: Vec<Word>,
}

impl Post {
    /// Adds a letter with these words.
    #[inline]
    pub fn add(&mut self, mut letter: Letter, words: &[Word]) {
        debug_assert_eq!(letter.words(), words.len(), "a letter says how many words it has");
        letter.words_from = self.words.len() as u32;
        self.words.extend_from_slice(words);
        self.letters.push(letter);
    }

    /// The words of a letter of this post.
    #[must_use]
    pub fn words_of(&self, letter: &Letter) -> &[Word] {
        words_of(&self.words, letter)
    }
}

/// The words of a letter, of those of its post.
#[inline]
#[must_use]
pub fn words_of<'a>(words: &'a [Word], letter: &Letter) -> &'a [Word] {
    let from = letter.words_from as usize;
    words.get(from..from + letter.words()).unwrap_or(&[])
}

/// What a core has for others in this turn: a post for each core.
#[derive(Debug, Default)]
pub struct Mail {
    posts: Vec<Post>,
}

impl Mail {
    /// Empty, for so many cores.
    #[must_use]
    pub fn new(cores: u16) -> Self {
        Self { posts: (0..cores).map(|_| Post::default()).collect() }
    }

    /// Adds a letter to the post of that core.
    #[inline]
    pub fn add(&mut self, core: machine::CoreId, letter: Letter, words: &[Word]) {
        self.posts[core.index()].add(letter, words);
    }

    /// Takes every post that is not empty.
    pub fn take(&mut self, mut each: impl FnMut(machine::CoreId, Post)) {
        for (core, post) in self.posts.iter_mut().enumerate() {
            if !post.letters.is_empty() {
                let room = post.letters.capacity().min(LETTERS_KEPT);
                let full =
                    core::mem::replace(post, Post { letters: Vec::with_capacity(room), words: Vec::new() });
                each(machine::CoreId(core as u16), full);
            }
        }
    }
}

/// Room for so many letters is kept when a post has gone.
const LETTERS_KEPT: usize = 256;
