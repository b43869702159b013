//! What service and workers say to each other: frames over a connection, ours and nobody else's (not ZeroMQ's).
//!
//! Either side begins with an opening of eight bytes: `RWFW`, the version (2, little-endian), two zero bytes. Then
//! frames: the body's length (4, little-endian), the kind (1), three zero bytes, the body. Numbers in bodies are
//! little-endian; text is its length (2) and then UTF-8; bytes are their length (4) and then themselves.
//!
//! | kind | from | body |
//! |---|---|---|
//! | 1 REGISTRATION | worker | [`Registration`]: who it is, what it offers, which jails hold. Its first frame |
//! | 2 REQUEST_TASK | worker | how many more tasks it asks for (4), besides those it asked for before |
//! | 3 NEW_TASK | service | [`Task`]s, one after the other, to the body's end |
//! | 4 NO_TASK | service | nothing: the requests were heard, they still stand, there is nothing to do |
//! | 5 RESULT_READY | worker | the session in which the tasks came (8), then [`Report`]s, to the body's end |
//! | 6 ACK | service | [`Ack`]: the registration was taken or refused, or these reports were |
//! | 7 HEARTBEAT | both | [`Heartbeat`]; the service sends back what it got |
//! | 8 CANCEL | service | a task (16) and its attempt (4): what runs it is ended, and a report says so |
//!
//! A worker in pull mode is sent at most as many tasks as it has asked for in all on this connection. One in push mode
//! is sent as many as it has slots, less those it has; and as many more as its window while what it reports ran for
//! less than a millisecond, so that a slot need not wait for its next task. What a worker does not want after all
//! comes back in a report as [`Ended::Returned`].
//!
//! A connection is a *session*, with a number that the service draws and tells in its welcome. A lease ends with its
//! session: a worker that loses it ends what it runs and forgets what it has to report. Reports name the session in which
//! their tasks came, and count in no other: so what was left of one never passes for an attempt of the next, whatever
//! became of the service between them.
//!
//! The one hard thing: both ends hold payloads of others, so nothing a frame says is believed before it was checked.
//! A frame is checked whole when it is read; what it lends afterwards cannot fail.

mod body;
mod registration;
mod report;
mod task;
#[cfg(test)]
mod tests;

pub use body::Faulty;
pub use registration::{JAILS, Jail, Mode, Registration};
pub use report::{Ended, FailureKind, Report, ReportFrame, Reports, Returned};
pub use task::{FunctionId, Task, TaskFrame, TaskId, Tasks};

use body::{Body, Frame};
use std::fmt;
use std::time::Duration;
use wire::Outcome;

/// The first bytes either side sends.
pub const MAGIC: [u8; 4] = *b"RWFW";

/// The version of these frames.
pub const VERSION: u16 = 1;

/// Bytes of the opening.
pub const OPENING: usize = 8;

/// Bytes before a frame's body.
pub const HEADER: usize = 8;

/// The longest function, payload or result, in bytes. A frame that carries one must fit into what a connection may
/// have waiting (64 MiB); a function and a payload travel together.
pub const PAYLOAD_MAX: usize = 30 * 1024 * 1024;

/// The longest body, in bytes: a function, a payload, and what surrounds them. Who writes several tasks or reports
/// into one frame ends it before this.
pub const BODY_MAX: usize = 2 * PAYLOAD_MAX + 1024 * 1024;

/// Tasks, reports or acknowledgements in one frame. More are a fault, so that one frame cannot hold a core for long.
pub const MANY_MAX: usize = 1024;

/// The longest sentence, in bytes; who writes a longer one cuts it.
pub const WORDS_MAX: usize = 4096;

/// What of a function's output travels with its report, in bytes.
pub const PRINTED_MAX: usize = 8 * 1024;

/// What a frame is, as it stands in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Registration = 1,
    RequestTask = 2,
    NewTask = 3,
    NoTask = 4,
    ResultReady = 5,
    Ack = 6,
    Heartbeat = 7,
    Cancel = 8,
}

