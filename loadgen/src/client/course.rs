//! The course of a run on one core: connect, load, run, stop, each step gone as far as it can go now. Every event
//! ends in [`Client::go_on`]; nothing is remembered of what to do next but the stage itself.

use super::{
    Client, LOAD_DEPTH, OVERDUE_TICKS, STALL_MIN, TICK, TIMER_END, TIMER_PACE, TIMER_RAMP, TIMER_TICK,
};
use crate::dialler::{Step, dial};
use crate::pace::Pace;
use crate::plan::Load;
use crate::stage::{Said, Stage, Window};
use crate::tally::Kind;
use machine::{Close, CoreId, Instant, Now, Outbox};

impl Client {
    pub(super) fn dial_more(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        loop {
            match self.dialler.next(now.at) {
                Step::Dial(place) => {
                    let conn = out.dial(dial(&self.load, place, now.at + self.load.timeout));
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
            Stage::Loading => self.load_more(now, out),
            Stage::Running => self.send_due(now, out),
            Stage::Stopping if self.sessions.in_flight() == 0 => self.over(out),
            Stage::Stopping | Stage::Over => {}
        }
    }

    /// Tells core 0, once a stage.
    pub(super) fn finished(&mut self, out: &mut impl Outbox<Said = Said>) {
        if !self.reported {
            self.reported = true;
            out.tell(CoreId(0), Said::Finished(self.sessions.open() as u64), None);
        }
    }

    pub(super) fn begin(&mut self, now: Now, stage: Stage, at: Instant, out: &mut impl Outbox<Said = Said>) {
        if self.stage >= Stage::Stopping {
            return;
        }
        self.reported = false;
        self.stage = stage;
        let pipeline = self.load.pipeline as usize;
        match stage {
            Stage::Loading => {
                let places = self.sessions.open().max(1);
                self.sessions.set_depth(pipeline.max(LOAD_DEPTH / places));
                self.load_more(now, out);
            }
            Stage::Running => {
                self.sessions.set_depth(pipeline);
                let from = at + self.load.warm_up;
                let until = self.load.duration.map(|duration| from + duration);
                self.window = Window { start: at, from, until };
                self.pace = Pace::new(self.load.rate, self.seat.core.0, self.seat.cores, at);
                self.outcomes.connected = self.sessions.open() as u64;
                self.pace_at(at, out);
                out.wake(TIMER_END, until);
            }
            Stage::Connecting | Stage::Stopping | Stage::Over => self.over(out),
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
        if self.left != Some(0) {
            let unsent = self.pace.untaken(from, until);
            self.outcomes.tally.fail(Kind::Unsent, unsent, true);
        }
        self.outcomes.offered = self.pace.offered(from, until).map(|all| match self.load.requests {
            Some(_) => all - self.pace.untaken(from, until),
            None => all,
        });
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
        if self.stage == Stage::Running {
            if late > STALL_MIN && now.at >= self.window.from {
                self.outcomes.stalled += late;
            }
            self.outcomes.tally.turn_to(self.window.second(now.at));
        }
        self.last_tick = now.at;
        self.ticks += 1;
        if self.ticks.is_multiple_of(OVERDUE_TICKS) {
            self.close_overdue(now, out);
        }
        self.dial_more(now, out);
        if self.stage == Stage::Stopping && self.stop_by.is_some_and(|by| by <= now.at) {
            for place in 0..self.places() {
                self.lose(now, place, Kind::Timeout, Kind::Timeout);
            }
        }
        self.go_on(now, out);
        if self.stage != Stage::Over {
            out.wake(TIMER_TICK, Some(now.at + TICK));
        }
    }

    /// Closes connections whose oldest request is overdue.
    pub(super) fn close_overdue(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let allowed = machine::time::nanos(self.load.timeout);
        let then = Instant::from_nanos(now.at.nanos().saturating_sub(allowed));
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
        Load::share(u64::from(self.load.connections), self.seat.core.0, self.seat.cores) as u32
    }
}
