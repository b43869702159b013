//! The program `faas`: what is typed becomes what is meant.

pub mod serve;
pub mod worker;

use reactor::Fatal;
use std::path::Path;

/// The tokens of a file, one a line. At least one.
fn tokens(path: &Path) -> Result<Vec<Box<str>>, Fatal> {
    let wrong = |why: String| Fatal::misuse(format!("--auth-file {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let tokens: Vec<Box<str>> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Into::into).collect();
    if tokens.is_empty() { Err(wrong("there is no token in it".to_owned())) } else { Ok(tokens) }
}
