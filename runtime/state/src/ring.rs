//! The consistent-hash ring: every core stands at many points of a circle of 2^64 places, and what is hashed
//! belongs to the first point at or after it. A member that comes or goes changes only what lies just before its
//! own points. Points come from a stable name and the fixed hash, so every node draws the same ring.

use crate::hash::hash64;
use machine::{CoreId, NodeId};

/// A core of a node.
pub type Member = (NodeId, CoreId);

/// How many points each core has. With 256 the share of a core before bounding deviates by about 1/16.
pub const POINTS_PER_CORE: usize = 256;

/// Cores on a circle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    members: Vec<Member>,
    /// Place and member index, sorted; a tie of places goes to the lesser member.
    points: Vec<(u64, u32)>,
}

impl Ring {
    /// The ring of these members, whose order and repetition do not matter.
    #[must_use]
    pub fn new(members: &[Member]) -> Self {
        let mut members = members.to_vec();
        members.sort_unstable();
        members.dedup();
        let mut points = Vec::with_capacity(members.len() * POINTS_PER_CORE);
        for (index, member) in members.iter().enumerate() {
            points.extend(points_of(*member).map(|place| (place, index as u32)));
        }
        points.sort_unstable();
        Self { members, points }
    }

    /// Who stands on it, in order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whose point is the first at or after `place`; nobody on an empty ring.
    #[must_use]
    pub fn owner(&self, place: u64) -> Option<Member> {
        self.walk(place).next().map(|index| self.members[index])
    }

    /// The member, by its index in [`Ring::members`], of every point from `place` on, once around.
    pub fn walk(&self, place: u64) -> impl Iterator<Item = usize> + '_ {
        let start = self.points.partition_point(|point| point.0 < place);
        let (before, after) = self.points.split_at(start);
        after.iter().chain(before).map(|point| point.1 as usize)
    }
}

/// The places of a member, by point number: the fixed hash of its name, seeded by that number.
pub fn points_of(member: Member) -> impl Iterator<Item = u64> {
    let name = name_of(member);
    (0..POINTS_PER_CORE as u64).map(move |point| hash64(name.as_bytes(), point))
}

/// The name under which a member is hashed: `node/core`, both decimal. It must never change.
#[must_use]
pub fn name_of((node, core): Member) -> String {
    format!("{}/{}", node.0, core.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    fn member(node: u16, core: u16) -> Member {
        (NodeId(node), CoreId(core))
    }

    /// Computed by another program from the description alone. Nodes of all versions must agree on them.
    #[test]
    fn points_never_change() {
        #[track_caller]
        fn check(member: Member, expected: [u64; 3]) {
            let points: Vec<u64> = points_of(member).collect();
            assert_eq!([points[0], points[1], points[255]], expected, "{member:?}");
        }
        check(member(0, 0), [0x7815_7844_0177_5052, 0xf07c_50ab_501c_a2c7, 0xd98c_3778_5391_900f]);
        check(member(3, 1), [0x7f15_782b_41a0_db6a, 0x408b_1cfa_444c_35cf, 0x1080_372f_2e72_2bff]);
        check(member(65_535, 63), [0xb8e3_d9f3_1f6b_01cf, 0x2f13_2a29_da0c_c4a6, 0xc567_9f79_ea0b_f1e0]);
    }

    #[test]
    fn the_owner_is_the_nearest_point_at_or_after() {
        let members: Vec<_> = (0..5).map(|node| member(node, node % 2)).collect();
        let ring = Ring::new(&members);
        let mut stream = Chance::new(1).stream("places");
        for _ in 0..500 {
            let place = stream.next_u64();
            let nearest = members
                .iter()
                .flat_map(|member| points_of(*member).map(|point| (point.wrapping_sub(place), *member)))
                .min();
            assert_eq!(ring.owner(place), nearest.map(|nearest| nearest.1));
        }
        let (last, owner) = ring.points[ring.points.len() - 1];
        assert_eq!(ring.owner(last), Some(ring.members[owner as usize]));
        assert_eq!(ring.owner(last.wrapping_add(1)), Some(ring.members[ring.points[0].1 as usize]));
    }

    #[test]
    fn order_and_repetition_of_members_do_not_matter() {
        let ring = Ring::new(&[member(2, 0), member(1, 3), member(2, 0)]);
        assert_eq!(ring, Ring::new(&[member(1, 3), member(2, 0)]));
        assert_eq!(ring.walk(7).count(), 2 * POINTS_PER_CORE);
        assert_eq!(Ring::new(&[]).owner(0), None);
    }

    #[test]
    fn a_member_that_leaves_changes_only_its_own_places() {
        let members: Vec<_> = (0..8).map(|node| member(node, 0)).collect();
        let (before, after) = (Ring::new(&members), Ring::new(&members[1..]));
        let mut stream = Chance::new(2).stream("places");
        for _ in 0..2_000 {
            let place = stream.next_u64();
            if before.owner(place) != Some(members[0]) {
                assert_eq!(before.owner(place), after.owner(place));
            }
        }
    }
}
