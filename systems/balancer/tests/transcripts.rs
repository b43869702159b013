//! The interface as a file that anyone can read, against the simulated world; `systems/serve` runs the same file
//! against a real process.

use balancer::Balancer;
use balancer::config::{Config, Driver};
use machine::{Address, NodeId};
use sim::transcript::{Transcript, run_world};
use sim::{Client, Faults, Say, Setup, World, for_seeds};

fn at(port: u16) -> Address {
    Address::Ip(([127, 0, 0, 1], port).into())
}

/// A replica that says what the shipped one says.
fn replica(id: u16) -> impl FnMut(Client, &mut Vec<u8>, &mut Say) + 'static {
    move |_, heard, say| {
        while let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&heard[..end]).into_owned();
            heard.drain(..end + 4);
            let (status, body) = match head.split(' ').nth(1) {
                Some("/heartbeat") => ("200 OK", String::new()),
                Some("/home") => {
                    let hello =
                        format!("{{\"message\":\"Hello from Server: {id}\",\"status\":\"successful\"}}\n");
                    ("200 OK", hello)
                }
                _ => ("404 Not Found", balancer::control::failure("Page not found")),
            };
            let length = body.len();
            let text = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            say.bytes(text.as_bytes());
        }
    }
}

#[test]
fn control() {
    let transcript = Transcript::parse("control.txt", include_str!("../transcripts/control.txt"));
    let transcript = transcript.unwrap_or_else(|wrong| panic!("{wrong}"));
    for_seeds(20, |seed| {
        let places: Vec<Address> = (1..=2).map(|host| Address::Ip(([10, 1, 0, host], 80).into())).collect();
        let mut config = Config::new(at(5000), at(5001), Driver::Static(places.clone()));
        config.replicas = 1;
        let faults = if seed % 2 == 0 { Faults::none() } else { Faults::rough() };
        // One core: doors are counted in the order in which cores open them.
        let mut world: World<Balancer> = World::new(seed, Setup::new(config).faults(faults));
        for (id, place) in (1..).zip(places) {
            world.serve_at(place, replica(id));
        }
        run_world(&transcript, &mut world, NodeId(0)).unwrap_or_else(|mismatch| panic!("{mismatch}"));
    });
}
