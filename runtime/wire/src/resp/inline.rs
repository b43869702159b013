//! Inline commands: a line a person types into `telnet` or `nc`, with Redis' rules of quoting.
//!
//! The one hard thing: escapes make an argument shorter than its text, so it can not be a slice of the input. A
//! line without quotes (nearly all of them) is cut in place; only one with quotes is written out anew.

use super::request::{Span, Spans};
use std::borrow::Cow;

/// A quote was not closed, or something stuck to its end.
pub(super) struct Unbalanced;

/// Cuts a line (without its line end) into arguments. Spans are offsets into the text that comes back.
pub(super) fn split(line: &[u8]) -> Result<(Cow<'_, [u8]>, Spans), Unbalanced> {
    if memchr::memchr2(b'"', b'\'', line).is_none() {
        return Ok((Cow::Borrowed(line), split_plain(line)));
    }
    let mut text = Vec::with_capacity(line.len());
    let mut spans = Spans::new();
    let mut rest = skip_space(line);
    while !rest.is_empty() {
        let start = text.len();
        rest = skip_space(argument(rest, &mut text)?);
        spans.push(Span::new(start, text.len()));
    }
    Ok((Cow::Owned(text), spans))
}

fn split_plain(line: &[u8]) -> Spans {
    let mut spans = Spans::new();
    let mut at = line.len() - skip_space(line).len();
    while at < line.len() {
        let length = line[at..].iter().position(|&byte| ends_word(byte)).unwrap_or(line.len() - at);
        spans.push(Span::new(at, at + length));
        let rest = skip_space(&line[at + length..]);
        at = line.len() - rest.len();
    }
    spans
}

/// One argument from the front of `rest` into `text`; what is left.
fn argument<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        match rest {
            [] => return Ok(rest),
            [byte, ..] if ends_word(*byte) => return Ok(rest),
            [b'"', tail @ ..] => return closed(double_quoted(tail, text)?),
            [b'\'', tail @ ..] => return closed(single_quoted(tail, text)?),
            [byte, tail @ ..] => {
                text.push(*byte);
                rest = tail;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [] => return Err(Unbalanced),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text.push(hex(*high) << 4 | hex(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                tail
            }
            [byte, tail @ ..] => {
                text.push(*byte);
                tail
            }
        };
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [] => return Err(Unbalanced),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                text.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                text.push(*byte);
                tail
            }
        };
    }
}

/// A closing quote ends its argument: only space or the line's end may follow.
fn closed(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest {
        [] => Ok(rest),
        [byte, ..] if is_space(*byte) => Ok(rest),
        _ => Err(Unbalanced),
    }
}

fn skip_space(text: &[u8]) -> &[u8] {
    let spaces = text.iter().position(|&byte| !is_space(byte)).unwrap_or(text.len());
    &text[spaces..]
}

/// What C calls a space.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// What ends a word outside quotes: fewer than what separates words, as in Redis.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}
