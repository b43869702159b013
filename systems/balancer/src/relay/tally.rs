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
    pub(crate) latencies: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let latencies = Histogram::new_with_bounds(1, LONGEST_US, 2).expect("two digits of five minutes");
        Self {
            answered: Vec::new(),
            requests: 0,
            retries: 0,
            refused: 0,
            failed: [0; 3],
            timeouts: 0,
            latencies,
        }
    }

    pub(super) fn answered(&mut self, seat: Seat, took: Duration) {
        if self.answered.len() <= seat.index() {
            self.answered.resize(seat.index() + 1, 0);
        }
        self.answered[seat.index()] += 1;
        self.latencies.saturating_record(took.as_micros() as u64);
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
