//! Highest random weight (Thaler and Ravishankar 1998): each member draws a lot for the key, and the highest wins.
//!
//! Nothing is stored but the members, a member that leaves moves only its own keys, and shares are as even as chance
//! is. The price is a look at every member, so it is the default only up to [`MEMBERS_MAX`].

use super::key::{Key, spread};
use super::ring::Seat;

/// Up to so many members a look at each costs less than one miss of the cache in a table.
pub const MEMBERS_MAX: usize = 64;

/// Members with what their lots are drawn from.
#[derive(Clone, Debug, Default)]
pub(super) struct Rendezvous {
    members: Vec<(u64, Seat)>,
}

impl Rendezvous {
    /// `members` by the hash of their names.
    pub(super) fn new(members: impl Iterator<Item = (u64, Seat)>) -> Self {
        Self { members: members.collect() }
    }

    pub(super) fn owner(&self, key: Key) -> Option<Seat> {
        let lot = |member: &&(u64, Seat)| spread(key.hash ^ member.0);
        self.members.iter().max_by_key(lot).map(|member| member.1)
    }
}
