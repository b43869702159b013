//! What goes around a payload that is sent in chunks. The payload itself is sent as it lies (RFC 9112 section 7.1).

use super::writer::{Unsayable, field_line};

/// What follows each chunk's payload.
pub const TAIL: &[u8] = b"\r\n";

/// The end of a chunked body without trailers. Not after a [`TAIL`] is missing.
pub const LAST: &[u8] = b"0\r\n\r\n";

/// Digits of the longest size, and a line end.
const HEAD_BYTES: usize = 18;

/// What precedes a chunk's payload: its size and a line end.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    bytes: [u8; HEAD_BYTES],
    start: u8,
}

impl Head {
    /// As it is sent.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

/// What precedes a payload of `length` bytes. Send no chunk of 0: that is [`LAST`].
///
/// # Panics
/// When `length` is 0: it would end the body.
#[inline]
#[must_use]
pub fn head(length: usize) -> Head {
    assert!(length > 0, "a chunk of no bytes would end the body");
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = [0; HEAD_BYTES];
    let (mut start, mut left) = (HEAD_BYTES - 2, length);
    bytes[start..].copy_from_slice(TAIL);
    while left > 0 {
        start -= 1;
        bytes[start] = DIGITS[left & 15];
        left >>= 4;
    }
    Head { bytes, start: start as u8 }
}

/// Appends a payload as one chunk; nothing if it is empty.
pub fn write(into: &mut Vec<u8>, payload: &[u8]) {
    if !payload.is_empty() {
        into.reserve(payload.len() + HEAD_BYTES + TAIL.len());
        into.extend_from_slice(head(payload.len()).as_bytes());
        into.extend_from_slice(payload);
        into.extend_from_slice(TAIL);
    }
}

/// Appends the end of a body with trailers (RFC 9110 section 6.5).
///
/// # Errors
/// [`Unsayable`], and nothing was appended: a name or value that can not be sent, or a field that is not for trailers
/// because it says where the message ends or whom it is for.
pub fn write_last(into: &mut Vec<u8>, trailers: &[(&str, &[u8])]) -> Result<(), Unsayable> {
    let before = into.len();
    into.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        let written = match name.eq_ignore_ascii_case("host") {
            true => Err(Unsayable::Framing),
            false => field_line(into, name.as_bytes(), value),
        };
        if let Err(unsayable) = written {
            into.truncate(before);
            return Err(unsayable);
        }
    }
    into.extend_from_slice(b"\r\n");
    Ok(())
}
