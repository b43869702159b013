//! What somebody wants run: a program text for an interpreter, with all that surrounds it and what it may use.
//!
//! It comes from strangers as JSON and is replicated, stored and handed to a worker, so it is checked once, here, and
//! every part has a bound. The one hard thing is how a text becomes a process without a file of ours: interpreters
//! that take a text as an argument get it so; any other is started by a shell that puts the text into an unlinked file
//! and gives its descriptor's path.

use machine::{Command, Limit, PipeKind};
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of program, arguments and environment together: what the kernel takes for one process, and some left over.
pub const WORDS_MAX: usize = 112 * 1024;

/// Bytes of standard input. It is in the ledger of every node, so it is no place for data.
pub const STDIN_MAX: usize = 256 * 1024;

/// The longest time limit: a day.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// The most that a job may declare: more than any machine has.
pub const CPU_MAX: f64 = 1024.0;
/// The same for memory, in MiB: 16 TiB.
pub const MEMORY_MB_MAX: u64 = 16 << 20;

/// The least address space a program gets, in MiB: below it an interpreter does not start, whatever it then uses.
const ADDRESS_SPACE_MB_MIN: u64 = 64;

/// What is wanted, checked.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]
pub struct Spec {
    /// The program's text.
    pub program: String,
    /// The interpreter's command line, as words.
    pub interpreter: Vec<String>,
    /// The program's arguments.
    pub args: Vec<String>,
    /// What it reads from its standard input.
    pub stdin: String,
    /// Its environment, besides PATH, HOME, LANG, JOB_ID and ATTEMPT.
    pub env: Vec<(String, String)>,
    /// How long it may run, in milliseconds.
    pub timeout_ms: u64,
    /// Thousandths of a processor that it declares.
    pub cpu_milli: u64,
    /// Memory that it declares, in MiB.
    pub memory_mb: u64,
    /// It is never started twice.
    pub at_most_once: bool,
}

/// The same as it is typed.
#[derive(serde::Deserialize, Clone, Debug)]
#[serde(default)]
struct Typed {
    program: Option<String>,
    interpreter: String,
    args: Vec<String>,
    stdin: String,
    env: BTreeMap<String, String>,
    timeout_s: f64,
    cpu: f64,
    memory_mb: f64,
    at_most_once: bool,
}

impl Default for Typed {
    fn default() -> Self {
        Self {
            program: None,
            interpreter: "python3".into(),
            args: Vec::new(),
            stdin: String::new(),
            env: BTreeMap::new(),
            timeout_s: 60.0,
            cpu: 1.0,
            memory_mb: 128.0,
            at_most_once: false,
        }
    }
}

