//! How long values are: one length, a range, or several by weight. The one hard thing is that a reply must be
//! checked without remembering what was written, so a length is not drawn from the stream: it follows from the
//! value's key and version, which the value itself names.

use crate::units;
use crate::workload::scrambled;
use std::sync::Arc;

/// The most lengths that can be told apart by weight.
const WEIGHTS_MAX: usize = 64;

/// The lengths of values, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All of this length.
    Fixed(usize),
    /// From this length to that, all alike.
    Range(usize, usize),
    /// Each length as often as its weight says, of the sum of all. Not empty, and the sum is not 0.
    Weighted(Arc<[(usize, u32)]>),
}

/// Lengths: `32`, `4KiB`, `16-1024`, `32=90,4KiB=10`.
///
/// # Errors
/// A sentence, when they are none.
pub fn sizes(text: &str) -> Result<Sizes, String> {
    let wrong = || format!("{text:?} are no sizes: write 32, 4KiB, 16-1024 or 32=90,4KiB=10");
    if text.contains('=') {
        let pair = |part: &str| {
            let (size, weight) = part.split_once('=').ok_or_else(wrong)?;
            Ok((units::size(size)?, weight.trim().parse::<u32>().map_err(|_| wrong())?))
        };
        let all = text.split(',').map(pair).collect::<Result<Vec<_>, String>>()?;
        let sum: u64 = all.iter().map(|(_, weight)| u64::from(*weight)).sum();
        return match sum > 0 && all.len() <= WEIGHTS_MAX {
            true => Ok(Sizes::Weighted(all.into())),
            false => Err(wrong()),
        };
    }
    match text.split_once('-') {
        None => units::size(text).map(Sizes::Fixed),
        Some((least, most)) => match (units::size(least)?, units::size(most)?) {
            (least, most) if least <= most => Ok(Sizes::Range(least, most)),
            _ => Err(wrong()),
        },
    }
}

impl Sizes {
    /// The length of this version of this key's value.
    #[inline]
    #[must_use]
    pub fn of(&self, key: u64, version: u64) -> usize {
        let drawn = |bound: u64| scrambled(scrambled(key ^ 0x73_697a65).wrapping_add(version)) % bound;
        match self {
            Self::Fixed(size) => *size,
            Self::Range(least, most) => least + drawn((most - least) as u64 + 1) as usize,
            Self::Weighted(all) => {
                let sum = all.iter().map(|(_, weight)| u64::from(*weight)).sum();
                let mut left = drawn(sum);
                for (size, weight) in all.iter() {
                    match left.checked_sub(u64::from(*weight)) {
                        Some(rest) => left = rest,
                        None => return *size,
                    }
                }
                unreachable!("the draw is under the sum of all weights")
            }
        }
    }

    /// Whether any value may have this length.
    #[must_use]
    pub fn may_be(&self, len: usize) -> bool {
        match self {
            Self::Fixed(size) => *size == len,
            Self::Range(least, most) => (*least..=*most).contains(&len),
            Self::Weighted(all) => all.iter().any(|(size, weight)| *size == len && *weight > 0),
        }
    }

    /// The shortest.
    #[must_use]
    pub fn least(&self) -> usize {
        match self {
            Self::Fixed(size) | Self::Range(size, _) => *size,
            Self::Weighted(all) => all.iter().map(|(size, _)| *size).min().unwrap_or(0),
        }
    }

    /// The longest.
    #[must_use]
    pub fn most(&self) -> usize {
        match self {
            Self::Fixed(size) | Self::Range(_, size) => *size,
            Self::Weighted(all) => all.iter().map(|(size, _)| *size).max().unwrap_or(0),
        }
    }
}

impl core::fmt::Display for Sizes {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Range(least, most) => write!(f, "{least}-{most}"),
            Self::Weighted(all) => {
                let parts: Vec<_> = all.iter().map(|(size, weight)| format!("{size}={weight}")).collect();
                write!(f, "{}", parts.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_back() {
        for text in ["32", "16-1024", "32=90,4096=10"] {
            assert_eq!(sizes(text).map(|sizes| sizes.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(sizes("4KiB"), Ok(Sizes::Fixed(4096)));
        for refused in ["", "9-8", "a-b", "32=0", "32=", "=5", "5=x"] {
            assert!(sizes(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn lengths_follow_from_key_and_version_in_their_proportion() {
        let weighted = sizes("32=90,4096=10,7=0").unwrap();
        let long = (0..10_000).filter(|key| weighted.of(*key, 1) == 4096).count();
        assert!((900..1100).contains(&long), "{long}");
        assert!(weighted.may_be(32) && !weighted.may_be(33) && !weighted.may_be(7));
        let range = sizes("16-19").unwrap();
        for size in 16..=19 {
            let count = (0..10_000).filter(|version| range.of(5, *version) == size).count();
            assert!((2_300..2_700).contains(&count), "{size}: {count}");
        }
        assert_eq!((range.least(), range.most(), weighted.most()), (16, 19, 4096));
    }
}
