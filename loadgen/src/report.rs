//! What a run found, merged over cores, and the files that keep it: `run.json`, one `.hgrm` a distribution, one
//! `.hlog`, `timeline.csv`, `reproduce.sh` and `report.html`. The shapes are other programs' to rely on: what is in
//! `run.json` keeps its name and meaning, or the schema has a new number; what is new stands beside it.

use crate::cli::quoted;
use crate::client::Outcomes;
use crate::counters::Beside;
use crate::environment::Environment;
use crate::events::Event;
use crate::files::{hgrm, hlog};
use crate::history::{Kept, Writes, merged};
use crate::html;
use crate::plan::Run;
use crate::tally::{Kind, Tally};
use crate::verdict::{Facts, Verdict};
use crate::words;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

/// The version of `run.json`.
const SCHEMA: u32 = 1;

/// All that a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was run.
    pub run: Run,
    /// The hash of its operations.
    pub operations_hash: String,
    /// All cores' counts.
    pub tally: Tally,
    /// What the verdict rests on.
    pub facts: Facts,
    /// The verdict.
    pub verdict: Verdict,
    /// What the server counted, where it could be asked.
    pub server: Option<Beside>,
    /// Where it ran.
    pub environment: Environment,
    /// When it began, in seconds since 1970; none when it never did.
    pub started: Option<f64>,
    /// Every read and write, where they were kept.
    pub history: Vec<Kept>,
    /// What became of its writes, where every key was read at the end.
    pub writes: Option<Writes>,
    /// What was done to the server meanwhile, as far as we were told.
    pub heard: Vec<Event>,
}

impl Report {
    /// The report of these cores' outcomes. `busy` is the busiest worker's share, where it is known.
    #[must_use]
    pub fn new(
        run: Run,
        operations_hash: String,
        mut cores: Vec<Outcomes>,
        busy: Option<f64>,
        server: Option<Beside>,
        environment: Environment,
    ) -> Self {
        let mut tally = Tally::default();
        cores.iter().for_each(|core| tally.merge(&core.tally));
        let load = &run.load;
        let p50 = |histogram: &Histogram<u64>| histogram.value_at_quantile(0.5);
        let facts = Facts {
            rate: load.rate,
            offered: cores.iter().map(|core| core.offered).sum(),
            unsent: tally.errors.of(Kind::Unsent),
            answered: tally.answered,
            connections: (
                cores.iter().map(|core| core.places).sum(),
                cores.iter().map(|core| core.connected).sum(),
            ),
            loaded: (if load.preload { load.keys } else { 0 }, tally.loaded),
            measured: cores.iter().filter_map(|core| core.measured).max(),
            stalled: cores.iter().map(|core| core.stalled).max().unwrap_or_default(),
            busy,
            p50_us: (p50(&tally.service), p50(&tally.response), p50(&tally.reading)),
            receipt_known: tally.reading.max() > 0,
            late_p99_us: tally.late.value_at_quantile(0.99),
            cut_short: cores.iter().any(|core| core.cut_short),
        };
        let verdict = Verdict::of(&facts);
        let started = cores.iter().filter_map(|core| core.started).min();
        let started = started.map(|started| started.micros() as f64 / 1e6);
        let history = merged(cores.iter_mut().filter_map(|core| core.history.take()));
        let writes = (load.looks_back && !facts.cut_short).then(|| Writes::of(&history, load.keys));
        let heard = Vec::new();
        Self {
            run,
            operations_hash,
            tally,
            facts,
            verdict,
            server,
            environment,
            started,
            history,
            writes,
            heard,
        }
    }

