//! Every read and write of a run with its call and its return, for whoever wants to judge what the server promised: a
//! checker of linearizability, or the count of acknowledged writes that are gone.
//!
//! The hard thing is what may be claimed of a write whose answer never came. It may have been done at any time after its
//! call, or never; so it returns never, and no verdict rests on it. A call is told as the last reading of the clock
//! before the request was handed to the kernel, and a return as the first after its reply was there: so an operation
//! took place within the two, whatever our own delays were.

use crate::register::violations;
use crate::units::shown_count;
use crate::workload::Operation;
use machine::Instant;
use reactor::Fatal;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

/// The most operations that a core keeps, of 40 bytes each. The run ends there, cut short.
pub const KEPT_MAX: usize = 10_000_000;
/// Exit status when a history could not be a register's.
pub const STATUS_VIOLATED: u8 = 10;
/// The most violations that are shown; one a key is found.
const SHOWN_MAX: usize = 10;
/// The version that a read says when there was no value.
pub const NOTHING: u64 = u64::MAX;
/// A return that never came.
const NEVER: u64 = u64::MAX;
/// What the first line of a file says.
const HEAD: &str =
    "# Each line is an operation on a register: one for each key, all of version 0 at the beginning.";
/// What its second line says.
const COLUMNS: &str = "core,place,operation,key,version,call_ns,return_ns";

/// An operation that was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Which key.
    pub key: u64,
    /// What was written, or read: [`NOTHING`] where there was no value.
    pub version: u64,
    /// When it was called, in nanoseconds since the origin.
    pub call: u64,
    back: u64,
    /// On which connection of its core.
    pub place: u32,
    /// Whose core.
    pub core: u16,
    /// What it is.
    pub kind: Kind,
}

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A write.
    Set,
    /// A read.
    Get,
    /// A read when all was over.
    Look,
}

impl Kept {
    /// When it returned; none when nobody knows whether it was done.
    #[must_use]
    pub fn back(&self) -> Option<u64> {
        (self.back != NEVER).then_some(self.back)
    }

    /// Whether this was surely over when `other` began.
    #[must_use]
    pub fn precedes(&self, other: &Self) -> bool {
        self.back < other.call
    }
}

/// What one core keeps.
#[derive(Clone, Debug)]
pub struct History {
    core: u16,
    kept: Vec<Kept>,
}

impl History {
    /// Nothing yet.
    #[must_use]
    pub fn new(core: u16) -> Self {
        Self { core, kept: Vec::new() }
    }

    /// Whether it holds all that it may.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kept.len() >= KEPT_MAX
    }

    /// Keeps a write; `back` is none where its answer never came or was none.
    pub fn wrote(&mut self, place: u32, operation: Operation, call: Instant, back: Option<Instant>) {
        let Operation { key, version, .. } = operation;
        self.keep(place, Kind::Set, key, version, call, back.map_or(NEVER, Instant::nanos));
    }

    /// Keeps a read, of this version.
    pub fn read(&mut self, place: u32, kind: Kind, key: u64, version: u64, call: Instant, back: Instant) {
        self.keep(place, kind, key, version, call, back.nanos());
    }

    fn keep(&mut self, place: u32, kind: Kind, key: u64, version: u64, call: Instant, back: u64) {
        self.kept.push(Kept { key, version, call: call.nanos(), back, place, core: self.core, kind });
    }
}

/// What all cores kept, by key, and for each by version with its write first.
#[must_use]
pub fn merged(histories: impl IntoIterator<Item = History>) -> Vec<Kept> {
    let mut all: Vec<Kept> = histories.into_iter().flat_map(|history| history.kept).collect();
    sort(&mut all);
    all
}

fn sort(all: &mut [Kept]) {
    all.sort_unstable_by_key(|kept| (kept.key, kept.version, kept.kind, kept.call));
}

/// What became of the writes of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Writes {
    /// How many were acknowledged.
    pub acknowledged: u64,
    /// How many of these are gone: when all was over their key held what had been overwritten before they were called,
    /// or nothing.
    pub lost: u64,
    /// Keys that could not be read when all was over: what is lost there is not known.
    pub unread_keys: u64,
}

