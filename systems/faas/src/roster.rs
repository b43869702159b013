//! The workers that are connected to one core: what each offers, what it has, and who is given the next task.
//!
//! The one hard thing is how many tasks a worker is given beyond those that run. A worker with a reserve never waits
//! for the next, but a task in reserve waits for the one before it while another worker may be free. So only what is
//! known to be short is given in reserve, and of it only so much as is done in a few milliseconds.

use crate::dispatch::{Jail, Mode, Registration, Session};
use crate::task::Job;
use crate::uuid::Uuid;
use machine::{ConnId, CoreId, Instant};
use std::collections::{BTreeMap, BTreeSet};

/// How much work a slot has in reserve at most, in microseconds.
const RESERVE_US: u64 = 4000;

/// A function is short when it ran so long lately, in microseconds.
const SHORT_US: u64 = 1000;

/// What a call costs a slot beside its run, in microseconds: so no number of short ones is free.
const CALL_US: u64 = 20;

/// A worker.
#[derive(Debug)]
pub struct Worker {
    /// Its connection.
    pub conn: ConnId,
    /// What its reports must name: so what is left of an earlier connection does not count on this one.
    pub session: Session,
    /// Who it is, once it has said so.
    pub about: Option<About>,
    /// The opening was read.
    pub is_opened: bool,
    /// Tasks it asked for (pull) and was not given.
    pub asked: u32,
    /// It leaves, or said that it has no room: nothing for it until it says otherwise.
    pub is_closed: bool,
    /// Its connection takes nothing for now.
    pub is_stuffed: bool,
    /// Functions whose bytes it has.
    pub knows: BTreeSet<Uuid>,
    flights: BTreeMap<(Uuid, u32), Flight>,
    load_us: u64,
    sent: u64,
    /// When it last said something, or was given the first task of several.
    pub heard_at: Instant,
    /// Tasks that came back.
    pub done: u64,
    /// Tasks that came back failed.
    pub failed: u64,
    /// What is written to it at the end of this event.
    pub batch: Vec<Job>,
}

/// Who a worker is.
#[derive(Clone, Debug)]
pub struct About {
    /// Drawn when it started.
    pub id: Uuid,
    /// How it gets tasks.
    pub mode: Mode,
    /// How many run at once.
    pub slots: u32,
    /// How many more it holds.
    pub window: u32,
    /// Its process.
    pub pid: u32,
    /// Its Python.
    pub python: Box<str>,
    /// Its dill.
    pub dill: Box<str>,
    /// Which jails hold.
    pub jails: Vec<Jail>,
    /// Why others do not.
    pub remarks: Box<str>,
}

impl About {
    /// As it registers.
    #[must_use]
    pub fn new(registration: &Registration<'_>) -> Self {
        Self {
            id: Uuid(u128::from_be_bytes(registration.worker)),
            mode: registration.mode,
            slots: registration.slots.into(),
            window: registration.window.into(),
            pid: registration.pid,
            python: registration.python.into(),
            dill: registration.dill.into(),
            jails: registration.jails().collect(),
            remarks: registration.remarks.into(),
        }
    }
}

/// A task that a worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// Where it lives.
    pub owner: CoreId,
    /// What it calls.
    pub function: Uuid,
    /// How long it is thought to take.
    cost_us: u64,
    order: u64,
}

impl Worker {
    fn new(conn: ConnId, session: Session, now: Instant) -> Self {
        Self {
            conn,
            session,
            about: None,
            is_opened: false,
            asked: 0,
            is_closed: false,
            is_stuffed: false,
            knows: BTreeSet::new(),
            flights: BTreeMap::new(),
            load_us: 0,
            sent: 0,
            heard_at: now,
            done: 0,
            failed: 0,
            batch: Vec::new(),
        }
    }

    /// Tasks that it has.
    #[must_use]
    pub fn has(&self) -> u32 {
        self.flights.len() as u32
    }

