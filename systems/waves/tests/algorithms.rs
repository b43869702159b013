//! Echo and Finn over random graphs and schedules: exact counts where nothing fails, the truth about what is missing
//! where something does, a hundred waves at once without a mix-up, and known lies that the monitors must catch.
//!
//! `RINGWISE_SEEDS=10000` for the long run.

mod town;

use machine::Chance;
use sim::for_seeds;
use std::collections::BTreeSet;
use town::Town;
use waves::families::Family;
use waves::letter::{Algorithm, Kind, Letter, Purpose, WaveId};
use waves::network::{Network, UnitId, plain_units};
use waves::wave::monitor::{Verdict, bound};
use waves::wave::{Outcome, Reading};

const SEEDS: u64 = 1000;

/// A town drawn from a seed: any family, 1 to 40 units, 1 to 4 cores.
fn town(seed: u64) -> Town {
    let chance = Chance::new(seed);
    let mut draw = chance.stream("graph");
    let (_, family) = *draw.pick(&Family::ALL).expect("there are families");
    let count = draw.between(1, 40) as u32;
    let network =
        Network::new(plain_units(count as usize, 1), &family.links(count, chance)).expect("a network");
    Town::new(network, draw.between(1, 4) as u16, seed)
}

fn unit(town: &mut Town) -> UnitId {
    UnitId(town.draw.below(town.network.units().len() as u64) as u32)
}

fn everybody(town: &Town) -> BTreeSet<UnitId> {
    (0..town.network.units().len() as u32).map(UnitId).collect()
}

/// An echo by `initiator` saw everybody once, by a spanning tree of real links, and adds up.
fn echo_is_exact(town: &mut Town, wave: WaveId) -> Result<(), String> {
    let seen = town.waves[&wave].clone();
    let verdicts = seen.verdicts.expect("it is over");
    if verdicts.any_broken() {
        return Err(format!("{verdicts:?} {:?}", seen.tally));
    }
    let [outcome] = &seen.decisions.get(&wave.initiator).map_or(&[][..], Vec::as_slice) else {
        return Err(format!("decided {:?}", seen.decisions.keys()));
    };
    let links = town.network.links().len() as u64;
    if seen.tally.sent != 2 * links || !outcome.missing.is_empty() {
        return Err(format!(
            "{} messages over {links} links, missing {:?}",
            seen.tally.sent, outcome.missing
        ));
    }
    let units: BTreeSet<UnitId> = outcome.readings.iter().map(|reading| reading.unit).collect();
    if units != everybody(town) || outcome.readings.len() != units.len() {
        return Err(format!("read {units:?}"));
    }
    is_tree(town, wave.initiator, outcome)?;
    let facts: Vec<_> = units.iter().map(|unit| *town.fact(*unit)).collect();
    let sums = (units.len() as u32, facts.iter().map(|f| f.load).sum(), facts.iter().map(|f| f.cpu).sum());
    let told = (outcome.units, outcome.load, outcome.cpu);
    if told == sums { Ok(()) } else { Err(format!("sums {told:?}, not {sums:?}")) }
}

fn is_tree(town: &Town, root: UnitId, outcome: &Outcome) -> Result<(), String> {
    let parent_of = |unit| outcome.readings.iter().find(|reading| reading.unit == unit).map(|r| r.parent);
    for Reading { unit, parent, .. } in &outcome.readings {
        let is_link =
            town.network.links().iter().any(|link| [*link, (link.1, link.0)].contains(&(*unit, *parent)));
        if unit != parent && !is_link {
            return Err(format!("{unit:?} did not hear from its parent {parent:?} over a link"));
        }
        let mut at = *unit;
        for _ in 0..outcome.readings.len() {
            at = parent_of(at).ok_or("a parent that was not read")?;
        }
        if at != root {
            return Err(format!("{unit:?} does not hang below {root:?}"));
        }
    }
    Ok(())
}

/// Everybody decided once, on everybody, within the bound.
fn finn_is_exact(town: &Town, wave: WaveId) -> Result<(), String> {
    let seen = &town.waves[&wave];
    let verdicts = seen.verdicts.expect("it is over");
    if verdicts.any_broken() {
        return Err(format!("{verdicts:?} {:?}", seen.tally));
    }
    let all = everybody(town);
    let decided: BTreeSet<UnitId> = seen.decisions.keys().copied().collect();
    if decided != all || seen.decisions.values().any(|outcomes| outcomes.len() != 1) {
        return Err(format!("decided {:?}", seen.decisions));
    }
    let units = all.len() as u32;
    let is_whole = |outcome: &Outcome| outcome.units == units && outcome.missing.is_empty();
    if !seen.decisions.values().flatten().all(is_whole) {
        return Err("a decision rests on a part".into());
    }
    if seen.tally.channel_max > 2 * units || seen.tally.sent > bound(Algorithm::Finn, seen.extent) {
        return Err(format!("{} messages on a channel", seen.tally.channel_max));
    }
    Ok(())
}

