//! What nodes agree on, one fact after another: the entries of the replicated log. A fact says what happened or was
//! decided and everything that follows from it can be computed by each node alone; so it carries the moment at which
//! it was proposed, and no node looks at a clock of its own when it applies one.

#![allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]

use crate::spec::Spec;
use core::fmt;
use rkyv::{Archive, Deserialize, Serialize};
use wire::peer::{Batch, Fault, Message};

/// A job's name: a hash of the key under which it was sent, so that the same job sent twice is the same job.
#[derive(
    Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default,
)]
pub struct JobId(pub u64);

impl JobId {
    /// The job of that key.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(state::hash::hash64(key.as_bytes(), 0))
    }

    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let is_plain = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_plain.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who proposed an entry, so that it hears what came of it: a node, its life, and a number of its own.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub node: u16,
    /// Which life of that node: drawn at each start.
    pub life: u64,
    pub number: u64,
}

/// One entry.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub origin: Origin,
    /// Milliseconds since 1970, by the leader's clock.
    pub at_ms: u64,
    pub fact: Fact,
}

/// What happened, or was decided.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Somebody sent a job.
    Sent { key: String, spec: Spec },
    /// The leader gave it to a worker, in that life of the worker.
    Assigned { id: JobId, attempt: u32, worker: u16, life: u64, why: String },
    /// The worker started it.
    Started { id: JobId, attempt: u32, worker: u16, pid: u32 },
    /// It ended there.
    Ended { id: JobId, attempt: u32, worker: u16, outcome: Outcome },
    /// The worker is gone, or gave it up.
    Lost { id: JobId, attempt: u32, why: String },
    /// Somebody wants it no more.
    Cancelled { id: JobId },
    /// Somebody wants it tried again, having seen that attempt.
    Retried { id: JobId, attempt: u32 },
    /// What ended before that moment may be forgotten.
    Forget { before_ms: u64 },
}

/// How a program ended.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Its exit status; 128 and the signal's number where one ended it, as shells say it.
    pub exit: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why it is no good result whatever the status: that its time was over, that it could not be started.
    pub why: Option<String>,
    /// What else is to be known of it.
    pub note: Option<String>,
    pub stdout: String,
    pub stderr: String,
    /// Bytes left out between head and tail.
    pub stdout_left_out: u64,
    pub stderr_left_out: u64,
    /// From start to end.
    pub took_ms: u64,
}

impl Outcome {
    /// Whether it did what it was to do.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.exit == 0 && self.why.is_none()
    }

    /// Bytes it takes in the ledger.
    #[must_use]
    pub fn len(&self) -> usize {
        let said = self.why.iter().chain(&self.note).map(String::len).sum::<usize>();
        self.stdout.len() + self.stderr.len() + said
    }

    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Entry {
    /// As bytes for the log.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        write(self)
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// When these bytes are no entry: a fault of a disk or another version.
    pub fn read(bytes: &[u8]) -> Result<Self, Fault> {
        read(bytes)
    }
}

/// The archive of a value.
pub(crate) fn write(value: &impl Message) -> Vec<u8> {
    let mut batch = Batch::new();
    value.write(&mut batch, false);
    batch.envelopes().next().expect("one was written").archive.to_vec()
}

/// The value of an archive, checked.
pub(crate) fn read<T>(bytes: &[u8]) -> Result<T, Fault>
where
    T: Message,
    T::Heard: Deserialize<T, rkyv::rancor::Strategy<rkyv::de::Pool, rkyv::rancor::Error>>,
{
    let mut batch = Batch::new();
    batch.carry(bytes, false);
    let envelope = batch.envelopes().next().ok_or(Fault::Cut)?;
    let heard = T::hear(envelope.archive)?;
    rkyv::deserialize::<T, rkyv::rancor::Error>(heard).map_err(|_| Fault::Archive)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let outcome =
            Outcome { exit: 3, stdout: "out".into(), why: Some("late".into()), ..Outcome::default() };
        Entry {
            origin: Origin { node: 2, life: 3, number: 4 },
            at_ms: 5,
            fact: Fact::Ended { id: JobId(6), attempt: 7, worker: 8, outcome },
        }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written_and_never_from_less() {
        let bytes = entry().write();
        assert_eq!(Entry::read(&bytes), Ok(entry()));
        for cut in 0..bytes.len() {
            assert!(Entry::read(&bytes[..cut]).is_err(), "{cut} bytes were taken for {}", bytes.len());
        }
    }

    #[test]
    fn bytes_changed_anywhere_are_an_entry_or_a_fault_and_nothing_else() {
        let bytes = entry().write();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                let _ = Entry::read(&bad);
            }
        }
    }

    #[test]
    fn a_name_is_sixteen_digits() {
        let id = JobId::of("key");
        assert_eq!(JobId::read(&id.to_string()), Some(id));
        for wrong in ["", "1", "+23456789abcdef0", "0123456789abcdefg", "0123456789abcdeg"] {
            assert_eq!(JobId::read(wrong), None, "{wrong}");
        }
    }
}
