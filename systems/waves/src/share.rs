//! One core's share of the network, laid out for waves: which units live here, and whom each of them is linked to.
//!
//! A share never changes: when the network does, a new one is made, and waves that are under way keep the one with
//! which they came. Neighbours of all units lie in one array, so that a wave over a hundred thousand links walks
//! memory and not pointers.

use crate::network::{Network, UnitId};
use machine::{CoreId, NodeId, Seat};
use state::hash::hash64;
use state::ring::Ring;

/// A unit's place among those of its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Local(pub u32);

impl Local {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a unit lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its core.
    pub core: CoreId,
    /// Its place there.
    pub local: Local,
}

/// Which end of a link a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The link is written from here: the neighbour is a child.
    Down,
    /// The link is written from there.
    Up,
}

/// How large the connected part of the network is in which a unit lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Units, this one too.
    pub units: u32,
    /// Links between them.
    pub links: u32,
}

/// One core's units and their neighbours.
#[derive(Clone, Debug)]
pub struct Share {
    places: Vec<Place>,
    mine: Vec<UnitId>,
    offsets: Vec<u32>,
    neighbours: Vec<u32>,
    ways: Vec<Way>,
    parts: Vec<u32>,
    extents: Vec<Extent>,
}

/// How units are dealt to those who carry them.
#[derive(Clone, Debug)]
pub enum Homes {
    /// Many units a core: the ring of this node's cores decides, by the unit's number alone.
    Ring(Ring),
    /// One unit a process: unit `n` lives with member `n + 1` of the troop, and member 0 has none.
    Apart,
}

impl Homes {
    /// The ring of a node's cores.
    #[must_use]
    pub fn ring(seat: Seat) -> Self {
        let members: Vec<_> = seat.all_cores().map(|core| (NodeId(0), core)).collect();
        Self::Ring(Ring::new(&members))
    }

    /// Who carries a unit.
    #[must_use]
    pub fn owner(&self, unit: UnitId) -> CoreId {
        match self {
            Self::Ring(ring) => {
                ring.owner(hash64(&unit.0.to_le_bytes(), 0)).map_or(CoreId(0), |(_, core)| core)
            }
            Self::Apart => CoreId(unit.0 as u16 + 1),
        }
    }
}

impl Share {
    /// The share of the core `seat`.
    #[must_use]
    pub fn new(network: &Network, seat: Seat, homes: &Homes) -> Self {
        let mut counts = vec![0u32; usize::from(seat.cores)];
        let places: Vec<Place> = (0..network.units().len() as u32)
            .map(|unit| {
                let core = homes.owner(UnitId(unit));
                let local = Local(counts[core.index()]);
                counts[core.index()] += 1;
                Place { core, local }
            })
            .collect();
        let mine: Vec<UnitId> = (0..places.len() as u32)
            .map(UnitId)
            .filter(|unit| places[unit.index()].core == seat.core)
            .collect();
        let (offsets, neighbours, ways) = lay(network, &places, seat.core, mine.len());
        let (parts, extents) = parts(network);
        Self { places, mine, offsets, neighbours, ways, parts, extents }
    }

    /// How many units live here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mine.len()
    }

    /// Whether none does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mine.is_empty()
    }

    /// How many units the network has.
    #[must_use]
    pub fn network_len(&self) -> usize {
        self.places.len()
    }

    /// Where a unit lives; none, if there is no such unit.
    #[must_use]
    pub fn place(&self, unit: UnitId) -> Option<Place> {
        self.places.get(unit.index()).copied()
    }

    /// Which unit lives there.
    #[must_use]
    pub fn unit(&self, local: Local) -> UnitId {
        self.mine[local.index()]
    }

    /// The units here, in order.
    #[must_use]
    pub fn units(&self) -> &[UnitId] {
        &self.mine
    }

    /// The places of all links of units here, from 0 to this.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.neighbours.len()
    }

    /// The places of a unit's links.
    #[must_use]
    pub fn edges_of(&self, local: Local) -> core::ops::Range<usize> {
        self.offsets[local.index()] as usize..self.offsets[local.index() + 1] as usize
    }

    /// Who is at the other end.
    #[must_use]
    pub fn far(&self, edge: usize) -> UnitId {
        UnitId(self.neighbours[edge])
    }

    /// Which end this one is.
    #[must_use]
    pub fn way(&self, edge: usize) -> Way {
        self.ways[edge]
    }

    /// The place of a unit's link to that one.
    #[must_use]
    pub fn edge(&self, local: Local, far: UnitId) -> Option<usize> {
        let edges = self.edges_of(local);
        let among = &self.neighbours[edges.clone()];
        // Few neighbours share a cache line or two: looking at all is quicker than halving.
        let found = if among.len() <= 16 {
            among.iter().position(|unit| *unit == far.0)
        } else {
            among.binary_search(&far.0).ok()
        };
        found.map(|index| edges.start + index)
    }

    /// How large the part is in which that unit lies.
    #[must_use]
    pub fn extent(&self, unit: UnitId) -> Extent {
        self.parts.get(unit.index()).map_or(Extent::default(), |part| self.extents[*part as usize])
    }

    /// Whether a path joins two units.
    #[must_use]
    pub fn are_joined(&self, one: UnitId, other: UnitId) -> bool {
        self.parts[one.index()] == self.parts[other.index()]
    }
}

