//! The leader as a worker knows it: whether it has heard of us lately enough that we may go on.

use crate::worker_on_leader::FENCE;
use machine::Instant;
use std::collections::VecDeque;

/// Beats that may be unanswered at once; older ones no longer matter.
const BEATS_MAX: usize = 64;

/// What a worker knows of its lease.
#[derive(Clone, Debug, Default)]
pub struct LeaderOnWorker {
    /// Beats that were sent, by number, and when.
    sent: VecDeque<(u64, Instant)>,
    /// When the last beat that a leader has heard was sent.
    since: Option<Instant>,
}

impl LeaderOnWorker {
    /// A beat goes out.
    pub fn sent(&mut self, number: u64, now: Instant) {
        if self.sent.len() >= BEATS_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back((number, now));
    }

    /// A leader has heard that one.
    pub fn heard(&mut self, number: u64) {
        let Some(at) = self.sent.iter().position(|(known, _)| *known == number) else { return };
        let (_, sent) = self.sent[at];
        self.since = Some(self.since.map_or(sent, |since| since.max(sent)));
        self.sent.drain(..=at);
    }

    /// Until when it may run something; none when it may not.
    #[must_use]
    pub fn until(&self, now: Instant) -> Option<Instant> {
        self.since.map(|since| since + FENCE).filter(|until| *until > now)
    }

    /// This life is over.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn a_lease_begins_when_the_beat_was_sent_and_not_when_it_was_answered() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut leader = LeaderOnWorker::default();
        assert_eq!(leader.until(at(0)), None);
        leader.sent(1, at(100));
        leader.sent(2, at(200));
        leader.heard(1);
        assert_eq!(leader.until(at(900)), Some(at(100) + FENCE));
        leader.heard(1);
        leader.heard(7);
        assert_eq!(leader.until(at(100) + FENCE), None);
        leader.heard(2);
        assert_eq!(leader.until(at(100) + FENCE), Some(at(200) + FENCE));
    }
}
