//! What outlives the process: a record for each change, and answers that wait until it is safe.
//!
//! Nobody is told anything that a power cut could take back: that a function is registered, a task accepted, a task
//! ended. What is to be told waits here, in the order of the log, until the log says that all before it is safe.
//!
//! The hard thing is a disk without room. What has come from workers cannot be refused, so it waits in memory and is
//! logged when there is room again; what comes from clients is refused meanwhile.

use crate::answers::Answer;
use crate::functions::{Function, Functions};
use crate::peer::Asker;
use crate::task::{Ended, How, Task, Times};
use crate::tasks::Tasks;
use crate::uuid::{Owners, Uuid};
use machine::{Blob, CoreId, LogMark, Outbox, Stored, WallTime};
use std::collections::VecDeque;

/// What is done when all before it is safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Somebody is answered.
    Answer(Asker, Answer),
    /// A task has ended, for everybody.
    Ended(Uuid),
    /// A function is registered here.
    Registered(Uuid),
}

/// How the disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disk {
    /// It takes what it is given.
    #[default]
    Good,
    /// It has no room.
    Full,
    /// It failed, and takes nothing until a restart.
    Failed,
}

/// One core's log, as seen from above.
#[derive(Debug, Default)]
pub struct Keep {
    is_kept: bool,
    waiting: VecDeque<(LogMark, Then)>,
    /// Records for which there was no room.
    owed: VecDeque<(Vec<u8>, Option<Then>)>,
    /// What is done when all that is owed is safe.
    after_owed: VecDeque<Then>,
    mark: LogMark,
    /// Everything before this is safe.
    safe: LogMark,
    /// How the disk is.
    pub disk: Disk,
    draft: Vec<u8>,
    /// Bytes logged since the start.
    pub logged: u64,
}

/// What a record says.
#[allow(missing_docs, reason = "a field is what its name says, and the variant tells the rest")]
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// A function was registered.
    Function { id: Uuid, name: &'a str, code: &'a [u8] },
    /// A task was accepted.
    Task { id: Uuid, function: Uuid, timeout_ms: u32, accepted: u64, key: &'a [u8], payload: &'a [u8] },
    /// It ended.
    Ended { id: Uuid, how: How, at: u64, times: Times, attempts: u32, result: &'a [u8] },
    /// An attempt of it left for a worker, so that the next has another number. Nobody waits for this to be safe: where
    /// a power cut takes it back, only the workers' sessions tell two attempts apart.
    Left { id: Uuid, attempt: u32 },
    /// An attempt of it was lost: so many count against it now.
    Lost { id: Uuid, attempts: u32 },
    /// It is tried again.
    Retried { id: Uuid },
    /// It was forgotten.
    Forgotten { id: Uuid },
    /// A key stands for it since then.
    Key { id: Uuid, at: u64, key: &'a [u8] },
}

impl Keep {
    /// A log that is kept, or none.
    #[must_use]
    pub fn new(is_kept: bool) -> Self {
        Self { is_kept, ..Self::default() }
    }

    /// Whether something new can be promised.
    #[must_use]
    pub fn can_promise(&self) -> bool {
        !self.is_kept || self.disk == Disk::Good
    }

    /// Logs a record, and gives back what is to be done at once, where nothing is kept.
    pub fn log(&mut self, record: &Record<'_>, then: Option<Then>, out: &mut impl Outbox) -> Option<Then> {
        if !self.is_kept {
            return then;
        }
        self.draft.clear();
        record.write(&mut self.draft);
        if self.disk != Disk::Good {
            self.owed.push_back((self.draft.clone(), then));
            return None;
        }
        self.append(then, out);
        None
    }

    fn append(&mut self, then: Option<Then>, out: &mut impl Outbox) {
        self.mark = out.log(&self.draft);
        self.logged += self.draft.len() as u64;
        self.waiting.extend(then.map(|then| (self.mark, then)));
    }

    /// Does something when all that was logged so far is safe; gives it back where it is already.
    pub fn after_all(&mut self, then: Then) -> Option<Then> {
        // What was logged with nothing to follow it does not stand among what waits.
        if self.mark <= self.safe && self.waiting.is_empty() && self.owed.is_empty() {
            return Some(then);
        }
        if self.owed.is_empty() {
            self.waiting.push_back((self.mark, then));
        } else {
            // Behind what has no room yet: with the last record that is owed.
            self.after_owed.push_back(then);
        }
        None
    }

    /// The log tells how far it is.
    pub fn stored(&mut self, what: Stored, out: &mut impl Outbox) -> Vec<Then> {
        let mut safe = Vec::new();
        match what {
            Stored::Logged(upto) => {
                self.safe = upto;
                while self.waiting.front().is_some_and(|(mark, _)| *mark <= upto) {
                    safe.extend(self.waiting.pop_front().map(|(_, then)| then));
                }
                if self.disk == Disk::Full {
                    self.disk = Disk::Good;
                    while let Some((record, then)) = self.owed.pop_front() {
                        self.draft = record;
                        self.append(then, out);
                    }
                    let mark = self.mark;
                    self.waiting.extend(self.after_owed.drain(..).map(|then| (mark, then)));
                }
            }
            Stored::Saved(_) | Stored::Unsaved => {}
            Stored::Full => self.disk = Disk::Full,
            Stored::Failed => self.disk = Disk::Failed,
        }
        safe
    }

    /// Everything logged so far is before this.
    #[must_use]
    pub fn mark(&self) -> LogMark {
        self.mark
    }

    /// Promises that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len() + self.owed.len()
    }
}

