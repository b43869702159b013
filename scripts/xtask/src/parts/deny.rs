//! Licences, sources and advisories of what we build in, by cargo-deny.
//!
//! The tool takes some three minutes to build, once, into target/tools. The list of advisories is fetched from
//! the network; a machine that cannot reach it checks everything else and says so, for that is no fault of the tree.

use super::{bounded, told, with};
use std::path::Path;

/// Known to read our deny.toml.
const VERSION: &str = "cargo-deny@0.20.2";

pub(super) fn run(root: &Path) -> Result<(), String> {
    let tool = super::tool::path(root, "cargo-deny", VERSION)?;
    let in_root = |words: &[&str]| with(bounded(&tool), |command| command.args(words).current_dir(root));
    told(in_root(&["check", "bans", "licenses", "sources"]))?;
    if told(in_root(&["fetch", "db"])).is_err() {
        println!("The list of advisories cannot be fetched from here: advisories were not checked.");
        return Ok(());
    }
    told(in_root(&["check", "--disable-fetch", "advisories"]))
}
