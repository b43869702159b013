//! The slot: one of 16,384 parts of all keys, and the unit of everything that moves, is copied, counted or
//! scanned. Which slot a key falls into is Redis Cluster's rule, so that ordinary cluster clients compute the
//! same; its one surprise is the hash tag, by which a client puts keys together.

use crate::hash::crc16;

/// A slot number under [`Slot::COUNT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Slot(u16);

impl Slot {
    /// How many slots there are: Redis Cluster's number.
    pub const COUNT: usize = 16_384;

    /// The slot of that number; none from [`Slot::COUNT`] on.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if (number as usize) < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The slot of a key: the CRC of its [hash tag](hash_tag) modulo [`Slot::COUNT`].
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) % Self::COUNT as u16)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Its number, as an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// All slots, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator + Clone {
        (0..Self::COUNT as u16).map(Self)
    }
}

/// Some of the slots: a bit each, two KiB in all, so that asking hardly ever waits for memory.
#[derive(Clone, Debug)]
pub struct SlotSet(Box<[u64; Slot::COUNT / 64]>);

impl SlotSet {
    /// Whether that slot is one of them.
    #[must_use]
    #[inline]
    pub fn contains(&self, slot: Slot) -> bool {
        self.0[slot.index() / 64] >> (slot.index() % 64) & 1 == 1
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<T: IntoIterator<Item = Slot>>(slots: T) -> Self {
        let mut bits = Box::new([0; Slot::COUNT / 64]);
        slots.into_iter().for_each(|slot| bits[slot.index() / 64] |= 1 << (slot.index() % 64));
        Self(bits)
    }
}

/// The part of a key that decides its slot: what stands between the first `{` and the first `}` after it, if
/// that is not empty; else the whole key (Redis Cluster specification, "Hash tags").
#[must_use]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = find(b'{', key) else { return key };
    let inner = &key[open + 1..];
    match inner.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => &inner[..close],
    }
}

/// Where a byte first is, eight looked at together: of a key without tag nothing else is wanted (Hacker's Delight,
/// "Find First 0-Byte").
fn find(wanted: u8, bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    let (words, _) = bytes.as_chunks::<8>();
    let holds = |word: &&[u8; 8]| {
        let differing = u64::from_ne_bytes(**word) ^ (ONES * u64::from(wanted));
        differing.wrapping_sub(ONES) & !differing & HIGHS != 0
    };
    let from = words.iter().take_while(|word| !holds(word)).count() * 8;
    bytes[from..].iter().position(|byte| *byte == wanted).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_fall_where_cluster_clients_expect() {
        #[track_caller]
        fn check(key: &str, expected: u16) {
            assert_eq!(Slot::of(key.as_bytes()).number(), expected, "{key}");
        }
        check("", 0);
        check("123456789", 0x31C3);
        check("foo", 12_182);
        check("bar", 5_061);
        check("hello", 866);
    }

    #[test]
    fn a_hash_tag_is_the_first_pair_that_is_not_empty() {
        #[track_caller]
        fn check(key: &str, expected: &str) {
            assert_eq!(hash_tag(key.as_bytes()), expected.as_bytes(), "{key}");
        }
        check("{user1000}.following", "user1000");
        check("foo{}{bar}", "foo{}{bar}");
        check("foo{{bar}}zap", "{bar");
        check("foo{bar}{zap}", "bar");
        check("foo{bar", "foo{bar");
        check("foo}bar{", "foo}bar{");
        check("}{a}", "a");
        check("a key of some length{and}more", "and");
        check("\u{7b7b}{x}", "x");
    }

    #[test]
    fn a_byte_is_found_where_it_first_is() {
        for len in 0..40 {
            for wanted in [0, b'{', 0x7a, 0x7c, 0x80, 0xfb, 0xff] {
                let bytes: Vec<u8> = (0..len).map(|at: u8| at.wrapping_mul(37) ^ wanted ^ 0x81).collect();
                for at in 0..bytes.len() {
                    let mut with = bytes.clone();
                    with[at] = wanted;
                    assert_eq!(find(wanted, &with), with.iter().position(|byte| *byte == wanted));
                }
                assert_eq!(find(wanted, &bytes), bytes.iter().position(|byte| *byte == wanted));
            }
        }
    }

    #[test]
    fn a_set_has_the_slots_it_was_made_of() {
        let is_in = |slot: &Slot| slot.number() % 7 == 3 || slot.number() > 16_380;
        let set: SlotSet = Slot::all().filter(is_in).collect();
        assert!(Slot::all().all(|slot| set.contains(slot) == is_in(&slot)));
    }

    #[test]
    fn a_number_past_the_last_is_no_slot() {
        assert_eq!(Slot::new(16_384), None);
        assert_eq!(Slot::new(16_383), Slot::all().next_back());
        assert_eq!(Slot::all().len(), Slot::COUNT);
    }
}
