//! The highest rate at which a server keeps an objective. Rates are doubled until one fails, the two are brought
//! together by halving what lies between, and the best is tried again and again: one trial that went well proves
//! nothing, since near the edge trials go one way or the other by chance. So the answer is an interval, from the
//! highest rate at which all trials kept the objective to the lowest at which most did not.
//!
//! The hard thing is whose edge it is. A rate that the generator could not offer, or at which it read late, ends the
//! climb too, but then the server's edge was not seen, and the answer says that it is a lower bound.

use crate::cli::SeriesArgs;
use crate::plan::Run;
use crate::report::Report;
use crate::run::{keep, measure};
use crate::series::{Row, table};
use crate::units::{self, shown_count, shown_micros};
use crate::words;
use reactor::{Fatal, was_told_to_end};
use std::path::PathBuf;

/// Exit status when the generator's own edge came first, or nothing was found.
pub const STATUS_UNFOUND: u8 = 9;
/// The most trials of a search.
const TRIALS_MAX: usize = 64;
/// Where the climb begins when nothing is said, requests a second.
const START: f64 = 1_000.0;
/// Two rates nearer than this, as a ratio, are one.
const PRECISION: f64 = 1.03;
/// Trials that confirm a rate.
const CONFIRM: usize = 5;

/// An objective: a percentile of response times, and how long it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Which.
    pub quantile: f64,
    /// At most, µs.
    pub most_us: u64,
}

/// An objective: `p99=1ms`, `p99.9=10ms`, `p50=200us`.
///
/// # Errors
/// A sentence, when it is none.
pub fn objective(text: &str) -> Result<Objective, String> {
    let wrong = || format!("{text:?} is no objective: write p99=1ms");
    let (name, most) = text.split_once('=').ok_or_else(wrong)?;
    let percent: f64 = name.strip_prefix('p').ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
    let most_us = units::span(most)?.as_micros() as u64;
    match percent > 0.0 && percent < 100.0 && most_us > 0 {
        true => Ok(Objective { quantile: (percent * 1e6).round() / 1e8, most_us }),
        false => Err(wrong()),
    }
}

/// How a trial ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// The objective was kept.
    Kept,
    /// It was not, and that was the server's doing.
    Missed,
    /// The generator, or the machine, gave out first.
    Unsure,
}

/// Looks for the highest rate; `next` says what to try, `tried` what came of it.
#[derive(Clone, Debug)]
pub struct Search {
    rate: f64,
    kept: Option<f64>,
    failed: Option<f64>,
    unsure: bool,
    confirming: Vec<Trial>,
    trials: usize,
}

/// What a search found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found {
    /// Between the first, at which every trial kept the objective, and the second, at which it was missed.
    Between(f64, f64),
    /// At least this: beyond it the generator was the limit.
    AtLeast(f64),
    /// No rate was found that keeps it.
    Nothing,
}

impl Search {
    /// A search that begins at this rate.
    #[must_use]
    pub fn from(rate: f64) -> Self {
        Self { rate, kept: None, failed: None, unsure: false, confirming: Vec::new(), trials: 0 }
    }

    /// The next rate to try; none when it is over.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        let confirmed = self.confirming.len() >= CONFIRM;
        let lost = self.rate < 1.0;
        (!confirmed && !lost && self.trials < TRIALS_MAX).then_some(self.rate)
    }

    /// This came of trying that.
    pub fn tried(&mut self, trial: Trial) {
        self.trials += 1;
        if !self.confirming.is_empty() || self.is_narrow() {
            return self.confirmed_by(trial);
        }
        match trial {
            Trial::Kept => self.kept = Some(self.rate),
            Trial::Missed | Trial::Unsure => {
                self.failed = Some(self.rate);
                self.unsure = trial == Trial::Unsure;
            }
        }
        self.aim();
    }

    /// One more trial at the best rate. The first that fails sends the search below it.
    fn confirmed_by(&mut self, trial: Trial) {
        if trial == Trial::Kept {
            return self.confirming.push(trial);
        }
        self.confirming.clear();
        self.failed = Some(self.rate);
        self.unsure = trial == Trial::Unsure;
        self.rate /= PRECISION;
        self.kept = Some(self.rate);
    }

    fn is_narrow(&self) -> bool {
        matches!((self.kept, self.failed), (Some(kept), Some(failed)) if failed / kept <= PRECISION * 1.001)
    }

    fn aim(&mut self) {
        self.rate = match (self.kept, self.failed) {
            (Some(kept), None) => kept * 2.0,
            (None, Some(failed)) => failed / 2.0,
            (Some(kept), Some(_)) if self.is_narrow() => kept,
            (Some(kept), Some(failed)) => (kept * failed).sqrt().max(kept * PRECISION),
            (None, None) => self.rate,
        };
    }

    /// What was found.
    #[must_use]
    pub fn found(&self) -> Found {
        match (self.confirming.len() >= CONFIRM, self.failed) {
            (true, Some(failed)) if !self.unsure => Found::Between(self.rate, failed),
            (true, _) => Found::AtLeast(self.rate),
            (false, _) => Found::Nothing,
        }
    }
}