    /// Measured seconds.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.facts.measured.unwrap_or(Duration::ZERO).as_secs_f64()
    }

    /// Measured requests answered rightly, a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let seconds = self.seconds();
        if seconds > 0.0 { self.tally.answered as f64 / seconds } else { 0.0 }
    }

    /// The four distributions of the report, with their names.
    #[must_use]
    pub fn distributions(&self) -> [(&'static str, &Histogram<u64>); 4] {
        let tally = &self.tally;
        [
            ("service", &tally.service),
            ("response", &tally.response),
            ("slip", &tally.slip),
            ("reading", &tally.reading),
        ]
    }

    /// Writes all files into `folder`, which is made where it is not there.
    ///
    /// # Errors
    /// What the file system says.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("run.json"), self.json())?;
        for (name, histogram) in self.distributions() {
            fs::write(folder.join(format!("{name}.hgrm")), hgrm(histogram))?;
        }
        fs::write(folder.join("connect.hgrm"), hgrm(&self.tally.connect))?;
        fs::write(folder.join("hiccup.hgrm"), hgrm(&self.tally.hiccup))?;
        fs::write(folder.join("response.hlog"), hlog(&self.whole_seconds())?)?;
        fs::write(folder.join("timeline.csv"), self.timeline())?;
        fs::write(folder.join("reproduce.sh"), self.reproduce())?;
        html::write(folder).map_err(io::Error::other)
    }

    /// `run.json`.
    #[must_use]
    pub fn json(&self) -> String {
        let latencies = self.distributions().map(|(name, histogram)| (name, Percentiles::of(histogram)));
        let document = Document {
            schema: SCHEMA,
            target: &self.run.target,
            command: &self.run.command,
            seed: self.run.load.seed,
            operations_hash: &self.operations_hash,
            verdict: self.verdict.word(),
            why: self.verdict.why(),
            requests: self.tally.answered,
            errors: self.tally.errors.named().collect(),
            seconds: self.seconds(),
            rate: self.rate(),
            latency_us: latencies.into_iter().collect(),
            connect_us: Percentiles::of(&self.tally.connect),
            hiccup_us: Percentiles::of(&self.tally.hiccup),
            stalled_seconds: self.facts.stalled.as_secs_f64(),
            busy: self.facts.busy,
            redirects: self.tally.redirect.len(),
            checked: self.run.load.check,
            stamps: self.run.stamps,
            started: self.started,
            writes: self.writes,
            server: self.server,
            environment: &self.environment,
        };
        serde_json::to_string_pretty(&document).expect("names and numbers are always JSON") + "\n"
    }

    /// The seconds of the timeline that lie wholly in the measured time.
    #[must_use]
    pub fn whole_seconds(&self) -> Vec<(u64, Histogram<u64>)> {
        let from = self.run.load.warm_up.as_millis().div_ceil(1000) as u64;
        let until = (self.run.load.warm_up.as_secs_f64() + self.seconds() + 0.001) as u64;
        let rows = self.tally.timeline().into_iter();
        let whole = rows.filter(|(second, ..)| (from..until).contains(second));
        whole.map(|(second, _, response)| (second, response)).collect()
    }

    /// `timeline.csv`: one line a second since the start, warm-up and all, by when replies were read.
    #[must_use]
    pub fn timeline(&self) -> String {
        let mut text = "second,phase,requests,errors,p50_us,p99_us,p99_9_us,max_us\n".to_owned();
        for (second, errors, response) in self.tally.timeline() {
            let measured = Duration::from_secs(second) >= self.run.load.warm_up;
            let over = second as f64 >= (self.run.load.warm_up.as_secs_f64() + self.seconds()).ceil();
            let phase = match (measured, over) {
                (false, _) => "warm-up",
                (true, false) => "measured",
                (true, true) => "after",
            };
            let at = |quantile| response.value_at_quantile(quantile);
            let (p50, p99, p99_9) = (at(0.5), at(0.99), at(0.999));
            let _ = writeln!(
                text,
                "{second},{phase},{},{errors},{p50},{p99},{p99_9},{}",
                response.len(),
                response.max()
            );
        }
        text
    }

    /// `reproduce.sh`: the same command with the same seed, and without the files that this run wrote.
    #[must_use]
    pub fn reproduce(&self) -> String {
        let words = quoted(&again(&self.run.words, self.run.load.seed));
        format!(
            "#!/bin/sh\n# The same stream of operations: {} on {} cores. Add --out or --history for files \
             of its own.\nexec loadgen run {words} \"$@\"\n",
            self.operations_hash, self.environment.cpus
        )
    }
}

/// The words of a run that is this one again: its seed is told, and nothing that was written is written over.
fn again(words: &[String], seed: u64) -> Vec<String> {
    let mut again = words.to_vec();
    for names in [&["--out", "-o"][..], &["--history"]] {
        // They were read once, so no value is missing.
        let _ = words::take(&mut again, names);
    }
    again.retain(|word| !word.starts_with("-o"));
    if !again.iter().any(|word| word == "--seed" || word.starts_with("--seed=")) {
        again.extend(["--seed".to_owned(), seed.to_string()]);
    }
    again
}

#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    target: &'a str,
    command: &'a str,
    seed: u64,
    operations_hash: &'a str,
    verdict: &'static str,
    why: String,
    requests: u64,
    errors: BTreeMap<&'static str, u64>,
    seconds: f64,
    rate: f64,
    latency_us: BTreeMap<&'static str, Percentiles>,
    connect_us: Percentiles,
    hiccup_us: Percentiles,
    stalled_seconds: f64,
    busy: Option<f64>,
    redirects: u64,
    checked: bool,
    stamps: bool,
    started: Option<f64>,
    writes: Option<Writes>,
    server: Option<Beside>,
    environment: &'a Environment,
}

