//! Seeded worlds: several cores, clients that ask all at once, units that die, links that are cut, tasks that move.
//! What is counted must add up, what was asked must be answered, and where nothing happens nobody wakes.

use machine::{Chance, NodeId};
use sim::{Client, Faults, Lies, Setup, World, for_seeds};
use std::sync::Arc;
use std::time::Duration;
use waves::balance::Balancer;
use waves::families::Family;
use waves::network::{Network, plain_units};
use waves::topology::Settings;
use waves::wave::field::Bounds;
use waves::{Config, Waves};

const SEEDS: u64 = 100;
const NODE: NodeId = NodeId(0);
const PATIENCE: Duration = Duration::from_secs(120);

fn config(seed: u64) -> Config {
    let chance = Chance::new(seed);
    let mut draw = chance.stream("network");
    let (_, family) = *draw.pick(&Family::ALL).expect("there are families");
    let count = draw.between(2, 30) as u32;
    let network =
        Network::new(plain_units(count as usize, 2), &family.links(count, chance)).expect("a network");
    let balancers =
        [Some(Balancer::Greedy { max_cpu: 75.0 }), Some(Balancer::Diffusion), Some(Balancer::Matching), None];
    Config {
        network: Arc::new(network),
        settings: Settings::default(),
        balancer: *draw.pick(&balancers).expect("there are balancers"),
        bounds: Bounds::default(),
        http: vec![([127, 0, 0, 1], 7999).into()],
        units: vec![([127, 0, 0, 1], 8000).into(), ([127, 0, 0, 1], 8001).into()],
        origins: Vec::new(),
        is_apart: false,
        label: String::new(),
    }
}

fn world(seed: u64, lies: Lies) -> World<Waves> {
    let cores = 1 + (seed % 4) as u16;
    World::new(seed, Setup::new(config(seed)).cores(cores).faults(Faults::rough()).lies(lies))
}

