//! Balancers: given what each unit has, which tasks go where. Pure plans; whoever asks carries them out.
//!
//! Three, side by side. *Greedy* looks at everything an echo brought and moves from the fullest to the emptiest.
//! *Diffusion* (Cybenko 1989) lets every two neighbours even out a part of their difference, all at once. *Random
//! matchings* (Ghosh and Muthukrishnan 1994; Boyd and others 2006) lets units pair up by chance, and each pair evens
//! out all of it. Tasks are whole, so the part of a task that diffusion wants to move is moved by chance, with that
//! probability: rounding down instead would stop far from balance.

pub mod bound;
pub mod compare;
pub mod plot;

use crate::network::UnitId;
use machine::Stream;
use std::collections::BTreeSet;

/// What a unit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Tasks.
    pub tasks: u32,
    /// Processors: at least 1.
    pub cpu: u32,
}

impl Load {
    /// Tasks a processor.
    #[must_use]
    pub fn height(self) -> f64 {
        f64::from(self.tasks) / f64::from(self.cpu)
    }

    /// Processors without a task; under zero when tasks wait.
    #[must_use]
    pub fn room(self) -> i64 {
        i64::from(self.cpu) - i64::from(self.tasks)
    }
}

/// So many tasks from one unit to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Who gives.
    pub from: UnitId,
    /// Who takes.
    pub to: UnitId,
    /// How many.
    pub count: u32,
}

/// What a balancer wants in one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Tasks to move. No unit gives more than it has.
    pub moves: Vec<Move>,
    /// Messages that units had to exchange to know this.
    pub messages: u64,
}

/// The most tasks that one round of the greedy balancer moves; the rest waits for the next.
pub const MOVES_MAX: usize = 65_536;

/// A way to balance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Balancer {
    /// From units with `load >= cpu * max_cpu / 100` to those with most room.
    Greedy {
        /// Per cent.
        max_cpu: f64,
    },
    /// Neighbours even out a part of their difference.
    Diffusion,
    /// Pairs drawn by chance even out all of it.
    Matching,
}

impl Balancer {
    /// By the name under which it is asked for.
    #[must_use]
    pub fn named(name: &str, max_cpu: f64) -> Option<Self> {
        match name {
            "greedy" => Some(Self::Greedy { max_cpu }),
            "diffusion" => Some(Self::Diffusion),
            "matching" => Some(Self::Matching),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Greedy { .. } => "greedy",
            Self::Diffusion => "diffusion",
            Self::Matching => "matching",
        }
    }

    /// One round. `loads` are by unit; a link names two of them, or is not used.
    #[must_use]
    pub fn round(self, loads: &[Load], links: &[(UnitId, UnitId)], draw: &mut Stream) -> Round {
        match self {
            Self::Greedy { max_cpu } => {
                Round { moves: greedy(loads, max_cpu), messages: 2 * links.len() as u64 }
            }
            Self::Diffusion => diffusion(loads, links, draw),
            Self::Matching => matching(loads, links, draw),
        }
    }
}

/// Takes from whoever has least room among those that are too full, gives to whoever has most, while that helps.
fn greedy(loads: &[Load], max_cpu: f64) -> Vec<Move> {
    let mut loads = loads.to_vec();
    let is_full =
        |load: Load| f64::from(load.tasks) >= f64::from(load.cpu) * max_cpu / 100.0 && load.tasks > 0;
    let mut by_room: BTreeSet<(i64, u32)> =
        loads.iter().enumerate().map(|(unit, load)| (load.room(), unit as u32)).collect();
    let mut full: BTreeSet<(i64, u32)> =
        by_room.iter().filter(|(_, unit)| is_full(loads[*unit as usize])).copied().collect();
    let mut moves: std::collections::BTreeMap<(u32, u32), u32> = std::collections::BTreeMap::new();
    for _ in 0..MOVES_MAX {
        let (Some(&(least, from)), Some(&(most, to))) = (full.first(), by_room.last()) else { break };
        // Less than two apart, a move would only make them change places.
        if most - least < 2 {
            break;
        }
        *moves.entry((from, to)).or_default() += 1;
        for (unit, room) in [(from, least), (to, most)] {
            by_room.remove(&(room, unit));
            full.remove(&(room, unit));
        }
        loads[from as usize].tasks -= 1;
        loads[to as usize].tasks += 1;
        for unit in [from, to] {
            let load = loads[unit as usize];
            by_room.insert((load.room(), unit));
            if is_full(load) {
                full.insert((load.room(), unit));
            }
        }
    }
    moves.into_iter().map(|((from, to), count)| Move { from: UnitId(from), to: UnitId(to), count }).collect()
}