/// Every unit's neighbours in order, one unit after another.
fn lay(network: &Network, places: &[Place], core: CoreId, units: usize) -> (Vec<u32>, Vec<u32>, Vec<Way>) {
    let mut found: Vec<(Local, u32, Way)> = Vec::new();
    for (a, b) in network.links() {
        for (near, far, way) in [(a, b, Way::Down), (b, a, Way::Up)] {
            let place = places[near.index()];
            if place.core == core {
                found.push((place.local, far.0, way));
            }
        }
    }
    found.sort_unstable_by_key(|(local, far, _)| (*local, *far));
    let mut offsets = vec![0u32; units + 1];
    for (local, _, _) in &found {
        offsets[local.index() + 1] += 1;
    }
    for index in 0..units {
        offsets[index + 1] += offsets[index];
    }
    (offsets, found.iter().map(|(_, far, _)| *far).collect(), found.iter().map(|(_, _, way)| *way).collect())
}

/// Which connected part each unit lies in, and how large each is.
fn parts(network: &Network) -> (Vec<u32>, Vec<Extent>) {
    let mut leaders: Vec<u32> = (0..network.units().len() as u32).collect();
    for (a, b) in network.links() {
        let (a, b) = (leader(&mut leaders, a.0), leader(&mut leaders, b.0));
        leaders[a.max(b) as usize] = a.min(b);
    }
    let mut extents = vec![Extent::default(); leaders.len()];
    for unit in 0..leaders.len() as u32 {
        let part = leader(&mut leaders, unit);
        extents[part as usize].units += 1;
    }
    for (a, _) in network.links() {
        extents[leaders[a.index()] as usize].links += 1;
    }
    (leaders, extents)
}

/// Follows to the least unit of a part, halving the way for those who come after.
fn leader(leaders: &mut [u32], unit: u32) -> u32 {
    let mut at = unit;
    while leaders[at as usize] != at {
        leaders[at as usize] = leaders[leaders[at as usize] as usize];
        at = leaders[at as usize];
    }
    leaders[unit as usize] = at;
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::plain_units;

    fn seat(core: u16, cores: u16) -> Seat {
        Seat { node: NodeId(0), core: CoreId(core), cores }
    }

    #[test]
    fn every_unit_has_one_place_and_all_its_links() {
        let links: Vec<(u32, u32)> = (1..200).map(|unit| (unit / 2, unit)).collect();
        let network = Network::new(plain_units(200, 1), &links).unwrap();
        for cores in [1, 3] {
            let homes = Homes::ring(seat(0, cores));
            let shares: Vec<Share> =
                (0..cores).map(|core| Share::new(&network, seat(core, cores), &homes)).collect();
            assert_eq!(shares.iter().map(Share::len).sum::<usize>(), 200);
            assert_eq!(shares.iter().map(Share::edges).sum::<usize>(), 2 * links.len());
            for (a, b) in &links {
                for (near, far, way) in [(*a, *b, Way::Down), (*b, *a, Way::Up)] {
                    let place = shares[0].place(UnitId(near)).unwrap();
                    let share = &shares[place.core.index()];
                    assert_eq!(share.unit(place.local), UnitId(near));
                    let edge = share.edge(place.local, UnitId(far)).unwrap();
                    assert_eq!((share.far(edge), share.way(edge)), (UnitId(far), way));
                    assert!(share.edge(place.local, UnitId(near)).is_none());
                }
            }
        }
    }

    #[test]
    fn parts_are_what_paths_join() {
        let network = Network::new(plain_units(6, 1), &[(4, 2), (2, 0), (5, 3)]).unwrap();
        let share = Share::new(&network, seat(0, 1), &Homes::ring(seat(0, 1)));
        assert_eq!(share.extent(UnitId(4)), Extent { units: 3, links: 2 });
        assert_eq!(share.extent(UnitId(1)), Extent { units: 1, links: 0 });
        assert!(share.are_joined(UnitId(0), UnitId(4)) && !share.are_joined(UnitId(0), UnitId(5)));
    }
}
