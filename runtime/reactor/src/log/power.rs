//! A directory as a power cut may leave it, made from a journal of disk calls. What was synced is there; of the rest
//! any 512-byte sector may be there or not, whichever was written first; a name that was not synced may be there or
//! not. So one journal gives many directories, each from a seed.

use super::calls::{Call, read};
use machine::Stream;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What a disk and the kernel before it hold, after some calls.
#[derive(Debug, Default)]
pub struct Platter {
    files: Vec<Content>,
    /// Names that a power cut leaves.
    names: BTreeMap<String, usize>,
    /// Changes of names that it may take back, and whether the sync under way covers them.
    renaming: Vec<(Naming, bool)>,
    /// Names as the process sees them.
    seen: BTreeMap<String, usize>,
}

#[derive(Debug, Default)]
struct Content {
    /// What a power cut leaves.
    safe: Vec<u8>,
    writes: Vec<Write>,
}

#[derive(Debug)]
struct Write {
    offset: usize,
    bytes: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The disk has not answered.
    Asked,
    /// It has.
    Done,
    /// A sync began after that.
    Covered,
    Safe,
}

#[derive(Debug)]
enum Naming {
    Name(String, usize),
    Rename(String, String),
    Remove(String),
}

impl Platter {
    /// Takes in the first so many bytes of a journal that began with an empty directory.
    #[must_use]
    pub fn after(journal: &[u8], bytes: usize) -> Self {
        let mut platter = Self::default();
        let mut rest = &journal[..bytes.min(journal.len())];
        while let Some((call, used)) = read(rest) {
            platter.take(&call);
            rest = &rest[used..];
        }
        platter
    }

    /// Takes in one call more.
    pub fn take(&mut self, call: &Call<'_>) {
        match call {
            Call::Make(name) => {
                self.files.push(Content::default());
                let file = self.files.len() - 1;
                self.seen.insert((*name).into(), file);
                self.renaming.push((Naming::Name((*name).into(), file), false));
            }
            Call::Rename(from, to) => {
                if let Some(file) = self.seen.remove(*from) {
                    self.seen.insert((*to).into(), file);
                }
                self.renaming.push((Naming::Rename((*from).into(), (*to).into()), false));
            }
            Call::Remove(name) => {
                self.seen.remove(*name);
                self.renaming.push((Naming::Remove((*name).into()), false));
            }
            Call::Write(name, offset, bytes) => {
                if let Some(content) = self.content(name) {
                    let offset = usize::try_from(*offset).expect("it fits into memory");
                    content.writes.push(Write { offset, bytes: bytes.to_vec(), state: State::Asked });
                }
            }
            Call::Wrote(name, count, is_safe) => self.wrote(name, *count as usize, *is_safe),
            Call::Sync("") => self.renaming.iter_mut().for_each(|(_, is_covered)| *is_covered = true),
            Call::Synced("") => {
                for (naming, is_covered) in std::mem::take(&mut self.renaming) {
                    match is_covered {
                        true => apply(&mut self.names, &naming),
                        false => self.renaming.push((naming, false)),
                    }
                }
            }
            Call::Sync(name) => {
                let writes = self.content(name).map(|content| &mut content.writes);
                let done = writes.into_iter().flatten().filter(|write| write.state == State::Done);
                done.for_each(|write| write.state = State::Covered);
            }
            Call::Synced(name) => {
                let Some(content) = self.content(name) else { return };
                let covered = content.writes.iter_mut().filter(|write| write.state == State::Covered);
                covered.for_each(|write| write.state = State::Safe);
                content.fold();
            }
        }
    }

    fn content(&mut self, name: &str) -> Option<&mut Content> {
        self.seen.get(name).map(|file| &mut self.files[*file])
    }

    fn wrote(&mut self, name: &str, count: usize, is_safe: bool) {
        let Some(content) = self.content(name) else { return };
        let Some(write) = content.writes.iter_mut().rfind(|write| write.state == State::Asked) else {
            return;
        };
        // What was asked for and not written may be there all the same: the kernel does not say.
        if count == write.bytes.len() {
            write.state = if is_safe { State::Safe } else { State::Done };
            return content.fold();
        }
        let rest = write.bytes.split_off(count);
        let offset = write.offset + count;
        write.state = if is_safe { State::Safe } else { State::Done };
        content.writes.push(Write { offset, bytes: rest, state: State::Asked });
        content.fold();
    }

    /// Makes the directory's files, as the chance has it.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn leave(&self, directory: &Path, chance: &mut Stream) -> io::Result<()> {
        let mut names = self.names.clone();
        for (naming, _) in &self.renaming {
            if chance.one_in_thousand(500) {
                apply(&mut names, naming);
            }
        }
        // How likely a sector is to have been written differs from cut to cut: all, none and any mix are worth a try.
        let likely = *chance.pick(&[0, 100, 500, 900, 1000]).expect("there are some");
        for (name, file) in names {
            fs::write(directory.join(name), self.files[file].left(likely, chance))?;
        }
        Ok(())
    }
}

impl Content {
    /// Safe writes with nothing unsafe before them need not be remembered one by one.
    fn fold(&mut self) {
        let safe = self.writes.iter().take_while(|write| write.state == State::Safe).count();
        for write in self.writes.drain(..safe) {
            put(&mut self.safe, write.offset, &write.bytes);
        }
    }

    fn left(&self, likely: u64, chance: &mut Stream) -> Vec<u8> {
        let mut left = self.safe.clone();
        for write in &self.writes {
            let mut at = 0;
            while at < write.bytes.len() {
                // Up to the next boundary of a sector of the file.
                let end = write.bytes.len().min(at + SECTOR - (write.offset + at) % SECTOR);
                if write.state == State::Safe || chance.one_in_thousand(likely) {
                    put(&mut left, write.offset + at, &write.bytes[at..end]);
                }
                at = end;
            }
        }
        left
    }
}

fn put(into: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if into.len() < end {
        into.resize(end, 0);
    }
    into[offset..end].copy_from_slice(bytes);
}

fn apply(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Name(name, file) => drop(names.insert(name.clone(), *file)),
        Naming::Rename(from, to) => {
            if let Some(file) = names.remove(from) {
                names.insert(to.clone(), file);
            }
        }
        Naming::Remove(name) => drop(names.remove(name)),
    }
}