/// Each link evens out `1 / (1 + the greater degree of its ends)` of its ends' difference.
fn diffusion(loads: &[Load], links: &[(UnitId, UnitId)], draw: &mut Stream) -> Round {
    let mut degrees = vec![0u32; loads.len()];
    for (a, b) in links {
        degrees[a.index()] += 1;
        degrees[b.index()] += 1;
    }
    let mut left: Vec<u32> = loads.iter().map(|load| load.tasks).collect();
    let mut moves = Vec::new();
    for (a, b) in links {
        let (one, other) = (loads[a.index()], loads[b.index()]);
        let share = 1.0 / f64::from(1 + degrees[a.index()].max(degrees[b.index()]));
        // For ends of different size: what evens out their heights, not their numbers.
        let size = 2.0 * f64::from(one.cpu) * f64::from(other.cpu) / f64::from(one.cpu + other.cpu);
        let flow = share * size * (one.height() - other.height());
        let (from, to) = if flow > 0.0 { (*a, *b) } else { (*b, *a) };
        let wanted = (flow.abs() + draw.unit()).floor() as u32;
        let count = wanted.min(left[from.index()]);
        if count > 0 {
            left[from.index()] -= count;
            moves.push(Move { from, to, count });
        }
    }
    Round { moves, messages: 2 * links.len() as u64 }
}

fn matching(loads: &[Load], links: &[(UnitId, UnitId)], draw: &mut Stream) -> Round {
    let (pairs, messages) = pairs(loads.len(), links, draw);
    let moves = pairs.into_iter().filter_map(|(one, other)| even_out(one, other, loads, draw)).collect();
    Round { moves, messages }
}

/// Half of the units, drawn by chance, each ask a neighbour drawn by chance; who was asked and did not ask takes the
/// first. The pairs, and the messages that it took.
fn pairs(units: usize, links: &[(UnitId, UnitId)], draw: &mut Stream) -> (Vec<(UnitId, UnitId)>, u64) {
    let mut neighbours: Vec<Vec<u32>> = vec![Vec::new(); units];
    for (a, b) in links {
        neighbours[a.index()].push(b.0);
        neighbours[b.index()].push(a.0);
    }
    let asks: Vec<bool> = (0..units).map(|_| draw.below(2) == 0).collect();
    let mut order: Vec<u32> = (0..units as u32).filter(|unit| asks[*unit as usize]).collect();
    for index in (1..order.len()).rev() {
        order.swap(index, draw.below(index as u64 + 1) as usize);
    }
    let mut is_taken = vec![false; units];
    let (mut pairs, mut messages) = (Vec::new(), 0);
    for unit in order {
        let Some(&other) = draw.pick(&neighbours[unit as usize]) else { continue };
        // The question, and the answer to it.
        messages += 2;
        if !asks[other as usize] && !is_taken[other as usize] {
            is_taken[other as usize] = true;
            pairs.push((UnitId(unit), UnitId(other)));
        }
    }
    (pairs, messages)
}

