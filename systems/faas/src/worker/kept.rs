//! Reports that the service has not acknowledged. They count only in the session in which their tasks came, and end with
//! it. Bounded by what was taken on: a worker asks for no more while much is unacknowledged.

use crate::dispatch::{Report, ReportFrame, Session, TaskId};
use machine::blob::BLOB_MIN;
use machine::{Blob, ConnId, Outbox};
use std::collections::BTreeMap;

/// Bytes of unacknowledged reports over which no more tasks are asked for.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reports, each with the length of its frame.
#[derive(Debug, Default)]
pub struct Kept {
    frames: BTreeMap<(TaskId, u32), usize>,
    bytes: usize,
    /// The session, and the connection it is, while the service listens.
    session: Option<(Session, ConnId)>,
}

impl Kept {
    /// The service listens on this connection.
    pub fn begin(&mut self, session: Session, conn: ConnId) {
        self.session = Some((session, conn));
    }

    /// It does not any more.
    pub fn end(&mut self) {
        *self = Self::default();
    }

    /// The session that lasts.
    #[must_use]
    pub fn session(&self) -> Option<Session> {
        self.session.map(|(session, _)| session)
    }

    /// Says a report of a task that came in this session.
    pub fn add<S>(&mut self, report: &Report<'_>, out: &mut impl Outbox<Said = S>) {
        let Some((session, conn)) = self.session else { return };
        let mut bytes = Vec::new();
        let mut frame = ReportFrame::begin(&mut bytes, session);
        frame.push(report);
        frame.end();
        self.bytes += bytes.len();
        self.bytes -= self.frames.insert((report.task, report.attempt), bytes.len()).unwrap_or(0);
        if bytes.len() < BLOB_MIN {
            out.write(conn, &bytes);
        } else {
            out.write_blob(conn, Blob::from(bytes));
        }
    }

    /// The service has it.
    pub fn taken(&mut self, task: TaskId, attempt: u32) {
        self.bytes -= self.frames.remove(&(task, attempt)).unwrap_or(0);
    }

    /// Whether all was acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many are not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is so much that no more should be begun.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes > BYTES_MAX
    }
}