impl Spec {
    /// Reads what somebody sent.
    ///
    /// # Errors
    /// A sentence for who sent it.
    pub fn read(json: &[u8]) -> Result<Self, String> {
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err("this is no job: a job is a JSON object".into());
        }
        let typed: Typed =
            serde_json::from_slice(json).map_err(|error| format!("this is no job: {error}"))?;
        Self::checked(typed)
    }

    fn checked(typed: Typed) -> Result<Self, String> {
        let program = typed.program.ok_or("a job needs a \"program\": the text to run")?;
        let interpreter = words(&typed.interpreter)?;
        let texts = typed.args.iter().chain(typed.env.values()).chain(interpreter.iter());
        if texts.chain([&program]).any(|text| text.contains('\0')) {
            return Err("a program, its arguments and its environment cannot hold a NUL".into());
        }
        if let Some(name) = typed.env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(format!("{name:?} cannot name a variable of the environment"));
        }
        let env: Vec<(String, String)> = typed.env.into_iter().collect();
        let bytes = program.len()
            + typed.args.iter().chain(&interpreter).map(|text| text.len() + 1).sum::<usize>()
            + env.iter().map(|(name, value)| name.len() + value.len() + 2).sum::<usize>();
        if bytes > WORDS_MAX {
            return Err(format!(
                "program, arguments and environment take {bytes} bytes; at most {WORDS_MAX} are taken"
            ));
        }
        if typed.stdin.len() > STDIN_MAX {
            return Err(format!(
                "standard input has {} bytes; at most {STDIN_MAX} are taken",
                typed.stdin.len()
            ));
        }
        let within = |name: &str, value: f64, most: f64| {
            let is_right = value > 0.0 && value <= most;
            is_right.then_some(value).ok_or_else(|| format!("{name} must be over 0 and at most {most}"))
        };
        Ok(Self {
            timeout_ms: (within("timeout_s", typed.timeout_s, TIMEOUT_MAX.as_secs_f64())? * 1000.0).ceil()
                as u64,
            cpu_milli: (within("cpu", typed.cpu, CPU_MAX)? * 1000.0).ceil() as u64,
            memory_mb: within("memory_mb", typed.memory_mb, MEMORY_MB_MAX as f64)?.ceil() as u64,
            program,
            interpreter,
            args: typed.args,
            stdin: typed.stdin,
            env,
            at_most_once: typed.at_most_once,
        })
    }

    /// The process that runs it.
    #[must_use]
    pub fn command(&self, id: &str, attempt: u32, dir: &str) -> Command {
        let mut words: Vec<Box<str>> = self.interpreter.iter().map(|word| word.as_str().into()).collect();
        let mut env: Vec<(Box<str>, Box<str>)> =
            self.env.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect();
        env.push(("JOB_ID".into(), id.into()));
        env.push(("ATTEMPT".into(), attempt.to_string().into()));
        match text_option(&self.interpreter) {
            TextOption::Python => words.extend(["-c".into(), self.program.as_str().into()]),
            TextOption::Shell => {
                words.extend([
                    "-c".into(),
                    self.program.as_str().into(),
                    self.interpreter[0].as_str().into(),
                ]);
            }
            TextOption::File => {
                words.splice(0..0, ["sh", "-c", FROM_FILE, "sh"].map(Into::into));
                words.insert(4, self.interpreter.len().to_string().into());
                env.push(("RINGWISE_PROGRAM".into(), self.program.as_str().into()));
            }
        }
        words.extend(self.args.iter().map(|arg| arg.as_str().into()));
        let program = words.remove(0);
        let cpu = Duration::from_millis(self.timeout_ms.saturating_mul(self.cpu_milli.div_ceil(1000)));
        Command {
            program,
            args: words,
            env,
            dir: Some(dir.into()),
            pipes: vec![PipeKind::Input, PipeKind::Output, PipeKind::Error],
            limits: vec![
                Limit::Memory(self.memory_mb.max(ADDRESS_SPACE_MB_MIN) << 20),
                // Its share of processors for all of its time: what the limit on time catches, too, unless it runs on
                // more processors than it declared.
                Limit::Cpu(cpu + Duration::from_secs(1)),
            ],
        }
    }
}

/// Puts the program's text into a file without a name, and goes on as the interpreter with that file: the first
/// argument says of how many words the interpreter is.
const FROM_FILE: &str = r#"
f=$(mktemp) || exit 127
printf %s "$RINGWISE_PROGRAM" >"$f" || exit 127
exec 9<"$f"; rm -f "$f"; unset RINGWISE_PROGRAM
n=$1; shift; i=0; all=$#
while [ $i -lt $all ]; do
  set -- "$@" "$1"; shift; i=$((i+1))
  [ $i -eq $n ] && set -- "$@" /dev/fd/9
done
exec "$@""#;

/// How an interpreter is given a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextOption {
    /// `-c TEXT ARGS`.
    Python,
    /// `-c TEXT NAME ARGS`.
    Shell,
    /// As a file.
    File,
}

