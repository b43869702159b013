//! The numbers of RESP: lines such as `*3` and `$16777216`, cut anywhere and sent by anyone.
//!
//! The one hard thing is strictness. Redis takes a number only as it would write it itself: no `+5`, no `05`, no
//! `-0`, no spaces, nothing past 64 bits. We take the same, so that a request means the same to both.

use memchr::memchr;

/// Digits that can not overflow 63 bits, so the fast loop needs no check: 10^18 < 2^63.
const DIGITS_SAFE: usize = 18;

/// The integer that `text` is, if it is written exactly as Redis would write it: an optional `-`, no leading
/// zeros, no other byte, within `i64`.
pub fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut value = 0_i64;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return None;
        }
        let digit = i64::from(byte - b'0');
        // Counting down reaches i64::MIN, which counting up can not.
        value = value.checked_mul(10)?.checked_sub(digit)?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// The number of at most three digits at `at`, and where the next line begins: what nearly every count and length
/// is. None says nothing but that it is not one of these.
#[inline]
pub(super) fn short_number(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let digit = |byte: u8| usize::from(byte - b'0');
    match *bytes.get(at..)? {
        [a @ b'0'..=b'9', b'\r', _, ..] => Some((digit(a), at + 3)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..] => Some((digit(a) * 10 + digit(b), at + 4)),
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'\r', _, ..] => {
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), at + 5))
        }
        _ => None,
    }
}

/// What a line that should hold one number turned out to be.
pub(super) enum Line {
    /// The number, and where the next line begins.
    Number { value: i64, next: usize },
    /// A whole line that is not a number.
    NotANumber,
    /// The line's end is not there yet.
    Partial,
    /// More bytes than a line may have, and no end.
    TooLong,
}

/// Reads the number whose first byte is at `at`, up to the `\r` and the byte after it. As in Redis, that second
/// byte is not looked at. `seen` says up to where an earlier call has looked for the `\r` in vain; it makes
/// a line sent byte by byte cost what it costs at once.
#[inline]
pub(super) fn number_line(bytes: &[u8], at: usize, seen: &mut usize, line_max: usize) -> Line {
    let mut value = 0_i64;
    let mut end = at;
    while let Some(digit) = bytes.get(end).map(|byte| byte.wrapping_sub(b'0'))
        && digit <= 9
        && end - at < DIGITS_SAFE
    {
        value = value * 10 + i64::from(digit);
        end += 1;
    }
    let plain = end == at + 1 || (end > at && bytes[at] != b'0');
    if plain && end + 1 < bytes.len() && bytes[end] == b'\r' {
        return Line::Number { value, next: end + 2 };
    }
    number_line_slow(bytes, at, seen, line_max)
}

#[cold]
fn number_line_slow(bytes: &[u8], at: usize, seen: &mut usize, line_max: usize) -> Line {
    match line_end(bytes, at, seen, line_max) {
        LineEnd::At(end) => match integer(&bytes[at..end]) {
            Some(value) => Line::Number { value, next: end + 2 },
            None => Line::NotANumber,
        },
        LineEnd::Partial => Line::Partial,
        LineEnd::TooLong => Line::TooLong,
    }
}

/// Where a line's text ends.
pub(super) enum LineEnd {
    /// At this `\r`, and the byte after it is there as well.
    At(usize),
    /// Not there yet.
    Partial,
    /// Not within the bound.
    TooLong,
}

/// Looks for the `\r` that ends the line at `at`, no further than `line_max` bytes, beginning where `seen` left.
#[inline]
pub(super) fn line_end(bytes: &[u8], at: usize, seen: &mut usize, line_max: usize) -> LineEnd {
    let bound = bytes.len().min(at + line_max + 1);
    let start = at.max(*seen).min(bound);
    match memchr(b'\r', &bytes[start..bound]) {
        Some(found) if start + found + 1 < bytes.len() => LineEnd::At(start + found),
        Some(found) => {
            *seen = start + found;
            LineEnd::Partial
        }
        None if bytes.len() > at + line_max => LineEnd::TooLong,
        None => {
            *seen = bound;
            LineEnd::Partial
        }
    }
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn numbers_are_taken_only_as_redis_writes_them() {
        let check =
            |text: &str, expected: Option<i64>| assert_eq!(integer(text.as_bytes()), expected, "{text:?}");
        check("0", Some(0));
        check("7", Some(7));
        check("-1", Some(-1));
        check("1000000", Some(1_000_000));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        for refused in ["", "-", "+5", "05", "00", "-0", " 5", "5 ", "5x", "x", "9223372036854775808"] {
            check(refused, None);
        }
        check("-9223372036854775809", None);
        check("99999999999999999999", None);
    }
}
