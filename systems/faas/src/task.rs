//! One call of a function, from its acceptance to its end.

use crate::uuid::Uuid;
use machine::id::Key;
use machine::{Blob, ConnId, CoreId};

/// A task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id.
    pub id: Uuid,
    /// What it calls.
    pub function: Uuid,
    /// Arguments, as they came.
    pub payload: Blob,
    /// How long it may run, in milliseconds.
    pub timeout_ms: u32,
    /// Attempts begun.
    pub attempts: u32,
    /// Where it is.
    pub stage: Stage,
    /// When it was what.
    pub times: Times,
}

/// Where a task is.
#[derive(Clone, Debug)]
pub enum Stage {
    /// In the queue, under this name: ready, delayed, leased or dead.
    Queued(Key),
    /// Ended, and not yet kept: nobody is told.
    Ending(Box<Ended>),
    /// Ended.
    Ended(Box<Ended>),
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Whether it went well.
    pub how: How,
    /// What it returned or raised, pickled.
    pub result: Blob,
    /// When, in microseconds since 1970.
    pub at: u64,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It returned something.
    Completed,
    /// It raised something, or something else ended it.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// Its attempts were used up: it can be retried.
    Dead,
}

impl How {
    /// As one byte of a record.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Completed => 0,
            Self::Failed => 1,
            Self::Cancelled => 2,
            Self::Dead => 3,
        }
    }

    /// What that byte means.
    #[must_use]
    pub const fn of(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Completed),
            1 => Some(Self::Failed),
            2 => Some(Self::Cancelled),
            3 => Some(Self::Dead),
            _ => None,
        }
    }
}

/// When a task was what. Microseconds; 0 for what was not yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Since 1970: it was accepted.
    pub accepted: u64,
    /// Since 1970: it last left for a worker.
    pub left: u64,
    /// Since 1970: its result came back.
    pub back: u64,
    /// From its coming to the worker until it began there.
    pub began: u64,
    /// How long it ran.
    pub ran: u64,
    /// From the result's coming until it was kept.
    pub stored: u64,
}

/// Who has a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A worker that is connected here.
    Worker(ConnId),
    /// Another core, for a worker of its own.
    Core(CoreId),
}

/// A task on its way to a worker.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which.
    pub task: Uuid,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// Where it lives.
    pub owner: CoreId,
    /// What it calls.
    pub function: Uuid,
    /// Arguments.
    pub payload: Blob,
    /// How long it may run.
    pub timeout_ms: u32,
}

/// What came back of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Back {
    /// Which.
    pub task: Uuid,
    /// Its attempt.
    pub attempt: u32,
    /// Whether it went well.
    pub how: How,
    /// What it returned or raised.
    pub result: Blob,
    /// From its coming to the worker until it began, in microseconds.
    pub began: u64,
    /// How long it ran, in microseconds.
    pub ran: u64,
}
