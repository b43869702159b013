//! The commands about the server as a whole.
//!
//! What depends on copies is answered as a server answers that has none: there is nobody to wait for.

use super::{Command, Fixed, Here, Sub, Words, help, subcommand};
use crate::act::{Act, Aspect};
use crate::gather::Fold;
use crate::keep::snapshot::Wish;
use crate::latency::LatencyWord;
use crate::parameter::{self, Change};
use crate::peer::{Question, Work};
use crate::refusal::Refusal;

type Parsed<'r> = Result<Command<'r>, Refusal>;

/// Which sections of INFO were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sections {
    /// The usual ones, without those of single commands and errors.
    Usual,
    /// All there are.
    All,
    /// Those with these names, in small letters.
    Named(Vec<String>),
}

impl Sections {
    /// Whether that section was asked for; `is_usual` when it is told without being named.
    #[must_use]
    pub fn has(&self, section: &str, is_usual: bool) -> bool {
        match self {
            Self::Usual => is_usual,
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == section || (is_usual && name == "default")),
        }
    }
}

pub(super) fn dbsize(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::Whole(Work::Size, Fold::Sum(0)))
}

/// FLUSHALL and FLUSHDB [SYNC | ASYNC]: one table, and it is always empty when the reply is sent.
pub(super) fn flush(words: Words<'_>) -> Parsed<'_> {
    match words.len() {
        1 => {}
        2 if words.is(1, "SYNC") || words.is(1, "ASYNC") => {}
        _ => return Err(Refusal::Syntax),
    }
    Ok(Command::Whole(Work::Flush, Fold::Done))
}

pub(super) fn time(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Time))
}

/// Sections that one INFO may name. There are fewer; the bound is on what a client can make us remember.
const SECTIONS_MAX: usize = 64;

pub(super) fn info(words: Words<'_>) -> Parsed<'_> {
    let names: Vec<String> = words
        .from(1)
        .take(SECTIONS_MAX)
        .map(|name| String::from_utf8_lossy(&name[..name.len().min(super::SHOWN_MAX)]).to_ascii_lowercase())
        .collect();
    let whole = |name: &String| matches!(name.as_str(), "all" | "everything");
    let sections = match () {
        () if names.is_empty() => Sections::Usual,
        () if names.iter().any(whole) => Sections::All,
        () => Sections::Named(names),
    };
    Ok(Command::All(Question::Stats, Fold::Info { sections, facts: Box::default(), cores: Vec::new() }))
}

pub(super) fn command(words: Words<'_>) -> Parsed<'_> {
    const SUBS: &[Sub] = &[
        Sub { name: "count", arity: 1, parse: describe },
        Sub { name: "docs", arity: -1, parse: describe },
        Sub { name: "info", arity: -1, parse: describe },
        Sub { name: "list", arity: -1, parse: list },
        Sub { name: "getkeys", arity: -3, parse: describe },
        Sub { name: "getkeysandflags", arity: -3, parse: describe },
        Sub { name: "help", arity: 1, parse: |_| helped(help::COMMAND) },
    ];
    if words.len() == 1 {
        return describe(words);
    }
    subcommand(words, "COMMAND", SUBS)
}

fn describe(words: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Describe(words)))
}

fn helped(lines: &'static [&'static str]) -> Parsed<'static> {
    Ok(Command::Here(Here::Lines(lines)))
}

fn told(fixed: Fixed) -> Parsed<'static> {
    Ok(Command::Here(Here::Told(fixed)))
}

fn says(words: &'static str) -> Refusal {
    Refusal::Says(words.into())
}

