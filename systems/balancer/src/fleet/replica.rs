//! One replica as the keeper of the truth knows it: where it is in its life.
//!
//! A life begins with a start and ends with an end; a replica that dies begins another under the same name and in the
//! same seat. What somebody says of an earlier life is then no news, so all news carry the life they speak of.

use crate::peer::Tenancy;
use crate::spread::Seat;
use machine::{Address, ChildId, Instant};

/// Where a replica is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be started, when its time and its turn have come.
    Waiting {
        /// Not before.
        at: Instant,
    },
    /// We ask whether a port is free.
    Seeking {
        /// Which.
        port: u16,
        /// How many were asked.
        tried: u16,
    },
    /// Started, and has not answered yet.
    Starting {
        /// When that is too late.
        until: Instant,
    },
    /// Has answered; others of the same addition have not.
    Ready,
    /// Serves.
    Healthy,
    /// Serves, but missed a heartbeat.
    Suspect,
    /// Requests to it failed: it is out for a while.
    Ejected {
        /// Until then.
        until: Instant,
    },
    /// Is to go: nothing new comes to it, what is in flight may end.
    Draining {
        /// When it goes anyway.
        until: Instant,
        /// Cores that have something in flight.
        busy: u16,
    },
    /// Was asked to end.
    Stopping {
        /// When it is killed.
        until: Instant,
    },
    /// Was killed; its end is not told yet.
    Dying,
    /// Does not answer, and we cannot start it: it is asked again and again.
    Dead,
}

impl State {
    /// The word for it, on pages.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Waiting { .. } | Self::Seeking { .. } | Self::Starting { .. } | Self::Ready => "starting",
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Ejected { .. } => "ejected",
            Self::Draining { .. } | Self::Stopping { .. } => "draining",
            Self::Dying | Self::Dead => "dead",
        }
    }

    /// Whether cores may send it requests.
    #[must_use]
    pub const fn serves(&self) -> bool {
        matches!(self, Self::Healthy | Self::Suspect)
    }

    /// Whether cores know it: they were told of it, and not that it left.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        matches!(self, Self::Healthy | Self::Suspect | Self::Ejected { .. } | Self::Draining { .. })
    }

    /// Whether it starts or stops: of those there is a bound.
    #[must_use]
    pub const fn is_moving(&self) -> bool {
        matches!(self, Self::Seeking { .. } | Self::Starting { .. } | Self::Stopping { .. } | Self::Dying)
    }

    /// Whether it should be asked for a heartbeat.
    #[must_use]
    pub const fn is_watched(&self) -> bool {
        matches!(
            self,
            Self::Starting { .. }
                | Self::Ready
                | Self::Healthy
                | Self::Suspect
                | Self::Ejected { .. }
                | Self::Dead
        )
    }
}

/// A heartbeat that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The next is asked for then.
    Due(Instant),
    /// It was asked for, and is missed then.
    Asked(Instant),
}

/// One replica.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Its name, for ever.
    pub name: Box<str>,
    /// Its seat in the tables of all cores, and which life.
    pub tenancy: Tenancy,
    /// Where in its life.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Where it is, once that is known.
    pub at: Option<Address>,
    /// The process, where it is one of ours.
    pub child: Option<ChildId>,
    /// Its container, where it is one.
    pub container: Option<Box<str>>,
    /// The next heartbeat.
    pub beat: Beat,
    /// Missed in a row.
    pub misses: u32,
    /// Starts that failed in a row.
    pub failures: u32,
    /// When all of its replacements would have been due, had they been evenly spaced.
    pub replaced_by: Instant,
    /// How often it was ejected.
    pub ejections: u32,
    /// Of which addition it is part, until that is answered.
    pub addition: Option<u32>,
    /// Whether it is one of the first, and joins only when those before it have: the classic ring gives indices, and
    /// with them shares, in the order of joining, and `Server-1` is to have the first.
    pub is_in_line: bool,
    /// Whether it counts no more: it was removed, or its addition was taken back.
    pub is_leaving: bool,
    /// What last went wrong.
    pub trouble: Option<String>,
}

impl Replica {
    /// To be started at once.
    #[must_use]
    pub fn new(name: &str, seat: Seat, addition: Option<u32>, now: Instant) -> Self {
        Self {
            name: name.into(),
            tenancy: Tenancy { seat, life: 0 },
            state: State::Waiting { at: now },
            since: now,
            at: None,
            child: None,
            container: None,
            beat: Beat::Due(now),
            misses: 0,
            failures: 0,
            replaced_by: now,
            ejections: 0,
            addition,
            is_in_line: false,
            is_leaving: false,
            trouble: None,
        }
    }

    /// Whether it stands in the list of replicas.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        self.addition.is_none() && !self.is_leaving
    }

    pub(super) fn enter(&mut self, state: State, now: Instant) {
        self.state = state;
        self.since = now;
    }
}
