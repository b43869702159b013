//! The command line as it is typed. What it means is `plan`'s to say.

use crate::events::Events;
use crate::http;
use crate::keys::{self, Choice};
use crate::pace::Arrival;
use crate::sizes::{self, Sizes};
use crate::units::{self, Mix, Rate};
use clap::{Args, Parser, Subcommand};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Says what a request costs, honestly.
///
/// Exit status: 0 done, 1 the target cannot be reached, 2 wrong use, 3 the machine cannot, 6 the result is invalid
/// and --strict was given, 7 a scenario ended otherwise than expected, 8 the second result is slower, 9 saturate found
/// no edge of the server's, 10 a history is none of a register, 101 a bug.
#[derive(Parser, Debug)]
#[command(name = "loadgen", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// One measurement.
    Run(Box<RunArgs>),
    /// The runs of a scenario file, and whether each ended as the file expects.
    Scenario(ScenarioArgs),
    /// The highest rate that keeps an objective: TARGET --slo p99=1ms [--start RATE] and options of `run` but --rate.
    Saturate(SeriesArgs),
    /// A curve: TARGET with --rates, --connections or --pipeline as lists with commas, and options of `run`.
    Sweep(SeriesArgs),
    /// Whether the second of two results is slower: status 8 when it is.
    Compare(CompareArgs),
    /// Generates load for others, who name it with --agents: one order at a time.
    Agent(AgentArgs),
    /// Whether a history could be a register's: status 10 when not.
    Check(CheckArgs),
    /// Makes report.html again from the files of a folder.
    Report(ReportArgs),
    /// Whether this machine can generate load: each finding with the line that mends it.
    Doctor(DoctorArgs),
}

/// One measurement.
#[derive(Args, Debug)]
#[command(args_override_self = true)] // what is typed behind a scenario's options counts in their place
pub struct RunArgs {
    /// Whom to ask: resp://HOST:PORT or frame://HOST:PORT; more addresses of the same kind with commas. With
    /// resp-cluster://HOST:PORT the nodes are asked for, and each request goes to the node that has its key. Or
    /// http://HOST:PORT/PATH; see the options that begin with HTTP. Or jobs://HOST:PORT, a scheduler: each request sends
    /// a job (`true`, or what --body says) and is right when it is acknowledged.
    /// Or faas://HOST:PORT/FUNCTION-ID: each request calls the function, with --body as its arguments, and waits for its
    /// result. Or waves://HOST:PORT, a network of units: each request asks for an echo and waits for its tree.
    pub target: String,

    /// Connections held open, over all cores.
    #[arg(short = 'c', long, default_value = "50", value_parser = units::count)]
    pub connections: u64,

    /// Requests in flight on each connection, at most.
    #[arg(short = 'P', long, default_value = "1", value_parser = units::count)]
    pub pipeline: u64,

    /// Requests a second, sent when due whatever the server does (200k, 1.5M). Without it a closed loop: each
    /// connection asks again when it was answered.
    #[arg(short = 'r', long, value_parser = units::rate)]
    pub rate: Option<Rate>,

    /// How requests at a --rate are spaced: evenly, or as those of many who know nothing of each other.
    #[arg(long, value_enum, default_value = "constant")]
    pub arrival: Arrival,

    /// Connections made a second (1000/s). Without it as fast as a bounded number of dials lets them.
    #[arg(long, value_parser = units::rate)]
    pub ramp: Option<Rate>,

    /// How long to measure (30s, 2m). 10s when neither this nor --requests is given.
    #[arg(short = 'd', long, value_parser = units::span)]
    pub duration: Option<Duration>,

    /// How long to send before measuring.
    #[arg(short = 'w', long, default_value = "0s", value_parser = units::span)]
    pub warm_up: Duration,

    /// Measured requests to send, at most (100k, 1M).
    #[arg(short = 'n', long, value_parser = units::count)]
    pub requests: Option<u64>,

    /// How many keys.
    #[arg(short = 'k', long, default_value = "100k", value_parser = units::count)]
    pub keys: u64,

    /// Which keys: uniform, zipfian or zipfian:THETA, hot-spot or hot-spot:KEYS%:OPERATIONS%, latest or latest:THETA,
    /// or sequential.
    #[arg(long, default_value = "uniform", value_parser = keys::choice)]
    pub key_choice: Choice,

    /// Bytes of a key.
    #[arg(long, default_value = "16", value_parser = units::size)]
    pub key_size: usize,

