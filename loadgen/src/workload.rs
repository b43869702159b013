//! What is asked: a stream of operations that the seed alone decides, and values that prove whose they are.
//!
//! A value is made from its key and a version and can be checked without remembering what was written: it names
//! both, and every byte after that follows from them. So a byte changed, a value cut short and a reply that
//! belongs to another request are told apart. All text is lower case, digits and signs: no value reads like
//! a word of a protocol.

use crate::keys::Keys;
use crate::plan::Load;
use crate::protocol::Dialect;
use crate::sizes::Sizes;
use crate::units::Mix;
use machine::{Chance, Stream};

/// From this many bytes on a value names its key and version; a shorter one follows from its key alone.
pub const NAMED_VALUE_MIN: usize = 16;
/// Letters of a number in a value, six bits each.
const NUMBER_LETTERS: usize = 6;
/// The most keys: what six letters can say.
pub const KEYS_MAX: u64 = 1 << (6 * NUMBER_LETTERS);
/// How many operations of each core are hashed: enough to tell any two streams apart.
pub const HASHED_OPERATIONS: usize = 10_000;

const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyz-_.,:;!?()[]{}<>*+/=%&#@~^|$";

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Reads a value.
    Get,
    /// Writes one.
    Set,
    /// Deletes one.
    Del,
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What it does.
    pub verb: Verb,
    /// To which key, by number.
    pub key: u64,
    /// Which version a write writes; unique in a run, never 0.
    pub version: u64,
}

/// One core's operations, one after another, for ever.
#[derive(Clone, Debug)]
pub struct Operations {
    stream: Stream,
    keys: Keys,
    mix: Mix,
    version: u64,
    version_step: u64,
}

impl Operations {
    /// Those that `seed` gives to this core of so many.
    #[must_use]
    pub fn new(load: &Load, core: u16, cores: u16) -> Self {
        Self {
            stream: Chance::new(load.seed).within("core", u64::from(core)).stream("operations"),
            keys: Keys::new(load.choice, load.keys, core, cores),
            mix: load.mix,
            version: u64::from(core) + 1,
            version_step: u64::from(cores),
        }
    }

    /// The next operation.
    pub fn draw(&mut self) -> Operation {
        let sum = u64::from(self.mix.get) + u64::from(self.mix.set) + u64::from(self.mix.del);
        let verb = match self.stream.below(sum) {
            drawn if drawn < u64::from(self.mix.get) => Verb::Get,
            drawn if drawn < u64::from(self.mix.get) + u64::from(self.mix.set) => Verb::Set,
            _ => Verb::Del,
        };
        let key = self.keys.draw(verb, &mut self.stream);
        let version = self.version % KEYS_MAX;
        self.version += self.version_step;
        Operation { verb, key, version }
    }
}

/// The hash of the operations that a run of this load on so many cores makes, in hexadecimal: of everything that
/// decides the bytes sent, and of the first [`HASHED_OPERATIONS`] of each core.
#[must_use]
pub fn operations_hash(load: &Load, cores: u16) -> String {
    let mut hash = mix(0x7269_6e67);
    let mut add = |word: u64| hash = mix(hash ^ word).rotate_left(5);
    for word in [load.keys, load.key_size as u64, load.values.most() as u64, u64::from(cores)] {
        add(word);
    }
    if let Dialect::Http(ask) = &load.dialect {
        ask.shown(load.key_size).bytes().for_each(|byte| add(u64::from(byte)));
    }
    for core in 0..cores {
        let mut operations = Operations::new(load, core, cores);
        for _ in 0..HASHED_OPERATIONS {
            let operation = operations.draw();
            add(operation.verb as u64);
            add(operation.key);
            add(operation.version);
            if !matches!(load.values, Sizes::Fixed(_)) {
                add(load.values.of(operation.key, operation.version) as u64);
            }
        }
    }
    format!("{hash:016x}")
}

