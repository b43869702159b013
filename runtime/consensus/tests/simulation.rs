//! A replicated roll under everything that can happen to it, judged by its clients; and the lies that the judge must
//! catch. `RINGWISE_SEEDS=10000` runs more of them.

#[path = "roll/crowd.rs"]
mod crowd;
#[path = "roll/mod.rs"]
mod roll;

use consensus::{Change, Config};
use core::time::Duration;
use crowd::Crowd;
use machine::{CoreId, NodeId};
use roll::{Lie, Roll, Settings};
use sim::{Counts, Faults, Lies, Setup, World, for_seeds};
use std::panic::{AssertUnwindSafe, catch_unwind};

const CORE: CoreId = CoreId(0);

fn settings(nodes: u16, lie: Lie) -> Settings {
    Settings {
        voters: (0..nodes).map(NodeId).collect(),
        learners: Vec::new(),
        reluctant: Some(NodeId(nodes - 1)),
        // Small, so that snapshots travel, in several parts.
        group: Config { tail: 15, part_max: 256, ..Config::default() },
        keep_over: 40,
        lie,
    }
}

fn faults() -> Faults {
    Faults {
        blow_every: Duration::from_millis(1500),
        heal_max: Duration::from_secs(3),
        full: 3,
        pauses: true,
        flaps: true,
        ..Faults::disastrous()
    }
}

/// Three nodes or five, by the seed.
fn world_of(seed: u64, faults: Faults, lies: Lies, lie: Lie) -> World<Roll> {
    let nodes = if seed.is_multiple_of(2) { 3 } else { 5 };
    World::new(seed, Setup::new(settings(nodes, lie)).nodes(nodes).faults(faults).lies(lies))
}

/// What the nodes went through besides what the world counts.
#[derive(Default)]
struct Seen {
    restored: u64,
    saved: u64,
    led: u64,
    answered: u64,
}

fn run(seed: u64, faults: Faults, lies: Lies, lie: Lie, seen: &mut Seen) -> (u64, Counts) {
    let mut world = world_of(seed, faults, lies, lie);
    let mut crowd = Crowd::new(&mut world, 5);
    crowd.live(&mut world, Duration::from_secs(12));
    world.calm();
    crowd.live(&mut world, Duration::from_secs(8));
    seen.answered += crowd.answered;
    crowd.judge(&mut world);
    for node in (0..world.nodes()).map(NodeId) {
        let shard = world.shard(node, CORE);
        seen.restored += shard.restored;
        seen.saved += shard.saved;
        seen.led += shard.led;
    }
    (world.trace_hash(), world.counts().clone())
}

#[test]
fn what_was_acknowledged_stays_and_reads_are_never_stale() {
    let mut counts = Counts::new();
    let mut seen = Seen::default();
    let mut seeds = 0;
    for_seeds(60, |seed| {
        let (hash, found) = run(seed, faults(), Lies::none(), Lie::None, &mut seen);
        counts.add(&found);
        seeds += 1;
        if seed.is_multiple_of(20) {
            let again = run(seed, faults(), Lies::none(), Lie::None, &mut Seen::default());
            assert_eq!(again.0, hash, "one seed, two runs");
        }
    });
    eprintln!(
        "{seeds} seeds: {} answers, {} leaders, {} snapshots made, {} taken over",
        seen.answered, seen.led, seen.saved, seen.restored
    );
    if seeds >= 30 {
        counts.assert_all(&["link cut", "link cut one way", "power cut", "kill", "restart", "pause"]);
        counts.assert_all(&["log lost its tail", "on_stored full", "on_stored saved", "fault: slow disk"]);
        assert!(seen.restored > 0 && seen.saved > 0 && seen.led > seeds, "all of it was exercised");
    }
}

/// How many seeds it takes until a lie is caught.
fn caught(name: &str, within: u64, lies: Lies, lie: Lie) {
    let first = (0..within).find(|seed| {
        catch_unwind(AssertUnwindSafe(|| run(*seed, faults(), lies, lie, &mut Seen::default()))).is_err()
    });
    let first = first.unwrap_or_else(|| panic!("{name}: not caught in {within} seeds"));
    eprintln!("{name}: caught by seed {first}");
}

