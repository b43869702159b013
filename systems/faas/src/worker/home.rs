//! The connection to the service: made, lost and made again, with pauses that grow. A service that is silent is lost as
//! one that hung up.

use super::config::Config;
use super::zygote::Facts;
use crate::dispatch::{self, Heartbeat, Registration};
use core::time::Duration;
use machine::{Close, ConnId, Dial, Instant, Outbox, Stream};

/// How long a dial may take, and the answer to a registration.
const DIAL_MAX: Duration = Duration::from_secs(5);

/// The pause before the next dial, and the longest.
const PAUSE: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A worker that has nothing to do says so this many times less often.
const IDLE: u32 = 10;

/// The service is lost when it missed so many heartbeats.
const MISSED_MAX: u32 = 3;

/// Tasks a worker holds besides those that run, as long as tasks are quick.
pub const WINDOW: u16 = 64;

/// Where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// There is none; one is made at this instant.
    Absent(Instant),
    /// It is being made, or the service has not answered; given up at this instant.
    Greeting(ConnId, Instant),
    /// The service takes reports and gives tasks.
    Welcome(ConnId),
}

/// The way to the service.
#[derive(Debug)]
pub struct Home {
    stage: Stage,
    /// The service's opening was read.
    pub is_opened: bool,
    failures: u32,
    heartbeat: Duration,
    heard: Instant,
    beat: Instant,
    /// Tasks that were asked for and have not come.
    asked: u32,
    worker: [u8; 16],
    chance: Stream,
}

impl Home {
    /// Not connected yet.
    #[must_use]
    pub fn new(mut chance: Stream) -> Self {
        let mut worker = [0; 16];
        worker[..8].copy_from_slice(&chance.next_u64().to_le_bytes());
        worker[8..].copy_from_slice(&chance.next_u64().to_le_bytes());
        Self {
            stage: Stage::Absent(Instant::ZERO),
            is_opened: false,
            failures: 0,
            heartbeat: Duration::from_secs(1),
            heard: Instant::ZERO,
            beat: Instant::ZERO,
            asked: 0,
            worker,
            chance,
        }
    }

    /// The connection, whatever it is good for yet.
    #[must_use]
    pub fn conn(&self) -> Option<ConnId> {
        match self.stage {
            Stage::Absent(_) => None,
            Stage::Greeting(conn, _) | Stage::Welcome(conn) => Some(conn),
        }
    }

    /// The connection, if the service has taken us.
    #[must_use]
    pub fn welcome(&self) -> Option<ConnId> {
        match self.stage {
            Stage::Welcome(conn) => Some(conn),
            Stage::Absent(_) | Stage::Greeting(..) => None,
        }
    }

    /// When something is due. Before the zygote is ready nothing is.
    #[must_use]
    pub fn due(&self, is_busy: bool) -> Instant {
        match self.stage {
            Stage::Absent(at) | Stage::Greeting(_, at) => at,
            Stage::Welcome(_) => self.next_beat(is_busy),
        }
    }

    fn next_beat(&self, is_busy: bool) -> Instant {
        self.beat + if is_busy { self.heartbeat } else { self.heartbeat * IDLE }
    }

    /// Connects and says who we are.
    pub fn dial<S>(&mut self, now: Instant, config: &Config, facts: &Facts, out: &mut impl Outbox<Said = S>) {
        let conn = out.dial(Dial { to: config.service.clone(), from: None, tls: None, by: now + DIAL_MAX });
        let mut bytes = Vec::new();
        dispatch::write_opening(&mut bytes);
        let registration = Registration {
            worker: self.worker,
            mode: config.mode,
            slots: config.slots,
            window: WINDOW,
            pid: config.pid,
            python: &facts.python,
            dill: &facts.dill,
            token: &config.token,
            jails: facts.jails,
            remarks: &facts.remarks,
        };
        dispatch::write_registration(&mut bytes, &registration);
        out.write(conn, &bytes);
        self.stage = Stage::Greeting(conn, now + DIAL_MAX);
        self.is_opened = false;
    }

    /// The service takes us.
    pub fn welcomed(&mut self, heartbeat: Duration, now: Instant) {
        if let Stage::Greeting(conn, _) = self.stage {
            self.stage = Stage::Welcome(conn);
        }
        self.heartbeat = heartbeat.max(Duration::from_millis(10));
        (self.failures, self.asked, self.heard, self.beat) = (0, 0, now, now);
    }

    /// It said something.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The connection is no more: when it is made again. Says how often in a row it came to nothing.
    pub fn lost(&mut self, now: Instant) -> u32 {
        let pause = PAUSE.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
        // Workers that lost one service together do not come back together.
        let pause =
            pause / 2 + Duration::from_nanos(self.chance.below(machine::time::nanos(pause / 2).max(1)));
        self.stage = Stage::Absent(now + pause);
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// Ends the connection ourselves.
    pub fn hang_up<S>(&mut self, how: Close, out: &mut impl Outbox<Said = S>) {
        if let Some(conn) = self.conn() {
            out.close(conn, how);
        }
    }

    /// Says that we are there, when that is due. False: the service has been silent for too long.
    pub fn beat<S>(&mut self, beat: Heartbeat, now: Instant, out: &mut impl Outbox<Said = S>) -> bool {
        let Stage::Welcome(conn) = self.stage else { return true };
        let is_busy = beat.running + beat.waiting > 0;
        if self.next_beat(is_busy) > now {
            return true;
        }
        // Of a beat that was never said, no answer can be missed.
        if self.beat > self.heard && now - self.heard > self.heartbeat * MISSED_MAX {
            return false;
        }
        self.say_beat(conn, beat, now, out);
        true
    }

    /// Says it now.
    pub fn say_beat<S>(
        &mut self,
        conn: ConnId,
        beat: Heartbeat,
        now: Instant,
        out: &mut impl Outbox<Said = S>,
    ) {
        let mut bytes = Vec::new();
        dispatch::write_heartbeat(&mut bytes, beat);
        out.write(conn, &bytes);
        self.beat = now;
    }

    /// A task came.
    pub fn got(&mut self) {
        self.asked = self.asked.saturating_sub(1);
    }

    /// Asks for what there is room for. Not for every single one while there are many: a request a task would double
    /// what the service reads.
    pub fn ask<S>(&mut self, room: usize, out: &mut impl Outbox<Said = S>) {
        let Stage::Welcome(conn) = self.stage else { return };
        let more = u32::try_from(room).unwrap_or(u32::MAX).saturating_sub(self.asked);
        if more > 0 && (more >= self.asked / 4 || self.asked < 4) {
            let mut bytes = Vec::new();
            dispatch::write_request(&mut bytes, more);
            out.write(conn, &bytes);
            self.asked += more;
        }
    }
}
