//! No-op functions by faas and by Celery with Redis, by turns: the same tasks, as many slots, one machine, one run.
//!
//! What is asked and how stands in `scripts/clients/_faas_measure.py`, which speaks to both as their users do; here it is
//! started, and its rows become a table of medians.

use super::record::Found;
use clap::Args;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What Python needs for it. Celery's way to Redis asks for `packaging`, and does not say so.
const LIBRARIES: [&str; 5] =
    ["celery==5.7.0", "dill==0.4.1", "packaging==26.4", "redis==8.1.0", "requests==2.34.2"];

#[derive(Args, Debug)]
pub(super) struct Options {
    /// The faas to run, in place of the one built for release
    #[arg(long, value_name = "FILE")]
    faas: Option<PathBuf>,
    /// A Python that has celery, redis, dill and requests, in place of one made under target/
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Slots of both, with commas
    #[arg(long, default_value = "1,2,4")]
    slots: String,
    /// Tasks of each measurement
    #[arg(long, default_value_t = 20_000)]
    count: u32,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// Measures both by turns.
///
/// # Errors
/// A sentence when something is missing or fails.
pub(super) fn measure(root: &Path, asked: &Options) -> Result<Found, String> {
    let python = match &asked.python {
        Some(python) => python.clone(),
        None => made(root)?,
    };
    let faas = asked.faas.clone().unwrap_or_else(|| root.join("target/release/faas"));
    let mut command = Command::new(python);
    command.arg(root.join("scripts/clients/_faas_measure.py")).arg(faas).arg("celery");
    command.args(["--slots", &asked.slots]);
    command.args(["--count", &asked.count.to_string(), "--rounds", &asked.rounds.to_string()]);
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("Python cannot be started: {error}"))?;
    let mut rows = None;
    for line in
        child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok)
    {
        match line.strip_prefix("JSON ") {
            Some(text) => rows = serde_json::from_str::<Value>(text).ok(),
            None => println!("{line}"),
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    let rows =
        rows.filter(|_| status.success()).ok_or_else(|| format!("the measuring ended with {status}"))?;
    Ok(Found {
        name: "faas",
        title: "No-op functions: faas beside Celery with Redis".to_owned(),
        how: format!(
            "{} tasks a measurement (Celery 3,000), medians of {} rounds by turns. faas keeps a log and runs local \
             workers; Celery's Redis keeps nothing and its workers fetch 64 ahead. Client, service and slots share the \
             machine.",
            asked.count, asked.rounds
        ),
        columns: vec![
            "slots",
            "who",
            "batch, tasks/s",
            "one by one, tasks/s",
            "lone p50, µs",
            "lone p99, µs",
        ],
        rows: table(&rows, &asked.slots),
        remarks: Vec::new(),
        json: json!({ "rows": rows }),
    })
}

/// A Python with the libraries, made once under target/.
fn made(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join("target/python-faas-peers");
    let python = folder.join("bin/python3");
    let told = |command: &mut Command| match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?} ended with {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    };
    let has = |python: &Path| {
        told(Command::new(python).args(["-c", "import celery, dill, kombu.transport.redis, requests"]))
    };
    if python.exists() && has(&python).is_ok() {
        return Ok(python);
    }
    told(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    told(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(LIBRARIES))?;
    Ok(python)
}

fn table(rows: &Value, slots: &str) -> Vec<Vec<String>> {
    let all: Vec<&Value> = rows.as_array().into_iter().flatten().collect();
    let median = |who: &str, slots: &str, what: &str| {
        // A number in one place and a text in the other.
        let is_of = |row: &Value| row["who"] == who && format!("{}", row["slots"]) == slots;
        let mine = all.iter().filter(|row| is_of(row));
        let mut found: Vec<f64> = mine.filter_map(|row| row[what].as_f64()).collect();
        found.sort_by(f64::total_cmp);
        found.get(found.len() / 2).map_or("–".to_owned(), |value| format!("{value:.0}"))
    };
    let whats = ["batch", "singly", "lone_p50_us", "lone_p99_us"];
    let each = slots.split(',').flat_map(|slots| ["faas", "celery"].map(|who| (slots, who)));
    each.map(|(slots, who)| {
        [slots.to_owned(), who.to_owned()]
            .into_iter()
            .chain(whats.map(|what| median(who, slots, what)))
            .collect()
    })
    .collect()
}
