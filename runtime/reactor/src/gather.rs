//! Asking every core what it counts, from outside of all cores, when somebody wants to know and never otherwise: an
//! idle program that nobody watches is not woken to be counted.

use crate::control::Control;
use crate::lane::Seats;
use flume::RecvTimeoutError;
use machine::{CoreId, Gauges};
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long the gauges of a core are waited for.
const PATIENCE: Duration = Duration::from_secs(1);

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
        seats.control(CoreId(core as u16), Control::Gather(answer.clone()));
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
