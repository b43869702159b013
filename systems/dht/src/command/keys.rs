//! The commands on keys, whatever is stored there.

use super::{Command, Here, Pair, Sub, Words, subcommand};
use crate::act::{Act, Aspect, ExpireWhen, Unit};
use crate::gather::{Fold, scan_place};
use crate::peer::{Page, Work};
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

pub(super) fn rename(words: Words<'_>) -> Parsed<'_> {
    let (from, to) = (words.key(1)?, words.key(2)?);
    Ok(Command::Pair(Pair { from, to, removes: true, replaces: true, counts: false }))
}

pub(super) fn renamenx(words: Words<'_>) -> Parsed<'_> {
    let (from, to) = (words.key(1)?, words.key(2)?);
    Ok(Command::Pair(Pair { from, to, removes: true, replaces: false, counts: true }))
}

/// `COPY source destination [DB 0] [REPLACE]`.
pub(super) fn copy(words: Words<'_>) -> Parsed<'_> {
    let (from, to) = (words.key(1)?, words.key(2)?);
    let mut replaces = false;
    let mut index = 3;
    while index < words.len() {
        if words.is(index, "REPLACE") {
            replaces = true;
        } else if words.is(index, "DB") && index + 1 < words.len() {
            index += 1;
            let table = words.integer(index)?;
            if i32::try_from(table).is_err() {
                let says = "ERR value is out of range, value must between -2147483648 and 2147483647";
                return Err(Refusal::Says(says.into()));
            }
            if table != 0 {
                return Err(Refusal::Says("ERR DB index is out of range".into()));
            }
        } else {
            return Err(Refusal::Syntax);
        }
        index += 1;
    }
    if from == to {
        return Err(Refusal::Says("ERR source and destination objects are the same".into()));
    }
    Ok(Command::Pair(Pair { from, to, removes: false, replaces, counts: true }))
}

pub(super) fn keys(words: Words<'_>) -> Parsed<'_> {
    Ok(Command::Whole(Work::Keys(words.at(1).into()), Fold::Keys(Vec::new())))
}

pub(super) fn randomkey(_: Words<'_>) -> Parsed<'_> {
    Ok(Command::Whole(Work::Sample, Fold::Sample(None, 0)))
}

/// Entries that a SCAN looks at unless told.
const COUNT: u64 = 10;

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type].
pub(super) fn scan(words: Words<'_>) -> Parsed<'_> {
    let cursor = cursor(words.at(1)).ok_or(Refusal::Says("ERR invalid cursor".into()))?;
    let (core, slot, cursor) = scan_place(cursor);
    let mut page = Page { slot, cursor, count: COUNT, pattern: None, none: false };
    for index in (2..words.len()).step_by(2) {
        if index + 1 >= words.len() {
            return Err(Refusal::Syntax);
        }
        if words.is(index, "COUNT") {
            let count = u64::try_from(words.integer(index + 1)?).unwrap_or(0);
            if count == 0 {
                return Err(Refusal::Syntax);
            }
            page.count = count;
        } else if words.is(index, "MATCH") {
            page.pattern = Some(words.at(index + 1).into());
        } else if words.is(index, "TYPE") {
            page.none = !words.is(index + 1, "STRING");
        } else {
            return Err(Refusal::Syntax);
        }
    }
    // No core has the last number; what a stranger's cursor names is answered with nothing.
    let core = u16::try_from(core).unwrap_or(u16::MAX);
    Ok(Command::Whole(Work::Scan(page), Fold::Page { core, cores: 0, next: 0, keys: Vec::new() }))
}

/// As `strtoul` reads it, which Redis uses: a sign is let pass, nothing is 0, too many digits are an error.
fn cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits
        .iter()
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    Some(if negative { number.wrapping_neg() } else { number })
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
