//! Shares, moves and bounds of every ring, and the golden tables of the classic one.

use balancer::spread::slots512::{Pair, Slots512};
use balancer::spread::{Key, Load, Ring, Seat, WHOLE, Way, Why, choose, mean_bound};
use machine::Chance;
use std::collections::BTreeMap;

const GOLDEN: &str = include_str!("golden/slots512.json");
const KEYS: usize = 100_000;

fn ring(way: Way, members: u16) -> Ring {
    let mut ring = Ring::new(way);
    (0..members).for_each(|seat| ring.join(&format!("Server-{}", seat + 1), Seat(seat)));
    ring
}

fn golden() -> serde_json::Value {
    serde_json::from_str(GOLDEN).expect("it is JSON")
}

#[test]
fn the_classic_ring_has_the_golden_slots() {
    let mut compared = 0;
    for number in 0..3u8 {
        for members in 2..=4u16 {
            let mut ring = Slots512::new(Pair::numbered(number).expect("there are three"));
            (0..members).for_each(|seat| assert!(ring.join(Seat(seat))));
            let found: BTreeMap<String, String> = (0..)
                .zip(ring.slots())
                .filter_map(|(slot, seat)| {
                    seat.map(|seat| (format!("{slot}"), format!("Server-{}", seat.0 + 1)))
                })
                .collect();
            let table = &golden()[format!("pair{number}_N{members}")]["slots"];
            let expected: BTreeMap<String, String> =
                serde_json::from_value(table.clone()).expect("slots by number");
            assert_eq!(found, expected, "pair {number}, {members} replicas");
            compared += expected.len();
        }
    }
    assert_eq!(compared, 3 * 9 * (2 + 3 + 4));
}

#[test]
fn the_classic_ring_has_the_golden_shares() {
    for number in 0..3u8 {
        for members in 2..=4u16 {
            let pair = Pair::numbered(number).expect("there are three");
            let shares = ring(Way::Slots512(pair), members).shares();
            for (seat, share) in shares.iter().enumerate() {
                let name = format!("Server-{}", seat + 1);
                let expected = golden()[format!("pair{number}_N{members}")]["share"][&name].as_f64();
                let expected = expected.expect("a number");
                let wrong = (share - expected).abs();
                assert!(wrong < 0.000_006, "pair {number}, {members}: {name} {share} is not {expected}");
            }
        }
    }
}

#[test]
fn who_leaves_the_classic_ring_leaves_its_index_and_slots_to_the_next() {
    let mut ring = Slots512::new(Pair::Plain);
    (0..3).for_each(|seat| assert!(ring.join(Seat(seat))));
    let before = *ring.slots();
    ring.leave(Seat(1));
    assert!(ring.slots().iter().all(|holder| *holder != Some(Seat(1))));
    assert!(ring.join(Seat(9)));
    let renamed = before.map(|holder| if holder == Some(Seat(1)) { Some(Seat(9)) } else { holder });
    assert_eq!(*ring.slots(), renamed);
}

#[test]
fn the_classic_ring_has_room_for_56() {
    let mut ring = Slots512::new(Pair::Sha256);
    assert!((0..56).all(|seat| ring.join(Seat(seat))));
    assert!(!ring.join(Seat(56)));
    assert_eq!(ring.slots().iter().flatten().count(), 56 * 9);
}

fn shares_seen(ring: &mut Ring) -> Vec<f64> {
    let mut chance = Chance::new(7).stream("keys");
    let mut seen = vec![0usize; ring.len()];
    for _ in 0..KEYS {
        seen[ring.owner(Key::random(&mut chance)).expect("there are members").index()] += 1;
    }
    seen.into_iter().map(|count| count as f64 / KEYS as f64).collect()
}

#[test]
fn keys_are_shared_as_the_ring_says() {
    let ways =
        [Way::Rendezvous, Way::Maglev, Way::Best, Way::Slots512(Pair::Plain), Way::Slots512(Pair::Sha256)];
    for way in ways {
        for members in 1..=7 {
            let mut ring = ring(way, members);
            for (seen, ideal) in shares_seen(&mut ring).iter().zip(ring.shares()) {
                // Five standard deviations of a share of so many keys.
                let allowed = 5.0 * (ideal * (1.0 - ideal) / KEYS as f64).sqrt() + 1e-9;
                assert!((seen - ideal).abs() <= allowed, "{way:?} of {members}: {seen} is not {ideal}");
            }
        }
    }
}

