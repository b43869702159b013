//! A set of units as bits: what Inc and NInc are. Adding says whether it was new, which is all that Finn's algorithm
//! asks of a set; what was new goes on the wire, the set itself never does.

use crate::network::UnitId;

/// A set of units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    len: u32,
}

impl Bits {
    /// An empty set with room for units under `bound`; it grows when others come.
    #[must_use]
    pub fn with_room(bound: usize) -> Self {
        Self { words: vec![0; bound.div_ceil(64)], len: 0 }
    }

    /// Adds a unit; whether it was not in the set before.
    pub fn insert(&mut self, unit: UnitId) -> bool {
        let (word, bit) = (unit.index() / 64, 1u64 << (unit.index() % 64));
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += u32::from(is_new);
        is_new
    }

    /// Whether a unit is in the set.
    #[must_use]
    pub fn contains(&self, unit: UnitId) -> bool {
        self.words.get(unit.index() / 64).is_some_and(|word| word >> (unit.index() % 64) & 1 == 1)
    }

    /// How many units are in the set.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The units of the set, in order.
    pub fn iter(&self) -> impl Iterator<Item = UnitId> + '_ {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            core::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(UnitId(index as u32 * 64 + bit))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_a_sorted_set() {
        let mut draw = Chance::new(1).stream("units");
        for bound in [1, 64, 65, 1000] {
            let (mut bits, mut model) = (Bits::with_room(64), BTreeSet::new());
            for _ in 0..200 {
                let unit = UnitId(draw.below(bound) as u32);
                assert_eq!(bits.contains(unit), model.contains(&unit));
                assert_eq!(bits.insert(unit), model.insert(unit));
                assert_eq!(bits.len() as usize, model.len());
            }
            assert!(bits.iter().eq(model.iter().copied()));
        }
    }
}
