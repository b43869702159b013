//! Asking every core what it counts, when somebody wants to know and never otherwise: an idle program that nobody
//! watches is not woken to be counted. A thread outside of all cores waits for the answers; a core never does: they
//! come to it one by one, as controls, and the last makes the gathering whole.

use crate::control::Control;
use crate::io::{Happening, Io};
use crate::lane::Seats;
use flume::{RecvTimeoutError, Sender};
use machine::{CoreId, Gauges, Ticket, TimerId};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long the gauges of a core are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

/// When a gathering of a core's own is given up.
pub(crate) const GATHER_TIMER: TimerId = TimerId(4);

/// Who wants to know what a core counts.
#[derive(Clone)]
pub(crate) enum Asker {
    /// A thread, which waits.
    Thread(Sender<(CoreId, Gauges)>),
    /// A core, for its gathering of that number.
    Core(CoreId, u64),
}

/// Gathers the gauges of a running plan, from any thread. Clones ask the same cores.
#[derive(Clone, Default)]
pub struct Gatherer {
    seats: Arc<OnceLock<Arc<Seats>>>,
}

impl fmt::Debug for Gatherer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gatherer")
    }
}

impl Gatherer {
    /// The gauges of every core, by core. None before the cores run; those of a core that does not answer within a
    /// second are empty.
    #[must_use]
    pub fn gather(&self) -> Vec<Gauges> {
        self.seats.get().map(|seats| gather(seats)).unwrap_or_default()
    }

    pub(crate) fn attach(&self, seats: &Arc<Seats>) {
        // A plan runs once.
        let _ = self.seats.set(seats.clone());
    }
}

/// The gauges of every core, by core.
pub(crate) fn gather(seats: &Seats) -> Vec<Gauges> {
    let cores = seats.controls.len();
    let (answer, answers) = flume::unbounded();
    for core in 0..cores {
        seats.control(CoreId(core as u16), Control::Gather(Asker::Thread(answer.clone())));
    }
    drop(answer);
    let mut all = vec![Gauges::new(); cores];
    let until = Instant::now() + PATIENCE;
    for _ in 0..cores {
        match answers.recv_deadline(until) {
            Ok((core, gauges)) => all[core.index()] = gauges,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    all
}

/// What a core has asked all cores for.
#[derive(Default)]
pub(crate) struct Gatherings {
    /// The number of the front one; they are numbered in the order in which they were asked for.
    first: u64,
    waiting: VecDeque<Gathering>,
}

struct Gathering {
    ticket: Ticket,
    parts: Vec<Gauges>,
    missing: usize,
    /// When it is given up.
    by: machine::Instant,
}

impl Gatherings {
    fn begin(&mut self, ticket: Ticket, cores: usize, by: machine::Instant) -> u64 {
        self.waiting.push_back(Gathering { ticket, parts: vec![Gauges::new(); cores], missing: cores, by });
        self.first + self.waiting.len() as u64 - 1
    }

    /// A core has counted. What comes for one that was given up is too late.
    fn put(&mut self, number: u64, core: CoreId, gauges: Gauges) {
        let index = number.checked_sub(self.first).and_then(|index| usize::try_from(index).ok());
        if let Some(gathering) = index.and_then(|index| self.waiting.get_mut(index)) {
            gathering.parts[core.index()] = gauges;
            gathering.missing -= 1;
        }
    }

    /// The front one, once it is whole or its time has come: in the order in which they were asked for.
    fn take(&mut self, now: machine::Instant) -> Option<(Ticket, Vec<Gauges>)> {
        self.waiting.front().filter(|front| front.missing == 0 || front.by <= now)?;
        self.first += 1;
        self.waiting.pop_front().map(|whole| (whole.ticket, whole.parts))
    }
}

impl<Said> Io<Said> {
    /// Asks every core, this one too; the answers come as controls.
    pub(crate) fn start_gathering(&mut self, ticket: Ticket) {
        let seat = self.seat;
        let number = self.gatherings.begin(ticket, usize::from(seat.cores), self.now.at + PATIENCE);
        for core in seat.all_cores() {
            self.lanes.seats().control(core, Control::Gather(Asker::Core(seat.core, number)));
        }
        self.patience_for_gatherings();
    }

    /// What this core counts goes to whoever asked.
    pub(crate) fn say_gauges(&self, to: Asker, gauges: Gauges) {
        let core = self.seat.core;
        match to {
            // Who does not wait for it any more has given up.
            Asker::Thread(to) => drop(to.send((core, gauges))),
            Asker::Core(to, number) => {
                self.lanes.seats().control(to, Control::Gathered(number, core, gauges));
            }
        }
    }

    pub(crate) fn gathered(&mut self, number: u64, core: CoreId, gauges: Gauges) {
        self.gatherings.put(number, core, gauges);
        self.settle_gatherings();
    }

    /// Tells the shard of every gathering that is whole or given up.
    pub(crate) fn settle_gatherings(&mut self) {
        while let Some((ticket, gauges)) = self.gatherings.take(self.now.at) {
            self.happenings.push_back(Happening::Gathered(ticket, gauges));
        }
        self.patience_for_gatherings();
    }

    fn patience_for_gatherings(&mut self) {
        let by = self.gatherings.waiting.front().map(|front| front.by);
        self.patience.set(GATHER_TIMER, by);
    }
}
