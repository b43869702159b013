//! A short run of every fuzz target, from the corpus that the transcripts gave it.
//!
//! This is a smoke test: it says that each target builds and holds for some seconds, not that a reader is right.
//! It runs on the stable toolchain, so without a sanitizer; what it finds is a panic or an endless loop.

use super::{bounded, told};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

const VERSION: &str = "cargo-fuzz@0.13.2";

/// Seconds for each target.
const SECONDS: u32 = 15;

pub(super) fn run(root: &Path) -> Result<(), String> {
    let folders = folders(root);
    if folders.is_empty() {
        return Err("no folder named fuzz has a Cargo.toml".to_owned());
    }
    let tool = super::tool::path(root, "cargo-fuzz", VERSION)?;
    let mut runs = Vec::new();
    for folder in folders {
        told(fuzz(root, &tool, &folder, &["build", "--sanitizer", "none", "--fuzz-dir", "."]))?;
        for target in targets(&folder)? {
            runs.push(short_run(root, &tool, &folder, &target)?);
        }
    }
    // As many at a time as there are processors: each keeps one busy.
    let runs = Mutex::new(runs);
    let worker = || -> Result<(), String> {
        while let Some(run) = next(&runs) {
            told(run)?;
        }
        Ok(())
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        super::clients::together(workers.into_iter().map(|worker| worker.join().expect("it does not panic")))
    })
}

fn next(runs: &Mutex<Vec<Command>>) -> Option<Command> {
    runs.lock().expect("nobody panics who holds it").pop()
}

/// The tool at work in the folder of a fuzz crate.
fn fuzz(root: &Path, tool: &str, folder: &Path, words: &[&str]) -> Command {
    let mut command = bounded(tool);
    command.arg("fuzz").args(words);
    command.env("CARGO_TARGET_DIR", root.join("target/fuzz")).current_dir(folder);
    command
}

/// One target for some seconds. What it finds worth keeping goes to target/, so that the tree stays as it was.
fn short_run(root: &Path, tool: &str, folder: &Path, target: &str) -> Result<Command, String> {
    let found = root.join("target/fuzz-corpus").join(target);
    std::fs::create_dir_all(&found).map_err(|error| format!("{}: {error}", found.display()))?;
    let mut command = fuzz(root, tool, folder, &["run", "--sanitizer", "none", "--fuzz-dir", ".", target]);
    command.arg(&found);
    let kept = folder.with_file_name("corpus").join(target);
    if kept.exists() {
        command.arg(kept);
    }
    command.args(["--", &format!("-max_total_time={SECONDS}"), "-timeout=10"]);
    Ok(command)
}

/// Every folder named `fuzz` that is a crate, at the root or beside what it tests.
fn folders(root: &Path) -> Vec<PathBuf> {
    let above = ["", "runtime", "systems"].map(|name| root.join(name));
    let beside = above.iter().flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten());
    let candidates = beside.map(|entry| entry.path().join("fuzz")).chain([root.join("fuzz")]);
    let mut folders: Vec<PathBuf> = candidates.filter(|folder| folder.join("Cargo.toml").exists()).collect();
    folders.sort();
    folders.dedup();
    folders
}

/// The targets of a fuzz crate: the files of its fuzz_targets/.
fn targets(folder: &Path) -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(folder.join("fuzz_targets"));
    let entries = entries.map_err(|error| format!("{}: {error}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let sources = paths.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let mut names: Vec<String> =
        sources.filter_map(|path| path.file_stem().map(|name| name.to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}
