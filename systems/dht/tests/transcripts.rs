//! The protocols as files that anyone can read, against the simulated world; `systems/serve` runs the same files
//! against a real process.

use dht::{Config, Dht};
use machine::NodeId;
use sim::transcript::{Transcript, run_world};
use sim::{Faults, Setup, World, for_seeds};

fn check(name: &str, text: &str) {
    let transcript = Transcript::parse(name, text).unwrap_or_else(|wrong| panic!("{wrong}"));
    for_seeds(20, |seed| {
        let config = Config {
            resp: Some(([127, 0, 0, 1], 6379).into()),
            frame: Some(([127, 0, 0, 1], 5050).into()),
            watch: Some(([127, 0, 0, 1], 9121).into()),
            ..Config::default()
        };
        let faults = if seed % 2 == 0 { Faults::none() } else { Faults::rough() };
        let setup = Setup::new(config).cores(1 + (seed % 4) as u16).faults(faults);
        let mut world: World<Dht> = World::new(seed, setup);
        run_world(&transcript, &mut world, NodeId(0)).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    });
}

#[test]
fn strings() {
    check("strings.txt", include_str!("../transcripts/strings.txt"));
}

#[test]
fn keys() {
    check("keys.txt", include_str!("../transcripts/keys.txt"));
}

#[test]
fn parts() {
    check("parts.txt", include_str!("../transcripts/parts.txt"));
}

#[test]
fn expiry() {
    check("expiry.txt", include_str!("../transcripts/expiry.txt"));
}

#[test]
fn connection() {
    check("connection.txt", include_str!("../transcripts/connection.txt"));
}

#[test]
fn cluster() {
    check("cluster.txt", include_str!("../transcripts/cluster.txt"));
}

#[test]
fn server() {
    check("server.txt", include_str!("../transcripts/server.txt"));
}

#[test]
fn frames() {
    check("frames.txt", include_str!("../transcripts/frames.txt"));
}

#[test]
fn watch() {
    check("watch.txt", include_str!("../transcripts/watch.txt"));
}
