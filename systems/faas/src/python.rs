//! The Python side, as the worker sees it: the file it starts, the records it exchanges with a slot, and exceptions
//! that are pickled without a Python, for tasks whose process is no more. `python/slot.py` says what the records are.

use crate::dispatch::{FailureKind, FunctionId, PAYLOAD_MAX, TaskId, WORDS_MAX};
use std::fmt;
use wire::Outcome;

/// The file that is started as `python3 -c`.
pub const SOURCE: &str = include_str!("python/slot.py");

/// Bytes of a slot's first record without its length: its launch and its secret.
const HELLO: usize = 24;

/// Bytes of a report before its words.
const REPORT: usize = 37;

/// The longest report: a result, its words and what was printed.
const REPORT_MAX: usize = REPORT + PAYLOAD_MAX + 64 * 1024 + WORDS_MAX;

/// The exit status of a slot whose connection was closed by user code.
pub const LOST: i32 = 113;

/// A slot that says what none of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strange(&'static str);

impl fmt::Display for Strange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Who connects: which start, and what proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The number of the start.
    pub launch: u64,
    /// What was given to it alone.
    pub secret: [u8; 16],
}

/// What a slot says of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// Which.
    pub task: TaskId,
    /// Which try.
    pub attempt: u32,
    /// None: it went well.
    pub failure: Option<FailureKind>,
    /// The slot ends by itself now: user code left it in a state that is not for others.
    pub retires: bool,
    /// How long the function ran, in microseconds.
    pub ran_us: u64,
    /// Of a failure, for people.
    pub words: &'a str,
    /// The last that was printed.
    pub printed: &'a [u8],
    /// The pickled value or exception.
    pub result: &'a [u8],
}

/// Appends a task for a slot. `code` as long as the slot has not had it; `forgets`: it drops the functions it has.
pub fn write_task(
    into: &mut Vec<u8>,
    (task, attempt): (TaskId, u32),
    function: FunctionId,
    code: Option<&[u8]>,
    forgets: bool,
    payload: usize,
) {
    let has_code = code.is_some();
    let code = code.unwrap_or(&[]);
    let length = 41 + code.len() + payload;
    into.reserve(45 + code.len());
    into.extend_from_slice(&(length as u32).to_le_bytes());
    into.extend_from_slice(&task.0);
    into.extend_from_slice(&attempt.to_le_bytes());
    into.extend_from_slice(&function.0);
    into.push(u8::from(has_code) | u8::from(forgets) << 1);
    into.extend_from_slice(&(code.len() as u32).to_le_bytes());
    into.extend_from_slice(code);
}

/// The next record's body.
fn record(bytes: &[u8], length_max: usize) -> Outcome<&[u8], Strange> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Outcome::Partial { need: 4 } };
    let length = u32::from_le_bytes(*length) as usize;
    if length > length_max {
        return Outcome::Fault(Strange("a record that is too long"));
    }
    match rest.get(..length) {
        Some(value) => Outcome::Done { value, used: 4 + length },
        None => Outcome::Partial { need: 4 + length },
    }
}

/// Reads a slot's first record.
pub fn read_hello(bytes: &[u8]) -> Outcome<Hello, Strange> {
    match record(bytes, HELLO) {
        Outcome::Done { value, used } => match value.split_first_chunk::<8>() {
            Some((launch, secret)) if secret.len() == 16 => {
                let mut hello = Hello { launch: u64::from_le_bytes(*launch), secret: [0; 16] };
                hello.secret.copy_from_slice(secret);
                Outcome::Done { value: hello, used }
            }
            _ => Outcome::Fault(Strange("a first record of another length")),
        },
        Outcome::Partial { need } => Outcome::Partial { need },
        Outcome::Fault(strange) => Outcome::Fault(strange),
    }
}

/// Reads what a slot says of a task.
pub fn read_told(bytes: &[u8]) -> Outcome<Told<'_>, Strange> {
    match record(bytes, REPORT_MAX) {
        Outcome::Done { value, used } => match told(value) {
            Ok(value) => Outcome::Done { value, used },
            Err(strange) => Outcome::Fault(strange),
        },
        Outcome::Partial { need } => Outcome::Partial { need },
        Outcome::Fault(strange) => Outcome::Fault(strange),
    }
}