impl Writes {
    /// Those of a history in the order of [`merged`], whose keys were all to be read at the end.
    #[must_use]
    pub fn of(all: &[Kept], keys: u64) -> Self {
        let mut writes = Self { acknowledged: 0, lost: 0, unread_keys: keys };
        for of_key in all.chunk_by(|a, b| a.key == b.key) {
            let acknowledged =
                || of_key.iter().filter(|kept| kept.kind == Kind::Set && kept.back().is_some());
            writes.acknowledged += acknowledged().count() as u64;
            let Some(look) = of_key.iter().find(|kept| kept.kind == Kind::Look) else { continue };
            writes.unread_keys -= 1;
            // When what is there was surely written; what was called after that has been there and is gone.
            let written = match look.version {
                NOTHING | 0 => Some(0),
                version => of_key
                    .iter()
                    .find(|kept| kept.kind == Kind::Set && kept.version == version)
                    .and_then(Kept::back),
            };
            let Some(written) = written else { continue };
            let lost = |kept: &&Kept| kept.call > written && kept.precedes(look);
            writes.lost += acknowledged().filter(lost).count() as u64;
        }
        writes
    }
}

/// Writes a history as text: a line an operation.
///
/// # Errors
/// What `into` says.
pub fn write(all: &[Kept], into: impl Write) -> io::Result<()> {
    let mut into = io::BufWriter::new(into);
    writeln!(into, "{HEAD}\n{COLUMNS}")?;
    for Kept { key, version, call, back, place, core, kind } in all {
        let kind = match kind {
            Kind::Set => "set",
            Kind::Get => "get",
            Kind::Look => "look",
        };
        write!(into, "{core},{place},{kind},{key},")?;
        match *version {
            NOTHING => write!(into, ",")?,
            version => write!(into, "{version},")?,
        }
        match *back {
            NEVER => writeln!(into, "{call},")?,
            back => writeln!(into, "{call},{back}")?,
        }
    }
    into.flush()
}

/// Reads what [`write()`] wrote, in the order of [`merged`].
///
/// # Errors
/// A sentence with the number of the line, when it is none.
pub fn read(from: impl BufRead) -> Result<Vec<Kept>, String> {
    let mut all = Vec::new();
    for (number, line) in from.lines().enumerate() {
        let line = line.map_err(|error| error.to_string())?;
        if line.starts_with('#') || line == COLUMNS || line.is_empty() {
            continue;
        }
        let wrong = || format!("line {}: {line:?} is no operation: {COLUMNS}", number + 1);
        all.push(operation(&line).ok_or_else(wrong)?);
    }
    sort(&mut all);
    Ok(all)
}

/// Reads a history, says whether a register could have it, and if not what no register does. Gives the exit status.
///
/// # Errors
/// A sentence, when the file cannot be read or is none.
pub fn check(file: &Path) -> Result<u8, Fatal> {
    let wrong = |why: String| Fatal::misuse(format!("{}: {why}", file.display()));
    let opened = File::open(file).map_err(|error| wrong(error.to_string()))?;
    let all = read(BufReader::new(opened)).map_err(wrong)?;
    if all.is_empty() {
        return Err(wrong("the history has no operation".to_owned()));
    }
    let keys = all.chunk_by(|a, b| a.key == b.key).count() as u64;
    let unknown = all.iter().filter(|kept| kept.back().is_none()).count() as u64;
    let (operations, keys) = (shown_count(all.len() as u64), shown_count(keys));
    println!("{operations} operations on {keys} keys, {} writes without an answer", shown_count(unknown));
    let found = violations(&all);
    found.iter().take(SHOWN_MAX).for_each(|violation| println!("{violation}"));
    match found.len() {
        0 => println!("\nLINEARIZABLE"),
        keys => println!("\nNOT LINEARIZABLE: {} keys", shown_count(keys as u64)),
    }
    Ok(if found.is_empty() { 0 } else { STATUS_VIOLATED })
}