impl Record<'_> {
    /// Appends it, as it stands in the log.
    pub fn write(&self, into: &mut Vec<u8>) {
        let head = |into: &mut Vec<u8>, kind: u8, id: Uuid| {
            into.push(kind);
            into.extend_from_slice(&id.0.to_le_bytes());
        };
        match *self {
            Self::Function { id, name, code } => {
                head(into, 1, id);
                into.extend_from_slice(&(name.len() as u32).to_le_bytes());
                into.extend_from_slice(name.as_bytes());
                into.extend_from_slice(code);
            }
            Self::Task { id, function, timeout_ms, accepted, key, payload } => {
                head(into, 2, id);
                into.extend_from_slice(&function.0.to_le_bytes());
                into.extend_from_slice(&timeout_ms.to_le_bytes());
                into.extend_from_slice(&accepted.to_le_bytes());
                into.extend_from_slice(&(key.len() as u32).to_le_bytes());
                into.extend_from_slice(key);
                into.extend_from_slice(payload);
            }
            Self::Ended { id, how, at, times, attempts, result } => {
                head(into, 3, id);
                into.push(how.code());
                for number in [at, times.left, times.began, times.ran] {
                    into.extend_from_slice(&number.to_le_bytes());
                }
                into.extend_from_slice(&attempts.to_le_bytes());
                into.extend_from_slice(result);
            }
            Self::Lost { id, attempts } => {
                head(into, 4, id);
                into.extend_from_slice(&attempts.to_le_bytes());
            }
            Self::Left { id, attempt } => {
                head(into, 8, id);
                into.extend_from_slice(&attempt.to_le_bytes());
            }
            Self::Retried { id } => head(into, 5, id),
            Self::Forgotten { id } => head(into, 6, id),
            Self::Key { id, at, key } => {
                head(into, 7, id);
                into.extend_from_slice(&at.to_le_bytes());
                into.extend_from_slice(key);
            }
        }
    }
}

/// What is left of a record.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn id(&mut self) -> Option<Uuid> {
        self.array().map(|bytes| Uuid(u128::from_le_bytes(bytes)))
    }

    fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn run(&mut self) -> Option<&'a [u8]> {
        let length = self.number()? as usize;
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}

