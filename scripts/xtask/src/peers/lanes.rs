//! What a message costs from core to core: the reactor's lanes beside other channels, as `scripts/hop_bench` measures
//! it, a program of its own so that those channels are no part of Ringwise.

use super::bench::Bench;
use super::record::{self, Found};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Messages in flight, and how many in one batch.
type Load = (u64, u64);

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Seconds of each way and load
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// The program, in place of the one built for release
    #[arg(long, value_name = "FILE")]
    hop_bench: Option<PathBuf>,
}

/// One way with one load in one round.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    way: String,
    load: Load,
    messages_per_second: f64,
    p50_ns: f64,
    p99_ns: f64,
}

/// Runs it and shows each line as it comes.
pub(super) fn measure(root: &Path, options: &Options) -> Result<Found, String> {
    let busy = record::busy();
    let bench = Bench {
        name: "hop_bench",
        given: options.hop_bench.as_ref(),
        rounds: options.rounds,
        lasting: ("--seconds", options.seconds),
    };
    let (lines, [first, last]) =
        bench.run(root, Line::read, |line| format!("{}: {}", line.way, shown(line)))?;
    Ok(found(&lines, options, busy.as_deref(), &format!("Cores {first} and {last}")))
}

impl Line {
    fn read(text: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(text).ok()?;
        Some(Self {
            way: line["way"].as_str()?.to_owned(),
            load: (line["in_flight"].as_u64()?, line["batch"].as_u64()?),
            messages_per_second: line["messages_per_second"].as_f64()?,
            p50_ns: line["p50_ns"].as_f64()?,
            p99_ns: line["p99_ns"].as_f64()?,
        })
    }
}

fn shown(line: &Line) -> String {
    let (in_flight, batch) = line.load;
    let microseconds = |nanoseconds: f64| nanoseconds / 1e3;
    format!(
        "{in_flight} in flight in batches of {batch}: {:.0}/s, p50 {:.2} µs, p99 {:.2} µs",
        line.messages_per_second,
        microseconds(line.p50_ns),
        microseconds(line.p99_ns)
    )
}

/// A line a way: the round trip of one in flight, then messages a second of the larger loads.
fn found(lines: &[Line], options: &Options, busy: Option<&str>, how: &str) -> Found {
    let mut ways: Vec<&str> = Vec::new();
    for line in lines {
        if !ways.contains(&line.way.as_str()) {
            ways.push(&line.way);
        }
    }
    let median = |way: &str, load: Load, of: fn(&Line) -> f64| {
        let some = lines.iter().filter(|line| line.way == way && line.load == load);
        let mut some: Vec<f64> = some.map(of).collect();
        some.sort_by(f64::total_cmp);
        some.get(some.len() / 2).copied()
    };
    let told = |found: Option<f64>, show: fn(f64) -> String| found.map_or_else(|| "–".to_owned(), show);
    let microseconds = |nanoseconds: f64| format!("{:.2}", nanoseconds / 1e3);
    let millions = |rate: f64| format!("{:.2}M", rate / 1e6);
    let row = |way: &&str| {
        vec![
            (*way).to_owned(),
            told(median(way, (1, 1), |line| line.p50_ns), microseconds),
            told(median(way, (1, 1), |line| line.p99_ns), microseconds),
            told(median(way, (1024, 1), |line| line.messages_per_second), millions),
            told(median(way, (1024, 32), |line| line.messages_per_second), millions),
        ]
    };
    let json_line = |line: &Line| {
        json!({"way": line.way, "in_flight": line.load.0, "batch": line.load.1,
            "messages_per_second": line.messages_per_second, "p50_ns": line.p50_ns, "p99_ns": line.p99_ns})
    };
    Found {
        name: "hops",
        title: "From core to core".to_owned(),
        how: format!(
            "A request of 64 bytes and its reply, written by rkyv into the same envelopes and read in place, in a \
             closed loop between two pinned threads; {} s each, medians of {} alternating rounds. What is polled \
             takes a whole core and compares only with what is polled. The lanes gather what a turn says, so with \
             many in flight they also batch where the others send one by one. {how}.",
            options.seconds, options.rounds
        ),
        columns: vec![
            "way",
            "round trip p50 µs, one in flight",
            "p99 µs",
            "messages/s, 1,024 in flight",
            "the same in batches of 32",
        ],
        rows: ways.iter().map(row).collect(),
        remarks: busy.map(str::to_owned).into_iter().collect(),
        json: json!({"lines": lines.iter().map(json_line).collect::<Vec<_>>()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_has_the_median_of_each_load() {
        let line = |way: &str, load: (u64, u64), rate: f64| {
            let text = json!({"way": way, "round": 0, "in_flight": load.0, "batch": load.1,
                "messages_per_second": rate, "p50_ns": rate / 1000.0, "p99_ns": 9000});
            Line::read(&text.to_string()).expect("it is whole")
        };
        let mut lines: Vec<Line> = [3e6, 1e6, 2e6].map(|rate| line("b", (1024, 1), rate)).to_vec();
        lines.push(line("a", (1, 1), 5e5));
        let options = Options { seconds: 1, rounds: 3, hop_bench: None };
        let rows = found(&lines, &options, None, "").rows;
        assert_eq!(rows, [["b", "–", "–", "2.00M", "–"], ["a", "0.50", "9.00", "–", "–"]]);
        assert_eq!(Line::read("{}"), None);
    }
}
