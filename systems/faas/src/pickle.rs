//! Pickles, without unpickling: whether bytes can be one, by walking over its opcodes, and the few that we write.
//!
//! A pickle is a program. Walking reads each opcode and steps over what belongs to it; nothing is carried out, nothing
//! is kept, and what an opcode announces is never more than what is there. (Python, `Lib/pickletools.py`; protocols
//! 2 to 5, which begin with PROTO.)

/// What can be said of a pickle from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its protocol.
    pub protocol: u8,
    /// It names something by module: only then can it be a function.
    pub names: bool,
}

/// Why bytes cannot be a pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// There are none.
    Empty,
    /// They do not begin with PROTO.
    NoProtocol,
    /// A protocol that no Python writes so.
    Protocol(u8),
    /// There is no such opcode.
    Opcode(u8, usize),
    /// They end before STOP.
    Cut,
    /// Something follows STOP.
    Trailing(usize),
    /// It is one, and names nothing that could be called.
    NoFunction,
}

impl core::fmt::Display for Flaw {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::NoProtocol => f.write_str("it is no pickle: it does not begin with a protocol"),
            Self::Protocol(number) => write!(f, "it is a pickle of protocol {number}; 2 to 5 are known"),
            Self::Opcode(code, at) => write!(f, "it is no pickle: byte {at} ({code:#04x}) is no opcode"),
            Self::Cut => f.write_str("it is a pickle that is cut: it ends before STOP"),
            Self::Trailing(at) => write!(f, "it is a pickle with something behind its end, at byte {at}"),
            Self::NoFunction => f.write_str("it is a pickle of something that cannot be called"),
        }
    }
}

/// What follows an opcode.
enum After {
    Nothing,
    Fixed(usize),
    /// A length of so many bytes, and that many bytes.
    Counted(usize),
    Lines(u8),
    Stop,
    Names(&'static After),
}

const STOP: u8 = b'.';
const PROTO: u8 = 0x80;

fn after(code: u8) -> Option<After> {
    Some(match code {
        STOP => After::Stop,
        b'(' | b'0' | b'1' | b'2' | b'N' | b'R' | b'a' | b'b' | b'd' | b'}' | b'e' | b'l' | b']' | b'o'
        | b's' | b't' | b')' | b'u' | b'Q' => After::Nothing,
        0x81 | 0x85..=0x89 | 0x8f..=0x92 | 0x94 | 0x97 | 0x98 => After::Nothing,
        0x93 => After::Names(&After::Nothing),
        b'F' | b'I' | b'L' | b'P' | b'S' | b'V' | b'g' | b'p' => After::Lines(1),
        b'c' | b'i' => After::Names(&After::Lines(2)),
        b'K' | b'h' | b'q' | PROTO => After::Fixed(1),
        b'M' => After::Fixed(2),
        b'J' | b'j' | b'r' => After::Fixed(4),
        b'G' | 0x95 => After::Fixed(8),
        0x82 => After::Names(&After::Fixed(1)),
        0x83 => After::Names(&After::Fixed(2)),
        0x84 => After::Names(&After::Fixed(4)),
        b'U' | b'C' | 0x8a | 0x8c => After::Counted(1),
        b'T' | b'X' | b'B' | 0x8b => After::Counted(4),
        0x8d | 0x8e | 0x96 => After::Counted(8),
        _ => return None,
    })
}

/// Walks over a pickle.
///
/// # Errors
/// Why these bytes cannot be one.
pub fn walk(bytes: &[u8]) -> Result<Seen, Flaw> {
    let protocol = match bytes {
        [] => return Err(Flaw::Empty),
        [PROTO, protocol @ 2..=5, ..] => *protocol,
        [PROTO, protocol, ..] => return Err(Flaw::Protocol(*protocol)),
        [PROTO] => return Err(Flaw::Cut),
        [_, ..] => return Err(Flaw::NoProtocol),
    };
    let (mut at, mut names) = (2, false);
    loop {
        let code = *bytes.get(at).ok_or(Flaw::Cut)?;
        let mut what = after(code).ok_or(Flaw::Opcode(code, at))?;
        at += 1;
        if let After::Names(inner) = &what {
            names = true;
            what = match inner {
                After::Fixed(count) => After::Fixed(*count),
                After::Lines(count) => After::Lines(*count),
                After::Nothing | After::Counted(_) | After::Stop | After::Names(_) => After::Nothing,
            };
        }
        let rest = &bytes[at.min(bytes.len())..];
        at += match what {
            After::Nothing | After::Names(_) => 0,
            After::Fixed(count) => count,
            After::Lines(count) => lines(rest, count).ok_or(Flaw::Cut)?,
            After::Counted(width) => counted(rest, width).ok_or(Flaw::Cut)?,
            After::Stop if at == bytes.len() => return Ok(Seen { protocol, names }),
            After::Stop => return Err(Flaw::Trailing(at)),
        };
        if at > bytes.len() {
            return Err(Flaw::Cut);
        }
    }
}

/// Whether these bytes can be a function.
///
/// # Errors
/// Why not.
pub fn function(bytes: &[u8]) -> Result<Seen, Flaw> {
    let seen = walk(bytes)?;
    if seen.names { Ok(seen) } else { Err(Flaw::NoFunction) }
}

fn lines(rest: &[u8], count: u8) -> Option<usize> {
    let mut used = 0;
    for _ in 0..count {
        used += rest[used..].iter().position(|byte| *byte == b'\n')? + 1;
    }
    Some(used)
}

fn counted(rest: &[u8], width: usize) -> Option<usize> {
    let mut length = [0; 8];
    length[..width].copy_from_slice(rest.get(..width)?);
    let length = usize::try_from(u64::from_le_bytes(length)).ok()?;
    let used = width.checked_add(length)?;
    (used <= rest.len()).then_some(used)
}

/// An exception that a function did not raise itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// `TimeoutError`.
    Timeout,
    /// `concurrent.futures.CancelledError`.
    Cancelled,
    /// `RuntimeError`.
    Runtime,
}

