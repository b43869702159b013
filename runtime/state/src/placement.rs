//! The placement: which core owns each slot. The ring proposes, this map decides: it is what nodes agree upon,
//! and it has an epoch. The hard thing is that three wishes pull against each other: nobody above 1.05 of its
//! share, few slots moved, and none moved between two cores that both stay. So a placement is made from the one
//! before it, and only two kinds of moves exist in the code: from a core that left, and to a core that joined.
//!
//! What holds after every [`Placement::with`], for `n` members then:
//!
//! 1. Every slot has exactly one owner, a member.
//! 2. No slot moves between two cores that both stay.
//! 3. When cores only leave, exactly their slots move, and nobody is above [`bound`]`(n)`.
//! 4. When `j` cores only join, each ends with at least `16,384 / n` slots rounded down and at most `bound(n)`:
//!    at most `j · bound(n)` slots move, and no more than the even share unless rule 5 forces it.
//! 5. Nobody who stays is above `bound(n)`, unless every core that joined is already full. From a placement
//!    within its bound, one core joining always keeps the bound while `n` is at most [`CERTAIN_MEMBERS_MAX`];
//!    beyond that a share is so few slots that rounding could, from some placements, ask for more than one
//!    joiner may take, and rule 2 goes first.

use crate::hash::hash64;
use crate::ring::{Member, Ring, points_of};
use crate::slot::Slot;
use core::cmp::Reverse;
use core::fmt;
use machine::{CoreId, NodeId};
use std::collections::BinaryHeap;

/// The most cores that can share the slots; beyond it a share is under four slots.
pub const MEMBERS_MAX: usize = 4_096;

/// Up to so many members a single join keeps the bound from every placement within it (a test computes the worst of each).
pub const CERTAIN_MEMBERS_MAX: usize = 43;

/// How full a core may be, in hundredths of its even share.
const LOAD_HUNDREDTHS_MAX: usize = 105;

/// Seeds the place of a slot on the ring. It must never change.
const SLOT_SEED: u64 = 0;

/// The most slots that one of `members` cores may own: 1.05 of its even share, rounded up.
#[must_use]
pub const fn bound(members: usize) -> usize {
    (Slot::COUNT * LOAD_HUNDREDTHS_MAX).div_ceil(100 * members)
}

/// Why there is no such placement. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nobody would be left to own the slots.
    Nobody,
    /// More than [`MEMBERS_MAX`] members.
    TooMany,
    /// Who joins is a member already, is named twice, or leaves at the same time.
    Twice(Member),
    /// Who leaves is not a member.
    Stranger(Member),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => write!(f, "no core would be left to own the slots"),
            Self::TooMany => write!(f, "more than {MEMBERS_MAX} cores cannot share the slots"),
            Self::Twice((node, core)) => write!(f, "core {} of node {} is there already", core.0, node.0),
            Self::Stranger((node, core)) => write!(f, "core {} of node {} is no member", core.0, node.0),
        }
    }
}

impl std::error::Error for Refused {}

/// Which core owns each slot, as of an epoch.
#[derive(Clone, PartialEq, Eq)]
pub struct Placement {
    epoch: u64,
    /// Sorted.
    members: Vec<Member>,
    /// The owner of each slot, packed; one for each slot.
    owners: Box<[u32]>,
}

impl Placement {
    /// The first placement, epoch 1: each slot, in order, goes to the first core from its place on the ring that
    /// is not full. The same for the same members, in whatever order.
    pub fn propose(members: &[Member]) -> Result<Self, Refused> {
        let nobody = Self { epoch: 0, members: Vec::new(), owners: vec![0; Slot::COUNT].into() };
        nobody.with(members, &[])
    }

    /// The next placement, of the next epoch: without those who left, with those who joined.
    pub fn with(&self, joined: &[Member], left: &[Member]) -> Result<Self, Refused> {
        let members = self.members_with(joined, left)?;
        let mut plan = Plan::new(self, members, joined);
        plan.settle_orphans();
        plan.fill_joiners(joined);
        Ok(plan.into_placement(self.epoch + 1))
    }

