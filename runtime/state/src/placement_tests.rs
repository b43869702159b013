//! The promises of a placement, one test each: exhaustively in small worlds, by chance in larger ones, and where a
//! bound follows from numbers alone, from the worst numbers there are.

use super::*;
use machine::Chance;
use std::collections::BTreeSet;

fn member(node: usize, core: usize) -> Member {
    (NodeId(node as u16), CoreId(core as u16))
}

fn loads(placement: &Placement) -> Vec<usize> {
    placement.members().iter().map(|member| placement.slots_of(*member).count()).collect()
}

/// Rules 1 to 4 of the module, and what they make of rule 5.
#[track_caller]
fn check_step(before: &Placement, joined: &[Member], left: &[Member]) -> Placement {
    let after = before.with(joined, left).expect("a legal change");
    let count = after.members().len();
    let loads = loads(&after);
    assert_eq!(loads.iter().sum::<usize>(), Slot::COUNT, "every slot has one owner, a member");
    let fullest = loads.into_iter().max().unwrap();
    assert!(fullest <= bound(count), "{fullest} slots on one of {count} cores");
    for (slot, from, to) in before.moves(&after) {
        assert!(left.contains(&from) || joined.contains(&to), "{slot:?} moved between cores that stay");
    }
    let moves = before.moves(&after).count();
    let freed: usize = left.iter().map(|member| before.slots_of(*member).count()).sum();
    if joined.is_empty() {
        assert_eq!(moves, freed, "a leave moves what the leaver had");
    }
    if left.is_empty() {
        let share = Slot::COUNT / count;
        assert!(moves <= joined.len() * bound(count), "a join moves {moves} to {} of {count}", joined.len());
        for member in joined {
            let load = after.slots_of(*member).count();
            assert!((share..=bound(count)).contains(&load), "a joiner got {load} of a share of {share}");
        }
    }
    assert_eq!(after.epoch(), before.epoch() + 1);
    after
}

/// Computed by another program from the description alone: XXH64 of the numbers as little-endian bytes.
#[test]
fn proposals_never_change() {
    #[track_caller]
    fn check(nodes: usize, cores: usize, expected: u64) {
        let members: Vec<Member> =
            (0..nodes).flat_map(|node| (0..cores).map(move |core| member(node, core))).collect();
        let numbers = Placement::propose(&members).unwrap().to_numbers();
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        assert_eq!(hash64(&bytes, 0), expected, "{nodes} nodes of {cores} cores");
    }
    check(1, 1, 0x4219_d3b6_9cfe_c99b);
    check(1, 2, 0xc86b_4748_feed_fc38);
    check(3, 4, 0x7f18_4684_3cff_f21e);
    check(8, 2, 0xa8fe_5103_6a18_846a);
}

#[test]
fn a_proposal_keeps_the_bound_and_forgets_order() {
    for count in [1, 2, 3, 5, 8, 13, 64, 200, 1_000, MEMBERS_MAX] {
        let mut members: Vec<Member> = (0..count).map(|index| member(index / 16, index % 16)).collect();
        let placement = Placement::propose(&members).unwrap();
        assert!(loads(&placement).iter().all(|load| *load <= bound(count)), "{count} members");
        members.reverse();
        assert_eq!(Placement::propose(&members).unwrap(), placement);
    }
}

#[test]
fn every_change_among_five_cores_keeps_every_promise() {
    let all: Vec<Member> = (0..5).map(|index| member(index / 2, index % 2)).collect();
    let chosen = |set: u32| -> Vec<Member> {
        all.iter().enumerate().filter(|(index, _)| set >> index & 1 == 1).map(|(_, member)| *member).collect()
    };
    let mut changes = 0;
    for before in 1..32 {
        let placement = Placement::propose(&chosen(before)).unwrap();
        for after in 1..32 {
            check_step(&placement, &chosen(after & !before), &chosen(before & !after));
            changes += 1;
        }
    }
    assert_eq!(changes, 31 * 31);
}

#[test]
fn long_histories_of_joins_and_leaves_keep_every_promise() {
    for seed in 0..12 {
        let mut stream = Chance::new(seed).stream("changes");
        let most = [4, 12, 40, 90][seed as usize % 4];
        let mut present: BTreeSet<Member> = [member(0, 0)].into();
        let mut placement = Placement::propose(&[member(0, 0)]).unwrap();
        for _ in 0..40 {
            let mut pick = |count: u64| -> BTreeSet<Member> {
                (0..stream.below(count)).map(|_| member(stream.below(most) as usize, 0)).collect()
            };
            let joined: Vec<Member> = pick(4).difference(&present).copied().collect();
            let left: Vec<Member> = pick(3).intersection(&present).copied().collect();
            if left.len() == present.len() {
                continue;
            }
            placement = check_step(&placement, &joined, &left);
            present.extend(joined);
            present.retain(|member| !left.contains(member));
            assert_eq!(placement.members(), present.iter().copied().collect::<Vec<_>>());
        }
    }
}