fn operation(line: &str) -> Option<Kept> {
    let mut words = line.split(',');
    let mut word = || words.next();
    let (core, place) = (word()?.parse().ok()?, word()?.parse().ok()?);
    let kind = match word()? {
        "set" => Kind::Set,
        "get" => Kind::Get,
        "look" => Kind::Look,
        _ => return None,
    };
    let key = word()?.parse().ok()?;
    let version = match (word()?, kind) {
        ("", Kind::Get | Kind::Look) => NOTHING,
        (version, _) => version.parse().ok()?,
    };
    let call = word()?.parse().ok()?;
    let back = match (word()?, kind) {
        ("", Kind::Set) => NEVER,
        (back, _) => back.parse().ok().filter(|back| *back >= call)?,
    };
    words.next().is_none().then_some(Kept { key, version, call, back, place, core, kind })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn kept(kind: Kind, version: u64, call: u64, back: u64) -> Kept {
        Kept { key: 7, version, call, back, place: 3, core: 1, kind }
    }

    pub(crate) const UNKNOWN: u64 = NEVER;

    #[test]
    fn a_history_is_read_back_as_it_was_written() {
        use crate::workload::Verb;
        let mut history = History::new(1);
        let at = Instant::from_nanos;
        let operation = Operation { verb: Verb::Set, key: 9, version: 5 };
        history.wrote(2, operation, at(10), Some(at(20)));
        history.wrote(2, Operation { version: 6, ..operation }, at(30), None);
        history.read(0, Kind::Get, 9, 5, at(20), at(25));
        history.read(0, Kind::Look, 8, NOTHING, at(90), at(95));
        let all = merged([history]);
        assert_eq!(all[0].key, 8);
        let mut text = Vec::new();
        write(&all, &mut text).unwrap();
        assert_eq!(read(&text[..]).unwrap(), all, "{}", String::from_utf8_lossy(&text));
        for wrong in
            ["1,2,set,3,4,5", "1,2,get,3,4,5,4", "1,2,get,3,4,5,", "1,2,set,3,,5,6", "1,2,set,3,4,5,6,7"]
        {
            assert!(read(wrong.as_bytes()).is_err_and(|why| why.starts_with("line 1: ")), "{wrong}");
        }
    }

    #[test]
    fn of_a_history_without_operations_nothing_is_said() {
        let file = std::env::temp_dir().join(format!("loadgen-history-empty-{}", std::process::id()));
        for text in [String::new(), format!("{HEAD}\n{COLUMNS}\n")] {
            std::fs::write(&file, text).unwrap();
            let fatal = check(&file).unwrap_err();
            assert!(
                fatal.status == 2 && fatal.sentence.ends_with(": the history has no operation"),
                "{fatal}"
            );
        }
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_write_is_lost_when_what_it_overwrote_is_there_again() {
        let check = |all: &[Kept], lost: u64| {
            let mut all = all.to_vec();
            sort(&mut all);
            assert_eq!(Writes::of(&all, 1).lost, lost, "{all:?}");
        };
        let (first, second) = (kept(Kind::Set, 1, 10, 20), kept(Kind::Set, 2, 30, 40));
        let look = |version| kept(Kind::Look, version, 100, 110);
        check(&[first, second, look(2)], 0);
        check(&[first, second, look(1)], 1);
        check(&[first, second, look(0)], 2);
        check(&[first, second, look(NOTHING)], 2);
        // Both were under way at once, so either may have been the last.
        check(&[first, kept(Kind::Set, 2, 15, 40), look(1)], 0);
        // Nobody knows when, or whether, it was written.
        check(&[kept(Kind::Set, 1, 10, UNKNOWN), second, look(1)], 0);
        // What was not acknowledged was not promised.
        check(&[first, kept(Kind::Set, 2, 30, UNKNOWN), look(1)], 0);
        assert_eq!(Writes::of(&[first], 5), Writes { acknowledged: 1, lost: 0, unread_keys: 5 });
    }
}