fn say(world: &mut World<Waves>, client: Client, method: &str, target: &str) {
    world.say(client, format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
}

/// The bodies of all answers that were heard.
fn bodies(world: &World<Waves>, client: Client) -> Vec<String> {
    let heard = String::from_utf8_lossy(world.heard(client)).into_owned();
    let (mut rest, mut found) = (&heard[..], Vec::new());
    while let Some((head, after)) = rest.split_once("\r\n\r\n") {
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        let length: usize = length.unwrap_or(0);
        if after.len() < length {
            break;
        }
        found.push(after[..length].to_owned());
        rest = &after[length..];
    }
    found
}

fn answered(world: &mut World<Waves>, talks: &[(Client, usize)]) -> bool {
    world.run_within(PATIENCE, |world| {
        talks.iter().all(|(client, count)| bodies(world, *client).len() >= *count)
    })
}

fn number(world: &World<Waves>, name: &str) -> i64 {
    world.gauges(NODE).number(name)
}

/// Waves of both kinds, all at once, from every connection: each is answered with everybody, and no monitor says that
/// a property is broken.
fn many_waves(seed: u64, lies: Lies) -> Result<u64, String> {
    let mut world = world(seed, lies);
    let units = config(seed).network.units().len();
    let mut talks = Vec::new();
    let mut asked = 0;
    for _ in 0..4 {
        let client = world.connect(NODE, 0);
        let mut count = 0;
        for _ in 0..world.workload().below(10) {
            let targets = ["/echo", "/echo_ws", "/finn_ws"];
            let target = *world.workload().pick(&targets).expect("there are some");
            say(&mut world, client, "GET", target);
            (count, asked) = (count + 1, asked + 1);
            let pause = world.workload().below(500);
            world.run_for(Duration::from_micros(pause));
        }
        talks.push((client, count));
    }
    if !answered(&mut world, &talks) {
        return Err("a wave is not answered".into());
    }
    for (client, count) in &talks {
        let bodies = bodies(&world, *client);
        let trees = bodies.iter().filter(|body| body.starts_with("{\"name\""));
        for tree in trees {
            let found = tree.matches("\"name\"").count();
            if found != units {
                return Err(format!("a tree of {found} units, not {units}"));
            }
        }
        if bodies.len() != *count {
            return Err(format!("{count} requests, {} answers", bodies.len()));
        }
    }
    let is_over = world.run_within(PATIENCE, |world| number(world, "waves_over_total") >= asked);
    if !is_over {
        return Err(format!("{asked} waves, {} over", number(&world, "waves_over_total")));
    }
    if number(&world, "waves_broken_total") > 0 {
        return Err("a monitor found a broken property".into());
    }
    Ok(world.trace_hash())
}

#[test]
fn waves_that_overlap_are_answered_with_everybody() {
    for_seeds(SEEDS, |seed| {
        let hash = many_waves(seed, Lies::none()).unwrap_or_else(|why| panic!("{why}"));
        if seed % 10 == 0 {
            assert_eq!(many_waves(seed, Lies::none()), Ok(hash), "the same seed took other steps");
        }
    });
}

/// A test that cannot fail is a bug: the world loses and swaps what cores say, and it must be noticed.
#[test]
fn a_world_that_lies_is_found_out() {
    for lie in [Lies { lose_tell: 20, ..Lies::none() }, Lies { wrong_byte: 50, ..Lies::none() }] {
        assert!((0..SEEDS).any(|seed| many_waves(seed, lie).is_err()), "{lie:?} was believed");
    }
}

/// Tasks are added, moved one by one and by the balancer; units die and come back, links are cut: at every moment
/// every task is finished, lost with its unit, at one unit, or on its way. In the end all that live are finished.
#[test]
fn no_task_is_lost_or_twice_whatever_fails() {
    let mut moved = 0;
    for_seeds(SEEDS, |seed| {
        let mut world = world(seed, Lies::none());
        let ports: Vec<u16> = config(seed).network.units().iter().map(|unit| unit.port).collect();
        let client = world.connect(NODE, 0);
        let mut asked = 0;
        for _ in 0..40 {
            let mut port = || *world.workload().pick(&ports).expect("there are units");
            let (one, other) = (port(), port());
            let (method, target) = match world.workload().below(10) {
                0..4 => ("POST", format!("/tasks?unit={one}&count=7")),
                4..7 => ("POST", format!("/units/{one}/rebalance?target={other}")),
                7 => ("POST", format!("/kill?unit={one}")),
                8 => ("POST", format!("/revive?unit={one}")),
                _ => ("POST", format!("/cut?a={one}&b={other}")),
            };
            say(&mut world, client, method, &target);
            asked += 1;
            let pause = world.workload().below(900);
            world.run_for(Duration::from_millis(pause));
            adds_up(&world);
        }
        assert!(
            answered(&mut world, &[(client, asked)]),
            "{} of {asked} answered",
            bodies(&world, client).len()
        );
        world.finish(client);
        let is_done =
            |world: &World<Waves>| number(world, "waves_tasks") + number(world, "waves_tasks_moving") == 0;
        assert!(world.run_within(Duration::from_secs(2000), is_done), "tasks are left");
        adds_up(&world);
        moved += number(&world, "waves_tasks_moved_total");
        assert_eq!(number(&world, "waves_broken_total"), 0);
    });
    assert!(moved > 0, "nothing was ever moved");
}

fn adds_up(world: &World<Waves>) {
    // What has left one core and not reached the other is counted by the one that it left, until it hears that it
    // has arrived; so while tasks move, the arrived ones may be counted by both.
    let gauges = world.gauges(NODE);
    let of = |name: &str| gauges.number(name);
    let gone = of("waves_tasks_finished_total") + of("waves_tasks_lost_total") + of("waves_tasks");
    let moving = of("waves_tasks_moving");
    let created = of("waves_tasks_created_total");
    assert!(
        gone <= created && created <= gone + moving || (gone - moving..=gone).contains(&created),
        "{created} created, {gone} here or gone, {moving} moving"
    );
    if moving == 0 {
        assert_eq!(created, gone);
    }
}

/// Where no unit has a task, no wave is under way and nobody is connected, no core wakes.
#[test]
fn an_idle_network_uses_no_time() {
    for_seeds(SEEDS / 10, |seed| {
        let mut world = world(seed, Lies::none());
        let client = world.connect(NODE, 0);
        say(&mut world, client, "GET", "/finn_ws");
        assert!(answered(&mut world, &[(client, 1)]));
        world.finish(client);
        // The tasks of that wave take ten seconds.
        world.run_for(Duration::from_secs(300));
        assert_eq!(number(&world, "waves_tasks") + number(&world, "waves_under_way"), 0);
        let before = (world.counts().of("on_timer"), world.counts().of("on_peer"));
        world.run_for(Duration::from_secs(3600));
        let after = (world.counts().of("on_timer"), world.counts().of("on_peer"));
        assert_eq!(after, before, "a core woke");
    });
}

/// A dead unit and a cut link: the tree comes all the same, without what lies behind them.
#[test]
fn a_wave_over_the_dead_brings_the_living() {
    for_seeds(SEEDS / 10, |seed| {
        let mut world = world(seed, Lies::none());
        let network = config(seed).network;
        let units = network.units().len();
        let victim = network.units()[units - 1].port;
        let client = world.connect(NODE, 0);
        say(&mut world, client, "POST", &format!("/kill?unit={victim}"));
        assert!(answered(&mut world, &[(client, 1)]), "it was not killed");
        // It is answered when the first core has ordered it; the others hear of it on lanes of their own.
        world.run_for(Duration::from_millis(10));
        say(&mut world, client, "GET", "/echo");
        assert!(answered(&mut world, &[(client, 2)]), "the wave did not end");
        let tree = bodies(&world, client).pop().expect("it was answered");
        assert!(tree.starts_with("{\"name\"") && !tree.contains(&format!("\"port\":{victim}")), "{tree}");
        assert!(world.run_within(PATIENCE, |world| number(world, "waves_over_total") == 1));
        assert_eq!(number(&world, "waves_broken_total"), 0);
    });
}
