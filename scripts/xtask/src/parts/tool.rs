//! Tools that cargo can build, kept under target/tools so that nothing outside the tree changes.

use super::{cargo, told};
use std::path::Path;

/// The path of a cargo tool: the one on this machine, else one built once into target/tools.
///
/// # Errors
/// A sentence when it could not be built.
pub(super) fn path(root: &Path, name: &str, version: &str) -> Result<String, String> {
    let ours = root.join("target/tools/bin").join(name);
    if ours.exists() {
        return Ok(ours.display().to_string());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) =
        std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.exists())
    {
        return Ok(found.display().to_string());
    }
    println!("{name} is not here: building it once into target/tools");
    let into = root.join("target/tools").display().to_string();
    // Built in half the time, and quick enough for what it does here.
    told(cargo(root, &["install", version, "--locked", "--quiet", "--debug", "--root", &into]))?;
    Ok(ours.display().to_string())
}
