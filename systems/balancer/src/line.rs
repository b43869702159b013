//! One line, as a client sends it: a name, then a line feed. A carriage return before it is forgiven.
//!
//! Bytes come cut anywhere, so a line that has not ended yet is no fault; only one that can no longer end in
//! time is.

use wire::Outcome;

/// The most bytes a line may have, its end not counted: room for a name and little to waste on those who send
/// no end.
pub const LINE_MAX: usize = 256;

/// A line that did not end within [`LINE_MAX`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Reads the first line of `bytes`, without its end.
#[must_use]
pub fn read(bytes: &[u8]) -> Outcome<&[u8], TooLong> {
    let within = &bytes[..bytes.len().min(LINE_MAX + 2)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() > LINE_MAX + 1 {
            Outcome::Fault(TooLong)
        } else {
            Outcome::Partial { need: bytes.len() + 1 }
        };
    };
    let line = &bytes[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.len() > LINE_MAX { Outcome::Fault(TooLong) } else { Outcome::Done { value: line, used: end + 1 } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Outcome<&[u8], TooLong>) {
        assert_eq!(read(bytes), expected);
    }

    #[test]
    fn a_line_ends_at_its_line_feed() {
        check(b"apples\npears", Outcome::Done { value: b"apples", used: 7 });
        check(b"apples\r\n", Outcome::Done { value: b"apples", used: 8 });
        check(b"\n", Outcome::Done { value: b"", used: 1 });
    }

    #[test]
    fn a_cut_is_never_a_fault() {
        let line = [&[b'x'; LINE_MAX][..], b"\r\n"].concat();
        for cut in 0..line.len() {
            check(&line[..cut], Outcome::Partial { need: cut + 1 });
        }
        check(&line, Outcome::Done { value: &line[..LINE_MAX], used: line.len() });
    }

    #[test]
    fn a_line_without_end_is_a_fault() {
        check(&[b'x'; LINE_MAX + 2], Outcome::Fault(TooLong));
        check(&[&[b'x'; LINE_MAX + 1][..], b"\n"].concat(), Outcome::Fault(TooLong));
    }
}
