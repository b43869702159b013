//! What a message costs from one core to another and back: the reactor's lanes beside other channels.
//!
//! All ways carry the same bytes, a request of 64 bytes in an envelope of ours, written by rkyv and read in place, and
//! the same closed loop asks. The hard thing is to compare what waits with what polls: a channel that is polled is
//! quick and takes a whole core for it, so ways are named after how they wait, and only those of one kind compare.
//!
//! `hop_bench --cores A,B --seconds S --rounds N` prints a line of JSON for each way, load and round.

mod course;
mod lanes;
mod message;
mod polled;
mod waited;

use course::{Course, Outcome};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Messages in flight, and how many travel in one envelope.
const LOADS: [(usize, usize); 3] = [(1, 1), (1024, 1), (1024, 32)];
/// How long a core looks for more before it sleeps, in the ways that spin.
const SPIN: Duration = Duration::from_millis(1);

/// A way, by its name.
type Way = (&'static str, fn(Course) -> Outcome);

/// In the order in which they take turns.
const WAYS: [Way; 9] = [
    ("lanes of the reactor, sleeping", |course| lanes::run(course, Duration::ZERO)),
    ("lanes of the reactor, spinning 1 ms", |course| lanes::run(course, SPIN)),
    ("glommio shared_channel, sleeping", |course| waited::glommio(course, Duration::ZERO)),
    ("glommio shared_channel, spinning 1 ms", |course| waited::glommio(course, SPIN)),
    ("tokio mpsc, sleeping", waited::tokio),
    ("tokio mpsc, polled", polled::tokio),
    ("crossbeam, polled", polled::crossbeam),
    ("rtrb, polled", polled::rtrb),
    ("flume, polled", polled::flume),
];

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let given = |name: &str| {
        let index = words.iter().position(|word| word == name)?;
        words.get(index + 1).cloned()
    };
    let number = |name: &str, usual: u64| {
        given(name).map_or(usual, |word| word.parse().unwrap_or_else(|_| wrong(&format!("{name} {word}"))))
    };
    let cores: Vec<usize> = match given("--cores") {
        Some(listed) => listed.split(',').filter_map(|core| core.parse().ok()).collect(),
        None => reactor::allowed_cores(),
    };
    let [asker, answerer, ..] = cores[..] else { wrong("two cores are needed: --cores A,B") };
    let seconds = Duration::from_secs(number("--seconds", 1));
    for round in 0..number("--rounds", 3) {
        for (window, batch) in LOADS {
            for (way, run) in WAYS {
                let outcome = run(Course { asker, answerer, window, batch, lasting: seconds });
                println!("{}", outcome.line(way, round, window, batch));
            }
        }
    }
}

fn wrong(what: &str) -> ! {
    eprintln!("hop_bench: {what}. Usage: hop_bench [--cores A,B] [--seconds S] [--rounds N]");
    std::process::exit(2);
}
