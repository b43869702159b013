//! Whether a history is one that a register could have: each key holds one value, and each operation took place at one
//! moment between its call and its return (Herlihy and Wing 1990). Every write writes a value of its own, which makes
//! the question easy: Gibbons and Korach, *Testing shared memories* (1997), decide it by sorting.
//!
//! The operations of one value are its write and the reads that saw it. When one of them was over before another of them
//! began, the value was surely there between the two: its zone is *forward*, from the first return to the last call.
//! Otherwise there is a moment common to all, somewhere in its *backward* zone, from the last call to the first return.
//! The history is linearizable exactly when no read saw what was not yet or never written, no two forward zones
//! overlap, and no backward zone lies within a forward one.

use crate::history::{Kept, Kind, NOTHING};

/// What no register does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A read of what nobody wrote, or of nothing where there was something from the beginning.
    Unwritten(Kept),
    /// A read that was over before the write of what it saw was called.
    BeforeItsWrite(Kept),
    /// The first value was there all the time from here to there, and within that the second was, too.
    Both {
        /// Which key.
        key: u64,
        /// The value that was there before and after: its version, the first return and the last call.
        around: Zone,
        /// The value that cannot have been there meanwhile.
        within: Zone,
    },
}

/// Where a value was: its version, when its first operation returned, when its last was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// The version.
    pub version: u64,
    /// The first return, ns.
    pub first_return: u64,
    /// The last call, ns.
    pub last_call: u64,
}

impl Zone {
    fn is_forward(&self) -> bool {
        self.first_return < self.last_call
    }
}

/// The first violation of each key of a history that is in order (see [`crate::history::merged`]).
#[must_use]
pub fn violations(all: &[Kept]) -> Vec<Violation> {
    all.chunk_by(|a, b| a.key == b.key).filter_map(violation).collect()
}

fn violation(of_key: &[Kept]) -> Option<Violation> {
    let mut zones = Vec::new();
    for of_version in of_key.chunk_by(|a, b| a.version == b.version) {
        match zone(of_version) {
            Ok(zone) => zones.extend(zone),
            Err(violation) => return Some(violation),
        }
    }
    overlap(of_key[0].key, &zones)
}

/// The zone of one value; none where it may never have been there.
fn zone(of_version: &[Kept]) -> Result<Option<Zone>, Violation> {
    let version = of_version[0].version;
    let write = of_version.first().filter(|kept| kept.kind == Kind::Set);
    let reads = &of_version[usize::from(write.is_some())..];
    let (called, returned) = match (version, write) {
        (0, _) => (0, Some(0)),
        (NOTHING, _) | (_, None) => return Err(Violation::Unwritten(of_version[0])),
        (_, Some(write)) => (write.call, write.back()),
    };
    let back = |read: &Kept| read.back().unwrap_or(u64::MAX);
    if let Some(read) = reads.iter().find(|read| back(read) < called) {
        return Err(Violation::BeforeItsWrite(*read));
    }
    if reads.is_empty() && returned.is_none() {
        return Ok(None);
    }
    let first_return = reads.iter().map(back).chain(returned).min().unwrap_or(u64::MAX);
    let last_call = reads.iter().map(|read| read.call).fold(called, u64::max);
    Ok(Some(Zone { version, first_return, last_call }))
}

