//! What each way to drive a core's ring is worth beside the one that the reactor takes, as `scripts/driver_bench`
//! measures it, a program of its own so that ways not taken are no part of Ringwise.

use super::bench::Bench;
use super::record::{self, Found};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The way that the others are compared with.
const KEPT: &str = "the reactor's";

/// Connections, and requests in flight on each.
type Load = (u64, u64);

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Milliseconds of each way and load
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    milliseconds: u64,
    /// Rounds; the median of their ratios counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// The program, in place of the one built for release
    #[arg(long, value_name = "FILE")]
    driver_bench: Option<PathBuf>,
}

/// One way with one load in one round.
#[derive(Clone, Debug, PartialEq)]
struct Line {
    way: String,
    load: Load,
    round: u64,
    per_processor_second: f64,
    p99_ns: f64,
}

/// Runs it and shows each line as it comes.
pub(super) fn measure(root: &Path, options: &Options) -> Result<Found, String> {
    let busy = record::busy();
    let bench = Bench {
        name: "driver_bench",
        given: options.driver_bench.as_ref(),
        rounds: options.rounds,
        lasting: ("--milliseconds", options.milliseconds),
    };
    let (lines, [first, last]) = bench.run(root, Line::read, shown)?;
    Ok(found(&lines, options, busy.as_deref(), &format!("Server on core {first}, load on core {last}")))
}

fn shown(line: &Line) -> String {
    let ((connections, pipeline), rate, p99) = (line.load, line.per_processor_second, line.p99_ns / 1e3);
    format!("{connections} × {pipeline}, {}: {rate:.0} a CPU-second, p99 {p99:.0} µs", line.way)
}

impl Line {
    fn read(text: &str) -> Option<Self> {
        let line: Value = serde_json::from_str(text).ok()?;
        Some(Self {
            way: line["way"].as_str()?.to_owned(),
            load: (line["connections"].as_u64()?, line["pipeline"].as_u64()?),
            round: line["round"].as_u64()?,
            per_processor_second: line["requests_per_processor_second"].as_f64()?,
            p99_ns: line["p99_ns"].as_f64()?,
        })
    }
}

/// What a way is worth under a load beside the one that is kept, in each round, lowest first.
fn ratios(lines: &[Line], way: &str, load: Load) -> Vec<f64> {
    let of = |way: &str, round: u64| {
        let mut some =
            lines.iter().filter(|line| (line.way.as_str(), line.load, line.round) == (way, load, round));
        some.next().map(|line| line.per_processor_second)
    };
    let rounds = lines.iter().map(|line| line.round).max().map_or(0, |last| last + 1);
    let mut ratios: Vec<f64> =
        (0..rounds).filter_map(|round| Some(of(way, round)? / of(KEPT, round)?)).collect();
    ratios.sort_by(f64::total_cmp);
    ratios
}

/// A line a way, a column a load.
fn found(lines: &[Line], options: &Options, busy: Option<&str>, how: &str) -> Found {
    let (mut ways, mut loads) = (Vec::<&str>::new(), Vec::<Load>::new());
    for line in lines {
        if !ways.contains(&line.way.as_str()) {
            ways.push(&line.way);
        }
        if !loads.contains(&line.load) {
            loads.push(line.load);
        }
    }
    let cell = |way: &str, load: Load| {
        let ratios = ratios(lines, way, load);
        match ratios[..] {
            [] => "–".to_owned(),
            [one] => format!("{one:.2}"),
            [lowest, .., highest] => {
                format!("{:.2} ({lowest:.2} to {highest:.2})", ratios[ratios.len() / 2])
            }
        }
    };
    let row = |way: &&str| {
        let cells = loads.iter().map(|load| cell(way, *load));
        [(*way).to_owned()].into_iter().chain(cells).collect()
    };
    let json_line = |line: &Line| {
        json!({"way": line.way, "connections": line.load.0, "pipeline": line.load.1, "round": line.round,
            "requests_per_processor_second": line.per_processor_second, "p99_ns": line.p99_ns})
    };
    Found {
        name: "driver",
        title: "Ways to drive a ring".to_owned(),
        how: format!(
            "A server that counts requests and answers each with the same 39 bytes, and a closed loop that asks it. \
             Requests for a second of the server's thread, as a ratio to the reactor's way in the same round: median \
             (lowest to highest) of {} rounds of {} ms. Each way is told by where it differs from the reactor's: \
             multishot receives into 1,024 provided buffers of 16 KiB, one system call that sends for each connection \
             after all completions at hand, SINGLE_ISSUER with DEFER_TASKRUN. {how}.",
            options.rounds, options.milliseconds
        ),
        columns: vec!["way", "50", "50 × 16", "1,000", "9,000"],
        rows: ways.iter().map(row).collect(),
        remarks: busy.map(str::to_owned).into_iter().collect(),
        json: json!({"lines": lines.iter().map(json_line).collect::<Vec<_>>()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_compared_within_its_round() {
        let line = |way: &str, round: u64, rate: f64| {
            let text = json!({"way": way, "round": round, "connections": 50, "pipeline": 1,
                "requests_per_processor_second": rate, "p99_ns": 9000});
            Line::read(&text.to_string()).expect("it is whole")
        };
        // The machine gave half in the second round, and neither is better in the third.
        let rates = [(0, 100.0, 110.0), (1, 50.0, 60.0), (2, 100.0, 100.0)];
        let lines: Vec<Line> = rates
            .iter()
            .flat_map(|(round, kept, other)| [line(KEPT, *round, *kept), line("other", *round, *other)])
            .collect();
        let options = Options { milliseconds: 1, rounds: 3, driver_bench: None };
        let rows = found(&lines, &options, None, "").rows;
        assert_eq!(rows, [[KEPT, "1.00 (1.00 to 1.00)"], ["other", "1.10 (1.00 to 1.20)"]]);
        assert_eq!(Line::read("{}"), None);
    }
}
