//! What each way to drive a core's ring is worth: how bytes are received, how answers are sent, how the ring is set
//! up, how large buffers and batches are.
//!
//! A server that only counts requests and answers each with the same 39 bytes runs on one core, a closed loop asks it
//! from another. Nothing but the way differs, so what a request costs the server's thread is the price of the way. The
//! hard thing is that such prices lie a few per cent apart on a machine that swings by more: ways take turns within a
//! round, and only ratios within a round are worth anything.
//!
//! `driver_bench --cores A,B --milliseconds MS --rounds N [--only WORDS]` prints a line of JSON for each way, load and round.

mod client;
mod pool;
mod ring;
mod server;
mod way;

use client::Load;
use std::time::Duration;
use way::{WAYS, Way};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Connections, and requests that each has in flight.
const LOADS: [Load; 4] = [
    Load { connections: 50, pipeline: 1 },
    Load { connections: 50, pipeline: 16 },
    Load { connections: 1000, pipeline: 1 },
    // What 20,000 descriptors allow to one process that has both ends.
    Load { connections: 9000, pipeline: 1 },
];

/// What the order of ways is drawn from.
const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let given = |name: &str| {
        let index = words.iter().position(|word| word == name)?;
        words.get(index + 1).cloned()
    };
    let number = |name: &str, usual: u64| {
        given(name).map_or(usual, |word| word.parse().unwrap_or_else(|_| wrong(&format!("{name} {word}"))))
    };
    let listed = given("--cores").unwrap_or_else(|| "0,1".to_owned());
    let cores: Vec<usize> = listed.split(',').filter_map(|core| core.parse().ok()).collect();
    let [server_core, client_core] = cores[..] else { wrong("two cores are needed: --cores A,B") };
    let seconds = Duration::from_millis(number("--milliseconds", 1500));
    let only = given("--only").unwrap_or_default();
    let mut ways: Vec<Way> = WAYS.into_iter().filter(|way| way.name.contains(&only)).collect();
    let mut draw = SEED;
    for round in 0..number("--rounds", 3) {
        for load in LOADS {
            shuffle(&mut ways, &mut draw);
            for way in &ways {
                let server = server::start(*way, server_core);
                let outcome = client::run(server, load, client_core, seconds);
                println!("{}", outcome.line(way.name, round, load));
            }
        }
    }
}

/// What came before is felt, so it is another way each time; the same in every run.
fn shuffle(ways: &mut [Way], draw: &mut u64) {
    for index in (1..ways.len()).rev() {
        // xorshift64 (Marsaglia 2003).
        *draw ^= *draw << 13;
        *draw ^= *draw >> 7;
        *draw ^= *draw << 17;
        ways.swap(index, (*draw % (index as u64 + 1)) as usize);
    }
}

fn wrong(what: &str) -> ! {
    eprintln!(
        "driver_bench: {what}. Usage: driver_bench [--cores A,B] [--milliseconds MS] [--rounds N] [--only WORDS]"
    );
    std::process::exit(2);
}
