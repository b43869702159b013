//! Families of graphs, each drawn whole from a seed: what `waves generate` makes and what balancers are compared on.
//!
//! Every graph that leaves here is connected: where the literature's recipe leaves islands, each is joined to what
//! came before by one link to a unit drawn by chance, because a wave over an island says nothing of the rest.

use machine::{Chance, Stream};
use std::collections::BTreeSet;

/// A recipe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Family {
    /// A random recursive tree: each unit hangs below one of those before it.
    Tree,
    /// Each unit has up to this many children, filled in order: the classic demonstration's shape.
    Balanced {
        /// Children a unit.
        children: u32,
    },
    /// A grid as square as the count allows, row by row.
    Grid,
    /// A ring.
    Ring,
    /// A line.
    Line,
    /// One unit in the middle.
    Star,
    /// Everybody with everybody.
    Complete,
    /// Erdős–Rényi, G(n, m): so many links a unit, ends drawn by chance (Erdős and Rényi 1959).
    ErdosRenyi {
        /// Links a unit: the mean degree is twice this.
        links: f64,
    },
    /// Barabási–Albert: each newcomer links to units drawn in proportion to their degree (Barabási and Albert 1999).
    BarabasiAlbert {
        /// Links a newcomer brings.
        links: u32,
    },
    /// Watts–Strogatz: a ring of near neighbours, some of the links with one end moved elsewhere (Watts and Strogatz
    /// 1998).
    WattsStrogatz {
        /// Near neighbours on each side.
        near: u32,
        /// The chance of a link to be moved.
        rewired: f64,
    },
}

impl Family {
    /// Every family, by the name under which it is asked for, with what it takes when nothing is said.
    pub const ALL: [(&'static str, Self); 10] = [
        ("tree", Self::Tree),
        ("balanced", Self::Balanced { children: 2 }),
        ("grid", Self::Grid),
        ("ring", Self::Ring),
        ("line", Self::Line),
        ("star", Self::Star),
        ("complete", Self::Complete),
        ("erdos-renyi", Self::ErdosRenyi { links: 3.0 }),
        ("barabasi-albert", Self::BarabasiAlbert { links: 2 }),
        ("watts-strogatz", Self::WattsStrogatz { near: 2, rewired: 0.1 }),
    ];

    /// The family of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, family)| *family)
    }

    /// The links of `count` units.
    #[must_use]
    pub fn links(self, count: u32, chance: Chance) -> Vec<(u32, u32)> {
        let mut draw = chance.stream("links");
        let links = match self {
            Self::Tree => (1..count).map(|unit| (draw.below(u64::from(unit)) as u32, unit)).collect(),
            Self::Balanced { children } => {
                (1..count).map(|unit| ((unit - 1) / children.max(1), unit)).collect()
            }
            Self::Grid => grid(count),
            Self::Ring => ring(count, 1),
            Self::Line => (1..count).map(|unit| (unit - 1, unit)).collect(),
            Self::Star => (1..count).map(|unit| (0, unit)).collect(),
            Self::Complete => (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect(),
            Self::ErdosRenyi { links } => erdos_renyi(count, links, &mut draw),
            Self::BarabasiAlbert { links } => barabasi_albert(count, links.max(1), &mut draw),
            Self::WattsStrogatz { near, rewired } => watts_strogatz(count, near.max(1), rewired, &mut draw),
        };
        joined(count, links, &mut draw)
    }
}

fn grid(count: u32) -> Vec<(u32, u32)> {
    let width = (f64::from(count).sqrt().ceil() as u32).max(1);
    let right = (0..count).filter(|at| at % width + 1 < width && at + 1 < count).map(|at| (at, at + 1));
    let down = (0..count.saturating_sub(width)).map(|at| (at, at + width));
    right.chain(down).collect()
}

fn ring(count: u32, near: u32) -> Vec<(u32, u32)> {
    let far = near.min(count.saturating_sub(1) / 2).max(u32::from(count > 1));
    let all = (0..count).flat_map(|unit| (1..=far).map(move |step| (unit, (unit + step) % count.max(1))));
    simple(all)
}

fn erdos_renyi(count: u32, links: f64, draw: &mut Stream) -> Vec<(u32, u32)> {
    let n = u64::from(count);
    let most = n * n.saturating_sub(1) / 2;
    let wanted = ((f64::from(count) * links.max(0.0)).round() as u64).min(most);
    // Over half of all there are, leaving links out is quicker than finding those that are not there.
    if wanted > most / 2 {
        let mut all: Vec<(u32, u32)> = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b))).collect();
        while all.len() as u64 > wanted {
            all.swap_remove(draw.below(all.len() as u64) as usize);
        }
        return all;
    }
    let mut found = BTreeSet::new();
    while (found.len() as u64) < wanted {
        let (a, b) = (draw.below(n) as u32, draw.below(n) as u32);
        if a != b {
            found.insert((a.min(b), a.max(b)));
        }
    }
    found.into_iter().collect()
}

