//! `scripts/flamegraph`: where the time of a server goes while it is asked, as a picture of its stacks and a table of
//! what costs most, by symbol and by group.
//!
//! The hard thing is that the program is optimised as a whole, so most functions are parts of others: frame pointers
//! tell who called, and each address is asked for the functions that were folded into that place (addr2line), so that
//! the parser is seen even where it has no frame of its own.

mod drawing;
mod group;
mod segment;
mod stack;

use crate::peers::contest::cell::{Cell, Size, What};
use crate::peers::contest::client::{By, Clients, is_there};
use crate::peers::record;
use crate::peers::server::{self, Kind, Server, require};
use clap::{Args, ValueEnum};
use group::Group;
use stack::Stacks;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Looks a second at what the server does; a prime, so that it does not keep step with timers.
const LOOKS_A_SECOND: &str = "1999";
/// The client goes on for so much longer than we look.
const SPARE: Duration = Duration::from_secs(3);
/// Symbols in the table.
const SYMBOLS: usize = 25;
/// Fewer looks tell nothing.
const LOOKS_MIN: u64 = 100;

/// Which system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum System {
    /// The hash table on one core
    Dht,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Asked {
    Get,
    Set,
    /// Nine reads and a write, zipfian
    Mix,
}

/// What is typed.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Whose time it is
    #[arg(value_enum)]
    system: System,
    /// Connections
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: u16,
    /// Requests in flight on each
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pipeline: u16,
    /// How long to look
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// What is asked
    #[arg(long, value_enum, default_value = "get")]
    what: Asked,
    /// Values of 1000 bytes in place of 3
    #[arg(long)]
    large: bool,
    /// Who asks
    #[arg(long, value_enum, default_value = "loadgen")]
    by: By,
    /// The folder of the bare client, for --by lg
    #[arg(long, value_name = "DIR")]
    bare: Option<PathBuf>,
    /// The server to look at, in place of the one built with frame pointers
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// The load generator, in place of the one built beside it
    #[arg(long, value_name = "FILE")]
    loadgen: Option<PathBuf>,
    /// Keep everything in this folder [default: report/flamegraph]
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Keep it in bench-results/runs/DATE-MACHINE-COMMIT/
    #[arg(long, conflicts_with = "save")]
    record: bool,
}

/// Asks the server, looks at it meanwhile, draws and tells.
///
/// # Errors
/// A sentence when something is missing, or when too little was seen.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), String> {
    let System::Dht = options.system;
    require("perf", "linux-perf")?;
    require("addr2line", "binutils")?;
    let built = root.join("target/profiling/profiling");
    let program = options.program.clone().unwrap_or_else(|| built.join("dht"));
    is_there(&program)?;
    let cell = options.cell();
    let load_before = record::load();
    let busy = record::busy();
    let (core, how) = server::part_cores()?;
    let clients = options.clients(root, built.join("loadgen"))?;
    let scratch = root.join("report/flamegraph");
    fs::create_dir_all(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
    let server = Server::start(Kind::Dht, &program, &core, None)?;
    let data = scratch.join("perf.data");
    look(&server, &clients, options, &cell, &data)?;
    let stacks = Stacks::read(&data, &program)?;
    if stacks.looks() < LOOKS_MIN {
        return Err(format!("{} looks are too few: the server had nothing to do.", stacks.looks()));
    }
    let facts = record::Facts::gather_as(root, load_before, "scripts/flamegraph", 2);
    let name = format!("dht-flamegraph-{}", cell.to_string().replace('/', "-"));
    let folder = match (&options.save, options.record) {
        (Some(folder), _) => folder.clone(),
        (None, true) => root.join("bench-results/runs").join(facts.run_name(root)).join(&name),
        (None, false) => scratch,
    };
    let told = told(&stacks, &cell, options.by, &how, busy.as_deref());
    println!("{told}");
    let page = format!("{told}\n{}\n", facts.line());
    keep(&folder, &stacks, &page, &format!("dht, {cell}, {} looks", stacks.looks()))
}

impl Options {
    fn cell(&self) -> Cell {
        Cell {
            what: match self.what {
                Asked::Get => What::Get,
                Asked::Set => What::Set,
                Asked::Mix => What::Mix,
            },
            size: if self.large { Size::Kilobyte } else { Size::Small },
            connections: usize::from(self.connections),
            pipeline: usize::from(self.pipeline),
        }
    }