    /// Who owns a slot.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Member {
        unpack(self.owners[slot.index()])
    }

    /// The same placement under another epoch, for who numbers placements by another rule.
    #[must_use]
    pub fn at_epoch(mut self, epoch: u64) -> Self {
        self.epoch = epoch;
        self
    }

    /// Counts placements; a higher one replaces a lower one.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Who shares the slots, in order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The slots of a core, in order. O([`Slot::COUNT`]).
    pub fn slots_of(&self, member: Member) -> impl Iterator<Item = Slot> + '_ {
        let owner = pack(member);
        Slot::all().filter(move |slot| self.owners[slot.index()] == owner)
    }

    /// Slots in a row with one owner, in order: first, last, owner. What cluster clients ask for.
    pub fn ranges(&self) -> impl Iterator<Item = (Slot, Slot, Member)> + '_ {
        let numbers: Vec<Slot> = Slot::all().collect();
        let mut from = 0;
        core::iter::from_fn(move || {
            let owner = *self.owners.get(from)?;
            let run = self.owners[from..].iter().take_while(|other| **other == owner).count();
            let range = (numbers[from], numbers[from + run - 1], unpack(owner));
            from += run;
            Some(range)
        })
    }

    /// The slots whose owner differs in `next`: slot, owner here, owner there.
    pub fn moves<'a>(&'a self, next: &'a Self) -> impl Iterator<Item = (Slot, Member, Member)> + 'a {
        Slot::all()
            .map(|slot| (slot, self.owner(slot), next.owner(slot)))
            .filter(|(_, before, after)| before != after)
    }

    /// As plain numbers: the epoch's low and high half, how many members, each member (node · 2^16 + core), then
    /// for each pair of slots the indexes of their owners (first · 2^16 + second).
    #[must_use]
    pub fn to_numbers(&self) -> Vec<u32> {
        let mut numbers = vec![self.epoch as u32, (self.epoch >> 32) as u32, self.members.len() as u32];
        numbers.extend(self.members.iter().map(|member| pack(*member)));
        let index =
            |owner: u32| self.members.binary_search(&unpack(owner)).expect("an owner is a member") as u32;
        let (pairs, _) = self.owners.as_chunks::<2>();
        numbers.extend(pairs.iter().map(|[first, second]| index(*first) << 16 | index(*second)));
        numbers
    }

    /// What [`Placement::to_numbers`] gave; none when these numbers are no placement. Rules 2 to 5 are not
    /// looked at: who agreed upon a map may have had reasons.
    #[must_use]
    pub fn from_numbers(numbers: &[u32]) -> Option<Self> {
        let [low, high, count, rest @ ..] = numbers else { return None };
        let count = usize::try_from(*count).ok().filter(|count| (1..=MEMBERS_MAX).contains(count))?;
        let (members, pairs) = rest.split_at_checked(count)?;
        let members: Vec<Member> = members.iter().map(|packed| unpack(*packed)).collect();
        if pairs.len() != Slot::COUNT / 2 || !members.is_sorted_by(|a, b| a < b) {
            return None;
        }
        let owner = |index: u32| members.get(index as usize).map(|member| pack(*member));
        let owners: Option<Box<[u32]>> =
            pairs.iter().flat_map(|pair| [pair >> 16, pair & 0xffff]).map(owner).collect();
        Some(Self { epoch: u64::from(*high) << 32 | u64::from(*low), owners: owners?, members })
    }

    fn members_with(&self, joined: &[Member], left: &[Member]) -> Result<Vec<Member>, Refused> {
        if let Some(stranger) = left.iter().find(|member| self.members.binary_search(member).is_err()) {
            return Err(Refused::Stranger(*stranger));
        }
        if let Some(twice) = joined.iter().find(|member| self.members.binary_search(member).is_ok()) {
            return Err(Refused::Twice(*twice));
        }
        let stay = self.members.iter().filter(|member| !left.contains(member));
        let mut members: Vec<Member> = stay.chain(joined).copied().collect();
        members.sort_unstable();
        if let Some(pair) = members.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Refused::Twice(pair[0]));
        }
        match members.len() {
            0 => Err(Refused::Nobody),
            count if count > MEMBERS_MAX => Err(Refused::TooMany),
            _ => Ok(members),
        }
    }
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "placement {} over {} cores", self.epoch, self.members.len())
    }
}

const fn pack((node, core): Member) -> u32 {
    (node.0 as u32) << 16 | core.0 as u32
}

const fn unpack(packed: u32) -> Member {
    (NodeId((packed >> 16) as u16), CoreId(packed as u16))
}

/// Where a slot stands on the ring.
fn place_of(slot: Slot) -> u64 {
    hash64(&slot.number().to_le_bytes(), SLOT_SEED)
}

/// A placement being made. Members are named by index.
struct Plan {
    members: Vec<Member>,
    /// None for a slot whose owner left.
    owners: Vec<Option<u32>>,
    loads: Vec<usize>,
    /// Whether the member was there before.
    stays: Vec<bool>,
    bound: usize,
}