/// The two end with the same height, as nearly as whole tasks can; which of them has the odd one is drawn by chance.
fn even_out(one: UnitId, other: UnitId, loads: &[Load], draw: &mut Stream) -> Option<Move> {
    let (a, b) = (loads[one.index()], loads[other.index()]);
    let fair = f64::from(a.tasks + b.tasks) * f64::from(a.cpu) / f64::from(a.cpu + b.cpu);
    let surplus = f64::from(a.tasks) - fair;
    let count = (surplus.abs() + draw.unit()).floor() as u32;
    let (from, to) = if surplus > 0.0 { (one, other) } else { (other, one) };
    let count = count.min(loads[from.index()].tasks);
    (count > 0).then_some(Move { from, to, count })
}

/// How far the highest unit is above the lowest, in tasks a processor.
#[must_use]
pub fn discrepancy(loads: &[Load]) -> f64 {
    let heights = || loads.iter().map(|load| load.height());
    let highest = heights().fold(0.0, f64::max);
    heights().fold(highest, f64::min).max(0.0).mul_add(-1.0, highest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families::Family;
    use machine::Chance;

    fn loads(tasks: &[(u32, u32)]) -> Vec<Load> {
        tasks.iter().map(|(tasks, cpu)| Load { tasks: *tasks, cpu: *cpu }).collect()
    }

    #[test]
    fn greedy_moves_from_the_fullest_to_the_emptiest_while_it_helps() {
        #[track_caller]
        fn check(tasks: &[(u32, u32)], expected: &[(u32, u32, u32)]) {
            let found = greedy(&loads(tasks), 75.0);
            let found: Vec<_> = found.iter().map(|found| (found.from.0, found.to.0, found.count)).collect();
            assert_eq!(found, expected, "{tasks:?}");
        }
        check(&[(3, 4), (0, 4)], &[(0, 1, 1)]);
        check(&[(2, 4), (0, 4)], &[]);
        check(&[(4, 4), (3, 4)], &[]);
        check(&[(10, 4), (0, 4), (0, 4)], &[(0, 1, 3), (0, 2, 3)]);
        check(&[(1, 1), (0, 8)], &[(0, 1, 1)]);
        check(&[(0, 1), (0, 1)], &[]);
    }

    #[test]
    fn no_plan_moves_what_is_not_there() {
        for seed in 0..300 {
            let chance = Chance::new(seed);
            let mut draw = chance.stream("loads");
            let (_, family) = *draw.pick(&Family::ALL).unwrap();
            let count = draw.between(1, 30) as u32;
            let links: Vec<_> =
                family.links(count, chance).into_iter().map(|(a, b)| (UnitId(a), UnitId(b))).collect();
            let mut now: Vec<Load> = (0..count)
                .map(|_| Load { tasks: draw.below(20) as u32, cpu: draw.between(1, 8) as u32 })
                .collect();
            let all: u32 = now.iter().map(|load| load.tasks).sum();
            for name in ["greedy", "diffusion", "matching"] {
                let balancer = Balancer::named(name, 75.0).unwrap();
                for _ in 0..5 {
                    let mut given = vec![0; now.len()];
                    let round = balancer.round(&now, &links, &mut draw);
                    for each in &round.moves {
                        given[each.from.index()] += each.count;
                        assert!(each.count > 0 && each.from != each.to);
                    }
                    assert!(
                        given.iter().zip(&now).all(|(given, load)| *given <= load.tasks),
                        "{name} {seed}"
                    );
                    for each in round.moves {
                        now[each.from.index()].tasks -= each.count;
                        now[each.to.index()].tasks += each.count;
                    }
                    assert_eq!(now.iter().map(|load| load.tasks).sum::<u32>(), all);
                }
            }
        }
    }

    #[test]
    fn discrepancy_is_the_highest_above_the_lowest() {
        assert_eq!(discrepancy(&loads(&[(8, 4), (1, 2), (3, 1)])), 2.5);
        assert_eq!(discrepancy(&loads(&[(4, 1)])), 0.0);
        assert_eq!(discrepancy(&[]), 0.0);
    }
}