/// Searches, prints each trial and what was found. Gives the exit status.
///
/// # Errors
/// A sentence, when the words mean nothing or a trial could not be run.
pub fn saturate(typed: &SeriesArgs, drawn_seed: u64) -> Result<u8, Fatal> {
    let mut words = typed.words.clone();
    let slo = words::take(&mut words, &["--slo"])?.unwrap_or_else(|| "p99=1ms".to_owned());
    let slo = objective(&slo).map_err(Fatal::misuse)?;
    let start = match words::take(&mut words, &["--start"])? {
        None => START,
        Some(rate) => units::rate(&rate).map_err(Fatal::misuse)?.per_second(),
    };
    let out = words::take(&mut words, &["--out", "-o"])?.map(PathBuf::from);
    for (name, short, default) in [("--duration", "-d", "10s"), ("--warm-up", "-w", "2s")] {
        if words::take(&mut words.clone(), &[name, short])?.is_none() {
            words.extend([name.to_owned(), default.to_owned()]);
        }
    }
    let mut search = Search::from(start);
    let mut rows = Vec::new();
    while let Some(rate) = search.next() {
        let mut line = words.clone();
        line.extend(["--rate".to_owned(), format!("{rate:.0}")]);
        if !rows.is_empty() {
            line.push("--no-load".to_owned());
        }
        let (typed, command) = words::run(&line)?;
        let mut run = Run::mean(*typed, command, drawn_seed)?;
        // Every key is there since the first trial.
        run.load.every_key = true;
        run.out = out.as_ref().map(|folder| folder.join(format!("{:02}", rows.len() + 1)));
        let report = measure(run)?;
        keep(&report)?;
        let trial = judge(&report, slo);
        let at = report.tally.response.value_at_quantile(slo.quantile);
        eprintln!("{}/s: {} ({trial:?})", shown_count(rate as u64), shown_micros(at));
        rows.push(Row::of(format!("{}/s, {trial:?}", shown_count(rate as u64)), &report));
        search.tried(trial);
        if was_told_to_end() {
            println!("{}ended early: nothing is said of where the objective fails", table(&rows));
            return Ok(STATUS_UNFOUND);
        }
    }
    print!("{}\n{}", table(&rows), said(search.found(), slo));
    Ok(if matches!(search.found(), Found::Between(..)) { 0 } else { STATUS_UNFOUND })
}

fn judge(report: &Report, slo: Objective) -> Trial {
    let late = report.tally.response.value_at_quantile(slo.quantile) > slo.most_us;
    let failed = report.tally.errors.sum() * 100 > report.tally.answered;
    match (report.verdict.is_valid(), late || failed) {
        (true, false) => Trial::Kept,
        // A server that is too slow leaves no connection free: that it could not be asked is its own doing.
        (_, true) if report.verdict.is_only_of_waiting() => Trial::Missed,
        (true, true) => Trial::Missed,
        (false, _) => Trial::Unsure,
    }
}

fn said(found: Found, slo: Objective) -> String {
    let objective = format!("p{} of {}", slo.quantile * 100.0, shown_micros(slo.most_us));
    let rate = |rate: f64| shown_count(rate as u64);
    match found {
        Found::Between(kept, failed) => {
            format!("{objective} is kept up to between {} and {} requests/s\n", rate(kept), rate(failed))
        }
        Found::AtLeast(kept) => format!(
            "{objective} is kept at {} requests/s and more: beyond, the generator or the machine was the limit\n",
            rate(kept)
        ),
        Found::Nothing => format!("no rate was found that keeps {objective}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(start: f64, judge: impl Fn(f64, usize) -> Trial) -> (Found, usize) {
        let mut search = Search::from(start);
        let mut trials = 0;
        while let Some(rate) = search.next() {
            search.tried(judge(rate, trials));
            trials += 1;
        }
        (search.found(), trials)
    }

    #[test]
    fn the_edge_is_found_from_below_and_from_above() {
        for start in [1_000.0, 1_000_000.0] {
            let edge = 123_456.0;
            let (found, trials) =
                search(start, |rate, _| if rate <= edge { Trial::Kept } else { Trial::Missed });
            let Found::Between(kept, failed) = found else { panic!("{found:?}") };
            assert!(kept <= edge && failed > edge && failed / kept < 1.04, "{found:?}");
            assert!(trials < 25, "{trials}");
        }
    }

    #[test]
    fn a_rate_that_goes_well_once_only_is_not_the_answer() {
        let edge = 10_000.0;
        // Near the edge every third trial fails.
        let (found, _) = search(1_000.0, |rate, trial| match rate {
            rate if rate < edge * 0.8 => Trial::Kept,
            rate if rate < edge && trial % 3 > 0 => Trial::Kept,
            _ => Trial::Missed,
        });
        let Found::Between(kept, _) = found else { panic!("{found:?}") };
        assert!((edge * 0.7..edge * 0.85).contains(&kept), "{kept}");
    }

    #[test]
    fn the_generators_own_edge_is_not_the_servers() {
        let (found, _) = search(1_000.0, |rate, _| if rate < 50_000.0 { Trial::Kept } else { Trial::Unsure });
        assert!(matches!(found, Found::AtLeast(rate) if rate > 45_000.0), "{found:?}");
        assert_eq!(search(1_000.0, |_, _| Trial::Missed).0, Found::Nothing);
    }

    #[test]
    fn objectives_are_read() {
        assert_eq!(objective("p99.9=10ms"), Ok(Objective { quantile: 0.999, most_us: 10_000 }));
        for refused in ["p99", "99=1ms", "p0=1ms", "p100=1ms", "p99=fast", "p99=0s"] {
            assert!(objective(refused).is_err(), "{refused}");
        }
    }
}
