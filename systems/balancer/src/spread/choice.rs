//! Who gets a request: its owner, unless that one has more than its share already.
//!
//! Bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): no member takes more than `factor` times the mean, so a hot
//! key cannot melt its owner. What an owner cannot take jumps (see [`Key::jump`]). All loads are this core's own: a
//! core chooses without asking another, and each keeps the bound by itself. Nothing here allocates.

use super::key::Key;
use super::ring::{Ring, Seat, Way};
use machine::Stream;

/// So often a key jumps before the least loaded member is looked for among all.
pub const JUMPS_MAX: u32 = 16;

/// The full weight of a member: parts of a thousand.
pub const WHOLE: u32 = 1000;

/// What a member bears, and what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Requests in flight to it from this core.
    pub in_flight: u32,
    /// Requests of this core that wait until it may take them.
    pub waiting: u32,
    /// It never has more in flight.
    pub max: u32,
    /// How much of its share a newcomer takes, in parts of [`WHOLE`].
    pub weight: u32,
}

impl Load {
    /// Nothing in flight, nothing allowed.
    pub const NONE: Self = Self { in_flight: 0, waiting: 0, max: 0, weight: WHOLE };

    /// What it bears: those that wait are its load as well as those in flight, or a crowd would be shared by who is
    /// fastest and not by who owns what.
    #[must_use]
    pub fn borne(&self) -> u32 {
        self.in_flight + self.waiting
    }

    /// How many it may bear when `mean_bound` is allowed to all.
    #[must_use]
    pub fn bound(&self, mean_bound: u32) -> u32 {
        (u64::from(mean_bound) * u64::from(self.weight)).div_ceil(u64::from(WHOLE)) as u32
    }
}

/// Why this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It owns the key and has room.
    Owner,
    /// Its owner is over its bound; this is where the key jumped, so often.
    Jumped(u32),
    /// The less loaded of two drawn at random.
    Drawn,
    /// Nobody that was asked had room under its bound: the least loaded of all.
    LeastLoaded,
}

/// The chosen member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Who.
    pub seat: Seat,
    /// Why.
    pub why: Why,
}

/// The bound of each member when one more request is to be placed on `members` that bear `total`: the mean after it,
/// times `factor` (in thousandths), rounded up. A factor of 0 is no bound.
#[must_use]
pub fn mean_bound(total: u32, members: usize, factor: u32) -> u32 {
    if factor == 0 || members == 0 {
        return u32::MAX;
    }
    let bound = (u64::from(total) + 1) * u64::from(factor);
    u32::try_from(bound.div_ceil(members as u64 * 1000)).unwrap_or(u32::MAX)
}

/// Chooses for `key` among the ring's members, whose loads stand by seat and sum to `total`. `tried` are not asked
/// again. None when nobody else is there.
pub fn choose(
    ring: &mut Ring,
    key: Key,
    loads: &[Load],
    total: u32,
    factor: u32,
    tried: &[Seat],
    chance: &mut Stream,
) -> Option<Choice> {
    let bound = mean_bound(total, ring.len(), factor);
    let borne = |seat: Seat| loads[seat.index()].borne();
    let has_room = |seat: Seat| !tried.contains(&seat) && borne(seat) < loads[seat.index()].bound(bound);
    if ring.way() == Way::TwoChoices {
        let drawn = two(ring, loads, chance).filter(|seat| !tried.contains(seat));
        if let Some(seat) = drawn {
            return Some(Choice { seat, why: Why::Drawn });
        }
    } else {
        for jump in 0..JUMPS_MAX {
            let seat = ring.owner(key.jump(jump))?;
            if has_room(seat) {
                let why = if jump == 0 { Why::Owner } else { Why::Jumped(jump) };
                return Some(Choice { seat, why });
            }
        }
    }
    let least = ring.members().filter(|seat| !tried.contains(seat)).min_by_key(|seat| borne(*seat));
    least.map(|seat| Choice { seat, why: Why::LeastLoaded })
}

/// The less loaded of two different members (Mitzenmacher 2001).
fn two(ring: &Ring, loads: &[Load], chance: &mut Stream) -> Option<Seat> {
    let count = ring.len() as u64;
    let at = |index: u64| ring.member(index as usize);
    if count < 2 {
        return at(0);
    }
    let first = chance.below(count);
    let second = (first + 1 + chance.below(count - 1)) % count;
    let (first, second) = (at(first)?, at(second)?);
    // A newcomer of a tenth of its weight counts as ten times as loaded.
    let load = |seat: Seat| {
        let load = loads[seat.index()];
        (u64::from(load.borne()) + 1) * u64::from(WHOLE) / u64::from(load.weight.max(1))
    };
    Some(if load(second) < load(first) { second } else { first })
}
