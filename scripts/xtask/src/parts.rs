//! The parts of a full test, run one after another and counted.
//!
//! A stranger runs this first, on a machine with little on it, and wants one answer; so nothing stops at the
//! first failure, every part says how long it took, and the last line is the sum. The hard thing is that a part
//! may hang where a test would only fail: each program a part starts has a bound and is ended past it.

mod clients;
mod deny;
mod failures;
mod fuzz;
mod tool;

use cargo_metadata::Message;
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

/// No part may take longer; the slowest takes a quarter of this on two cores.
const PART_SECONDS_MAX: u32 = 3600;

/// How many words of a [`bounded`] command are the bound.
const BOUND_WORDS: usize = 3;

/// How many seeds each long simulation runs; the fast ones choose some ten to some hundred themselves.
const LONG_SEEDS: &str = "300";
/// The same for the world itself, whose promises are many and each a world of its own.
const LONG_WORLD_SEEDS: &str = "100";

/// The same for systems whose worlds are clusters that elect leaders: many simulated minutes each.
const LONG_CLUSTER_SEEDS: &str = "30";
/// Which those are.
const CLUSTERS: &[&str] = &["scheduler"];

/// Which parts to run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Which {
    /// What a user runs: some 20 minutes on two cores the first time, half of them building
    Fast,
    /// What needs no more than cargo
    Ci,
    /// Everything
    All,
}

/// One part: it passes or it says why not.
struct Part {
    name: &'static str,
    /// In which choices it stands, besides `All`.
    stands_in: &'static [Which],
    run: fn(&Path) -> Result<(), String>,
}

const PARTS: &[Part] = &[
    Part { name: "format", stands_in: &[Which::Fast, Which::Ci], run: format },
    Part { name: "clippy", stands_in: &[Which::Fast, Which::Ci], run: clippy },
    Part { name: "tests", stands_in: &[Which::Fast, Which::Ci], run: tests },
    Part { name: "documents", stands_in: &[Which::Ci], run: documents },
    Part { name: "clients", stands_in: &[Which::Fast], run: clients::run },
    Part { name: "more clients", stands_in: &[], run: clients::run_more },
    Part { name: "deny", stands_in: &[Which::Ci], run: deny::run },
    Part { name: "long simulations", stands_in: &[], run: long_simulations },
    Part { name: "fuzz", stands_in: &[], run: fuzz::run },
    Part { name: "new system", stands_in: &[], run: new_system },
    Part { name: "demo", stands_in: &[], run: demo },
];

/// Runs the parts that `which` chooses, prints the minutes of each, and ends with the sum.
///
/// # Errors
/// The closing line, when a part failed.
pub(crate) fn run(root: &Path, which: Which, only: Option<&str>) -> Result<(), String> {
    let chosen = PARTS.iter().filter(|part| which == Which::All || part.stands_in.contains(&which));
    let chosen: Vec<&Part> = chosen.filter(|part| only.is_none_or(|word| part.name.contains(word))).collect();
    let mut failed = Vec::new();
    for part in &chosen {
        println!("\n== {}", part.name);
        let began = Instant::now();
        let outcome = (part.run)(root);
        let minutes = began.elapsed().as_secs_f64() / 60.0;
        match outcome {
            Ok(()) => println!("== {}: passed, {minutes:.1} minutes", part.name),
            Err(why) => {
                println!("== {}: FAILED, {minutes:.1} minutes: {why}", part.name);
                failed.push(format!("{}: {why}", part.name));
            }
        }
    }
    println!();
    for failure in &failed {
        println!("failed: {failure}");
    }
    let closing = format!("{} passed, {} failed", chosen.len() - failed.len(), failed.len());
    if chosen.is_empty() {
        return Err("no part has that name".to_owned());
    }
    println!("{closing}");
    if failed.is_empty() { Ok(()) } else { Err("scripts/test did not pass".to_owned()) }
}

fn format(root: &Path) -> Result<(), String> {
    told(cargo(root, &["fmt", "--all", "--check"]))
}

