//! What a program printed: the first bytes, the last, and how many between them were left out. Bounded, whatever it
//! prints.

use std::collections::VecDeque;

/// Bytes kept from the beginning, and as many from the end.
pub const KEPT: usize = 64 * 1024;

/// A stream's output so far.
#[derive(Clone, Debug, Default)]
pub struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Output {
    /// More was printed.
    pub fn add(&mut self, bytes: &[u8]) {
        let room = KEPT - self.head.len();
        let (first, rest) = bytes.split_at(bytes.len().min(room));
        self.head.extend_from_slice(first);
        let (lost, last) = rest.split_at(rest.len().saturating_sub(KEPT));
        self.left_out += lost.len() as u64;
        let over = (self.tail.len() + last.len()).saturating_sub(KEPT);
        self.tail.drain(..over);
        self.left_out += over as u64;
        self.tail.extend(last);
    }

    /// As text: head, a line that says how much is missing, if any is, and tail; and that number. Bytes that are no
    /// UTF-8 become U+FFFD.
    #[must_use]
    pub fn text(mut self) -> (String, u64) {
        let left_out = self.left_out;
        let mut bytes = self.head;
        if left_out > 0 {
            let note = format!("\n[{left_out} bytes left out]\n");
            let head = String::from_utf8_lossy(&bytes).into_owned();
            let tail = String::from_utf8_lossy(self.tail.make_contiguous()).into_owned();
            return (head + &note + &tail, left_out);
        }
        bytes.extend(self.tail);
        (
            String::from_utf8(bytes)
                .unwrap_or_else(|wrong| String::from_utf8_lossy(wrong.as_bytes()).into_owned()),
            0,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_whole_whatever_its_pieces() {
        for piece in [1, 7, 4096, KEPT, 2 * KEPT] {
            let bytes: Vec<u8> = (0..2 * KEPT).map(|at| b'a' + (at % 26) as u8).collect();
            let mut output = Output::default();
            bytes.chunks(piece).for_each(|piece| output.add(piece));
            assert_eq!(output.text(), (String::from_utf8(bytes).expect("letters"), 0));
        }
    }

    #[test]
    fn the_middle_is_left_out_and_counted() {
        for piece in [999, KEPT - 1, 5 * KEPT] {
            let bytes: Vec<u8> = (0..5 * KEPT + 3).map(|at| b'a' + (at % 26) as u8).collect();
            let mut output = Output::default();
            bytes.chunks(piece).for_each(|piece| output.add(piece));
            let (text, left_out) = output.text();
            assert_eq!(left_out, 3 * KEPT as u64 + 3);
            assert!(text.as_bytes().starts_with(&bytes[..KEPT]));
            assert!(text.as_bytes().ends_with(&bytes[4 * KEPT + 3..]));
            assert!(text.contains("[196611 bytes left out]"));
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_no_harm() {
        let mut output = Output::default();
        output.add(b"a\xffb");
        assert_eq!(output.text(), ("a\u{fffd}b".into(), 0));
    }
}