    /// How many more it may be given of tasks that are thought to run so long.
    #[must_use]
    pub fn room(&self, ran_us: Option<u64>) -> u32 {
        let Some(about) = self.about.as_ref().filter(|_| !self.is_closed && !self.is_stuffed) else {
            return 0;
        };
        let free = about.slots.saturating_sub(self.has());
        let room = match ran_us.filter(|ran| *ran <= SHORT_US) {
            None => free,
            Some(ran) => {
                let held = (about.slots + about.window).saturating_sub(self.has());
                let reserve =
                    (u64::from(about.slots) * RESERVE_US).saturating_sub(self.load_us) / (ran + CALL_US);
                free.max(held.min(reserve as u32))
            }
        };
        match about.mode {
            Mode::Pull => room.min(self.asked),
            Mode::Push => room,
        }
    }

    /// It is given a task.
    pub fn give(&mut self, job: Job, ran_us: Option<u64>, now: Instant) {
        if self.flights.is_empty() {
            self.heard_at = now;
        }
        self.sent += 1;
        self.asked = self.asked.saturating_sub(1);
        // What is not known is thought to be long: nothing is put in reserve behind it.
        let cost_us = ran_us.map_or(RESERVE_US, |ran| ran + CALL_US);
        self.load_us += cost_us;
        let flight = Flight { owner: job.owner, function: job.function, cost_us, order: self.sent };
        self.flights.insert((job.task, job.attempt), flight);
        self.batch.push(job);
    }

    /// A task came back; none when it did not have that attempt.
    pub fn take_back(&mut self, task: Uuid, attempt: u32) -> Option<Flight> {
        let flight = self.flights.remove(&(task, attempt))?;
        self.load_us -= flight.cost_us;
        Some(flight)
    }

    /// Whether it has that attempt.
    #[must_use]
    pub fn is_flying(&self, task: Uuid, attempt: u32) -> bool {
        self.flights.contains_key(&(task, attempt))
    }

    /// Everything that it has, in the order in which it was given; and how many of the first may have begun.
    pub fn lose(&mut self) -> (Vec<(Uuid, u32, Flight)>, usize) {
        let mut flights: Vec<_> = core::mem::take(&mut self.flights)
            .into_iter()
            .map(|((task, attempt), flight)| (task, attempt, flight))
            .collect();
        flights.sort_unstable_by_key(|(_, _, flight)| flight.order);
        self.load_us = 0;
        let begun = self.about.as_ref().map_or(0, |about| 2 * about.slots as usize);
        (flights, begun)
    }
}

/// The workers of one core.
#[derive(Debug, Default)]
pub struct Roster {
    workers: BTreeMap<ConnId, Worker>,
}

impl Roster {
    /// Somebody connected.
    pub fn open(&mut self, conn: ConnId, session: Session, now: Instant) {
        self.workers.insert(conn, Worker::new(conn, session, now));
    }

    /// The worker of that connection.
    pub fn get(&mut self, conn: ConnId) -> Option<&mut Worker> {
        self.workers.get_mut(&conn)
    }

    /// It is gone.
    pub fn close(&mut self, conn: ConnId) -> Option<Worker> {
        self.workers.remove(&conn)
    }

    /// All.
    pub fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.workers.values()
    }

    /// All, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.workers.values_mut()
    }

    /// Who is given the next task of that length: of those with room, the one with least for each slot.
    pub fn best(&mut self, ran_us: Option<u64>) -> Option<&mut Worker> {
        let load = |worker: &Worker| {
            let slots = worker.about.as_ref().map_or(1, |about| about.slots.max(1));
            (worker.has() * 1000 / slots, worker.load_us / u64::from(slots))
        };
        self.workers.values_mut().filter(|worker| worker.room(ran_us) > 0).min_by_key(|worker| load(worker))
    }

    /// How many tasks could run at once if they came now.
    #[must_use]
    pub fn free_slots(&self) -> u32 {
        self.iter().map(|worker| worker.room(None)).sum()
    }

    /// Whether anybody has a task.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.iter().any(|worker| worker.has() > 0)
    }

    /// Whether nobody is connected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }
}
