//! Ways of an answer to its client: at once, behind answers that are still to come, or late.
//!
//! At once is the common way and costs one copy: answers of one call are appended to one vector, which is written
//! once. The one hard thing is that all three must keep the order of requests; the [`Pipeline`] knows it, and these
//! are the only places that talk to it.

use crate::reply::{Shape, Sink, Tell};
use crate::session::Session;
use machine::pipeline::Piece;
use machine::{Blob, ConnId, Outbox, Pipeline, Ticket};

/// The answers of one call that can go at once, and how much more may.
#[derive(Debug, Default)]
pub(crate) struct Direct {
    bytes: Vec<u8>,
    room: usize,
    /// For answers that are kept: made here, then copied to their place.
    scratch: Vec<u8>,
}

/// What the vectors keep of their memory between calls, in bytes.
const KEPT_MAX: usize = 1024 * 1024;

impl Direct {
    /// A call begins.
    #[inline]
    pub(crate) fn begin(&mut self, conn: ConnId, out: &impl Outbox) {
        self.room = out.room(conn);
    }

    /// Whether the connection's output would be full with what is here.
    #[inline]
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= self.room
    }

    /// What is here is written.
    #[inline]
    pub(crate) fn flush(&mut self, conn: ConnId, out: &mut impl Outbox) {
        if !self.bytes.is_empty() {
            out.write(conn, &self.bytes);
            self.bytes.clear();
        }
    }

    /// A call ends.
    #[inline]
    pub(crate) fn end(&mut self, conn: ConnId, out: &mut impl Outbox) {
        self.flush(conn, out);
        if self.bytes.capacity() > KEPT_MAX {
            self.bytes = Vec::new();
        }
        if self.scratch.capacity() > KEPT_MAX {
            self.scratch = Vec::new();
        }
    }
}

/// Tells the answer to the request that was just read.
#[inline]
pub(crate) fn at_once(
    session: &mut Session,
    direct: &mut Direct,
    what: impl Tell,
    shape: Shape,
    out: &mut impl Outbox,
) {
    if session.pipeline.is_idle() {
        what.tell(shape, &mut Straight { direct, conn: session.conn, out });
        return;
    }
    direct.scratch.clear();
    let mut behind = Behind { scratch: &mut direct.scratch, pipeline: &mut session.pipeline };
    what.tell(shape, &mut behind);
    behind.keep();
}

/// Tells the answer to a request that waited.
pub(crate) fn late(
    session: &mut Session,
    direct: &mut Direct,
    ticket: Ticket,
    what: impl Tell,
    shape: Shape,
    out: &mut impl Outbox,
) {
    direct.scratch.clear();
    let conn = session.conn;
    let mut waited =
        Waited { scratch: &mut direct.scratch, pipeline: &mut session.pipeline, ticket, conn, out };
    what.tell(shape, &mut waited);
    waited.part();
    session.pipeline.done(ticket, &mut |piece| out.write_piece(conn, piece));
}

/// A reply that is bytes already.
pub(crate) struct Raw<'a>(pub(crate) &'a [u8]);

impl Tell for Raw<'_> {
    fn tell(self, shape: Shape, into: &mut impl Sink) {
        if shape == Shape::Silent {
            return;
        }
        into.bytes().extend_from_slice(self.0);
    }
}

/// Straight to the connection, with the other answers of this call.
struct Straight<'a, O> {
    direct: &'a mut Direct,
    conn: ConnId,
    out: &'a mut O,
}

impl<O: Outbox> Sink for Straight<'_, O> {
    #[inline]
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.direct.bytes
    }

    fn blob(&mut self, blob: Blob) {
        self.direct.flush(self.conn, self.out);
        self.out.write_blob(self.conn, blob);
        self.direct.begin(self.conn, self.out);
    }
}

/// Behind answers that are still to come.
struct Behind<'a> {
    scratch: &'a mut Vec<u8>,
    pipeline: &'a mut Pipeline,
}

impl Behind<'_> {
    fn keep(&mut self) {
        // Something is before it, so nothing is let go.
        self.pipeline.ready(Piece::Bytes(self.scratch), &mut |_| {});
        self.scratch.clear();
    }
}

impl Sink for Behind<'_> {
    fn bytes(&mut self) -> &mut Vec<u8> {
        self.scratch
    }

    fn blob(&mut self, blob: Blob) {
        self.keep();
        self.pipeline.ready(Piece::Blob(blob), &mut |_| {});
    }
}

/// To a place that waited.
struct Waited<'a, O> {
    scratch: &'a mut Vec<u8>,
    pipeline: &'a mut Pipeline,
    ticket: Ticket,
    conn: ConnId,
    out: &'a mut O,
}

impl<O: Outbox> Waited<'_, O> {
    fn part(&mut self) {
        let (conn, out) = (self.conn, &mut *self.out);
        self.pipeline
            .part(self.ticket, Piece::Bytes(self.scratch), &mut |piece| out.write_piece(conn, piece));
        self.scratch.clear();
    }
}

impl<O: Outbox> Sink for Waited<'_, O> {
    fn bytes(&mut self) -> &mut Vec<u8> {
        self.scratch
    }

    fn blob(&mut self, blob: Blob) {
        self.part();
        let (conn, out) = (self.conn, &mut *self.out);
        self.pipeline.part(self.ticket, Piece::Blob(blob), &mut |piece| out.write_piece(conn, piece));
    }
}