fn overlap(key: u64, zones: &[Zone]) -> Option<Violation> {
    let mut forward: Vec<Zone> = zones.iter().copied().filter(Zone::is_forward).collect();
    forward.sort_unstable_by_key(|zone| zone.first_return);
    if let Some(pair) = forward.windows(2).find(|pair| pair[1].first_return < pair[0].last_call) {
        return Some(Violation::Both { key, around: pair[0], within: pair[1] });
    }
    for within in zones.iter().filter(|zone| !zone.is_forward()) {
        let after = forward.partition_point(|zone| zone.first_return < within.last_call);
        let Some(around) = after.checked_sub(1).map(|at| forward[at]) else { continue };
        if within.first_return < around.last_call {
            return Some(Violation::Both { key, around, within: *within });
        }
    }
    None
}

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        match self {
            Self::Unwritten(Kept { key, version: NOTHING, call, .. }) => {
                write!(f, "key {key}: the read called at {:.6} s found nothing", seconds(*call))
            }
            Self::Unwritten(Kept { key, version, call, .. }) => {
                write!(
                    f,
                    "key {key}: the read called at {:.6} s saw version {version}, which nobody wrote",
                    seconds(*call)
                )
            }
            Self::BeforeItsWrite(Kept { key, version, call, .. }) => write!(
                f,
                "key {key}: the read called at {:.6} s saw version {version} before it was written",
                seconds(*call)
            ),
            Self::Both { key, around, within } => write!(
                f,
                "key {key}: version {} was there at {:.6} s and at {:.6} s, version {} at {:.6} s",
                around.version,
                seconds(around.first_return),
                seconds(around.last_call),
                within.version,
                seconds(within.last_call.max(within.first_return.min(around.last_call))),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::tests::{UNKNOWN, kept};
    use machine::{Chance, Stream};

    fn sorted(mut all: Vec<Kept>) -> Vec<Kept> {
        all.sort_unstable_by_key(|kept| (kept.key, kept.version, kept.kind, kept.call));
        all
    }

    fn check(all: &[Kept], right: bool) {
        assert_eq!(violations(&sorted(all.to_vec())).is_empty(), right, "{all:?}");
    }

    #[test]
    fn what_a_register_does_and_what_it_does_not() {
        let set = |version, call, back| kept(Kind::Set, version, call, back);
        let get = |version, call, back| kept(Kind::Get, version, call, back);
        check(&[set(1, 10, 20), get(1, 30, 40), set(2, 50, 60), get(2, 70, 80)], true);
        check(&[get(0, 1, 2), set(1, 10, 20), get(0, 30, 40)], false);
        check(&[set(1, 10, 20), set(2, 30, 40), get(1, 50, 60)], false);
        check(&[set(1, 10, 40), get(1, 15, 20), get(0, 25, 30)], false);
        check(&[set(1, 10, 40), get(0, 15, 20), get(1, 25, 30), get(1, 50, 60)], true);
        check(&[set(1, 10, UNKNOWN), get(0, 30, 40), get(1, 50, 60)], true);
        check(&[set(1, 10, UNKNOWN), get(1, 30, 40), get(0, 50, 60)], false);
        check(&[get(1, 1, 5), set(1, 10, 20)], false);
        check(&[get(9, 1, 5)], false);
        check(&[get(NOTHING, 1, 5)], false);
    }

    /// Whether some order of all operations is one of a register, by trying all.
    fn can_be(all: &[Kept], done: u32, holds: u64) -> bool {
        let left = |at: &usize| done & 1 << at == 0;
        let waits: Vec<usize> = (0..all.len()).filter(left).collect();
        if waits.iter().all(|at| all[*at].back().is_none()) {
            return true;
        }
        waits.iter().any(|&at| {
            let next = all[at];
            let first = waits.iter().all(|other| !all[*other].precedes(&next));
            let holds = match next.kind {
                Kind::Set => next.version,
                Kind::Get | Kind::Look if next.version == holds => holds,
                Kind::Get | Kind::Look => return false,
            };
            first && can_be(all, done | 1 << at, holds)
        })
    }

    fn made(stream: &mut Stream) -> Vec<Kept> {
        let writes = 1 + stream.below(3);
        let mut one = |kind, version| {
            let call = 1 + stream.below(14);
            let back = call + stream.below(6);
            let lost = kind == Kind::Set && stream.below(5) == 0;
            kept(kind, version, call, if lost { UNKNOWN } else { back })
        };
        let mut all: Vec<Kept> = (1..=writes).map(|version| one(Kind::Set, version)).collect();
        let reads = 1 + stream.below(4);
        for _ in 0..reads {
            let version = stream.below(writes + 1);
            let call = 1 + stream.below(16);
            all.push(kept(Kind::Get, version, call, call + stream.below(6)));
        }
        sorted(all)
    }

    #[test]
    fn sorting_says_what_trying_every_order_says() {
        let mut stream = Chance::new(3).stream("histories");
        let mut right = 0;
        for _ in 0..100_000 {
            let all = made(&mut stream);
            let expected = can_be(&all, 0, 0);
            right += u32::from(expected);
            assert_eq!(violations(&all).is_empty(), expected, "{all:#?}");
        }
        assert!((10_000..90_000).contains(&right), "both must come: {right} of 100,000 are right");
    }
}
