//! Programs that people already have, against a real dht process: redis-cli, the Python client library, and a
//! plain socket that speaks the framed text.
//!
//! Each file of scripts/clients/ that is not a helper is one script; it starts a server of its own on free
//! ports and ends with status 0 when everything it believes of the server held.

use super::{bounded, cargo, told, with};
use std::path::{Path, PathBuf};

/// The Python library of that name, known to work with these scripts.
const LIBRARY: &str = "redis==8.1.0";

pub(super) fn run(root: &Path) -> Result<(), String> {
    // The profile of the tests: what `cargo test` has built is not built again.
    told(cargo(root, &["build", "--profile", "test", "--locked", "--package", "serve", "--bin", "dht"]))?;
    let python = python(root)?;
    let mut failed = Vec::new();
    for script in scripts(root)? {
        let run = with(bounded(&python), |command| {
            command.arg(&script).arg(root.join("target/debug/dht")).env("PYTHONDONTWRITEBYTECODE", "1")
        });
        if let Err(why) = told(run) {
            failed.push(why);
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
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

/// A Python that has the client library: made once, under target/.
fn python(root: &Path) -> Result<String, String> {
    let folder = root.join("target/python");
    let python = folder.join("bin/python3").display().to_string();
    let has_library = with(bounded(&python), |command| command.args(["-c", "import redis"]));
    if folder.join("bin/python3").exists() && told(has_library).is_ok() {
        return Ok(python);
    }
    let _ = std::fs::remove_dir_all(&folder);
    told(with(bounded("python3"), |command| command.args(["-m", "venv"]).arg(&folder)))?;
    told(with(bounded(&python), |command| command.args(["-m", "pip", "install", "--quiet", LIBRARY])))?;
    Ok(python)
}