#[test]
fn who_joins_or_leaves_moves_little_more_than_its_own_keys() {
    for (way, slack) in [(Way::Rendezvous, 0.0), (Way::Maglev, 0.03)] {
        let mut before = ring(way, 8);
        let mut after = before.clone();
        after.leave(Seat(3));
        let mut chance = Chance::new(1).stream("keys");
        let (mut moved, mut owned) = (0, 0);
        for _ in 0..KEYS {
            let key = Key::random(&mut chance);
            let (old, new) = (before.owner(key), after.owner(key));
            assert_ne!(new, Some(Seat(3)));
            owned += usize::from(old == Some(Seat(3)));
            moved += usize::from(old != new && old != Some(Seat(3)));
        }
        assert!(moved as f64 <= slack * KEYS as f64, "{way:?} moved {moved} of others'");
        after.join("Server-4", Seat(3));
        let mut chance = Chance::new(2).stream("keys");
        assert!((0..KEYS).all(|_| {
            let key = Key::random(&mut chance);
            before.owner(key) == after.owner(key)
        }));
        assert!(owned > KEYS / 10);
    }
}

#[test]
fn the_default_changes_from_lots_to_a_table_and_stays_fair() {
    for members in [64, 65, 200] {
        let mut ring = ring(Way::Best, members);
        let even = KEYS as f64 / f64::from(members);
        for seen in shares_seen(&mut ring) {
            let count = seen * KEYS as f64;
            assert!((count - even).abs() < 6.0 * even.sqrt(), "{members}: {count} where {even} is fair");
        }
    }
}

/// Places `requests` that never end and gives what each member bears.
fn placed(way: Way, members: u16, requests: u32, factor: u32) -> (Vec<Load>, usize) {
    let mut ring = ring(way, members);
    let mut loads = vec![Load { max: u32::MAX, ..Load::NONE }; usize::from(members)];
    let mut chance = Chance::new(3).stream("draws");
    let mut jumped = 0;
    for total in 0..requests {
        let key = Key::random(&mut chance);
        let found = choose(&mut ring, key, &loads, total, factor, &[], &mut chance).expect("there is room");
        jumped += usize::from(found.why != Why::Owner);
        loads[found.seat.index()].in_flight += 1;
    }
    (loads, jumped)
}

#[test]
fn nobody_bears_more_than_its_bound() {
    for way in [Way::Rendezvous, Way::Maglev, Way::Slots512(Pair::Plain)] {
        let (loads, jumped) = placed(way, 5, 5000, 1250);
        assert!(loads.iter().all(|load| load.in_flight <= 1250), "{way:?}: {loads:?}");
        assert!(jumped > 0, "{way:?}");
    }
    let (loads, _) = placed(Way::TwoChoices, 5, 5000, 1250);
    assert!(loads.iter().all(|load| (995..=1005).contains(&load.in_flight)), "{loads:?}");
    let (loads, jumped) = placed(Way::Slots512(Pair::Plain), 3, 3000, 0);
    assert!(jumped == 0 && loads[0].in_flight > 2400, "{loads:?}");
}

#[test]
fn bounds_are_rounded_up_and_eased_for_newcomers() {
    let check = |total, members, factor, expected| assert_eq!(mean_bound(total, members, factor), expected);
    check(0, 3, 1250, 1);
    check(9, 4, 1250, 4);
    check(15, 4, 1000, 4);
    check(16, 4, 1000, 5);
    check(5, 4, 0, u32::MAX);
    let newcomer = Load { weight: WHOLE / 10, ..Load::NONE };
    assert_eq!((newcomer.bound(1), newcomer.bound(50)), (1, 5));
}

#[test]
fn who_was_tried_is_not_chosen_and_those_that_wait_are_load() {
    let mut ring = ring(Way::Rendezvous, 3);
    let mut loads = vec![Load { max: 2, ..Load::NONE }; 3];
    let mut chance = Chance::new(3).stream("draws");
    for _ in 0..200 {
        let key = Key::random(&mut chance);
        let found = choose(&mut ring, key, &loads, 0, 1250, &[Seat(0), Seat(2)], &mut chance);
        assert_eq!(found.map(|found| found.seat), Some(Seat(1)));
    }
    loads[0].waiting = 9;
    loads[2].in_flight = 9;
    for _ in 0..200 {
        let found = choose(&mut ring, Key::random(&mut chance), &loads, 18, 1250, &[], &mut chance);
        assert_eq!(found.map(|found| found.seat), Some(Seat(1)));
    }
    let everybody = [Seat(0), Seat(1), Seat(2)];
    assert_eq!(choose(&mut ring, Key::of_id(123_456), &loads, 18, 1250, &everybody, &mut chance), None);
    let mut nobody = Ring::new(Way::TwoChoices);
    assert_eq!(choose(&mut nobody, Key::of_id(123_456), &[], 0, 1250, &[], &mut chance), None);
}
