//! One core's share of the load: a shard like any other, so that what it claims about time is tested in time that
//! is simulated. This file routes: what is due is `pace`'s to say, which connection carries it `session`'s, what
//! is asked `workload`'s, how it counts `tally`'s.
//!
//! The one hard thing is that measuring must not change what is measured: nothing is allocated for a request,
//! there is one tick for the whole core and no timer for a request, and replies that have come are read before
//! anything new leaves (writes leave at the end of a turn, and a full batch of replies comes before).

mod asking;
mod course;
#[cfg(test)]
mod http_tests;
mod keeping;
mod routed;
#[cfg(test)]
mod routed_tests;
#[cfg(test)]
mod tests;

use crate::dialler::Dialler;
use crate::history::History;
use crate::pace::Pace;
use crate::plan::{Load, Part};
use crate::protocol::Answer;
use crate::routing::{Redirect, Routing};
use crate::session::Sessions;
use crate::stage::{ArchivedSaid, Muster, Said, Stage, Window};
use crate::tally::{Kind, Tally};
use crate::workload::Operations;
use machine::{
    Blob, Chance, Close, ConnId, End, Gauges, Input, Instant, Now, Opened, Order, Outbox, Peer, Seat, Shard,
    TimerId, WallTime,
};
use std::time::Duration;
use wire::Outcome;

/// The tick: a request that is overdue, a connection to be replaced, a stall of the machine is found within it.
pub const TICK: Duration = Duration::from_millis(1);
/// A tick later than this, and than our own work since the one before explains, is time that the machine took from
/// us without asking: a timer's precision and the executor's own moments are under it.
const STALL_MIN: Duration = Duration::from_millis(1);
/// What writing a request, or reading a reply, may take of a turn, sending and receiving and all: twice what they
/// do take.
const WORK_MAX: Duration = Duration::from_micros(10);
/// Every so many ticks connections are looked through for overdue requests.
const OVERDUE_TICKS: u64 = 100;
/// How far ahead the start of the run is set, so that every core hears of it before.
const START_AHEAD: Duration = Duration::from_millis(10);
/// Requests that one event may send; the rest follows in the next turn, after what has come by then.
const BURST_MAX: usize = 1024;
/// Requests in flight, over all connections of a core, that loading aims at.
const LOAD_DEPTH: usize = 64;
/// Bytes of values in flight that loading keeps under.
const LOAD_FLIGHT_BYTES: usize = 8 << 20;
/// How long reading every key after a run may take: a node that was killed is back by then, or its keys stay unread.
const LOOK_BACK_MAX: Duration = Duration::from_secs(30);

const TIMER_TICK: TimerId = TimerId(0);
const TIMER_PACE: TimerId = TimerId(1);
const TIMER_END: TimerId = TimerId(2);
const TIMER_RAMP: TimerId = TimerId(3);

/// What one core knows at the end of a run.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// What was counted.
    pub tally: Tally,
    /// Connections that were to be made.
    pub places: u64,
    /// Connections that were open when the run began.
    pub connected: u64,
    /// The time that was measured; none when the run never began.
    pub measured: Option<Duration>,
    /// Requests that were due in that time; none in a closed loop.
    pub offered: Option<u64>,
    /// Of the measured time, what the machine took from us without being asked.
    pub stalled: Duration,
    /// Whether it ended before its end: by order, because no connection was left, or because no more could be kept.
    pub cut_short: bool,
    /// When the run began, warm-up and all; none when it never did.
    pub started: Option<WallTime>,
    /// Every read and write, where they are kept.
    pub history: Option<History>,
}

/// One core's share of the load.
#[derive(Debug)]
pub struct Client {
    seat: Seat,
    /// This core's number among all of the run, and how many those are, on this machine and others.
    core: u16,
    cores: u16,
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
    /// In a cluster: which node has what, and what waits for it.
    routing: Option<Routing>,
    /// Measured requests of the pace that were taken.
    taken: u64,
    /// Replies read since the last tick, and requests written by then.
    work: u64,
    written_before: u64,
    /// Measured requests still to be sent, where they are counted.
    left: Option<u64>,
    /// The next key to be written before the run, or read after it.
    next_load: u64,
    /// Keys whose reading after the run failed: to be tried again, and from the next look at what is overdue on.
    again: Vec<u64>,
    again_later: Vec<u64>,
    /// For when the pace's timer is set.
    paced: Option<Instant>,
    ticks: u64,
    last_tick: Instant,
    /// When the last reply was read.
    last_reply: Instant,
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
}