    /// Bytes of a value: one size, a range (16-1024), or several by weight (32=90,4KiB=10). From 16 on a value names
    /// its key and version, and a reply to another request is found out as such.
    #[arg(short = 's', long, default_value = "32", value_parser = sizes::sizes)]
    pub value_size: Sizes,

    /// How often each operation comes, by weight; also del.
    #[arg(short = 'm', long, default_value = "get=90,set=10", value_parser = units::mix)]
    pub mix: Mix,

    /// HTTP: the method. GET, or POST with a --body. `{key}` in path, headers and body stands for the request's key.
    #[arg(long)]
    pub method: Option<String>,

    /// HTTP: a header, `Name: value`; as often as wanted.
    #[arg(short = 'H', long)]
    pub header: Vec<String>,

    /// HTTP: the body, or the file it is in (@FILE).
    #[arg(long)]
    pub body: Option<String>,

    /// HTTP: the statuses that are right.
    #[arg(long, default_value = "200-299", value_parser = http::statuses)]
    pub expect_status: (u16, u16),

    /// HTTP: what each body must hold.
    #[arg(long)]
    pub expect_body: Option<String>,

    /// What decides the stream of operations: the same seed gives the same stream. Drawn and told when not given.
    #[arg(long)]
    pub seed: Option<u64>,

    /// Cores to run on, by the kernel's numbers (1 or 0,2-5), one pinned worker each. Every core allowed when not
    /// given.
    #[arg(long, value_parser = units::cores)]
    pub cores: Option<std::vec::Vec<usize>>,

    /// How long a worker with nothing to do looks on before it sleeps. Waking takes some 20 µs, which are then in the
    /// reading delay. 1ms where --cores names cores for us alone, else 0s.
    #[arg(long, value_parser = units::span)]
    pub spin: Option<Duration>,

    /// Where the server counts its requests, to be compared with ours: http://HOST:PORT/metrics#NAME. RESP servers
    /// are asked by INFO.
    #[arg(long)]
    pub metric: Option<String>,

    /// A connection whose oldest request waits longer than this is closed and counted.
    #[arg(long, default_value = "5s", value_parser = units::span)]
    pub timeout: Duration,

    /// Addresses to connect from (127.0.0.2-127.0.0.9): one address has some 28,000 ports towards one target.
    #[arg(long, value_parser = units::sources)]
    pub source: Option<std::vec::Vec<IpAddr>>,

    /// Do not write every key first. Reads may then find nothing, and that is no failure.
    #[arg(long)]
    pub no_load: bool,

    /// Write run.json, *.hgrm, timeline.csv and reproduce.sh there.
    #[arg(short = 'o', long)]
    pub out: Option<PathBuf>,

    /// Have these agents do it (HOST:PORT, several with commas; each a `loadgen agent`): connections, rate and keys are
    /// shared out among all their cores, and what they find is merged.
    #[arg(long, value_delimiter = ',')]
    pub agents: Vec<String>,

    /// The key that agents have, too.
    #[arg(long)]
    pub key_file: Option<PathBuf>,

    /// Take values as they come: that they are right is not checked, and not claimed.
    #[arg(long)]
    pub no_check: bool,

    /// Do not ask the kernel when it had each reply: the reading delay is then not known.
    #[arg(long)]
    pub no_stamps: bool,

    /// Write every read and write with its call and its return there, for `loadgen check`.
    #[arg(long)]
    pub history: Option<PathBuf>,

    /// What was done to the server meanwhile. A file, read when the run is over: lines of seconds since its start, or
    /// since 1970, a comma and a word (12.5,node 2 killed). Or an address to hear words at by UDP while it goes on
    /// (127.0.0.1:9999; in bash `echo node 2 killed >/dev/udp/127.0.0.1/9999`). They are marked on the timeline, with
    /// the time to recover; and every key is read when all is over, to count acknowledged writes that are gone.
    #[arg(long)]
    pub events: Option<Events>,

    /// Exit with status 6 when the result is invalid.
    #[arg(long)]
    pub strict: bool,

    /// The commit that is measured, for the report.
    #[arg(long, env = "RINGWISE_GIT_COMMIT", default_value = "unknown")]
    pub git_commit: String,

    /// The words themselves.
    #[arg(skip)]
    pub words: Vec<String>,
}

/// The runs of a scenario.
#[derive(Args, Debug)]
pub struct ScenarioArgs {
    /// The file, like those of loadgen/scenarios.
    pub file: PathBuf,

