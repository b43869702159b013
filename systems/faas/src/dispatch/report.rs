//! What became of tasks, on its way to the service. A report is kept by the worker until it is acknowledged or its
//! session ends: then the lease is over, and nobody wants to know.

use super::body::{Body, Faulty, Frame};
use super::task::TaskId;
use super::{Kind, MANY_MAX, Session};

/// Why a task failed: for counts and pages. The words of the report say it to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailureKind {
    /// The function raised.
    Raised = 1,
    /// The function's bytes could not be loaded.
    Function = 2,
    /// The arguments' bytes could not be loaded, or are no pair of a tuple and a dict.
    Arguments = 3,
    /// What it returned could not be pickled, or is too long.
    Result = 4,
    /// It ran longer than it may.
    TimedOut = 5,
    /// It ended its process: by an exit, or a crash.
    Died = 6,
    /// It was cancelled.
    Cancelled = 7,
    /// It wrote more than it may.
    Output = 8,
}

impl FailureKind {
    pub(crate) fn of(byte: u8) -> Result<Self, Faulty> {
        Ok(match byte {
            1 => Self::Raised,
            2 => Self::Function,
            3 => Self::Arguments,
            4 => Self::Result,
            5 => Self::TimedOut,
            6 => Self::Died,
            7 => Self::Cancelled,
            8 => Self::Output,
            _ => return Err(Faulty("a failure of no known kind")),
        })
    }
}

/// Why a task comes back without an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Returned {
    /// It was not started: there is no room after all. The next attempt goes to somebody, and counts as no try.
    NoRoom = 1,
    /// It was not started: the worker leaves. The next attempt goes to somebody else, and counts as no try.
    Leaving = 2,
    /// It was not started: the worker has the function's bytes no more. The next attempt, with them; it counts as no try.
    NeedsFunction = 3,
    /// It was started, and its process was killed by nobody who is known here. The next attempt.
    SlotLost = 4,
}

impl Returned {
    fn of(byte: u8) -> Result<Self, Faulty> {
        Ok(match byte {
            1 => Self::NoRoom,
            2 => Self::Leaving,
            3 => Self::NeedsFunction,
            4 => Self::SlotLost,
            _ => return Err(Faulty("a return of no known kind")),
        })
    }
}

/// How a task ended, for this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended<'a> {
    /// With the pickled value it returned.
    Completed(&'a [u8]),
    /// With an exception.
    Failed {
        /// Of which kind.
        kind: FailureKind,
        /// One sentence for people: `ValueError: no such colour`.
        words: &'a str,
        /// The pickled exception: what was raised, or one of ours that says the same.
        raised: &'a [u8],
    },
    /// Not at all: it is the service's again.
    Returned {
        /// Why.
        why: Returned,
        /// A sentence for people, for the case that this was the last attempt.
        words: &'a str,
    },
}

/// What became of one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Which.
    pub task: TaskId,
    /// Which try.
    pub attempt: u32,
    /// From its arrival at the worker to the function's start, in microseconds.
    pub started_us: u64,
    /// From the function's start to its end, in microseconds.
    pub ran_us: u64,
    /// How it ended.
    pub ended: Ended<'a>,
    /// The last it wrote to standard output and error, at most [`PRINTED_MAX`](super::PRINTED_MAX) bytes.
    pub printed: &'a [u8],
}

impl<'a> Report<'a> {
    fn read(body: &mut Body<'a>) -> Result<Self, Faulty> {
        let (task, attempt) = (TaskId(body.array()?), body.number()?);
        let (started_us, ran_us) = (body.long()?, body.long()?);
        let ended = match body.byte()? {
            0 => Ended::Completed(body.bytes()?),
            1 => Ended::Failed {
                kind: FailureKind::of(body.byte()?)?,
                words: body.text()?,
                raised: body.bytes()?,
            },
            2 => Ended::Returned { why: Returned::of(body.byte()?)?, words: body.text()? },
            _ => return Err(Faulty("an end of no known kind")),
        };
        Ok(Self { task, attempt, started_us, ran_us, ended, printed: body.bytes()? })
    }
}

/// The reports of a RESULT_READY, in order. They were checked when the frame was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reports<'a>(Body<'a>);

impl<'a> Reports<'a> {
    pub(super) fn checked(body: Body<'a>) -> Result<Self, Faulty> {
        let (mut rest, mut count) = (body, 0);
        while !rest.0.is_empty() {
            Report::read(&mut rest)?;
            count += 1;
            if count > MANY_MAX {
                return Err(Faulty::MANY);
            }
        }
        Ok(Self(body))
    }
}

impl<'a> Iterator for Reports<'a> {
    type Item = Report<'a>;
    fn next(&mut self) -> Option<Report<'a>> {
        Report::read(&mut self.0).ok()
    }
}

/// A RESULT_READY that is being written: reports are pushed, then it must end.
#[derive(Debug)]
pub struct ReportFrame<'v>(Frame<'v>);

impl<'v> ReportFrame<'v> {
    /// Begins one behind what is there, about tasks that came in that session.
    pub fn begin(into: &'v mut Vec<u8>, session: Session) -> Self {
        let mut frame = Frame::begin(into, Kind::ResultReady);
        frame.long(session.0);
        Self(frame)
    }

    /// Adds a report. At most [`MANY_MAX`] a frame, and [`BODY_MAX`](super::BODY_MAX) bytes.
    pub fn push(&mut self, report: &Report<'_>) {
        self.0.array(&report.task.0);
        self.0.number(report.attempt);
        self.0.long(report.started_us);
        self.0.long(report.ran_us);
        match report.ended {
            Ended::Completed(result) => {
                self.0.byte(0);
                self.0.bytes(result);
            }
            Ended::Failed { kind, words, raised } => {
                self.0.byte(1);
                self.0.byte(kind as u8);
                self.0.text(words);
                self.0.bytes(raised);
            }
            Ended::Returned { why, words } => {
                self.0.byte(2);
                self.0.byte(why as u8);
                self.0.text(words);
            }
        }
        self.0.bytes(report.printed);
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.length()
    }

    /// The frame is whole.
    pub fn end(self) {
        self.0.end();
    }
}
