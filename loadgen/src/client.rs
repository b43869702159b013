//! One core's share of the load: a shard like any other, so that what it claims about time is tested in time that
//! is simulated. This file routes: what is due is `pace`'s to say, which connection carries it `session`'s, what
//! is asked `workload`'s, how it counts `tally`'s.
//!
//! The one hard thing is that measuring must not change what is measured: nothing is allocated for a request,
//! there is one tick for the whole core and no timer for a request, and replies that have come are read before
//! anything new leaves (writes leave at the end of a turn, and a full batch of replies comes before).

use crate::dialler::{Dialler, Step, dial};
use crate::pace::{Next, Pace};
use crate::plan::Load;
use crate::protocol::Answer;
use crate::session::{Asked, Right, Sessions};
use crate::stage::{ArchivedSaid, Muster, Said, Stage, Window};
use crate::tally::{Kind, Tally, Times};
use crate::workload::{Operation, Operations, Verb, write_key, write_value};
use machine::{
    Blob, Chance, Close, ConnId, CoreId, End, Gauges, Input, Instant, Now, Opened, Order, Outbox, Peer, Seat,
    Shard, TimerId,
};
use std::time::Duration;
use wire::Outcome;

/// The tick: a request that is overdue, a connection to be replaced, a stall of the machine is found within it.
pub const TICK: Duration = Duration::from_millis(10);
/// A tick later than this is time that the machine took from us, not a long turn of ours.
const STALL_MIN: Duration = Duration::from_millis(10);
/// Every so many ticks connections are looked through for overdue requests.
const OVERDUE_TICKS: u64 = 10;
/// How far ahead the start of the run is set, so that every core hears of it before.
const START_AHEAD: Duration = Duration::from_millis(10);
/// Requests that one event may send; the rest follows in the next turn, after what has come by then.
const BURST_MAX: usize = 1024;
/// Requests in flight, over all connections of a core, that loading aims at.
const LOAD_DEPTH: usize = 64;
/// Bytes of values in flight that loading keeps under.
const LOAD_FLIGHT_BYTES: usize = 8 << 20;

const TIMER_TICK: TimerId = TimerId(0);
const TIMER_PACE: TimerId = TimerId(1);
const TIMER_END: TimerId = TimerId(2);
const TIMER_RAMP: TimerId = TimerId(3);

/// What one core knows at the end of a run.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// What was counted.
    pub tally: Tally,
    /// Connections that were open when the run began.
    pub connected: u64,
    /// The time that was measured; none when the run never began.
    pub measured: Option<Duration>,
    /// Requests that were due in that time; none in a closed loop.
    pub offered: Option<u64>,
    /// Of the measured time, what the machine took from us without being asked.
    pub stalled: Duration,
    /// Whether it ended before its end: by order, or because no connection was left.
    pub cut_short: bool,
}

/// One core's share of the load.
#[derive(Debug)]
pub struct Client {
    seat: Seat,
    load: Load,
    stage: Stage,
    /// Whether core 0 was told that this core has finished its stage.
    reported: bool,
    /// Core 0 only.
    muster: Muster,
    sessions: Sessions,
    dialler: Dialler,
    operations: Operations,
    pace: Pace,
    window: Window,
    /// Measured requests still to be sent, where they are counted.
    left: Option<u64>,
    /// The next key to be written before the run.
    next_load: u64,
    /// For when the pace's timer is set.
    paced: Option<Instant>,
    ticks: u64,
    last_tick: Instant,
    /// Give up waiting for replies then.
    stop_by: Option<Instant>,
    outcomes: Outcomes,
    message: Vec<u8>,
    key: Vec<u8>,
    value: Vec<u8>,
}

impl Client {
    /// What this core found, when all is over.
    #[must_use]
    pub fn into_outcomes(self) -> Outcomes {
        self.outcomes
    }

