//! What can be done to one key: the noun that crosses cores.
//!
//! Every single-key command is a key, at most one string of bytes, and an [`Act`]: small, without pointers, and
//! the same whether it was parsed on this core or heard from another. So there is one definition of each command's
//! meaning, and a new command is a variant here and an arm in the store.

#![allow(missing_docs, reason = "the derive writes types beside ours, without docs for their fields")]

use crate::extended::Extended;
use crate::refusal::Fault;
use machine::Blob;
use rkyv::{Archive, Deserialize, Serialize};

/// What to do to a key.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The value.
    Get,
    /// Store the payload.
    Set(Set),
    /// The value, and remove the key.
    GetDel,
    /// The value, and another life for the key.
    GetEx(Lease),
    /// The part of the value from one byte to another, both included; negative ones count from its end.
    GetRange {
        /// The first.
        start: i64,
        /// The last.
        end: i64,
    },
    /// Write the payload over the value from this byte on, with zeros between if there is a gap; its new length.
    SetRange(u64),
    /// Add the payload to the value's end; its new length.
    Append,
    /// The value's length in bytes.
    StrLen,
    /// Add to the value, which is a decimal integer; the sum.
    Add(i64),
    /// Add to the value, which is a number; the sum.
    AddFloat(Extended),
    /// Remove the key; 1 when there was one.
    Del,
    /// 1 when the key is there.
    Exists,
    /// The name of the value's type.
    Type,
    /// Let the key expire at this wall time, if the rule allows; 1 when that was done.
    Expire {
        /// Milliseconds since 1970. A time that is past removes the key.
        at_ms: i64,
        /// The rule.
        when: ExpireWhen,
    },
    /// The time left, or -1 (never expires), -2 (no such key).
    Ttl(Unit),
    /// The wall time of its end, or -1 (never expires), -2 (no such key).
    ExpireTime(Unit),
    /// What is known of the key beside its value; nil when there is none.
    Object(Aspect),
    /// Count the key as used; 1 when it is there.
    Touch,
    /// Let the key live for ever; 1 when it would not have.
    Persist,
}

impl Act {
    /// Whether it may change what others see. What only reads may share a key with other readers.
    #[must_use]
    pub const fn writes(&self) -> bool {
        match self {
            Self::Get
            | Self::GetRange { .. }
            | Self::StrLen
            | Self::Exists
            | Self::Type
            | Self::Ttl(_)
            | Self::ExpireTime(_)
            | Self::Object(_)
            | Self::Touch => false,
            Self::Set(_)
            | Self::GetDel
            | Self::GetEx(_)
            | Self::SetRange(_)
            | Self::Append
            | Self::Add(_)
            | Self::AddFloat(_)
            | Self::Del
            | Self::Expire { .. }
            | Self::Persist => true,
        }
    }
}

/// What GETEX makes of a key's life.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// What it was.
    Same,
    /// It lives for ever.
    Ever,
    /// Until this many milliseconds after 1970; the value is told even if that is past.
    Until(i64),
    /// The time that was asked for is none: that is told only where there is such a key.
    Refused(Fault),
}

/// What OBJECT tells of a key.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// How Redis would keep the value.
    Encoding,
    /// How often it is used, of which nobody keeps count.
    Frequency,
    /// Seconds since it was last used.
    IdleTime,
    /// How many hold the value.
    References,
    /// Bytes that key and value are taken to cost.
    Cost,
}

/// How SET and its like store.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Set {
    /// Whether to store at all.
    pub when: SetWhen,
    /// What becomes of the key's life.
    pub life: Life,
    /// What the client is told.
    pub answer: SetAnswer,
}

/// Whether to store.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SetWhen {
    /// In any case.
    #[default]
    Always,
    /// Only where there is no such key (NX).
    Absent,
    /// Only where there is such a key (XX).
    Present,
}

/// How long a stored value lives.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Life {
    /// For ever.
    #[default]
    Ever,
    /// As long as the value before it (KEEPTTL).
    Kept,
    /// Until this many milliseconds after 1970.
    Until(i64),
}

/// What SET tells.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SetAnswer {
    /// OK, or nil when it was not stored.
    #[default]
    Done,
    /// The value before, or nil (GET).
    Before,
    /// 1 when it was stored, else 0 (SETNX).
    Count,
}

/// When EXPIRE may change a key's life. A key that lives for ever counts as the longest.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ExpireWhen {
    /// Only where it lives for ever.
    pub absent: bool,
    /// Only where it does not.
    pub present: bool,
    /// Only to let it live longer.
    pub longer: bool,
    /// Only to let it live shorter.
    pub shorter: bool,
}

/// In what a time is told.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds, rounded to the nearest.
    Seconds,
    /// Milliseconds.
    Millis,
}

/// What kind of value a key has.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No value.
    None,
    /// A string of bytes.
    String,
}

impl Kind {
    /// As TYPE names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::String => "string",
        }
    }
}

/// The bytes that go with an act; empty for one that has none.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// Bytes to be copied.
    Bytes(&'a [u8]),
    /// Bytes to be moved: from `BLOB_MIN` on.
    Blob(Blob),
}

impl<'a> From<Payload<'a>> for state::Value<'a> {
    fn from(payload: Payload<'a>) -> Self {
        match payload {
            Payload::Bytes(bytes) => Self::Bytes(bytes),
            Payload::Blob(blob) => Self::Blob(blob),
        }
    }
}

impl Payload<'_> {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Blob(blob) => blob,
        }
    }
}

/// An act on a key.
#[derive(Clone, Debug)]
pub struct Op<'a> {
    /// The key: at most `key_max` bytes.
    pub key: &'a [u8],
    /// The bytes that go with the act: at most `value_max`.
    pub payload: Payload<'a>,
    /// The act.
    pub act: Act,
}

impl<'a> Op<'a> {
    /// An act without bytes of its own.
    #[must_use]
    pub fn of(key: &'a [u8], act: Act) -> Self {
        Self { key, payload: Payload::Bytes(b""), act }
    }
}
