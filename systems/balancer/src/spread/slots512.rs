//! The classic ring: 512 slots, nine virtual servers for each replica, linear probing, and quadratic hashes.
//!
//! It is kept to the digit because others know its answers: `golden/slots512.json` of the contract holds slot tables
//! and shares. It is also a warning. A square takes few values modulo a power of two, so with pair 0 one of three
//! replicas gets 83.6 % of all requests; the page shows that beside the other rings. The hard thing is that what a
//! slot holds depends on the order in which replicas came and went, so this ring is changed, never made anew.

use super::key::{ID_FIRST, IDS, Key};
use super::ring::Seat;
use sha2::{Digest as _, Sha256};

/// Slots.
pub const SLOTS: usize = 512;
/// Virtual servers of a replica, numbered from 1.
pub const VIRTUAL: u64 = 9;
/// So many replicas find nine slots each.
pub const REPLICAS_MAX: usize = SLOTS / VIRTUAL as usize;

/// Which two functions hash requests and virtual servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Pair {
    /// i² + 2i + 17 and i² + j² + 2j + 25.
    #[default]
    Plain,
    /// 1427i² + 2503i + 2003 and 1249i² + 2287j² + 1663j + 2287.
    Primes,
    /// SHA-256 of pair 0's values.
    Sha256,
}

impl Pair {
    /// The pair of that number.
    #[must_use]
    pub fn numbered(number: u8) -> Option<Self> {
        [Self::Plain, Self::Primes, Self::Sha256].get(usize::from(number)).copied()
    }

    /// Where the walk of request `id` begins.
    #[must_use]
    pub fn request(self, id: u32) -> usize {
        let i = u64::from(id);
        match self {
            Self::Plain => in_slots(i * i + 2 * i + 17),
            Self::Primes => in_slots(1427 * i * i + 2503 * i + 2003),
            Self::Sha256 => in_slots(digest(i * i + 2 * i + 17)),
        }
    }

    /// Where the walk of virtual server `copy` of the replica with index `index` begins; both count from 1.
    #[must_use]
    pub fn server(self, index: u64, copy: u64) -> usize {
        let (i, j) = (index, copy);
        match self {
            Self::Plain => in_slots(i * i + j * j + 2 * j + 25),
            Self::Primes => in_slots(1249 * i * i + 2287 * j * j + 1663 * j + 2287),
            Self::Sha256 => in_slots(digest(i * i + j * j + 2 * j + 25)),
        }
    }
}

fn in_slots(value: u64) -> usize {
    (value % SLOTS as u64) as usize
}

/// The last eight bytes of SHA-256 over the value's minimal big-endian bytes: all that a remainder by 512 sees.
fn digest(value: u64) -> u64 {
    let bytes = value.to_be_bytes();
    let minimal = &bytes[(value.leading_zeros() / 8) as usize..];
    let digest = Sha256::digest(minimal);
    digest.last_chunk().map_or(0, |last: &[u8; 8]| u64::from_be_bytes(*last))
}

/// Who has each slot.
#[derive(Clone, Debug)]
pub struct Slots512 {
    pair: Pair,
    slots: Box<[Option<Seat>; SLOTS]>,
    /// Which indices are taken, from 1.
    indices: Vec<Option<Seat>>,
    /// How many request ids begin their walk at each slot.
    begins: Box<[u64; SLOTS]>,
}

impl Slots512 {
    /// Nobody's. With [`Pair::Sha256`] it looks at all request ids once, some 60 ms: at start, not later.
    #[must_use]
    pub fn new(pair: Pair) -> Self {
        let begins = Box::new(begins(pair));
        Self { pair, slots: Box::new([None; SLOTS]), indices: Vec::new(), begins }
    }

    /// Gives a member the smallest free index and nine slots. False, and nothing changed, when there is no room.
    pub fn join(&mut self, seat: Seat) -> bool {
        let free = self.indices.iter().position(Option::is_none).unwrap_or(self.indices.len());
        if free >= REPLICAS_MAX {
            return false;
        }
        if free == self.indices.len() {
            self.indices.push(None);
        }
        self.indices[free] = Some(seat);
        for copy in 1..=VIRTUAL {
            let begin = self.pair.server(free as u64 + 1, copy);
            let found = walk(begin).find(|slot| self.slots[*slot].is_none());
            self.slots[found.expect("nine slots are left for each of 56")] = Some(seat);
        }
        true
    }

    /// Clears the slots that the same walks find: the first of each that is the member's.
    pub fn leave(&mut self, seat: Seat) {
        let Some(index) = self.indices.iter().position(|holder| *holder == Some(seat)) else { return };
        self.indices[index] = None;
        for copy in 1..=VIRTUAL {
            let begin = self.pair.server(index as u64 + 1, copy);
            if let Some(slot) = walk(begin).find(|slot| self.slots[*slot] == Some(seat)) {
                self.slots[slot] = None;
            }
        }
    }

    /// Whose a request is: the first taken slot of its walk.
    #[must_use]
    pub fn owner(&self, key: Key) -> Option<Seat> {
        walk(self.pair.request(key.id)).find_map(|slot| self.slots[slot])
    }

    /// Who has each slot.
    #[must_use]
    pub fn slots(&self) -> &[Option<Seat>; SLOTS] {
        &self.slots
    }

    /// The owner of each slot's walk and how many request ids begin there: with it, shares are exact.
    pub(super) fn exact(&self) -> impl Iterator<Item = (Seat, u64)> {
        let owners = (0..SLOTS).map(|begin| walk(begin).find_map(|slot| self.slots[slot]));
        owners.zip(self.begins.iter()).filter_map(|(owner, count)| owner.map(|owner| (owner, *count)))
    }
}

/// How many request ids begin at each slot.
fn begins(pair: Pair) -> [u64; SLOTS] {
    let ids = match pair {
        // Both repeat with the slots, so one round of ids says what all do.
        Pair::Plain | Pair::Primes => 0..SLOTS as u32,
        Pair::Sha256 => ID_FIRST..ID_FIRST + IDS,
    };
    let mut begins = [0; SLOTS];
    ids.for_each(|id| begins[pair.request(id)] += 1);
    begins
}

/// All slots, from `begin` on.
fn walk(begin: usize) -> impl Iterator<Item = usize> {
    (0..SLOTS).map(move |step| (begin + step) % SLOTS)
}
