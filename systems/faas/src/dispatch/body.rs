//! The pieces that bodies are made of, read and written. Reading takes from the front and says what is wrong; writing
//! appends to a frame whose length is filled in at its end.

use super::{HEADER, Kind, WORDS_MAX};
use std::fmt;

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faulty(pub(super) &'static str);

impl Faulty {
    const SHORT: Self = Self("it ends too early");
    pub(super) const MANY: Self = Self("it carries too many");
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What is left of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body<'a>(pub(super) &'a [u8]);

impl<'a> Body<'a> {
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Faulty> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(Faulty::SHORT)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Faulty> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn flag(&mut self) -> Result<bool, Faulty> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Faulty("a flag is neither 0 nor 1")),
        }
    }

    pub(super) fn short(&mut self) -> Result<u16, Faulty> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn number(&mut self) -> Result<u32, Faulty> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn long(&mut self) -> Result<u64, Faulty> {
        self.array().map(u64::from_le_bytes)
    }

    fn run(&mut self, length: usize) -> Result<&'a [u8], Faulty> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(Faulty::SHORT)?;
        self.0 = rest;
        Ok(head)
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Faulty> {
        let length = self.number()?;
        self.run(length as usize)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, Faulty> {
        let length = self.short()?;
        let bytes = self.run(length.into())?;
        std::str::from_utf8(bytes).map_err(|_| Faulty("text is not UTF-8"))
    }

    pub(super) fn end(self) -> Result<(), Faulty> {
        if self.0.is_empty() { Ok(()) } else { Err(Faulty("it goes on after its end")) }
    }
}

/// A frame that is being written.
#[derive(Debug)]
pub(super) struct Frame<'v> {
    into: &'v mut Vec<u8>,
    start: usize,
}

impl<'v> Frame<'v> {
    pub(super) fn begin(into: &'v mut Vec<u8>, kind: Kind) -> Self {
        let start = into.len();
        into.extend_from_slice(&[0, 0, 0, 0, kind as u8, 0, 0, 0]);
        Self { into, start }
    }

    /// Bytes of the body so far.
    pub(super) fn length(&self) -> usize {
        self.into.len() - self.start - HEADER
    }

    pub(super) fn array<const N: usize>(&mut self, bytes: &[u8; N]) {
        self.into.extend_from_slice(bytes);
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.into.push(byte);
    }

    pub(super) fn short(&mut self, number: u16) {
        self.array(&number.to_le_bytes());
    }

    pub(super) fn number(&mut self, number: u32) {
        self.array(&number.to_le_bytes());
    }

    pub(super) fn long(&mut self, number: u64) {
        self.array(&number.to_le_bytes());
    }

    /// Who admitted the bytes has bounded them; 4 GiB are our own mistake.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(u32::try_from(bytes.len()).expect("what a frame carries is bounded"));
        self.into.extend_from_slice(bytes);
    }

    /// Cut at [`WORDS_MAX`].
    pub(super) fn text(&mut self, text: &str) {
        let text = &text[..text.floor_char_boundary(WORDS_MAX)];
        self.short(text.len() as u16);
        self.into.extend_from_slice(text.as_bytes());
    }

    pub(super) fn end(self) {
        let length = u32::try_from(self.length()).expect("what a frame carries is bounded");
        self.into[self.start..self.start + 4].copy_from_slice(&length.to_le_bytes());
    }
}
