//! The classic experiment: ten thousand requests at once over two to six replicas, by every ring, and who got how many.
//!
//! All connections are made first; then a request is written to each, and only then is anything read. So all requests
//! are there before the first client has taken its answer, whatever the balancer does meanwhile.

use super::Outcome;
use super::chart::{self, Bars, Lines};
use super::load::{answer, connected, number, send};
use super::process::Balancer;
use crate::peers::record::{Found, descriptors};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// Descriptors that this program needs besides its connections.
const SPARE_DESCRIPTORS: u64 = 100;

/// A connection is tried so often: ten thousand at once may overrun who accepts them.
const CONNECT_TRIES: u32 = 10;
const CONNECT_AGAIN: Duration = Duration::from_millis(50);

/// Failures shown in words.
const FAILURES_SHOWN: usize = 3;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Requests at once
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=15_000))]
    requests: u32,
    /// Numbers of replicas
    #[arg(long, value_delimiter = ',', default_values_t = [2, 3, 4, 5, 6], value_parser = clap::value_parser!(u16).range(1..=40))]
    replicas: Vec<u16>,
    /// The number of replicas of which bars are drawn
    #[arg(long, default_value_t = 3)]
    drawn: u16,
}

/// A ring, with its name on charts and its options.
struct Ring {
    name: &'static str,
    options: &'static [&'static str],
}

const RINGS: &[Ring] = &[
    Ring {
        name: "slots512, pair 0",
        options: &["--ring", "slots512", "--slots512-pair", "0", "--load-factor", "0"],
    },
    Ring {
        name: "slots512, pair 1",
        options: &["--ring", "slots512", "--slots512-pair", "1", "--load-factor", "0"],
    },
    Ring {
        name: "slots512, pair 2",
        options: &["--ring", "slots512", "--slots512-pair", "2", "--load-factor", "0"],
    },
    Ring { name: "rendezvous", options: &["--ring", "rendezvous", "--load-factor", "0"] },
    Ring { name: "maglev", options: &["--ring", "maglev", "--load-factor", "0"] },
    Ring {
        name: "pair 0, bounded",
        options: &["--ring", "slots512", "--slots512-pair", "0", "--load-factor", "1.25"],
    },
    Ring { name: "rendezvous, bounded", options: &["--ring", "rendezvous", "--load-factor", "1.25"] },
];

/// What one ring did over so many replicas.
struct Round {
    ring: &'static str,
    replicas: u16,
    /// Answers of each, in the order in which they joined.
    answered: Vec<u64>,
    /// What the ring gives each when nothing is bounded.
    ideal: Vec<f64>,
    failures: Vec<String>,
    seconds: f64,
}

impl Round {
    fn mean(&self) -> f64 {
        self.answered.iter().sum::<u64>() as f64 / self.answered.len().max(1) as f64
    }

    /// The standard deviation of all of them, not of a sample.
    fn deviation(&self) -> f64 {
        let mean = self.mean();
        let squares = self.answered.iter().map(|count| (*count as f64 - mean).powi(2));
        (squares.sum::<f64>() / self.answered.len().max(1) as f64).sqrt()
    }

    fn shares(&self) -> Vec<f64> {
        let all = self.answered.iter().sum::<u64>().max(1) as f64;
        self.answered.iter().map(|count| *count as f64 / all).collect()
    }
}

/// Runs it.
pub(super) fn measure(program: &Path, asked: &Options) -> Result<Outcome, String> {
    let needed = u64::from(asked.requests) + SPARE_DESCRIPTORS;
    if descriptors() < needed {
        return Err(format!(
            "too few open files are allowed for {} connections: ulimit -n {needed}",
            asked.requests
        ));
    }
    let mut rounds = Vec::new();
    for ring in RINGS {
        for &replicas in &asked.replicas {
            let round = once(program, ring, replicas, asked.requests)?;
            println!(
                "{}, {replicas} replicas: {:?}, {} failed, {:.2} s",
                ring.name,
                round.answered,
                round.failures.len(),
                round.seconds
            );
            rounds.push(round);
        }
    }
    let files = vec![
        ("shares.svg".to_owned(), shares_chart(&rounds, asked)),
        ("deviation.svg".to_owned(), deviation_chart(&rounds, asked)),
    ];
    let failed: usize = rounds.iter().map(|round| round.failures.len()).sum();
    if failed > 0 {
        let words: Vec<&str> = rounds
            .iter()
            .flat_map(|round| &round.failures)
            .take(FAILURES_SHOWN)
            .map(String::as_str)
            .collect();
        return Err(format!("{failed} requests failed, such as: {}", words.join("; ")));
    }
    Ok(Outcome { found: found(&rounds, asked), files })
}

