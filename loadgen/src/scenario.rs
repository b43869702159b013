//! A question with the load that answers it, kept in a file: `loadgen/scenarios/*.toml`. What stands in it are the
//! options of `loadgen run`, so there is one way to say a load and one place that judges it.
//!
//! The hard thing is that a scenario must not be able to say what a command line cannot: its words become a command
//! line, are read by the same reader, and are shown as one, so that each of its runs can be repeated by hand.

use crate::cli::{Cli, Command, RunArgs, quoted};
use clap::Parser;
use reactor::Fatal;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The most runs of one scenario.
const RUNS_MAX: usize = 256;

/// A scenario, as it stands in its file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What is to be found out.
    pub question: String,
    /// Whom to ask, where the command line names nobody.
    pub target: String,
    /// The verdicts that answer the question, each a beginning: `VALID`, `INVALID: generator-limited`.
    pub expect: Vec<String>,
    /// Options of all runs.
    #[serde(default)]
    pub load: BTreeMap<String, toml::Value>,
    /// The runs, each with its options beside those of all. One without options of its own, when there is none.
    #[serde(default, rename = "run")]
    pub runs: Vec<Variant>,
}

/// One run of a scenario.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Variant {
    /// What tells it from the others.
    #[serde(default)]
    pub name: String,
    /// Its own options.
    #[serde(flatten)]
    pub load: BTreeMap<String, toml::Value>,
}

/// A run of a scenario, ready to go.
#[derive(Debug)]
pub struct Step {
    /// What tells it from the others.
    pub name: String,
    /// The command line that does the same.
    pub command: String,
    /// The same, read.
    pub typed: Box<RunArgs>,
}

impl Scenario {
    /// Reads a scenario's text.
    ///
    /// # Errors
    /// A sentence, when it is none.
    pub fn read(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        match (scenario.expect.is_empty(), scenario.runs.len()) {
            (true, _) => Err("`expect` names no verdict".to_owned()),
            (_, runs) if runs > RUNS_MAX => Err(format!("{runs} runs are over the bound of {RUNS_MAX}")),
            (false, _) => Ok(scenario),
        }
    }

    /// Reads a scenario's file.
    ///
    /// # Errors
    /// A sentence, when it cannot be read or is none.
    pub fn open(path: &Path) -> Result<Self, Fatal> {
        let wrong = |why: String| Fatal::misuse(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::read(&text).map_err(wrong)
    }

    /// Its runs against `target`, or its own, with `extra` words behind each.
    ///
    /// # Errors
    /// A sentence, when an option is not one of `loadgen run` or does not mean anything.
    pub fn steps(&self, target: Option<&str>, extra: &[String]) -> Result<Vec<Step>, Fatal> {
        let target = target.unwrap_or(&self.target);
        let alone = [Variant::default()];
        let runs = if self.runs.is_empty() { &alone[..] } else { &self.runs };
        runs.iter().map(|run| self.step(target, run, extra)).collect()
    }

    fn step(&self, target: &str, run: &Variant, extra: &[String]) -> Result<Step, Fatal> {
        let wrong = |why: String| Fatal::misuse(format!("run {:?}: {why}", run.name));
        let mut options = self.load.clone();
        options.extend(run.load.clone());
        let mut words = vec!["run".to_owned(), target.to_owned()];
        for (name, value) in &options {
            words.extend(option(name, value).map_err(wrong)?);
        }
        words.extend_from_slice(extra);
        let line = std::iter::once("loadgen".to_owned()).chain(words.iter().cloned());
        let cli = Cli::try_parse_from(line).map_err(|error| wrong(error.to_string()))?;
        let Command::Run(mut typed) = cli.command else { return Err(wrong("it is no run".to_owned())) };
        typed.words = words[1..].to_vec();
        Ok(Step { name: run.name.clone(), command: format!("loadgen {}", quoted(&words)), typed })
    }

    /// Whether a run that ended in this verdict answers the question.
    #[must_use]
    pub fn expects(&self, verdict: &str) -> bool {
        self.expect.iter().any(|expected| verdict.starts_with(expected))
    }
}

/// An option as words of a command line; a false one is none.
fn option(name: &str, value: &toml::Value) -> Result<Vec<String>, String> {
    let flag = format!("--{}", name.replace('_', "-"));
    let text = match value {
        toml::Value::Boolean(true) => return Ok(vec![flag]),
        toml::Value::Boolean(false) => return Ok(Vec::new()),
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
            return Err(format!("{name} is neither text nor a number nor true or false"));
        }
    };
    Ok(vec![flag, text])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        question = "How fast?"
        target = "resp://127.0.0.1:6379"
        expect = ["VALID", "INVALID: machine stalled"]
        [load]
        connections = 50
        rate = "10k"
        no_load = true
        [[run]]
        name = "few"
        [[run]]
        name = "many"
        connections = 500
    "#;

    #[test]
    fn a_scenario_is_command_lines() {
        let scenario = Scenario::read(TEXT).unwrap();
        let steps = scenario.steps(None, &["--seed".into(), "7".into()]).unwrap();
        let lines: Vec<_> = steps.iter().map(|step| &step.command[..]).collect();
        assert_eq!(
            lines,
            [
                "loadgen run resp://127.0.0.1:6379 --connections 50 --no-load --rate 10k --seed 7",
                "loadgen run resp://127.0.0.1:6379 --connections 500 --no-load --rate 10k --seed 7",
            ]
        );
        assert_eq!((steps[1].typed.connections, steps[1].typed.no_load), (500, true));
        // What is typed counts in place of what the file says.
        let typed = scenario.steps(None, &["-c".into(), "7".into()]).unwrap();
        assert!(typed.iter().all(|step| step.typed.connections == 7));
        let elsewhere = scenario.steps(Some("frame://127.0.0.1:5050"), &[]).unwrap();
        assert_eq!(elsewhere[0].typed.target, "frame://127.0.0.1:5050");
        assert!(scenario.expects("VALID") && scenario.expects("INVALID: machine stalled: 2 %"));
        assert!(!scenario.expects("INVALID: generator-limited"));
    }

    #[test]
    fn what_a_command_line_cannot_say_is_refused() {
        let refused = |from: &str, to: &str| {
            let text = TEXT.replace(from, to);
            Scenario::read(&text)
                .and_then(|scenario| scenario.steps(None, &[]).map(drop).map_err(|fatal| fatal.sentence))
        };
        assert!(refused("no_load", "no_such").unwrap_err().contains("--no-such"));
        assert!(refused("\"10k\"", "\"fast\"").unwrap_err().contains("write 200k"));
        assert!(refused("\"10k\"", "[1]").unwrap_err().contains("neither"));
        assert!(refused("[\"VALID\", \"INVALID: machine stalled\"]", "[]").is_err());
        assert!(refused("question", "questoin").is_err());
    }

    #[test]
    fn every_scenario_of_ours_can_be_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut count = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let scenario = Scenario::open(&path).unwrap_or_else(|fatal| panic!("{}", fatal.sentence));
            let steps = scenario.steps(None, &[]).unwrap_or_else(|fatal| panic!("{}", fatal.sentence));
            assert!(!steps.is_empty() && scenario.question.ends_with('?'), "{}", path.display());
            count += 1;
        }
        assert!(count >= 4, "{count}");
    }
}
