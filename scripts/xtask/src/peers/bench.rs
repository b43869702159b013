//! Programs of workspaces of their own (`scripts/hop_bench`, `scripts/driver_bench`), which measure and print a line of
//! JSON for each thing measured.

use super::server::allowed_cores;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Which one, and how it is asked.
pub(super) struct Bench<'a> {
    /// Its folder under scripts/, and its program.
    pub(super) name: &'static str,
    /// The program, in place of the one built for release.
    pub(super) given: Option<&'a PathBuf>,
    pub(super) rounds: u64,
    /// How long each measurement takes, as an option and its value.
    pub(super) lasting: (&'static str, u64),
}

impl Bench<'_> {
    /// Runs it to its end on the first and the last core and shows each line as it comes; it ends with us. The lines,
    /// and those cores.
    ///
    /// # Errors
    /// A sentence when there is one core, or it does not start, says what is not understood, or fails.
    pub(super) fn run<L>(
        &self,
        root: &Path,
        read: fn(&str) -> Option<L>,
        show: fn(&L) -> String,
    ) -> Result<(Vec<L>, [usize; 2]), String> {
        let cores = allowed_cores();
        let [first, .., last] = cores[..] else {
            return Err("One core may be used here, and this takes two.".to_owned());
        };
        let name = self.name;
        let built = || root.join("target").join(name).join("release").join(name);
        let program = self.given.cloned().unwrap_or_else(built);
        let (option, lasting) = self.lasting;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&program);
        command.args(["--cores", &format!("{first},{last}"), "--rounds", &self.rounds.to_string()]);
        command.args([option, &lasting.to_string()]);
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
        Ok((lines, [first, last]))
    }
}
