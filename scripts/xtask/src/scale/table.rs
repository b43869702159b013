//! What is shown and kept: a table next to the figures that were published, the same as JSON, and under what
//! circumstances it was measured.

use super::Options;
use super::experiment::{PHASES, Phase, Round};
use serde_json::json;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What was published of the experiment: eight machines of two cores, one node each, a client beside each node.
const PUBLISHED: &str = "47 to 54 s a phase at 1, 2, 4 and 8 clients, about 0.5 ms an operation, \
                         about 2,000 operations/s a client, 14,800 operations/s in all at 8";
/// The same by the number of clients, where it was told: operations a second in all.
const PUBLISHED_RATES: &[(usize, &str)] = &[(1, "about 2,000"), (8, "14,800")];

/// Where and when.
pub(super) struct Facts {
    pub(super) date: String,
    pub(super) commit: String,
    pub(super) command: String,
    pub(super) load_before: String,
    pub(super) load_after: String,
}

/// The three load averages.
pub(super) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The table and what must be known to read it.
pub(super) fn markdown(options: &Options, facts: &Facts, rounds: &[Round]) -> String {
    let mut text = format!(
        "# The classic experiment, {}\n\n\
         {} nodes of {} cores on one machine over loopback, placement {}, values of {} bytes. Each client puts, gets \
         and removes {} keys of its own, one request in flight. Clients \
         and nodes share the cores of one machine, and there is no network between them.\n\n\
         | clients | put s | get s | del s | put ms | get ms | del ms | operations/s in all | published: s a phase | ms | operations/s in all |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
        facts.date,
        options.nodes,
        options.cores_each,
        options.placement.name(),
        options.value_size,
        options.count,
    );
    for round in rounds {
        let column =
            |show: &dyn Fn(&Phase) -> String| round.phases.iter().map(show).collect::<Vec<_>>().join(" | ");
        let told = PUBLISHED_RATES.iter().find(|(clients, _)| *clients == round.clients);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.0} | 47 to 54 | 0.5 | {} |",
            round.clients,
            column(&|phase| format!("{:.2}", phase.seconds)),
            column(&|phase| format!("{:.4}", phase.average_ms)),
            rate(round),
            told.map_or("–", |(_, rate)| rate),
        );
    }
    let _ = write!(
        text,
        "\nPublished: {PUBLISHED}; 100,000 operations a phase, over a network.\n\n\
         Command: `cargo xtask {}`. Commit {}. {}. Load averages {} before, {} after.",
        facts.command,
        facts.commit,
        machine(),
        facts.load_before,
        facts.load_after
    );
    text
}

/// Writes both, and says where.
pub(super) fn keep(folder: &Path, options: &Options, facts: &Facts, rounds: &[Round]) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(wrong)?;
    fs::write(folder.join("table.md"), markdown(options, facts, rounds) + "\n").map_err(wrong)?;
    fs::write(folder.join("result.json"), json(options, facts, rounds)).map_err(wrong)?;
    println!("\nkept in {}", folder.display());
    Ok(())
}

fn json(options: &Options, facts: &Facts, rounds: &[Round]) -> String {
    let phase = |(verb, phase): (&&str, &Phase)| {
        json!({
            "verb": verb,
            "operations": phase.operations,
            "seconds": phase.seconds,
            "average_ms": phase.average_ms,
            "operations_per_second": phase.rate(),
        })
    };
    let rounds: Vec<_> = rounds
        .iter()
        .map(|round| {
            let phases: Vec<_> = PHASES.iter().zip(&round.phases).map(phase).collect();
            json!({"clients": round.clients, "operations_per_second": rate(round), "phases": phases})
        })
        .collect();
    let whole = json!({
        "experiment": "classic",
        "date": facts.date,
        "commit": facts.commit,
        "command": facts.command,
        "machine": machine(),
        "load_before": facts.load_before,
        "load_after": facts.load_after,
        "nodes": options.nodes,
        "cores_each": options.cores_each,
        "placement": options.placement.name(),
        "count": options.count,
        "value_size": options.value_size,
        "published": PUBLISHED,
        "rounds": rounds,
    });
    format!("{whole:#}\n")
}

/// Operations a second over all three phases.
fn rate(round: &Round) -> f64 {
    let operations: u64 = round.phases.iter().map(|phase| phase.operations).sum();
    operations as f64 / round.phases.iter().map(|phase| phase.seconds).sum::<f64>()
}

/// The processor, how many there are, and the kernel.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let name = pairs.filter(|(key, _)| key.trim() == "model name").map(|(_, value)| value.trim()).next();
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{}, {count} processors, Linux {}", name.unwrap_or("unknown processor"), kernel.trim())
}
