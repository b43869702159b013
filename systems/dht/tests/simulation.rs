//! Many seeded worlds against a sorted map: clients of every protocol, several cores, requests in bursts and in
//! pieces, bounds so small that every one is met, and clients that stop reading for a while.

mod model;

use dht::{Config, Dht, Limits};
use machine::{Chance, End, NodeId, Why};
use model::{Model, Speech};
use sim::{Client, Counts, Faults, Lies, Setup, World, for_seeds};
use std::time::Duration;

const SEEDS: u64 = 300;
const NODE: NodeId = NodeId(0);
const CLIENTS: usize = 5;
const BURSTS: usize = 6;
const BURST_MAX: u64 = 60;
const PATIENCE: Duration = Duration::from_secs(60);

/// One client, and all it must hear.
struct Talk {
    client: Client,
    speech: Speech,
    model: Model,
    expected: Vec<u8>,
}

fn config(draw: &mut machine::Stream) -> Config {
    let limits = Limits {
        places_max: draw.between(2, 40) as usize,
        held_max: draw.between(64, 65_536) as usize,
        ..Limits::default()
    };
    Config {
        resp: Some(([127, 0, 0, 1], 6379).into()),
        frame: Some(([127, 0, 0, 1], 5050).into()),
        limits,
        ..Config::default()
    }
}

fn world(seed: u64, faults: Faults, lies: Lies) -> World<Dht> {
    let mut draw = Chance::new(seed).stream("setup");
    let mut setup = Setup::new(config(&mut draw)).cores(1 + draw.below(4) as u16);
    setup.faults = faults;
    setup.lies = lies;
    setup.limits.output_high = draw.between(200, 100_000) as usize;
    setup.limits.output_low = setup.limits.output_high / 4;
    World::new(seed, setup)
}

/// Runs one world to its end: every reply is the model's, everybody is let go, every key is where it should be.
fn run(seed: u64, lies: Lies) -> Result<(u64, Counts), String> {
    let mut world = world(seed, Faults::rough(), lies);
    let mut talks = connect(&mut world);
    greet(&mut world, &mut talks)?;
    talk_and_leave(&mut world, &mut talks);
    let all_ended = all_ended(&mut world, &talks);
    for talk in &talks {
        compare(&world, talk)?;
    }
    if !all_ended {
        return Err("a connection that has said all is not closed".into());
    }
    let keys: usize = talks.iter().map(|talk| talk.model.len()).sum();
    let gauges = world.gauges(NODE);
    if gauges.number("ringwise_dht_keys") != keys as i64 {
        return Err(format!("{keys} keys, and {} are counted", gauges.number("ringwise_dht_keys")));
    }
    if gauges.number("ringwise_dht_connections") != 0 {
        return Err("a connection that is gone is still counted".into());
    }
    Ok((world.trace_hash(), world.counts().clone()))
}

fn connect(world: &mut World<Dht>) -> Vec<Talk> {
    let speeches = [Speech::Two, Speech::Three, Speech::Frames];
    (0..CLIENTS)
        .map(|index| {
            let speech = speeches[index % speeches.len()];
            let client = world.connect(NODE, usize::from(speech == Speech::Frames));
            Talk { client, speech, model: Model::default(), expected: Vec::new() }
        })
        .collect()
}

fn talk_and_leave(world: &mut World<Dht>, talks: &mut [Talk]) {
    for _ in 0..BURSTS {
        for (index, talk) in talks.iter_mut().enumerate() {
            burst(world, index, talk);
        }
        let pause = world.workload().below(3000);
        world.run_for(Duration::from_micros(pause));
    }
    for talk in talks {
        world.unstall(talk.client);
        world.finish(talk.client);
    }
}

fn all_ended(world: &mut World<Dht>, talks: &[Talk]) -> bool {
    world.run_within(PATIENCE, |world| talks.iter().all(|talk| world.ended(talk.client).is_some()))
}