/// One frame, read in the bytes that carried it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Who the worker is.
    Registration(Registration<'a>),
    /// The worker asks for so many tasks more.
    RequestTask {
        /// How many, besides those it asked for before.
        more: u32,
    },
    /// Tasks to run.
    NewTask(Tasks<'a>),
    /// Nothing to do for now.
    NoTask,
    /// What became of tasks that came in a session.
    ResultReady {
        /// Which.
        session: Session,
        /// What became of each.
        reports: Reports<'a>,
    },
    /// What the service has taken.
    Ack(Ack<'a>),
    /// Still there.
    Heartbeat(Heartbeat),
    /// This attempt is not wanted any more.
    Cancel(TaskId, u32),
}

/// One connection of a worker, from its welcome to its end. Drawn by the service, so that none is ever the same as
/// another, not even of a service that was started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session(pub u64);

/// What the service has taken, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack<'a> {
    /// The registration was taken.
    Welcome {
        /// A heartbeat is expected so often; three missed, and the worker is lost.
        heartbeat: Duration,
        /// The session that begins.
        session: Session,
    },
    /// The registration was refused, and this is why. The service closes the connection.
    Refused(&'a str),
    /// These reports were taken (also when they came too late to count): the worker forgets them.
    Reports(Taken<'a>),
}

/// The task and attempt of each report that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken<'a>(Body<'a>);

impl Iterator for Taken<'_> {
    type Item = (TaskId, u32);
    fn next(&mut self) -> Option<(TaskId, u32)> {
        Some((TaskId(self.0.array().ok()?), self.0.number().ok()?))
    }
}

/// What a worker says every now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// Tasks that run there.
    pub running: u32,
    /// Tasks that wait there for a slot.
    pub waiting: u32,
    /// Whether it is about to leave and wants nothing more.
    pub is_leaving: bool,
}

/// Why a connection has no future.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The first bytes are not [`MAGIC`] and two zeros after a version.
    Stranger,
    /// They speak a version we do not know yet.
    Newer(u16),
    /// A body longer than [`BODY_MAX`].
    Length(u32),
    /// A kind nobody knows, or header bytes nobody sets.
    Header,
    /// A body that does not say what its kind says.
    Body(Faulty),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stranger => f.write_str("what is at the other end is not faas: check the address"),
            Self::Newer(theirs) => {
                write!(f, "the other end speaks version {theirs} and this one {VERSION}: upgrade this one")
            }
            Self::Length(length) => write!(f, "a frame of {length} bytes is over the limit of {BODY_MAX}"),
            Self::Header => f.write_str("a frame has a malformed header"),
            Self::Body(faulty) => write!(f, "a frame is malformed: {faulty}"),
        }
    }
}

impl std::error::Error for Fault {}

/// Appends our opening.
pub fn write_opening(into: &mut Vec<u8>) {
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&VERSION.to_le_bytes());
    into.extend_from_slice(&[0; 2]);
}

/// Reads the other side's opening: the version they speak, at most ours.
pub fn read_opening(bytes: &[u8]) -> Outcome<u16, Fault> {
    let seen = bytes.len().min(MAGIC.len());
    if bytes[..seen] != MAGIC[..seen] {
        return Outcome::Fault(Fault::Stranger);
    }
    let Some(&[_, _, _, _, v0, v1, r0, r1]) = bytes.first_chunk::<OPENING>() else {
        return Outcome::Partial { need: OPENING };
    };
    match u16::from_le_bytes([v0, v1]) {
        _ if [r0, r1] != [0; 2] => Outcome::Fault(Fault::Stranger),
        0 => Outcome::Fault(Fault::Stranger),
        theirs if theirs > VERSION => Outcome::Fault(Fault::Newer(theirs)),
        value => Outcome::Done { value, used: OPENING },
    }
}

/// Reads the first frame of `bytes`, which are all bytes received and not consumed. Stateless: the header is read
/// again on each call, and `need` is the whole frame as soon as the header is there. A fault is told as soon as the
/// header shows it.
pub fn read(bytes: &[u8]) -> Outcome<Message<'_>, Fault> {
    let Some((&[l0, l1, l2, l3, kind, zeros @ ..], rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Outcome::Partial { need: HEADER };
    };
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if zeros != [0; 3] || !(1..=8).contains(&kind) {
        return Outcome::Fault(Fault::Header);
    }
    if length as usize > BODY_MAX {
        return Outcome::Fault(Fault::Length(length));
    }
    let used = HEADER + length as usize;
    match rest.get(..length as usize).map(|body| read_body(kind, Body(body))) {
        Some(Ok(value)) => Outcome::Done { value, used },
        Some(Err(faulty)) => Outcome::Fault(Fault::Body(faulty)),
        None => Outcome::Partial { need: used },
    }
}