impl Plan {
    fn new(before: &Placement, members: Vec<Member>, joined: &[Member]) -> Self {
        let mut loads = vec![0; members.len()];
        let mut index_before = vec![None; before.members.len()];
        for (index, member) in before.members.iter().enumerate() {
            index_before[index] = members.binary_search(member).ok().map(|index| index as u32);
        }
        let owners: Vec<Option<u32>> = Slot::all()
            .map(|slot| {
                before.members.binary_search(&before.owner(slot)).ok().and_then(|at| index_before[at])
            })
            .collect();
        for owner in owners.iter().flatten() {
            loads[*owner as usize] += 1;
        }
        let stays = members.iter().map(|member| !joined.contains(member)).collect();
        Self { bound: bound(members.len()), members, owners, loads, stays }
    }

    /// Gives each slot without an owner to the first core from its place on that is not full. There is always
    /// one: all cores together may hold more than all slots.
    fn settle_orphans(&mut self) {
        if self.owners.iter().all(Option::is_some) {
            return;
        }
        let ring = Ring::new(&self.members);
        for slot in Slot::all().filter(|slot| self.owners[slot.index()].is_none()).collect::<Vec<_>>() {
            let owner = ring
                .walk(place_of(slot))
                .find(|index| self.loads[*index] < self.bound)
                .expect("the bounds of all cores sum up to more than all slots");
            self.owners[slot.index()] = Some(owner as u32);
            self.loads[owner] += 1;
        }
    }

    /// Takes slots from the fullest of those who stay, each time the one that stands nearest before a point of
    /// the emptiest joiner, until joiners have an even share and, as far as they may hold it, nobody is above the
    /// bound.
    fn fill_joiners(&mut self, joined: &[Member]) {
        let share = Slot::COUNT / self.members.len();
        let mut donors: BinaryHeap<(usize, Reverse<usize>)> = (0..self.members.len())
            .filter(|index| self.stays[*index])
            .map(|index| (self.loads[index], Reverse(index)))
            .collect();
        let mut joiners: BinaryHeap<Reverse<(usize, usize, usize)>> = joined
            .iter()
            .enumerate()
            .filter_map(|(rank, member)| {
                let index = self.members.binary_search(member).ok()?;
                Some(Reverse((self.loads[index], index, rank)))
            })
            .collect();
        if donors.is_empty() {
            return;
        }
        let mut wishes: Vec<Wishes> = joined.iter().map(|member| Wishes::new(*member, self)).collect();
        while let (Some((load, Reverse(donor))), Some(Reverse((held, joiner, rank)))) =
            (donors.pop(), joiners.pop())
        {
            let wanted = held < share && load > held + 1;
            let forced = held < self.bound && load > self.bound;
            if !wanted && !forced {
                break;
            }
            let slot = wishes[rank].nearest_of(donor, &self.owners);
            self.owners[slot.index()] = Some(joiner as u32);
            self.loads[donor] -= 1;
            self.loads[joiner] += 1;
            donors.push((load - 1, Reverse(donor)));
            joiners.push(Reverse((held + 1, joiner, rank)));
        }
    }

    fn into_placement(self, epoch: u64) -> Placement {
        let owners = self
            .owners
            .iter()
            .map(|owner| pack(self.members[owner.expect("every slot was settled") as usize]))
            .collect();
        Placement { epoch, members: self.members, owners }
    }
}

/// For one joiner: the slots of each member, the one it would take first at the end.
struct Wishes {
    by_donor: Vec<Vec<Slot>>,
}

impl Wishes {
    fn new(joiner: Member, plan: &Plan) -> Self {
        let mut points: Vec<u64> = points_of(joiner).collect();
        points.sort_unstable();
        let distance = |slot: Slot| {
            let place = place_of(slot);
            let next = points.partition_point(|point| *point < place) % points.len();
            points[next].wrapping_sub(place)
        };
        let mut slots: Vec<(u64, Slot)> = Slot::all().map(|slot| (distance(slot), slot)).collect();
        slots.sort_unstable_by_key(|wish| Reverse(*wish));
        let mut by_donor = vec![Vec::new(); plan.members.len()];
        for (_, slot) in slots {
            if let Some(owner) = plan.owners[slot.index()] {
                by_donor[owner as usize].push(slot);
            }
        }
        Self { by_donor }
    }

    /// The slot to take next from a donor that has one; those that another joiner took are passed over.
    fn nearest_of(&mut self, donor: usize, owners: &[Option<u32>]) -> Slot {
        loop {
            let slot = self.by_donor[donor].pop().expect("a donor has a slot to give");
            if owners[slot.index()] == Some(donor as u32) {
                return slot;
            }
        }
    }
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