/// Reads a record; none for what this version never wrote.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<Record<'_>> {
    let mut rest = Rest(bytes);
    let [kind] = rest.array()?;
    let id = rest.id()?;
    Some(match kind {
        1 => {
            let name = core::str::from_utf8(rest.run()?).ok()?;
            Record::Function { id, name, code: rest.0 }
        }
        2 => {
            let function = rest.id()?;
            let (timeout_ms, accepted) = (rest.number()?, rest.long()?);
            let key = rest.run()?;
            Record::Task { id, function, timeout_ms, accepted, key, payload: rest.0 }
        }
        3 => {
            let [how] = rest.array()?;
            let (at, left, began, ran) = (rest.long()?, rest.long()?, rest.long()?, rest.long()?);
            let times = Times { left, began, ran, back: at, ..Times::default() };
            Record::Ended { id, how: How::of(how)?, at, times, attempts: rest.number()?, result: rest.0 }
        }
        4 => Record::Lost { id, attempts: rest.number()? },
        5 => Record::Retried { id },
        6 => Record::Forgotten { id },
        7 => Record::Key { id, at: rest.long()?, key: rest.0 },
        8 => Record::Left { id, attempt: rest.number()? },
        _ => return None,
    })
}

/// Carries a record out on what a core has: everybody's functions, and the tasks that are its own now.
pub fn replay(
    record: &Record<'_>,
    core: CoreId,
    owners: &Owners,
    functions: &mut Functions,
    tasks: &mut Tasks,
) {
    match *record {
        Record::Function { id, name, code } => {
            functions.add(id, Function::new(name, Blob::from(code.to_vec())))
        }
        Record::Task { id, function, timeout_ms, accepted, key, payload } => {
            if owners.of(id) == core {
                tasks.accept(id, function, Blob::from(payload.to_vec()), timeout_ms, accepted);
                functions.call(function);
            }
            if !key.is_empty() && owners.of_bytes(key) == core {
                tasks.keys.put(key, id.0, WallTime::from_micros(accepted));
            }
        }
        Record::Ended { id, how, at, times, attempts, result } => {
            let accepted = tasks.find(id).map_or(at, |(task, _)| task.times.accepted);
            let ended = Ended { how, result: Blob::from(result.to_vec()), at };
            tasks.found_ended(id, ended, Times { accepted, ..times }, attempts);
        }
        Record::Left { id, attempt } => tasks.found_left(id, attempt),
        Record::Lost { id, attempts } => tasks.found_lost(id, attempts),
        Record::Retried { id } => drop(tasks.retry(id)),
        Record::Forgotten { id } => tasks.remove(id),
        Record::Key { id, at, key } if owners.of_bytes(key) == core => {
            tasks.keys.put(key, id.0, WallTime::from_micros(at))
        }
        Record::Key { .. } => {}
    }
}

/// The record of an end.
#[must_use]
pub fn ended<'a>(task: &Task, ended: &'a Ended) -> Record<'a> {
    let Ended { how, ref result, at } = *ended;
    Record::Ended { id: task.id, how, at, times: task.times, attempts: task.attempts, result }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Vec<u8>> {
        let (id, function) = (Uuid(7 << 70), Uuid(9 << 70));
        let times = Times { left: 5, began: 6, ran: 7, back: 8, ..Times::default() };
        let records = [
            Record::Function { id: function, name: "f", code: b"code" },
            Record::Task { id, function, timeout_ms: 3, accepted: 4, key: b"key", payload: b"payload" },
            Record::Ended { id, how: How::Dead, at: 8, times, attempts: 2, result: b"result" },
            Record::Left { id, attempt: 2 },
            Record::Lost { id, attempts: 1 },
            Record::Retried { id },
            Record::Forgotten { id },
            Record::Key { id, at: 3, key: b"key" },
        ];
        records
            .iter()
            .map(|record| {
                let mut bytes = Vec::new();
                record.write(&mut bytes);
                bytes
            })
            .collect()
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for bytes in records() {
            let mut again = Vec::new();
            read(&bytes).expect("it can be read").write(&mut again);
            assert_eq!(again, bytes);
        }
    }

    #[test]
    fn a_cut_record_never_panics() {
        for bytes in records() {
            for end in 0..bytes.len() {
                let _ = read(&bytes[..end]);
            }
        }
    }
}
