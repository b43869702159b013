//! What the seam promises, proved in both worlds: every promise as a transcript against a probe (promises/), and
//! three small systems that lean on the hard ones: `forward` on backpressure both ways, `pipe` on a child that
//! never stops, `echo_log` on a disk that fills.
//!
//! Each runs simulated, over many seeds, and as a real process on the reactor: this binary run again as `serve
//! NAME`. It has its own main because a keeper forks before there is a thread.
#![allow(
    clippy::disallowed_methods,
    reason = "the real arm starts processes and waits in real time; no shard here asks for either"
)]

mod canaries;
mod conform;
mod echo_log;
mod forward;
mod pipe;
mod probe;
mod real;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == "serve") {
        serve(&words[2], words.get(3));
    }
    let mut trials: Vec<Trial> = Vec::new();
    trials.extend(conform::trials());
    trials.extend(forward::trials());
    trials.extend(pipe::trials());
    trials.extend(echo_log::trials());
    trials.extend(canaries::trials());
    // Real processes share two cores: one test at a time keeps each one's waits its own.
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    libtest_mimic::run(&arguments, trials).exit();
}

fn serve(name: &str, word: Option<&String>) -> ! {
    match (name, word) {
        ("probe", data) => conform::serve(data.map(Into::into)),
        ("forward", Some(to)) => forward::serve(to),
        ("pipe", None) => pipe::serve(),
        ("echolog", Some(data)) => echo_log::serve(data.into()),
        other => panic!("no such server: {other:?}"),
    }
}

/// A trial that fails when it panics, and says why.
fn trial(name: String, test: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}
