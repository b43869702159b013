//! Runs tests, cargo's and the scripts of clients, and keeps what those that failed said.
//!
//! A whole run prints thousands of lines, and who reads it often has only the last of them; so the names of failed
//! tests belong to the sentence that ends the part, and their words are printed once more with it.

use super::told_by;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Lines of failed tests that are printed once more; a test that fails a thousand times over says it in the first.
const LINES_MAX: usize = 120;

/// How long after the end of a program lines of it may still come.
const LATE_MAX: Duration = Duration::from_secs(2);

/// Runs the command as [`super::told`] does; when it ends badly, the sentence names the tests that failed.
///
/// # Errors
/// The sentence.
pub(super) fn told_tests(mut command: Command) -> Result<(), String> {
    command.stdout(Stdio::piped());
    let mut heard = Heard::default();
    let outcome = told_by(command, |command| {
        let mut child = command.spawn()?;
        let output = child.stdout.take().map(BufReader::new);
        let (say, said) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| output.split(b'\n')).map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                println!("{line}");
                // It is read on when nobody hears it: who writes it would wait otherwise.
                let _ = say.send(line);
            }
        });
        let status = child.wait()?;
        // Whatever it leaves behind holds the other end and may never let go.
        while let Ok(line) = said.recv_timeout(LATE_MAX) {
            heard.hear(&line);
        }
        Ok(status)
    });
    outcome.map_err(|why| heard.close(&why))
}

/// What was heard of tests that failed.
#[derive(Default)]
struct Heard {
    names: Vec<String>,
    words: Vec<String>,
    /// Between the line that opens the list of failures and the one that ends a program's tests; in a script, between
    /// the line of a test that failed and that of the next.
    in_failures: bool,
}

impl Heard {
    fn hear(&mut self, line: &str) {
        match line {
            "failures:" => self.in_failures = true,
            _ if line.starts_with("test result:") || is_script_line(line) => self.in_failures = false,
            _ if self.in_failures && self.words.len() < LINES_MAX => self.words.push(line.to_owned()),
            _ => {}
        }
        let failed = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
        self.names.extend(failed.map(|name| name.trim_end().to_owned()));
        let failed = line.strip_prefix("  test_").and_then(|rest| rest.strip_suffix(": FAILED"));
        if let Some(name) = failed {
            self.in_failures = true;
            self.names.push(format!("test_{name}"));
        }
    }

    fn close(&self, why: &str) -> String {
        if self.names.is_empty() {
            return why.to_owned();
        }
        format!("{why}: {}\n{}", self.names.join(", "), self.words.join("\n"))
    }
}

/// Whether it is one that a script of scripts/clients/ ends a test or all of them with.
fn is_script_line(line: &str) -> bool {
    let is_of_a_test =
        line.starts_with("  test_") && (line.ends_with(": held") || line.ends_with(": FAILED"));
    is_of_a_test || line.starts_with("  ") && line.contains(" held, ") && line.ends_with(" failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words_of_failed_tests_are_kept() {
        let mut heard = Heard::default();
        let said = "running 2 tests\ntest one ... ok\ntest two ... FAILED\n\nfailures:\n\n---- two stdout ----\nleft: 1\n\n\
                    failures:\n    two\n\ntest result: FAILED. 1 passed\nafterwards";
        said.lines().for_each(|line| heard.hear(line));
        let closing = heard.close("`cargo test` ended with 101");
        assert!(closing.starts_with("`cargo test` ended with 101: two\n"), "{closing}");
        assert!(closing.contains("left: 1") && !closing.contains("afterwards"), "{closing}");
        assert_eq!(Heard::default().close("why"), "why");
    }
    #[test]
    fn names_and_words_of_scripts_that_failed_are_kept() {
        let mut heard = Heard::default();
        let said = "  test_one: held\n  test_two: FAILED\nTraceback:\nAssertionError: left\n  test_three: held\n\
                    afterwards\n  2 held, 1 failed";
        said.lines().for_each(|line| heard.hear(line));
        let closing = heard.close("`python3 one.py` ended with 1");
        assert_eq!(closing, "`python3 one.py` ended with 1: test_two\nTraceback:\nAssertionError: left");
    }
}
