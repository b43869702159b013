//! A journal of what the logs of a process asked of the disk, and what it answered: from it a directory can be made
//! as a power cut at any moment may have left it ([`power`](super::power)). For tests; a process writes one only when
//! it is asked to.
//!
//! The hard thing is that nothing may be told late: what is asked is noted before the disk hears of it, an answer
//! before anybody acts on it. Each entry is one write at the end of one file, so entries of all cores stand in one
//! order, and the file's length is a moment.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// What is noted. Files are named within the directory of the log; the directory's own name is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// This file is made, empty, in the place of one that had the name.
    Make(&'a str),
    /// This file gets that name.
    Rename(&'a str, &'a str),
    /// This file is removed.
    Remove(&'a str),
    /// These bytes are being written to this offset of the file.
    Write(&'a str, u64, &'a [u8]),
    /// Of those that were last asked for, so many are written; whether they are safe by that.
    Wrote(&'a str, u64, bool),
    /// The file is being synced.
    Sync(&'a str),
    /// It is: what had been written before is safe.
    Synced(&'a str),
}

/// The longest name, and the longest bytes of an entry.
const NAME_MAX: usize = 255;

/// Where calls are noted.
#[derive(Debug)]
pub struct Calls {
    file: File,
    entry: Vec<u8>,
}

impl Calls {
    /// Appends to this file, made where there is none.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn append_to(path: &Path) -> io::Result<Self> {
        Ok(Self { file: OpenOptions::new().create(true).append(true).open(path)?, entry: Vec::new() })
    }

    /// Notes a call.
    ///
    /// # Panics
    /// When the journal cannot be written: a test that goes on without it would prove nothing.
    pub fn note(&mut self, call: &Call<'_>) {
        let (kind, name, number, bytes) = match call {
            Call::Make(name) => (0, *name, 0, &b""[..]),
            Call::Rename(from, to) => (1, *from, 0, to.as_bytes()),
            Call::Remove(name) => (2, *name, 0, &b""[..]),
            Call::Write(name, offset, bytes) => (3, *name, *offset, *bytes),
            Call::Wrote(name, count, is_safe) => (if *is_safe { 5 } else { 4 }, *name, *count, &b""[..]),
            Call::Sync(name) => (6, *name, 0, &b""[..]),
            Call::Synced(name) => (7, *name, 0, &b""[..]),
        };
        assert!(name.len() <= NAME_MAX, "a file's name has at most {NAME_MAX} bytes");
        self.entry.clear();
        self.entry.extend_from_slice(&[kind, name.len() as u8]);
        self.entry.extend_from_slice(&number.to_le_bytes());
        self.entry.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.entry.extend_from_slice(name.as_bytes());
        self.entry.extend_from_slice(bytes);
        self.file.write_all(&self.entry).expect("the journal of disk calls can be written");
    }
}

/// Reads the first entry of a journal, and how many bytes it has; none when it is cut.
#[must_use]
pub fn read(journal: &[u8]) -> Option<(Call<'_>, usize)> {
    const HEAD: usize = 14;
    let head: &[u8; HEAD] = journal.first_chunk()?;
    let name_end = HEAD + usize::from(head[1]);
    let number = u64::from_le_bytes(head[2..10].try_into().expect("eight bytes"));
    let length = u32::from_le_bytes(head[10..14].try_into().expect("four bytes"));
    let name = std::str::from_utf8(journal.get(HEAD..name_end)?).ok()?;
    let end = name_end.checked_add(length as usize)?;
    let bytes = journal.get(name_end..end)?;
    let call = match head[0] {
        0 => Call::Make(name),
        1 => Call::Rename(name, std::str::from_utf8(bytes).ok()?),
        2 => Call::Remove(name),
        3 => Call::Write(name, number, bytes),
        4 => Call::Wrote(name, number, false),
        5 => Call::Wrote(name, number, true),
        6 => Call::Sync(name),
        7 => Call::Synced(name),
        _ => return None,
    };
    Some((call, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_and_a_cut_entry_is_none() {
        let path = std::env::temp_dir().join(format!("calls-test-{}", std::process::id()));
        let all = [
            Call::Make("a"),
            Call::Rename("a", "b"),
            Call::Write("b", 1 << 40, b"bytes"),
            Call::Wrote("b", 3, false),
            Call::Wrote("b", 2, true),
            Call::Sync("b"),
            Call::Synced("b"),
            Call::Sync(""),
            Call::Remove("b"),
        ];
        let mut calls = Calls::append_to(&path).expect("a file");
        all.iter().for_each(|call| calls.note(call));
        let journal = std::fs::read(&path).expect("it is there");
        std::fs::remove_file(&path).expect("it was there");
        let mut rest = &journal[..];
        for call in &all {
            let (found, used) = read(rest).expect("an entry");
            assert_eq!(found, *call);
            (0..used).for_each(|cut| assert_eq!(read(&rest[..cut]), None, "cut at {cut}"));
            rest = &rest[used..];
        }
        assert_eq!(read(rest), None);
    }
}
