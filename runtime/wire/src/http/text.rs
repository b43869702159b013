//! Small readers for what stands in targets and values: paths, queries, escapes, lists.

use super::byte::trim;
use std::borrow::Cow;
use std::fmt;

/// A path and what follows its first `?`.
#[inline]
pub(super) fn path(text: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'?', text.as_bytes()) {
        Some(mark) => (&text[..mark], Some(&text[mark + 1..])),
        None => (text, None),
    }
}

/// A `%` without two hexadecimal digits behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadEscape;

impl fmt::Display for BadEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a percent sign must be followed by two hexadecimal digits")
    }
}

impl std::error::Error for BadEscape {}

/// Percent escapes as the bytes they mean (RFC 3986 section 2.1). Decode *after* splitting at `/`, `?`, `&` and `=`,
/// never before, and once. What comes out can be any bytes, `/`, `..` and NUL too.
///
/// # Errors
/// [`BadEscape`]: an escape that is none. Answer 400.
pub fn decode(text: &str) -> Result<Cow<'_, [u8]>, BadEscape> {
    let bytes = text.as_bytes();
    let Some(first) = memchr::memchr(b'%', bytes) else {
        return Ok(Cow::Borrowed(bytes));
    };
    let (mut decoded, mut rest) = (bytes[..first].to_vec(), &bytes[first..]);
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = match byte {
            b'%' => escape(behind)?,
            byte => (byte, behind),
        };
        decoded.push(byte);
        rest = behind;
    }
    Ok(Cow::Owned(decoded))
}

fn escape(behind: &[u8]) -> Result<(u8, &[u8]), BadEscape> {
    let (digits, behind) = behind.split_first_chunk::<2>().ok_or(BadEscape)?;
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    let byte = high.ok_or(BadEscape)? << 4 | low.ok_or(BadEscape)?;
    Ok((byte as u8, behind))
}

/// The names and values of a query such as `a=1&b&c=`, not decoded; a name without `=` has none. Empty pieces are
/// skipped. (`+` is a plus here; forms mean a space by it, and say so by their content type.)
pub fn pairs(query: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    query.split('&').filter(|piece| !piece.is_empty()).map(|piece| match piece.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (piece, None),
    })
}

/// The elements of a list value, trimmed, empty ones skipped (RFC 9110 section 5.6.1). For lists of tokens: a comma
/// in quotes is a comma here.
#[inline]
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|token| !token.is_empty())
}

/// Whether a list value has this token, in any case.
#[must_use]
pub fn has_token(value: &[u8], token: impl AsRef<[u8]>) -> bool {
    tokens(value).any(|there| there.eq_ignore_ascii_case(token.as_ref()))
}
