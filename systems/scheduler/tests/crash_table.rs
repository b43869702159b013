//! The crash table of the contract, row by row, in simulated worlds: each node is killed at the moment that the row
//! names, over many seeds, and the row's outcome is demanded, with all that the oracle demands besides.

mod liar;
mod town;

use liar::Lie;
use machine::NodeId;
use scheduler::job::State;
use sim::{Faults, Lies, for_seeds};
use std::time::Duration;
use town::{NODES, SERVERS, Town, Wish};

const SEEDS: u64 = 4;

fn town(seed: u64) -> Result<Town, String> {
    let mut town = Town::new(seed, Faults::rough(), Lies::none(), Lie::Truth);
    town.live_until("there is a leader", |town| town.leader().is_some())?;
    Ok(town)
}

fn over_seeds(mut row: impl FnMut(Town) -> Result<(), String>) {
    for_seeds(SEEDS, |seed| town(seed).and_then(&mut row).unwrap_or_else(|why| panic!("{why}")));
}

fn job(millis: u64) -> Wish {
    Wish::new("job", Duration::from_millis(millis))
}

/// Everybody is there again; the oracle judges.
fn settle(mut town: Town) -> Result<Town, String> {
    for node in 0..NODES {
        if !town.world.is_alive(NodeId(node)) {
            town.world.restart(NodeId(node));
        }
    }
    town.settle()?;
    Ok(town)
}

fn kill(town: &mut Town, node: u16) {
    town.world.kill(NodeId(node));
}

#[test]
fn a_leader_that_dies_before_it_acknowledges_loses_nothing_and_the_same_key_is_one_job() {
    over_seeds(|mut town| {
        let leader = town.leader().ok_or("no leader")?;
        town.wish(job(200), Some(leader));
        town.world.run_for(Duration::from_micros(town.world.seed() * 37 % 3000));
        kill(&mut town, leader);
        let town = settle(town)?;
        assert_eq!(town.ledger(0).len(), 1);
        Ok(())
    });
}

#[test]
fn what_a_dead_leader_acknowledged_the_next_one_assigns() {
    over_seeds(|mut town| {
        let leader = town.leader().ok_or("no leader")?;
        town.wish(job(200), Some(leader));
        town.live_until("it is acknowledged", |town| town.wishes[0].acknowledged)?;
        kill(&mut town, leader);
        town.live_until("the next leader has it finished", |town| {
            town.seen(0).is_some_and(|job| job.state == State::Finished)
        })?;
        settle(town).map(drop)
    });
}

#[test]
fn an_assignment_that_was_not_sent_is_sent_as_the_same_attempt_by_the_next_leader() {
    over_seeds(|mut town| {
        let leader = town.leader().ok_or("no leader")?;
        // The worker cannot hear the leader: the assignment is committed by the others and not sent.
        town.wish(job(200), Some(leader));
        let starts = town.starts.clone();
        town.live_until("it is assigned", |town| {
            town.seen(0).is_some_and(|job| job.state != State::Accepted)
        })?;
        let is_before_sending = starts.borrow().is_empty();
        kill(&mut town, leader);
        town.live_until("it has finished", |town| {
            town.seen(0).is_some_and(|job| job.state == State::Finished)
        })?;
        let attempt = town.seen(0).map(|job| job.attempt);
        if is_before_sending {
            assert_eq!(attempt, Some(1), "the next leader sends the same attempt");
        }
        settle(town).map(drop)
    });
}

#[test]
fn a_job_whose_worker_dies_is_elsewhere_within_two_seconds_as_the_next_attempt() {
    over_seeds(|mut town| {
        town.wish(job(6000), None);
        town.live_until("it runs", |town| town.seen(0).is_some_and(|job| job.state == State::Running))?;
        let worker = town.seen(0).and_then(|job| job.worker).ok_or("nobody has it")?;
        kill(&mut town, worker);
        let died = town.world.now();
        town.live_until("it runs elsewhere", |town| {
            town.seen(0).is_some_and(|job| job.state == State::Running && job.worker != Some(worker))
        })?;
        let took = town.world.now().since(died);
        assert!(took <= Duration::from_secs(2), "elsewhere after {took:?}");
        assert_eq!(town.seen(0).map(|job| job.attempt), Some(2));
        settle(town).map(drop)
    });
}

#[test]
fn a_result_is_kept_by_its_worker_until_it_is_committed() {
    over_seeds(|mut town| {
        town.wish(job(500), None);
        town.live_until("it runs", |town| town.seen(0).is_some_and(|job| job.state == State::Running))?;
        let (leader, worker) = (town.leader().ok_or("no leader")?, town.seen(0).and_then(|job| job.worker));
        // It ends while there is no leader, for a shorter time than the worker's lease.
        town.live(Duration::from_millis(300))?;
        kill(&mut town, leader);
        town.live_until("it has finished", |town| {
            town.seen(0).is_some_and(|job| job.state == State::Finished)
        })?;
        let job = town.seen(0).ok_or("gone")?;
        assert_eq!((job.attempt, job.worker), (1, worker), "{:#?}", job.history);
        settle(town).map(drop)
    });
}

