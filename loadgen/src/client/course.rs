//! The course of a run on one core: connect, load, run, stop, each step gone as far as it can go now. Every event
//! ends in [`Client::go_on`]; nothing is remembered of what to do next but the stage itself.

use super::{
    Client, LOAD_DEPTH, OVERDUE_TICKS, STALL_MIN, START_AHEAD, TICK, TIMER_END, TIMER_PACE, TIMER_RAMP,
    TIMER_TICK, WORK_MAX,
};
use crate::dialler::{Step, dial};
use crate::pace::{Arrival, Pace};
use crate::stage::{Said, Stage, Window};
use crate::tally::Kind;
use machine::{Chance, Close, CoreId, Instant, Now, Outbox};

impl Client {
    pub(super) fn dial_more(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        loop {
            match self.dialler.next(now.at) {
                Step::Dial(place) => {
                    let node = self.sessions.group(place);
                    let to = self.routing.as_ref().map(|routing| routing.address(node));
                    let conn = out.dial(dial(&self.load, place, to, now.at + self.load.timeout));
                    self.sessions.dialled(place, conn, now.at);
                }
                Step::Wait(at) => return out.wake(TIMER_RAMP, Some(at)),
                Step::Rest => return,
            }
        }
    }

    /// Goes on with whatever this stage is about, as far as it can go now.
    pub(super) fn go_on(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        match self.stage {
            Stage::Connecting => {
                self.dial_more(now, out);
                if self.dialler.is_idle() {
                    self.finished(out);
                }
            }
            Stage::Loading | Stage::LookingBack if self.routing.is_some() => self.load_routed(now, out),
            Stage::Loading | Stage::LookingBack => self.load_more(now, out),
            Stage::Running if self.routing.is_some() => self.send_due_routed(now, out),
            Stage::Running => self.send_due(now, out),
            Stage::Stopping => {
                self.send_waiting(now, out);
                if self.in_flight() == 0 {
                    self.look_back(now, out);
                }
            }
            Stage::Over => {}
        }
    }

    /// Tells core 0, once a stage.
    pub(super) fn finished(&mut self, out: &mut impl Outbox<Said = Said>) {
        if !self.reported {
            self.reported = true;
            out.tell(CoreId(0), Said::Finished(self.sessions.open() as u64), None);
        }
    }

    /// Whether this is the core that counts those of this machine.
    pub(super) fn is_first(&self) -> bool {
        self.seat.core == CoreId(0)
    }

    /// Tells every core of this machine that this stage begins, a little ahead.
    pub(super) fn all_begin(&mut self, now: Now, stage: Stage, out: &mut impl Outbox<Said = Said>) {
        let at_nanos = (now.at + START_AHEAD).nanos();
        for core in self.seat.all_cores() {
            out.tell(core, Said::Begin(stage as u8, at_nanos), None);
        }
    }

    pub(super) fn begin(&mut self, now: Now, stage: Stage, at: Instant, out: &mut impl Outbox<Said = Said>) {
        if self.stage >= Stage::Stopping {
            return;
        }
        self.reported = false;
        self.stage = stage;
        match stage {
            Stage::Loading => {
                self.deepen();
                self.go_on(now, out);
            }
            Stage::Running => {
                self.sessions.set_depth(self.load.pipeline as usize);
                self.outcomes.started = Some(now.wall + at.since(now.at));
                let from = at + self.load.warm_up;
                let until = self.load.duration.map(|duration| from + duration);
                self.window = Window { start: at, from, until };
                self.pace = self.pace_from(at);
                self.outcomes.connected = self.sessions.open() as u64;
                self.pace_at(at, out);
                out.wake(TIMER_END, until);
            }
            Stage::Connecting | Stage::Stopping | Stage::LookingBack | Stage::Over => self.over(out),
        }
    }

    /// As many requests in flight on each connection as writing or reading every key wants.
    pub(super) fn deepen(&mut self) {
        let places = self.sessions.open().max(1);
        self.sessions.set_depth((self.load.pipeline as usize).max(LOAD_DEPTH / places));
    }

