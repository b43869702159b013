//! Lines in, answers out. Answers go to standard output alone, one for each command; everything else that must be said
//! is a sentence on standard error, so that what reads the pipe reads answers.

use super::benchmark::Benchmark;
use super::command::{self, Command, HELP};
use super::reach::Reach;
use dht::Limits;
use reactor::Fatal;
use std::io::{self, BufRead, Read as _, Write};

/// What is shown where something is typed.
const SIGN: &str = "dht> ";
/// Bytes that a line may have besides its key and its value.
const AROUND: usize = 64;

/// A conversation.
#[derive(Debug)]
pub(super) struct Prompt {
    reach: Reach,
    value_size: usize,
    shows_sign: bool,
    /// Commands whose server could not be reached.
    unreached: u64,
    /// Lines that were no command.
    misused: u64,
}

/// Whether there is more to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Goes,
    Ends,
}

impl Prompt {
    pub(super) fn new(reach: Reach, value_size: usize, shows_sign: bool) -> Self {
        Self { reach, value_size, shows_sign, unreached: 0, misused: 0 }
    }

    /// Until `exit`, the end of the input, or of those who read the output.
    pub(super) fn talk(&mut self, mut input: impl BufRead, mut output: impl Write) {
        let line_max = (Limits::default().key_max + Limits::default().value_max + AROUND) as u64;
        let mut line = Vec::new();
        loop {
            if self.shows_sign && write!(output, "{SIGN}").and_then(|()| output.flush()).is_err() {
                return;
            }
            line.clear();
            match input.by_ref().take(line_max).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return eprintln!("dht client: the input cannot be read: {error}"),
            }
            let is_whole = line.ends_with(b"\n") || (line.len() as u64) < line_max;
            let then = if is_whole {
                self.one(cut(&line), &mut output)
            } else {
                self.misuse(&format!("a line may have {line_max} bytes"));
                input.skip_until(b'\n').map(|_| Then::Goes)
            };
            if then.and_then(|then| output.flush().map(|()| then)).unwrap_or(Then::Ends) == Then::Ends {
                return;
            }
        }
        if self.shows_sign {
            // Ctrl-D leaves the sign's line unended.
            let _ = writeln!(output);
        }
    }

    /// What a pipe's writer should know.
    ///
    /// # Errors
    /// Status 1 when a server could not be reached, else 2 when a line was no command.
    pub(super) fn verdict(&self) -> Result<(), Fatal> {
        let commands = |count: u64| if count == 1 { "1 command".into() } else { format!("{count} commands") };
        match (self.unreached, self.misused) {
            (0, 0) => Ok(()),
            (0, misused) => Err(Fatal::misuse(format!("{} not understood", commands(misused)))),
            (unreached, _) => {
                Err(Fatal { status: 1, sentence: format!("{} without an answer", commands(unreached)) })
            }
        }
    }

    fn one(&mut self, line: &[u8], output: &mut impl Write) -> io::Result<Then> {
        match command::parse(line) {
            Ok(Command::Nothing) => {}
            Ok(Command::Exit) => return Ok(Then::Ends),
            Ok(Command::Help) => writeln!(output, "{HELP}")?,
            Ok(Command::Ask(ask)) => match self.reach.ask(ask) {
                Ok(mut reply) => {
                    reply.push(b'\n');
                    output.write_all(&reply)?;
                }
                Err(lost) => self.unreached(&lost.to_string()),
            },
            Ok(Command::Benchmark { verb, first, count }) => {
                let benchmark = Benchmark { verb, first, count, value_size: self.value_size };
                match benchmark.run(&mut self.reach) {
                    Ok(report) => writeln!(output, "{report}")?,
                    Err((report, lost)) => {
                        writeln!(output, "{report}")?;
                        self.unreached(&lost.to_string());
                    }
                }
            }
            Err(sentence) => self.misuse(&sentence),
        }
        Ok(Then::Goes)
    }

    fn unreached(&mut self, sentence: &str) {
        self.unreached += 1;
        eprintln!("dht client: {sentence}");
    }

    fn misuse(&mut self, sentence: &str) {
        self.misused += 1;
        eprintln!("dht client: {sentence}");
    }
}

/// A line without its end.
fn cut(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_by_either_convention_and_a_value_keeps_its_spaces() {
        assert_eq!(cut(b"put k v \r\n"), b"put k v ");
        assert_eq!(cut(b"put k v\n"), b"put k v");
        assert_eq!(cut(b"put k v"), b"put k v");
        assert_eq!(cut(b"\n"), b"");
    }

    #[test]
    fn a_server_that_is_not_there_counts_more_than_a_line_that_is_none() {
        let prompt = |unreached, misused| Prompt {
            reach: Reach::one("127.0.0.1", 1),
            value_size: 20,
            shows_sign: false,
            unreached,
            misused,
        };
        assert!(prompt(0, 0).verdict().is_ok());
        assert_eq!(prompt(0, 2).verdict().unwrap_err().status, 2);
        assert_eq!(prompt(1, 2).verdict().unwrap_err().status, 1);
    }
}