    fn clients(&self, root: &Path, built: PathBuf) -> Result<Clients, String> {
        let loadgen = self.loadgen.clone().unwrap_or(built);
        match (self.by, &self.bare) {
            (By::Loadgen, _) => is_there(&loadgen)?,
            (By::Lg, Some(bare)) => is_there(&bare.join("lg"))?,
            (By::Lg, None) => return Err("--by lg needs --bare DIR, where lg is.".to_owned()),
            (By::RedisBenchmark, _) => require("redis-benchmark", "redis-tools")?,
            (By::Plain, _) => {}
        }
        Ok(Clients {
            loadgen,
            bare: self.bare.clone(),
            core: server::last_core(),
            duration: Duration::from_secs(u64::from(self.seconds)) + SPARE,
            scratch: root.join("report/flamegraph/loadgen"),
            spins: true,
            rate: None,
        })
    }
}

/// Has the server asked, and looks at it from when the client counts.
fn look(
    server: &Server,
    clients: &Clients,
    options: &Options,
    cell: &Cell,
    data: &Path,
) -> Result<(), String> {
    let before_counting = clients.foretold(cell) - clients.duration;
    std::thread::scope(|scope| {
        let client = scope.spawn(|| clients.run(options.by, server, cell));
        let begin = Instant::now() + before_counting;
        while Instant::now() < begin && !client.is_finished() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let looked = if client.is_finished() { Ok(()) } else { watch(server.pid(), options.seconds, data) };
        let sample = client.join().map_err(|_| "the client failed".to_owned())??;
        println!("{cell} by {}: {:.0}/s while it was looked at", options.by.name(), sample.rate);
        looked
    })
}

fn watch(pid: u32, seconds: u16, data: &Path) -> Result<(), String> {
    let mut command = Command::new("perf");
    command.args(["record", "-q", "-e", "cpu-clock", "-F", LOOKS_A_SECOND, "-g", "-o"]).arg(data);
    command.args(["-p", &pid.to_string(), "--", "sleep", &seconds.to_string()]);
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("perf: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(format!("perf may not look here; as root, or after `sysctl kernel.perf_event_paranoid=1`: {said}"))
}

/// The tables, and how to read them.
fn told(stacks: &Stacks, cell: &Cell, by: By, how: &str, busy: Option<&str>) -> String {
    let all = stacks.looks() as f64;
    let percent = |looks: u64| format!("{:.1} %", looks as f64 * 100.0 / all);
    let mut groups: BTreeMap<Group, u64> = BTreeMap::new();
    let mut symbols: BTreeMap<(&str, Group), u64> = BTreeMap::new();
    for (frames, looks) in stacks.iter() {
        let group = Group::of(frames);
        *groups.entry(group).or_default() += looks;
        let own = frames.last().map_or("nothing", String::as_str);
        *symbols.entry((own, group)).or_default() += looks;
    }
    let mut text = format!(
        "# Where the time goes: {cell}\n\ndht on one core, asked by {}; {} looks at {LOOKS_A_SECOND} a second of \
         processor time, kernel and program. {how}. `flame.svg` is the picture (open it in a browser: names and \
         shares show where the pointer rests), `stacks.folded` the stacks in the form that flame graph tools \
         read.{}\n\n| group | share |\n|---|---|\n",
        by.name(),
        stacks.looks(),
        busy.map(|busy| format!(" {busy}")).unwrap_or_default()
    );
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, looks)| std::cmp::Reverse(*looks));
    for (group, looks) in groups {
        let _ = writeln!(text, "| {} | {} |", group.name(), percent(looks));
    }
    text += "\n| symbol, its own time | group | share |\n|---|---|---|\n";
    let mut symbols: Vec<_> = symbols.into_iter().collect();
    symbols.sort_by_key(|(_, looks)| std::cmp::Reverse(*looks));
    for ((symbol, group), looks) in symbols.into_iter().take(SYMBOLS) {
        let _ =
            writeln!(text, "| `{}` | {} | {} |", symbol.replace('|', "\\|"), group.name(), percent(looks));
    }
    text
}

fn keep(folder: &Path, stacks: &Stacks, page: &str, title: &str) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(wrong)?;
    fs::write(folder.join("README.md"), page).map_err(wrong)?;
    fs::write(folder.join("stacks.folded"), stacks.folded()).map_err(wrong)?;
    fs::write(folder.join("flame.svg"), drawing::svg(stacks, title)).map_err(wrong)?;
    println!("Kept in {}", folder.display());
    Ok(())
}
