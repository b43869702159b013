//! What a core of this system says to another. Archived by rkyv, read in place by the core that hears it.
//!
//! A question carries who asked, so whoever answers keeps nothing of it. Bytes of others (code, arguments, results)
//! travel within the message while they are small, and as its blob when they are large.

#![allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]

use crate::task::{Back, How, Job};
use crate::uuid::Uuid;
use machine::blob::BLOB_MIN;
use machine::{Blob, CoreId};
use rkyv::vec::ArchivedVec;
use rkyv::{Archive, Serialize};

/// One message.
#[derive(Archive, Serialize, Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// What of a task of yours?
    Ask { asker: Asker, what: Question, task: u128 },
    /// Please accept a call under a key that is yours; who asked waits so many milliseconds for its result.
    Call { asker: Asker, function: u128, timeout_ms: u32, wait: u64, key: Vec<u8>, payload: Vec<u8> },
    /// This, for who asked.
    Told { asker: Asker, status: u16, body: Vec<u8> },
    /// There is a function; say that you know it.
    Function { id: u128, name: String, code: Vec<u8> },
    /// I know it.
    Known { id: u128 },
    /// I have room for so many tasks.
    Hungry { room: u32 },
    /// A task of mine for a worker of yours.
    Lend { task: u128, attempt: u32, function: u128, timeout_ms: u32, payload: Vec<u8> },
    /// I have no room for it.
    GiveBack { task: u128, attempt: u32 },
    /// It came back.
    Returned { task: u128, attempt: u32, how: u8, began: u64, ran: u64, result: Vec<u8> },
    /// Its worker is lost, with a sentence of why.
    Lost { task: u128, attempt: u32, words: String },
    /// That attempt is not wanted any more.
    Cancel { task: u128, attempt: u32 },
    /// What have you of this?
    Look { number: u64, what: u8, most: u32 },
    /// This: JSON without its brackets, and how many there are.
    Seen { number: u64, count: u64, text: String },
}

/// Who waits for an answer: a request, by its two words, on a core.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    pub core: u16,
    pub conn: u64,
    pub ticket: u64,
}

impl ArchivedAsker {
    /// The same, to be said back.
    #[must_use]
    pub fn copied(&self) -> Asker {
        Asker { core: self.core.to_native(), conn: self.conn.to_native(), ticket: self.ticket.to_native() }
    }
}

/// What is asked of a task.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Its state.
    Status,
    /// Its result; if it is not there, within so many milliseconds.
    Result(u64),
    /// That it ends.
    Cancel,
    /// That it is tried again, its attempts having been used up.
    Retry,
}

impl ArchivedQuestion {
    /// The same.
    #[must_use]
    pub fn copied(&self) -> Question {
        match self {
            Self::Status => Question::Status,
            Self::Result(wait) => Question::Result(wait.to_native()),
            Self::Cancel => Question::Cancel,
            Self::Retry => Question::Retry,
        }
    }
}

/// Bytes of others as they travel: within the message, or as its blob.
#[must_use]
pub fn packed(bytes: &Blob) -> (Vec<u8>, Option<Blob>) {
    if bytes.len() < BLOB_MIN { (bytes.to_vec(), None) } else { (Vec::new(), Some(bytes.clone())) }
}

/// The same on arrival.
#[must_use]
pub fn unpacked(within: &ArchivedVec<u8>, blob: Option<Blob>) -> Blob {
    blob.unwrap_or_else(|| Blob::from(within.to_vec()))
}

/// A job as it is lent.
#[must_use]
pub fn lend(job: &Job) -> (Said, Option<Blob>) {
    let (payload, blob) = packed(&job.payload);
    let (task, function) = (job.task.0, job.function.0);
    (Said::Lend { task, attempt: job.attempt, function, timeout_ms: job.timeout_ms, payload }, blob)
}

/// What came back of a job, as it travels.
#[must_use]
pub fn returned(back: &Back) -> (Said, Option<Blob>) {
    let (result, blob) = packed(&back.result);
    let how = back.how.code();
    let (began, ran) = (back.began, back.ran);
    (Said::Returned { task: back.task.0, attempt: back.attempt, how, began, ran, result }, blob)
}

impl ArchivedSaid {
    /// The job that is lent by that core, if it is one.
    #[must_use]
    pub fn job(&self, owner: CoreId, blob: Option<Blob>) -> Option<Job> {
        let Self::Lend { task, attempt, function, timeout_ms, payload } = self else { return None };
        Some(Job {
            task: Uuid(task.to_native()),
            attempt: attempt.to_native(),
            owner,
            function: Uuid(function.to_native()),
            payload: unpacked(payload, blob),
            timeout_ms: timeout_ms.to_native(),
        })
    }

    /// What came back, if something did.
    #[must_use]
    pub fn back(&self, blob: Option<Blob>) -> Option<Back> {
        let Self::Returned { task, attempt, how, began, ran, result } = self else { return None };
        Some(Back {
            task: Uuid(task.to_native()),
            attempt: attempt.to_native(),
            how: How::of(*how)?,
            result: unpacked(result, blob),
            began: began.to_native(),
            ran: ran.to_native(),
        })
    }
}
