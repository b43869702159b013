//! The commands about the server as a whole.

use super::{Command, Here, Sub, Words, subcommand};
use crate::gather::Fold;
use crate::peer::Question;
use crate::refusal::Refusal;

type Parsed<'r> = Result<Command<'r>, Refusal>;

/// Which sections of INFO were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sections {
    /// The usual ones.
    All,
    /// Those with these names, in small letters.
    Named(Vec<String>),
}

impl Sections {
    /// Whether that section was asked for.
    #[must_use]
    pub fn has(&self, section: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == section),
        }
    }
}

pub(super) fn dbsize(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::All(Question::Size, Fold::Sum(0)))
}

/// FLUSHALL and FLUSHDB [SYNC | ASYNC]: one table, and it is always empty when the reply is sent.
pub(super) fn flush(words: Words<'_>) -> Parsed<'_> {
    match words.len() {
        1 => {}
        2 if words.is(1, "SYNC") || words.is(1, "ASYNC") => {}
        _ => return Err(Refusal::Syntax),
    }
    Ok(Command::All(Question::Flush, Fold::Done))
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
    let whole = |name: &String| matches!(name.as_str(), "default" | "all" | "everything");
    let sections =
        if names.is_empty() || names.iter().any(whole) { Sections::All } else { Sections::Named(names) };
    Ok(Command::All(Question::Stats, Fold::Info { sections, facts: Box::default(), cores: Vec::new() }))
}

pub(super) fn command(words: Words<'_>) -> Parsed<'_> {
    const SUBS: &[Sub] = &[
        Sub { name: "count", arity: 1, parse: describe },
        Sub { name: "docs", arity: -1, parse: describe },
        Sub { name: "info", arity: -1, parse: describe },
        Sub { name: "list", arity: -1, parse: list },
        Sub { name: "getkeys", arity: -3, parse: describe },
    ];
    if words.len() == 1 {
        return describe(words);
    }
    subcommand(words, "COMMAND", SUBS)
}

fn describe(words: Words<'_>) -> Parsed<'_> {
    Ok(Command::Here(Here::Describe(words)))
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
    ];
    subcommand(words, "CONFIG", SUBS)
}

/// CONFIG SET name value …: all or none.
fn set_parameters(words: Words<'_>) -> Parsed<'_> {
    if words.len().is_multiple_of(2) {
        return Err(Refusal::Arity("config|set".into()));
    }
    let mut change = None;
    for index in (1..words.len()).step_by(2) {
        change = crate::parameter::change(words.at(index), words.at(index + 1), words.limits)?.or(change);
    }
    match change {
        Some(clients_max) => Ok(Command::All(Question::ClientsMax(clients_max), Fold::Done)),
        None => Ok(Command::Here(Here::Nothing)),
    }
}
