//! Eviction against what it promises: every entry with the same chance, the least wanted first, and an end.

use super::*;
use crate::table::{Expiry, Track, Value};
use machine::Chance;
use std::collections::{BTreeMap, BTreeSet};

const START: WallTime = WallTime::from_millis(1_000_000_000);

fn later(seconds: u64) -> WallTime {
    WallTime::from_millis(START.millis() + seconds * 1_000)
}

fn slot(number: u32) -> Slot {
    Slot::new(number as u16).unwrap()
}

/// So many entries in each of these slots, every `expiring`th with an expiry.
fn table(slots: &[(u32, u32)], expiring: u32) -> Table {
    let mut table = Table::new(&mut Chance::new(1).stream("keys"));
    for (of, count) in slots {
        for number in 0..*count {
            let expires = expiring > 0 && number % expiring == 0;
            let expiry = if expires { Expiry::At(later(10 + u64::from(number))) } else { Expiry::Never };
            table.set(slot(*of), &number.to_le_bytes(), Value::Bytes(b"v"), expiry, START);
        }
    }
    table
}

#[test]
fn every_entry_is_drawn_with_the_same_chance_however_slots_differ() {
    let table = table(&[(1, 1), (2, 99), (9_000, 900)], 0);
    let mut chance = Chance::new(1).stream("samples");
    let mut seen: BTreeMap<(Slot, Vec<u8>), u32> = BTreeMap::new();
    for _ in 0..200_000 {
        let (slot, entry) = table.sample(&mut chance).unwrap();
        *seen.entry((slot, entry.key.to_vec())).or_default() += 1;
    }
    assert_eq!(seen.len(), 1_000);
    // Each is expected 200 times, with a deviation of 14.
    assert!(seen.values().all(|times| (120..280).contains(times)), "{seen:?}");
}

#[test]
fn draws_come_to_an_end_in_whatever_table() {
    let mut chance = Chance::new(1).stream("samples");
    assert!(table(&[], 0).sample(&mut chance).is_none());
    assert!(table(&[(1, 100)], 0).sample_expiring(&mut chance).is_none());
    let mut sparse = table(&[(1, 5_000), (2, 1)], 0);
    (0..4_999u32).for_each(|number| assert!(sparse.remove(slot(1), &number.to_le_bytes(), START)));
    let seen: BTreeSet<Slot> =
        (0..1_000).filter_map(|_| sparse.sample(&mut chance).map(|(slot, _)| slot)).collect();
    assert_eq!(seen.len(), 2);
    let mut one = table(&[(1, 5_000)], 0);
    one.expire_at(slot(1), &77u32.to_le_bytes(), Some(later(5)), START);
    let found = (0..100).filter(|_| one.sample_expiring(&mut chance).is_some()).count();
    assert_eq!(found, 100, "the one that expires is found");
    sparse.clear();
    assert!(sparse.sample(&mut chance).is_none());
}

#[test]
fn evicting_to_the_end_takes_every_entry_that_may_go() {
    #[track_caller]
    fn check(policy: Policy, left: usize) {
        let mut table = table(&[(1, 1_000), (7, 50)], 4);
        let mut chance = Chance::new(1).stream("samples");
        let mut bytes = table.bytes();
        while let Some((slot, key)) = table.evict_candidate(policy, &mut chance, START, 5) {
            assert!(table.remove(slot, &key, START), "what is to go is there");
            assert!(table.bytes() <= bytes);
            bytes = table.bytes();
        }
        assert_eq!(table.len(), left, "{policy:?}");
    }
    check(Policy::NoEviction, 1_050);
    check(Policy::AllKeysLru, 0);
    check(Policy::AllKeysLfu, 0);
    check(Policy::AllKeysRandom, 0);
    check(Policy::VolatileLru, 787);
    check(Policy::VolatileLfu, 787);
    check(Policy::VolatileRandom, 787);
    check(Policy::VolatileTtl, 787);
}

#[test]
fn what_expires_first_goes_first() {
    let mut table = table(&[(1, 2_000)], 1);
    let mut chance = Chance::new(1).stream("samples");
    for number in 0..2_000u32 {
        let (_, key) = table.evict_candidate(Policy::VolatileTtl, &mut chance, START, 5).unwrap();
        assert_eq!(key, number.to_le_bytes());
        table.remove(slot(1), &key, START);
    }
}

/// Half of the entries are used, then half are evicted: how many of those were used ones, in a thousand.
fn mistakes_per_mille(track: Track, policy: Policy) -> usize {
    let mut table = Table::new(&mut Chance::new(1).stream("keys"));
    table.track(track);
    for number in 0..4_000u32 {
        table.set(slot(number % 50), &number.to_le_bytes(), Value::Bytes(b"v"), Expiry::Never, START);
    }
    for _ in 0..20 {
        (0..4_000u32).step_by(2).for_each(|number| {
            assert!(table.get(slot(number % 50), &number.to_le_bytes(), later(100)).is_some());
        });
    }
    let mut chance = Chance::new(1).stream("samples");
    let mut mistakes = 0;
    for _ in 0..1_000 {
        let (slot, key) = table.evict_candidate(policy, &mut chance, later(101), 5).unwrap();
        mistakes += usize::from(key[0].is_multiple_of(2));
        assert!(table.remove(slot, &key, later(101)));
    }
    mistakes
}

#[test]
fn what_is_used_stays() {
    // By chance alone half would be mistakes; with five draws, all are used ones at first in 1 of 32.
    assert!(mistakes_per_mille(Track::Recency, Policy::AllKeysLru) < 90);
    assert!(mistakes_per_mille(Track::Frequency, Policy::AllKeysLfu) < 90);
    assert!(mistakes_per_mille(Track::Recency, Policy::AllKeysRandom) > 400);
}
