//! One measurement from beginning to end: is anybody there, can this machine, run, judge, write. The hard thing is
//! to say what is wrong before the run rather than after it.

use crate::agent;
use crate::client::{Client, Outcomes};
use crate::counters::Reading;
use crate::doctor;
use crate::environment::Environment;
use crate::events::{self, Event, Events, Listener};
use crate::history;
use crate::live::{Live, PERIOD};
use crate::plan::{Load, Run, STATUS_UNREACHABLE};
use crate::report::Report;
use crate::table::table;
use crate::tally::Errors;
use crate::workload::operations_hash;
use reactor::{Fatal, Plan, Reread};
use std::fs::File;
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Exit status for an invalid result under `--strict`.
pub const STATUS_INVALID: u8 = 6;
/// How long the first connection may take.
const PROBE_MAX: Duration = Duration::from_secs(5);

/// Runs it, prints the table, writes the files. Gives the exit status.
///
/// # Errors
/// A sentence, when it could not be run or nothing could be reached.
pub fn run(run: Run) -> Result<u8, Fatal> {
    let report = measure(run)?;
    print!("{}", table(&report));
    keep(&report)?;
    match report.run.strict && !report.verdict.is_valid() {
        true => Ok(STATUS_INVALID),
        false => Ok(0),
    }
}

/// Writes the files of a report where it was told to.
///
/// # Errors
/// A sentence, when they cannot be written.
pub fn keep(report: &Report) -> Result<(), Fatal> {
    let mut marked = None;
    if report.run.events.is_some() {
        let text = events::csv(&events(report)?, report);
        print!("{text}");
        marked = Some(text);
    }
    if let Some(file) = &report.run.history {
        let into = File::create(file).map_err(|error| unkept(&error, file))?;
        history::write(&report.history, into).map_err(|error| unkept(&error, file))?;
    }
    let Some(folder) = &report.run.out else { return Ok(()) };
    if let Some(text) = marked {
        std::fs::write(folder.join("events.csv"), text).map_err(|error| unwritable(&error, folder))?;
    }
    report.write(folder).map_err(|error| unwritable(&error, folder))
}

/// What was done to the server, by seconds since the run's start.
fn events(report: &Report) -> Result<Vec<Event>, Fatal> {
    let events = match &report.run.events {
        Some(Events::File(file)) => {
            let wrong = |why: String| Fatal::misuse(format!("--events {}: {why}", file.display()));
            let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
            events::read(&text).map_err(wrong)?
        }
        Some(Events::Heard(_)) => report.heard.clone(),
        None => Vec::new(),
    };
    Ok(events::since(events, report.started.unwrap_or_default()))
}

/// Runs it to its end.
///
/// # Errors
/// A sentence, when it could not be run or nothing could be reached.
pub fn measure(run: Run) -> Result<Report, Fatal> {
    reachable(&run)?;
    if let Some(folder) = &run.out {
        std::fs::create_dir_all(folder).map_err(|error| unwritable(&error, folder))?;
    }
    if let Some(file) = &run.history {
        // What is there stays until there is something to put in its place.
        File::options().create(true).append(true).open(file).map_err(|error| unkept(&error, file))?;
    }
    let listener = match run.events {
        Some(Events::Heard(address)) => Some(Listener::at(address)?),
        Some(Events::File(_)) | None => None,
    };
    let environment = Environment::before(&run.git_commit);
    let before = Reading::take(&run.load, run.metric.as_deref());
    let before = before.map_err(|why| {
        Fatal::misuse(format!("--metric {}: {why}", run.metric.as_deref().unwrap_or_default()))
    })?;
    let (outcomes, busy) = match run.agents.is_empty() {
        true => here(&run, None)?,
        false => agent::elsewhere(&run)?,
    };
    let cores = outcomes.len() as u16;
    let hash = operations_hash(&run.load, cores);
    let written = outcomes.iter().map(|core| core.tally.written).sum();
    let after = Reading::take(&run.load, run.metric.as_deref()).ok().flatten();
    let server = before.zip(after).and_then(|(before, after)| before.until(after, written));
    let mut report = Report::new(run, hash, outcomes, busy, server, environment.after());
    report.heard = listener.map(Listener::heard).unwrap_or_default();
    match report.facts.connections {
        (_, 0) if !report.facts.cut_short => Err(Fatal {
            status: STATUS_UNREACHABLE,
            sentence: match &report.tally.first_refusal {
                None => nobody(&report.run.target, &report.tally.errors),
                Some(said) => format!("{} lets nobody in, it said: {said}", report.run.target),
            },
        }),
        _ => Ok(report),
    }
}

