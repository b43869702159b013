//! One round: so many clients at once, each of which puts, gets and removes its keys, one request in flight. A phase
//! begins for all together and ends with the last, so the sum is what the table really did in that time.

use super::Options;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

/// The phases, in order.
pub(super) const PHASES: [&str; 3] = ["put", "get", "del"];
/// Keys that a client removes before it is measured: connections are made, and code and tables are warm.
const WARM_UP: u32 = 1000;
/// How many keys each client has for itself.
const KEYS_EACH: usize = 100_000;

/// What came of a round.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Round {
    pub(super) clients: usize,
    /// By phase.
    pub(super) phases: [Phase; 3],
}

/// What came of one phase.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Phase {
    /// Operations of all clients.
    pub(super) operations: u64,
    /// From the word to begin until the last client had done all.
    pub(super) seconds: f64,
    /// What an operation took, averaged over clients.
    pub(super) average_ms: f64,
}

impl Phase {
    pub(super) fn rate(&self) -> f64 {
        self.operations as f64 / self.seconds
    }
}

/// A `dht client` with its pipes.
struct Client {
    child: Child,
    lines: BufReader<ChildStdout>,
    input: ChildStdin,
    first: usize,
}

impl Round {
    /// Runs it.
    pub(super) fn run(
        program: &Path,
        file: &Path,
        clients: usize,
        options: &Options,
    ) -> Result<Self, String> {
        let mut all = Vec::new();
        for number in 1..=clients {
            all.push(Client::start(program, file, number * KEYS_EACH, options)?);
        }
        together(&mut all, "del", WARM_UP.min(options.count))?;
        let mut phases = [Phase::default(); 3];
        for (phase, verb) in phases.iter_mut().zip(PHASES) {
            *phase = together(&mut all, verb, options.count)?;
        }
        for client in all {
            client.end()?;
        }
        Ok(Self { clients, phases })
    }

    /// For who waits.
    pub(super) fn line(&self) -> String {
        let phases = PHASES.iter().zip(&self.phases);
        let told =
            phases.map(|(verb, phase)| format!("{verb} {:.0}/s at {:.3} ms", phase.rate(), phase.average_ms));
        format!("{} clients: {}", self.clients, told.collect::<Vec<_>>().join(", "))
    }
}

/// One phase of all clients.
fn together(clients: &mut [Client], verb: &str, count: u32) -> Result<Phase, String> {
    let began = Instant::now();
    for client in clients.iter_mut() {
        client.ask(verb, count)?;
    }
    let mut phase = Phase::default();
    for client in clients.iter_mut() {
        let (operations, average_ms) = client.told(verb)?;
        phase.operations += operations;
        phase.average_ms += average_ms;
    }
    phase.seconds = began.elapsed().as_secs_f64();
    phase.average_ms /= clients.len() as f64;
    Ok(phase)
}

impl Client {
    fn start(program: &Path, file: &Path, first: usize, options: &Options) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg("client").arg("--nodes").arg(file).args(["--placement", options.placement.name()]);
        command.args(["--value-size", &options.value_size.to_string()]);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| format!("{}: {error}", program.display()))?;
        let input = child.stdin.take().expect("it is piped");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        Ok(Self { child, lines, input, first })
    }

    fn ask(&mut self, verb: &str, count: u32) -> Result<(), String> {
        let line = format!("benchmark {verb} {} {count}\n", self.first);
        self.input.write_all(line.as_bytes()).map_err(|error| format!("a client is gone: {error}"))
    }

    fn told(&mut self, verb: &str) -> Result<(u64, f64), String> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(count) if count > 0 => parse(line.trim_end(), verb),
            _ => Err("a client ended early; it has said why".to_owned()),
        }
    }

    fn end(self) -> Result<(), String> {
        let Self { mut child, input, .. } = self;
        drop(input);
        match child.wait() {
            Ok(status) if status.success() => Ok(()),
            other => Err(format!("a client ended with {other:?}")),
        }
    }
}

/// Operations and milliseconds on average out of a client's line. A line that says more says that something was wrong;
/// only the warm-up removes what is not there.
fn parse(line: &str, verb: &str) -> Result<(u64, f64), String> {
    let wrong = || format!("a client says: {line}");
    let rest = line.strip_prefix(verb).and_then(|rest| rest.strip_prefix(": ")).ok_or_else(wrong)?;
    let parts: Vec<&str> = rest.split(", ").collect();
    let may_be_none = |more: &&str| verb == "del" && more.ends_with(" answered NONE");
    let ([first, average, _], more) = parts.split_first_chunk::<3>().ok_or_else(wrong)?;
    let operations = first.split(' ').next().and_then(|word| word.parse().ok());
    let average_ms = average.split(' ').next().and_then(|word| word.parse().ok());
    match (operations, average_ms) {
        (Some(operations), Some(average_ms)) if more.iter().all(may_be_none) => Ok((operations, average_ms)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clients_line_is_figures_or_what_was_wrong() {
        let line = "put: 100000 operations in 9.123 s, 0.0912 ms on average, 10961 operations/s";
        assert_eq!(parse(line, "put"), Ok((100_000, 0.0912)));
        assert!(parse(line, "get").is_err());
        let removed =
            "del: 5 operations in 0.001 s, 0.2000 ms on average, 5000 operations/s, 5 answered NONE";
        assert_eq!(parse(removed, "del"), Ok((5, 0.2)));
        let missed = removed.replace("del", "get");
        assert!(parse(&missed, "get").expect_err("values are missing").contains("5 answered NONE"));
        let failed = format!("{line}, 3 failed, the first with \"FAILURE\"");
        assert!(parse(&failed, "put").is_err());
        let cut = format!("{line}, then a server was lost");
        assert!(parse(&cut, "put").expect_err("it is not whole").contains("a server was lost"));
        assert!(parse(&format!("{removed}, then a server was lost"), "del").is_err());
        assert!(parse("", "put").is_err());
    }

    #[test]
    fn a_phase_is_what_all_did_until_the_last_was_done() {
        let phase = Phase { operations: 800, seconds: 0.5, average_ms: 4.0 };
        assert!((phase.rate() - 1600.0).abs() < 1e-9);
    }
}