/// HELLO 3 for those who speak it; its answer has a number in it and is left out of what is compared.
fn greet(world: &mut World<Dht>, talks: &mut [Talk]) -> Result<(), String> {
    for talk in talks.iter().filter(|talk| talk.speech == Speech::Three) {
        world.say(talk.client, b"HELLO 3\r\n");
        if !world.run_within(PATIENCE, |world| world.heard(talk.client).ends_with(b"*0\r\n")) {
            return Err("HELLO is not answered".into());
        }
        world.take_heard(talk.client);
    }
    Ok(())
}

fn burst(world: &mut World<Dht>, index: usize, talk: &mut Talk) {
    match world.workload().below(6) {
        0 => world.stall(talk.client),
        1..=3 => world.unstall(talk.client),
        _ => {}
    }
    let count = world.workload().below(BURST_MAX);
    let mut said = Vec::new();
    for _ in 0..count {
        let reply = talk.model.ask(index, talk.speech, world.workload(), &mut said);
        talk.expected.extend(reply);
    }
    world.say(talk.client, &said);
}

fn compare(world: &World<Dht>, talk: &Talk) -> Result<(), String> {
    let heard = world.heard(talk.client);
    if heard == talk.expected {
        return Ok(());
    }
    let same = heard.iter().zip(&talk.expected).take_while(|(one, other)| one == other).count();
    let show = |bytes: &[u8]| {
        let from = same.saturating_sub(60).min(bytes.len());
        bytes[from..bytes.len().min(same + 60)].escape_ascii().to_string()
    };
    Err(format!(
        "{:?} heard {} bytes of {}, differing at {same}:\n  heard    …{}\n  expected …{}",
        talk.speech,
        heard.len(),
        talk.expected.len(),
        show(heard),
        show(&talk.expected)
    ))
}

#[test]
fn every_reply_is_the_models() {
    let mut counts = Counts::new();
    for_seeds(SEEDS, |seed| {
        let (hash, seen) = run(seed, Lies::none()).unwrap_or_else(|why| panic!("{why}"));
        if seed % 10 == 0 {
            let again = run(seed, Lies::none()).map(|(hash, _)| hash);
            assert_eq!(again, Ok(hash), "the same seed took other steps");
        }
        counts.add(&seen);
    });
    counts.assert_all(&["on_bytes", "on_bytes held", "on_peer", "on_room", "on_end half", "client stalls"]);
}

/// Connections that are reset in the middle: what was heard until then is right, nobody else notices, and nothing of
/// them stays behind.
#[test]
fn a_reset_costs_nobody_else_anything() {
    let mut counts = Counts::new();
    for_seeds(SEEDS, |seed| {
        let mut world = world(seed, Faults { reset: 10, ..Faults::harsh() }, Lies::none());
        let mut talks = connect(&mut world);
        talks.retain(|talk| talk.speech != Speech::Three);
        talk_and_leave(&mut world, &mut talks);
        assert!(all_ended(&mut world, &talks), "a connection that has said all is not closed");
        for talk in &talks {
            match world.ended(talk.client) {
                Some(End::Gone(Why::Reset)) => {
                    assert!(
                        talk.expected.starts_with(world.heard(talk.client)),
                        "a wrong reply before a reset"
                    );
                }
                _ => compare(&world, talk).unwrap_or_else(|why| panic!("{why}")),
            }
        }
        world.drain(NODE);
        world.run_until(|world| world.drained(NODE));
        assert_eq!(world.gauges(NODE).number("ringwise_dht_connections"), 0);
        counts.add(world.counts());
    });
    counts.assert_all(&["on_end reset"]);
}

/// A test that cannot fail is a bug: the world lies, and the model must notice.
#[test]
fn a_world_that_lies_is_found_out() {
    let lies = [
        Lies { lose_tell: 20, ..Lies::none() },
        Lies { swap_lane: 100, ..Lies::none() },
        Lies { wrong_byte: 20, ..Lies::none() },
    ];
    for lie in lies {
        let noticed = |seed| run(seed, lie).is_err();
        assert!((0..SEEDS).any(noticed), "{lie:?} was believed");
    }
}
