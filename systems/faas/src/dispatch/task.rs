//! Tasks on their way to a worker. A function's bytes travel once a connection: after that the service says "you have
//! it", and a worker that has it no more says so in its report and is sent it again.

use super::body::{Body, Faulty, Frame};
use super::{Kind, MANY_MAX};
use std::fmt;
use std::time::Duration;

/// A task's id: a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub [u8; 16]);

/// A function's id: a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(pub [u8; 16]);

/// As UUIDs are written: 8-4-4-4-12 hexadecimal digits.
fn write_uuid(bytes: &[u8; 16], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (at, byte) in bytes.iter().enumerate() {
        let dash = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        write!(f, "{dash}{byte:02x}")?;
    }
    Ok(())
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(&self.0, f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {self}")
    }
}

impl fmt::Display for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(&self.0, f)
    }
}

impl fmt::Debug for FunctionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "function {self}")
    }
}

/// One call of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task<'a> {
    /// Which.
    pub id: TaskId,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// What is called.
    pub function: FunctionId,
    /// How long it may run, from when it starts there; in milliseconds, under 50 days. Zero: as long as it likes.
    pub timeout: Duration,
    /// The pickled function; none when this worker was sent it before on this connection.
    pub code: Option<&'a [u8]>,
    /// The pickled pair of arguments and keyword arguments.
    pub payload: &'a [u8],
}

impl<'a> Task<'a> {
    fn read(body: &mut Body<'a>) -> Result<Self, Faulty> {
        let (id, attempt) = (TaskId(body.array()?), body.number()?);
        let function = FunctionId(body.array()?);
        let timeout = Duration::from_millis(body.number()?.into());
        let code = if body.flag()? { Some(body.bytes()?) } else { None };
        Ok(Self { id, attempt, function, timeout, code, payload: body.bytes()? })
    }

    /// Bytes it takes in a frame.
    #[must_use]
    pub fn length(&self) -> usize {
        45 + self.code.map_or(0, |code| 4 + code.len()) + self.payload.len()
    }
}

/// The tasks of a NEW_TASK, in order. They were checked when the frame was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tasks<'a>(Body<'a>);

impl<'a> Tasks<'a> {
    pub(super) fn checked(body: Body<'a>) -> Result<Self, Faulty> {
        let (mut rest, mut count) = (body, 0);
        while !rest.0.is_empty() {
            Task::read(&mut rest)?;
            count += 1;
            if count > MANY_MAX {
                return Err(Faulty::MANY);
            }
        }
        Ok(Self(body))
    }
}

impl<'a> Iterator for Tasks<'a> {
    type Item = Task<'a>;
    fn next(&mut self) -> Option<Task<'a>> {
        Task::read(&mut self.0).ok()
    }
}

/// A NEW_TASK that is being written: tasks are pushed, then it ends. One that is dropped instead leaves an empty frame
/// behind its back, so end it.
#[derive(Debug)]
pub struct TaskFrame<'v>(Frame<'v>);

impl<'v> TaskFrame<'v> {
    /// Begins one behind what is there.
    pub fn begin(into: &'v mut Vec<u8>) -> Self {
        Self(Frame::begin(into, Kind::NewTask))
    }

    /// Adds a task. At most [`MANY_MAX`] a frame, and [`BODY_MAX`](super::BODY_MAX) bytes.
    pub fn push(&mut self, task: &Task<'_>) {
        self.0.array(&task.id.0);
        self.0.number(task.attempt);
        self.0.array(&task.function.0);
        self.0.number(u32::try_from(task.timeout.as_millis()).unwrap_or(u32::MAX));
        self.0.byte(u8::from(task.code.is_some()));
        if let Some(code) = task.code {
            self.0.bytes(code);
        }
        self.0.bytes(task.payload);
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
