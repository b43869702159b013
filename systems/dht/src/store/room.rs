//! Room: what a core may store, and what gives way when that is not enough.
//!
//! The one hard thing is to stay bounded twice: memory by the core's share, and time by [`EVICTIONS_MAX`]. A value so
//! long that more keys would have to go is refused, with those already gone; asked again, it finds more room.
//!
//! What stores at several keys is done as a whole or not at all, so it asks for all its room first. Where other cores
//! take part, that room is reserved until they are ready; and the keys stay, whatever else has to go meanwhile.

use super::Store;
use crate::act::{Act, Op};
use crate::peer::Text;
use crate::policy::Policy;
use machine::{Stream, WallTime};
use state::Slot;
use state::table::ENTRY_OVERHEAD;
use std::collections::BTreeMap;

/// Keys drawn to find one that goes; Redis draws as many.
pub const SAMPLES: usize = 5;

/// Keys that go for one write, at most: about a millisecond.
pub const EVICTIONS_MAX: usize = 1024;

/// Keys drawn for one that goes, while those drawn have to stay.
const DRAWS_MAX: usize = 64;

/// How often room for several keys is counted again because some of them went.
const COUNTS_MAX: usize = 4;

/// Bytes that an entry is taken to cost beside key and value, with what the table may add for it.
const BESIDE: usize = ENTRY_OVERHEAD + 64;

/// The most digits that a number is stored as.
const DIGITS_MAX: usize = 40;

/// What may be stored.
#[derive(Debug)]
pub(super) struct Bound {
    /// Bytes; the greatest number for no bound.
    share: usize,
    policy: Policy,
    chance: Stream,
    /// Keys that gave way.
    evicted: u64,
    /// Bytes for what will be stored soon.
    reserved: usize,
    /// Keys that have to stay, with how many want it.
    kept: BTreeMap<Text, usize>,
}

impl Bound {
    /// None.
    pub(super) fn new(chance: Stream) -> Self {
        Self {
            share: usize::MAX,
            policy: Policy::NoEviction,
            chance,
            evicted: 0,
            reserved: 0,
            kept: BTreeMap::new(),
        }
    }
}

impl Store {
    /// From now on it may cost so many bytes, or as many as it likes. What is over already goes with later writes.
    pub fn bound(&mut self, share: Option<usize>, policy: Policy) {
        self.bound.share = share.unwrap_or(usize::MAX);
        self.bound.policy = policy;
        self.table.track(policy.track());
    }

