//! Hints: which segment is to be walked for expired entries, and when. One hint for a segment with expiring
//! entries instead of one for each entry: a core with ten million of them keeps some hundred thousand hints, and
//! a deadline later than its segment's earliest, which is nearly every one, costs nothing here.

use super::record::NEVER;
use super::segment::Segment;
use crate::slot::Slot;
use machine::WallTime;
use std::collections::BTreeSet;

/// A segment of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) slot: Slot,
    /// The id of the slot's table, for a slot may have a new one.
    pub(super) table: u32,
    pub(super) segment: u32,
}

/// What a hint takes: its place in a tree whose nodes are two thirds full.
pub(super) const HINT_BYTES: usize = size_of::<(u64, Name)>() * 3 / 2;

/// Segments by when they are to be walked.
#[derive(Debug, Default)]
pub(super) struct Hints {
    by_time: BTreeSet<(u64, Name)>,
}

impl Hints {
    /// Sees to it that the segment is walked at `deadline` or before.
    pub(super) fn not_after(&mut self, name: Name, segment: &mut Segment, deadline: u64) {
        if deadline < segment.walk_at {
            self.set(name, segment, deadline);
        }
    }

    /// Forgets a segment in which nothing expires any more.
    pub(super) fn forget_if_idle(&mut self, name: Name, segment: &mut Segment) {
        if segment.expiring() == 0 {
            self.set(name, segment, NEVER);
        }
    }

    /// Has the segment walked at exactly `deadline`.
    pub(super) fn set(&mut self, name: Name, segment: &mut Segment, deadline: u64) {
        if segment.walk_at == deadline {
            return;
        }
        if segment.walk_at != NEVER {
            self.by_time.remove(&(segment.walk_at, name));
        }
        if deadline != NEVER {
            self.by_time.insert((deadline, name));
        }
        segment.walk_at = deadline;
    }

    /// Drops the first hint, whose segment is no more in use.
    pub(super) fn forget_first(&mut self) {
        self.by_time.pop_first();
    }

    /// The segment that is due first.
    pub(super) fn due(&self, now: WallTime) -> Option<Name> {
        let (at, name) = self.by_time.first()?;
        (*at <= now.micros()).then_some(*name)
    }

    /// Segments with an expiry, from the one that is due first past a time by chance on.
    pub(super) fn due_from(&self, at: u64) -> Option<Name> {
        let least = Name { slot: Slot::default(), table: 0, segment: 0 };
        self.by_time.range((at, least)..).next().map(|(_, name)| *name)
    }

    /// When the first and the last segment are due.
    pub(super) fn span(&self) -> Option<(u64, u64)> {
        Some((self.by_time.first()?.0, self.by_time.last()?.0))
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_time.len()
    }

    /// When the first segment is due.
    pub(super) fn earliest(&self) -> Option<WallTime> {
        self.by_time.first().map(|(at, _)| WallTime::from_micros(*at))
    }
}
