//! Many seeded worlds with too little memory: whatever the policy, the sizes and the faults, the bound holds, every
//! write is done or refused, and what is read is what was written last or, where something may go, nothing.

use dht::policy::Policy;
use dht::{Config, Dht, Limits};
use machine::{Chance, NodeId, Stream};
use sim::{Client, Faults, Setup, World, for_seeds};
use std::collections::BTreeMap;
use std::time::Duration;

const SEEDS: u64 = 60;
const NODE: NodeId = NodeId(0);
const ROUNDS: usize = 12;
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that a core's table may cost beside what its writes bring: a segment that is split or grows.
const STRUCTURE: i64 = 64 << 10;

fn world(seed: u64, cores: u16, limits: Limits) -> World<Dht> {
    let config = Config { resp: Some(([127, 0, 0, 1], 6379).into()), limits, ..Config::default() };
    World::new(seed, Setup::new(config).cores(cores).faults(Faults::rough()))
}

/// Writes and reads of one round, each with what may be answered.
struct Round {
    said: Vec<u8>,
    allowed: Vec<[Vec<u8>; 2]>,
}

/// Few slots, so that their own tables cost little beside the entries.
fn key(draw: &mut Stream) -> String {
    let number = draw.below(4_000);
    format!("{{{}}}key{number}", number % 32)
}

fn round(draw: &mut Stream, policy: Policy, model: &mut BTreeMap<String, String>) -> Round {
    let mut round = Round { said: Vec::new(), allowed: Vec::new() };
    for number in 0..200 {
        let key = key(draw);
        if draw.below(4) == 0 {
            wire::resp::write_request(&mut round.said, &[b"GET", key.as_bytes()]);
            let nothing = b"$-1\r\n".to_vec();
            let value = model.get(&key).map(|value| format!("${}\r\n{value}\r\n", value.len()).into_bytes());
            round.allowed.push([value.unwrap_or_else(|| nothing.clone()), nothing]);
            continue;
        }
        let length = if draw.below(50) == 0 { draw.below(40_000) } else { draw.below(600) };
        let value = format!("{number}:{}", "v".repeat(length as usize));
        let expiry: &[&[u8]] = if policy.is_volatile() { &[b"EX", b"100000"] } else { &[] };
        let words = [&[b"SET", key.as_bytes(), value.as_bytes()], expiry].concat();
        wire::resp::write_request(&mut round.said, &words);
        round.allowed.push([
            b"+OK\r\n".to_vec(),
            b"-OOM command not allowed when used memory > 'maxmemory'.\r\n".to_vec(),
        ]);
        model.insert(key, value);
    }
    round
}

/// Takes one answer of those allowed from the front of what was heard: which it was.
fn take(heard: &mut &[u8], allowed: &[Vec<u8>; 2]) -> Option<usize> {
    let which = allowed.iter().position(|answer| heard.starts_with(answer))?;
    *heard = &heard[allowed[which].len()..];
    Some(which)
}

fn hear(world: &mut World<Dht>, client: Client, round: &Round, evicts: bool) -> Result<(), String> {
    let is_whole = |world: &World<Dht>| {
        let mut heard = world.heard(client);
        round.allowed.iter().all(|allowed| take(&mut heard, allowed).is_some())
    };
    world.run_within(PATIENCE, is_whole);
    let heard = world.take_heard(client);
    let mut rest = &heard[..];
    for (seen, allowed) in round.allowed.iter().enumerate() {
        let Some(which) = take(&mut rest, allowed) else {
            let shown = &rest[..rest.len().min(80)];
            return Err(format!("answer {seen} is …{}", shown.escape_ascii()));
        };
        if evicts && which == 1 && allowed[0].starts_with(b"+OK") {
            return Err(format!("write {seen} was refused although others may give way"));
        }
    }
    Ok(())
}

fn run(seed: u64) -> Result<i64, String> {
    let mut draw = Chance::new(seed).stream("setup");
    let cores = 1 + draw.below(4) as u16;
    let policy = Policy::ALL[1 + draw.below(Policy::ALL.len() as u64 - 1) as usize];
    let memory_max = u64::from(cores) * draw.between(150 << 10, 400 << 10);
    let mut world = world(seed, cores, Limits { memory_max, policy, ..Limits::default() });
    let client = world.connect(NODE, 0);
    let mut model = BTreeMap::new();
    for _ in 0..ROUNDS {
        let round = round(world.workload(), policy, &mut model);
        world.say(client, &round.said);
        hear(&mut world, client, &round, true).map_err(|why| format!("{policy:?}: {why}"))?;
        let bytes = world.gauges(NODE).number("ringwise_dht_bytes");
        let bound = memory_max as i64 + i64::from(cores) * STRUCTURE;
        if bytes > bound {
            return Err(format!("{policy:?}: {bytes} bytes of {bound}"));
        }
    }
    Ok(world.gauges(NODE).number("ringwise_dht_evicted_total"))
}

#[test]
fn the_bound_always_holds() {
    let mut evicted = 0;
    for_seeds(SEEDS, |seed| evicted += run(seed).unwrap_or_else(|why| panic!("{why}")));
    assert!(evicted > 10_000, "only {evicted} keys went: these worlds had room enough");
}