    fn pace_from(&self, start: Instant) -> Pace {
        let (core, cores) = (self.core, self.cores);
        match (self.load.rate, self.load.arrival) {
            (Some(rate), Arrival::Poisson) => {
                let chance = Chance::new(self.load.seed).within("core", u64::from(core));
                Pace::poisson(rate, cores, start, chance.stream("arrivals"))
            }
            (rate, Arrival::Constant | Arrival::Poisson) => Pace::new(rate, core, cores, start),
        }
    }

    /// Sends nothing more. What was due before `until` and not sent is counted.
    pub(super) fn stop(
        &mut self,
        now: Now,
        until: Instant,
        cut_short: bool,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let from = self.window.from;
        let unsent = if self.left == Some(0) { 0 } else { self.pace.untaken(from, until) };
        self.outcomes.tally.fail(Kind::Unsent, unsent, true);
        self.outcomes.offered = self.pace.is_open().then_some(self.taken + unsent);
        self.outcomes.measured = Some(until.since(from));
        self.outcomes.cut_short = cut_short;
        self.window.until = Some(until);
        self.stage = Stage::Stopping;
        // The last requests have their whole time, and a tick finds those that are over it.
        let patience = self.load.timeout + TICK * (2 * OVERDUE_TICKS as u32);
        self.stop_by = Some(self.stop_by.unwrap_or(now.at + patience));
        self.go_on(now, out);
    }

    pub(super) fn over(&mut self, out: &mut impl Outbox<Said = Said>) {
        if self.stage != Stage::Over || !self.reported {
            self.stage = Stage::Over;
            self.reported = true;
            for timer in [TIMER_TICK, TIMER_PACE, TIMER_END, TIMER_RAMP] {
                out.wake(timer, None);
            }
            if let (Some(0), Some(measured)) = (self.left, &mut self.outcomes.measured) {
                // So many requests take as long as their last reply, not as their last sending.
                *measured = (*measured).max(self.last_reply.since(self.window.from));
            }
            self.outcomes.tally.close();
            out.drained();
        }
    }

    pub(super) fn tick(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let late = now.at.since(self.last_tick + TICK);
        let written = self.outcomes.tally.written;
        let worked = WORK_MAX * (self.work + written - self.written_before) as u32;
        (self.work, self.written_before) = (0, written);
        if self.stage == Stage::Running {
            if now.at >= self.window.from {
                self.outcomes.tally.hiccup.saturating_record(late.as_micros() as u64);
                if late > STALL_MIN + worked {
                    self.outcomes.stalled += late - worked;
                }
            }
            self.outcomes.tally.turn_to(self.window.second(now.at));
        }
        self.last_tick = now.at;
        self.ticks += 1;
        if self.ticks.is_multiple_of(OVERDUE_TICKS) {
            self.close_overdue(now, out);
            self.again.append(&mut self.again_later);
        }
        self.dialler.later_is_now(now.at);
        self.dial_more(now, out);
        if self.stop_by.is_some_and(|by| by <= now.at) {
            match self.stage {
                Stage::Stopping => self.give_up(now, out),
                Stage::LookingBack => return self.over(out),
                Stage::Connecting | Stage::Loading | Stage::Running | Stage::Over => {}
            }
        }
        self.go_on(now, out);
        if self.stage != Stage::Over {
            out.wake(TIMER_TICK, Some(now.at + TICK));
        }
    }

    /// What was not answered by now counts as overdue, and its connections are closed.
    fn give_up(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        for place in 0..self.places() {
            let Some(conn) = self.sessions.conn(place) else { continue };
            out.close(conn, Close::Now);
            self.lose(now, place, Kind::Timeout, Kind::Timeout);
        }
        self.expire_waiting(now.at + TICK);
    }

    /// Closes connections whose oldest request is overdue.
    pub(super) fn close_overdue(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let allowed = machine::time::nanos(self.load.timeout);
        let then = Instant::from_nanos(now.at.nanos().saturating_sub(allowed));
        self.expire_waiting(then);
        let mut from = 0;
        while let Some(place) = self.sessions.overdue(from, then) {
            if let Some(conn) = self.sessions.conn(place) {
                out.close(conn, Close::Now);
            }
            self.lose(now, place, Kind::Timeout, Kind::Timeout);
            from = place;
        }
    }

    pub(super) fn places(&self) -> u32 {
        self.sessions.places() as u32
    }
}
