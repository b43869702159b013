//! Which clients may stay: no more than there may be, none that was killed, none that was idle too long. The shard
//! says when to look; here it is said who goes.

use crate::peer::Said;
use crate::session::Session;
use crate::shard::{Dht, IDLE, IDLE_SEARCH};
use core::time::Duration;
use machine::{Close, ConnId, Now, Outbox};

impl Dht {
    /// Tells the other cores how many clients there are, if that changed enough to matter.
    #[inline]
    pub(crate) fn tell_crowd(&mut self, out: &mut impl Outbox<Said = Said>) {
        let Some(count) = self.crowd.news(self.sessions.len(), self.config.limits.clients_max) else {
            return;
        };
        if self.is_draining {
            return;
        }
        for core in self.seat.other_cores() {
            out.tell(core, Said::Crowd(count), None);
        }
    }

    /// Ends the connections that were killed.
    pub(crate) fn close_killed(&mut self, out: &mut impl Outbox<Said = Said>) {
        for conn in core::mem::take(&mut self.killed) {
            self.let_go(conn, out);
        }
    }

    pub(crate) fn let_go(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        if let Some(session) = self.sessions.take(conn) {
            out.close(conn, Close::Flushed);
            self.sessions.forget(session);
            self.drain_further(out);
        }
    }

    /// Has the search for idle clients come, while there is a bound on that.
    pub(crate) fn look_for_idlers(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if self.config.limits.idle_max_s > 0 && !self.has_idle_wake {
            self.has_idle_wake = true;
            out.wake(IDLE, Some(now.at + IDLE_SEARCH));
        }
    }

    pub(crate) fn let_idlers_go(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.has_idle_wake = false;
        self.look_for_idlers(now, out);
        let idle_max = Duration::from_secs(u64::from(self.config.limits.idle_max_s));
        if idle_max.is_zero() {
            return;
        }
        let is_idle = |session: &&Session| {
            let is_waiting = !session.pipeline.is_idle() || session.is_node;
            !is_waiting && now.at.since(session.asked) > idle_max
        };
        let idlers: Vec<ConnId> = self.sessions.iter().filter(is_idle).map(|session| session.conn).collect();
        for conn in idlers {
            self.counts.idled += 1;
            self.let_go(conn, out);
        }
        self.tell_crowd(out);
    }
}

/// One client more than there may be.
pub(crate) fn turn_away(conn: ConnId, is_frames: bool, out: &mut impl Outbox<Said = Said>) {
    let words = "max number of clients reached";
    let mut bytes = Vec::new();
    if is_frames {
        wire::frame::write_reply(&mut bytes, wire::frame::Reply::Failure(words.as_bytes()));
    } else {
        bytes.extend_from_slice(format!("-ERR {words}\r\n").as_bytes());
    }
    out.write(conn, &bytes);
    out.close(conn, Close::Flushed);
}
