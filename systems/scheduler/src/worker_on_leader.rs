//! A worker as the leader knows it: when it was heard, what it said then, and until when its lease lasts.
//!
//! The lease is what makes it safe to give a job to somebody else. The leader counts it from when a beat *arrived*, the
//! worker from when it *sent* that beat, and the worker stops its programs after two thirds of it: so the worker has
//! stopped before the leader believes it, whatever the way between them takes, as long as their clocks run equally
//! fast within a third.

use crate::peer::Beat;
use core::time::Duration;
use machine::Instant;

/// How long a worker's lease lasts after it was heard.
pub const LEASE: Duration = Duration::from_millis(1500);

/// After this without a leader a worker stops what it runs.
pub const FENCE: Duration = Duration::from_millis(1000);

/// A worker whose connection ended and that is not heard again in this time is gone: where a process dies the kernel
/// ends its connections at once, so that nobody has to wait for the lease.
pub const GRACE: Duration = Duration::from_millis(150);

/// One worker.
#[derive(Clone, Debug)]
pub struct WorkerOnLeader {
    /// When it was heard last.
    pub heard: Instant,
    /// Since when its connection is down.
    pub down: Option<Instant>,
    /// What it said.
    pub beat: Beat,
    /// Its crash was told.
    pub is_lost: bool,
}

impl WorkerOnLeader {
    /// A worker that was heard.
    #[must_use]
    pub fn new(now: Instant, beat: Beat) -> Self {
        Self { heard: now, down: None, beat, is_lost: false }
    }

    /// Why it is taken for gone; none while it is not.
    #[must_use]
    pub fn gone(&self, now: Instant) -> Option<String> {
        let silent = now.since(self.heard);
        let millis = silent.as_millis();
        if silent >= LEASE {
            return Some(format!("its lease ended: it was not heard for {millis} ms"));
        }
        let down = self.down.filter(|down| *down >= self.heard && now.since(*down) >= GRACE)?;
        Some(format!(
            "its connection ended {} ms ago and it was not heard again",
            now.since(down).as_millis()
        ))
    }

    /// Whether it may be given something: it still has its lease, and nothing speaks against it.
    #[must_use]
    pub fn is_lively(&self, now: Instant) -> bool {
        self.down.is_none() && now.since(self.heard) < LEASE / 3
    }

    /// When to look again.
    #[must_use]
    pub fn due(&self) -> Instant {
        let lease = self.heard + LEASE;
        self.down.map_or(lease, |down| lease.min(down + GRACE))
    }
}