fn read_body(kind: u8, mut body: Body<'_>) -> Result<Message<'_>, Faulty> {
    let message = match kind {
        1 => Message::Registration(Registration::read(&mut body)?),
        2 => Message::RequestTask { more: body.number()? },
        3 => return Tasks::checked(body).map(Message::NewTask),
        4 => Message::NoTask,
        5 => {
            let session = Session(body.long()?);
            return Reports::checked(body).map(|reports| Message::ResultReady { session, reports });
        }
        6 => match body.byte()? {
            0 => Message::Ack(Ack::Welcome {
                heartbeat: Duration::from_millis(body.number()?.into()),
                session: Session(body.long()?),
            }),
            1 => Message::Ack(Ack::Refused(body.text()?)),
            2 => return taken(body).map(|taken| Message::Ack(Ack::Reports(taken))),
            _ => return Err(Faulty("an acknowledgement of nothing known")),
        },
        7 => Message::Heartbeat(Heartbeat {
            running: body.number()?,
            waiting: body.number()?,
            is_leaving: body.flag()?,
        }),
        _ => Message::Cancel(TaskId(body.array()?), body.number()?),
    };
    body.end()?;
    Ok(message)
}

/// Bytes of a task's id and its attempt.
const TAKEN: usize = 20;

fn taken(body: Body<'_>) -> Result<Taken<'_>, Faulty> {
    match body.0.len() {
        length if !length.is_multiple_of(TAKEN) => Err(Faulty("an acknowledgement that ends within a task")),
        length if length / TAKEN > MANY_MAX => Err(Faulty::MANY),
        _ => Ok(Taken(body)),
    }
}

/// Appends REGISTRATION.
pub fn write_registration(into: &mut Vec<u8>, registration: &Registration<'_>) {
    let mut frame = Frame::begin(into, Kind::Registration);
    registration.write(&mut frame);
    frame.end();
}

/// Appends REQUEST_TASK.
pub fn write_request(into: &mut Vec<u8>, more: u32) {
    let mut frame = Frame::begin(into, Kind::RequestTask);
    frame.number(more);
    frame.end();
}

/// Appends NO_TASK.
pub fn write_no_task(into: &mut Vec<u8>) {
    Frame::begin(into, Kind::NoTask).end();
}

/// Appends an ACK that takes a registration. The interval is told in milliseconds.
pub fn write_welcome(into: &mut Vec<u8>, heartbeat: Duration, session: Session) {
    let mut frame = Frame::begin(into, Kind::Ack);
    frame.byte(0);
    frame.number(u32::try_from(heartbeat.as_millis()).unwrap_or(u32::MAX));
    frame.long(session.0);
    frame.end();
}

/// Appends an ACK that refuses a registration, with a sentence for the worker's operator.
pub fn write_refused(into: &mut Vec<u8>, words: &str) {
    let mut frame = Frame::begin(into, Kind::Ack);
    frame.byte(1);
    frame.text(words);
    frame.end();
}

/// Appends ACKs that take these reports: one for each [`MANY_MAX`] of them, none for none.
pub fn write_taken(into: &mut Vec<u8>, taken: &[(TaskId, u32)]) {
    for some in taken.chunks(MANY_MAX) {
        let mut frame = Frame::begin(into, Kind::Ack);
        frame.byte(2);
        for (task, attempt) in some {
            frame.array(&task.0);
            frame.number(*attempt);
        }
        frame.end();
    }
}

/// Appends HEARTBEAT.
pub fn write_heartbeat(into: &mut Vec<u8>, beat: Heartbeat) {
    let mut frame = Frame::begin(into, Kind::Heartbeat);
    frame.number(beat.running);
    frame.number(beat.waiting);
    frame.byte(u8::from(beat.is_leaving));
    frame.end();
}

/// Appends CANCEL.
pub fn write_cancel(into: &mut Vec<u8>, task: TaskId, attempt: u32) {
    let mut frame = Frame::begin(into, Kind::Cancel);
    frame.array(&task.0);
    frame.number(attempt);
    frame.end();
}
