//! What one core asks and what becomes of it: sends what is due where there is room, judges what comes back, and
//! counts what is lost.

use super::{BURST_MAX, Client, LOAD_FLIGHT_BYTES, TIMER_PACE};
use crate::history::History;
use crate::pace::Next;
use crate::protocol::Answer;
use crate::session::{Asked, Right, Role};
use crate::stage::{Said, Stage};
use crate::tally::{Kind, Times};
use crate::workload::{Operation, Verb, write_key, write_value};
use machine::{ConnId, Instant, Now, Outbox};

/// What may be sent now.
pub(super) enum Turn {
    /// A request that was due then; whether it counts.
    Due(Instant, bool),
    /// Nothing more in this event.
    Rest,
}

impl Client {
    pub(super) fn load_more(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let flight_max = (LOAD_FLIGHT_BYTES / self.load.values.most().max(1)).max(1);
        while self.has_key_to_load() && self.sessions.in_flight() < flight_max {
            let Some((place, conn, _)) = self.sessions.first_free(0) else { break };
            let asked = self.next_to_load(now);
            self.write(place, conn, asked, out);
        }
        self.maybe_loaded(out);
    }

    pub(super) fn has_key_to_load(&self) -> bool {
        self.next_load < self.load.keys || !self.again.is_empty()
    }

    /// The next key's write, or its read after the run, taken.
    pub(super) fn next_to_load(&mut self, now: Now) -> Asked {
        let key = self.again.pop().unwrap_or(self.next_load);
        if key == self.next_load {
            self.next_load += u64::from(self.cores);
        }
        let verb = if self.stage == Stage::LookingBack { Verb::Get } else { Verb::Set };
        request(Operation { verb, key, version: 0 }, now.at, now.at, now.at, false)
    }

    pub(super) fn maybe_loaded(&mut self, out: &mut impl Outbox<Said = Said>) {
        let nobody = self.sessions.open() == 0 && self.dialler.is_idle();
        let all = !self.has_key_to_load() && self.again_later.is_empty();
        if self.in_flight() == 0 && (all || nobody) {
            match self.stage {
                Stage::LookingBack => self.over(out),
                _ => self.finished(out),
            }
        }
    }

    /// Sends what is due, on connections that are free.
    pub(super) fn send_due(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if now.at < self.window.start {
            return;
        }
        for _ in 0..BURST_MAX {
            if let Some(cut_short) = self.has_sent_all() {
                return self.stop(now, now.at, cut_short, out);
            }
            let Some((place, conn, free_at)) = self.sessions.first_free(0) else {
                if self.sessions.open() == 0 && self.dialler.is_idle() {
                    self.stop(now, now.at, true, out);
                }
                return;
            };
            let Turn::Due(due, measured) = self.next_turn(now, out) else { return };
            let operation = self.operations.draw();
            let asked = request(operation, due, due.max(free_at), now.at, measured);
            self.write(place, conn, asked, out);
        }
        self.pace_at(now.at, out);
    }

    /// Whether nothing more is to be sent: and if so, whether for want of room.
    #[inline]
    pub(super) fn has_sent_all(&self) -> Option<bool> {
        let full = self.outcomes.history.as_ref().is_some_and(History::is_full);
        (full || self.left == Some(0)).then_some(full)
    }

    /// Takes the next request of the pace if it is due. The caller has room for it.
    #[inline]
    pub(super) fn next_turn(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) -> Turn {
        let due = match self.pace.next(now.at, self.window.until) {
            Next::Due(due) => due,
            Next::NotBefore(at) => {
                self.pace_at(at, out);
                return Turn::Rest;
            }
            Next::Never => return Turn::Rest,
        };
        let measured = self.window.counts(due);
        self.taken += u64::from(measured);
        if let (Some(left), true) = (&mut self.left, measured) {
            *left -= 1;
        }
        Turn::Due(due, measured)
    }

    /// Greets a new connection, so that its dial ends only when the server has accepted it.
    pub(super) fn greet(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) -> Asked {
        self.message.clear();
        self.load.dialect.write_greeting(&mut self.message);
        out.write(conn, &self.message);
        self.outcomes.tally.written += 1;
        let operation = Operation { verb: Verb::Get, key: 0, version: 0 };
        Asked { role: Role::Greeting, ..request(operation, now.at, now.at, now.at, true) }
    }

    pub(super) fn write(
        &mut self,
        place: u32,
        conn: ConnId,
        asked: Asked,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Operation { verb, key, version } = asked.operation;
        self.message.clear();
        self.key.clear();
        self.value.clear();
        write_key(&mut self.key, key, self.load.key_size);
        if verb == Verb::Set {
            write_value(&mut self.value, key, version, self.load.values.of(key, version));
        }
        self.load.dialect.write(&mut self.message, verb, &self.key, &self.value);
        out.write(conn, &self.message);
        self.outcomes.tally.written += 1;
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
    pub(super) fn count(
        &mut self,
        now: Now,
        place: u32,
        asked: Asked,
        answer: Answer<'_>,
        received: Instant,
    ) {
        self.last_reply = now.at;
        self.work += 1;
        let tally = &mut self.outcomes.tally;
        match asked.role {
            Role::Greeting => {
                self.dialler.ended();
                if let Answer::Refused(_) = answer {
                    tally.fail(Kind::Refused, 1, true);
                }
                return;
            }
            Role::Asking => return,
            Role::Request if self.stage == Stage::LookingBack => return self.saw(now, place, asked, answer),
            Role::Request => {}
        }
        self.keep(now, place, asked, answer);
        let tally = &mut self.outcomes.tally;
        match asked.judge(answer, &self.load) {
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
            Stage::Loading | Stage::LookingBack => false,
            Stage::Running | Stage::Stopping | Stage::Over => now.at >= self.window.from,
        };
        let looks_back = self.stage == Stage::LookingBack;
        let (was_open, lost) = self.sessions.ended(place);
        let tally = &mut self.outcomes.tally;
        let mut greeted = true;
        for asked in lost {
            greeted = false;
            match asked.role {
                Role::Request if looks_back => self.again_later.push(asked.operation.key),
                Role::Greeting | Role::Request => tally.fail(in_flight, 1, asked.measured),
                Role::Asking => {}
            }
            if let (Some(history), Role::Request, Verb::Set, Stage::Running | Stage::Stopping) =
                (&mut self.outcomes.history, asked.role, asked.operation.verb, self.stage)
            {
                history.wrote(place, asked.operation, asked.sent, None);
            }
        }
        if kind != in_flight && !looks_back {
            tally.fail(kind, 1, measured);
        }
        let goes_on = matches!(self.stage, Stage::Loading | Stage::Running | Stage::LookingBack);
        match was_open {
            true if goes_on => self.dialler.want(place),
            true if greeted || self.stage != Stage::Connecting => {}
            true => self.dialler.ended(),
            false => {
                self.dialler.ended();
                // Without an end to wait for, a server that is gone ends the run.
                if looks_back || self.stage == Stage::Running && self.load.duration.is_some() {
                    self.dialler.want_later(place, now.at);
                }
            }
        }
    }
}

/// A request for what it does.
pub(super) fn request(
    operation: Operation,
    due: Instant,
    ready: Instant,
    sent: Instant,
    measured: bool,
) -> Asked {
    Asked { due, ready, sent, operation, role: Role::Request, measured, legs: 0 }
}
