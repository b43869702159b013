//! Programs of workspaces of their own (`scripts/hop_bench`, `scripts/driver_bench`), which measure and print a line of
//! JSON for each thing measured.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs one to its end and shows each line as it comes; it ends with us.
///
/// # Errors
/// A sentence when it does not start, says what is not understood, or fails.
pub(super) fn run<L>(
    program: &Path,
    words: &[String],
    read: fn(&str) -> Option<L>,
    show: fn(&L) -> String,
) -> Result<Vec<L>, String> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).args(words);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("setpriv does not start: {error}"))?;
    let stdout = child.stdout.take().ok_or_else(|| format!("{name} has no output"))?;
    let mut lines = Vec::new();
    for text in BufReader::new(stdout).lines() {
        let text = text.map_err(|error| format!("{name}: {error}"))?;
        let line = read(&text).ok_or_else(|| format!("{name} says {text}"))?;
        println!("{}", show(&line));
        lines.push(line);
    }
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    if !status.success() || lines.is_empty() {
        return Err(format!("{} ended with {status}; what it said stands above", program.display()));
    }
    Ok(lines)
}
