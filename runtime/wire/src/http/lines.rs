//! Field lines, a byte at a time: `name: value` and a line end, until an empty line. Heads and trailers both end so.
//!
//! It notes nothing: it says after each byte whether the section ended there, or can never become one. So a cut
//! changes nothing, and each byte is looked at once.

use super::byte::{is_token, is_value};
use super::fault::Fault;

/// Where in a section of field lines the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// At the beginning of a line, `true` for the first one.
    Start(bool),
    Name,
    Value,
    /// After the carriage return of a field.
    LineFeed,
    /// After the carriage return of the empty line.
    LastFeed,
}

/// A section of field lines on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines {
    at: At,
    fields: usize,
}

impl Lines {
    /// Before the first line.
    pub(super) const START: Lines = Lines { at: At::Start(true), fields: 0 };

    /// Whether the section's last byte was the carriage return of its empty line.
    pub(super) fn is_ending(&self) -> bool {
        self.at == At::LastFeed
    }

    /// Takes one byte; `true` if the section ends with it.
    pub(super) fn step(&mut self, byte: u8, fields_max: usize) -> Result<bool, Fault> {
        self.at = match (self.at, byte) {
            (At::Start(_), b'\r') => At::LastFeed,
            (At::Start(true), b' ' | b'\t') => return Err(Fault::SpaceBeforeFields),
            (At::Start(false), b' ' | b'\t') => return Err(Fault::Folded),
            (At::Start(_), b':') => return Err(Fault::NameMissing),
            (At::Start(_) | At::Name | At::Value, b'\n') => return Err(Fault::BareLineFeed),
            (At::Start(_), _) if self.fields == fields_max => return Err(Fault::TooManyFields),
            (At::Start(_), byte) if is_token(byte) => {
                self.fields += 1;
                At::Name
            }
            (At::Name, b':') => At::Value,
            (At::Name, b' ' | b'\t') => return Err(Fault::SpaceBeforeColon),
            (At::Name, b'\r') => return Err(Fault::ColonMissing),
            (At::Name, byte) if is_token(byte) => At::Name,
            (At::Start(_) | At::Name, _) => return Err(Fault::NameByte),
            (At::Value, b'\r') => At::LineFeed,
            (At::Value, byte) if is_value(byte) => At::Value,
            (At::Value, _) => return Err(Fault::ValueByte),
            (At::LineFeed, b'\n') => At::Start(false),
            (At::LastFeed, b'\n') => return Ok(true),
            (At::LineFeed | At::LastFeed, _) => return Err(Fault::BareCarriageReturn),
        };
        Ok(false)
    }
}
