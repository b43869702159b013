//! Maglev hashing (Eisenbud et al. 2016, section 3.4): a table of 65,537 entries, filled by members taking turns,
//! each along a permutation of its own.
//!
//! A look-up is one read, whatever the number of members, and shares differ by less than two entries. When one
//! leaves, nearly all keys of others stay. The hard thing is the time to fill: some 12 steps an entry in the worst
//! case, a few milliseconds, so it is done once for each change of the members and not per request.

use super::key::{Key, spread};
use super::ring::Seat;

/// Entries: a prime, so that every step below it visits all of them.
pub const ENTRIES: usize = 65_537;

const NOBODY: Seat = Seat(u16::MAX);

/// The filled table; empty when there are no members.
#[derive(Clone, Debug, Default)]
pub(super) struct Maglev {
    entries: Box<[Seat]>,
}

/// Where a member's permutation is: its next candidate, and its step.
struct Turn {
    seat: Seat,
    at: usize,
    step: usize,
}

impl Maglev {
    /// `members` by the hash of their names, in an order that all agree on.
    pub(super) fn new(members: impl Iterator<Item = (u64, Seat)>) -> Self {
        let mut turns: Vec<Turn> = members.map(|(hash, seat)| Turn::new(hash, seat)).collect();
        if turns.is_empty() {
            return Self::default();
        }
        let mut entries = vec![NOBODY; ENTRIES].into_boxed_slice();
        let mut left = ENTRIES;
        'filling: loop {
            for turn in &mut turns {
                turn.take(&mut entries);
                left -= 1;
                if left == 0 {
                    break 'filling;
                }
            }
        }
        Self { entries }
    }

    pub(super) fn owner(&self, key: Key) -> Option<Seat> {
        let at = (u128::from(key.hash) * self.entries.len() as u128) >> 64;
        self.entries.get(at as usize).copied()
    }

    /// How many entries each member has, by seat.
    pub(super) fn counts(&self) -> impl Iterator<Item = Seat> {
        self.entries.iter().copied()
    }
}

impl Turn {
    fn new(hash: u64, seat: Seat) -> Self {
        let at = (spread(hash) % ENTRIES as u64) as usize;
        let step = (spread(hash ^ 1) % (ENTRIES as u64 - 1)) as usize + 1;
        Self { seat, at, step }
    }

    /// Takes the first free entry of the permutation: there is one, or nobody would ask.
    fn take(&mut self, entries: &mut [Seat]) {
        while entries[self.at] != NOBODY {
            self.at = (self.at + self.step) % ENTRIES;
        }
        entries[self.at] = self.seat;
    }
}
