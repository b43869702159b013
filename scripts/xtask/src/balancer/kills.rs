//! Replicas that are killed, or hang, under a steady load: what failed, and how long until another answered.

use super::Outcome;
use super::load::{Load, Tally, part_of};
use super::process::Balancer;
use crate::peers::record::{Found, busy};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// A replacement that takes longer is none.
const REPLACED_MAX: Duration = Duration::from_secs(60);

/// Between a replacement's health and the next end, at least; and so much more at most, so that ends fall anywhere
/// between two heartbeats.
const BETWEEN: Duration = Duration::from_millis(150);
const BETWEEN_MORE: Duration = Duration::from_millis(250);

#[derive(Args, Debug)]
pub(super) struct Options {
    /// How often
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// What befalls a replica
    #[arg(long, value_enum, default_value = "kill")]
    how: How,
    /// Requests a second
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Connections of clients
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// Replicas
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..))]
    replicas: u16,
    /// Further options of the balancer
    #[arg(last = true)]
    options: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum How {
    /// SIGKILL
    Kill,
    /// SIGSTOP: it takes connections and answers none
    Hang,
}

impl How {
    const fn signal(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Hang => "STOP",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Kill => "balancer-kills",
            Self::Hang => "balancer-hangs",
        }
    }
}

/// Runs it.
pub(super) fn measure(program: &Path, asked: &Options) -> Result<Outcome, String> {
    let mut remarks: Vec<String> = busy().into_iter().collect();
    let replicas = usize::from(asked.replicas);
    let mut balancer = Balancer::start(program, replicas, &asked.options)?;
    let load = Load::start(balancer.http, asked.rate, asked.connections);
    let begun = Instant::now();
    std::thread::sleep(Duration::from_millis(500));
    let mut gaps = Vec::new();
    for round in 0..asked.times {
        let gap = once(&mut balancer, &load, asked, round)?;
        println!(
            "{} {}: another answered after {:.1} ms",
            round + 1,
            asked.how.signal(),
            gap.as_secs_f64() * 1e3
        );
        gaps.push(gap.as_secs_f64() * 1e3);
    }
    let tally = load.stop();
    let seconds = begun.elapsed().as_secs_f64();
    let retried = balancer.counted("balancer_retries_total")?;
    gaps.sort_by(f64::total_cmp);
    remarks.extend(tally.failures.iter().map(|why| format!("Failed: {why}.")));
    Ok(Outcome { found: found(asked, &gaps, &tally, seconds, retried, remarks), files: Vec::new() })
}

/// One end, and the time until a client heard who came instead.
fn once(balancer: &mut Balancer, load: &Load, asked: &Options, round: u32) -> Result<Duration, String> {
    let processes = balancer.replicas();
    let newest = processes.keys().next_back().copied().ok_or("there is no replica's process")?;
    // In turn, so that each seat is hit; no chance is needed where rounds begin at any time.
    let victim = processes.values().nth(round as usize % processes.len()).copied().unwrap_or_default();
    let at = balancer.signal(asked.how.signal(), victim)?;
    let gap = loop {
        match load.heard_from(newest + 1) {
            Some(heard) => break heard.saturating_duration_since(at),
            None if at.elapsed() > REPLACED_MAX => {
                return Err(format!("nobody came for process {victim} within {REPLACED_MAX:?}"));
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    balancer.settle(usize::from(asked.replicas))?;
    std::thread::sleep(BETWEEN + BETWEEN_MORE * (round * 7 % 10) / 10);
    Ok(gap)
}

fn found(
    asked: &Options,
    gaps: &[f64],
    tally: &Tally,
    seconds: f64,
    retried: u64,
    remarks: Vec<String>,
) -> Found {
    let what = match asked.how {
        How::Kill => "killed by SIGKILL",
        How::Hang => "stopped by SIGSTOP",
    };
    let latency = |part: f64| f64::from(part_of(&tally.latencies, part)) / 1e3;
    let options = match asked.options.is_empty() {
        true => "no other option".to_owned(),
        false => asked.options.join(" "),
    };
    Found {
        name: asked.how.name(),
        title: format!("A replica {what} under {} GETs a second", asked.rate),
        how: format!(
            "A balancer of {} replicas on all cores ({options}) and {} clients, each with a connection that is kept, \
             send a request when it is due whether or not others are answered. A replica is {what} {} times. The \
             time counts from the signal to the first answer that a client gets from a replica that was not there \
             before. A request has failed when its status is not 200, or its connection ends, or after 30 s.",
            asked.replicas, asked.connections, asked.times
        ),
        columns: vec![
            "times",
            "requests",
            "failed",
            "retried",
            "until another answered: p50, p99, at most, ms",
            "a request: p50, p99, p99.9, at most, ms",
            "requests/s",
        ],
        rows: vec![vec![
            asked.times.to_string(),
            tally.latencies.len().to_string(),
            tally.failed.to_string(),
            retried.to_string(),
            format!("{:.1}, {:.1}, {:.1}", part_of(gaps, 0.5), part_of(gaps, 0.99), part_of(gaps, 1.0)),
            format!("{:.2}, {:.1}, {:.1}, {:.1}", latency(0.5), latency(0.99), latency(0.999), latency(1.0)),
            format!("{:.0}", tally.latencies.len() as f64 / seconds),
        ]],
        remarks,
        json: json!({
            "times": asked.times,
            "how": asked.how.signal(),
            "rate": asked.rate,
            "requests": tally.latencies.len(),
            "failed": tally.failed,
            "retried": retried,
            "until_another_answered_ms": gaps,
            "latency_ms": { "p50": latency(0.5), "p99": latency(0.99), "p999": latency(0.999), "max": latency(1.0) },
            "failures": Value::from(tally.failures.clone()),
        }),
    }
}
