//! What came of the bouts: samples by cell, client and server; medians, spreads and ratios out of them.

use super::Bout;
use super::cell::{Cell, Size, What};
use super::client::{By, Sample};
use crate::peers::server::Kind;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Of the table.
pub(super) const COLUMNS: [&str; 10] = [
    "connections × in flight / what / values",
    "by",
    "server",
    "requests per CPU-second",
    "lowest to highest",
    "to the first",
    "requests/s",
    "server's share of its core",
    "p50, p99, p99.9 µs",
    "in doubt",
];

/// Of what was measured in one cell by one client.
type Group = (Cell, By);

/// All samples so far.
#[derive(Debug)]
pub(super) struct Outcomes {
    /// What the others are compared to.
    first: Kind,
    samples: BTreeMap<(Group, Kind), Vec<Sample>>,
    failures: BTreeSet<String>,
}

/// A sample as [`Outcomes::json`] tells it.
fn read(told: &Value) -> Option<(Group, Kind, Sample)> {
    let cell = Cell::chosen(&[told["cell"].as_str()?.to_owned()]).ok()?;
    let (by, kind) = (By::named(told["by"].as_str()?)?, Kind::named(told["server"].as_str()?)?);
    let [cell] = cell[..] else { return None };
    let sample = Sample {
        rate: told["rate"].as_f64()?,
        share: told["share"].as_f64()?,
        latency_us: ["p50_us", "p99_us", "p99_9_us"].map(|name| told[name].as_f64()),
        doubt: told["doubt"].as_str().map(str::to_owned),
    };
    Some(((cell, by), kind, sample))
}

/// For who waits.
pub(super) fn line(bout: &Bout, sample: &Sample) -> String {
    format!(
        "{} by {}, {}: {:.0} requests per CPU-second, {:.0}/s, {} µs{}",
        bout.cell,
        bout.by.name(),
        bout.kind,
        sample.per_processor_second(),
        sample.rate,
        latencies(&sample.latency_us),
        sample.doubt.as_ref().map(|doubt| format!(", {doubt}")).unwrap_or_default()
    )
}

impl Outcomes {
    pub(super) const fn new(first: Kind) -> Self {
        Self { first, samples: BTreeMap::new(), failures: BTreeSet::new() }
    }

    pub(super) fn add(&mut self, bout: &Bout, sample: Sample) {
        self.samples.entry(((bout.cell, bout.by), bout.kind)).or_default().push(sample);
    }

    pub(super) fn failed(&mut self, bout: &Bout, why: String) {
        self.failures.insert(format!("{} by {}, {}: {why}", bout.cell, bout.by.name(), bout.kind));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Takes over what a run before measured, as its result was kept, but for what is measured anew. Gives how many
    /// samples that were.
    pub(super) fn join(&mut self, kept: &Value, is_anew: impl Fn(&Cell, By) -> bool) -> usize {
        let mut count = 0;
        for told in kept["samples"].as_array().into_iter().flatten() {
            let Some((group, kind, sample)) = read(told) else { continue };
            if !is_anew(&group.0, group.1) {
                self.samples.entry((group, kind)).or_default().push(sample);
                count += 1;
            }
        }
        count
    }

    /// What failed, a sentence each.
    pub(super) fn remarks(&self) -> Vec<String> {
        self.failures.iter().map(|failure| format!("Failed: {failure}")).collect()
    }

    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        self.samples.iter().map(|((group, kind), samples)| self.row(*group, *kind, samples)).collect()
    }

