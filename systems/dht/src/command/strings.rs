//! The commands on strings of bytes.

use super::{Command, Words};
use crate::act::{Act, Lease, Life, Op, Payload, Set, SetAnswer, SetWhen};
use crate::extended::Extended;
use crate::gather::Fold;
use crate::refusal::{Fault, Refusal};

type Parsed<'r> = Result<Command<'r>, Refusal>;

pub(super) fn get(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::Get)
}

pub(super) fn getdel(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::GetDel)
}

pub(super) fn strlen(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::StrLen)
}

pub(super) fn append(words: Words<'_>) -> Parsed<'_> {
    words.one_with(Act::Append)
}

pub(super) fn incr(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::Add(1))
}

pub(super) fn decr(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::Add(-1))
}

pub(super) fn incrby(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::Add(words.integer(2)?))
}

pub(super) fn decrby(words: Words<'_>) -> Parsed<'_> {
    match words.integer(2)?.checked_neg() {
        Some(number) => words.one(Act::Add(number)),
        None => Err(Refusal::Says("ERR decrement would overflow".into())),
    }
}

pub(super) fn incrbyfloat(words: Words<'_>) -> Parsed<'_> {
    let Some(number) = Extended::parse(words.at(2)) else {
        return Err(Refusal::Says(Fault::NotAFloat.words().into()));
    };
    words.one(Act::AddFloat(number))
}

pub(super) fn getrange(words: Words<'_>) -> Parsed<'_> {
    words.one(Act::GetRange { start: words.integer(2)?, end: words.integer(3)? })
}

pub(super) fn setrange(words: Words<'_>) -> Parsed<'_> {
    let Ok(offset) = u64::try_from(words.integer(2)?) else {
        return Err(Refusal::Says("ERR offset is out of range".into()));
    };
    Ok(Command::One(Op {
        key: words.key(1)?,
        payload: Payload::Bytes(words.at(3)),
        act: Act::SetRange(offset),
    }))
}

pub(super) fn getset(words: Words<'_>) -> Parsed<'_> {
    words.one_with(Act::Set(Set { answer: SetAnswer::Before, ..Set::default() }))
}

pub(super) fn setex(words: Words<'_>) -> Parsed<'_> {
    set_for(words, LifeForm::Seconds, "setex")
}

pub(super) fn psetex(words: Words<'_>) -> Parsed<'_> {
    set_for(words, LifeForm::Millis, "psetex")
}

/// SETEX and PSETEX key time value.
fn set_for<'r>(words: Words<'r>, form: LifeForm, name: &'static str) -> Parsed<'r> {
    let life = Life::Until(form.until(&words, 2, name)?);
    Ok(Command::One(Op {
        key: words.key(1)?,
        payload: Payload::Bytes(words.at(3)),
        act: Act::Set(Set { life, ..Set::default() }),
    }))
}

/// GETEX key [PERSIST | EX s | PX ms | EXAT s | PXAT ms]. A number that is none is told by the owner, for Redis
/// looks for the key first.
pub(super) fn getex(words: Words<'_>) -> Parsed<'_> {
    let mut lease = Lease::Same;
    let mut until = None;
    let mut index = 2;
    while index < words.len() {
        if words.is(index, "PERSIST") && until.is_none() {
            lease = Lease::Ever;
        } else if let Some(form) = LifeForm::of(&words, index)
            && lease == Lease::Same
            && until.is_none_or(|(before, _)| before == form)
            && index + 1 < words.len()
        {
            index += 1;
            until = Some((form, index));
        } else {
            return Err(Refusal::Syntax);
        }
        index += 1;
    }
    if let Some((form, index)) = until {
        lease = match form.until(&words, index, "getex") {
            Ok(at_ms) => Lease::Until(at_ms),
            Err(Refusal::NotAnInteger) => Lease::Refused(Fault::NotAnInteger),
            Err(_) => Lease::Refused(Fault::ExpireTime),
        };
    }
    words.one(Act::GetEx(lease))
}

pub(super) fn setnx(words: Words<'_>) -> Parsed<'_> {
    words.one_with(Act::Set(Set { when: SetWhen::Absent, life: Life::Ever, answer: SetAnswer::Count }))
}

pub(super) fn mget(words: Words<'_>) -> Parsed<'_> {
    words.many(Act::Get, 1, Fold::Values(Vec::new()))
}

pub(super) fn mset(words: Words<'_>) -> Parsed<'_> {
    if words.len().is_multiple_of(2) {
        return Err(Refusal::Arity("mset".into()));
    }
    words.many(Act::Set(Set::default()), 2, Fold::Done)
}

pub(super) fn msetnx(words: Words<'_>) -> Parsed<'_> {
    if words.len().is_multiple_of(2) {
        return Err(Refusal::Arity("msetnx".into()));
    }
    let mut command = words.many(Act::Set(Set::default()), 2, Fold::Sum(0))?;
    if let Command::Many(many) = &mut command {
        many.if_absent = true;
    }
    Ok(command)
}

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`, in any order. As in Redis a word may be
/// said twice if it is the same word.
pub(super) fn set(words: Words<'_>) -> Parsed<'_> {
    let mut set = Set::default();
    let mut until = None;
    let mut index = 3;
    while index < words.len() {
        let form = LifeForm::of(&words, index);
        if words.is(index, "NX") && set.when != SetWhen::Present {
            set.when = SetWhen::Absent;
        } else if words.is(index, "XX") && set.when != SetWhen::Absent {
            set.when = SetWhen::Present;
        } else if words.is(index, "GET") {
            set.answer = SetAnswer::Before;
        } else if words.is(index, "KEEPTTL") && until.is_none() {
            set.life = Life::Kept;
        } else if let Some(form) = form
            && set.life == Life::Ever
            && until.is_none_or(|(before, _)| before == form)
            && index + 1 < words.len()
        {
            index += 1;
            until = Some((form, index));
        } else {
            return Err(Refusal::Syntax);
        }
        index += 1;
    }
    // Read last: a word out of place is told before a number that is none.
    if let Some((form, index)) = until {
        set.life = Life::Until(form.until(&words, index, "set")?);
    }
    words.one_with(Act::Set(set))
}

/// The four ways to say how long.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LifeForm {
    Seconds,
    Millis,
    AtSeconds,
    AtMillis,
}

impl LifeForm {
    fn of(words: &Words<'_>, index: usize) -> Option<Self> {
        let forms = [
            ("EX", Self::Seconds),
            ("PX", Self::Millis),
            ("EXAT", Self::AtSeconds),
            ("PXAT", Self::AtMillis),
        ];
        forms.into_iter().find(|(name, _)| words.is(index, name)).map(|(_, form)| form)
    }

    /// The wall time in milliseconds that the number at `index` means; it must be positive and in range.
    fn until(self, words: &Words<'_>, index: usize, name: &'static str) -> Result<i64, Refusal> {
        let number = words.integer(index)?;
        let millis = match self {
            Self::Seconds | Self::AtSeconds => number.checked_mul(1000),
            Self::Millis | Self::AtMillis => Some(number),
        };
        let since = match self {
            Self::Seconds | Self::Millis => words.wall.millis() as i64,
            Self::AtSeconds | Self::AtMillis => 0,
        };
        millis
            .filter(|millis| *millis > 0)
            .and_then(|millis| millis.checked_add(since))
            .ok_or(Refusal::ExpireTime(name))
    }
}
