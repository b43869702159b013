//! How long a client's connection may stay as it is.
//!
//! Each has one deadline. A deadline that moves later costs nothing: the world wakes us at an earlier one, and then we
//! look again. So a busy connection asks for a wake once in a while and not with every request.

use super::Relay;
use super::client::Phase;
use crate::peer::Said;
use machine::id::Key;
use machine::{Close, ConnId, Instant, Now, Outbox, TimerId};
use std::time::Duration;

/// A tunnel on which nothing was said for so long ends.
pub(super) const TUNNEL_IDLE: Duration = Duration::from_secs(3600);

/// The timer of a connection. A connection's number is never under 2^32: smaller ones are the shard's own.
pub(super) fn timer(conn: ConnId) -> TimerId {
    TimerId(conn.0.to_bits())
}

impl Relay {
    /// Gives a client until then.
    pub(super) fn wait(&mut self, conn: ConnId, until: Instant, out: &mut impl Outbox<Said = Said>) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        client.deadline = until;
        if client.armed.is_none_or(|armed| armed > until) {
            client.armed = Some(until);
            out.wake(timer(conn), Some(until));
        }
    }

    /// A timer of a connection is due.
    pub(crate) fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        let conn = ConnId(Key::from_bits(timer.0));
        let Some(client) = self.clients.get_mut(conn) else { return };
        client.armed = None;
        if client.deadline > now.at {
            let deadline = client.deadline;
            return self.wait(conn, deadline, out);
        }
        self.expire(now, conn, out);
    }

    fn expire(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        self.tally.timeouts += 1;
        match client.phase {
            Phase::Idle if client.reader.has_begun() => {
                self.refuse(conn, 408, "The request's head took too long", out);
            }
            Phase::Idle => self.drop_client(conn, Close::Flushed, out),
            Phase::Collecting => self.refuse(conn, 408, "The request's body took too long", out),
            Phase::Asking if !client.body.is_done() => {
                self.refuse(conn, 408, "The request's body took too long", out);
            }
            Phase::Asking => self.excuse(now, conn, 504, "The replica did not answer in time", out),
            Phase::Queued => self.excuse(now, conn, 503, "No replica is free", out),
            Phase::Answering | Phase::Tunnel => self.drop_client(conn, Close::Now, out),
            // The keeper of the truth answers in its own time, which is bounded by the start of replicas.
            Phase::Asked => {
                let until = now.at + self.config.waits.start;
                self.wait(conn, until, out);
            }
        }
    }
}
