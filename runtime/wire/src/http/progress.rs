//! A head on its way, a byte at a time: how far it came, and the first byte that it can not have.
//!
//! This is the strict reader. The quick one beside it (`ordinary`) takes whole heads only and knows no faults; what it
//! does not take comes here. The one hard thing is that both must take the same heads: the tests cut every head
//! everywhere, so that each is read by both.

use super::byte::{is_target, is_token, is_value};
use super::fault::Fault;
use super::limits::{Limits, METHOD_MAX};
use super::lines::Lines;

/// Whose head it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Request,
    Response,
}

/// Where in a head the next byte stands. Counts are of bytes in the same part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before a request line, where empty lines are allowed.
    Before,
    /// After the carriage return of an empty line before the request line.
    BeforeFeed,
    Method(usize),
    Target(usize),
    /// In the version, with its major digit when that is there.
    Version(usize, u8),
    /// After a request's version: the carriage return.
    RequestLineEnd,
    /// After a response's version: the space.
    StatusSpace,
    Status(usize),
    /// After the status: a space, or the line's end.
    AfterStatus,
    Reason,
    /// After the start line's carriage return.
    LineFeed,
    Fields(Lines),
}

/// A head in pieces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    role: Role,
    at: At,
    /// Bytes that were looked at.
    seen: usize,
    /// Where the start line begins.
    start: usize,
}

/// Where one more look at the bytes led.
pub(super) enum Step {
    /// A whole head: from the start line's first byte to behind the empty line.
    Whole {
        start: usize,
        end: usize,
    },
    Partial,
    Fault(Fault),
}

impl Progress {
    /// Before the first byte.
    pub(super) const fn new(role: Role) -> Self {
        let at = match role {
            Role::Request => At::Before,
            Role::Response => At::Version(0, 0),
        };
        Progress { role, at, seen: 0, start: 0 }
    }

    /// Whether nothing was looked at.
    #[inline]
    pub(super) fn is_fresh(&self) -> bool {
        self.seen == 0
    }

    /// Looks at what is new in `bytes`, which begin where they began before.
    pub(super) fn advance(&mut self, bytes: &[u8], limits: &Limits) -> Step {
        while let Some(&byte) = bytes.get(self.seen) {
            if self.seen == limits.head_max {
                return Step::Fault(match self.at {
                    At::Target(_) => Fault::TargetTooLong,
                    _ => Fault::HeadTooLong,
                });
            }
            match self.step(byte, limits) {
                Ok(false) => self.seen += 1,
                Ok(true) => return Step::Whole { start: self.start, end: self.seen + 1 },
                Err(fault) => return Step::Fault(fault),
            }
        }
        Step::Partial
    }

    /// Takes one byte; `true` if the head ends with it.
    fn step(&mut self, byte: u8, limits: &Limits) -> Result<bool, Fault> {
        self.at = match self.at {
            At::Before | At::BeforeFeed => self.before(byte)?,
            At::Method(count) => method(count, byte)?,
            At::Target(count) => target(count, byte, limits.target_max)?,
            At::Version(count, major) => self.version(count, major, byte)?,
            At::RequestLineEnd | At::StatusSpace | At::Status(_) | At::AfterStatus | At::Reason => {
                self.after_version(byte)?
            }
            At::LineFeed => match byte {
                b'\n' => At::Fields(Lines::START),
                _ => return Err(Fault::BareCarriageReturn),
            },
            At::Fields(mut lines) => {
                if lines.step(byte, limits.fields_max)? {
                    return Ok(true);
                }
                At::Fields(lines)
            }
        };
        Ok(false)
    }

    fn before(&mut self, byte: u8) -> Result<At, Fault> {
        match (self.at, byte) {
            (At::BeforeFeed, b'\n') => Ok(At::Before),
            (At::BeforeFeed, _) => Err(Fault::BareCarriageReturn),
            (_, b'\r') => Ok(At::BeforeFeed),
            (_, b'\n') => Err(Fault::BareLineFeed),
            (_, byte) => {
                self.start = self.seen;
                method(0, byte)
            }
        }
    }

    fn version(&self, count: usize, major: u8, byte: u8) -> Result<At, Fault> {
        const NAME: &[u8] = b"HTTP/";
        match (count, byte) {
            (0..5, byte) if byte == NAME[count] => Ok(At::Version(count + 1, 0)),
            (5, b'0'..=b'9') => Ok(At::Version(6, byte)),
            (6, b'.') => Ok(At::Version(7, major)),
            (7, b'0' | b'1') if major == b'1' => Ok(match self.role {
                Role::Request => At::RequestLineEnd,
                Role::Response => At::StatusSpace,
            }),
            (7, b'0'..=b'9') => Err(Fault::VersionUnknown),
            _ => Err(Fault::VersionForm),
        }
    }

    fn after_version(&self, byte: u8) -> Result<At, Fault> {
        match (self.at, byte) {
            (At::RequestLineEnd | At::AfterStatus | At::Reason, b'\r') => Ok(At::LineFeed),
            (_, b'\n') => Err(Fault::BareLineFeed),
            (At::RequestLineEnd, _) => Err(Fault::VersionForm),
            (At::StatusSpace, b' ') => Ok(At::Status(0)),
            (At::StatusSpace, _) => Err(Fault::VersionForm),
            (At::Status(0), b'1'..=b'9') => Ok(At::Status(1)),
            (At::Status(1), b'0'..=b'9') => Ok(At::Status(2)),
            (At::Status(2), b'0'..=b'9') => Ok(At::AfterStatus),
            (At::AfterStatus, b' ') => Ok(At::Reason),
            (At::Reason, byte) if is_value(byte) => Ok(At::Reason),
            (At::Reason, _) => Err(Fault::Reason),
            _ => Err(Fault::Status),
        }
    }
}

fn method(count: usize, byte: u8) -> Result<At, Fault> {
    match byte {
        b' ' if count > 0 => Ok(At::Target(0)),
        b'\n' => Err(Fault::BareLineFeed),
        byte if !is_token(byte) => Err(Fault::Method),
        _ if count == METHOD_MAX => Err(Fault::MethodTooLong),
        _ => Ok(At::Method(count + 1)),
    }
}

fn target(count: usize, byte: u8, target_max: usize) -> Result<At, Fault> {
    match byte {
        b' ' if count > 0 => Ok(At::Version(0, 0)),
        // HTTP/0.9 ended here.
        b'\r' if count > 0 => Err(Fault::VersionForm),
        b'\n' => Err(Fault::BareLineFeed),
        byte if !is_target(byte) => Err(Fault::TargetByte),
        _ if count == target_max => Err(Fault::TargetTooLong),
        _ => Ok(At::Target(count + 1)),
    }
}
