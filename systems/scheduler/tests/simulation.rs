//! Clusters in simulated worlds: every fault there is while jobs are sent and run, then calm, and then the oracle.

mod liar;
mod town;

use liar::Lie;
use machine::Chance;
use sim::{Faults, Lies, for_seeds};
use std::time::Duration;
use town::{Town, Wish};

const SEEDS: u64 = 10;

/// Within so many seeds each lie must be found out.
const CANARY_SEEDS: u64 = 60;

const WISHES: usize = 8;

/// Sends jobs over some seconds of faults, then calms down; gives the trace, or what is wrong.
fn run(seed: u64, faults: Faults, lies: Lies, lie: Lie) -> Result<u64, String> {
    let mut town = Town::new(seed, faults, lies, lie);
    let mut draw = Chance::new(seed).stream("wishes");
    for number in 0..WISHES {
        let mut wish =
            Wish::new(&format!("wish-{seed}-{number}"), Duration::from_millis(draw.between(1, 4000)));
        wish.status = if draw.below(5) == 0 { 3 } else { 0 };
        wish.at_most_once = draw.below(4) == 0;
        town.wish(wish, None);
        town.live(Duration::from_millis(draw.between(1, 2500)))?;
    }
    town.settle()?;
    Ok(town.world.trace_hash())
}

fn all_faults() -> Faults {
    Faults { disk_fails: 0, pauses: true, flaps: true, ..Faults::disastrous() }
}

#[test]
fn in_a_calm_world_every_job_ends_well_at_its_first_attempt() {
    for_seeds(SEEDS / 3, |seed| {
        let mut town = Town::new(seed, Faults::none(), Lies::none(), Lie::Truth);
        for number in 0..WISHES {
            town.wish(Wish::new(&format!("wish-{number}"), Duration::from_millis(300)), None);
        }
        town.settle().unwrap_or_else(|why| panic!("{why}"));
        for number in 0..WISHES {
            let job = town.job(0, number).expect("it was acknowledged");
            assert_eq!((job.state, job.attempt), (scheduler::job::State::Finished, 1), "{:#?}", job.history);
        }
    });
}

#[test]
fn whatever_happens_an_acknowledged_job_has_one_end_made_by_its_last_attempt() {
    for_seeds(SEEDS, |seed| {
        let first = run(seed, all_faults(), Lies::none(), Lie::Truth).unwrap_or_else(|why| panic!("{why}"));
        if seed % 10 == 0 {
            let again = run(seed, all_faults(), Lies::none(), Lie::Truth);
            assert_eq!(again, Ok(first), "the same seed took other steps");
        }
    });
}

#[track_caller]
fn is_found_out(name: &str, lies: Lies, lie: Lie) {
    let found = (0..CANARY_SEEDS).find(|seed| run(*seed, all_faults(), lies, lie).is_err());
    assert!(found.is_some(), "{name} was believed for {CANARY_SEEDS} seeds");
}

#[test]
fn a_node_that_acknowledges_before_the_commit_is_found_out() {
    is_found_out("an early acknowledgement", Lies::none(), Lie::AcknowledgesEarly);
}

#[test]
fn a_leader_that_takes_results_of_old_attempts_is_found_out() {
    is_found_out("an old attempt", Lies::none(), Lie::TakesOldAttempts);
}

#[test]
fn a_disk_that_lies_is_found_out() {
    // Every disk says that it is safe while it is not: a power cut at a majority loses what was acknowledged, or the
    // group itself finds that two truths have been promised and stops.
    let lies = Lies { unsynced: 700, ..Lies::none() };
    let believed = (0..CANARY_SEEDS).all(|seed| {
        let outcome = std::panic::catch_unwind(|| run(seed, all_faults(), lies, Lie::Truth));
        matches!(outcome, Ok(Ok(_)))
    });
    assert!(!believed, "a lying disk was believed for {CANARY_SEEDS} seeds");
}