#[test]
fn an_echo_takes_two_messages_a_link_and_sees_everybody() {
    for_seeds(SEEDS, |seed| {
        let mut town = town(seed);
        let initiator = unit(&mut town);
        let wave = town.start(Algorithm::Echo, Purpose::Status, &[initiator]);
        town.finish();
        echo_is_exact(&mut town, wave).unwrap_or_else(|why| panic!("{why}"));
    });
}

#[test]
fn finn_decides_everywhere_on_everybody_within_its_bound() {
    for_seeds(SEEDS, |seed| {
        let mut town = town(seed);
        let count = town.draw.between(1, 3);
        let initiators: Vec<UnitId> = (0..count).map(|_| unit(&mut town)).collect();
        let wave = town.start(Algorithm::Finn, Purpose::Tasks, &initiators);
        town.finish();
        finn_is_exact(&town, wave).unwrap_or_else(|why| panic!("{why}"));
    });
}

/// What the classic demonstration does on its one-way tree: everybody decides, the root before it can know anything.
#[test]
fn finn_one_way_down_a_tree_decides_too_early_and_is_not_called_a_wave() {
    for_seeds(SEEDS, |seed| {
        let chance = Chance::new(seed);
        let count = chance.stream("count").between(2, 40) as u32;
        let links = Family::Tree.links(count, chance);
        let network = Network::new(plain_units(count as usize, 1), &links).expect("a network");
        let mut town = Town::new(network, 2, seed);
        let wave = town.start(Algorithm::Directed, Purpose::Tasks, &[UnitId(0)]);
        town.finish();
        let seen = &town.waves[&wave];
        let verdicts = seen.verdicts.expect("it is over");
        assert_eq!(seen.decisions.len(), count as usize, "everybody decides");
        assert_eq!(seen.decisions[&UnitId(0)][0].units, 1, "the root knows of nobody but itself");
        assert_eq!(verdicts.dependence, Verdict::Excused);
        assert!(!verdicts.any_broken(), "{verdicts:?} {:?}", seen.tally);
    });
}

#[test]
fn a_hundred_waves_at_once_are_not_mixed_up() {
    for_seeds(SEEDS, |seed| {
        // A hundred waves take as long as a hundred seeds of the others: every hundredth is taken.
        if !seed.is_multiple_of(100) {
            return;
        }
        let mut town = town(seed);
        let mut waves = Vec::new();
        for _ in 0..100 {
            let initiator = unit(&mut town);
            let algorithm = if town.draw.below(2) == 0 { Algorithm::Echo } else { Algorithm::Finn };
            waves.push((algorithm, town.start(algorithm, Purpose::Status, &[initiator])));
            for _ in 0..town.draw.below(40) {
                town.step();
            }
        }
        town.finish();
        for (algorithm, wave) in waves {
            let outcome = match algorithm {
                Algorithm::Echo => echo_is_exact(&mut town, wave),
                Algorithm::Finn | Algorithm::Directed => finn_is_exact(&town, wave),
            };
            outcome.unwrap_or_else(|why| panic!("{algorithm:?} {wave}: {why}"));
        }
    });
}

/// Units die and come back, links are cut, letters are lost, while waves are under way. Every wave whose initiator
/// lives ends, and whoever its result does not rest on is behind somebody of whom it says so.
#[test]
fn with_faults_every_wave_ends_with_the_truth_about_what_is_missing() {
    let (mut missed, mut runs) = ([0; 2], 0);
    for_seeds(SEEDS, |seed| {
        runs += 1;
        let mut town = town(seed);
        town.loses = [0, 0, 5, 50][town.draw.below(4) as usize];
        let mut waves = Vec::new();
        for _ in 0..town.draw.between(1, 4) {
            let initiator = unit(&mut town);
            if town.dead.contains(&initiator) {
                continue;
            }
            let algorithm = if town.draw.below(2) == 0 { Algorithm::Echo } else { Algorithm::Finn };
            waves.push((algorithm, initiator, town.start(algorithm, Purpose::Status, &[initiator])));
            for _ in 0..town.draw.below(6) {
                for _ in 0..town.draw.below(60) {
                    town.step();
                }
                blow(&mut town);
            }
        }
        town.finish();
        for (algorithm, initiator, wave) in waves {
            if !town.dead.contains(&initiator) && town.fact(initiator).born_at.nanos() == 0 {
                missed[algorithm as usize] += told_the_truth(&town, wave, algorithm);
            }
        }
    });
    // One seed run alone need not exercise everything.
    assert!(runs == 1 || missed.iter().all(|count| *count > 0), "nothing was ever missing: {missed:?}");
}

