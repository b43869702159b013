//! The transcript, and many seeded worlds against the simplest thing that is surely right: each counter counts
//! 1, 2, 3, … in the order in which it was asked.

use machine::{Address, Chance, NodeId};
use sim::transcript::{Transcript, run_world};
use sim::{Client, Faults, Lies, Setup, World, for_seeds};
use std::collections::BTreeMap;
use std::time::Duration;
use waves::{Config, Waves};

const SEEDS: u64 = 100;
const NAMES: [&str; 7] = ["apples", "pears", "plums", "quinces", "figs", "dates", "cherries"];
const CLIENTS: usize = 4;
const LINES_MAX: u64 = 60;

fn world(seed: u64, cores: u16, lies: Lies) -> World<Waves> {
    let listen = Address::Ip(([127, 0, 0, 1], 7000).into());
    World::new(seed, Setup::new(Config { listen }).cores(cores).faults(Faults::rough()).lies(lies))
}

#[test]
fn the_protocol_is_as_it_is_written_down() {
    let transcript = Transcript::parse("counting", include_str!("../transcripts/counting.txt"));
    let transcript = transcript.unwrap_or_else(|why| panic!("{why}"));
    for_seeds(SEEDS, |seed| {
        let mut world = world(seed, 3, Lies::none());
        run_world(&transcript, &mut world, NodeId(0)).unwrap_or_else(|why| panic!("{why}"));
    });
}

/// One client: the names it asked for, in order.
struct Asker {
    client: Client,
    names: Vec<&'static str>,
}

/// Clients ask in bursts, say that they have said all, and wait for the end.
fn run(seed: u64, cores: u16, lies: Lies) -> Result<u64, String> {
    let mut world = world(seed, cores, lies);
    let mut askers: Vec<Asker> =
        (0..CLIENTS).map(|_| Asker { client: world.connect(NodeId(0), 0), names: Vec::new() }).collect();
    for _ in 0..5 {
        for asker in &mut askers {
            burst(&mut world, asker);
        }
        world.run_for(Duration::from_millis(1));
    }
    for asker in &askers {
        world.finish(asker.client);
    }
    if !world.run_within(Duration::from_secs(60), |world| {
        askers.iter().all(|each| world.ended(each.client).is_some())
    }) {
        return Err("a connection that has said all is not closed".to_owned());
    }
    let heard: Vec<String> =
        askers.iter().map(|each| String::from_utf8_lossy(world.heard(each.client)).into_owned()).collect();
    equals_the_model(&askers, &heard)?;
    Ok(world.trace_hash())
}

fn burst(world: &mut World<Waves>, asker: &mut Asker) {
    let count = world.workload().below(LINES_MAX);
    let mut text = String::new();
    for _ in 0..count {
        let name = *world.workload().pick(&NAMES).expect("there are names");
        asker.names.push(name);
        text += &format!("{name}\n");
    }
    world.say(asker.client, text.as_bytes());
}

/// Each line has an answer in its place; what all clients heard of a name is 1, 2, 3, …, each once; and no client
/// saw a counter go back.
fn equals_the_model(askers: &[Asker], heard: &[String]) -> Result<(), String> {
    let mut values: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for (asker, heard) in askers.iter().zip(heard) {
        let answers: Vec<&str> = heard.lines().collect();
        if answers.len() != asker.names.len() {
            return Err(format!("{} lines, {} answers", asker.names.len(), answers.len()));
        }
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for (name, answer) in asker.names.iter().zip(answers) {
            let value: u64 = answer.parse().map_err(|_| format!("{name}: answered {answer:?}"))?;
            if last.insert(name, value).is_some_and(|before| before >= value) {
                return Err(format!("{name}: went back to {value}"));
            }
            values.entry(name).or_default().push(value);
        }
    }
    for (name, mut values) in values {
        values.sort_unstable();
        if !values.iter().copied().eq(1..=values.len() as u64) {
            return Err(format!("{name}: counted {values:?}"));
        }
    }
    Ok(())
}

#[test]
fn every_counter_counts_without_a_gap() {
    for_seeds(SEEDS, |seed| {
        let cores = 1 + Chance::new(seed).stream("cores").below(4) as u16;
        let first = run(seed, cores, Lies::none()).unwrap_or_else(|why| panic!("{why}"));
        let again = run(seed, cores, Lies::none());
        assert_eq!(again, Ok(first), "the same seed took other steps");
    });
}

/// A test that cannot fail is a bug: the world lies, and the model above must notice.
#[test]
fn a_world_that_loses_or_swaps_messages_is_found_out() {
    let lies = [Lies { lose_tell: 20, ..Lies::none() }, Lies { swap_lane: 100, ..Lies::none() }];
    for lie in lies {
        assert!((0..SEEDS).any(|seed| run(seed, 3, lie).is_err()), "{lie:?} was believed");
    }
}