/// The name of key number `key`: `k` and its number, zeros between, `key_size` bytes where that is enough.
pub fn write_key(into: &mut Vec<u8>, key: u64, key_size: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(key);
    into.push(b'k');
    let zeros = key_size.saturating_sub(digits.len() + 1);
    into.resize(into.len() + zeros, b'0');
    into.extend_from_slice(digits.as_bytes());
}

/// The least bytes in which every key has a name of the same length.
#[must_use]
pub fn key_size_min(keys: u64) -> usize {
    1 + itoa::Buffer::new().format(keys.max(1) - 1).len()
}

/// A value of `value_size` bytes of this key and version.
pub fn write_value(into: &mut Vec<u8>, key: u64, version: u64, value_size: usize) {
    let end = into.len() + value_size;
    let mut words = Letters::new(key, version, value_size);
    if value_size >= NAMED_VALUE_MIN {
        into.extend_from_slice(&letters(key)[..NUMBER_LETTERS]);
        into.extend_from_slice(&letters(version)[..NUMBER_LETTERS]);
    }
    while into.len() < end {
        let chunk = words.chunk();
        let take = chunk.len().min(end - into.len());
        into.extend_from_slice(&chunk[..take]);
    }
}

/// What a value that was read is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// A version of this key, whole.
    Right,
    /// Not as long as what is written.
    WrongLength,
    /// Whole, but of another key: a reply to another request.
    WrongKey,
    /// Anything else.
    WrongBytes,
}

/// Whether `value` is one that was written to `key`, where values are of these sizes.
#[must_use]
pub fn check_value(value: &[u8], key: u64, sizes: &Sizes) -> Checked {
    let value_size = value.len();
    if !sizes.may_be(value_size) {
        return Checked::WrongLength;
    }
    if value_size < NAMED_VALUE_MIN {
        return if follows(value, 0, key, 0, value_size) { Checked::Right } else { Checked::WrongBytes };
    }
    let named = number(&value[..NUMBER_LETTERS]);
    let version = number(&value[NUMBER_LETTERS..2 * NUMBER_LETTERS]);
    match (named, version) {
        (Some(named), Some(version)) if follows(value, 2 * NUMBER_LETTERS, named, version, value_size) => {
            if named != key {
                Checked::WrongKey
            } else if sizes.of(named, version) != value_size {
                Checked::WrongLength
            } else {
                Checked::Right
            }
        }
        _ => Checked::WrongBytes,
    }
}

/// The version that a value says it is; none of one too short to say it.
#[must_use]
pub fn version_of(value: &[u8]) -> Option<u64> {
    if value.len() < NAMED_VALUE_MIN { None } else { number(&value[NUMBER_LETTERS..2 * NUMBER_LETTERS]) }
}

/// Whether the bytes from `from` on are those of that key and version.
fn follows(value: &[u8], from: usize, key: u64, version: u64, value_size: usize) -> bool {
    let mut words = Letters::new(key, version, value_size);
    value[from..].chunks(8).all(|bytes| words.chunk()[..bytes.len()] == *bytes)
}

/// Eight letters at a time, for ever. A value too short to name its version does not depend on it.
struct Letters {
    state: u64,
}

impl Letters {
    fn new(key: u64, version: u64, value_size: usize) -> Self {
        let version = if value_size < NAMED_VALUE_MIN { 0 } else { version };
        Self { state: mix(mix(key).wrapping_add(version)) }
    }

    fn chunk(&mut self) -> [u8; 8] {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        letters(mix(self.state))
    }
}

/// Six bits a letter, the lowest first; 48 of the 64 bits.
fn letters(word: u64) -> [u8; 8] {
    core::array::from_fn(|at| LETTERS[(word >> (6 * at)) as usize & 63])
}

/// The number that six letters say.
fn number(text: &[u8]) -> Option<u64> {
    text.iter().rev().try_fold(0, |sum, byte| Some(sum << 6 | u64::from(VALUES[*byte as usize]?)))
}

/// The place of each letter.
const VALUES: [Option<u8>; 256] = {
    let mut values = [None; 256];
    let mut at = 0;
    while at < LETTERS.len() {
        values[LETTERS[at] as usize] = Some(at as u8);
        at += 1;
    }
    values
};

