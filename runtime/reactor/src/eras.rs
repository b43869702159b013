//! Logs of one node through changes of its number of cores. An *era* is a directory of logs written by so many cores,
//! `era-0003-of-8`; a start with another number begins the next one. A system whose records concern more than the
//! core that wrote them is told the logs of all cores: those of earlier eras first, then those of the other cores of
//! this one, then its own. When every core has saved a snapshot in this era, the earlier ones are removed.
//!
//! The hard thing is that cores start side by side: none may append to its log or clear its files away while another
//! still reads them. So all wait at a gate until all have read.

use crate::Fatal;
use crate::log::{Keeping, Log, Opening, Replayed};
use machine::{CoreId, Kept, Seat};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, PoisonError};

/// Which logs a core is told at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replays {
    /// Its own. A start with another number of cores is refused.
    #[default]
    Own,
    /// Those of all cores of the node, its own last.
    All,
}

/// Where the logs of a node are.
pub(crate) struct Eras {
    data: PathBuf,
    /// Directory and number of cores, oldest first.
    earlier: Vec<(PathBuf, u16)>,
    current: PathBuf,
    replays: Replays,
    gate: Barrier,
    /// Why a core cannot start.
    refused: Mutex<Option<Fatal>>,
    /// Cores that have yet to save a snapshot in this era.
    unsaved: AtomicUsize,
}

impl Eras {
    /// Finds the eras of a node, and begins one where the last had another number of cores.
    ///
    /// # Errors
    /// Status 5 when the directory cannot be read or written.
    pub(crate) fn open(data: &Path, cores: u16, replays: Replays) -> Result<Arc<Self>, Fatal> {
        let wrong = |error: io::Error| Fatal::unreadable(format!("cannot use {}: {error}", data.display()));
        let (mut earlier, mut current) = (Vec::new(), data.to_owned());
        if replays == Replays::All {
            fs::create_dir_all(data).map_err(wrong)?;
            let mut eras = listed(data).map_err(wrong)?;
            if eras.last().is_none_or(|(_, of)| *of != cores) {
                let number = eras.last().map_or(1, |((number, _), _)| number + 1);
                let path = data.join(format!("era-{number:04}-of-{cores}"));
                fs::create_dir(&path).map_err(wrong)?;
                File::open(data).and_then(|directory| directory.sync_all()).map_err(wrong)?;
                eras.push(((number, path), cores));
            }
            current = eras.pop().map_or(current, |((_, path), _)| path);
            earlier = eras.into_iter().map(|((_, path), of)| (path, of)).collect();
        }
        Ok(Arc::new(Self {
            data: data.to_owned(),
            earlier,
            current,
            replays,
            gate: Barrier::new(usize::from(cores)),
            refused: Mutex::new(None),
            unsaved: AtomicUsize::new(usize::from(cores)),
        }))
    }