/// COMMAND LIST [FILTERBY PATTERN pattern | ACLCAT category | MODULE name].
fn list(words: Words<'_>) -> Parsed<'_> {
    let filters = ["PATTERN", "ACLCAT", "MODULE"];
    match words.len() {
        1 => describe(words),
        4 if words.is(1, "FILTERBY") && filters.iter().any(|filter| words.is(2, filter)) => describe(words),
        _ => Err(Refusal::Syntax),
    }
}

pub(super) fn config(words: Words<'_>) -> Parsed<'_> {
    const SUBS: &[Sub] = &[
        Sub { name: "get", arity: -2, parse: |words| Ok(Command::Here(Here::Parameters(words))) },
        Sub { name: "set", arity: -3, parse: set_parameters },
        Sub { name: "resetstat", arity: 1, parse: |_| Ok(Command::All(Question::ResetStats, Fold::Done)) },
        Sub {
            name: "rewrite",
            arity: 1,
            parse: |_| Err(says("ERR The server is running without a config file")),
        },
        Sub { name: "help", arity: 1, parse: |_| helped(help::CONFIG) },
    ];
    subcommand(words, "CONFIG", SUBS)
}

/// CONFIG SET name value …: all or none.
fn set_parameters(words: Words<'_>) -> Parsed<'_> {
    if words.len().is_multiple_of(2) {
        return Err(Refusal::Arity("config|set".into()));
    }
    let change = parameter::changes(&words.from(1).collect::<Vec<_>>(), words.limits)?;
    if change == Change::default() {
        return Ok(Command::Here(Here::Nothing));
    }
    Ok(Command::All(Question::Change(change), Fold::Done))
}

pub(super) fn memory(words: Words<'_>) -> Parsed<'_> {
    const WELL: &str = "Sam, I detected no issues in this instance: what keys, values and connections take is counted \
                        exactly, and nothing else grows.\n";
    const SUBS: &[Sub] = &[
        Sub { name: "usage", arity: -2, parse: memory_usage },
        Sub {
            name: "stats",
            arity: 1,
            parse: |_| Ok(Command::All(Question::Stats, Fold::Memory(Vec::new()))),
        },
        Sub { name: "doctor", arity: 1, parse: |_| told(Fixed::Text(WELL)) },
        Sub { name: "purge", arity: 1, parse: |_| Ok(Command::Here(Here::Nothing)) },
        Sub {
            name: "malloc-stats",
            arity: 1,
            parse: |_| told(Fixed::Text("Stats not supported for the current allocator")),
        },
        Sub { name: "help", arity: 1, parse: |_| helped(help::MEMORY) },
    ];
    subcommand(words, "MEMORY", SUBS)
}

/// MEMORY USAGE key [SAMPLES count]: no value here is nested, so nothing is sampled.
fn memory_usage(words: Words<'_>) -> Parsed<'_> {
    let mut index = 2;
    while index < words.len() {
        if !words.is(index, "SAMPLES") || index + 1 == words.len() {
            return Err(Refusal::Syntax);
        }
        if words.integer(index + 1)? < 0 {
            return Err(Refusal::Syntax);
        }
        index += 2;
    }
    words.one(Act::Object(Aspect::Cost))
}

/// Slow events that SLOWLOG GET shows when nobody says how many.
const SLOW_SHOWN: u32 = 10;

pub(super) fn slowlog(words: Words<'_>) -> Parsed<'_> {
    const SUBS: &[Sub] = &[
        Sub { name: "get", arity: -1, parse: slowlog_get },
        Sub { name: "len", arity: 1, parse: slowlog_len },
        Sub { name: "reset", arity: 1, parse: |_| Ok(Command::All(Question::SlowForget, Fold::Done)) },
        Sub { name: "help", arity: 1, parse: |_| helped(help::SLOWLOG) },
    ];
    subcommand(words, "SLOWLOG", SUBS)
}

fn slowlog_get(words: Words<'_>) -> Parsed<'_> {
    let count = match words.len() {
        1 => SLOW_SHOWN,
        2 => match words.integer(1) {
            Ok(-1) => words.limits.slow_max,
            Ok(count) if count >= 0 => u32::try_from(count).unwrap_or(u32::MAX).min(words.limits.slow_max),
            Ok(_) | Err(_) => return Err(says("ERR count should be greater than or equal to -1")),
        },
        _ => return Err(unknown_or_few(&words, "SLOWLOG")),
    };
    Ok(Command::All(Question::Slow(count), Fold::Slow(Vec::new(), count)))
}

fn slowlog_len(words: Words<'_>) -> Parsed<'_> {
    Ok(Command::All(Question::SlowCount, Fold::Bounded(0, words.limits.slow_max)))
}

/// What Redis says of a subcommand with too many words.
fn unknown_or_few(words: &Words<'_>, container: &str) -> Refusal {
    let word = String::from_utf8_lossy(words.at(0)).into_owned();
    Refusal::Says(
        format!("ERR unknown subcommand or wrong number of arguments for '{word}'. Try {container} HELP.")
            .into(),
    )
}

pub(super) fn latency(words: Words<'_>) -> Parsed<'_> {
    const SUBS: &[Sub] = &[
        Sub { name: "latest", arity: 1, parse: |_| samples(LatencyWord::Latest) },
        Sub { name: "history", arity: 2, parse: |words| samples(LatencyWord::History(shown(words.at(1)))) },
        Sub { name: "reset", arity: -1, parse: forget_samples },
        Sub {
            name: "doctor",
            arity: 1,
            parse: |words| samples(LatencyWord::Doctor { threshold_ms: words.limits.latency_ms }),
        },
        Sub { name: "graph", arity: 2, parse: |words| samples(LatencyWord::Graph(shown(words.at(1)))) },
        Sub { name: "histogram", arity: -1, parse: |_| told(Fixed::EmptyMap) },
        Sub { name: "help", arity: 1, parse: |_| helped(help::LATENCY) },
    ];
    subcommand(words, "LATENCY", SUBS)
}

fn samples(word: LatencyWord) -> Parsed<'static> {
    Ok(Command::All(Question::Latency, Fold::Latency(word, Vec::new())))
}

fn forget_samples(words: Words<'_>) -> Parsed<'_> {
    let named = words.from(1).take(EVENTS_MAX).map(shown).collect();
    Ok(Command::All(Question::LatencyForget(named), Fold::Latency(LatencyWord::Forgotten, Vec::new())))
}

/// Kinds of events that one LATENCY RESET may name. There are fewer.
const EVENTS_MAX: usize = 64;

fn shown(event: &[u8]) -> String {
    String::from_utf8_lossy(&event[..event.len().min(super::SHOWN_MAX)]).into_owned()
}

pub(super) fn debug(_: Words<'_>) -> Parsed<'_> {
    Err(says(
        "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a \
         local connection, otherwise you need to set this option in the configuration file, and then restart the \
         server.",
    ))
}

/// `SHUTDOWN [NOSAVE | SAVE] [NOW] [FORCE] | ABORT`. What the durability promises is kept in any case; SAVE makes a
/// snapshot first, so that the next start is short. Every form drains.
pub(super) fn shutdown(words: Words<'_>) -> Parsed<'_> {
    let (mut saves, mut stays, mut aborts, mut others) = (false, false, false, false);
    for index in 1..words.len() {
        match () {
            () if words.is(index, "SAVE") && !stays => saves = true,
            () if words.is(index, "NOSAVE") && !saves => stays = true,
            () if words.is(index, "NOW") || words.is(index, "FORCE") => others = true,
            () if words.is(index, "ABORT") => aborts = true,
            () => return Err(Refusal::Syntax),
        }
    }
    match (aborts, saves || stays || others) {
        (true, true) => Err(Refusal::Syntax),
        (true, false) => Err(says("ERR No shutdown in progress.")),
        (false, _) => Ok(Command::Here(Here::Shutdown { saves })),
    }
}

/// WAIT count timeout: nobody copies what is stored here, so nobody can be waited for.
pub(super) fn wait(words: Words<'_>) -> Parsed<'_> {
    words.integer(1)?;
    match words.integer(2) {
        Err(_) => Err(says("ERR timeout is not an integer or out of range")),
        Ok(timeout) if timeout < 0 => Err(says("ERR timeout is negative")),
        Ok(_) => told(Fixed::Number(0)),
    }
}

pub(super) fn save(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Save(Wish::Whole)))
}

pub(super) fn bgsave(words: Words<'_>) -> Parsed<'_> {
    let follows = match words.len() {
        1 => false,
        2 if words.is(1, "SCHEDULE") => true,
        _ => return Err(Refusal::Syntax),
    };
    Ok(Command::Here(Here::Save(Wish::Begun { follows })))
}

/// BGREWRITEAOF: a snapshot takes the place of the log before it, which is what is asked for.
pub(super) fn bgrewriteaof(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Save(Wish::Rewrite)))
}

pub(super) fn lastsave(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::LastSave))
}

pub(super) fn swapdb(words: Words<'_>) -> Parsed<'_> {
    let table = |index, which: &'static str| words.integer(index).map_err(|_| says(which));
    let (one, other) = (table(1, "ERR invalid first DB index")?, table(2, "ERR invalid second DB index")?);
    if (one, other) == (0, 0) {
        return Ok(Command::Here(Here::Nothing));
    }
    Err(says("ERR DB index is out of range"))
}

/// REPLICAOF and SLAVEOF: it is nobody's copy, and stays so.
pub(super) fn replicaof(words: Words<'_>) -> Parsed<'_> {
    if words.is(1, "NO") && words.is(2, "ONE") {
        return Ok(Command::Here(Here::Nothing));
    }
    Err(says("ERR REPLICAOF not allowed in cluster mode."))
}

pub(super) fn role(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Role))
}

pub(super) fn module(words: Words<'_>) -> Parsed<'_> {
    const SUBS: &[Sub] = &[Sub { name: "list", arity: 1, parse: |_| told(Fixed::Empty) }];
    subcommand(words, "MODULE", SUBS)
}

pub(super) fn acl(words: Words<'_>) -> Parsed<'_> {
    const SUBS: &[Sub] = &[Sub { name: "whoami", arity: 1, parse: |_| Ok(Command::Here(Here::WhoAmI)) }];
    subcommand(words, "ACL", SUBS)
}
