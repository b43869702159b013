//! Runs tests, cargo's and the scripts of clients, and keeps what those that failed said.
//!
//! A whole run prints thousands of lines, and who reads it often has only the last of them; so the names of failed
//! tests belong to the sentence that ends the part, and their words are printed once more with it.

use super::told_by;
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Lines of failed tests that are printed once more; a test that fails a thousand times over says it in the first.
const LINES_MAX: usize = 120;

/// Lines that a script said last; a traceback through the threads of a client takes some thirty.
const LAST_MAX: usize = 60;

/// Characters of such a line.
const CHARACTERS_MAX: usize = 1000;

/// How long after the end of a program lines of it may still come.
const LATE_MAX: Duration = Duration::from_secs(2);

/// Runs cargo's tests as [`super::told`] does; when it ends badly, the sentence names the tests that failed.
///
/// # Errors
/// The sentence.
pub(super) fn told_tests(mut command: Command) -> Result<(), String> {
    command.stdout(Stdio::piped());
    told_heard(command)
}

/// The same for a script, whose last words are its failure where no test of it has a name.
///
/// # Errors
/// The sentence.
pub(super) fn told_script(mut command: Command) -> Result<(), String> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    told_heard(command)
}

fn told_heard(command: Command) -> Result<(), String> {
    let mut heard = Heard::default();
    let outcome = told_by(command, |command| {
        let mut child = command.spawn()?;
        let (say, said) = mpsc::channel();
        if let Some(stream) = child.stdout.take() {
            pass_on(stream, say.clone(), |line| println!("{line}"));
        }
        if let Some(stream) = child.stderr.take() {
            heard.is_script = true;
            pass_on(stream, say, |line| eprintln!("{line}"));
        }
        let status = child.wait()?;
        // Whatever it leaves behind holds the other end and may never let go.
        while let Ok(line) = said.recv_timeout(LATE_MAX) {
            heard.hear(&line);
        }
        Ok(status)
    });
    outcome.map_err(|why| heard.close(&why))
}

/// Prints every line when it comes, and says it.
fn pass_on(stream: impl Read + Send + 'static, say: mpsc::Sender<String>, print: fn(&str)) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            print(&line);
            // It is read on when nobody hears it: who writes it would wait otherwise.
            let _ = say.send(line);
        }
    });
}

/// What was heard of tests that failed.
#[derive(Default)]
struct Heard {
    names: Vec<String>,
    words: Vec<String>,
    /// What was said last, of a script.
    last: VecDeque<String>,
    is_script: bool,
    /// Between the line that opens the list of failures and the one that ends a program's tests; in a script, between
    /// the line of a test that failed and that of the next.
    in_failures: bool,
}

impl Heard {
    fn hear(&mut self, line: &str) {
        if self.is_script {
            self.last.push_back(shortened(line));
            self.last.drain(..self.last.len().saturating_sub(LAST_MAX));
        }
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
            let last = self.last.iter().map(|line| format!("\n{line}"));
            return why.to_owned() + &last.collect::<String>();
        }
        format!("{why}: {}\n{}", self.names.join(", "), self.words.join("\n"))
    }
}

/// Enough of a line: a value that is not as it should be may be pages long.
fn shortened(line: &str) -> String {
    match line.char_indices().nth(CHARACTERS_MAX) {
        None => line.to_owned(),
        Some((at, _)) => format!("{} …", &line[..at]),
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

    #[test]
    fn the_last_words_of_a_script_without_named_tests_are_kept() {
        let mut heard = Heard { is_script: true, ..Heard::default() };
        (0..LAST_MAX).for_each(|round| heard.hear(&format!("{round}: held")));
        heard.hear("AssertionError: left");
        let closing = heard.close("ended with 1");
        assert_eq!(shortened(&"ä".repeat(CHARACTERS_MAX + 1)), "ä".repeat(CHARACTERS_MAX) + " …");
        assert!(closing.starts_with("ended with 1\n1: held\n"), "{closing}");
        assert!(closing.ends_with("\nAssertionError: left"), "{closing}");
    }
}