    /// Keys that gave way to others.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.bound.evicted
    }

    /// Counts from zero again.
    pub(super) fn reset_evicted(&mut self) {
        self.bound.evicted = 0;
    }

    /// Whether there is room for what this act may store. Nearly always one sum and one comparison.
    #[inline]
    pub(super) fn has_room(&self, op: &Op<'_>) -> bool {
        let Some(more) = brings(op) else { return true };
        self.fits(more)
    }

    /// Whether so many bytes may come.
    #[inline]
    fn fits(&self, more: usize) -> bool {
        self.table.bytes().saturating_add(self.bound.reserved).saturating_add(more) <= self.bound.share
    }

    /// Keeps room for values of these lengths at these keys, letting others go for it: how much was kept, or none if
    /// there is not enough.
    pub fn reserve<'k>(
        &mut self,
        sizes: impl Iterator<Item = (Slot, &'k [u8], usize)> + Clone,
        now: WallTime,
    ) -> Option<usize> {
        if self.bound.share == usize::MAX {
            return Some(0);
        }
        let mut more = sizes.clone().map(|(_, key, length)| key.len() + length + BESIDE).sum();
        if !self.fits(more) {
            more = self.make_room_for_all(sizes, now)?;
        }
        self.bound.reserved += more;
        Some(more)
    }

    /// So much of what was reserved is no longer kept.
    pub fn let_in(&mut self, bytes: usize) {
        self.bound.reserved = self.bound.reserved.saturating_sub(bytes);
    }

    /// Whether there is room for values of these lengths at these keys, all of them.
    pub fn lets_all_in<'k>(
        &mut self,
        sizes: impl Iterator<Item = (Slot, &'k [u8], usize)> + Clone,
        now: WallTime,
    ) -> bool {
        let reserved = self.reserve(sizes, now);
        self.let_in(reserved.unwrap_or(0));
        reserved.is_some()
    }

    /// A key has to stay: whoever has claimed it may have seen it.
    pub fn keep(&mut self, key: &Text) {
        if self.bound.share < usize::MAX {
            *self.bound.kept.entry(key.clone()).or_default() += 1;
        }
    }

    /// One less wants it to.
    pub fn let_go(&mut self, key: &Text) {
        if let Some(count) = self.bound.kept.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.bound.kept.remove(key);
            }
        }
    }

    #[cold]
    fn make_room_for_all<'k>(
        &mut self,
        sizes: impl Iterator<Item = (Slot, &'k [u8], usize)> + Clone,
        now: WallTime,
    ) -> Option<usize> {
        let mut evictions = 0;
        for _ in 0..COUNTS_MAX {
            let (mut whole, mut more) = (0_usize, 0_usize);
            for (slot, key, length) in sizes.clone() {
                let (whole_of_it, more_of_it) = self.growth_to(slot, key, length, now);
                whole = whole.saturating_add(whole_of_it);
                more = more.saturating_add(more_of_it);
            }
            if whole > self.bound.share {
                return None;
            }
            if more == 0 || self.fits(more) {
                return Some(more);
            }
            while !self.fits(more) {
                evictions += 1;
                if evictions > EVICTIONS_MAX || !self.evict(now) {
                    return None;
                }
            }
        }
        None
    }

    /// Lets keys go until there is room for this act. False when there is none; then it must not be done.
    #[cold]
    pub(super) fn make_room(&mut self, slot: Slot, op: &Op<'_>, now: WallTime) -> bool {
        for _ in 0..=EVICTIONS_MAX {
            let (whole, more) = self.growth(slot, op, now);
            if whole > self.bound.share {
                return false;
            }
            // What takes no more than before may be done also when the table itself is over the bound.
            if more == 0 || self.fits(more) {
                return true;
            }
            if !self.evict(now) {
                return false;
            }
        }
        false
    }

    /// What the entry would cost after the act, and how much more that is than now.
    fn growth(&self, slot: Slot, op: &Op<'_>, now: WallTime) -> (usize, usize) {
        let given = op.payload.bytes().len();
        let before = || self.table.peek(slot, op.key, now).map_or(0, |entry| entry.as_bytes().len());
        let after = match op.act {
            Act::Append => before().saturating_add(given),
            Act::SetRange(from) => {
                before().max(usize::try_from(from).unwrap_or(usize::MAX).saturating_add(given))
            }
            Act::Add(_) | Act::AddFloat(_) => DIGITS_MAX,
            _ => given,
        };
        self.growth_to(slot, op.key, after, now)
    }

    /// The same for a value of that length.
    fn growth_to(&self, slot: Slot, key: &[u8], after: usize, now: WallTime) -> (usize, usize) {
        let (before, cost) = match self.table.peek(slot, key, now) {
            Some(entry) => (entry.as_bytes().len(), entry.cost()),
            None => (0, 0),
        };
        let whole = after.saturating_add(key.len() + BESIDE);
        // What is replaced may leave a hole that is not the size of what comes, so only a whole entry makes up for it.
        let more = if before > 0 && after <= before { 0 } else { whole.saturating_sub(cost) };
        (whole, more)
    }

    /// Lets one key go. False when none may.
    fn evict(&mut self, now: WallTime) -> bool {
        let policy = self.bound.policy.of_table();
        for _ in 0..DRAWS_MAX {
            let Some((slot, key)) = self.table.evict_candidate(policy, &mut self.bound.chance, now, SAMPLES)
            else {
                return false;
            };
            if self.bound.kept.contains_key(&key[..]) {
                continue;
            }
            // One that had expired is no loss and counts as expired.
            if self.table.remove(slot, &key, now) {
                self.bound.evicted += 1;
            }
            return true;
        }
        false
    }

    /// How many keys a slot has.
    #[must_use]
    pub fn slot_len(&self, slot: Slot) -> usize {
        self.table.slot_len(slot)
    }

    /// Keys of a slot, at most so many.
    #[must_use]
    pub fn slot_keys(&self, slot: Slot, count: usize, now: WallTime) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let mut cursor = 0;
        while keys.len() < count {
            cursor = self.table.scan(slot, cursor, now, |entry| keys.push(entry.key.to_vec()));
            if cursor == 0 {
                break;
            }
        }
        keys.truncate(count);
        keys
    }
}