/// Runs it on this machine: what each core found, and how busy the busiest was. `go` is asked for the word to begin when
/// all is ready, where that is somebody else's to give.
///
/// # Errors
/// A sentence, when this machine cannot.
pub fn here(run: &Run, go: Option<Reread<Load>>) -> Result<(Vec<Outcomes>, Option<f64>), Fatal> {
    run.load.sources.iter().try_for_each(|source| ours(*source))?;
    doctor::room_for(run)?;
    let live = Arc::new(Mutex::new(Live::new(run)));
    let shown = live.clone();
    let plan = Plan {
        cores: workers(run),
        seed: run.load.seed,
        stamps: run.stamps,
        spin: run.spin,
        drain: run.load.timeout + Duration::from_secs(1),
        reread: go,
        watch: Some((PERIOD, Box::new(move |cores| lock(&shown).look(cores)))),
        ..Plan::new("loadgen", run.load.clone())
    };
    let clients = reactor::run::<Client>(plan)?;
    lock(&live).finish();
    let busy = lock(&live).busy();
    Ok((clients.into_iter().map(Client::into_outcomes).collect(), busy))
}

/// The cores to run on: no more than there are connections, for one without any could not write its part of the keys.
fn workers(run: &Run) -> Vec<usize> {
    let mut cores = if run.cores.is_empty() { reactor::allowed_cores() } else { run.cores.clone() };
    if run.load.part.is_none() {
        cores.truncate(run.load.connections.try_into().unwrap_or(usize::MAX));
    }
    cores
}

fn unwritable(error: &std::io::Error, folder: &Path) -> Fatal {
    Fatal { status: 2, sentence: format!("--out {} cannot be written: {error}", folder.display()) }
}

fn unkept(error: &std::io::Error, file: &Path) -> Fatal {
    Fatal::misuse(format!("--history {} cannot be written: {error}", file.display()))
}

/// That no connection was made, and what came instead.
fn nobody(target: &str, errors: &Errors) -> String {
    let counted: Vec<String> =
        errors.named().map(|(name, count)| format!("{count} {}", name.replace('_', " "))).collect();
    match counted.is_empty() {
        true => format!("no connection to {target} could be made"),
        false => format!("no connection to {target} could be made: counted were {}", counted.join(", ")),
    }
}

/// Whether this machine can connect from that address.
fn ours(source: IpAddr) -> Result<(), Fatal> {
    match UdpSocket::bind((source, 0)) {
        Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
            Err(Fatal::misuse(format!("--source {source} is no address of this machine")))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Only ever held for one look, and by one thread at a time.
fn lock(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes and drops one connection to each target.
fn reachable(run: &Run) -> Result<(), Fatal> {
    for target in &run.load.targets {
        TcpStream::connect_timeout(target, PROBE_MAX).map_err(|error| Fatal {
            status: STATUS_UNREACHABLE,
            sentence: match error.kind() {
                std::io::ErrorKind::ConnectionRefused => format!("nothing listens at {target}"),
                _ => format!("{target} cannot be reached: {error}"),
            },
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Kind;
    use crate::words;

    #[test]
    fn each_worker_has_a_connection() {
        for (connections, expected) in [("1", 1), ("2", 2), ("9", 3)] {
            let line = ["resp://127.0.0.1:6379", "-c", connections, "--cores", "0,1,2"].map(str::to_owned);
            let (typed, command) = words::run(&line).unwrap();
            let run = Run::mean(*typed, command, 1).unwrap();
            assert_eq!(workers(&run).len(), expected, "{connections} connections");
        }
    }

    /// A run on a target that takes connections and says nothing.
    fn refused(options: &[&str]) -> Fatal {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut line = vec![format!("frame://{}", listener.local_addr().unwrap())];
        line.extend(options.iter().map(|word| (*word).to_owned()));
        let (typed, command) = words::run(&line).unwrap();
        measure(Run::mean(*typed, command, 1).unwrap()).unwrap_err()
    }

    #[test]
    fn what_cannot_be_kept_or_compared_is_said_before_the_run() {
        let fatal = refused(&["--history", "/nowhere/at/all"]);
        assert!(
            fatal.status == 2 && fatal.sentence.starts_with("--history /nowhere/at/all cannot be written: ")
        );
        let fatal = refused(&["--metric", "http://127.0.0.1/metrics"]);
        assert!(fatal.status == 2 && fatal.sentence.contains("not of the form"), "{fatal}");
        let fatal = refused(&["--source", "192.0.2.1"]);
        assert_eq!(fatal, Fatal::misuse("--source 192.0.2.1 is no address of this machine"));
    }

    #[test]
    fn where_no_connection_was_made_the_failures_are_told() {
        let mut errors = Errors::default();
        assert_eq!(nobody("frame://h:1", &errors), "no connection to frame://h:1 could be made");
        errors.add(Kind::Malformed, 64);
        errors.add(Kind::DialFailed, 2);
        assert!(nobody("frame://h:1", &errors).ends_with(": counted were 2 dial failed, 64 malformed"));
    }
}