fn once(program: &Path, ring: &Ring, replicas: u16, requests: u32) -> Result<Round, String> {
    let options: Vec<String> = ring.options.iter().map(|word| (*word).to_owned()).collect();
    let balancer = Balancer::start(program, usize::from(replicas), &options)?;
    let mut conns = Vec::with_capacity(requests as usize);
    for _ in 0..requests {
        conns.push(patiently(balancer.http).map_err(|error| format!("{}: {error}", balancer.http))?);
    }
    let begun = Instant::now();
    let mut failures = Vec::new();
    for conn in &mut conns {
        if let Err(error) = send(conn) {
            failures.push(error.to_string());
        }
    }
    let mut answered: BTreeMap<u64, u64> = (1..=u64::from(replicas)).map(|number| (number, 0)).collect();
    for conn in &mut conns {
        match answer(conn).map_err(|error| error.to_string()).and_then(|said| number(&said).ok_or(said)) {
            Ok(number) => *answered.entry(number).or_default() += 1,
            Err(why) => failures.push(why),
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let told = balancer.told("/distribution")?;
    let ideal = told["replicas"].as_array().into_iter().flatten().filter_map(|each| each["ideal"].as_f64());
    Ok(Round {
        ring: ring.name,
        replicas,
        answered: answered.into_values().collect(),
        ideal: ideal.collect(),
        failures,
        seconds,
    })
}

fn patiently(at: SocketAddr) -> io::Result<TcpStream> {
    let mut tries = 0;
    loop {
        match connected(at) {
            Err(_) if tries < CONNECT_TRIES => {
                tries += 1;
                std::thread::sleep(CONNECT_AGAIN);
            }
            outcome => return outcome,
        }
    }
}

fn shares_chart(rounds: &[Round], asked: &Options) -> String {
    let drawn: Vec<&Round> = rounds.iter().filter(|round| round.replicas == asked.drawn).collect();
    chart::bars(&Bars {
        title: format!("{} requests at once over {} replicas", asked.requests, asked.drawn),
        unit: "share of all requests".to_owned(),
        groups: drawn.iter().map(|round| (round.ring.to_owned(), round.shares())).collect(),
        even: 1.0 / f64::from(asked.drawn.max(1)),
    })
}

fn deviation_chart(rounds: &[Round], asked: &Options) -> String {
    let mean = asked.replicas.iter().map(|count| {
        let mean = f64::from(asked.requests) / f64::from((*count).max(1));
        (f64::from(*count), mean)
    });
    let mut lines = vec![("mean of all rings".to_owned(), mean.collect())];
    for ring in RINGS {
        let points = rounds.iter().filter(|round| round.ring == ring.name);
        let points = points.map(|round| (f64::from(round.replicas), round.deviation()));
        lines.push((format!("deviation, {}", ring.name), points.collect()));
    }
    chart::lines(&Lines {
        title: format!(
            "{} requests at once: mean and standard deviation of a replica's requests",
            asked.requests
        ),
        across: "replicas".to_owned(),
        unit: "requests a replica".to_owned(),
        lines,
    })
}

fn found(rounds: &[Round], asked: &Options) -> Found {
    let row = |round: &Round| {
        let shares: Vec<String> = round.shares().iter().map(|share| format!("{share:.3}")).collect();
        let ideal: Vec<String> = round.ideal.iter().map(|share| format!("{share:.3}")).collect();
        vec![
            round.ring.to_owned(),
            round.replicas.to_string(),
            shares.join(" "),
            ideal.join(" "),
            format!("{:.0}", round.mean()),
            format!("{:.0}", round.deviation()),
            round.failures.len().to_string(),
        ]
    };
    let told = |round: &Round| {
        json!({
            "ring": round.ring,
            "replicas": round.replicas,
            "answered": round.answered,
            "ideal": round.ideal,
            "mean": round.mean(),
            "deviation": round.deviation(),
            "failed": round.failures.len(),
            "seconds": round.seconds,
        })
    };
    Found {
        name: "balancer-spread",
        title: format!("{} requests at once, by every ring", asked.requests),
        how: format!(
            "A fresh balancer for each line, with replicas of its own as shipped; {} connections are made, a GET is \
             written to each, then all answers are read: who answered is what the answer says. Keys are random \
             numbers, as by default. `Bounded` is --load-factor 1.25, the default; the others have no bound \
             (--load-factor 0), so that a ring shows what it gives by itself. ![Shares](shares.svg) \
             ![Mean and deviation](deviation.svg)",
            asked.requests
        ),
        columns: vec!["ring", "replicas", "shares", "the ring's own shares", "mean", "deviation", "failed"],
        rows: rounds.iter().map(row).collect(),
        remarks: Vec::new(),
        json: Value::Array(rounds.iter().map(told).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_all_replicas() {
        let round = Round {
            ring: "x",
            replicas: 2,
            answered: vec![2, 4],
            ideal: Vec::new(),
            failures: Vec::new(),
            seconds: 1.0,
        };
        assert_eq!((round.mean(), round.deviation()), (3.0, 1.0));
        assert_eq!(round.shares(), [2.0 / 6.0, 4.0 / 6.0]);
    }
}