/// Bytes that an act may bring at most, if it may bring any.
#[inline]
fn brings(op: &Op<'_>) -> Option<usize> {
    let gap = match op.act {
        Act::Set(_) | Act::Append => 0,
        Act::SetRange(from) => usize::try_from(from).unwrap_or(usize::MAX),
        Act::Add(_) | Act::AddFloat(_) => DIGITS_MAX,
        _ => return None,
    };
    Some(gap.saturating_add(op.key.len() + op.payload.bytes().len() + BESIDE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::{Life, Payload, Set};
    use crate::refusal::Fault;
    use crate::reply::Reply;
    use machine::Chance;

    /// Well over what the tables of a few slots cost.
    const SHARE: usize = 1 << 20;
    /// What the table itself may add to what a write brings: a segment that is split or grows.
    const STRUCTURE: usize = 64 << 10;
    const NOW: WallTime = WallTime::from_millis(1_000_000);

    fn store(policy: Policy) -> Store {
        let mut store = Store::new(&mut Chance::new(1).stream("look-ups"), 16 << 20);
        store.bound(Some(SHARE), policy);
        store
    }

    fn set(store: &mut Store, key: &str, length: usize, life: Life, now: WallTime) -> Result<(), Fault> {
        let value = vec![b'v'; length];
        let act = Act::Set(Set { life, ..Set::default() });
        let op = Op { key: key.as_bytes(), payload: Payload::Bytes(&value), act };
        match store.execute(Slot::of(key.as_bytes()), op, now) {
            Reply::Ok => Ok(()),
            Reply::Refused(fault) => Err(fault),
            other => panic!("{other:?}"),
        }
    }

    /// Keys of few slots: a slot's own table costs most of a kilobyte.
    fn name(number: u64) -> String {
        format!("{{{}}}key{number}", number % 16)
    }

    fn has(store: &mut Store, key: &str) -> bool {
        let op = Op::of(key.as_bytes(), Act::StrLen);
        store.execute(Slot::of(key.as_bytes()), op, NOW) != Reply::Integer(0)
    }

    #[test]
    fn without_eviction_a_full_store_refuses_and_keeps_what_it_has() {
        let mut store = store(Policy::NoEviction);
        let stored =
            (0..100_000).take_while(|key| set(&mut store, &name(*key), 100, Life::Ever, NOW).is_ok());
        let stored = stored.count();
        assert!((4_000..10_000).contains(&stored), "{stored} entries of 100 bytes");
        assert!(store.bytes() <= SHARE + STRUCTURE, "{} bytes", store.bytes());
        assert_eq!(set(&mut store, "another", 1000, Life::Ever, NOW), Err(Fault::OutOfMemory));
        assert_eq!(set(&mut store, &name(0), 100, Life::Ever, NOW), Ok(()), "it takes no more than before");
        assert_eq!((store.len(), store.evicted()), (stored, 0));
    }

    #[test]
    fn with_eviction_every_write_is_done_and_the_bound_holds() {
        for policy in Policy::ALL.into_iter().filter(|policy| *policy != Policy::NoEviction) {
            let mut store = store(policy);
            let mut draw = Chance::new(7).stream("lengths");
            for key in 0..30_000 {
                let length = if draw.below(100) == 0 { draw.below(100_000) } else { draw.below(300) };
                let life = Life::Until(2_000_000 + draw.below(1_000_000) as i64);
                assert_eq!(set(&mut store, &name(key), length as usize, life, NOW), Ok(()), "{policy:?}");
                assert!(store.bytes() <= SHARE + STRUCTURE, "{policy:?}: {} bytes", store.bytes());
            }
            assert!(store.evicted() > 10_000, "{policy:?}: {} went", store.evicted());
            assert_eq!(store.len() as u64 + store.evicted(), 30_000, "{policy:?}");
        }
    }

    #[test]
    fn what_is_used_stays_and_what_is_not_goes() {
        let mut store = store(Policy::AllKeysLru);
        for round in 0..20_000u64 {
            let now = WallTime::from_millis(1_000_000 + round * 100);
            assert_eq!(set(&mut store, &name(round), 100, Life::Ever, now), Ok(()));
            let used = name(0);
            store.execute(Slot::of(used.as_bytes()), Op::of(used.as_bytes(), Act::Get), now);
        }
        assert!(has(&mut store, &name(0)), "it was used all the while");
        assert!(!has(&mut store, &name(1)) || !has(&mut store, &name(2)) || !has(&mut store, &name(3)));
    }

    #[test]
    fn what_lives_for_ever_does_not_give_way_to_a_volatile_policy() {
        let mut store = store(Policy::VolatileTtl);
        assert_eq!(set(&mut store, "volatile", 100, Life::Until(2_000_000), NOW), Ok(()));
        let refused = (0..100_000).find_map(|key| set(&mut store, &name(key), 100, Life::Ever, NOW).err());
        assert_eq!((refused, store.evicted()), (Some(Fault::OutOfMemory), 1), "of {} keys", store.len());
        assert!(!has(&mut store, "volatile") && has(&mut store, &name(0)));
    }

    #[test]
    fn a_value_over_the_whole_share_is_refused_and_costs_nothing() {
        let mut store = store(Policy::AllKeysRandom);
        for key in 0..5_000 {
            assert_eq!(set(&mut store, &name(key), 100, Life::Ever, NOW), Ok(()));
        }
        let before = (store.len(), store.evicted());
        assert_eq!(set(&mut store, "huge", SHARE, Life::Ever, NOW), Err(Fault::OutOfMemory));
        assert_eq!((store.len(), store.evicted()), before);
    }

    fn sizes(keys: &[String], length: usize) -> impl Iterator<Item = (Slot, &[u8], usize)> + Clone {
        keys.iter().map(move |key| (Slot::of(key.as_bytes()), key.as_bytes(), length))
    }

    #[test]
    fn room_is_for_all_or_for_none() {
        let mut store = store(Policy::NoEviction);
        let keys: Vec<String> = (0..10).map(name).collect();
        assert!(!store.lets_all_in(sizes(&keys, SHARE / 5), NOW), "each has room, all have not");
        let kept = store.reserve(sizes(&keys, SHARE / 20), NOW).expect("half of it");
        assert_eq!(set(&mut store, "other", SHARE * 3 / 5, Life::Ever, NOW), Err(Fault::OutOfMemory));
        assert_eq!(set(&mut store, "other", SHARE / 5, Life::Ever, NOW), Ok(()), "what is left is anybody's");
        assert_eq!(store.reserve(sizes(&keys, SHARE / 20), NOW), None);
        store.let_in(kept);
        assert_eq!(set(&mut store, "other", SHARE * 3 / 5, Life::Ever, NOW), Ok(()));
    }

    #[test]
    fn what_is_replaced_needs_no_room_of_its_own() {
        let mut store = store(Policy::NoEviction);
        let keys: Vec<String> = (0..10).map(name).collect();
        for key in &keys {
            assert_eq!(set(&mut store, key, SHARE / 12, Life::Ever, NOW), Ok(()));
        }
        assert!(store.lets_all_in(sizes(&keys, SHARE / 12), NOW));
        assert!(!store.lets_all_in(sizes(&keys, SHARE / 8), NOW));
    }

    #[test]
    fn a_claimed_key_stays_whatever_else_goes() {
        let mut store = store(Policy::AllKeysRandom);
        let claimed = name(0);
        store.keep(&Text::from_slice(claimed.as_bytes()));
        assert_eq!(set(&mut store, &claimed, 100, Life::Ever, NOW), Ok(()));
        for key in 1..30_000 {
            assert_eq!(set(&mut store, &name(key), 100, Life::Ever, NOW), Ok(()));
        }
        assert!(store.evicted() > 10_000 && has(&mut store, &claimed));
        store.let_go(&Text::from_slice(claimed.as_bytes()));
        for key in 30_000..90_000 {
            assert_eq!(set(&mut store, &name(key), 100, Life::Ever, NOW), Ok(()));
        }
        assert!(!has(&mut store, &claimed), "it goes as any other");
    }
}