/// Every bit of `word` spread over all: for what must follow from a number and look like chance.
#[must_use]
pub fn scrambled(word: u64) -> u64 {
    mix(word)
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Choice;

    fn drawn(load: &Load, core: u16, count: usize) -> Vec<Operation> {
        let mut operations = Operations::new(load, core, 2);
        (0..count).map(|_| operations.draw()).collect()
    }

    #[test]
    fn the_seed_decides_the_stream_and_the_hash_tells_streams_apart() {
        let load = Load { seed: 7, ..Load::default() };
        assert_eq!(drawn(&load, 0, 1000), drawn(&load.clone(), 0, 1000));
        assert_ne!(drawn(&load, 0, 1000), drawn(&load, 1, 1000));
        let hash = operations_hash(&load, 2);
        assert_eq!(hash, operations_hash(&load.clone(), 2));
        for other in [
            Load { seed: 8, ..load.clone() },
            Load { keys: load.keys + 1, ..load.clone() },
            Load { values: Sizes::Fixed(33), ..load.clone() },
            Load { values: Sizes::Range(16, 32), ..load.clone() },
            Load { choice: Choice::Sequential, ..load.clone() },
            Load { mix: Mix { get: 89, set: 11, del: 0 }, ..load.clone() },
        ] {
            assert_ne!(hash, operations_hash(&other, 2));
        }
        assert_ne!(hash, operations_hash(&load, 1));
    }

    #[test]
    fn the_mix_is_kept() {
        let load = Load { mix: Mix { get: 70, set: 20, del: 10 }, ..Load::default() };
        let all = drawn(&load, 0, 10_000);
        let count = |verb| all.iter().filter(|operation| operation.verb == verb).count();
        assert!((6_700..7_300).contains(&count(Verb::Get)), "{}", count(Verb::Get));
        assert!((1_800..2_200).contains(&count(Verb::Set)), "{}", count(Verb::Set));
        assert!(all.iter().all(|operation| operation.key < load.keys && operation.version > 0));
    }

    #[test]
    fn a_value_proves_whose_it_is() {
        for value_size in [1, 3, 8, 15, 16, 17, 32, 100, 4096] {
            let sizes = Sizes::Fixed(value_size);
            for key in [0, 1, 99_999, KEYS_MAX - 1] {
                let mut value = Vec::new();
                write_value(&mut value, key, 5, value_size);
                assert_eq!(value.len(), value_size);
                assert_eq!(check_value(&value, key, &sizes), Checked::Right);
                assert_eq!(check_value(&value[1..], key, &sizes), Checked::WrongLength);
                if value_size < 8 {
                    continue;
                }
                let other = check_value(&value, key ^ 1, &sizes);
                let named = value_size >= NAMED_VALUE_MIN;
                assert_eq!(other, if named { Checked::WrongKey } else { Checked::WrongBytes });
                for at in 0..value_size {
                    let mut changed = value.clone();
                    changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
                    assert_ne!(check_value(&changed, key, &sizes), Checked::Right, "{value_size} {at}");
                }
            }
        }
    }

    #[test]
    fn a_value_cut_to_another_length_that_may_be_is_found_out() {
        let sizes = Sizes::Range(16, 64);
        for key in 0..100 {
            let mut value = Vec::new();
            let size = sizes.of(key, 5);
            write_value(&mut value, key, 5, size);
            assert_eq!(check_value(&value, key, &sizes), Checked::Right);
            if size > 16 {
                assert_eq!(check_value(&value[..size - 1], key, &sizes), Checked::WrongLength);
            }
        }
    }

    #[test]
    fn keys_have_one_length() {
        let name = |key, size| {
            let mut text = Vec::new();
            write_key(&mut text, key, size);
            String::from_utf8(text).unwrap()
        };
        assert_eq!(name(123, 16), "k000000000000123");
        assert_eq!(name(0, 2), "k0");
        assert_eq!(key_size_min(100_000), 6);
        assert_eq!(name(99_999, 6).len(), 6);
        assert_eq!(key_size_min(1), 2);
    }
}
