//! The closed loop that asks, the same for all ways: so many messages in flight, a new one for each that came back.

use crate::message::{ArchivedSaid, Said};
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// A longer round trip counts as this one.
const ROUND_TRIP_MAX_NS: u64 = 60_000_000_000;

/// What is to be run.
#[derive(Clone, Copy)]
pub(crate) struct Course {
    pub(crate) asker: usize,
    pub(crate) answerer: usize,
    /// Messages in flight.
    pub(crate) window: usize,
    /// Messages in one envelope; divides `window`.
    pub(crate) batch: usize,
    pub(crate) lasting: Duration,
}

/// The side that asks.
pub(crate) struct Asker {
    course: Course,
    began: Instant,
    asked: u64,
    answered: u64,
    round_trips: Histogram<u64>,
}

/// What came of it.
pub(crate) struct Outcome {
    messages: u64,
    seconds: f64,
    round_trips: Histogram<u64>,
}

impl Course {
    /// Envelopes in flight.
    pub(crate) const fn envelopes(&self) -> usize {
        self.window / self.batch
    }
}

impl Asker {
    pub(crate) fn new(course: Course) -> Self {
        // Made whole at the start: it would grow in the middle of what is measured, or lose what is long.
        let round_trips =
            Histogram::new_with_bounds(1, ROUND_TRIP_MAX_NS, 3).expect("these bounds are allowed");
        Self { course, began: Instant::now(), asked: 0, answered: 0, round_trips }
    }

    /// The next request.
    pub(crate) fn ask(&mut self) -> Said {
        let sent = self.began.elapsed().as_nanos() as u64;
        let said = Said::asking(self.asked, self.course.batch, sent);
        self.asked += self.course.batch as u64;
        said
    }

    /// Whether there is room for one more in flight.
    pub(crate) fn has_room(&self) -> bool {
        self.asked - self.answered < self.course.window as u64
    }

    /// Takes a reply; false when it is time to end.
    pub(crate) fn take(&mut self, heard: &ArchivedSaid) -> bool {
        let Some((count, number, sent)) = heard.answered() else { return false };
        assert!(number == self.answered && count == self.course.batch, "replies come in order, and whole");
        self.answered += count as u64;
        let elapsed = self.began.elapsed();
        self.round_trips.saturating_record((elapsed.as_nanos() as u64).saturating_sub(sent));
        elapsed < self.course.lasting
    }

    pub(crate) fn end(self) -> Outcome {
        Outcome {
            messages: self.answered,
            seconds: self.began.elapsed().as_secs_f64(),
            round_trips: self.round_trips,
        }
    }
}

impl Outcome {
    /// A line of JSON.
    pub(crate) fn line(&self, way: &str, round: u64, window: usize, batch: usize) -> Value {
        json!({
            "way": way,
            "round": round,
            "in_flight": window,
            "batch": batch,
            "messages_per_second": self.messages as f64 / self.seconds,
            "p50_ns": self.round_trips.value_at_quantile(0.5),
            "p99_ns": self.round_trips.value_at_quantile(0.99),
        })
    }
}