fn told(body: &[u8]) -> Result<Told<'_>, Strange> {
    const SHORT: Strange = Strange("a report that ends too early");
    let (head, rest) = body.split_first_chunk::<REPORT>().ok_or(SHORT)?;
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let mut task = TaskId([0; 16]);
    task.0.copy_from_slice(&head[..16]);
    let failure = match (head[20], head[21]) {
        (0, _) => None,
        (1, kind) => Some(FailureKind::of(kind).map_err(|_| Strange("a failure of no known kind"))?),
        _ => return Err(Strange("an end of no known kind")),
    };
    let (words, printed) = (usize::from(u16::from_le_bytes([head[31], head[32]])), word(33) as usize);
    let (words, rest) = rest.split_at_checked(words).ok_or(SHORT)?;
    let (printed, result) = rest.split_at_checked(printed).ok_or(SHORT)?;
    if result.len() > PAYLOAD_MAX {
        return Err(Strange("a result that is too long"));
    }
    Ok(Told {
        task,
        attempt: word(16),
        failure,
        retires: head[22] != 0,
        ran_us: u64::from(word(23)) | u64::from(word(27)) << 32,
        words: std::str::from_utf8(words).unwrap_or("(its words are no text)"),
        printed,
        result,
    })
}

/// A built-in exception with one argument, as Python would pickle it (protocol 4: PROTO, two SHORT_BINUNICODE,
/// STACK_GLOBAL, BINUNICODE, TUPLE1, REDUCE, STOP).
#[must_use]
pub fn exception(class: &str, words: &str) -> Vec<u8> {
    let mut bytes = vec![0x80, 4];
    for name in ["builtins", class] {
        bytes.extend_from_slice(&[0x8c, name.len() as u8]);
        bytes.extend_from_slice(name.as_bytes());
    }
    bytes.extend_from_slice(&[0x93, b'X']);
    bytes.extend_from_slice(&(words.len() as u32).to_le_bytes());
    bytes.extend_from_slice(words.as_bytes());
    bytes.extend_from_slice(&[0x85, b'R', b'.']);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Vec<u8> {
        let mut body = vec![7; 16];
        body.extend_from_slice(&3_u32.to_le_bytes());
        body.extend_from_slice(&[1, 5, 1]);
        body.extend_from_slice(&(1_u64 << 40).to_le_bytes());
        body.extend_from_slice(&2_u16.to_le_bytes());
        body.extend_from_slice(&4_u32.to_le_bytes());
        body.extend_from_slice(b"nosaidvalue");
        let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
        bytes.extend_from_slice(&body);
        bytes
    }

    #[test]
    fn a_report_is_read_whole_and_never_before() {
        let bytes = report();
        let Outcome::Done { value, used } = read_told(&bytes) else { panic!("it is whole") };
        assert_eq!(used, bytes.len());
        assert_eq!((value.task, value.attempt, value.ran_us), (TaskId([7; 16]), 3, 1 << 40));
        assert_eq!((value.failure, value.retires), (Some(FailureKind::TimedOut), true));
        assert_eq!((value.words, value.printed, value.result), ("no", &b"said"[..], &b"value"[..]));
        for cut in 0..bytes.len() {
            assert!(matches!(read_told(&bytes[..cut]), Outcome::Partial { need } if need > cut), "{cut}");
        }
    }

    #[test]
    fn what_no_slot_of_ours_says_is_told() {
        let bytes = report();
        for length in 0..bytes.len() - 4 {
            let mut shorter = bytes[..4 + length].to_vec();
            shorter[..4].copy_from_slice(&(length as u32).to_le_bytes());
            let read = read_told(&shorter);
            // The result is what is left: it may be shorter.
            let is_whole = length >= bytes.len() - 4 - b"value".len();
            assert_eq!(matches!(read, Outcome::Done { .. }), is_whole, "{length}: {read:?}");
        }
        assert!(matches!(read_told(&[255; 4]), Outcome::Fault(_)));
        assert!(matches!(read_hello(&[23, 0, 0, 0]), Outcome::Partial { .. }));
        assert!(matches!(read_hello(&[25, 0, 0, 0]), Outcome::Fault(_)));
        assert!(matches!(read_hello(&[0, 0, 0, 0]), Outcome::Fault(_)));
    }

    #[test]
    fn an_exception_is_pickled_as_python_would_load_it() {
        let expected = b"\x80\x04\x8c\x08builtins\x8c\x0cRuntimeError\x93X\x02\x00\x00\x00no\x85R.";
        assert_eq!(exception("RuntimeError", "no"), expected);
    }
}