/// A distribution in five numbers, µs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
    /// The longest.
    pub max: u64,
}

impl Percentiles {
    /// Those of a histogram; all 0 when it is empty.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self { p50: at(0.5), p90: at(0.9), p99: at(0.99), p99_9: at(0.999), max: histogram.max() }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::plan::Load;
    use crate::tally::Times;

    pub(crate) fn report() -> Report {
        let run = Run {
            load: Load { seed: 42, warm_up: Duration::from_secs(1), ..Load::default() },
            target: "resp://127.0.0.1:6379".to_owned(),
            command: "loadgen run resp://127.0.0.1:6379".to_owned(),
            spin: Duration::ZERO,
            events: None,
            history: None,
            stamps: true,
            agents: vec![],
            key_file: None,
            words: vec!["resp://127.0.0.1:6379".to_owned()],
            metric: None,
            cores: vec![],
            out: None,
            strict: false,
            git_commit: "abc".to_owned(),
        };
        let mut tally = Tally::default();
        tally.loaded = run.load.keys;
        for second in 0..3 {
            tally.turn_to(second);
            for micros in [100, 200, 300] {
                let times = Times { service: micros, response: micros + 5, slip: 5, late: 5, reading: 0 };
                tally.reply(times, second > 0);
            }
        }
        tally.fail(Kind::Missing, 2, true);
        tally.close();
        let outcomes = Outcomes {
            tally,
            places: 50,
            connected: 50,
            measured: Some(Duration::from_secs(2)),
            offered: None,
            stalled: Duration::ZERO,
            cut_short: false,
            started: None,
            history: None,
        };
        let environment = Environment::before(&run.git_commit);
        Report::new(run, "00ff".to_owned(), vec![outcomes], Some(0.5), None, environment)
    }

    #[test]
    fn run_json_has_the_shape_that_was_promised() {
        let document: serde_json::Value = serde_json::from_str(&report().json()).unwrap();
        let keys: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
        let mut promised = [
            "schema",
            "target",
            "command",
            "seed",
            "operations_hash",
            "verdict",
            "why",
            "requests",
            "errors",
            "seconds",
            "rate",
            "latency_us",
            "environment",
        ];
        promised.sort_unstable();
        assert!(promised.iter().all(|name| keys.iter().any(|key| key == name)), "{keys:?}");
        assert_eq!(document["schema"], 1);
        assert_eq!(document["verdict"], "VALID", "{}", document["why"]);
        assert_eq!(document["requests"], 6);
        assert_eq!(document["rate"], 3.0);
        assert_eq!(document["errors"], serde_json::json!({"missing": 2}));
        assert_eq!(
            document["latency_us"]["service"],
            serde_json::json!({"p50": 200, "p90": 300, "p99": 300, "p99_9": 300, "max": 300})
        );
        for name in ["service", "response", "slip", "reading"] {
            assert!(document["latency_us"][name]["p99_9"].is_u64());
        }
        for name in
            ["cpu", "kernel", "mitigations", "limits", "governor", "git_commit", "load_before", "steal_after"]
        {
            assert!(!document["environment"][name].is_null() || name == "steal_after", "{name}");
        }
    }

    #[test]
    fn the_timeline_has_a_line_a_second() {
        assert_eq!(
            report().timeline(),
            "second,phase,requests,errors,p50_us,p99_us,p99_9_us,max_us\n\
             0,warm-up,3,0,205,305,305,305\n1,measured,3,0,205,305,305,305\n2,measured,3,2,205,305,305,305\n"
        );
    }

    #[test]
    fn reproduce_names_the_seed_once() {
        let mut report = report();
        assert!(report.reproduce().contains("exec loadgen run resp://127.0.0.1:6379 --seed 42 \"$@\""));
        report.run.words.push("--seed=42".to_owned());
        assert_eq!(report.reproduce().matches("--seed").count(), 1);
    }

    #[test]
    fn reproduce_writes_over_nothing() {
        let mut report = report();
        for typed in ["--out d", "--out=d", "-o d", "-o=d", "-od", "--history h", "--history=h"] {
            let line = format!("resp://127.0.0.1:6379 {typed} -c 5");
            report.run.words = line.split_whitespace().map(str::to_owned).collect();
            let text = report.reproduce();
            let exec = "exec loadgen run resp://127.0.0.1:6379 -c 5 --seed 42 \"$@\"\n";
            assert!(text.ends_with(exec), "{typed}: {text}");
        }
    }
}
