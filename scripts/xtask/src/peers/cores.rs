//! The same offered rate on one core and on all of them: what a request costs the server, how many cross cores, and
//! how long they take.
//!
//! The load runs on the last core, which the server has too in one of the two ways, so nothing here says how the server
//! scales: it says what sharing nothing costs when there is no need to share.

use super::contest::cell::{Cell, Size, What};
use super::contest::client::{By, Clients, is_there};
use super::record::{self, Found};
use super::server::{Kind, Server, allowed_cores};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// Requests a second that are offered
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Connections
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Seconds that count of each round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Rounds of each way; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=99))]
    rounds: u64,
    /// The load generator to run, in place of the one built for release
    #[arg(long, value_name = "FILE")]
    loadgen: Option<PathBuf>,
}

/// One round of one way.
#[derive(Clone, Debug)]
struct Round {
    cores: usize,
    rate: f64,
    /// Microseconds of the server's processors.
    cost_us: f64,
    hops_a_request: f64,
    /// From when it was due, in microseconds: p50, p99, p99.9.
    latency_us: [f64; 3],
    doubt: Option<String>,
}

/// Measures both ways by turns.
pub(super) fn measure(root: &Path, dht: &Path, options: &Options) -> Result<Found, String> {
    let cores: Vec<String> = allowed_cores().iter().map(usize::to_string).collect();
    let [first, .., last] = &cores[..] else {
        return Err("One core may be used here, and this compares it with more.".to_owned());
    };
    let busy = record::busy();
    let loadgen = options.loadgen.clone().unwrap_or_else(|| root.join("target/release/loadgen"));
    is_there(&loadgen)?;
    let clients = Clients {
        loadgen,
        bare: None,
        core: last.clone(),
        duration: Duration::from_secs(options.seconds),
        scratch: root.join("report/peers/cores-loadgen"),
        // It would take a core that the server has too.
        spins: false,
        rate: Some(options.rate),
    };
    let connections = usize::from(options.connections);
    let cell = Cell { what: What::Get, size: Size::Small, connections, pipeline: 1 };
    let mut rounds = Vec::new();
    for _ in 0..options.rounds {
        for (count, listed) in [(1, first.clone()), (cores.len(), cores.join(","))] {
            let server = Server::start(Kind::Dht, dht, &listed, None)?;
            let round = one(&server, &clients, &cell, count)?;
            println!("{}", round.line());
            rounds.push(round);
        }
    }
    Ok(found(options, &rounds, busy.as_deref()))
}

fn one(server: &Server, clients: &Clients, cell: &Cell, cores: usize) -> Result<Round, String> {
    let counted = || {
        let stats = server.client()?.info("stats")?;
        Ok::<_, String>((stats.number("core_hops")?, stats.number("total_commands_processed")?))
    };
    let before = counted()?;
    let sample = clients.run(By::Loadgen, server, cell)?;
    let after = counted()?;
    let requests = after.1.saturating_sub(before.1).max(1);
    Ok(Round {
        cores,
        rate: sample.rate,
        cost_us: 1e6 / sample.per_processor_second(),
        hops_a_request: after.0.saturating_sub(before.0) as f64 / requests as f64,
        latency_us: sample.latency_us.map(|found| found.unwrap_or(f64::NAN)),
        doubt: sample.doubt,
    })
}

impl Round {
    fn line(&self) -> String {
        let [p50, p99, _] = self.latency_us;
        format!(
            "{} core(s): {:.0}/s, {:.2} µs a request, {:.0} % cross cores, p50 {p50:.0} µs, p99 {p99:.0} µs",
            self.cores,
            self.rate,
            self.cost_us,
            self.hops_a_request * 100.0
        )
    }

    fn json(&self) -> Value {
        json!({"cores": self.cores, "rate": self.rate, "processor_us_a_request": self.cost_us,
            "hops_a_request": self.hops_a_request, "latency_us": self.latency_us, "doubt": self.doubt})
    }
}

fn median(rounds: &[Round], cores: usize, of: impl Fn(&Round) -> f64) -> f64 {
    let mut some: Vec<f64> = rounds.iter().filter(|round| round.cores == cores).map(of).collect();
    some.sort_by(f64::total_cmp);
    some.get(some.len() / 2).copied().unwrap_or(f64::NAN)
}

fn found(options: &Options, rounds: &[Round], busy: Option<&str>) -> Found {
    let mut ways: Vec<usize> = rounds.iter().map(|round| round.cores).collect();
    ways.sort_unstable();
    ways.dedup();
    let row = |cores: &usize| {
        let at = |of: fn(&Round) -> f64| median(rounds, *cores, of);
        vec![
            cores.to_string(),
            format!("{:.0}", at(|round| round.rate)),
            format!("{:.2}", at(|round| round.cost_us)),
            format!("{:.1} %", at(|round| round.hops_a_request) * 100.0),
            format!("{:.0}", at(|round| round.latency_us[0])),
            format!("{:.0}", at(|round| round.latency_us[1])),
            format!("{:.0}", at(|round| round.latency_us[2])),
        ]
    };
    let mut remarks: Vec<String> = busy.map(str::to_owned).into_iter().collect();
    if let [one, .., all] = ways[..] {
        let cost = |cores| median(rounds, cores, |round| round.cost_us);
        let ratio = cost(all) / cost(one);
        remarks.push(format!(
            "A request costs {ratio:.2} times as much processor time on {all} cores as on {one}."
        ));
    }
    let doubts = rounds.iter().filter(|round| round.doubt.is_some()).count();
    if doubts > 0 {
        remarks.push(format!(
            "The load generator doubts {doubts} of {} rounds; why stands in the JSON.",
            rounds.len()
        ));
    }
    Found {
        name: "dht-cores",
        title: "The same rate on one core and on more".to_owned(),
        how: format!(
            "dht, GET of 100,000 keys uniformly, values of 3 bytes, {} connections, {} requests a second offered at \
             random moments (Poisson); {} s a round, medians of {} alternating rounds. The load runs on the last core, \
             which the server has too where it has all, so this says nothing of how it scales. Times are from when a \
             request was due.",
            options.connections, options.rate, options.seconds, options.rounds
        ),
        columns: vec![
            "cores",
            "requests/s",
            "server's processor µs a request",
            "cross cores",
            "p50 µs",
            "p99 µs",
            "p99.9 µs",
        ],
        rows: ways.iter().map(row).collect(),
        remarks,
        json: json!({"rounds": rounds.iter().map(Round::json).collect::<Vec<_>>()}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_round_of_each_way_is_told() {
        let round = |cores: usize, cost_us: f64| Round {
            cores,
            rate: 100.0,
            cost_us,
            hops_a_request: (cores as f64 - 1.0) / 2.0,
            latency_us: [1.0, 2.0, 3.0],
            doubt: None,
        };
        let rounds: Vec<Round> = [(1, 5.0), (2, 9.0), (1, 4.0), (2, 10.0), (1, 50.0), (2, 8.0)]
            .map(|(cores, cost)| round(cores, cost))
            .to_vec();
        let options = Options { rate: 100, connections: 1, seconds: 1, rounds: 3, loadgen: None };
        let found = found(&options, &rounds, None);
        assert_eq!(found.rows[0], ["1", "100", "5.00", "0.0 %", "1", "2", "3"]);
        assert_eq!(found.rows[1][..4], ["2", "100", "9.00", "50.0 %"].map(str::to_owned));
        assert_eq!(found.remarks, ["A request costs 1.80 times as much processor time on 2 cores as on 1."]);
    }
}
