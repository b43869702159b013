//! Eviction: which entry goes when memory is full. Of some entries drawn by chance the one goes that was used the
//! longest ago, or the least often, as Redis does ("Approximated LRU algorithm" in its documentation): five draws
//! come near to the real order and cost no list. The entry that expires first need not be drawn: the hints know
//! its segment.

use super::Table;
use super::entry::Entry;
use super::hints::Name;
use super::segment::{SEGMENT_ENTRIES_MAX, Segment, nth_bit};
use crate::slot::Slot;
use core::cmp::Reverse;
use machine::{Stream, WallTime};

/// Places drawn before a draw is given up. Places are two thirds full in a table that grows, and in one that lost
/// 95 of 100 entries since, one draw of ten is given up.
const DRAWS_MAX: usize = 64;

/// What goes when memory is full. The names in brackets are those of the configuration clients know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// Nothing (`noeviction`).
    #[default]
    NoEviction,
    /// What was used the longest ago (`allkeys-lru`).
    AllKeysLru,
    /// What is used the least often (`allkeys-lfu`); wants [`Track::Frequency`](super::Track::Frequency).
    AllKeysLfu,
    /// Anything (`allkeys-random`).
    AllKeysRandom,
    /// Of what has an expiry, what was used the longest ago (`volatile-lru`).
    VolatileLru,
    /// Of what has an expiry, what is used the least often (`volatile-lfu`).
    VolatileLfu,
    /// Anything that has an expiry (`volatile-random`).
    VolatileRandom,
    /// What expires first (`volatile-ttl`).
    VolatileTtl,
}

/// The whole of the entries or those with an expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    All,
    Expiring,
}

impl Table {
    /// An entry by chance, each with the same, expired ones included; none of an empty table, and hardly ever none
    /// of one from which nearly all was removed.
    pub fn sample(&self, chance: &mut Stream) -> Option<(Slot, Entry<'_>)> {
        let (name, at) = self.draw(Of::All, chance)?;
        Some((name.slot, self.named(name)?.entry(at, self.track, WallTime::default())))
    }

    /// An entry with an expiry by chance, expired ones included. Each has the same chance where such entries are
    /// many; where only few segments have any, those that expire after a pause are likelier.
    pub fn sample_expiring(&self, chance: &mut Stream) -> Option<(Slot, Entry<'_>)> {
        let (name, at) = self.draw(Of::Expiring, chance)?;
        Some((name.slot, self.named(name)?.entry(at, self.track, WallTime::default())))
    }

    /// Slot and key of the entry that should go next: the best of `samples` drawn (Redis' default is 5), or under
    /// `VolatileTtl` the one that expires first. None when there is nothing that may go. The caller removes it.
    #[must_use]
    pub fn evict_candidate(
        &self,
        policy: Policy,
        chance: &mut Stream,
        now: WallTime,
        samples: usize,
    ) -> Option<(Slot, Vec<u8>)> {
        let idle = |entry: &Entry<'_>| u64::from(entry.idle_seconds(now));
        let rare = |entry: &Entry<'_>| {
            // The least count first, and of equal counts the longest idle.
            u64::from(u8::MAX - entry.usage.count(now)) << 32 | u64::from(entry.idle_seconds(now))
        };
        let (name, at) = match policy {
            Policy::NoEviction => None,
            Policy::AllKeysRandom => self.draw(Of::All, chance),
            Policy::VolatileRandom => self.draw(Of::Expiring, chance),
            Policy::AllKeysLru => self.best(Of::All, chance, samples, idle),
            Policy::VolatileLru => self.best(Of::Expiring, chance, samples, idle),
            Policy::AllKeysLfu => self.best(Of::All, chance, samples, rare),
            Policy::VolatileLfu => self.best(Of::Expiring, chance, samples, rare),
            Policy::VolatileTtl => self.first_to_expire(),
        }?;
        Some((name.slot, self.named(name)?.key(at).to_vec()))
    }

    /// Of so many drawn, the one with the highest worth.
    fn best(
        &self,
        of: Of,
        chance: &mut Stream,
        samples: usize,
        worth: impl Fn(&Entry<'_>) -> u64,
    ) -> Option<(Name, usize)> {
        (0..samples.max(1))
            .filter_map(|_| self.draw(of, chance))
            .filter_map(|(name, at)| {
                Some((worth(&self.named(name)?.entry(at, self.track, WallTime::default())), (name, at)))
            })
            .max_by_key(|(worth, _)| *worth)
            .map(|(_, place)| place)
    }

    fn draw(&self, of: Of, chance: &mut Stream) -> Option<(Name, usize)> {
        let mut last = None;
        for _ in 0..DRAWS_MAX {
            let name = self.roster.draw(chance)?;
            let Some(segment) = self.named(name) else { continue };
            let at = chance.below(SEGMENT_ENTRIES_MAX as u64) as usize;
            let count = count(of, segment);
            if at < count {
                return Some((name, place(of, segment, at)));
            }
            if count > 0 {
                last = Some((name, place(of, segment, at % count)));
            }
        }
        last.or_else(|| match of {
            Of::All => self.any(chance),
            Of::Expiring => self.any_expiring(chance),
        })
    }

    /// An entry of the first slot that has any after one by chance. O([`Slot::COUNT`]): for nearly empty tables.
    fn any(&self, chance: &mut Stream) -> Option<(Name, usize)> {
        let start = Slot::new(chance.below(Slot::COUNT as u64) as u16)?;
        let slot = self.occupied_from(start).or_else(|| self.occupied_from(Slot::default()))?;
        let table = self.slots[slot.index()].as_ref()?;
        let segments = table.segments() as u32;
        let first = chance.below(u64::from(segments)) as u32;
        let segment = (first..segments).chain(0..first).find(|index| table.segment(*index).len() > 0)?;
        let at = chance.below(table.segment(segment).len() as u64) as usize;
        Some((Name { slot, table: table.id, segment }, at))
    }

    /// An entry of the segment that expires first after a time by chance: for tables where hardly any expires.
    fn any_expiring(&self, chance: &mut Stream) -> Option<(Name, usize)> {
        let (first, last) = self.hints.span()?;
        let name = self.hints.due_from(chance.between(first, last))?;
        let segment = self.named(name)?;
        let count = segment.expiring();
        (count > 0).then(|| (name, place(Of::Expiring, segment, chance.below(count as u64) as usize)))
    }

    /// The entry that expires first in the segment that is due first. That is the first of all, unless an entry
    /// whose expiry was changed to a later one keeps its segment waiting for a walk that comes in vain.
    fn first_to_expire(&self) -> Option<(Name, usize)> {
        let (first, _) = self.hints.span()?;
        let name = self.hints.due_from(first)?;
        let segment = self.named(name)?;
        let places = (0..segment.expiring()).map(|nth| place(Of::Expiring, segment, nth));
        let at = places.max_by_key(|at| Reverse(segment.record(*at).deadline()))?;
        Some((name, at))
    }
}

fn count(of: Of, segment: &Segment) -> usize {
    match of {
        Of::All => segment.len(),
        Of::Expiring => segment.expiring(),
    }
}

fn place(of: Of, segment: &Segment, nth: usize) -> usize {
    match of {
        Of::All => nth,
        Of::Expiring => nth_bit(segment.expiring_places(), nth),
    }
}

#[cfg(test)]
#[path = "evict_tests.rs"]
mod tests;