fn clippy(root: &Path) -> Result<(), String> {
    told(cargo(root, &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

fn tests(root: &Path) -> Result<(), String> {
    failures::told_tests(cargo(root, &["test", "--workspace", "--locked", "--no-fail-fast"]))
}

fn documents(root: &Path) -> Result<(), String> {
    let mut command = cargo(
        root,
        &["doc", "--workspace", "--lib", "--no-deps", "--document-private-items", "--locked", "--quiet"],
    );
    command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    told(command)
}

/// The simulations of every system and of the world itself, with more seeds. Other tests are not repeated.
fn long_simulations(root: &Path) -> Result<(), String> {
    // As the whole workspace is built, so that nothing is built again; then each program by itself, since not all
    // run the same number of seeds.
    let words = ["test", "--workspace", "--locked", "--no-run", "--message-format=json-render-diagnostics"];
    let built = cargo(root, &words).stderr(Stdio::inherit()).output().map_err(|error| error.to_string())?;
    let messages = Message::parse_stream(built.stdout.as_slice());
    let programs = messages.flatten().filter_map(|message| match message {
        Message::CompilerArtifact(artifact) if artifact.target.is_test() => {
            let folder = artifact.manifest_path.parent()?.to_owned();
            Some((folder, artifact.executable?))
        }
        _ => None,
    });
    let systems = systems(root);
    let mut outcomes = Vec::new();
    for (folder, program) in programs {
        let package = folder.file_name().unwrap_or_default().to_owned();
        let seeds = match package.as_str() {
            "sim" => LONG_WORLD_SEEDS,
            name if CLUSTERS.contains(&name) => LONG_CLUSTER_SEEDS,
            name if systems.iter().any(|system| system == name) => LONG_SEEDS,
            _ => continue,
        };
        println!("{package}, {seeds} seeds");
        let mut command = bounded(program.as_str());
        command.env("RINGWISE_SEEDS", seeds).current_dir(folder);
        outcomes.push(failures::told_tests(command));
    }
    match (built.status.success(), outcomes.is_empty()) {
        (true, false) => clients::together(outcomes.into_iter()),
        _ => Err(format!("the tests could not be built: {}", built.status)),
    }
}

/// A system written by `new-system` into a copy of the tree passes its own tests and the rules of the tree.
fn new_system(root: &Path) -> Result<(), String> {
    let copy = root.join("target/new-system");
    let _ = std::fs::remove_dir_all(&copy);
    std::fs::create_dir_all(&copy).map_err(|error| format!("{}: {error}", copy.display()))?;
    let mut copying = bounded("tar");
    copying.args(["--exclude=target", "--exclude=./.git", "--exclude=./report", "-cf", "-", "."]);
    let archive = copy.join("tree.tar");
    let into = std::fs::File::create(&archive).map_err(|error| error.to_string())?;
    told(with(copying, |command| command.current_dir(root).stdout(into)))?;
    told(with(bounded("tar"), |command| command.args(["-xf", "tree.tar"]).current_dir(&copy)))?;
    let _ = std::fs::remove_file(&archive);
    // One target folder for both trees: what comes from outside is not built twice.
    let target = root.join("target");
    // The system alone: the others are built by everything else.
    let program = "build --profile test --package serve --bin tally --no-default-features --features tally";
    let program: Vec<&str> = program.split(' ').collect();
    let steps: [&[&str]; 4] = [
        &["run", "--quiet", "--package", "xtask", "--", "new-system", "tally"],
        &["fmt", "--package", "tally", "--check"],
        &["test", "--package", "tally", "--package", "xtask"],
        &program,
    ];
    for step in steps {
        told(with(cargo(&copy, step), |command| command.env("CARGO_TARGET_DIR", &target)))?;
    }
    std::fs::remove_dir_all(&copy).map_err(|error| format!("{}: {error}", copy.display()))
}

fn demo(root: &Path) -> Result<(), String> {
    let mut command = bounded(root.join("scripts/demo").to_str().unwrap_or("scripts/demo"));
    command.args(["--yes", "--connections", "1000", "--seconds", "5"]).current_dir(root);
    told(command)
}

/// The folders of systems/ that are systems.
fn systems(root: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(root.join("systems")).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().join("Cargo.toml").exists());
    let mut names: Vec<String> =
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name != "serve");
    names.sort();
    names
}

fn with(mut command: Command, change: impl FnOnce(&mut Command) -> &mut Command) -> Command {
    change(&mut command);
    command
}

/// The cargo that runs this, at work in `folder`.
fn cargo(folder: &Path, words: &[&str]) -> Command {
    let mut command = bounded(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    // Cargo sets these for what it runs; left in place they would make every other build start anew.
    for name in std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("CARGO_PKG_")) {
        command.env_remove(name);
    }
    command
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_MANIFEST_PATH")
        .args(words)
        .current_dir(folder);
    command
}

/// A program that is ended when it takes longer than a part may. It stays in our process group, so that an
/// interrupt from the terminal ends everything at once.
fn bounded(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--foreground", "--kill-after=10", &PART_SECONDS_MAX.to_string(), program]);
    command
}

/// Runs it, prints the command, and turns a bad end into a sentence.
fn told(command: Command) -> Result<(), String> {
    told_by(command, Command::status)
}

/// The same, for a command that is run by `run`.
fn told_by(
    mut command: Command,
    run: impl FnOnce(&mut Command) -> std::io::Result<ExitStatus>,
) -> Result<(), String> {
    let words: Vec<String> =
        command.get_args().skip(BOUND_WORDS).map(|word| word.to_string_lossy().into_owned()).collect();
    let name = words.first().map(PathBuf::from).and_then(|path| path.file_name().map(|name| name.to_owned()));
    let name = name.unwrap_or_default().to_string_lossy().into_owned();
    let shown = format!("{name} {}", words.get(1..).unwrap_or_default().join(" "));
    println!("$ {shown}");
    match run(&mut command) {
        Ok(status) if status.success() => Ok(()),
        Ok(status) if status.code() == Some(124) => {
            Err(format!("`{shown}` was ended after {PART_SECONDS_MAX} s"))
        }
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("`{shown}` could not be started: {error}")),
    }
}
