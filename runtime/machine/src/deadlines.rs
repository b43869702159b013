//! The timers of a core, by deadline. Most deadlines are moved further away again and again (an idle
//! connection's, a lease's) and seldom reached, so moving one later costs a look-up and no heap work: the heap
//! keeps the old entry, which is corrected when it comes up.

use crate::id::TimerId;
use crate::time::Instant;
use core::cmp::Reverse;
use core::hash::{BuildHasherDefault, Hasher};
use std::collections::BinaryHeap;
use std::collections::hash_map::{Entry, HashMap};

/// Timers with at most one deadline each. Those due come in order of deadline, then of id: both worlds agree.
#[derive(Debug, Default)]
pub struct Deadlines {
    /// Entries that are not before the timer's true deadline wait here; there is exactly one "live" one each.
    heap: BinaryHeap<Reverse<(Instant, TimerId)>>,
    wanted: HashMap<TimerId, Wanted, BuildHasherDefault<IdHasher>>,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    at: Instant,
    /// The deadline of its entry in the heap: never after `at`.
    queued: Instant,
}

impl Deadlines {
    /// No timers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the timer's deadline in place of its earlier one; none forgets it.
    pub fn set(&mut self, timer: TimerId, at: Option<Instant>) {
        let Some(at) = at else {
            self.wanted.remove(&timer);
            self.shrink();
            return;
        };
        match self.wanted.entry(timer) {
            Entry::Occupied(mut entry) if entry.get().queued <= at => entry.get_mut().at = at,
            Entry::Occupied(mut entry) => {
                entry.insert(Wanted { at, queued: at });
                self.heap.push(Reverse((at, timer)));
            }
            Entry::Vacant(entry) => {
                entry.insert(Wanted { at, queued: at });
                self.heap.push(Reverse((at, timer)));
            }
        }
        self.shrink();
    }

    /// The next timer that is due at `now`, which is then forgotten.
    pub fn due(&mut self, now: Instant) -> Option<TimerId> {
        self.settle();
        let Reverse((at, timer)) = *self.heap.peek()?;
        if at > now {
            return None;
        }
        self.heap.pop();
        self.wanted.remove(&timer);
        Some(timer)
    }

    /// When the next timer is due.
    pub fn earliest(&mut self) -> Option<Instant> {
        self.settle();
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// How many timers have a deadline.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Makes the top of the heap a true deadline.
    fn settle(&mut self) {
        while let Some(&Reverse((at, timer))) = self.heap.peek() {
            match self.wanted.get_mut(&timer) {
                Some(wanted) if wanted.queued == at && wanted.at == at => return,
                Some(wanted) if wanted.queued == at => {
                    wanted.queued = wanted.at;
                    let later = wanted.at;
                    self.heap.pop();
                    self.heap.push(Reverse((later, timer)));
                }
                _ => {
                    self.heap.pop();
                }
            }
        }
    }

    /// Entries left behind are at most as many as timers, plus a few.
    fn shrink(&mut self) {
        if self.heap.len() > 2 * self.wanted.len() + 64 {
            let mut live = core::mem::take(&mut self.heap).into_sorted_vec();
            live.dedup();
            live.retain(|Reverse((at, timer))| {
                self.wanted.get(timer).is_some_and(|wanted| wanted.queued == *at)
            });
            self.heap = BinaryHeap::from(live);
        }
    }
}

/// Timer ids are the shard's own numbers, so one multiplication spreads them.
#[derive(Debug, Default, Clone, Copy)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }
    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use std::collections::BTreeMap;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn a_timer_moved_later_is_due_later_only() {
        let mut deadlines = Deadlines::new();
        deadlines.set(TimerId(1), Some(at(10)));
        deadlines.set(TimerId(1), Some(at(30)));
        deadlines.set(TimerId(2), Some(at(20)));
        assert_eq!(deadlines.earliest(), Some(at(20)));
        assert_eq!(deadlines.due(at(25)), Some(TimerId(2)));
        assert_eq!(deadlines.due(at(25)), None);
        assert_eq!(deadlines.due(at(30)), Some(TimerId(1)));
        assert!(deadlines.is_empty());
    }

    #[test]
    fn agrees_with_a_sorted_map_over_random_work() {
        for seed in 0..200 {
            let mut stream = Chance::new(seed).stream("work");
            let mut deadlines = Deadlines::new();
            let mut model: BTreeMap<u64, u64> = BTreeMap::new();
            let mut now = 0;
            for _ in 0..400 {
                let timer = stream.below(12);
                match stream.below(4) {
                    0 => {
                        deadlines.set(TimerId(timer), None);
                        model.remove(&timer);
                    }
                    1 | 2 => {
                        let when = now + stream.below(50);
                        deadlines.set(TimerId(timer), Some(at(when)));
                        model.insert(timer, when);
                    }
                    _ => {
                        now += stream.below(20);
                        while let Some(due) = deadlines.due(at(now)) {
                            let first = model.iter().map(|(id, when)| (*when, *id)).min().unwrap();
                            assert_eq!(first.1, due.0, "seed {seed}");
                            assert!(first.0 <= now);
                            model.remove(&due.0);
                        }
                    }
                }
                assert_eq!(deadlines.earliest(), model.values().min().map(|when| at(*when)), "seed {seed}");
                assert_eq!(deadlines.len(), model.len());
            }
        }
    }
}
