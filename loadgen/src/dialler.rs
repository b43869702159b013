//! Which connections are still to be made, and when. At most so many at once, so that a listener's backlog is
//! never overrun (an overrun costs a second of silence each, and would be measured as the server's); and, when a
//! ramp was asked for, each at its due time.
//!
//! The hard thing is when a dial has ended. The kernel opens a connection before the server accepts it, so counting
//! to there bounds nothing: before the run each connection is greeted, and its dial ends with the first reply.

use crate::pace::{Next, Pace};
use crate::plan::Load;
use machine::{Address, Dial, Instant};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// Dials in flight on one core: a fraction of the shortest backlog in common use (511).
pub const DIALS_MAX: u32 = 128;

/// After a dial that failed in the middle of a run, the next one for that place.
const RETRY: Duration = Duration::from_millis(100);

/// The connections that one core still has to make.
#[derive(Debug)]
pub struct Dialler {
    wanted: VecDeque<u32>,
    /// Wanted from an instant on, the earliest first: one each place at most.
    later: VecDeque<(Instant, u32)>,
    in_flight: u32,
    pace: Pace,
}

/// What [`Dialler::next`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Dial for this place.
    Dial(u32),
    /// Nothing before then.
    Wait(Instant),
    /// Nothing until a dial ends or a place is wanted.
    Rest,
}

impl Dialler {
    /// All of `places` are wanted, from `start` on.
    #[must_use]
    pub fn new(load: &Load, places: u32, core: u16, cores: u16, start: Instant) -> Self {
        let pace = Pace::new(load.ramp, core, cores, start);
        Self { wanted: (0..places).collect(), later: VecDeque::new(), in_flight: 0, pace }
    }

    /// The dial for this place failed, and it still wants a connection: a while from `now`.
    pub fn want_later(&mut self, place: u32, now: Instant) {
        self.later.push_back((now + RETRY, place));
    }

    /// What was wanted later and is wanted at `now`.
    pub fn later_is_now(&mut self, now: Instant) {
        while self.later.front().is_some_and(|(at, _)| *at <= now) {
            self.wanted.extend(self.later.pop_front().map(|(_, place)| place));
        }
    }

    /// This place lost its connection and wants another.
    pub fn want(&mut self, place: u32) {
        self.wanted.push_back(place);
    }

    /// These want connections, and no others that did.
    pub fn want_only(&mut self, places: impl Iterator<Item = u32>) {
        self.later.clear();
        self.wanted = places.collect();
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Instant) -> Step {
        let (Some(&place), true) = (self.wanted.front(), self.in_flight < DIALS_MAX) else {
            return Step::Rest;
        };
        match self.pace.next(now, None) {
            Next::NotBefore(at) => Step::Wait(at),
            Next::Never => Step::Rest,
            Next::Due(_) => {
                self.wanted.pop_front();
                self.in_flight += 1;
                Step::Dial(place)
            }
        }
    }

    /// A dial ended, one way or the other.
    pub fn ended(&mut self) {
        self.in_flight -= 1;
    }

    /// Whether nothing is wanted and nothing in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.wanted.is_empty() && self.later.is_empty() && self.in_flight == 0
    }
}

/// The dial of this place: targets go round first, then sources, so that every pair is used. `to` is where it leads
/// when that is not left to its number.
///
/// # Panics
/// When the load has no target.
#[must_use]
pub fn dial(load: &Load, place: u32, to: Option<SocketAddr>, by: Instant) -> Dial {
    let place = place as usize;
    let to = to.unwrap_or(load.targets[place % load.targets.len()]);
    let turn = place / load.targets.len();
    let from = match load.sources.len() {
        0 => None,
        sources => Some(SocketAddr::new(load.sources[turn % sources], 0)),
    };
    Dial { to: Address::Ip(to), from, tls: None, by }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Rate;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn no_more_than_the_bound_are_in_flight() {
        let mut dialler = Dialler::new(&Load::default(), DIALS_MAX + 1, 0, 1, at(0));
        let dialled = core::iter::from_fn(|| match dialler.next(at(0)) {
            Step::Dial(place) => Some(place),
            Step::Wait(_) | Step::Rest => None,
        })
        .count();
        assert_eq!(dialled, DIALS_MAX as usize);
        dialler.ended();
        assert_eq!(dialler.next(at(0)), Step::Dial(DIALS_MAX));
        assert!(!dialler.is_idle());
    }

    #[test]
    fn a_ramp_spaces_dials() {
        let load = Load { ramp: Some(Rate { milli: 1_000_000 }), ..Load::default() };
        let mut dialler = Dialler::new(&load, 2, 0, 1, at(0));
        assert_eq!(dialler.next(at(0)), Step::Dial(0));
        assert_eq!(dialler.next(at(999_999)), Step::Wait(at(1_000_000)));
        assert_eq!(dialler.next(at(1_000_000)), Step::Dial(1));
    }

    #[test]
    fn every_pair_of_source_and_target_is_used() {
        let load = Load {
            targets: vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()],
            sources: vec!["127.0.0.2".parse().unwrap(), "127.0.0.3".parse().unwrap()],
            ..Load::default()
        };
        let mut pairs: Vec<_> =
            (0..4).map(|place| dial(&load, place, None, at(0))).map(|d| (d.to, d.from)).collect();
        pairs.sort();
        pairs.dedup();
        assert_eq!(pairs.len(), 4);
    }
}