/// An exception with its sentence, as a pickle of protocol 3.
#[must_use]
pub fn exception(raised: Raised, sentence: &str) -> Vec<u8> {
    let named: &[u8] = match raised {
        Raised::Timeout => b"cbuiltins\nTimeoutError\n",
        Raised::Cancelled => b"cconcurrent.futures._base\nCancelledError\n",
        Raised::Runtime => b"cbuiltins\nRuntimeError\n",
    };
    let mut bytes = vec![PROTO, 3];
    bytes.extend_from_slice(named);
    unicode(sentence, &mut bytes);
    bytes.extend_from_slice(b"\x85R.");
    bytes
}

/// A text, as a pickle of protocol 3.
#[must_use]
pub fn text(sentence: &str) -> Vec<u8> {
    let mut bytes = vec![PROTO, 3];
    unicode(sentence, &mut bytes);
    bytes.push(STOP);
    bytes
}

fn unicode(text: &str, into: &mut Vec<u8>) {
    into.push(b'X');
    into.extend_from_slice(&(text.len() as u32).to_le_bytes());
    into.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pickle.dumps(os.path.join, protocol)`, and a few values, by CPython 3.11.
    const FUNCTION: &[u8] =
        b"\x80\x04\x95\x16\x00\x00\x00\x00\x00\x00\x00\x8c\x09posixpath\x94\x8c\x04join\x94\x93\x94.";
    const OLD: &[u8] = b"\x80\x02cposixpath\njoin\nq\x00.";
    const FIVE: &[u8] = b"\x80\x04K\x05.";

    #[test]
    fn a_function_is_told_from_what_is_none() {
        assert_eq!(function(FUNCTION), Ok(Seen { protocol: 4, names: true }));
        assert_eq!(function(OLD), Ok(Seen { protocol: 2, names: true }));
        assert_eq!(function(FIVE), Err(Flaw::NoFunction));
        assert_eq!(walk(FIVE), Ok(Seen { protocol: 4, names: false }));
    }

    #[test]
    fn every_cut_is_a_cut_and_nothing_else() {
        for whole in [FUNCTION, OLD, FIVE] {
            for end in 1..whole.len() {
                assert_eq!(walk(&whole[..end]), Err(Flaw::Cut), "{end} of {whole:?}");
            }
        }
    }

    #[test]
    fn what_is_no_pickle_is_refused_with_its_reason() {
        #[track_caller]
        fn check(bytes: &[u8], expected: Flaw) {
            assert_eq!(walk(bytes), Err(expected));
        }
        check(b"", Flaw::Empty);
        check(b"payload", Flaw::NoProtocol);
        check(b"\x80\x09.", Flaw::Protocol(9));
        check(b"\x80\x04\xff.", Flaw::Opcode(0xff, 2));
        check(b"\x80\x04K\x05..", Flaw::Trailing(5));
        check(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", Flaw::Cut);
        check(b"\x80\x04X\xff\xff\xff\x7f.", Flaw::Cut);
    }

    #[test]
    fn what_we_write_can_be_walked() {
        for raised in [Raised::Timeout, Raised::Cancelled, Raised::Runtime] {
            assert_eq!(walk(&exception(raised, "über Nacht")), Ok(Seen { protocol: 3, names: true }));
        }
        assert_eq!(walk(&text("a sentence")), Ok(Seen { protocol: 3, names: false }));
    }
}