    fn dial_more(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
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
    fn go_on(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
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
    fn finished(&mut self, out: &mut impl Outbox<Said = Said>) {
        if !self.reported {
            self.reported = true;
            out.tell(CoreId(0), Said::Finished(self.sessions.open() as u64), None);
        }
    }

    fn begin(&mut self, now: Now, stage: Stage, at: Instant, out: &mut impl Outbox<Said = Said>) {
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

    fn load_more(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
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
    fn send_due(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
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

    fn asked(
        &self,
        operation: Operation,
        due: Instant,
        ready: Instant,
        sent: Instant,
        measured: bool,
    ) -> Asked {
        Asked { due, ready, sent, key: operation.key, verb: operation.verb, measured }
    }

    fn write(
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
    fn pace_at(&mut self, at: Instant, out: &mut impl Outbox<Said = Said>) {
        if self.paced != Some(at) {
            self.paced = Some(at);
            out.wake(TIMER_PACE, Some(at));
        }
    }

    /// Sends nothing more. What was due before `until` and not sent is counted.
    fn stop(&mut self, now: Now, until: Instant, cut_short: bool, out: &mut impl Outbox<Said = Said>) {
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

    fn over(&mut self, out: &mut impl Outbox<Said = Said>) {
        if self.stage != Stage::Over || !self.reported {
            self.stage = Stage::Over;
            self.reported = true;
            for timer in [TIMER_TICK, TIMER_PACE, TIMER_END, TIMER_RAMP] {
                out.wake(timer, None);
            }
            self.outcomes.tally.close();
            out.drained();
        }
    }

    /// A reply to what was asked.
    fn count(&mut self, now: Now, asked: Asked, answer: Answer<'_>, received: Instant) {
        let judged = asked.judge(answer, &self.load);
        let tally = &mut self.outcomes.tally;
        if let Answer::Refused(text) = answer {
            tally.refusal(text);
        }
        match judged {
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
    fn lose(&mut self, now: Now, place: u32, kind: Kind, in_flight: Kind) {
        let measured = match self.stage {
            Stage::Connecting => true,
            Stage::Loading => false,
            Stage::Running | Stage::Stopping | Stage::Over => now.at >= self.window.from,
        };
        let (was_open, lost) = self.sessions.ended(place);
        let tally = &mut self.outcomes.tally;
        for asked in lost {
            tally.fail(in_flight, 1, asked.measured);
        }
        if kind != in_flight {
            tally.fail(kind, 1, measured);
        }
        match was_open {
            true if matches!(self.stage, Stage::Loading | Stage::Running) => self.dialler.want(place),
            true => {}
            false => self.dialler.ended(),
        }
    }

    /// Closes connections whose oldest request is overdue.
    fn close_overdue(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
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

    fn tick(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
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

    fn places(&self) -> u32 {
        Load::share(u64::from(self.load.connections), self.seat.core.0, self.seat.cores) as u32
    }
}

impl Shard for Client {
    type Config = Load;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, load: &Load, _chance: Chance) -> Self {
        let (core, cores) = (seat.core.0, seat.cores);
        let places = Load::share(u64::from(load.connections), core, cores) as u32;
        let window = Window { start: Instant::ZERO, from: Instant::ZERO, until: None };
        Self {
            seat,
            load: load.clone(),
            stage: Stage::Connecting,
            reported: false,
            muster: Muster::new(cores, load.preload),
            sessions: Sessions::new(load, places as usize, load.pipeline as usize),
            dialler: Dialler::new(load, places, core, cores, Instant::ZERO),
            operations: Operations::new(load, core, cores),
            pace: Pace::Closed,
            window,
            left: load.requests.map(|requests| Load::share(requests, core, cores)),
            next_load: u64::from(core),
            paced: None,
            ticks: 0,
            last_tick: Instant::ZERO,
            stop_by: None,
            outcomes: Outcomes {
                tally: Tally::default(),
                connected: 0,
                measured: None,
                offered: None,
                stalled: Duration::ZERO,
                cut_short: false,
            },
            message: Vec::with_capacity(load.key_size + load.value_size + 64),
            key: Vec::with_capacity(load.key_size),
            value: Vec::with_capacity(load.value_size),
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.dialler = Dialler::new(&self.load, self.places(), self.seat.core.0, self.seat.cores, now.at);
        self.last_tick = now.at;
        out.wake(TIMER_TICK, Some(now.at + TICK));
        self.go_on(now, out);
    }

    fn on_open(&mut self, now: Now, conn: ConnId, _how: Opened, out: &mut impl Outbox<Said = Said>) {
        let Some(place) = self.sessions.place_of(conn) else { return };
        self.dialler.ended();
        let dialled_at = self.sessions.opened(place, &self.load, now.at);
        if self.stage == Stage::Connecting {
            let micros = now.at.nanos_since(dialled_at) / 1000;
            self.outcomes.tally.connect.saturating_record(micros);
        }
        self.go_on(now, out);
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(place) = self.sessions.place_of(conn) else { return };
        if self.stage >= Stage::Running {
            self.outcomes.tally.turn_to(self.window.second(now.at));
        }
        let (received, flushed) = (input.received_at, input.sent_at);
        while !input.bytes().is_empty() {
            let read = match self.sessions.reader(place).next(input.bytes()) {
                Outcome::Done { value, used } => {
                    self.sessions.answered(place, received, flushed).map(|asked| (asked, value, used))
                }
                Outcome::Partial { need } => {
                    if need >= machine::blob::BLOB_MIN {
                        input.need(need);
                    }
                    break;
                }
                Outcome::Fault(_) => None,
            };
            let Some((asked, answer, used)) = read else {
                out.close(conn, Close::Now);
                self.lose(now, place, Kind::Malformed, Kind::Lost);
                break;
            };
            self.count(now, asked, answer, received);
            input.used(used);
        }
        self.go_on(now, out);
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        let Some(place) = self.sessions.place_of(conn) else { return };
        match end {
            End::Half => {
                out.close(conn, Close::Now);
                self.lose(now, place, Kind::Closed, Kind::Lost);
            }
            End::Gone(why) => {
                let kind = match self.sessions.is_open(place) {
                    true => Kind::of_connection(why),
                    false => Kind::of_dial(why),
                };
                self.lose(now, place, kind, Kind::Lost);
            }
        }
        self.go_on(now, out);
    }

    fn on_peer(
        &mut self,
        now: Now,
        _from: Peer,
        heard: &ArchivedSaid,
        _blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        match heard {
            ArchivedSaid::Finished(open) => {
                let Some(stage) = self.muster.finished(open.to_native()) else { return };
                let at_nanos = (now.at + START_AHEAD).nanos();
                for core in self.seat.all_cores() {
                    out.tell(core, Said::Begin(stage as u8, at_nanos), None);
                }
            }
            ArchivedSaid::Begin(stage, at_nanos) => {
                if let Some(stage) = Stage::numbered(*stage) {
                    self.begin(now, stage, Instant::from_nanos(at_nanos.to_native()), out);
                }
            }
        }
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        match timer {
            TIMER_TICK => self.tick(now, out),
            TIMER_PACE => {
                self.paced = None;
                self.go_on(now, out);
            }
            TIMER_END if self.stage == Stage::Running => {
                // What was due a moment ago and can go, goes.
                self.send_due(now, out);
                if let (Stage::Running, Some(until)) = (self.stage, self.window.until) {
                    self.stop(now, until, false, out);
                }
            }
            TIMER_RAMP => self.dial_more(now, out),
            _ => {}
        }
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Load>, out: &mut impl Outbox<Said = Said>) {
        match (order, self.stage) {
            (Order::Reload(_), _) | (Order::Drain { .. }, Stage::Over) => {}
            (Order::Drain { .. }, Stage::Connecting | Stage::Loading) => {
                self.outcomes.cut_short = true;
                self.over(out);
            }
            (Order::Drain { by }, Stage::Running | Stage::Stopping) => {
                let margin = machine::time::nanos(TICK * 10);
                self.stop_by = Some(Instant::from_nanos(by.nanos().saturating_sub(margin)));
                if self.stage == Stage::Running {
                    self.stop(now, now.at.max(self.window.from), true, out);
                }
            }
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        let tally = &self.outcomes.tally;
        let (second, errors, response) = tally.last_second();
        let failed = tally.errors.sum() + tally.errors_before.sum();
        into.level("loadgen_stage", "what this core is doing", self.stage as i64);
        into.level("loadgen_second", "the last whole second of the run", second as i64);
        into.level("loadgen_open", "connections open", self.sessions.open() as i64);
        into.level("loadgen_second_errors", "failures in the last whole second", errors as i64);
        into.counter("loadgen_loaded_total", "keys written before the run", tally.loaded);
        into.counter("loadgen_answered_total", "measured requests answered", tally.answered);
        into.counter("loadgen_errors_total", "failures", failed);
        into.spread("loadgen_second_response_us", "response times in the last whole second", response);
    }
}
