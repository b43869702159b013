//! The table of promises: each a transcript, run against the probe in the simulated world (calm and rough, many
//! seeds) and on the reactor.

use crate::probe::{Doors, Probe};
use crate::real::{DEADLINE, Scratch, Server};
use crate::trial;
use libtest_mimic::Trial;
use machine::NodeId;
use sim::transcript::{Transcript, run_real, run_world};
use sim::{ChildScript, Counts, Faults, Lies, Setup, World, for_seeds};
use std::path::PathBuf;

/// Seeds of each promise in each weather.
const SEEDS: u64 = 10;
/// The probe runs on so many cores, in both worlds.
const CORES: usize = 2;

macro_rules! promises {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("promises/", $name, ".txt")))),*]
    };
}

const PROMISES: &[(&str, &str)] = promises![
    "opens_and_bytes",
    "half_then_gone",
    "finish_first",
    "close_flushed",
    "close_now",
    "reset",
    "pause",
    "end_while_paused",
    "room",
    "overfull",
    "dial",
    "dial_refused",
    "need",
    "need_small",
    "need_large",
    "timers",
    "tells",
    "gather",
    "spent",
    "log",
    "child",
    "child_killed",
    "child_input_ends",
    "child_unstarted",
];

/// What the simulated arm must have been through, over all promises.
const EXERCISED: &[&str] = &[
    "on_bytes",
    "on_bytes held",
    "on_child exited",
    "on_child killed",
    "on_child started",
    "on_child unstarted",
    "on_end closed",
    "on_end half",
    "on_end overfull",
    "on_end refused",
    "on_end reset",
    "on_gathered",
    "on_listen",
    "on_open accepted",
    "on_open dialled",
    "on_open pipe",
    "on_peer",
    "on_room",
    "on_stored logged",
    "on_timer",
    "fault: cut packet",
    "fault: held input",
    "fault: short read",
    "fault: slack after a pause",
    "fault: slow event",
    "fault: slow lane",
    "fault: slow turn",
    "fault: stall",
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![trial("simulated::promises".to_owned(), simulated)];
    for (name, text) in PROMISES {
        trials.push(trial(format!("real::promise::{name}"), move || real(name, text)));
    }
    trials
}

fn simulated() {
    let mut counts = Counts::new();
    for (name, _) in PROMISES {
        for_seeds(SEEDS, |seed| {
            for faults in [Faults::none(), Faults::rough()] {
                counts.add(&promise(name, seed, faults, Lies::none()));
            }
        });
    }
    counts.assert_all(EXERCISED);
}

/// Runs one promise in the simulated world.
pub(crate) fn promise(name: &str, seed: u64, faults: Faults, lies: Lies) -> Counts {
    let (_, text) = PROMISES.iter().find(|(known, _)| *known == name).expect("a promise of the table");
    let transcript = Transcript::parse(name, text).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    let mut world = World::<Probe>::new(seed, setup(faults).lies(lies));
    world.children(|command, _| match &*command.program {
        "cat" => ChildScript::Echoes,
        "sleep" => ChildScript::Hangs,
        _ => ChildScript::Unstarted("no such file or directory".into()),
    });
    run_world(&transcript, &mut world, NodeId(0)).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    world.counts().clone()
}

fn setup(faults: Faults) -> Setup<Doors> {
    let at = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    Setup::new(Doors { control: at(1), data: at(2), nobody: at(3) }).cores(CORES as u16).faults(faults)
}

fn real(name: &str, text: &str) {
    let transcript = Transcript::parse(name, text).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    let scratch = Scratch::new(name);
    let mut server = Server::start("probe", &[&scratch.0.display().to_string()]);
    run_real(&transcript, &server.doors, DEADLINE).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    assert!(server.stop(), "the server ended by itself");
}

pub(crate) fn serve(data: Option<PathBuf>) -> ! {
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        listener.local_addr().expect("it is bound")
    };
    let doors = |at: &[_]| Doors { control: at[0], data: at[1], nobody };
    crate::real::serve::<Probe>("probe", CORES, 2, data, doors)
}