    /// Tells a core all that it is to be told, and opens its log. Every core must call it, for each waits for all.
    ///
    /// # Errors
    /// The first sentence of any core.
    pub(crate) fn log(
        &self,
        seat: Seat,
        system: &str,
        version: u32,
        keeping: &Keeping,
        tell: &mut dyn FnMut(Kept<'_>),
    ) -> Result<(Log, Replayed), Fatal> {
        let read = self.read(seat, system, version, keeping, tell);
        let opening = match read {
            Ok(opening) => Some(opening),
            Err(fatal) => {
                self.refused().get_or_insert(fatal);
                None
            }
        };
        self.gate.wait();
        match (opening, &*self.refused()) {
            (Some(opening), None) => opening.go_on(),
            (_, Some(fatal)) => Err(Fatal { status: fatal.status, sentence: fatal.sentence.clone() }),
            (None, None) => unreachable!("what could not be read was refused"),
        }
    }

    fn read(
        &self,
        seat: Seat,
        system: &str,
        version: u32,
        keeping: &Keeping,
        tell: &mut dyn FnMut(Kept<'_>),
    ) -> Result<Opening, Fatal> {
        for (path, cores) in &self.earlier {
            for core in (0..*cores).map(CoreId) {
                Log::read(path, Seat { core, cores: *cores, ..seat }, system, version, tell)?;
            }
        }
        if self.replays == Replays::All {
            for core in seat.other_cores() {
                Log::read(&self.current, Seat { core, ..seat }, system, version, tell)?;
            }
        }
        Opening::look(&self.current, seat, system, version, keeping, tell)
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Fatal>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A core has saved its first snapshot since the start. With the last of them nothing of an earlier era is needed.
    pub(crate) fn saved(&self) {
        if self.unsaved.fetch_sub(1, Ordering::AcqRel) == 1 {
            // What cannot be removed now is read in vain at the next start: the snapshots stand for it.
            self.earlier.iter().for_each(|(path, _)| drop(fs::remove_dir_all(path)));
            let _ = File::open(&self.data).and_then(|directory| directory.sync_all());
        }
    }

    /// Whether something of an earlier era is still there.
    pub(crate) fn has_earlier(&self) -> bool {
        !self.earlier.is_empty()
    }
}

/// What a core's log was found to hold.
#[derive(Debug)]
pub struct Looked {
    /// The name of the era's directory.
    pub era: String,
    /// The core.
    pub core: u16,
    /// What was told of it.
    pub replayed: Replayed,
}

/// Reads all logs of a node of a system that is told all, oldest era first, and changes nothing; `tell` is given each
/// piece, with the core that wrote it. The program must not run meanwhile.
///
/// # Errors
/// Status 5, with a sentence, for what cannot be read or is damaged.
pub fn look(
    data: &Path,
    node: machine::NodeId,
    system: &str,
    version: u32,
    tell: &mut dyn FnMut(u16, Kept<'_>),
) -> Result<Vec<Looked>, Fatal> {
    let wrong = |error: io::Error| Fatal::unreadable(format!("cannot use {}: {error}", data.display()));
    let mut looked = Vec::new();
    for ((number, path), cores) in listed(data).map_err(wrong)? {
        for core in 0..cores {
            let seat = Seat { node, core: CoreId(core), cores };
            refuse_if_in_use(&path, core)?;
            let replayed = Log::read(&path, seat, system, version, &mut |kept| tell(core, kept))?;
            looked.push(Looked { era: format!("era-{number:04}-of-{cores}"), core, replayed });
        }
    }
    Ok(looked)
}

/// What a program writes at this moment cannot be told from damage.
fn refuse_if_in_use(path: &Path, core: u16) -> Result<(), Fatal> {
    let Ok(lock) = File::open(path.join(format!("core-{core}.lock"))) else { return Ok(()) };
    match lock.try_lock_shared() {
        Err(fs::TryLockError::WouldBlock) => Err(Fatal::unreadable(format!(
            "cannot use {}: a program keeps its data there; stop it first",
            path.display()
        ))),
        // A file system without locks has none that are held.
        Ok(()) | Err(fs::TryLockError::Error(_)) => Ok(()),
    }
}

type Era = ((u32, PathBuf), u16);

fn listed(data: &Path) -> io::Result<Vec<Era>> {
    let mut eras = Vec::new();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name();
        let words = name.to_str().and_then(|name| name.strip_prefix("era-")?.split_once("-of-"));
        if let Some((number, cores)) = words
            && let (Ok(number), Ok(cores)) = (number.parse(), cores.parse())
        {
            eras.push(((number, entry.path()), cores));
        }
    }
    eras.sort();
    Ok(eras)
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::NodeId;

    fn start(data: &Path, cores: u16, record: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let eras = Eras::open(data, cores, Replays::All).expect("it can be read");
        let core = |core| {
            let eras = eras.clone();
            let record = [record, &[core as u8]].concat();
            move || {
                let mut told = Vec::new();
                let seat = Seat { node: NodeId(0), core: CoreId(core), cores };
                let keeping = Keeping { segment_bytes: 8192, ..Keeping::default() };
                let mut tell = |kept: Kept<'_>| match kept {
                    Kept::Part(bytes) | Kept::Record(bytes) => told.push(bytes.to_vec()),
                };
                let (mut log, _) = eras.log(seat, "tally", 1, &keeping, &mut tell).expect("it is whole");
                log.append(&record);
                while let Some(operation) = log.next_operation(crate::log::Lane::Groups) {
                    let result = operation.perform();
                    log.completed(crate::log::Lane::Groups, result);
                }
                told
            }
        };
        let threads: Vec<_> = (0..cores).map(|index| std::thread::spawn(core(index))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ran")).collect()
    }

    #[test]
    fn every_core_is_told_all_logs_through_changes_of_their_number_its_own_last() {
        let data = std::env::temp_dir().join(format!("eras-test-{}", std::process::id()));
        assert_eq!(start(&data, 2, b"a"), [[[0u8; 0]; 0], []]);
        assert_eq!(start(&data, 2, b"b"), [[b"a\x01", b"a\x00"], [b"a\x00", b"a\x01"]]);
        let first: Vec<&[u8]> = vec![b"a\x00", b"b\x00", b"a\x01", b"b\x01"];
        assert_eq!(start(&data, 1, b"c"), std::slice::from_ref(&first));
        let second: Vec<&[u8]> = [first, vec![b"c\x00"]].concat();
        assert_eq!(start(&data, 3, b"d"), [second.clone(), second.clone(), second]);
        fs::remove_dir_all(data).expect("it was made");
    }
}
