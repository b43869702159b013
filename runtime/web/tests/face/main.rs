//! A face as its clients see it, in transcripts that anyone can read: against the simulated world over many seeds,
//! calm and rough, and against a real process, which is this binary run again as `serve`.
#![allow(
    clippy::disallowed_methods,
    reason = "the real arm starts a process and waits in real time; no shard here asks for either"
)]

mod bounds;
mod desk;
mod real;
mod refusals;
#[path = "../../../wire/tests/wire/http/rows.rs"]
mod rows;
mod stand;

use libtest_mimic::{Arguments, Trial};
use machine::NodeId;
use sim::transcript::{Transcript, run_real, run_world};
use sim::{Faults, Setup, World, for_seeds};
use stand::{Config, Stand};
use std::net::SocketAddr;

/// Seeds of each transcript.
const SEEDS: u64 = 20;

macro_rules! transcripts {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("transcripts/", $name, ".txt")))),*]
    };
}

const TRANSCRIPTS: &[(&str, &str)] =
    transcripts!["requests", "pipelines", "bodies", "slow", "streams", "sockets"];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.first().is_some_and(|word| word == "serve") {
        real::serve(stand::limits_of(words.get(1).map(String::as_str)));
    }
    let mut trials = Vec::new();
    for &(name, text) in TRANSCRIPTS {
        trials.push(trial(format!("simulated::{name}"), move || simulated(name, text)));
        trials.push(trial(format!("real::{name}"), move || real(name, text)));
    }
    trials.extend(bounds::trials());
    trials.extend(refusals::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn parsed(name: &str, text: &str) -> Transcript {
    Transcript::parse(name, text).unwrap_or_else(|wrong| panic!("{wrong}"))
}

fn simulated(name: &str, text: &str) {
    let transcript = parsed(name, text);
    for_seeds(SEEDS, |seed| {
        let mut world = world(seed);
        run_world(&transcript, &mut world, NodeId(0)).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        world.drain(NodeId(0));
        world.run_until(|world| world.drained(NodeId(0)));
    });
}

fn real(name: &str, text: &str) {
    let server = real::Server::start();
    run_real(&parsed(name, text), &[server.door], real::DEADLINE)
        .unwrap_or_else(|mismatch| panic!("{mismatch}"));
    assert!(server.stop(), "it ends as it should");
}

/// A stand on one to three cores, its weather as the seed says.
fn world(seed: u64) -> World<Stand> {
    let config = Config { door: door(), limits: stand::limits() };
    let faults = if seed.is_multiple_of(2) { Faults::none() } else { Faults::rough() };
    World::new(seed, Setup::new(config).cores(1 + (seed % 3) as u16).faults(faults))
}

/// Where a simulated stand listens.
fn door() -> SocketAddr {
    ([127, 0, 0, 1], 80).into()
}

/// A trial that fails when it panics, and says why.
fn trial(name: String, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