/// Rule 5. The worst placement within its bound has as many full cores as can be; a joiner must be able to hold
/// all that they then have too much.
#[test]
fn one_join_can_always_keep_the_bound_up_to_the_stated_number() {
    let suffices = |before: usize| {
        let (old, new) = (bound(before).min(Slot::COUNT), bound(before + 1));
        let full = before.min(Slot::COUNT / old);
        let rest = Slot::COUNT - full * old;
        full * old.saturating_sub(new) + rest.saturating_sub(new) <= new
    };
    assert!((1..CERTAIN_MEMBERS_MAX).all(suffices));
    assert!(!suffices(CERTAIN_MEMBERS_MAX), "the stated number could be higher");
}

/// The same in practice: from that worst placement, built by hand, a join gives up the even share for the bound.
#[test]
fn a_joiner_takes_more_than_its_share_where_the_bound_asks_for_it() {
    let mut forced = 0;
    for count in 2..CERTAIN_MEMBERS_MAX {
        let members: Vec<Member> = (0..count).map(|index| member(index, 0)).collect();
        let mut numbers = Placement::propose(&members).unwrap().to_numbers();
        let owner = |slot: usize| (slot / bound(count)) as u32;
        for (pair, number) in numbers[3 + count..].iter_mut().enumerate() {
            *number = owner(2 * pair) << 16 | owner(2 * pair + 1);
        }
        let worst = Placement::from_numbers(&numbers).unwrap();
        let next = check_step(&worst, &[member(count, 0)], &[]);
        forced += usize::from(worst.moves(&next).count() > Slot::COUNT / (count + 1));
    }
    assert!(forced > 0, "the test must meet the rule");
}

#[test]
fn one_core_more_takes_its_even_share_and_no_more() {
    let mut placement = Placement::propose(&[member(0, 0)]).unwrap();
    for count in 2..=40 {
        let next = placement.with(&[member(count, 0)], &[]).unwrap();
        let moves = placement.moves(&next).count();
        assert_eq!(moves, Slot::COUNT / count, "the one that makes {count}");
        placement = next;
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let (a, b, c) = (member(0, 0), member(0, 1), member(1, 0));
    let placement = Placement::propose(&[a, b]).unwrap();
    #[track_caller]
    fn check(got: Result<Placement, Refused>, expected: Refused) {
        assert_eq!(got.err(), Some(expected));
    }
    check(Placement::propose(&[]), Refused::Nobody);
    check(Placement::propose(&[a, a]), Refused::Twice(a));
    check(placement.with(&[], &[a, b]), Refused::Nobody);
    check(placement.with(&[a], &[]), Refused::Twice(a));
    check(placement.with(&[a], &[a]), Refused::Twice(a));
    check(placement.with(&[], &[c]), Refused::Stranger(c));
    let many: Vec<Member> = (0..=MEMBERS_MAX).map(|index| member(index, 0)).collect();
    check(Placement::propose(&many), Refused::TooMany);
}

#[test]
fn numbers_tell_a_placement_whole() {
    let members: Vec<Member> = (0..7).map(|index| member(index, index % 3)).collect();
    let placement = Placement::propose(&members).unwrap().at_epoch(7 << 40 | 3);
    let numbers = placement.to_numbers();
    assert_eq!(Placement::from_numbers(&numbers), Some(placement));
    for cut in [0, 1, 2, 3, 5, 9, 10, 11, numbers.len() - 1] {
        assert_eq!(Placement::from_numbers(&numbers[..cut]), None, "cut at {cut}");
    }
    let broken = |at: usize, number: u32| {
        let mut numbers = numbers.clone();
        numbers[at] = number;
        Placement::from_numbers(&numbers).is_none()
    };
    assert!(broken(2, 0) && broken(2, u32::MAX) && broken(2, 6), "a wrong count of members");
    assert!(broken(4, numbers[3]), "members not in order");
    assert!(broken(10, 7) && broken(10, 7 << 16), "an owner that is no member");
    assert!(!broken(10, 6 << 16 | 6));
}

#[test]
fn ranges_cover_all_slots_in_order() {
    let placement = Placement::propose(&[member(0, 0), member(0, 1), member(1, 0)]).unwrap();
    let mut next = 0;
    let mut last_owner = None;
    for (first, last, owner) in placement.ranges() {
        assert_eq!(first.index(), next);
        assert_ne!(Some(owner), last_owner, "two ranges that could be one");
        for slot in Slot::all().skip(first.index()).take(last.index() - first.index() + 1) {
            assert_eq!(placement.owner(slot), owner);
        }
        (next, last_owner) = (last.index() + 1, Some(owner));
    }
    assert_eq!(next, Slot::COUNT);
}
