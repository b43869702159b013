//! A curve: one run a point, over rates, connections or pipelines. The file `sweep.json` keeps it for the report; a
//! point that is invalid stands there as such and is drawn hollow, since a curve through it would be a guess.

use crate::cli::SeriesArgs;
use crate::plan::Run;
use crate::report::Percentiles;
use crate::run::{keep, measure};
use crate::series::{Row, ends_early, table};
use crate::{html, words};
use reactor::Fatal;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The most points of a curve.
const POINTS_MAX: usize = 256;

/// A point of a curve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Point {
    /// What was set, as it was typed.
    pub at: String,
    /// Requests answered a second.
    pub rate: f64,
    /// Response times, µs.
    pub response_us: Percentiles,
    /// The verdict with its reasons.
    pub verdict: String,
    /// The line that repeats it.
    pub command: String,
}

/// A curve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// What is different from point to point.
    pub over: String,
    /// The points, in the order of their runs.
    pub points: Vec<Point>,
}

/// Runs a curve, prints its table and keeps it. Gives the exit status.
///
/// # Errors
/// A sentence, when the words mean nothing or a run could not be run.
pub fn sweep(typed: &SeriesArgs, drawn_seed: u64) -> Result<u8, Fatal> {
    let mut words = typed.words.clone();
    let out = words::take(&mut words, &["--out", "-o"])?.map(PathBuf::from);
    let axes = [
        ("--rate", words::take(&mut words, &["--rates", "--rate", "-r"])?),
        ("--connections", words::take(&mut words, &["--connections", "-c"])?),
        ("--pipeline", words::take(&mut words, &["--pipeline", "-P"])?),
    ];
    let given: Vec<(&str, Vec<String>)> = axes
        .iter()
        .filter_map(|(name, list)| Some((*name, list.as_ref()?.split(',').map(str::to_owned).collect())))
        .collect();
    let lines = product(&given)?;
    if words::take(&mut words.clone(), &["--seed"])?.is_none() {
        words.extend(["--seed".to_owned(), drawn_seed.to_string()]);
    }
    let over = given.iter().filter(|(_, list)| list.len() > 1).map(|(name, _)| name.trim_start_matches('-'));
    let mut curve = Curve { over: over.collect::<Vec<_>>().join(" and "), points: Vec::new() };
    let mut rows = Vec::new();
    let count = lines.len();
    for (number, (name, options)) in lines.into_iter().enumerate() {
        let (typed, command) = words::run(&[words.clone(), options].concat())?;
        eprintln!("{command}");
        let mut run = Run::mean(*typed, command.clone(), drawn_seed)?;
        run.out = out.as_ref().map(|folder| folder.join(format!("{:02}", number + 1)));
        let report = measure(run)?;
        keep(&report)?;
        let row = Row::of(name, &report);
        let (at, rate, verdict) = (row.name.clone(), row.rate, row.verdict.clone());
        curve.points.push(Point { at, rate, response_us: row.response, verdict, command });
        rows.push(row);
        if ends_early(number, count) {
            break;
        }
    }
    print!("{}", table(&rows));
    if let Some(folder) = &out {
        write(&curve, folder)
            .map_err(|error| Fatal::misuse(format!("{} cannot be written: {error}", folder.display())))?;
    }
    Ok(0)
}

fn write(curve: &Curve, folder: &Path) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(curve).expect("names and numbers are always JSON");
    std::fs::write(folder.join("sweep.json"), text + "\n")?;
    html::write(folder).map_err(std::io::Error::other)
}

/// Every combination: its name, and its words.
fn product(axes: &[(&str, Vec<String>)]) -> Result<Vec<(String, Vec<String>)>, Fatal> {
    let count: usize = axes.iter().map(|(_, list)| list.len()).product();
    if count < 2 {
        let what =
            "give several of --rates, --connections or --pipeline, with commas: --connections 1,64,1000";
        return Err(Fatal::misuse(format!("a sweep of one point is a run: {what}")));
    }
    if count > POINTS_MAX {
        return Err(Fatal::misuse(format!("{count} points are over the bound of {POINTS_MAX}")));
    }
    let mut lines = vec![(Vec::new(), Vec::new())];
    for (name, list) in axes {
        let longer = |(names, words): &(Vec<String>, Vec<String>)| {
            let each = |value: &String| {
                let mut names = names.clone();
                if list.len() > 1 {
                    names.push(format!("{} {value}", name.trim_start_matches('-')));
                }
                (names, [words.clone(), vec![(*name).to_owned(), value.clone()]].concat())
            };
            list.iter().map(each).collect::<Vec<_>>()
        };
        lines = lines.iter().flat_map(longer).collect();
    }
    Ok(lines.into_iter().map(|(names, words)| (names.join(", "), words)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_a_run() {
        let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let lines =
            product(&[("--rate", list("1k")), ("--connections", list("1,64")), ("--pipeline", list("1,16"))]);
        let lines = lines.unwrap();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[1].0, "connections 1, pipeline 16");
        assert_eq!(lines[1].1.join(" "), "--rate 1k --connections 1 --pipeline 16");
        assert!(product(&[("--rate", list("1k"))]).is_err());
        assert!(product(&[("--rate", vec!["1".to_owned(); 300])]).is_err());
    }
}