fn text_option(interpreter: &[String]) -> TextOption {
    let [first, options @ ..] = interpreter else { return TextOption::File };
    // An option with a value, or a file, could stand behind: only what is surely an option is passed over.
    if !options
        .iter()
        .all(|word| word.starts_with('-') && word.len() == 2 && !word.ends_with(['c', 'm', 'o', 'W', 'X']))
    {
        return TextOption::File;
    }
    let name = first.rsplit('/').next().unwrap_or(first);
    let plain = name.trim_end_matches(|each: char| each.is_ascii_digit() || each == '.');
    match plain {
        "python" | "pypy" => TextOption::Python,
        "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" => TextOption::Shell,
        _ => TextOption::File,
    }
}

/// A command line as words: split at spaces, but for what stands in quotes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word): (Vec<String>, Option<String>) = (Vec::new(), None);
    let mut quote = None;
    for each in text.chars() {
        match (quote, each) {
            (Some(open), each) if each == open => quote = None,
            (Some(_), each) => word.get_or_insert_default().push(each),
            (None, '"' | '\'') => {
                quote = Some(each);
                word.get_or_insert_default();
            }
            (None, each) if each.is_whitespace() => words.extend(word.take()),
            (None, each) => word.get_or_insert_default().push(each),
        }
    }
    words.extend(word);
    match (quote, words.is_empty()) {
        (Some(_), _) => Err(format!("the interpreter {text:?} has a quote that does not end")),
        (None, true) => Err("the interpreter is empty".into()),
        (None, false) => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Spec {
        Spec::read(json.as_bytes()).expect("it is right")
    }

    #[test]
    fn what_is_not_said_has_the_usual_values() {
        let spec = spec(r#"{"program":"print(1)"}"#);
        assert_eq!(spec.interpreter, ["python3"]);
        assert_eq!((spec.timeout_ms, spec.cpu_milli, spec.memory_mb), (60_000, 1000, 128));
        assert!(!spec.at_most_once && spec.args.is_empty() && spec.stdin.is_empty() && spec.env.is_empty());
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_a_sentence() {
        #[track_caller]
        fn check(json: &str, words: &str) {
            let said = Spec::read(json.as_bytes()).expect_err(json);
            assert!(said.contains(words), "{json} said {said:?}");
        }
        check("", "no job");
        check("[]", "no job");
        check("{}", "needs a \"program\"");
        check(r#"{"program":7}"#, "line 1");
        check(r#"{"program":"","interpreter":" "}"#, "empty");
        check(r#"{"program":"","interpreter":"'a"}"#, "quote");
        check(r#"{"program":"","timeout_s":0}"#, "timeout_s");
        check(r#"{"program":"","cpu":-1}"#, "cpu");
        check(r#"{"program":"","memory_mb":1e99}"#, "memory_mb");
        check(r#"{"program":"a\u0000b"}"#, "NUL");
        check(r#"{"program":"","env":{"A=B":"c"}}"#, "variable");
        check(&format!(r#"{{"program":"{}"}}"#, "x".repeat(WORDS_MAX)), "at most");
        check(&format!(r#"{{"program":"","stdin":"{}"}}"#, "x".repeat(STDIN_MAX + 1)), "standard input");
    }

    #[test]
    fn a_text_is_given_as_the_interpreter_takes_it() {
        #[track_caller]
        fn check(interpreter: &str, expected: &str) {
            let json = serde_json::json!({"program": "TEXT", "interpreter": interpreter, "args": ["a", "b"]});
            let command = spec(&json.to_string()).command("id", 1, "/");
            let args: Vec<&str> = command.args.iter().map(|arg| &**arg).collect();
            let text = format!("{} {}", command.program, args.join(" ")).replace(FROM_FILE, "FILE");
            assert_eq!(text, expected);
        }
        check("python3", "python3 -c TEXT a b");
        check("/usr/bin/python3.11 -u", "/usr/bin/python3.11 -u -c TEXT a b");
        check("sh", "sh -c TEXT sh a b");
        check("bash -e", "bash -e -c TEXT bash a b");
        check("python3 -m x", "sh -c FILE sh 3 python3 -m x a b");
        check("perl", "sh -c FILE sh 1 perl a b");
    }
}