impl Shard for Client {
    type Config = Load;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, load: &Load, _chance: Chance) -> Self {
        let alone = Part { first: 0, all: seat.cores };
        let Part { first, all: cores } = load.part.unwrap_or(alone);
        let core = first + seat.core.0;
        let nodes = load.owners.as_ref().map_or(1, |_| load.targets.len());
        let places = Load::share(u64::from(load.connections), core, cores) as u32;
        // Every node of a cluster is reached from every core.
        let places = if load.owners.is_some() { places.max(nodes as u32) } else { places };
        let window = Window { start: Instant::ZERO, from: Instant::ZERO, until: None };
        Self {
            seat,
            core,
            cores,
            load: load.clone(),
            stage: Stage::Connecting,
            reported: false,
            muster: Muster::new(seat.cores, load.preload),
            sessions: Sessions::new(load, places as usize, load.pipeline as usize, nodes),
            dialler: Dialler::new(load, places, core, cores, Instant::ZERO),
            operations: Operations::new(load, core, cores),
            pace: Pace::Closed,
            window,
            routing: load.owners.as_ref().map(|owners| Routing::new(&load.targets, owners)),
            taken: 0,
            work: 0,
            written_before: 0,
            left: load.requests.map(|requests| Load::share(requests, core, cores)),
            next_load: u64::from(core),
            again: Vec::new(),
            again_later: Vec::new(),
            paced: None,
            ticks: 0,
            last_tick: Instant::ZERO,
            last_reply: Instant::ZERO,
            stop_by: None,
            outcomes: Outcomes {
                tally: Tally::default(),
                places: u64::from(places),
                connected: 0,
                measured: None,
                offered: None,
                stalled: Duration::ZERO,
                cut_short: false,
                started: None,
                history: load.history.then(|| History::new(core)),
            },
            message: Vec::with_capacity(load.key_size + load.values.most() + 64),
            key: Vec::with_capacity(load.key_size),
            value: Vec::with_capacity(load.values.most()),
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.dialler = Dialler::new(&self.load, self.places(), self.core, self.cores, now.at);
        self.last_tick = now.at;
        out.wake(TIMER_TICK, Some(now.at + TICK));
        self.go_on(now, out);
    }

    fn on_open(&mut self, now: Now, conn: ConnId, _how: Opened, out: &mut impl Outbox<Said = Said>) {
        let Some(place) = self.sessions.place_of(conn) else { return };
        let greeting = (self.stage == Stage::Connecting).then(|| self.greet(now, conn, out));
        let dialled_at = self.sessions.opened(place, &self.load, greeting, now.at);
        if greeting.is_none() {
            self.dialler.ended();
        } else {
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
        if matches!(self.stage, Stage::Running | Stage::Stopping) {
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
            input.used(used);
            if let Answer::Refused(text) = answer {
                if self.routing.is_some()
                    && let Some(redirect) = Redirect::read(text)
                {
                    self.redirect(now, asked, redirect, out);
                    continue;
                }
                self.outcomes.tally.listen(answer);
            }
            self.count(now, place, asked, answer, received);
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
                match self.muster.finished(open.to_native()) {
                    // Other machines may not be as far: the word comes from outside, as another configuration does.
                    Some(Stage::Running) if self.load.part.is_some() => out.reread(),
                    Some(stage) => self.all_begin(now, stage, out),
                    None => {}
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
                self.go_on(now, out);
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
            (Order::Reload(_), Stage::Connecting | Stage::Loading) if self.is_first() => {
                self.all_begin(now, Stage::Running, out);
            }
            (Order::Reload(_), _) | (Order::Drain { .. }, Stage::Over) => {}
            (Order::Drain { .. }, Stage::Connecting | Stage::Loading | Stage::LookingBack) => {
                self.outcomes.cut_short |= self.stage != Stage::LookingBack;
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

    fn on_unread(&mut self, _now: Now, _why: &str, out: &mut impl Outbox<Said = Said>) {
        self.outcomes.cut_short = true;
        self.over(out);
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
