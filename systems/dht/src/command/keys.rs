//! The commands on keys, whatever is stored there.

use super::{Command, Here, Sub, Words, subcommand};
use crate::act::{Act, Aspect, ExpireWhen, Unit};
use crate::gather::Fold;
use crate::refusal::Refusal;

type Parsed<'r> = Result<Command<'r>, Refusal>;

pub(super) fn del(words: Words<'_>) -> Parsed<'_> {
    several(words, Act::Del)
}

pub(super) fn exists(words: Words<'_>) -> Parsed<'_> {
    several(words, Act::Exists)
}

/// Counts the keys for which the act was done. One key needs no gathering.
fn several(words: Words<'_>, act: Act) -> Parsed<'_> {
    if words.len() == 2 { words.one(act) } else { words.many(act, 1, Fold::Sum(0)) }
}

pub(super) fn kind(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::Type)
}

pub(super) fn persist(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::Persist)
}

pub(super) fn ttl(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::Ttl(Unit::Seconds))
}

pub(super) fn pttl(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::Ttl(Unit::Millis))
}

pub(super) fn expiretime(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::ExpireTime(Unit::Seconds))
}

pub(super) fn pexpiretime(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::ExpireTime(Unit::Millis))
}

pub(super) fn touch(words: Words<'_>) -> Parsed<'_> {
    several(words, Act::Touch)
}

pub(super) fn object(words: Words<'_>) -> Parsed<'_> {
    const SUBS: &[Sub] = &[
        Sub { name: "encoding", arity: 2, parse: |words| words.one(Act::Object(Aspect::Encoding)) },
        Sub { name: "freq", arity: 2, parse: |words| words.one(Act::Object(Aspect::Frequency)) },
        Sub { name: "idletime", arity: 2, parse: |words| words.one(Act::Object(Aspect::IdleTime)) },
        Sub { name: "refcount", arity: 2, parse: |words| words.one(Act::Object(Aspect::References)) },
        Sub { name: "help", arity: 1, parse: |_| Ok(Command::Here(Here::Lines(OBJECT_HELP))) },
    ];
    subcommand(words, "OBJECT", SUBS)
}

const OBJECT_HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    How the value would be kept by Redis: int, embstr or raw.",
    "FREQ <key>",
    "    An error: how often keys are used is not counted.",
    "IDLETIME <key>",
    "    Seconds since the key was last used.",
    "REFCOUNT <key>",
    "    How many hold the value.",
    "HELP",
    "    Prints this help.",
];

pub(super) fn expire(words: Words<'_>) -> Parsed<'_> {
    let now_ms = words.wall.millis() as i64;
    expire_after(words, now_ms, 1000, "expire")
}

pub(super) fn pexpire(words: Words<'_>) -> Parsed<'_> {
    let now_ms = words.wall.millis() as i64;
    expire_after(words, now_ms, 1, "pexpire")
}

pub(super) fn expireat(words: Words<'_>) -> Parsed<'_> {
    expire_after(words, 0, 1000, "expireat")
}

pub(super) fn pexpireat(words: Words<'_>) -> Parsed<'_> {
    expire_after(words, 0, 1, "pexpireat")
}

/// An end so many units of `unit_ms` milliseconds after `since_ms`. One that is past is in range: it removes the key.
fn expire_after<'r>(words: Words<'r>, since_ms: i64, unit_ms: i64, name: &'static str) -> Parsed<'r> {
    let when = expire_when(&words)?;
    let at_ms = words
        .integer(2)?
        .checked_mul(unit_ms)
        .and_then(|millis| millis.checked_add(since_ms))
        .ok_or(Refusal::ExpireTime(name))?;
    words.one(Act::Expire { at_ms, when })
}

fn expire_when(words: &Words<'_>) -> Result<ExpireWhen, Refusal> {
    let mut when = ExpireWhen::default();
    for index in 3..words.len() {
        if words.is(index, "NX") {
            when.absent = true;
        } else if words.is(index, "XX") {
            when.present = true;
        } else if words.is(index, "GT") {
            when.longer = true;
        } else if words.is(index, "LT") {
            when.shorter = true;
        } else {
            let word =
                String::from_utf8_lossy(&words.at(index)[..words.at(index).len().min(super::SHOWN_MAX)]);
            return Err(Refusal::Says(format!("ERR Unsupported option {word}").into()));
        }
    }
    if when.absent && (when.present || when.longer || when.shorter) {
        let says = "ERR NX and XX, GT or LT options at the same time are not compatible";
        return Err(Refusal::Says(says.into()));
    }
    if when.longer && when.shorter {
        return Err(Refusal::Says("ERR GT and LT options at the same time are not compatible".into()));
    }
    Ok(when)
}
