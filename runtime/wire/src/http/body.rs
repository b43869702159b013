//! What follows a head: where in each piece of bytes its payload is, and where it ends.
//!
//! Nothing is copied or kept but counters: every byte that is brought is used, whatever its cut, so a body of any
//! length goes through a buffer of any size. The one hard thing is the chunk line, where one reader's size is
//! another one's nonsense: only hexadecimal digits are a size here, and only CR LF is an end.

use super::fault::Fault;
use super::framing::Framing;
use super::limits::Limits;
use super::lines::Lines;
use std::ops::Range;

/// What was found in a piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where payload is, in the bytes that were brought. Empty where there was only framing.
    pub payload: Range<usize>,
    /// Where lines of a trailer section are, ends of lines included but for the empty one. Well-formed, and by a good
    /// custom dropped (RFC 9110 section 6.5).
    pub trailers: Range<usize>,
    /// How many bytes are done with. All, unless the body ended before or another payload follows: then ask again
    /// with the rest.
    pub used: usize,
}

/// Where in a body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the payload of a body with a length; so many bytes follow.
    Length(u64),
    /// In a body that only the connection's end ends.
    UntilClose,
    /// At the first digit of a chunk's size.
    SizeStart,
    /// Behind a digit, with the size so far.
    Size(u64),
    /// In white space behind the size, where a `;` must follow.
    SizeSpace(u64),
    Extension(u64),
    /// Behind the carriage return of a chunk line.
    SizeFeed(u64),
    /// In a chunk's payload; so many bytes follow.
    Chunk(u64),
    /// Behind it.
    ChunkReturn,
    ChunkFeed,
    Trailers(Lines),
    Done,
}

/// A body on its way. One a message; made from what its head said.
#[derive(Debug, Clone)]
pub struct Body {
    at: At,
    limits: Limits,
    /// Payload bytes that came, and of a chunk that begins, those announced.
    total: u64,
    /// Bytes of this chunk line, or of the trailer section.
    line: usize,
    extensions: usize,
}

impl Body {
    /// The body of a message with this framing. A tunnel is read like a body until the connection ends, without a bound.
    #[must_use]
    pub fn new(framing: Framing, limits: Limits) -> Self {
        let body_max = if framing == Framing::Tunnel { u64::MAX } else { limits.body_max };
        let at = match framing {
            Framing::None | Framing::Length(0) => At::Done,
            Framing::Length(length) => At::Length(length),
            Framing::Chunked => At::SizeStart,
            Framing::UntilClose | Framing::Tunnel => At::UntilClose,
        };
        Body { at, limits: Limits { body_max, ..limits.cut() }, total: 0, line: 0, extensions: 0 }
    }

