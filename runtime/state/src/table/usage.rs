//! When, or how often, an entry was used, in three bytes: what eviction goes by. Which of the two is kept is the
//! table's to say ([`Track`]), as both in full would cost more than they tell.
//!
//! The count is the one of Redis ("LFU mode" in its documentation on eviction; Morris 1978): it grows the slower
//! the larger it is, some million uses fill it, and it falls by one for each minute without any.

use machine::{Stream, WallTime};

/// What is noted at each use of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Track {
    /// The second.
    #[default]
    Recency,
    /// The minute, and about how often.
    Frequency,
}

/// The count of a new entry: it should not be the first to go.
const FRESH_COUNT: u8 = 5;

/// The chance to count one more is one in `(count - FRESH_COUNT) * this + 1`.
const SLOWNESS: u64 = 10;

const SECONDS: u32 = 0xff_ffff;

/// As it lies in a record: a second modulo 2^24 (194 days), or a minute modulo 2^16 and a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage(u32);

impl Usage {
    pub(super) const fn from_bytes([a, b, c]: [u8; 3]) -> Self {
        Self(u32::from_le_bytes([a, b, c, 0]))
    }

    pub(super) const fn to_bytes(self) -> [u8; 3] {
        let [a, b, c, _] = self.0.to_le_bytes();
        [a, b, c]
    }

    /// The usage of an entry that is made now.
    pub(super) const fn fresh(track: Track, now: WallTime) -> Self {
        match track {
            Track::Recency => Self(second(now)),
            Track::Frequency => Self::counted(FRESH_COUNT, now),
        }
    }

    /// The usage of an entry that is used now.
    pub(super) fn again(self, track: Track, chance: &mut Stream, now: WallTime) -> Self {
        match track {
            Track::Recency => Self(second(now)),
            Track::Frequency => {
                let count = self.count(now);
                let against = u64::from(count.saturating_sub(FRESH_COUNT)) * SLOWNESS + 1;
                let more = against == 1 || chance.below(against) == 0;
                Self::counted(count.saturating_add(u8::from(more)), now)
            }
        }
    }

    /// Seconds since the last use; modulo 194 days, or, counting, minutes modulo 45 days.
    pub(super) const fn idle_seconds(self, track: Track, now: WallTime) -> u32 {
        match track {
            Track::Recency => second(now).wrapping_sub(self.0) & SECONDS,
            Track::Frequency => self.idle_minutes(now) as u32 * 60,
        }
    }

    /// The second of the last use, modulo 2^32.
    pub(super) const fn used_second(self, track: Track, now: WallTime) -> u32 {
        ((now.micros() / 1_000_000) as u32).wrapping_sub(self.idle_seconds(track, now))
    }

    /// The count as it is now.
    pub(super) fn count(self, now: WallTime) -> u8 {
        let [count, ..] = self.0.to_le_bytes();
        count.saturating_sub(self.idle_minutes(now).min(u16::from(u8::MAX)) as u8)
    }

    const fn counted(count: u8, now: WallTime) -> Self {
        Self((minute(now) as u32) << 8 | count as u32)
    }

    const fn idle_minutes(self, now: WallTime) -> u16 {
        minute(now).wrapping_sub((self.0 >> 8) as u16)
    }
}

const fn second(now: WallTime) -> u32 {
    (now.micros() / 1_000_000) as u32 & SECONDS
}

const fn minute(now: WallTime) -> u16 {
    (now.micros() / 60_000_000) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    #[test]
    fn an_idle_second_is_one_over_the_wrap() {
        for start in [0, 5, (1 << 24) - 3] {
            let at = |second: u64| WallTime::from_millis(second * 1_000);
            let usage = Usage::fresh(Track::Recency, at(start));
            assert_eq!(Usage::from_bytes(usage.to_bytes()).idle_seconds(Track::Recency, at(start + 10)), 10);
        }
    }

    #[test]
    fn a_count_grows_ever_slower_and_falls_by_the_minute() {
        let mut chance = Chance::new(1).stream("uses");
        let at = |minute: u64| WallTime::from_millis(minute * 60_000);
        let mut usage = Usage::fresh(Track::Frequency, at(7));
        let mut reached = Vec::new();
        for uses in 1..=100_000 {
            usage = usage.again(Track::Frequency, &mut chance, at(7));
            if [10, 100, 1_000, 100_000].contains(&uses) {
                reached.push(usage.count(at(7)));
            }
        }
        assert!(reached.is_sorted() && reached[0] >= 6 && reached[2] < 40 && reached[3] > 100, "{reached:?}");
        let full = usage.count(at(7));
        assert_eq!(usage.count(at(10)), full - 3);
        assert_eq!(usage.count(at(7 + 300)), 0);
        assert_eq!(usage.idle_seconds(Track::Frequency, at(9)), 120);
    }
}
