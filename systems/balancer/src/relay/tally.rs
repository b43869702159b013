//! What a core counts of its requests.

use crate::spread::Seat;
use hdrhistogram::Histogram;
use std::time::Duration;

/// The longest time that is told from longer ones: five minutes, in microseconds.
const LONGEST_US: u64 = 300_000_000;

/// Counters of one core; all but the latencies only grow.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Requests that were answered by a replica, by seat and then by name, since a seat changes hands.
    answered: Vec<u64>,
    pub(crate) requests: u64,
    pub(crate) retries: u64,
    pub(crate) refused: u64,
    /// Answers of ours for want of a replica's, by status: 502, 503, 504.
    pub(crate) failed: [u64; 3],
    pub(crate) timeouts: u64,
    /// Of all but the last seconds.
    latencies: Histogram<u64>,
    /// Since the last [`Tally::age`], and of the time between the two before: what is recorded is recorded once.
    recent: [Histogram<u64>; 2],
}

impl Tally {
    pub(super) fn new() -> Self {
        let none = || Histogram::new_with_bounds(1, LONGEST_US, 2).expect("two digits of five minutes");
        Self {
            answered: Vec::new(),
            requests: 0,
            retries: 0,
            refused: 0,
            failed: [0; 3],
            timeouts: 0,
            latencies: none(),
            recent: [none(), none()],
        }
    }

    pub(super) fn answered(&mut self, seat: Seat, took: Duration) {
        if self.answered.len() <= seat.index() {
            self.answered.resize(seat.index() + 1, 0);
        }
        self.answered[seat.index()] += 1;
        self.recent[0].saturating_record(took.as_micros() as u64);
    }

    /// Some seconds have gone by.
    pub(crate) fn age(&mut self) {
        self.recent.swap(0, 1);
        if !self.recent[0].is_empty() {
            self.latencies.add(&self.recent[0]).expect("one range");
            self.recent[0].reset();
        }
    }

    /// How long requests of the last seconds took, and all of them.
    pub(crate) fn latencies(&self) -> (Histogram<u64>, Histogram<u64>) {
        let mut recent = self.recent[0].clone();
        recent.add(&self.recent[1]).expect("one range");
        let mut ever = self.latencies.clone();
        ever.add(&recent).expect("one range");
        (recent, ever)
    }

    pub(super) fn failed(&mut self, status: u16) {
        match status {
            502 => self.failed[0] += 1,
            503 => self.failed[1] += 1,
            504 => self.failed[2] += 1,
            _ => self.refused += 1,
        }
    }

    /// Requests that the replica in that seat has answered since the last call of [`Tally::forget`].
    pub(crate) fn of(&self, seat: Seat) -> u64 {
        self.answered.get(seat.index()).copied().unwrap_or(0)
    }

    /// The seat has another replica now.
    pub(crate) fn forget(&mut self, seat: Seat) {
        if let Some(count) = self.answered.get_mut(seat.index()) {
            *count = 0;
        }
    }
}
