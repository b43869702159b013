//! Balancers side by side: the same network, the same tasks in the same places, the same seed; what each makes of it,
//! round by round, and what it costs in messages and in tasks moved.

use super::{Balancer, Load, discrepancy};
use crate::families::Family;
use crate::network::{Network, UnitId, plain_units};
use crate::topology::Settings;
use machine::Chance;

/// Processors of every unit: the same, because greedy evens out room and the others heights, and only so do all three
/// aim at the same.
const CPU: u32 = 4;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// The graph's family.
    pub family: Family,
    /// Units: at least 1.
    pub units: u32,
    /// Tasks a processor, on average. They all lie on a tenth of the units at first.
    pub tasks: u32,
    /// Rounds.
    pub rounds: u32,
    /// Whatever is drawn is drawn from this.
    pub seed: u64,
}

/// What became of one balancer.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// Which.
    pub balancer: Balancer,
    /// How far the highest was above the lowest before each round and after the last, in tasks a processor.
    pub discrepancies: Vec<f64>,
    /// Messages that were exchanged.
    pub messages: u64,
    /// Tasks that were moved; one that was moved twice counts twice.
    pub moved: u64,
    /// The first round after which the discrepancy was at most 1; none, if it never was.
    pub settled: Option<usize>,
}

/// The network and the tasks of a plan.
#[must_use]
pub fn scene(plan: &Plan) -> (Network, Vec<Load>) {
    let chance = Chance::new(plan.seed);
    let mut draw = chance.stream("tasks");
    let links = plan.family.links(plan.units, chance);
    let network = Network::new(plain_units(plan.units as usize, 1), &links).expect("families make networks");
    let mut loads = vec![Load { tasks: 0, cpu: CPU }; plan.units as usize];
    let laden: Vec<usize> =
        (0..plan.units.div_ceil(10)).map(|_| draw.below(u64::from(plan.units)) as usize).collect();
    for _ in 0..u64::from(plan.units) * u64::from(CPU * plan.tasks) {
        let unit = *draw.pick(&laden).expect("a tenth of at least one unit is one");
        loads[unit].tasks += 1;
    }
    (network, loads)
}

/// Runs each of these over the plan.
#[must_use]
pub fn run(plan: &Plan, balancers: &[Balancer]) -> Vec<Course> {
    let (network, loads) = scene(plan);
    balancers.iter().map(|balancer| one(plan, *balancer, network.links(), loads.clone())).collect()
}

/// The three, with thresholds as the classic demonstration has them.
#[must_use]
pub fn all() -> [Balancer; 3] {
    [Balancer::Greedy { max_cpu: Settings::default().max_cpu }, Balancer::Diffusion, Balancer::Matching]
}

fn one(plan: &Plan, balancer: Balancer, links: &[(UnitId, UnitId)], mut loads: Vec<Load>) -> Course {
    let mut draw = Chance::new(plan.seed).stream(balancer.name());
    let mut course =
        Course { balancer, discrepancies: vec![discrepancy(&loads)], messages: 0, moved: 0, settled: None };
    for round in 1..=plan.rounds as usize {
        let wanted = balancer.round(&loads, links, &mut draw);
        course.messages += wanted.messages;
        for each in wanted.moves {
            loads[each.from.index()].tasks -= each.count;
            loads[each.to.index()].tasks += each.count;
            course.moved += u64::from(each.count);
        }
        let now = discrepancy(&loads);
        course.discrepancies.push(now);
        if now <= 1.0 && course.settled.is_none() {
            course.settled = Some(round);
        }
    }
    course
}

/// A table for people: one line a balancer.
#[must_use]
pub fn table(courses: &[Course]) -> String {
    let mut text = String::from("balancer    settled  discrepancy at end   messages      moved\n");
    for course in courses {
        let last = course.discrepancies.last().copied().unwrap_or(0.0);
        let settled = course.settled.map_or("never".to_owned(), |round| round.to_string());
        text += &format!(
            "{:<11} {settled:>7} {last:>19.2} {:>10} {:>10}\n",
            course.balancer.name(),
            course.messages,
            course.moved
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan = Plan { family: Family::Grid, units: 64, tasks: 8, rounds: 400, seed: 1 };

    #[test]
    fn a_comparison_is_told_by_its_seed() {
        assert_eq!(run(&PLAN, &all()), run(&PLAN, &all()));
        assert_ne!(scene(&PLAN).1, scene(&Plan { seed: 2, ..PLAN }).1);
    }

    #[test]
    fn every_balancer_evens_out_a_grid() {
        for course in run(&PLAN, &all()) {
            let (first, last) = (course.discrepancies[0], course.discrepancies[400]);
            assert!(last * 10.0 < first, "{:?}: from {first} to {last}", course.balancer);
        }
    }

    #[test]
    fn who_sees_everything_needs_one_round_and_moves_least() {
        let courses = run(&PLAN, &all());
        assert_eq!(courses[0].settled, Some(1));
        assert!(courses[1..].iter().all(|course| course.moved > courses[0].moved), "{courses:?}");
    }
}
