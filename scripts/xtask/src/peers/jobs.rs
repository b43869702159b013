//! Jobs that are acknowledged and run: the scheduler beside beanstalkd and etcd, by turns, and what it takes until others
//! go on when a process is killed.
//!
//! What is asked and how stands in `scripts/clients/_scheduler_measure.py`, which speaks to all of them as their users
//! do; here it is started, and its rows become a table.

use super::contest::median;
use super::record::{Found, busy};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Args, Debug)]
pub(super) struct Options {
    /// What is measured
    #[arg(value_enum, default_value_t = Measure::Submits)]
    measure: Measure,
    /// The scheduler to run, in place of the one built for release
    #[arg(long, value_name = "FILE")]
    scheduler: Option<PathBuf>,
    /// The load generator to run, in place of the one built for release
    #[arg(long, value_name = "FILE")]
    loadgen: Option<PathBuf>,
    /// Kills, or lone jobs
    #[arg(long, default_value_t = 50)]
    times: u32,
    /// Rounds of submits; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Seconds of each measurement of submits
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Connections of submits, with commas
    #[arg(long, default_value = "1,50,500")]
    connections: String,
    /// Jobs that end
    #[arg(long, default_value_t = 1_000_000)]
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// Acknowledged durable submits a second, beside beanstalkd -f 0 and etcd
    Submits,
    /// A worker's SIGKILL, until its job's program runs elsewhere
    Workers,
    /// A leader's SIGKILL, until the next acknowledgement
    Leaders,
    /// One client: an acknowledgement by a majority of three, and the result of `true`
    Alone,
    /// Many jobs that end: memory, log, compaction, restart
    Many,
    /// A burst over workers of different room
    Burst,
}

impl Measure {
    const fn name(self) -> &'static str {
        match self {
            Self::Submits => "scheduler-submits",
            Self::Workers => "scheduler-workers",
            Self::Leaders => "scheduler-leaders",
            Self::Alone => "scheduler-alone",
            Self::Many => "scheduler-many",
            Self::Burst => "scheduler-burst",
        }
    }

    /// As the script knows it.
    fn word(self) -> &'static str {
        self.name().trim_start_matches("scheduler-")
    }
}

/// Measures.
///
/// # Errors
/// A sentence when something is missing or fails.
pub(super) fn measure(root: &Path, asked: &Options) -> Result<Found, String> {
    if asked.measure == Measure::Submits {
        super::server::require("beanstalkd", "beanstalkd")?;
        super::server::require("etcd", "etcd-server")?;
    }
    let mut remarks: Vec<String> = busy().into_iter().collect();
    let found = run(root, asked)?;
    let (title, how) = told(asked);
    let (columns, rows) = match asked.measure {
        Measure::Submits => submits(&found, &mut remarks),
        Measure::Workers | Measure::Leaders | Measure::Alone => spans(&found),
        Measure::Many => many(&found),
        Measure::Burst => burst(&found, &mut remarks),
    };
    Ok(Found { name: asked.measure.name(), title, how, columns, rows, remarks, json: found })
}

/// Runs the script, whose last line is what it found.
fn run(root: &Path, asked: &Options) -> Result<Value, String> {
    let release = |name: &str| root.join("target/release").join(name);
    let mut command = Command::new("python3");
    command.arg(root.join("scripts/clients/_scheduler_measure.py"));
    command.arg(asked.scheduler.clone().unwrap_or_else(|| release("scheduler"))).arg(asked.measure.word());
    command.arg("--loadgen").arg(asked.loadgen.clone().unwrap_or_else(|| release("loadgen")));
    command.args(["--times", &asked.times.to_string(), "--rounds", &asked.rounds.to_string()]);
    command.args(["--seconds", &asked.seconds.to_string(), "--connections", &asked.connections]);
    command.args(["--count", &asked.count.to_string()]);
    command.env("PYTHONDONTWRITEBYTECODE", "1").stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("Python cannot be started: {error}"))?;
    let mut found = None;
    let lines = child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines());
    for line in lines.map_while(Result::ok) {
        match line.strip_prefix("JSON ") {
            Some(text) => found = serde_json::from_str::<Value>(text).ok(),
            None => println!("{line}"),
        }
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    found.filter(|_| status.success()).ok_or_else(|| format!("the measuring ended with {status}"))
}