    /// Whether the message is over. The bytes behind belong to the next one.
    #[inline]
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.at == At::Done
    }

    /// How many bytes of payload are known to follow, without a line of framing between: a reason to receive them
    /// into one buffer. None where that is not known.
    #[must_use]
    pub fn ahead(&self) -> Option<u64> {
        match self.at {
            At::Length(left) | At::Chunk(left) => Some(left),
            At::Done => Some(0),
            At::UntilClose
            | At::SizeStart
            | At::Size(_)
            | At::SizeSpace(_)
            | At::Extension(_)
            | At::SizeFeed(_)
            | At::ChunkReturn
            | At::ChunkFeed
            | At::Trailers(_) => None,
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// [`Fault::Truncated`] if more should have come (RFC 9112 section 8): what came is not the whole.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.at {
            At::Done | At::UntilClose => {
                self.at = At::Done;
                Ok(())
            }
            _ => Err(Fault::Truncated),
        }
    }

    /// What is in `bytes`, which follow those that were used before. Uses at least one byte if there is one and the
    /// body is not done.
    ///
    /// # Errors
    /// The framing is broken or over a limit: nothing of `bytes` counts, and the connection ends.
    #[inline]
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, Fault> {
        match self.at {
            At::Length(left) => {
                let (now, left) = take(left, bytes.len());
                self.at = if left == 0 { At::Done } else { At::Length(left) };
                Ok(Piece { payload: 0..now, trailers: 0..0, used: now })
            }
            At::UntilClose => {
                self.admit(bytes.len() as u64)?;
                Ok(Piece { payload: 0..bytes.len(), trailers: 0..0, used: bytes.len() })
            }
            At::Done => Ok(Piece { payload: 0..0, trailers: 0..0, used: 0 }),
            _ => self.chunks(bytes),
        }
    }

    /// Framing, one payload, and the framing behind it.
    fn chunks(&mut self, bytes: &[u8]) -> Result<Piece, Fault> {
        let mut piece = Piece { payload: 0..0, trailers: 0..0, used: 0 };
        while let Some(&byte) = bytes.get(piece.used) {
            match self.at {
                At::Done => break,
                At::Chunk(_) if !piece.payload.is_empty() => break,
                At::Chunk(left) => {
                    let (now, left) = take(left, bytes.len() - piece.used);
                    piece.payload = piece.used..piece.used + now;
                    piece.used += now;
                    self.at = if left == 0 { At::ChunkReturn } else { At::Chunk(left) };
                }
                At::Trailers(lines) => self.trailer(lines, byte, &mut piece)?,
                _ => {
                    self.at = self.chunk_line(byte)?;
                    piece.used += 1;
                }
            }
        }
        Ok(piece)
    }

    /// One byte of the framing between payloads.
    fn chunk_line(&mut self, byte: u8) -> Result<At, Fault> {
        match (self.at, byte) {
            (At::ChunkReturn, b'\r') => return Ok(At::ChunkFeed),
            (At::ChunkFeed, b'\n') => return Ok(At::SizeStart),
            (At::ChunkReturn | At::ChunkFeed, _) => return Err(Fault::ChunkEnd),
            (At::SizeFeed(0), b'\n') => {
                self.line = 0;
                return Ok(At::Trailers(Lines::START));
            }
            (At::SizeFeed(size), b'\n') => {
                self.line = 0;
                self.admit(size)?;
                return Ok(At::Chunk(size));
            }
            (At::SizeFeed(_), _) => return Err(Fault::BareCarriageReturn),
            (At::Size(size) | At::Extension(size), b'\r') => return Ok(At::SizeFeed(size)),
            _ => {}
        }
        self.line += 1;
        if self.line > self.limits.chunk_line_max {
            return Err(Fault::ChunkLineTooLong);
        }
        match (self.at, byte) {
            (At::SizeStart, byte) => digit(0, byte),
            (At::Size(size) | At::SizeSpace(size), b';') => Ok(At::Extension(size)),
            (At::Size(size) | At::SizeSpace(size), b' ' | b'\t') => Ok(At::SizeSpace(size)),
            (At::Size(size), byte) => digit(size, byte),
            (At::Extension(size), byte) => self.extension(size, byte),
            (_, _) => Err(Fault::ChunkSize),
        }
    }

    fn extension(&mut self, size: u64, byte: u8) -> Result<At, Fault> {
        self.extensions += 1;
        match byte {
            b'\n' => Err(Fault::BareLineFeed),
            byte if !super::byte::is_value(byte) => Err(Fault::ChunkExtension),
            _ if self.extensions > self.limits.extensions_max => Err(Fault::ChunkLineTooLong),
            _ => Ok(At::Extension(size)),
        }
    }

    fn trailer(&mut self, mut lines: Lines, byte: u8, piece: &mut Piece) -> Result<(), Fault> {
        self.line += 1;
        if self.line > self.limits.trailers_max {
            return Err(Fault::TrailersTooLong);
        }
        let ended = lines.step(byte, self.limits.fields_max)?;
        self.at = if ended { At::Done } else { At::Trailers(lines) };
        if !ended && !lines.is_ending() {
            if piece.trailers.is_empty() {
                piece.trailers = piece.used..piece.used;
            }
            piece.trailers.end = piece.used + 1;
        }
        piece.used += 1;
        Ok(())
    }

    /// Counts payload against the bound on the whole.
    fn admit(&mut self, payload: u64) -> Result<(), Fault> {
        self.total = self.total.saturating_add(payload);
        match self.total > self.limits.body_max {
            true => Err(Fault::BodyTooLong),
            false => Ok(()),
        }
    }
}

/// Of `left` bytes, those that are among `there`, and those that are not.
#[inline]
fn take(left: u64, there: usize) -> (usize, u64) {
    let now = usize::try_from(left).unwrap_or(usize::MAX).min(there);
    (now, left - now as u64)
}

fn digit(size: u64, byte: u8) -> Result<At, Fault> {
    let digit = char::from(byte).to_digit(16);
    match digit {
        None if byte == b'\n' => Err(Fault::BareLineFeed),
        None => Err(Fault::ChunkSize),
        Some(_) if size >= 1 << 56 => Err(Fault::ChunkOverflow),
        Some(digit) => Ok(At::Size(size << 4 | u64::from(digit))),
    }
}
