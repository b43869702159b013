//! Licences, sources and advisories of what we build in, by cargo-deny; and whether every workspace of the tree is locked
//! to what it needs, since those beside the main one are built seldom.
//!
//! The tool takes some three minutes to build, once, into target/tools. The list of advisories is fetched from
//! the network; a machine that cannot reach it checks everything else and says so, for that is no fault of the tree.

use super::clients::together;
use super::{bounded, cargo, told, with};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// Known to read our deny.toml.
const VERSION: &str = "cargo-deny@0.20.2";

pub(super) fn run(root: &Path) -> Result<(), String> {
    together(workspaces(root).iter().map(|folder| {
        let locked = cargo(folder, &["metadata", "--locked", "--format-version", "1"]);
        let outcome = told(with(locked, |command| command.stdout(Stdio::null())));
        outcome.map_err(|why| format!("{}: {why}", folder.join("Cargo.lock").display()))
    }))?;
    let tool = super::tool::path(root, "cargo-deny", VERSION)?;
    let in_root = |words: &[&str]| with(bounded(&tool), |command| command.args(words).current_dir(root));
    told(in_root(&["check", "bans", "licenses", "sources"]))?;
    if told(in_root(&["fetch", "db"])).is_err() {
        println!("The list of advisories cannot be fetched from here: advisories were not checked.");
        return Ok(());
    }
    told(in_root(&["check", "--disable-fetch", "advisories"]))
}

/// The folders with a lock file, this one included; what is built and what is hidden is not looked at.
fn workspaces(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut rest = vec![root.to_owned()];
    while let Some(folder) = rest.pop() {
        if folder.join("Cargo.lock").exists() {
            found.push(folder.clone());
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && name != "target" && !name.starts_with('.') {
                rest.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workspace_of_the_tree_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let found = workspaces(&root);
        let named = |name: &str| found.iter().any(|folder| folder.ends_with(name));
        assert!(
            named("scripts/hop_bench") && named("runtime/wire/fuzz") && found.contains(&root),
            "{found:?}"
        );
    }
}