/// The title, and how it was measured.
fn told(asked: &Options) -> (String, String) {
    let (title, how) = match asked.measure {
        Measure::Submits => (
            "Acknowledged durable submits: scheduler beside beanstalkd and etcd".to_owned(),
            format!(
                "Closed loops of {} connections, {} s each, {} rounds in which all take turns, each fresh and with an \
                 empty directory on the same disk; medians. A submit is a job that no worker has room for, acknowledged \
                 when a majority of the nodes has it on disk; a put of the same bytes to beanstalkd that syncs each \
                 (-f 0); a put of the same bytes to etcd through its gateway. The leader is asked, and of etcd the first \
                 member. Servers and load share the machine. The client is loadgen, and for beanstalkd, whose protocol \
                 is no HTTP, an epoll loop of some lines.",
                asked.connections, asked.seconds, asked.rounds
            ),
        ),
        Measure::Workers => (
            "A worker killed by SIGKILL".to_owned(),
            "`scheduler up --workers 3`; a worker that runs a job is killed. The time counts from before the signal to \
             when the job's program begins on another worker, by the clock that the program itself reads."
                .to_owned(),
        ),
        Measure::Leaders => (
            "A leader killed by SIGKILL".to_owned(),
            "`scheduler up --workers 3`; the leader is killed, and a job is sent at once to a node that lives, again \
             when it is refused. The time counts from before the signal to the acknowledgement."
                .to_owned(),
        ),
        Measure::Alone => (
            "One job at a time".to_owned(),
            "Three nodes, one client with one connection to the leader, which sends `true` and asks for its result every \
             half millisecond. An acknowledgement says that two of three disks have it."
                .to_owned(),
        ),
        Measure::Many => (
            format!("{} jobs that end", asked.count),
            "Three nodes on one machine and one disk, 32 clients that send a job for which no worker has room and cancel \
             it. 50,000 ended jobs are remembered, and the log is dropped before every 20,000th entry. Then all nodes are \
             stopped and started again."
                .to_owned(),
        ),
        Measure::Burst => (
            "A burst of 1,000 jobs over workers of different room".to_owned(),
            "`scheduler up --workers 3 --rooms 1:8192,1:2048,2:4096,4:8192` (the first leads); ten clients send 100 jobs \
             each that sleep 0.2 s and declare a quarter of a processor and 32 MiB."
                .to_owned(),
        ),
    };
    (title, how)
}

