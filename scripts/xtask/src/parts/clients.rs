//! Programs that people already have, against a real dht process: redis-cli, the client libraries of Python, Node
//! and Rust, a plain socket that speaks the framed text, and redis-server itself as the measure.
//!
//! Each file of scripts/clients/ that is not a helper is one script; it starts a server of its own on free
//! ports and ends with status 0 when everything it believes of the server held. Clients in other languages have a
//! folder there, are built under target/, and are started beside a server by a helper.

use super::failures::told_script;
use super::{bounded, cargo, told, with};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The Python library of that name, known to work with these scripts.
const LIBRARY: &str = "redis==8.1.0";

/// Those that speak HTTP, in the long run.
const HTTP_LIBRARIES: &[&str] = &["requests==2.34.2", "websockets==17.4"];

/// What a script's name begins with that speaks HTTP.
const HTTP: &str = "http_";

/// The program that most scripts ask.
const DHT: &str = "dht";

/// Programs that have scripts of their own, whose names begin with the program's; in the long run.
const PROGRAMS: &[&str] = &["balancer", "waves", "scheduler"];

/// The program that runs functions, whose clients need other libraries.
const FAAS: &str = "faas";

/// What those who have functions run pickle and ask with.
const FAAS_LIBRARIES: &[&str] = &["dill==0.4.1", "requests==2.34.2"];

/// What a script's name begins with that mounts disks, which takes root, or kills servers that keep; in the long run.
const DISK: &str = "durable";

/// How many seeds the comparison with redis-server goes through in the long run.
const LONG_SEEDS: &str = "15";

/// What the other languages need, by program and by package.
const NEEDED: &[(&str, &str)] = &[("node", "nodejs"), ("npm", "npm")];

/// The Python scripts.
pub(super) fn run(root: &Path) -> Result<(), String> {
    build_server(root)?;
    let python = python(root)?;
    let others = |file: &PathBuf| PROGRAMS.iter().chain([&DISK, &FAAS]).any(|program| is_of(program, file));
    let ours = |file: &&PathBuf| !is_http(file) && !others(file);
    all(scripts(root)?.iter().filter(ours).map(|file| script(&python, file, &program(root, DHT))))
}

/// The clients in Node and in Rust, and the comparison with redis-server over more seeds.
pub(super) fn run_more(root: &Path) -> Result<(), String> {
    build_server(root)?;
    let python = python(root)?;
    let compared = root.join("scripts/clients/compare_redis.py");
    let compare = script(&python, &compared, &program(root, DHT));
    let outcomes = [
        told_script(with(compare, |command| command.env("RINGWISE_SEEDS", LONG_SEEDS))),
        http(root),
        together(PROGRAMS.iter().map(|program| of(root, program))),
        faas(root),
        durable(root, &python),
        ioredis(root).and_then(|main| beside(root, &python, &["node", &main])),
        redis_rs(root).and_then(|program| beside(root, &python, &[&program])),
    ];
    together(outcomes.into_iter())
}

/// Disks that fill and fail, and kills that the load generator judges.
fn durable(root: &Path, python: &str) -> Result<(), String> {
    build(root, "loadgen")?;
    let ours = |file: &&PathBuf| is_of(DISK, file);
    all(scripts(root)?.iter().filter(ours).map(|file| script(python, file, &program(root, DHT))))
}

/// Clients that speak HTTP: curl, wrk, Python's libraries and a browser, to the table's page and to the face's own
/// tests.
fn http(root: &Path) -> Result<(), String> {
    missing(&[("curl", "curl"), ("chromium", "chromium"), ("wrk", "wrk")])?;
    told(cargo(root, &["build", "--profile", "test", "--locked", "--workspace", "--example", "stand"]))?;
    let python = python_with(root, "python-http", "import requests, websockets", HTTP_LIBRARIES)?;
    let ours = |file: &&PathBuf| is_http(file);
    all(scripts(root)?.iter().filter(ours).map(|file| script(&python, file, &program(root, DHT))))
}

/// A real process of that program and all that it starts: its words, its bounds, and what it must bear.
fn of(root: &Path, name: &str) -> Result<(), String> {
    build(root, name)?;
    // The driver of containers is shown with a real engine, and links are cut between namespaces.
    missing(&[
        ("dockerd", "docker.io"),
        ("docker", "docker.io"),
        ("iptables", "iptables"),
        ("ip", "iproute2"),
        ("curl", "curl"),
    ])?;
    let python = python_with(root, "python-http", "import requests, websockets", HTTP_LIBRARIES)?;
    let ours = |file: &&PathBuf| is_of(name, file);
    all(scripts(root)?.iter().filter(ours).map(|file| script(&python, file, &program(root, name))))
}

