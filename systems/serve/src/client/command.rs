//! A line that was typed, and what it asks for. A value is all that follows its key, spaces included, so the words
//! are cut by hand and not by spaces.

/// What the prompt says to `help`.
pub(super) const HELP: &str = "\
Commands, one a line:
  put KEY VALUE                     store; the value is all that follows the key, spaces included
  get KEY                           show the value, or NONE
  del KEY                           remove
  benchmark put|get|del FIRST COUNT one by one, six-digit keys from FIRST to FIRST+COUNT-1
  help                              this
  exit                              end, as Ctrl-D does

Answers are the server's own words: SUCCESS, the value, NONE, or FAILURE and why.
A value that reads SUCCESS or NONE looks like that answer; over RESP it does not.

Exit status when commands come from a pipe: 0, 1 when a server could not be reached,
2 when a line was no command (the others are done all the same).";

/// Keys of a benchmark are six digits.
const KEYS_END: u32 = 1_000_000;

/// What a line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// One request.
    Ask(Ask<'a>),
    /// Many of one kind.
    Benchmark { verb: Verb, first: u32, count: u32 },
    /// What can be typed?
    Help,
    /// The end.
    Exit,
    /// An empty line.
    Nothing,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask<'a> {
    pub(super) verb: Verb,
    pub(super) key: &'a [u8],
    /// Empty but for a put.
    pub(super) value: &'a [u8],
}

/// What is done with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Put,
    Get,
    Del,
}

impl Verb {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Del => "del",
        }
    }

    fn of(word: &[u8]) -> Option<Self> {
        match word {
            b"put" => Some(Self::Put),
            b"get" => Some(Self::Get),
            b"del" | b"rem" => Some(Self::Del),
            _ => None,
        }
    }
}

/// Reads a line, without its line end.
///
/// # Errors
/// A sentence that says how it would be right.
pub(super) fn parse(line: &[u8]) -> Result<Command<'_>, String> {
    let line = line.trim_ascii_start();
    let (word, rest) = word(line);
    if let Some(verb) = Verb::of(word) {
        return ask(verb, rest.unwrap_or_default()).map(Command::Ask);
    }
    match word {
        b"" => Ok(Command::Nothing),
        b"help" | b"?" => Ok(Command::Help),
        b"exit" | b"quit" => Ok(Command::Exit),
        b"benchmark" => benchmark(rest.unwrap_or_default()),
        _ => Err(format!("{:?} is no command; help tells them all", String::from_utf8_lossy(word))),
    }
}

fn ask(verb: Verb, rest: &[u8]) -> Result<Ask<'_>, String> {
    let rest = rest.trim_ascii_start();
    if verb == Verb::Put {
        return match word(rest) {
            ([_, ..], Some(value)) => Ok(Ask { verb, key: word(rest).0, value }),
            _ => Err("put needs a key and a value: put KEY VALUE".to_owned()),
        };
    }
    match rest.trim_ascii_end() {
        key @ [_, ..] if !key.contains(&b' ') => Ok(Ask { verb, key, value: b"" }),
        _ => Err(format!("{0} needs one key: {0} KEY", verb.name())),
    }
}

fn benchmark(rest: &[u8]) -> Result<Command<'_>, String> {
    const USAGE: &str = "benchmark needs three words: benchmark put|get|del FIRST COUNT";
    let text = str::from_utf8(rest).map_err(|_| USAGE)?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [verb, first, count] = words[..] else { return Err(USAGE.to_owned()) };
    let (Some(verb), Ok(first), Ok(count)) =
        (Verb::of(verb.as_bytes()), first.parse::<u32>(), count.parse::<u32>())
    else {
        return Err(USAGE.to_owned());
    };
    if count == 0 || first.checked_add(count).is_none_or(|end| end > KEYS_END) {
        return Err(format!("a benchmark has at least one key and none over {}", KEYS_END - 1));
    }
    Ok(Command::Benchmark { verb, first, count })
}

/// What precedes the first space, and what follows it if there is one.
fn word(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == b' ') {
        Some(space) => (&text[..space], Some(&text[space + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_or_a_sentence_that_says_how_it_would_be() {
        #[track_caller]
        fn check(line: &str, expected: Result<Command<'_>, &str>) {
            match (parse(line.as_bytes()), expected) {
                (Ok(command), Ok(expected)) => assert_eq!(command, expected, "{line:?}"),
                (Err(said), Err(words)) => assert!(said.contains(words), "{line:?} said {said:?}"),
                (found, _) => panic!("{line:?} is {found:?}"),
            }
        }
        fn asked<'a>(verb: Verb, key: &'a str, value: &'a str) -> Result<Command<'a>, &'static str> {
            Ok(Command::Ask(Ask { verb, key: key.as_bytes(), value: value.as_bytes() }))
        }
        check("put k v", asked(Verb::Put, "k", "v"));
        check("  put  k a  b ", asked(Verb::Put, "k", "a  b "));
        check("put k ", asked(Verb::Put, "k", ""));
        check("get k", asked(Verb::Get, "k", ""));
        check("del k  ", asked(Verb::Del, "k", ""));
        check("rem k", asked(Verb::Del, "k", ""));
        check("benchmark put 100000 5", Ok(Command::Benchmark { verb: Verb::Put, first: 100_000, count: 5 }));
        check(
            "benchmark get 0 1000000",
            Ok(Command::Benchmark { verb: Verb::Get, first: 0, count: 1_000_000 }),
        );
        check("help", Ok(Command::Help));
        check("exit", Ok(Command::Exit));
        check("", Ok(Command::Nothing));
        check("   ", Ok(Command::Nothing));
        check("put k", Err("put KEY VALUE"));
        check("put", Err("put KEY VALUE"));
        check("get", Err("get KEY"));
        check("get two words", Err("get KEY"));
        check("del", Err("del KEY"));
        check("set k v", Err("\"set\" is no command"));
        check("benchmark put 1", Err("FIRST COUNT"));
        check("benchmark jump 1 1", Err("FIRST COUNT"));
        check("benchmark put one 1", Err("FIRST COUNT"));
        check("benchmark put 1 0", Err("at least one key"));
        check("benchmark put 999999 2", Err("none over 999999"));
        check("benchmark put 4294967295 4294967295", Err("none over 999999"));
    }
}