fn barabasi_albert(count: u32, links: u32, draw: &mut Stream) -> Vec<(u32, u32)> {
    let first = (links + 1).min(count);
    let mut made: Vec<(u32, u32)> = (0..first).flat_map(|a| (a + 1..first).map(move |b| (a, b))).collect();
    // Each end of each link once: a draw from here is a draw in proportion to degree.
    let mut ends: Vec<u32> = made.iter().flat_map(|(a, b)| [*a, *b]).collect();
    for unit in first..count {
        let mut chosen = BTreeSet::new();
        while chosen.len() < links as usize {
            chosen.insert(ends[draw.below(ends.len() as u64) as usize]);
        }
        for other in chosen {
            made.push((other, unit));
            ends.extend([other, unit]);
        }
    }
    made
}

fn watts_strogatz(count: u32, near: u32, rewired: f64, draw: &mut Stream) -> Vec<(u32, u32)> {
    let links = ring(count, near);
    let mut made: BTreeSet<(u32, u32)> = links.iter().copied().collect();
    for (a, b) in links {
        let far = draw.below(u64::from(count.max(1))) as u32;
        let moved = (a.min(far), a.max(far));
        if draw.unit() < rewired && far != a && !made.contains(&moved) {
            made.remove(&(a, b));
            made.insert(moved);
        }
    }
    made.into_iter().collect()
}

/// Each link once, the lesser unit first.
fn simple(links: impl Iterator<Item = (u32, u32)>) -> Vec<(u32, u32)> {
    let found: BTreeSet<(u32, u32)> =
        links.filter(|(a, b)| a != b).map(|(a, b)| (a.min(b), a.max(b))).collect();
    found.into_iter().collect()
}

/// With a link for each island, to one of the units before it.
fn joined(count: u32, mut links: Vec<(u32, u32)>, draw: &mut Stream) -> Vec<(u32, u32)> {
    let mut leaders: Vec<u32> = (0..count).collect();
    fn leader(leaders: &mut [u32], mut unit: u32) -> u32 {
        while leaders[unit as usize] != unit {
            leaders[unit as usize] = leaders[leaders[unit as usize] as usize];
            unit = leaders[unit as usize];
        }
        unit
    }
    for (a, b) in &links {
        let (a, b) = (leader(&mut leaders, *a), leader(&mut leaders, *b));
        leaders[a.max(b) as usize] = a.min(b);
    }
    // The least unit of an island leads it, so all units before it are joined already.
    for unit in 1..count {
        if leader(&mut leaders, unit) == unit {
            links.push((draw.below(u64::from(unit)) as u32, unit));
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Network, UnitId, plain_units};
    use crate::share::{Homes, Share};
    use machine::{CoreId, NodeId, Seat};

    #[test]
    fn every_family_is_connected_simple_and_told_by_its_seed() {
        for (name, family) in Family::ALL {
            for count in [1, 2, 3, 8, 50, 121] {
                let links = family.links(count, Chance::new(7));
                assert_eq!(links, family.links(count, Chance::new(7)), "{name}");
                let network = Network::new(plain_units(count as usize, 1), &links)
                    .unwrap_or_else(|why| panic!("{name} {count}: {why}"));
                assert_eq!(network.links().len(), links.len(), "{name} {count}: a link twice");
                let seat = Seat { node: NodeId(0), core: CoreId(0), cores: 1 };
                let share = Share::new(&network, seat, &Homes::ring(seat));
                assert_eq!(share.extent(UnitId(0)).units, count, "{name} {count}");
            }
        }
    }

    #[test]
    fn families_have_the_links_that_make_them() {
        #[track_caller]
        fn check(family: Family, count: u32, expected: usize) {
            assert_eq!(family.links(count, Chance::new(1)).len(), expected, "{family:?} of {count}");
        }
        check(Family::Grid, 9, 12);
        check(Family::Grid, 7, 8);
        check(Family::Ring, 5, 5);
        check(Family::Ring, 2, 1);
        check(Family::Complete, 6, 15);
        check(Family::BarabasiAlbert { links: 2 }, 10, 3 + 2 * 7);
        check(Family::WattsStrogatz { near: 2, rewired: 0.0 }, 10, 20);
        check(Family::ErdosRenyi { links: 9.0 }, 10, 45);
    }
}
