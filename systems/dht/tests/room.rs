//! What stores at keys of several cores when memory is short: it is done whole or not at all, although some core has
//! no room and others fill it meanwhile. A value is a number that no other command writes, so any key that has it says
//! that the command was done, and any key that has not says that it was not.

use dht::policy::Policy;
use dht::{Config, Dht, Limits};
use machine::{NodeId, Stream};
use sim::{Client, Faults, Setup, World, for_seeds};
use std::time::Duration;

const SEEDS: u64 = 60;
const NODE: NodeId = NodeId(0);
const ROUNDS: usize = 40;
const PATIENCE: Duration = Duration::from_secs(60);

fn world(seed: u64, cores: u16, policy: Policy) -> World<Dht> {
    let limits = Limits { memory_max: u64::from(cores) * (96 << 10), policy, ..Limits::default() };
    let config = Config { resp: Some(([127, 0, 0, 1], 6379).into()), limits, ..Config::default() };
    let faults = if seed.is_multiple_of(2) { Faults::none() } else { Faults::rough() };
    World::new(seed, Setup::new(config).cores(cores).faults(faults))
}

/// Keys that fall to all cores; a tag each, so that few slots have tables of their own.
fn keys(draw: &mut Stream, round: usize) -> Vec<String> {
    let count = 2 + draw.below(5);
    let first = draw.below(8);
    (0..count).map(|key| format!("{{{}}}:{round}", first + key)).collect()
}

fn answer(world: &mut World<Dht>, client: Client, said: &[u8], lines: usize) -> Result<String, String> {
    world.say(client, said);
    let count = |heard: &[u8]| heard.iter().filter(|byte| **byte == b'\n').count();
    if !world.run_within(PATIENCE, |world| count(world.heard(client)) >= lines) {
        return Err(format!("no answer but {:?}", String::from_utf8_lossy(world.heard(client))));
    }
    Ok(String::from_utf8_lossy(&world.take_heard(client)).into_owned())
}

/// How many of these keys have such a value.
fn found(world: &mut World<Dht>, client: Client, keys: &[String], mark: &str) -> Result<usize, String> {
    let mut found = 0;
    for key in keys {
        let said = format!("GETRANGE {key} 0 {}\r\n", mark.len() - 1);
        found += usize::from(answer(world, client, said.as_bytes(), 2)?.contains(mark));
    }
    Ok(found)
}

/// Commands done and refused.
fn run(seed: u64, policy: Policy) -> Result<[usize; 2], String> {
    let mut world = world(seed, 2 + (seed % 3) as u16, policy);
    let (client, filler) = (world.connect(NODE, 0), world.connect(NODE, 0));
    let mut outcomes = [0, 0];
    for round in 0..ROUNDS {
        // Others store meanwhile, on whichever core; some of what they stored goes.
        for _ in 0..world.workload().below(12) {
            let (key, length) = (world.workload().below(300), world.workload().between(100, 2_000) as usize);
            let said = if world.workload().below(4) == 0 {
                format!("DEL f{{{}}}{key}\r\n", key % 8)
            } else {
                format!("SET f{{{}}}{key} {}\r\n", key % 8, "f".repeat(length))
            };
            world.say(filler, said.as_bytes());
        }
        let keys = keys(world.workload(), round);
        let mark = format!("<{seed}.{round}>");
        // Seldom two of them are more than a core may ever have.
        let longest = if world.workload().below(4) == 0 { 90_000 } else { 6_000 };
        let length = world.workload().between(10, longest) as usize;
        let name = if world.workload().below(3) == 0 { "MSETNX" } else { "MSET" };
        let value = format!("{mark}{}", "v".repeat(length));
        let mut words: Vec<&[u8]> = vec![name.as_bytes()];
        words.extend(keys.iter().flat_map(|key| [key.as_bytes(), value.as_bytes()]));
        let mut said = Vec::new();
        wire::resp::write_request(&mut said, &words);
        let told = answer(&mut world, client, &said, 1)?;
        let was_done = told == "+OK\r\n" || told == ":1\r\n";
        if !was_done && !told.starts_with("-OOM ") {
            return Err(format!("{name}: {told}"));
        }
        outcomes[usize::from(!was_done)] += 1;
        let found = found(&mut world, client, &keys, &mark)?;
        let is_whole = match was_done {
            // What is stored may give way again, where anything may.
            true => found == keys.len() || policy != Policy::NoEviction,
            false => found == 0,
        };
        if !is_whole {
            return Err(format!(
                "round {round}: {name} said {told:?} and {found} of {} are there",
                keys.len()
            ));
        }
        let forgotten = format!("DEL {}\r\n", keys.join(" "));
        if world.workload().below(3) > 0 {
            answer(&mut world, client, forgotten.as_bytes(), 1)?;
        }
    }
    Ok(outcomes)
}

fn check(policy: Policy) {
    let (mut done, mut refused) = (0, 0);
    for_seeds(SEEDS, |seed| {
        let outcomes = run(seed, policy).unwrap_or_else(|why| panic!("{why}"));
        done += outcomes[0];
        refused += outcomes[1];
    });
    assert!(done > 300 && refused > 30, "{done} done, {refused} refused: memory was not short");
}

#[test]
fn nothing_is_stored_in_part_where_nothing_gives_way() {
    check(Policy::NoEviction);
}

#[test]
fn nothing_is_stored_in_part_where_others_give_way() {
    check(Policy::AllKeysLru);
}
