//! Watching: heartbeats, how many were missed, and who is out for a while.
//!
//! A child's end is known at once from the kernel; heartbeats find those that hang. A replica that serves badly is
//! ejected for a while, but never more than half of all: when everything fails, the fault is not the replicas'.

use super::replica::{Beat, State};
use super::start::eager;
use super::{Act, Fleet};
use crate::peer::{Change, Tenancy};
use machine::Instant;

/// An ejected replica comes back after at most so many times the first wait.
const EJECTIONS_COUNTED_MAX: u32 = 30;

impl Fleet {
    /// Asks for a heartbeat that is due, or counts one that is missed.
    pub(super) fn watch(&mut self, index: usize, now: Instant) {
        let interval = self.config.watching.interval;
        let replica = &mut self.replicas[index];
        if !replica.state.is_watched() {
            return;
        }
        match (replica.beat, &replica.at) {
            (Beat::Due(at), Some(place)) if at <= now => {
                self.acts.push(Act::Beat(replica.tenancy, place.clone()));
                replica.beat = Beat::Asked(now + interval);
            }
            (Beat::Due(at), None) if at <= now => {
                replica.beat = Beat::Due(now + eager(now.since(replica.since)));
            }
            (Beat::Asked(by), _) if by <= now => {
                self.acts.push(Act::Forget(replica.tenancy));
                self.missed(index, "did not answer a heartbeat", now);
            }
            (Beat::Due(_) | Beat::Asked(_), _) => {}
        }
    }

    /// A heartbeat was answered, or not.
    pub fn on_beat(&mut self, tenancy: Tenancy, outcome: Result<(), String>, now: Instant) {
        let Some(index) = self.find(tenancy) else { return };
        if !self.replicas[index].state.is_watched() {
            return;
        }
        match outcome {
            Ok(()) => self.answered(index, now),
            Err(why) => self.missed(index, &why, now),
        }
        self.tick(now);
    }

    fn answered(&mut self, index: usize, now: Instant) {
        let next = now + self.config.watching.interval;
        let replica = &mut self.replicas[index];
        replica.misses = 0;
        replica.beat = Beat::Due(next);
        match replica.state {
            State::Starting { .. } => self.arrived(index, now),
            State::Suspect => replica.enter(State::Healthy, now),
            State::Dead => {
                replica.tenancy.life = self.lives + 1;
                self.lives += 1;
                self.arrived(index, now);
            }
            State::Waiting { .. }
            | State::Seeking { .. }
            | State::Ready
            | State::Healthy
            | State::Ejected { .. }
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Dying => {}
        }
    }

    fn missed(&mut self, index: usize, why: &str, now: Instant) {
        let watching = self.config.watching;
        let replica = &mut self.replicas[index];
        match replica.state {
            State::Starting { .. } => replica.beat = Beat::Due(now + eager(now.since(replica.since))),
            State::Dead => replica.beat = Beat::Due(now + watching.interval),
            State::Ready | State::Healthy | State::Suspect | State::Ejected { .. } => {
                replica.misses += 1;
                // What was waited for as long as an interval is asked for again at once.
                replica.beat = match replica.beat {
                    Beat::Asked(by) if by <= now => Beat::Due(now),
                    Beat::Asked(by) => Beat::Due(by),
                    Beat::Due(at) => Beat::Due(at),
                };
                if replica.misses >= watching.max_fail {
                    return self.lose(index, why, now);
                }
                if replica.state == State::Healthy {
                    replica.enter(State::Suspect, now);
                }
            }
            State::Waiting { .. }
            | State::Seeking { .. }
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Dying => {}
        }
    }

    /// A core's requests to it fail, one after another.
    pub fn on_trouble(&mut self, tenancy: Tenancy, now: Instant) {
        let Some(index) = self.find(tenancy) else { return };
        let known = self.replicas.iter().filter(|each| each.state.is_known()).count();
        let out = self.replicas.iter().filter(|each| matches!(each.state, State::Ejected { .. })).count();
        let replica = &mut self.replicas[index];
        if !replica.state.serves() || (out + 1) * 2 > known {
            return;
        }
        replica.ejections = (replica.ejections + 1).min(EJECTIONS_COUNTED_MAX);
        let until = now + self.config.watching.eject_for * replica.ejections;
        replica.trouble = Some("requests to it failed one after another".to_owned());
        replica.enter(State::Ejected { until }, now);
        self.acts.push(Act::Tell(tenancy, Change::Eject));
    }
}