type Table = (Vec<&'static str>, Vec<Vec<String>>);

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or(f64::NAN)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

fn submits(found: &Value, remarks: &mut Vec<String>) -> Table {
    let all: Vec<&Value> = found.as_array().into_iter().flatten().collect();
    let mut kinds: Vec<(u64, String)> = Vec::new();
    for row in &all {
        let kind = (row["connections"].as_u64().unwrap_or_default(), text(row, "who"));
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    let of = |kind: &(u64, String)| {
        let is_of = |row: &&&Value| row["connections"] == kind.0 && text(row, "who") == kind.1;
        all.iter().filter(is_of).copied().collect::<Vec<&Value>>()
    };
    let middle = |rows: &[&Value], name: &str| median(rows.iter().map(|row| number(row, name)).collect());
    let rows = kinds.iter().map(|kind| {
        let mine = of(kind);
        let beanstalkd = middle(&of(&(kind.0, "beanstalkd -f 0".to_owned())), "rate");
        vec![
            kind.0.to_string(),
            kind.1.clone(),
            format!("{:.0}", middle(&mine, "rate")),
            format!("{:.2}", middle(&mine, "rate") / beanstalkd),
            format!("{:.2}", middle(&mine, "p50_ms")),
            format!("{:.2}", middle(&mine, "p99_ms")),
            format!("{:.1}", middle(&mine, "cpu_seconds")),
            doubts(&mine),
        ]
    });
    let rows = rows.collect();
    remarks.push(
        "Doubts are loadgen's. That the machine stalled says that servers and load, which share its processors, kept \
         each other waiting: quote ratios, and no times."
            .to_owned(),
    );
    let columns =
        vec!["connections", "who", "submits/s", "to beanstalkd", "p50 ms", "p99 ms", "CPU s", "doubts"];
    (columns, rows)
}

/// Why runs are not to be believed without more ado, each reason once and without its figures.
fn doubts(rows: &[&Value]) -> String {
    let whys = rows.iter().filter(|row| text(row, "verdict") != "VALID").map(|row| text(row, "why"));
    let all: Vec<String> = whys
        .flat_map(|why| why.split("; ").map(str::to_owned).collect::<Vec<String>>())
        .map(|why| why.split(':').next().unwrap_or_default().to_owned())
        .collect();
    let all: std::collections::BTreeSet<String> = all.into_iter().collect();
    let all: Vec<String> = all.into_iter().collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

fn spans(found: &Value) -> Table {
    let one = [found.clone()];
    let all = found.as_array().map_or(&one[..], Vec::as_slice);
    let rows = all.iter().map(|row| {
        let numbers = ["times", "p50", "p90", "p99", "most"].map(|name| row["ms"][name].to_string());
        [text(row, "what")].into_iter().chain(numbers).collect()
    });
    (vec!["what", "times", "p50 ms", "p90 ms", "p99 ms", "at most ms"], rows.collect())
}

fn many(found: &Value) -> Table {
    let mebibytes = |row: &Value, name: &str| {
        let all = row[name].as_array().map(Vec::as_slice).unwrap_or_default();
        let each = all.iter().map(|bytes| format!("{:.0}", bytes.as_f64().unwrap_or(f64::NAN) / 1048576.0));
        each.collect::<Vec<String>>().join(" ")
    };
    let rows = found.as_array().into_iter().flatten().map(|row| {
        let when = match row["restart_leads_s"].as_f64() {
            None => format!("{:.0} s", number(row, "seconds")),
            Some(leads) => format!(
                "restart: ready after {:.2} s, a leader after {leads:.2} s",
                number(row, "restart_ready_s")
            ),
        };
        vec![
            when,
            format!("{:.0}", number(row, "applied")),
            format!("{:.0}", number(row, "ended")),
            format!("{:.0}", number(row, "ledger_bytes") / 1048576.0),
            mebibytes(row, "resident_bytes"),
            mebibytes(row, "disk_bytes"),
        ]
    });
    let columns = vec![
        "when",
        "entries applied",
        "ended jobs remembered",
        "ledger, MiB",
        "resident, MiB a node",
        "on disk, MiB a node",
    ];
    (columns, rows.collect())
}

fn burst(found: &Value, remarks: &mut Vec<String>) -> Table {
    remarks.push(format!(
        "All were acknowledged after {:.2} s and had finished after {:.1} s.",
        number(found, "accepted_s"),
        number(found, "all_s")
    ));
    remarks.push(format!(
        "A job that declares 64 MiB and takes a gigabyte was stopped: {}",
        json!(found["hungry"])
    ));
    let rows = found["rows"].as_array().into_iter().flatten().map(|row| {
        vec![
            text(row, "worker"),
            row["cpu"].to_string(),
            row["memory_mb"].to_string(),
            row["ran"].to_string(),
        ]
    });
    (vec!["worker", "processors", "MiB", "jobs"], rows.collect())
}