    fn row(&self, group: Group, kind: Kind, samples: &[Sample]) -> Vec<String> {
        let costs: Vec<f64> = samples.iter().map(Sample::per_processor_second).collect();
        let lowest = costs.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = costs.iter().copied().fold(0.0, f64::max);
        let latency_us = [0, 1, 2].map(|index| median_known(samples, |sample| sample.latency_us[index]));
        let doubted = samples.iter().filter(|sample| sample.doubt.is_some()).count();
        let ratio = self.ratio(group, kind).map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}"));
        vec![
            group.0.to_string(),
            group.1.name().to_owned(),
            kind.to_string(),
            format!("{:.0}", median(costs)),
            format!("{lowest:.0} to {highest:.0}"),
            ratio,
            format!("{:.0}", median(samples.iter().map(|sample| sample.rate).collect())),
            format!("{:.2}", median(samples.iter().map(|sample| sample.share).collect())),
            latencies(&latency_us),
            if doubted == 0 { String::new() } else { format!("{doubted} of {}", samples.len()) },
        ]
    }

    /// Requests per processor second, over those of the first server in the same group.
    fn ratio(&self, group: Group, kind: Kind) -> Option<f64> {
        let cost = |kind| {
            let samples = self.samples.get(&(group, kind))?;
            Some(median(samples.iter().map(Sample::per_processor_second).collect()))
        };
        Some(cost(kind)? / cost(self.first)?)
    }

    pub(super) fn json(&self) -> Value {
        let all = self.samples.iter().flat_map(|((group, kind), samples)| {
            samples.iter().map(|sample| {
                json!({
                    "cell": group.0.to_string(),
                    "by": group.1.name(),
                    "server": kind.to_string(),
                    "requests_per_processor_second": sample.per_processor_second(),
                    "rate": sample.rate,
                    "share": sample.share,
                    "p50_us": sample.latency_us[0],
                    "p99_us": sample.latency_us[1],
                    "p99_9_us": sample.latency_us[2],
                    "doubt": sample.doubt,
                })
            })
        });
        json!({"first": self.first.to_string(), "samples": all.collect::<Vec<_>>(), "failures": self.failures})
    }

    /// The short table: reads of small values, a line a shape, a column a server, by the client that saw the most of
    /// them. Empty when no such cell was measured.
    pub(super) fn summary(&self) -> String {
        let is_short = |cell: &Cell| cell.what == What::Get && cell.size == Size::Small;
        let groups: BTreeSet<Group> =
            self.samples.keys().map(|(group, _)| *group).filter(|(cell, _)| is_short(cell)).collect();
        let Some(by) = [By::Lg, By::Loadgen, By::Plain, By::RedisBenchmark]
            .into_iter()
            .find(|by| groups.iter().any(|(_, other)| other == by))
        else {
            return String::new();
        };
        let kinds: BTreeSet<Kind> =
            self.samples.keys().filter(|((_, other), _)| *other == by).map(|(_, kind)| *kind).collect();
        let names: Vec<String> = kinds.iter().map(Kind::to_string).collect();
        let mut text = format!(
            "Requests for a processor second of the server, GET, values of 3 bytes, by {}; in brackets to {}:\n\n\
             | connections × in flight | {} |\n|---|{}\n",
            by.name(),
            self.first,
            names.join(" | "),
            "---|".repeat(names.len())
        );
        for group in groups.into_iter().filter(|(_, other)| *other == by) {
            let cells = kinds.iter().map(|kind| self.short(group, *kind)).collect::<Vec<_>>();
            let (connections, pipeline) = (group.0.connections, group.0.pipeline);
            text += &format!("| {connections} × {pipeline} | {} |\n", cells.join(" | "));
        }
        text
    }

    fn short(&self, group: Group, kind: Kind) -> String {
        let Some(samples) = self.samples.get(&(group, kind)) else { return "–".to_owned() };
        let cost = median(samples.iter().map(Sample::per_processor_second).collect());
        match self.ratio(group, kind) {
            Some(ratio) => format!("{cost:.0} ({ratio:.2})"),
            None => format!("{cost:.0}"),
        }
    }
}

fn latencies(latency_us: &[Option<f64>; 3]) -> String {
    let shown = latency_us.map(|took| took.map_or_else(|| "–".to_owned(), |took| format!("{took:.0}")));
    shown.join(", ")
}

/// Of some, the one in the middle; between the two in the middle when they are even.
pub(in crate::peers) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    let (below, above) = ((all.len() - 1) / 2, all.len() / 2);
    f64::midpoint(all[below], all[above])
}

fn median_known(samples: &[Sample], of: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
    let known: Vec<f64> = samples.iter().filter_map(of).collect();
    (!known.is_empty()).then(|| median(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes() -> Outcomes {
        let cell = Cell::chosen(&["50x16/get/small".to_owned()]).expect("there is one")[0];
        let mut outcomes = Outcomes::new(Kind::Redis);
        for (kind, rates) in [(Kind::Redis, [100.0, 300.0, 200.0]), (Kind::Dht, [500.0, 250.0, 300.0])] {
            for rate in rates {
                let sample = Sample { rate, share: 0.5, latency_us: [Some(9.0), None, None], doubt: None };
                outcomes.add(&Bout { by: By::Lg, kind, cell }, sample);
            }
        }
        outcomes
    }

    #[test]
    fn medians_spread_and_ratio_are_of_the_same_client_and_cell() {
        let rows = outcomes().rows();
        assert_eq!(rows[0][2..7], ["dht", "600", "500 to 1000", "1.50", "300"]);
        assert_eq!(rows[1][2..7], ["redis-server", "400", "200 to 600", "1.00", "200"]);
        assert_eq!(rows[0][8], "9, –, –");
        assert!(rows.iter().all(|row| row.len() == COLUMNS.len()));
    }

    #[test]
    fn the_summary_has_a_column_a_server() {
        let text = outcomes().summary();
        assert!(text.contains("| connections × in flight | dht | redis-server |\n|---|---|---|\n"), "{text}");
        assert!(text.contains("| 50 × 16 | 600 (1.50) | 400 (1.00) |"), "{text}");
        assert_eq!(Outcomes::new(Kind::Redis).summary(), "");
    }

    #[test]
    fn pieces_of_a_run_come_together_and_the_newer_counts() {
        let kept = outcomes().json();
        let mut joined = Outcomes::new(Kind::Redis);
        assert_eq!(joined.join(&kept, |_, by| by == By::Lg), 0, "it is measured anew");
        assert_eq!(joined.join(&kept, |_, by| by == By::Loadgen), 6);
        assert_eq!(joined.rows(), outcomes().rows());
        assert_eq!(joined.join(&json!({"samples": [{"cell": "50x17"}]}), |_, _| false), 0);
    }

    #[test]
    fn the_median_of_two_lies_between_them() {
        assert!((median(vec![4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert!((median(vec![7.0]) - 7.0).abs() < 1e-9);
    }
}