#[test]
fn a_result_that_a_leader_had_is_at_every_node() {
    over_seeds(|mut town| {
        town.wish(job(100), None);
        town.live_until("it has finished", |town| {
            town.seen(0).is_some_and(|job| job.state == State::Finished)
        })?;
        let leader = town.leader().ok_or("no leader")?;
        kill(&mut town, leader);
        town.live_until("there is another leader", |town| town.leader().is_some())?;
        let result = town.seen(0).and_then(|job| job.outcome.clone());
        assert!(result.is_some_and(|result| result.stdout.ends_with(" 1")));
        settle(town).map(drop)
    });
}

#[test]
fn a_worker_that_was_cut_off_stops_what_it_runs_before_it_is_elsewhere() {
    over_seeds(|mut town| {
        town.wish(job(5000), None);
        town.live_until("it runs", |town| town.seen(0).is_some_and(|job| job.state == State::Running))?;
        let worker = town.seen(0).and_then(|job| job.worker).ok_or("nobody has it")?;
        for node in (0..NODES).filter(|node| *node != worker) {
            town.world.cut_link(NodeId(worker), NodeId(node), true);
        }
        town.live_until("it is with another", |town| {
            town.seen(0).is_some_and(|job| job.worker != Some(worker) && job.state == State::Running)
        })?;
        assert_eq!(town.world.children_of(NodeId(worker)), 0, "two attempts run at once");
        let town = settle(town)?;
        assert_eq!(town.job(0, 0).map(|job| job.attempt), Some(2));
        Ok(())
    });
}

#[test]
fn two_at_once_may_die_and_a_minority_refuses() {
    over_seeds(|mut town| {
        let leader = town.leader().ok_or("no leader")?;
        let other = (0..SERVERS).find(|node| *node != leader).ok_or("alone")?;
        town.wish(job(3000), Some(other));
        town.live_until("it is acknowledged", |town| town.wishes[0].acknowledged)?;
        kill(&mut town, leader);
        kill(&mut town, other);
        town.live_until("three of five go on", |town| {
            town.seen(0).is_some_and(|job| job.state == State::Finished)
        })?;
        let third = town.leader().ok_or("no leader")?;
        kill(&mut town, third);
        let alone = town.alive()[0];
        let door = machine::Address::Ip(([127, 0, 0, 1], 3002 + alone).into());
        town.live(Duration::from_secs(4))?;
        let client = town.world.connect(NodeId(alone), door);
        town.world.say(
            client,
            b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\n{\"program\":\"\"}",
        );
        town.world.run_for(Duration::from_secs(1));
        let heard = String::from_utf8_lossy(town.world.heard(client)).into_owned();
        assert!(heard.starts_with("HTTP/1.1 503") && heard.contains("of 5 nodes"), "{heard}");
        settle(town).map(drop)
    });
}

#[test]
fn after_a_power_cut_everywhere_all_that_was_acknowledged_is_there() {
    over_seeds(|mut town| {
        for number in 0..4 {
            town.wish(Wish::new(&format!("job-{number}"), Duration::from_millis(700 * number)), None);
        }
        town.live_until("all are acknowledged", |town| town.wishes.iter().all(|wish| wish.acknowledged))?;
        for node in 0..NODES {
            town.world.power_cut(NodeId(node));
        }
        town.world.run_for(Duration::from_secs(1));
        settle(town).map(drop)
    });
}

#[test]
fn a_job_that_kills_every_worker_is_dead_in_the_end_and_says_why() {
    over_seeds(|mut town| {
        town.wish(job(60_000), None);
        loop {
            let over = |town: &Town| {
                town.seen(0).is_some_and(|job| job.state.is_end() || job.state == State::Running)
            };
            town.live_until("it runs or is dead", over)?;
            let job = town.seen(0).ok_or("gone")?;
            let Some(worker) = job.worker.filter(|_| job.state == State::Running) else { break };
            kill(&mut town, worker);
            town.live_until("it is with nobody", |town| {
                town.seen(0).is_some_and(|job| job.worker != Some(worker) || job.state != State::Running)
            })?;
            town.world.restart(NodeId(worker));
        }
        let job = town.seen(0).ok_or("gone")?;
        assert_eq!((job.state, job.attempt), (State::Dead, scheduler::ledger::ATTEMPTS_MAX));
        assert!(job.history.last().is_some_and(|event| event.why.contains("lost their worker")));
        settle(town).map(drop)
    });
}