fn blow(town: &mut Town) {
    match town.draw.below(4) {
        0 => {
            let victim = unit(town);
            if !town.dead.contains(&victim) {
                town.kill(victim);
            }
        }
        1 => {
            let back = town.dead.iter().next().copied();
            back.into_iter().for_each(|unit| town.revive(unit));
        }
        2 if !town.network.links().is_empty() => {
            let link = town.draw.below(town.network.links().len() as u64) as usize;
            town.cut(link);
        }
        _ => {}
    }
}

/// How many results missed something.
fn told_the_truth(town: &Town, wave: WaveId, algorithm: Algorithm) -> u32 {
    let seen = &town.waves[&wave];
    let outcomes = seen.decisions.get(&wave.initiator);
    let [outcome] = outcomes.map_or(&[][..], Vec::as_slice) else {
        panic!("{algorithm:?} {wave} ended with {outcomes:?}, {:?}", seen.tally);
    };
    let verdicts = seen.verdicts.expect("it is over");
    assert!(!verdicts.any_broken(), "{algorithm:?} {wave}: {verdicts:?} {:?}", seen.tally);
    if algorithm == Algorithm::Echo {
        let counted: BTreeSet<UnitId> = outcome.readings.iter().map(|reading| reading.unit).collect();
        assert_eq!(counted.len(), outcome.readings.len(), "{wave}: a unit was counted twice");
        assert_eq!(counted.len() as u32, outcome.units);
        assert!(town.tells_the_truth(&counted, outcome, wave.initiator), "{wave}: {outcome:?}");
    } else {
        for (unit, outcomes) in &seen.decisions {
            assert_eq!(outcomes.len(), 1, "{wave}: {unit:?} decided twice");
        }
        assert!(
            outcome.units == seen.extent.units || !outcome.missing.is_empty(),
            "{wave}: rests on {} of {} and misses nobody",
            outcome.units,
            seen.extent.units
        );
    }
    u32::from(!outcome.missing.is_empty())
}

/// A unit that is there while no link fails is never missing: giving up is for those who are silent.
#[test]
fn nobody_is_given_up_while_waves_are_merely_slow() {
    for_seeds(SEEDS, |seed| {
        let mut town = town(seed);
        let initiator = unit(&mut town);
        let algorithm = if seed % 2 == 0 { Algorithm::Echo } else { Algorithm::Finn };
        let wave = town.start(algorithm, Purpose::Status, &[initiator]);
        // A beat after every hop: the wave lasts much longer than an edge may be silent.
        for _ in 0..60 {
            town.round();
            town.beat();
        }
        town.finish();
        let seen = &town.waves[&wave];
        assert_eq!(seen.tally.gave_up, 0, "{algorithm:?}: {:?}", seen.tally);
    });
}

#[test]
fn lies_are_caught() {
    #[track_caller]
    fn check(name: &str, lie: impl Fn(&mut Town, WaveId)) {
        let caught = (0..20).filter(|seed| {
            let mut town = town(1000 + seed);
            let initiator = unit(&mut town);
            let wave = town.start(Algorithm::Echo, Purpose::Status, &[initiator]);
            lie(&mut town, wave);
            town.faults = 0;
            town.finish();
            town.faults == 0 && echo_is_exact(&mut town, wave).is_err()
        });
        assert!(caught.count() > 0, "{name} was believed");
    }
    check("a lost echo", |town, _| {
        while town.letters_of(Kind::Back).is_empty() && town.step() {}
        if let Some(index) = town.letters_of(Kind::Back).first() {
            town.pile.swap_remove(*index);
        }
    });
    check("a doubled token", |town, _| {
        town.doubles = 300;
        for _ in 0..30 {
            town.step();
        }
        town.doubles = 0;
    });
    check("an early decision", |town, wave| {
        let terms = town.waves[&wave].terms;
        let explored: Vec<u32> = town.pile.iter().map(|flying| flying.letter.to).collect();
        town.pile.clear();
        for from in explored {
            let mut back = Letter::plain(wave, terms, Kind::Back, UnitId(from), wave.initiator);
            back.sums = [1, 0, 1];
            town.forge(back, &[]);
        }
    });
}
