//! Several runs, one after another, and the table that puts them side by side: a scenario's, or a curve's. Each is a
//! run like any other, with its own verdict; a series never hides one that is invalid.

use crate::cli::ScenarioArgs;
use crate::plan::Run;
use crate::report::{Percentiles, Report};
use crate::run::{keep, measure};
use crate::scenario::Scenario;
use crate::units::{shown_count, shown_micros};
use reactor::{Fatal, was_told_to_end};
use std::fmt::Write as _;

/// Exit status when a scenario did not end as its file expects.
pub const STATUS_UNEXPECTED: u8 = 7;

/// Runs a scenario's runs and prints their table. Gives the exit status.
///
/// # Errors
/// A sentence, when the file is none or a run could not be run.
pub fn scenario(typed: &ScenarioArgs, drawn_seed: u64) -> Result<u8, Fatal> {
    let scenario = Scenario::open(&typed.file)?;
    let steps = scenario.steps(typed.target.as_deref(), &typed.options)?;
    if typed.show {
        steps.iter().for_each(|step| println!("{}", step.command));
        return Ok(0);
    }
    let mut rows = Vec::new();
    let mut status = 0;
    let count = steps.len();
    for (number, step) in steps.into_iter().enumerate() {
        eprintln!("{}", step.command);
        let mut run = Run::mean(*step.typed, step.command, drawn_seed)?;
        run.out = run.out.or(typed.out.as_ref().map(|folder| folder.join(format!("{:02}", number + 1))));
        let report = measure(run)?;
        keep(&report)?;
        if !scenario.expects(&report.verdict.said()) {
            status = STATUS_UNEXPECTED;
        }
        rows.push(Row::of(step.name, &report));
        if ends_early(number, count) {
            status = STATUS_UNEXPECTED;
            break;
        }
    }
    println!("{}\n\n{}", scenario.question, table(&rows));
    if status != 0 {
        println!("expected: {}", scenario.expect.join(" or "));
    }
    Ok(status)
}

/// Whether a series ends with this run of so many, because it was told to; says so.
pub fn ends_early(number: usize, count: usize) -> bool {
    let ends = was_told_to_end();
    if ends {
        eprintln!("ended early, at run {} of {count}", number + 1);
    }
    ends
}

/// One run of a series.
#[derive(Clone, Debug)]
pub struct Row {
    /// What tells it from the others.
    pub name: String,
    /// Requests answered a second.
    pub rate: f64,
    /// Response times, µs.
    pub response: Percentiles,
    /// Failures.
    pub errors: u64,
    /// The verdict with its reasons.
    pub verdict: String,
}

impl Row {
    /// The row of this run.
    #[must_use]
    pub fn of(name: String, report: &Report) -> Self {
        Self {
            name,
            rate: report.rate(),
            response: Percentiles::of(&report.tally.response),
            errors: report.tally.errors.sum(),
            verdict: report.verdict.said(),
        }
    }
}

/// The rows as a table in Markdown.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut text = "| run | requests/s | p50 | p99 | p99.9 | max | errors | verdict |\n".to_owned();
    text += "|---|--:|--:|--:|--:|--:|--:|---|\n";
    for Row { name, rate, response, errors, verdict } in rows {
        let [p50, p99, p99_9, max] =
            [response.p50, response.p99, response.p99_9, response.max].map(shown_micros);
        let rate = shown_count(rate.round() as u64);
        let errors = shown_count(*errors);
        let _ =
            writeln!(text, "| {name} | {rate} | {p50} | {p99} | {p99_9} | {max} | {errors} | {verdict} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_table_has_a_row_a_run_with_its_verdict() {
        let text = table(&[Row::of("one".to_owned(), &report())]);
        let last = text.lines().last().unwrap();
        assert_eq!(last, "| one | 3 | 205 µs | 305 µs | 305 µs | 305 µs | 2 | VALID |");
        assert_eq!(text.lines().count(), 3);
    }
}