/// A real service with real workers, and the Python side of a worker by itself.
fn faas(root: &Path) -> Result<(), String> {
    build(root, FAAS)?;
    let python = python_with(root, "python-faas", "import dill, requests", FAAS_LIBRARIES)?;
    let ours = |file: &&PathBuf| is_of(FAAS, file);
    all(scripts(root)?.iter().filter(ours).map(|file| script(&python, file, &program(root, FAAS))))
}

fn build_server(root: &Path) -> Result<(), String> {
    build(root, DHT)
}

fn build(root: &Path, program: &str) -> Result<(), String> {
    // The profile of the tests: what `cargo test` has built is not built again.
    told(cargo(root, &["build", "--profile", "test", "--locked", "--workspace", "--bin", program]))
}

/// Runs every command; one that fails does not keep the next from running.
fn all(commands: impl Iterator<Item = Command>) -> Result<(), String> {
    together(commands.map(told_script))
}

pub(super) fn together(outcomes: impl Iterator<Item = Result<(), String>>) -> Result<(), String> {
    let failed: Vec<String> = outcomes.filter_map(Result::err).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// Where [`build`] leaves a program.
fn program(root: &Path, name: &str) -> PathBuf {
    root.join("target/debug").join(name)
}

/// A Python file of ours, given the program that it asks.
fn script(python: &str, file: &Path, program: &Path) -> Command {
    with(bounded(python), |command| {
        // What it says is read by us, and is to come when it is said.
        let said = [("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONUNBUFFERED", "1")];
        command.arg(file).arg(program).envs(said)
    })
}

/// Runs a program beside a server of its own.
fn beside(root: &Path, python: &str, words: &[&str]) -> Result<(), String> {
    let helper = root.join("scripts/clients/_beside.py");
    told(with(script(python, &helper, &program(root, DHT)), |command| command.args(words)))
}

/// The Node client with its library, under target/: what it is started by.
fn ioredis(root: &Path) -> Result<String, String> {
    missing(NEEDED)?;
    let folder = root.join("target/ioredis");
    std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for name in ["package.json", "package-lock.json", "main.js"] {
        let from = root.join("scripts/clients/ioredis").join(name);
        std::fs::copy(&from, folder.join(name)).map_err(|error| format!("{}: {error}", from.display()))?;
    }
    let words = ["ci", "--silent", "--no-fund", "--no-audit"];
    told(with(bounded("npm"), |command| command.args(words).current_dir(&folder)))?;
    Ok(folder.join("main.js").display().to_string())
}

/// Says what to install where a program is not here.
fn missing(needed: &[(&str, &str)]) -> Result<(), String> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps what is in the path of root alone.
    let for_root = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let here = |program: &str| {
        std::env::split_paths(&paths).chain(for_root.clone()).any(|folder| folder.join(program).exists())
    };
    let missing: Vec<&str> =
        needed.iter().filter(|(program, _)| !here(program)).map(|(_, package)| *package).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(format!("missing here: {0}; apt-get install {0}", missing.join(" "))),
    }
}

/// The Rust client, a workspace of its own, built under target/.
fn redis_rs(root: &Path) -> Result<String, String> {
    let target = root.join("target/redis_rs");
    let build = cargo(&root.join("scripts/clients/redis_rs"), &["build", "--locked", "--quiet"]);
    told(with(build, |command| command.env("CARGO_TARGET_DIR", &target)))?;
    Ok(target.join("debug/ringwise-clients-redis-rs").display().to_string())
}

/// The scripts, in order; a helper's name begins with an underscore.
fn scripts(root: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(root.join("scripts/clients"));
    let entries = entries.map_err(|error| format!("scripts/clients: {error}"))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let mut scripts: Vec<PathBuf> = paths.filter(|path| is_script(path)).collect();
    scripts.sort();
    Ok(scripts)
}

fn is_script(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".py") && !name.starts_with('_')
}

fn is_of(program: &str, path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_prefix(program).is_some_and(|rest| rest.starts_with('_'))
}

fn is_http(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(HTTP))
}

/// A Python that has the client library.
fn python(root: &Path) -> Result<String, String> {
    python_with(root, "python", "import redis", &[LIBRARY])
}

/// A Python that has these libraries: made once, under target/.
fn python_with(root: &Path, name: &str, has_all: &str, libraries: &[&str]) -> Result<String, String> {
    let folder = root.join("target").join(name);
    let python = folder.join("bin/python3").display().to_string();
    let has_libraries = with(bounded(&python), |command| command.args(["-c", has_all]));
    if folder.join("bin/python3").exists() && told(has_libraries).is_ok() {
        return Ok(python);
    }
    let _ = std::fs::remove_dir_all(&folder);
    told(with(bounded("python3"), |command| command.args(["-m", "venv"]).arg(&folder)))?;
    let install = ["-m", "pip", "install", "--quiet"];
    told(with(bounded(&python), |command| command.args(install).args(libraries)))?;
    Ok(python)
}
