//! Which bytes may stand where: the grammar's character classes as tables and ranges.

/// `tchar` of RFC 9110 section 5.6.2: what methods, field names and codings are made of.
const TOKEN: [bool; 256] = alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// What a host's name is made of (RFC 3986 section 3.2.2) but for escapes; and no comma.
const HOST_NAME: [bool; 256] = alphanumeric_and(b"-._~!$&'()*+;=");

const fn alphanumeric_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// Whether a host's name may hold this byte.
#[inline]
pub(super) const fn is_host_name(byte: u8) -> bool {
    HOST_NAME[byte as usize]
}

/// Whether a token may hold this byte.
#[inline]
pub(super) const fn is_token(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Whether `bytes` is a token: at least one byte, all of them allowed.
pub(super) fn is_all_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token(byte))
}

/// Whether a field value or a reason may hold this byte (RFC 9110 section 5.5): visible, a space, a tab, or over
/// 0x7f. NUL, CR, LF, the other controls and DEL are not.
#[inline]
pub(super) const fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Whether a request target may hold this byte: visible and no `#`, for a fragment is never sent (RFC 9112 section
/// 3.2). Quotes, braces, bars, `^` and the back slash are no URI characters, but browsers send them in queries.
#[inline]
pub(super) const fn is_target(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'#'
}

/// Without spaces and tabs at either end: the grammar's OWS.
#[inline]
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}