    /// Whom to ask instead of whom the file names.
    #[arg(short = 't', long)]
    pub target: Option<String>,

    /// Write each run's results to a folder of its own there.
    #[arg(short = 'o', long)]
    pub out: Option<PathBuf>,

    /// Only print the command lines.
    #[arg(long)]
    pub show: bool,

    /// Options of `loadgen run` that go behind those of the file.
    #[arg(last = true)]
    pub options: Vec<String>,
}

/// A series of runs.
#[derive(Args, Debug)]
pub struct SeriesArgs {
    /// The target and options; see `loadgen run --help`.
    #[arg(required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// Two results.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// A folder that --out wrote.
    pub a: PathBuf,

    /// Another.
    pub b: PathBuf,

    /// Compare although processor, kernel, limits or the like are not the same.
    #[arg(long)]
    pub allow_env_diff: bool,

    /// How many percent slower, at least, is worth a status.
    #[arg(long, default_value = "0")]
    pub at_least: f64,

    /// What decides the redraws.
    #[arg(long, default_value = "1")]
    pub seed: u64,
}

/// An agent.
#[derive(Args, Debug)]
pub struct AgentArgs {
    /// Where orders are taken.
    #[arg(long, default_value = "127.0.0.1:7300")]
    pub listen: SocketAddr,

    /// A file with a key of 16 bytes and more, that who orders must have, too.
    #[arg(long)]
    pub key_file: Option<PathBuf>,

    /// Take orders from every stranger who can reach the address.
    #[arg(long)]
    pub insecure_open: bool,

    /// Cores to run on, by the kernel's numbers (1 or 0,2-5). Every core allowed when not given.
    #[arg(long, value_parser = units::cores)]
    pub cores: Option<std::vec::Vec<usize>>,

    /// Serve the one order of the connection that is standard input.
    #[arg(long, hide = true)]
    pub inherited: bool,
}

/// A history.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// What --history wrote.
    pub file: PathBuf,
}

/// A folder of results.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// The folder that --out wrote.
    pub folder: PathBuf,
}

/// Whether this machine can.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Connections that shall be held.
    #[arg(short = 'c', long, default_value = "10k", value_parser = units::count)]
    pub connections: u64,

    /// Addresses to connect from.
    #[arg(long, value_parser = units::sources)]
    pub source: Option<std::vec::Vec<IpAddr>>,

    /// Addresses that are connected to.
    #[arg(long, default_value = "1", value_parser = units::count)]
    pub targets: u64,
}

/// These words as a line that a shell reads back as the same words.
#[must_use]
pub fn quoted(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+,./:@%".contains(c);
    let quote = |word: &String| match !word.is_empty() && word.chars().all(plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_are_read_with_their_units() {
        let line = "loadgen run resp://h:1 -c 10k --rate 200k --ramp 1000/s --duration 30s --warm-up 500ms \
                    --mix get=1,del=2 --cores 1,3-4 --source 127.0.0.2-127.0.0.9 --timeout 1ms --no-load";
        let Command::Run(run) = Cli::try_parse_from(line.split_whitespace()).unwrap().command else {
            panic!("run was asked for")
        };
        assert_eq!(run.connections, 10_000);
        assert_eq!(run.rate, Some(Rate { milli: 200_000_000 }));
        assert_eq!(run.ramp, Some(Rate { milli: 1_000_000 }));
        assert_eq!(run.duration, Some(Duration::from_secs(30)));
        assert_eq!(run.warm_up, Duration::from_millis(500));
        assert_eq!(run.mix, Mix { get: 1, set: 0, del: 2 });
        assert_eq!(run.cores, Some(vec![1, 3, 4]));
        assert_eq!(run.source.map(|all| all.len()), Some(8));
        assert_eq!(run.timeout, Duration::from_millis(1));
        assert!(run.no_load && !run.strict);
    }

    #[test]
    fn wrong_words_are_refused_with_what_would_be_right() {
        let refused = |line: &str| Cli::try_parse_from(line.split_whitespace()).unwrap_err().to_string();
        assert!(refused("loadgen run resp://h:1 --rate fast").contains("write 200k"));
        assert!(refused("loadgen run resp://h:1 --duration 30").contains("write 30s"));
        assert!(refused("loadgen run").contains("<TARGET>"));
    }

    #[test]
    fn a_quoted_line_reads_back() {
        let words = ["run", "a b", "it's", ""].map(String::from);
        assert_eq!(quoted(&words), r"run 'a b' 'it'\''s' ''");
    }
}
