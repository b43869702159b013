//! The interface as a file that anyone can read, against the simulated world; `systems/serve` runs the same file
//! against a real process.

use machine::{Chance, NodeId};
use sim::transcript::{Transcript, run_world};
use sim::{Faults, Setup, World, for_seeds};
use std::sync::Arc;
use waves::families::Family;
use waves::network::{Network, plain_units};
use waves::topology::Settings;
use waves::wave::field::Bounds;
use waves::{Config, Waves};

#[test]
fn balancer() {
    let transcript = Transcript::parse("balancer.txt", include_str!("../transcripts/balancer.txt"));
    let transcript = transcript.unwrap_or_else(|wrong| panic!("{wrong}"));
    for_seeds(20, |seed| {
        let network =
            Network::new(plain_units(3, 4), &Family::Line.links(3, Chance::new(1))).expect("a network");
        let config = Config {
            network: Arc::new(network),
            settings: Settings::default(),
            balancer: None,
            bounds: Bounds::default(),
            http: vec![([127, 0, 0, 1], 7999).into()],
            units: vec![([127, 0, 0, 1], 8000).into()],
            origins: Vec::new(),
            is_apart: false,
            label: String::new(),
        };
        let faults = if seed % 2 == 0 { Faults::none() } else { Faults::rough() };
        // One core: doors are counted in the order in which cores open them.
        let mut world: World<Waves> = World::new(seed, Setup::new(config).faults(faults));
        run_world(&transcript, &mut world, NodeId(0)).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    });
}
