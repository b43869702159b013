//! Where a message ends, and whether the connection goes on: RFC 9112 sections 6.3 and 9.3.
//!
//! The one hard thing: the fields that decide it are those that strangers repeat, list and misspell so that two readers
//! disagree. Each is therefore taken in one form only, and a second one is a fault, not a choice.

use super::Version;
use super::fault::Fault;
use super::text::tokens;

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Nothing: the next message.
    None,
    /// So many bytes. A reader says [`Framing::None`] where 0 was announced; a writer can be told 0.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Everything until the connection ends. Responses only.
    UntilClose,
    /// No message any more: from here on the connection speaks another protocol (a 101, or a 2xx to CONNECT).
    /// Responses only; the other side's bytes go the same way from then on.
    Tunnel,
}

/// What the Connection fields of a head said (RFC 9110 section 7.6.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connection {
    /// `close`
    pub close: bool,
    /// `keep-alive`
    pub keep_alive: bool,
    /// `upgrade`
    pub upgrade: bool,
    /// Something else: names of fields that concern this connection alone.
    pub names_others: bool,
}

impl Connection {
    fn note(&mut self, value: &[u8]) {
        match value.contains(&b',') {
            true => tokens(value).for_each(|token| self.note_one(token)),
            false if value.is_empty() => {}
            false => self.note_one(value),
        }
    }

    fn note_one(&mut self, token: &[u8]) {
        match token.len() {
            5 if token.eq_ignore_ascii_case(b"close") => self.close = true,
            7 if token.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            10 if token.eq_ignore_ascii_case(b"keep-alive") => self.keep_alive = true,
            _ => self.names_others = true,
        }
    }

    /// Whether another message may follow this one: RFC 9112 section 9.3.
    #[inline]
    #[must_use]
    pub fn persists(self, version: Version) -> bool {
        match version {
            Version::Http11 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }
}

/// What the fields that matter here said, noted as they go by.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    pub(super) connection: Connection,
    pub(super) host: Option<&'a [u8]>,
    pub(super) hosts: u16,
    pub(super) upgrade: Option<&'a [u8]>,
    length: Option<&'a [u8]>,
    lengths: u16,
    codings: Codings,
    expects_continue: bool,
    expects_other: bool,
}

/// Whether `name`, a token, is this one in any case. In a token no other byte than a letter becomes a letter, or the
/// hyphen, by the bit that makes letters small.
#[inline(always)]
fn is_name<const N: usize>(name: &[u8], small: &[u8; N]) -> bool {
    match <&[u8; N]>::try_from(name) {
        Ok(name) => name.iter().zip(small).fold(true, |same, (byte, small)| same & (byte | 0x20 == *small)),
        Err(_) => false,
    }
}

/// The transfer codings of a head, those of all its fields as one list.
#[derive(Debug, Default)]
struct Codings {
    /// Whether there was a Transfer-Encoding, even an empty one.
    said: bool,
    chunked: u16,
    ends_chunked: bool,
    others: bool,
}

impl<'a> Known<'a> {
    /// Notes a field if it is one of those. Length and first letter tell nearly all others apart at once.
    #[inline(always)]
    pub(super) fn note(&mut self, name: &'a [u8], value: &'a [u8]) {
        let first = name.first().map_or(0, |byte| byte | 0x20);
        match (name.len(), first) {
            (4, b'h') | (6, b'e') | (7, b'u') | (10, b'c') | (14, b'c') | (17, b't') => {
                self.note_likely(name, value);
            }
            _ => {}
        }
    }

    #[inline]
    fn note_likely(&mut self, name: &'a [u8], value: &'a [u8]) {
        match name.len() {
            4 if is_name(name, b"host") => {
                self.hosts += 1;
                self.host = Some(value);
            }
            6 if is_name(name, b"expect") => self.expect(value),
            7 if is_name(name, b"upgrade") => self.upgrade = self.upgrade.or(Some(value)),
            10 if is_name(name, b"connection") => self.connection.note(value),
            14 if is_name(name, b"content-length") => {
                self.lengths += 1;
                self.length = Some(value);
            }
            17 if is_name(name, b"transfer-encoding") => self.codings.note(value),
            _ => {}
        }
    }

    fn expect(&mut self, value: &[u8]) {
        for token in tokens(value) {
            match token.eq_ignore_ascii_case(b"100-continue") {
                true => self.expects_continue = true,
                false => self.expects_other = true,
            }
        }
    }

    /// The announced length, if exactly one was announced.
    pub(super) fn length(&self) -> Result<Option<u64>, Fault> {
        match (self.lengths, self.length) {
            (0, _) | (_, None) => Ok(None),
            (1, Some(value)) => number(value).map(Some),
            (_, Some(_)) => Err(Fault::LengthRepeated),
        }
    }

    /// What follows by the fields alone: chunks, a length (also 0), or none said.
    pub(super) fn framing(&self, version: Version) -> Result<Option<Framing>, Fault> {
        if !self.codings.said {
            return Ok(self.length()?.map(|length| match length {
                0 => Framing::None,
                length => Framing::Length(length),
            }));
        }
        match (&self.codings, version) {
            _ if self.lengths > 0 => Err(Fault::LengthAndCoding),
            (_, Version::Http10) => Err(Fault::CodingInOldVersion),
            (codings, Version::Http11) => codings.judge().map(|()| Some(Framing::Chunked)),
        }
    }

    /// Whether a 100 is waited for. HTTP/1.0 expects nothing (RFC 9110 section 10.1.1).
    pub(super) fn expectation(&self, version: Version) -> Result<bool, Fault> {
        match version {
            Version::Http10 => Ok(false),
            Version::Http11 if self.expects_other => Err(Fault::Expectation),
            Version::Http11 => Ok(self.expects_continue),
        }
    }
}

impl Codings {
    fn note(&mut self, value: &[u8]) {
        self.said = true;
        for coding in value.split(|&byte| byte == b',') {
            // An empty element counts as a coding nobody knows: here, unlike in other lists, nothing is repaired.
            self.ends_chunked = super::byte::trim(coding).eq_ignore_ascii_case(b"chunked");
            match self.ends_chunked {
                true => self.chunked = self.chunked.saturating_add(1),
                false => self.others = true,
            }
        }
    }

    fn judge(&self) -> Result<(), Fault> {
        match (self.ends_chunked, self.chunked, self.others) {
            (false, _, _) => Err(Fault::CodingNotChunked),
            (true, 1, false) => Ok(()),
            (true, 1, true) => Err(Fault::CodingUnknown),
            (true, _, _) => Err(Fault::CodingRepeated),
        }
    }
}

/// The longest length that is taken: what fits the signed 64 bits that many other programs count in.
const LENGTH_MAX: u64 = i64::MAX as u64;

/// `1*DIGIT` as a number. A list is told from a misspelling, so that the answer says what is wrong.
fn number(value: &[u8]) -> Result<u64, Fault> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(match value.contains(&b',') {
            true => Fault::LengthRepeated,
            false => Fault::LengthInvalid,
        });
    }
    let digits = value.iter().map(|digit| u64::from(digit - b'0'));
    let mut sum = 0_u64;
    for digit in digits {
        sum = sum.saturating_mul(10).saturating_add(digit);
        if sum > LENGTH_MAX {
            return Err(Fault::LengthOverflow);
        }
    }
    Ok(sum)
}
