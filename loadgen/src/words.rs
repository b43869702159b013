//! Words of a command line that concern a series of runs, taken out of those that concern each run. What is left is
//! read by the one reader of `loadgen run`, so a series knows every option there is.

use crate::cli::{Cli, Command, RunArgs, quoted};
use clap::Parser;
use reactor::Fatal;

/// Takes the value of this option out of the words: `--name value`, `--name=value`, and the same for the short one.
/// The last counts.
///
/// # Errors
/// A sentence, when the value is missing.
pub fn take(words: &mut Vec<String>, names: &[&str]) -> Result<Option<String>, Fatal> {
    let mut found = None;
    let mut at = 0;
    while at < words.len() {
        let word = words[at].clone();
        let (name, value) =
            word.split_once('=').map_or((&word[..], None), |(name, value)| (name, Some(value)));
        if !names.contains(&name) {
            at += 1;
            continue;
        }
        words.remove(at);
        found = match value {
            Some(value) => Some(value.to_owned()),
            None if at < words.len() => Some(words.remove(at)),
            None => return Err(Fatal::misuse(format!("{name} wants a value"))),
        };
    }
    Ok(found)
}

/// These words as a run: its options, and its line for a shell.
///
/// # Errors
/// A sentence, when they are none.
pub fn run(words: &[String]) -> Result<(Box<RunArgs>, String), Fatal> {
    let line = ["loadgen", "run"].into_iter().map(str::to_owned).chain(words.iter().cloned());
    let cli = Cli::try_parse_from(line).map_err(|error| Fatal::misuse(error.to_string()))?;
    let Command::Run(mut typed) = cli.command else {
        return Err(Fatal::misuse("it is no run".to_owned()));
    };
    typed.words = words.to_vec();
    Ok((typed, format!("loadgen run {}", quoted(words))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_series_are_taken_out_however_they_are_written() {
        let check = |line: &str, expected: Option<&str>, left: &str| {
            let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(take(&mut words, &["--connections", "-c"]).unwrap().as_deref(), expected, "{line}");
            assert_eq!(words.join(" "), left);
        };
        check("t --connections 1,2 -d 3s", Some("1,2"), "t -d 3s");
        check("t -d 3s -c=5", Some("5"), "t -d 3s");
        check("t -c 1 -c 2", Some("2"), "t");
        check("t -d 3s", None, "t -d 3s");
        let mut words = vec!["t".to_owned(), "-c".to_owned()];
        assert!(take(&mut words, &["-c"]).is_err());
    }
}
