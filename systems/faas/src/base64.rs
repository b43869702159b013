//! Base64 as clients have it: one long line, or lines of 76 columns; with padding or without; the plain alphabet or
//! the one for addresses. White space is passed over. Everything else is no base64.

/// What a letter stands for; `SPACE` and `NONE` are no digits.
const VALUES: [u8; 256] = values();
const SPACE: u8 = 254;
const NONE: u8 = 255;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const fn values() -> [u8; 256] {
    let mut table = [NONE; 256];
    let mut digit = 0;
    while digit < 64 {
        table[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    let spaces = b" \t\r\n\x0b\x0c";
    let mut at = 0;
    while at < spaces.len() {
        table[spaces[at] as usize] = SPACE;
        at += 1;
    }
    table
}

/// The bytes that a text stands for.
///
/// # Errors
/// A sentence: a letter that is none of base64's, something behind the padding, or a text cut within a byte.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut rest = text;
    // Whole groups of four digits, as long as nothing else stands between them.
    while let [a, b, c, d, after @ ..] = rest {
        let (a, b, c, d) =
            (VALUES[*a as usize], VALUES[*b as usize], VALUES[*c as usize], VALUES[*d as usize]);
        if a | b | c | d >= 64 {
            break;
        }
        bytes.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
        rest = after;
    }
    let (mut held, mut bits, mut padding) = (0u32, 0u32, 0u32);
    for (at, letter) in rest.iter().enumerate() {
        match VALUES[*letter as usize] {
            SPACE => {}
            NONE if *letter == b'=' => padding += 1,
            NONE => {
                let at = text.len() - rest.len() + at;
                return Err(format!("byte {at} ({:?}) is no base64", char::from(*letter)));
            }
            _ if padding > 0 => return Err("something stands behind the padding".to_owned()),
            digit => {
                held = held << 6 | u32::from(digit);
                bits += 6;
                if bits >= 8 {
                    bits -= 8;
                    bytes.push((held >> bits) as u8);
                    held &= (1 << bits) - 1;
                }
            }
        }
    }
    match (bits, padding) {
        (6, _) => Err("it is cut within a byte".to_owned()),
        (_, 3..) => Err("it has too much padding".to_owned()),
        _ => Ok(bytes),
    }
}

/// Writes bytes as base64: one line, with padding.
pub fn encode(bytes: &[u8], into: &mut Vec<u8>) {
    into.reserve(bytes.len().div_ceil(3) * 4);
    let mut groups = bytes.chunks_exact(3);
    let digit = |value: u32| DIGITS[(value & 63) as usize];
    for group in &mut groups {
        let word = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        into.extend_from_slice(&[digit(word >> 18), digit(word >> 12), digit(word >> 6), digit(word)]);
    }
    match *groups.remainder() {
        [a] => {
            let word = u32::from(a) << 16;
            into.extend_from_slice(&[digit(word >> 18), digit(word >> 12), b'=', b'=']);
        }
        [a, b] => {
            let word = u32::from(a) << 16 | u32::from(b) << 8;
            into.extend_from_slice(&[digit(word >> 18), digit(word >> 12), digit(word >> 6), b'=']);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    #[test]
    fn what_is_written_is_read_whole_in_lines_and_without_padding() {
        let mut stream = Chance::new(1).stream("bytes");
        for length in 0..200 {
            let mut bytes = vec![0; length];
            stream.fill(&mut bytes);
            let mut text = Vec::new();
            encode(&bytes, &mut text);
            assert_eq!(decode(&text), Ok(bytes.clone()));
            let lines: Vec<u8> = text.chunks(76).flat_map(|line| [line, b"\n"].concat()).collect();
            assert_eq!(decode(&lines), Ok(bytes.clone()));
            let bare: Vec<u8> = text.iter().copied().filter(|letter| *letter != b'=').collect();
            assert_eq!(decode(&bare), Ok(bytes.clone()));
            let other: Vec<u8> = text
                .iter()
                .map(|letter| match letter {
                    b'+' => b'-',
                    b'/' => b'_',
                    other => *other,
                })
                .collect();
            assert_eq!(decode(&other), Ok(bytes));
        }
    }

    #[test]
    fn what_others_write_is_read_as_they_mean_it() {
        assert_eq!(decode(b"gASVCQAAAAAAAABLAoWUfZSGlC4=").map(|bytes| bytes.len()), Ok(20));
        assert_eq!(decode(b""), Ok(Vec::new()));
        assert_eq!(decode(b" Z m 9 v\r\n"), Ok(b"foo".to_vec()));
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for text in [&b"Zm9v!"[..], b"Zm9vZ", b"Zg==Zg==", b"Zg===", b"\xff\xfe", b"Zm9v\0"] {
            assert!(decode(text).is_err(), "{text:?}");
        }
    }
}
