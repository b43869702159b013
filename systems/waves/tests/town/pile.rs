//! Letters that are on their way. Chance picks which comes next, but growth of sets stays in order on its channel, as
//! lanes and connections keep it.
//!
//! A wave of Finn's has thousands of letters under way, so the first of a channel is known and not looked for.

use machine::CoreId;
use std::collections::BTreeMap;
use waves::letter::{Kind, Letter, Word};

/// A letter on its way to a core.
#[derive(Clone)]
pub(crate) struct Flying {
    /// Its place in the order of all that was written.
    pub(crate) number: u64,
    pub(crate) core: CoreId,
    pub(crate) letter: Letter,
    pub(crate) words: Vec<Word>,
}

/// Wave, writer and reader.
type Channel = (u64, u32, u32);

#[derive(Default)]
pub(crate) struct Pile {
    letters: Vec<Flying>,
    /// Of each channel that keeps order, where its letters lie, by number.
    channels: BTreeMap<Channel, BTreeMap<u64, usize>>,
}

impl Pile {
    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flying> {
        self.letters.iter()
    }

    pub(crate) fn push(&mut self, flying: Flying) {
        self.note(&flying, self.letters.len());
        self.letters.push(flying);
    }

    /// Moves all of another to the end of this one.
    pub(crate) fn append(&mut self, other: &mut Self) {
        core::mem::take(other).letters.into_iter().for_each(|flying| self.push(flying));
    }

    /// The letter there; of a channel that keeps order, its first that is on its way.
    pub(crate) fn first(&self, picked: usize) -> usize {
        let Some(channel) = channel(&self.letters[picked]) else { return picked };
        let first = self.channels.get(&channel).and_then(BTreeMap::first_key_value);
        *first.expect("it is there itself").1
    }

    pub(crate) fn get(&self, index: usize) -> &Flying {
        &self.letters[index]
    }

    /// Takes one out; the last takes its place.
    pub(crate) fn swap_remove(&mut self, index: usize) -> Flying {
        let taken = self.letters.swap_remove(index);
        if let Some(channel) = channel(&taken)
            && let Some(letters) = self.channels.get_mut(&channel)
        {
            letters.remove(&taken.number);
            if letters.is_empty() {
                self.channels.remove(&channel);
            }
        }
        if let Some(moved) = self.letters.get(index).and_then(|moved| Some((channel(moved)?, moved.number))) {
            self.channels.entry(moved.0).or_default().insert(moved.1, index);
        }
        taken
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn note(&mut self, flying: &Flying, index: usize) {
        if let Some(channel) = channel(flying) {
            self.channels.entry(channel).or_default().insert(flying.number, index);
        }
    }
}

fn channel(flying: &Flying) -> Option<Channel> {
    let Letter { kind, wave, from, to, .. } = flying.letter;
    (kind == Kind::Sets).then_some((wave, from, to))
}
