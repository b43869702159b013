//! What one core asks and what becomes of it: sends what is due where there is room, judges what comes back, and
//! counts what is lost.

use super::{BURST_MAX, Client, LOAD_FLIGHT_BYTES, TIMER_PACE};
use crate::pace::Next;
use crate::protocol::Answer;
use crate::session::{Asked, Right};
use crate::stage::{Said, Stage};
use crate::tally::{Kind, Times};
use crate::workload::{Operation, Verb, write_key, write_value};
use machine::{ConnId, Instant, Now, Outbox};

impl Client {
    pub(super) fn load_more(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let flight_max = (LOAD_FLIGHT_BYTES / self.load.value_size.max(1)).max(1);
        while self.next_load < self.load.keys && self.sessions.in_flight() < flight_max {
            let Some((place, conn, _)) = self.sessions.first_free() else { break };
            let operation = Operation { verb: Verb::Set, key: self.next_load, version: 0 };
            self.next_load += u64::from(self.seat.cores);
            let asked = self.asked(operation, now.at, now.at, now.at, false);
            self.write(place, conn, operation, asked, out);
        }
        let nobody = self.sessions.open() == 0 && self.dialler.is_idle();
        if self.sessions.in_flight() == 0 && (self.next_load >= self.load.keys || nobody) {
            self.finished(out);
        }
    }

    /// Sends what is due, on connections that are free.
    pub(super) fn send_due(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if now.at < self.window.start {
            return;
        }
        for _ in 0..BURST_MAX {
            if self.left == Some(0) {
                return self.stop(now, now.at, false, out);
            }
            let Some((place, conn, free_at)) = self.sessions.first_free() else {
                if self.sessions.open() == 0 && self.dialler.is_idle() {
                    self.stop(now, now.at, true, out);
                }
                return;
            };
            let due = match self.pace.next(now.at, self.window.until) {
                Next::Due(due) => due,
                Next::NotBefore(at) => return self.pace_at(at, out),
                Next::Never => return,
            };
            let measured = self.window.counts(due);
            if let (Some(left), true) = (&mut self.left, measured) {
                *left -= 1;
            }
            let operation = self.operations.draw();
            let asked = self.asked(operation, due, due.max(free_at), now.at, measured);
            self.write(place, conn, operation, asked, out);
        }
        self.pace_at(now.at, out);
    }

    /// Greets a new connection, so that its dial ends only when the server has accepted it.
    pub(super) fn greet(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) -> Asked {
        self.message.clear();
        self.load.dialect.write_greeting(&mut self.message);
        out.write(conn, &self.message);
        Asked { due: now.at, ready: now.at, sent: now.at, key: 0, verb: Verb::Get, measured: true }
    }

    pub(super) fn asked(
        &self,
        operation: Operation,
        due: Instant,
        ready: Instant,
        sent: Instant,
        measured: bool,
    ) -> Asked {
        Asked { due, ready, sent, key: operation.key, verb: operation.verb, measured }
    }

    pub(super) fn write(
        &mut self,
        place: u32,
        conn: ConnId,
        operation: Operation,
        asked: Asked,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.message.clear();
        self.key.clear();
        self.value.clear();
        write_key(&mut self.key, operation.key, self.load.key_size);
        if operation.verb == Verb::Set {
            write_value(&mut self.value, operation.key, operation.version, self.load.value_size);
        }
        self.load.dialect.write(&mut self.message, operation.verb, &self.key, &self.value);
        out.write(conn, &self.message);
        self.sessions.asked(place, asked);
    }

    /// Sets the pace's timer, if it is not set so already.
    pub(super) fn pace_at(&mut self, at: Instant, out: &mut impl Outbox<Said = Said>) {
        if self.paced != Some(at) {
            self.paced = Some(at);
            out.wake(TIMER_PACE, Some(at));
        }
    }

    /// A reply to what was asked.
    pub(super) fn count(&mut self, now: Now, asked: Asked, answer: Answer<'_>, received: Instant) {
        let judged = asked.judge(answer, &self.load);
        self.last_reply = now.at;
        let tally = &mut self.outcomes.tally;
        match judged {
            _ if self.stage == Stage::Connecting => {
                self.dialler.ended();
                if let Answer::Refused(_) = answer {
                    tally.fail(Kind::Refused, 1, true);
                }
            }
            Err(kind) => tally.fail(kind, 1, asked.measured),
            Ok(_) if self.stage == Stage::Loading => tally.loaded += 1,
            Ok(right) => {
                tally.misses += u64::from(asked.measured && right == Right::Miss);
                let times = Times::new(asked.due, asked.ready, asked.sent, received, now.at);
                tally.reply(times, asked.measured);
            }
        }
    }

    /// The connection of this place is no more, or shall not be: what was in flight is lost, and a connection
    /// that had been open is replaced with the next tick.
    pub(super) fn lose(&mut self, now: Now, place: u32, kind: Kind, in_flight: Kind) {
        let measured = match self.stage {
            Stage::Connecting => true,
            Stage::Loading => false,
            Stage::Running | Stage::Stopping | Stage::Over => now.at >= self.window.from,
        };
        let (was_open, lost) = self.sessions.ended(place);
        let tally = &mut self.outcomes.tally;
        let mut greeted = true;
        for asked in lost {
            greeted = false;
            tally.fail(in_flight, 1, asked.measured);
        }
        if kind != in_flight {
            tally.fail(kind, 1, measured);
        }
        match was_open {
            true if matches!(self.stage, Stage::Loading | Stage::Running) => self.dialler.want(place),
            true if greeted || self.stage != Stage::Connecting => {}
            true | false => self.dialler.ended(),
        }
    }
}
