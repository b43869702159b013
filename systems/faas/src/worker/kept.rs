//! Reports that the service has not acknowledged. They are said again on each new connection, so that a finished result
//! is lost only with this worker. Bounded by what was taken on: a worker asks for no more while much is unacknowledged.

use crate::dispatch::{Report, ReportFrame, TaskId};
use machine::blob::BLOB_MIN;
use machine::{Blob, ConnId, Outbox};
use std::collections::BTreeMap;

/// Bytes of unacknowledged reports over which no more tasks are asked for.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reports, each as the frame that carries it.
#[derive(Debug, Default)]
pub struct Kept {
    frames: BTreeMap<(TaskId, u32), Blob>,
    bytes: usize,
    /// The connection they go to, while the service listens.
    conn: Option<ConnId>,
}

impl Kept {
    /// The service listens on this connection: says it all again.
    pub fn connect<S>(&mut self, conn: ConnId, out: &mut impl Outbox<Said = S>) {
        self.conn = Some(conn);
        for frame in self.frames.values() {
            send(conn, frame, out);
        }
    }

    /// It does not any more.
    pub fn disconnect(&mut self) {
        self.conn = None;
    }

    /// Says a report, and keeps it.
    pub fn add<S>(&mut self, report: &Report<'_>, out: &mut impl Outbox<Said = S>) {
        let mut bytes = Vec::new();
        let mut frame = ReportFrame::begin(&mut bytes);
        frame.push(report);
        frame.end();
        let frame = Blob::from(bytes);
        if let Some(conn) = self.conn {
            send(conn, &frame, out);
        }
        self.bytes += frame.len();
        if let Some(before) = self.frames.insert((report.task, report.attempt), frame) {
            self.bytes -= before.len();
        }
    }

    /// The service has it.
    pub fn taken(&mut self, task: TaskId, attempt: u32) {
        if let Some(frame) = self.frames.remove(&(task, attempt)) {
            self.bytes -= frame.len();
        }
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

fn send<S>(conn: ConnId, frame: &Blob, out: &mut impl Outbox<Said = S>) {
    if frame.len() < BLOB_MIN {
        out.write(conn, frame);
    } else {
        out.write_blob(conn, frame.clone());
    }
}
