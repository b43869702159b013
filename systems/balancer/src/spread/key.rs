//! What a request is spread by: one hash, whatever it was made from, and the number that the 512-slot ring wants.
//!
//! The hard thing is the second choice. Walking on to the next replica would pour all that an overloaded one cannot
//! take on its neighbour; a *random jump* hashes the key once more and asks the ring again, so what is too much for
//! one goes to all the others alike (Chen, Coleman, Shrivastava 2019, arXiv 1908.08762).

use machine::Stream;
use state::hash::hash64;

/// The smallest request id of the classic ring: six digits.
pub const ID_FIRST: u32 = 100_000;
/// How many such ids there are.
pub const IDS: u32 = 900_000;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// What a request is spread by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Uniform over all 64-bit numbers.
    pub hash: u64,
    /// A six-digit number, for the 512-slot ring.
    pub id: u32,
}

impl Key {
    /// A random key: the classic way, a request id that nobody sees.
    pub fn random(chance: &mut Stream) -> Self {
        Self::of_hash(chance.next_u64())
    }

    /// The key of this text: a path, a header's value, a client's address.
    #[must_use]
    pub fn of_text(text: &[u8]) -> Self {
        Self::of_hash(hash64(text, 0))
    }

    /// The key of a request id, as somebody who explains the classic ring would give it.
    #[must_use]
    pub fn of_id(id: u32) -> Self {
        Self { hash: spread(u64::from(id)), id }
    }

    /// A request id where the text is one, else the key of the text.
    #[must_use]
    pub fn of_typed(text: &str) -> Self {
        match text.parse::<u32>() {
            Ok(id) if (ID_FIRST..ID_FIRST + IDS).contains(&id) => Self::of_id(id),
            Ok(_) | Err(_) => Self::of_text(text.as_bytes()),
        }
    }

    fn of_hash(hash: u64) -> Self {
        let id = ID_FIRST + ((u128::from(spread(hash)) * u128::from(IDS)) >> 64) as u32;
        Self { hash, id }
    }

    /// Where the key jumps to for its choice number `choice`; 0 is where it was.
    #[must_use]
    pub fn jump(self, choice: u32) -> Self {
        if choice == 0 {
            return self;
        }
        Self::of_hash(spread(self.hash ^ u64::from(choice).wrapping_mul(GOLDEN)))
    }
}

/// The finalizer of SplitMix64: every bit of the input changes half of the output.
pub(super) fn spread(word: u64) -> u64 {
    let mut z = word.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    #[test]
    fn ids_have_six_digits_and_reach_both_ends() {
        let mut chance = Chance::new(1).stream("keys");
        let ids: Vec<u32> = (0..200_000).map(|_| Key::random(&mut chance).id).collect();
        assert!(ids.iter().all(|id| (100_000..=999_999).contains(id)));
        assert!(ids.iter().any(|id| *id < 100_100) && ids.iter().any(|id| *id > 999_900));
    }

    #[test]
    fn a_typed_number_of_six_digits_is_an_id() {
        assert_eq!(Key::of_typed("123456"), Key::of_id(123_456));
        assert_eq!(Key::of_typed("99999"), Key::of_text(b"99999"));
        assert_eq!(Key::of_typed("/home"), Key::of_text(b"/home"));
    }

    #[test]
    fn a_jump_goes_elsewhere_and_always_to_the_same_place() {
        let key = Key::of_text(b"apples");
        assert_eq!(key.jump(0), key);
        assert_ne!(key.jump(1), key);
        assert_ne!(key.jump(1), key.jump(2));
        assert_eq!(key.jump(2), key.jump(2));
    }
}
