//! The server's replies and the client's requests, appended to bytes that leave in one send.
//!
//! The one hard thing is that one reply has two forms: what RESP2 can not say (maps, doubles, a null of its own)
//! is said to it the way Redis says it, so that callers write the meaning once and never ask for the version.

use super::Version;
use std::fmt::Write as _;

/// Bytes of the longest header: a kind, 20 digits, a line end.
const HEADER_MAX: usize = 23;

/// Appends replies in one protocol version. Borrowed for as long as a batch of replies is written.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    version: Version,
}

impl<'o> Writer<'o> {
    /// Replies appended to `out`, for a client that speaks `version`.
    #[inline]
    pub fn new(out: &'o mut Vec<u8>, version: Version) -> Self {
        Writer { out, version }
    }

    /// The version that is written.
    #[inline]
    pub fn version(&self) -> Version {
        self.version
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.raw(b"+OK\r\n");
    }

    /// A simple string; line ends in it become spaces.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error: `text` begins with its code (`ERR …`, `WRONGTYPE …`). It may quote what the client sent: line
    /// ends in it become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        if (0..10).contains(&value) {
            self.raw(&[b':', b'0' + value as u8, b'\r', b'\n']);
            return;
        }
        let mut digits = itoa::Buffer::new();
        self.header(b':', digits.format(value));
    }

    /// Bytes of any kind.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + HEADER_MAX + 2);
        self.bulk_header(bytes.len());
        self.raw(bytes);
        self.bulk_end();
    }

    /// Says that `length` bytes follow, which the caller sends by other means (a blob), and then
    /// [`Writer::bulk_end`].
    #[inline]
    pub fn bulk_header(&mut self, length: usize) {
        self.count(b'$', length);
    }

    /// What must follow the bytes announced by [`Writer::bulk_header`].
    #[inline]
    pub fn bulk_end(&mut self) {
        self.raw(b"\r\n");
    }

    /// No value: `$-1` or `_`.
    #[inline]
    pub fn null(&mut self) {
        self.raw(self.either(b"$-1\r\n", b"_\r\n"));
    }

    /// No list: `*-1` or `_`.
    #[inline]
    pub fn null_array(&mut self) {
        self.raw(self.either(b"*-1\r\n", b"_\r\n"));
    }

    /// A list: `count` replies follow.
    #[inline]
    pub fn array(&mut self, count: usize) {
        self.count(b'*', count);
    }

    /// A map: `pairs` keys, each before its value, follow. In RESP2 a list of twice as many.
    #[inline]
    pub fn map(&mut self, pairs: usize) {
        match self.version {
            Version::Two => self.count(b'*', pairs * 2),
            Version::Three => self.count(b'%', pairs),
        }
    }

    /// A set: `count` replies follow. In RESP2 a list.
    #[inline]
    pub fn set(&mut self, count: usize) {
        self.count(self.either(b"*", b"~")[0], count);
    }

    /// A message nobody asked for: `count` replies follow. In RESP2 a list.
    #[inline]
    pub fn push(&mut self, count: usize) {
        self.count(self.either(b"*", b">")[0], count);
    }

    /// A number with a fraction: in RESP2 a bulk. The shortest text that reads back as the same number.
    pub fn double(&mut self, value: f64) {
        let text = double_text(value);
        match self.version {
            Version::Two => self.bulk(text.as_bytes()),
            Version::Three => self.line(b',', text.as_bytes()),
        }
    }

    /// True or false: in RESP2 1 or 0.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.raw(match value {
            true => self.either(b":1\r\n", b"#t\r\n"),
            false => self.either(b":0\r\n", b"#f\r\n"),
        });
    }

    /// An integer of any length, as decimal text: in RESP2 a bulk.
    pub fn big_number(&mut self, digits: &str) {
        match self.version {
            Version::Two => self.bulk(digits.as_bytes()),
            Version::Three => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text for people, `format` being `txt` or `mkd`: in RESP2 a bulk without the format.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.version {
            Version::Two => self.bulk(text),
            Version::Three => {
                self.count(b'=', text.len() + 4);
                self.raw(&format);
                self.raw(b":");
                self.raw(text);
                self.bulk_end();
            }
        }
    }

    #[inline]
    fn either(&self, two: &'static [u8], three: &'static [u8]) -> &'static [u8] {
        match self.version {
            Version::Two => two,
            Version::Three => three,
        }
    }

    #[inline]
    fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    fn count(&mut self, kind: u8, count: usize) {
        write_count(self.out, kind, count);
    }

    #[inline]
    fn header(&mut self, kind: u8, digits: &str) {
        write_header(self.out, kind, digits);
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(kind);
        if memchr::memchr2(b'\r', b'\n', text).is_none() {
            self.raw(text);
        } else {
            self.out.extend(text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }));
        }
        self.raw(b"\r\n");
    }
}

/// Appends one request as an array of bulks, the command's name first.
pub fn write_request(into: &mut Vec<u8>, arguments: &[&[u8]]) {
    let bytes: usize = arguments.iter().map(|argument| argument.len() + HEADER_MAX + 2).sum();
    into.reserve(HEADER_MAX + bytes);
    write_count(into, b'*', arguments.len());
    for argument in arguments {
        write_count(into, b'$', argument.len());
        into.extend_from_slice(argument);
        into.extend_from_slice(b"\r\n");
    }
}

/// `kind`, the count, a line end: in one piece for the small counts nearly all of them are.
#[inline]
fn write_count(out: &mut Vec<u8>, kind: u8, count: usize) {
    match count {
        0..=9 => out.extend_from_slice(&[kind, b'0' + count as u8, b'\r', b'\n']),
        10..=99 => {
            let (tens, ones) = (b'0' + (count / 10) as u8, b'0' + (count % 10) as u8);
            out.extend_from_slice(&[kind, tens, ones, b'\r', b'\n']);
        }
        _ => write_header(out, kind, itoa::Buffer::new().format(count)),
    }
}

#[inline]
fn write_header(out: &mut Vec<u8>, kind: u8, digits: &str) {
    let mut header = [0_u8; HEADER_MAX];
    let end = digits.len() + 1;
    header[0] = kind;
    header[1..end].copy_from_slice(digits.as_bytes());
    header[end..end + 2].copy_from_slice(b"\r\n");
    out.extend_from_slice(&header[..end + 2]);
}

/// As Redis shows doubles: `inf`, `-inf`, `nan`; no exponent where the text stays short.
fn double_text(value: f64) -> String {
    let mut text = String::new();
    let size = value.abs();
    let written = if value.is_nan() {
        text.write_str("nan")
    } else if value.is_infinite() {
        text.write_str(if value > 0.0 { "inf" } else { "-inf" })
    } else if size != 0.0 && !(1e-5..1e17).contains(&size) {
        write!(text, "{value:e}")
    } else {
        write!(text, "{value}")
    };
    debug_assert!(written.is_ok(), "a String takes everything");
    text
}
