//! Why a command is not done, in the exact words that clients match on.
//!
//! Two kinds, by who finds out: the core that reads a request ([`Refusal`]), and the core that owns the key
//! ([`Fault`], which crosses cores and so is a plain value).

use rkyv::{Archive, Deserialize, Serialize};
use std::borrow::Cow;

/// What the owner of a key can object to.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The value is not a decimal integer of 64 bits.
    NotAnInteger,
    /// The sum does not fit 64 bits.
    Overflow,
    /// The value or the increment is not a decimal number.
    NotAFloat,
    /// The sum is no finite number.
    NotFinite,
    /// The time that GETEX asks for is past its range.
    ExpireTime,
    /// There is no such key.
    NoSuchKey,
    /// There is no room for what would be stored.
    OutOfMemory,
    /// How often keys are used is not counted.
    NoFrequency,
    /// So much waits on this core for keys that several cores change together that nothing more may.
    Crowded,
    /// The value would be over `value_max`.
    ValueTooLong,
    /// The values of one answer together would be over `answer_max`.
    AnswerTooLong,
    /// The disk is full.
    DiskFull,
    /// The disk failed.
    DiskFailed,
    /// There is no place for snapshots.
    NowhereToSave,
    /// A snapshot is being made.
    SaveUnderWay,
    /// The disk has no room for a snapshot.
    NoRoomToSave,
    /// Everything was removed again and again while a snapshot was being made.
    SaveOutrun,
}

impl Fault {
    /// The error's text, code first.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotAnInteger => "ERR value is not an integer or out of range",
            Self::Overflow => "ERR increment or decrement would overflow",
            Self::NotAFloat => "ERR value is not a valid float",
            Self::NotFinite => "ERR increment would produce NaN or Infinity",
            Self::ExpireTime => "ERR invalid expire time in 'getex' command",
            Self::NoSuchKey => "ERR no such key",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::NoFrequency => {
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust."
            }
            Self::Crowded => "ERR too many requests wait for keys that are being changed together; try again",
            Self::ValueTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::AnswerTooLong => {
                "ERR the values of this answer are too long together; ask for fewer keys at once"
            }
            Self::DiskFull => {
                "MISCONF the disk is full: writes are refused until there is room; one that waited for the disk may or \
                 may not outlive a restart"
            }
            Self::DiskFailed => {
                "MISCONF the disk failed: writes are refused until a restart; one that waited for the disk may or may \
                 not outlive it"
            }
            Self::NowhereToSave => "ERR there is nowhere to save to: start the server with --data DIR",
            Self::SaveUnderWay => "ERR Background save already in progress",
            Self::NoRoomToSave => {
                "ERR there is no room on the disk for a snapshot: it was given up, and the one before it stands"
            }
            Self::SaveOutrun => {
                "ERR no snapshot was made: everything was removed again and again before it was whole; try again"
            }
        }
    }
}

/// Why a request is not a command. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too few or too many arguments for this command.
    Arity(Cow<'static, str>),
    /// A word where it does not belong.
    Syntax,
    /// Not a decimal integer of 64 bits.
    NotAnInteger,
    /// A time that is past its range, for this command.
    ExpireTime(&'static str),
    /// A key over `key_max`.
    KeyTooLong(usize),
    /// Any other sentence, code first.
    Says(Cow<'static, str>),
}

impl Refusal {
    /// The error's text, code first.
    #[must_use]
    pub fn words(&self) -> Cow<'_, str> {
        match self {
            Self::Arity(name) => format!("ERR wrong number of arguments for '{name}' command").into(),
            Self::Syntax => "ERR syntax error".into(),
            Self::NotAnInteger => "ERR value is not an integer or out of range".into(),
            Self::ExpireTime(name) => format!("ERR invalid expire time in '{name}' command").into(),
            Self::KeyTooLong(key_max) => format!("ERR key is too long (maximum is {key_max} bytes)").into(),
            Self::Says(words) => Cow::Borrowed(words),
        }
    }
}
