//! Whether this machine can serve: the reactor's findings, shown, or required before a start.

use crate::logs::{self, Level};
use reactor::Fatal;
use reactor::doctor::{Needs, examine, raise_locked_memory, raise_open_files, require};
use std::io::Write as _;

/// Descriptors that a core needs beside its connections: rings, eventfds, listeners, files.
const FILES_A_CORE: usize = 64;

fn needs(cores: usize, connections: usize) -> Needs {
    Needs { cores, open_files: (cores * FILES_A_CORE + connections) as u64 }
}

/// Prints every finding on standard output; the first that will not do is the outcome.
///
/// # Errors
/// Status 3 when something will not do.
pub fn show(connections: usize) -> Result<(), Fatal> {
    let needs = needs(reactor::allowed_cores().len(), connections);
    // As a start does.
    let _ = raise_locked_memory();
    let findings = examine(&needs);
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        let mark = if finding.ok { "ok   " } else { "lacks" };
        let _ = writeln!(out, "{mark} {}: {}", finding.name, finding.found);
        if let Some(mend) = finding.mend.as_ref().filter(|_| !finding.ok) {
            let _ = writeln!(out, "      {mend}");
        }
    }
    match findings.iter().filter(|finding| !finding.ok).count() {
        0 => Ok(()),
        count => Err(Fatal::machine(format!("{count} of {} will not do", findings.len()))),
    }
}

/// What a start needs: all but descriptors for every connection there may ever be, which is said and no reason to
/// stop.
///
/// # Errors
/// Status 3 with the sentence that mends it.
pub fn before_start(cores: usize, connections: usize) -> Result<(), Fatal> {
    // Where that is not enough, the finding says what is.
    let _ = raise_locked_memory();
    require(&needs(cores, 0))?;
    let wanted = needs(cores, connections).open_files;
    match raise_open_files() {
        Ok(found) if found < wanted => logs::say(
            Level::Warn,
            &format!(
                "{connections} connections want {wanted} open files and {found} are allowed: ulimit -n {wanted}"
            ),
        ),
        Ok(_) => {}
        Err(error) => logs::say(Level::Warn, &format!("the limit on open files stays as it is: {error}")),
    }
    Ok(())
}