#[test]
fn lies_are_caught() {
    caught("an answer before the commit", 20, Lies::none(), Lie::AnswersEarly);
    caught("a read at once", 20, Lies::none(), Lie::ReadsAtOnce);
    caught("a disk that lies", 40, Lies { unsynced: 300, ..Lies::none() }, Lie::None);
    caught("entries acknowledged before they are on disk", 60, Lies::none(), Lie::AcknowledgesUnlogged);
    caught("an old term's message taken", 60, Lies::none(), Lie::TakesOldTerms);
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over_within_a_heartbeat_or_two() {
    for_seeds(30, |seed| {
        let mut world = World::<Roll>::new(seed, Setup::new(settings(3, Lie::None)).nodes(3));
        let leader = |world: &World<Roll>| (0..3).map(NodeId).find(|node| world.shard(*node, CORE).leads);
        world.run_until(|world| leader(world).is_some());
        world.run_for(Duration::from_secs(1));
        let first = leader(&world).expect("it still leads");
        world.drain(first);
        let handed = world
            .run_within(Duration::from_millis(100), |world| leader(world).is_some_and(|now| now != first));
        assert!(handed, "an election would have taken 300 ms at least");
    });
}

#[test]
fn the_reluctant_node_leads_only_until_another_can() {
    for_seeds(30, |seed| {
        let mut world = World::<Roll>::new(seed, Setup::new(settings(3, Lie::None)).nodes(3));
        world.run_for(Duration::from_secs(5));
        assert!(!world.shard(NodeId(2), CORE).leads);
        // Only the reluctant node and one that has nothing are left: it must lead, and hands on.
        for node in [0, 1] {
            world.kill(NodeId(node));
        }
        world.restart(NodeId(0));
        world.run_until(|world| world.shard(NodeId(0), CORE).leads);
    });
}

#[test]
fn an_idle_group_wakes_for_heartbeats_alone() {
    let mut world = World::<Roll>::new(5, Setup::new(settings(3, Lie::None)).nodes(3));
    world.run_for(Duration::from_secs(3));
    let before = world.counts().of("on_timer");
    world.run_for(Duration::from_secs(10));
    let woken = world.counts().of("on_timer") - before;
    // A leader's heartbeats, 20 a second, and its own check of the majority.
    assert!((190..=260).contains(&woken), "woken {woken} times in ten seconds");
}

#[test]
fn members_come_and_go_one_at_a_time() {
    for_seeds(20, |seed| {
        let settings = Settings { voters: [0, 1, 2].map(NodeId).to_vec(), ..settings(4, Lie::None) };
        let mut world = World::<Roll>::new(seed, Setup::new(settings).nodes(4));
        let mut crowd = Crowd::new(&mut world, 3);
        crowd.live(&mut world, Duration::from_secs(2));
        for change in [Change::Learner(NodeId(3)), Change::Voter(NodeId(3)), Change::Leaves(NodeId(0))] {
            let is_so = move |world: &World<Roll>| {
                let members = &world.shard(NodeId(1), CORE).members;
                match change {
                    Change::Voter(node) => members.voters.contains(&node),
                    Change::Learner(node) => members.learners.contains(&node),
                    Change::Leaves(node) => {
                        !members.voters.contains(&node) && !members.learners.contains(&node)
                    }
                }
            };
            let mut tries = 0;
            while !is_so(&world) {
                for node in (0..4).map(NodeId) {
                    let client = world.connect(node, 0);
                    let verb = match change {
                        Change::Learner(_) => "LEARN",
                        Change::Voter(_) => "VOTE",
                        Change::Leaves(_) => "LEAVE",
                    };
                    world.say(client, format!("{verb} {}\n", change.node().0).as_bytes());
                }
                crowd.live(&mut world, Duration::from_millis(500));
                tries += 1;
                assert!(tries < 20, "{change:?} does not happen");
            }
        }
        let members = world.shard(NodeId(1), CORE).members.clone();
        assert_eq!(members.voters, [1, 2, 3].map(NodeId));
        crowd.judge(&mut world);
    });
}
