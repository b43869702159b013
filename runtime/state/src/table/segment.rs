//! A segment: the entries of a slot whose hashes share some leading bits, at most 64 of them, in one open-addressed
//! array. Linear probing, and removal shifts back what follows, so there are no tombstones and look-ups never get
//! slower by age. Keeping it this small is what bounds every move: nothing larger is ever built anew.

use super::entry::{Bucket, NEVER};
use machine::WallTime;

/// A segment with so many entries is split before it takes another.
pub(super) const SEGMENT_ENTRIES_MAX: usize = 64;

/// The sizes of the array: half as much again each time, so that on average it is five eighths full.
const CAPACITIES: [usize; 9] = [4, 8, 12, 16, 24, 32, 48, 64, 96];

/// Entries in an open-addressed array.
#[derive(Debug)]
pub(super) struct Segment {
    buckets: Box<[Bucket]>,
    len: u32,
    expiring: u32,
    /// How many leading bits its hashes share.
    pub(super) depth: u8,
    /// When it is to be walked for expired entries: not after the earliest deadline in it. Kept with the hints.
    pub(super) walk_at: u64,
}

impl Segment {
    pub(super) fn new(depth: u8) -> Self {
        Self { buckets: Box::default(), len: 0, expiring: 0, depth, walk_at: NEVER }
    }

    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) const fn expiring(&self) -> usize {
        self.expiring as usize
    }

    pub(super) fn bucket(&self, at: usize) -> &Bucket {
        &self.buckets[at]
    }

    pub(super) fn bucket_mut(&mut self, at: usize) -> &mut Bucket {
        &mut self.buckets[at]
    }

    /// All entries, in the order in which they lie.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Bucket> {
        self.buckets.iter().filter(|bucket| !bucket.body.is_vacant())
    }

    /// Where the entry of this key lies.
    pub(super) fn find(&self, hash: u32, key: &[u8]) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let mut at = self.home(hash);
        loop {
            let bucket = &self.buckets[at];
            if bucket.body.is_vacant() {
                return None;
            }
            if bucket.hash == hash && bucket.body.key() == key {
                return Some(at);
            }
            at = self.after(at);
        }
    }

    /// Adds an entry whose key is not there. Returns how many entries moved.
    pub(super) fn insert(&mut self, bucket: Bucket) -> usize {
        let moved = if self.len() < limit(self.buckets.len()) { 0 } else { self.resize(self.len() + 1) };
        self.place(bucket);
        moved
    }

    /// Takes an entry out. Returns it and how many entries moved.
    pub(super) fn remove(&mut self, at: usize) -> (Bucket, usize) {
        let taken = core::mem::take(&mut self.buckets[at]);
        self.len -= 1;
        self.expiring -= u32::from(taken.expires());
        let sparse = self.len() * 4 <= self.buckets.len() && self.buckets.len() > CAPACITIES[0];
        if sparse || self.len == 0 {
            return (taken, self.resize(self.len() + self.len() / 2));
        }
        (taken, self.close_gap(at))
    }

    /// Sets the deadline of an entry.
    pub(super) fn set_deadline(&mut self, at: usize, deadline: u64) {
        let bucket = &mut self.buckets[at];
        self.expiring -= u32::from(bucket.expires());
        bucket.deadline = deadline;
        self.expiring += u32::from(bucket.expires());
    }

    /// Moves every entry whose hash has the bit after the shared ones into `upper`, leaving room for one more on
    /// either side. Both then share that bit. Returns how many entries moved.
    pub(super) fn split_into(&mut self, upper: &mut Self) -> usize {
        let bit = 1u32 << (31 - self.depth);
        self.depth += 1;
        upper.depth = self.depth;
        let entries = self.drain();
        let high = entries.iter().filter(|bucket| bucket.hash & bit != 0).count();
        let moved = entries.len();
        self.allot(moved - high + 1);
        upper.allot(high + 1);
        for bucket in entries {
            if bucket.hash & bit == 0 { self.place(bucket) } else { upper.place(bucket) }
        }
        moved
    }

    /// Takes out all entries that are expired at `now`. Returns them and how many entries moved.
    pub(super) fn take_expired(&mut self, now: WallTime) -> (Vec<Bucket>, usize) {
        if !self.entries().any(|bucket| bucket.is_expired(now)) {
            return (Vec::new(), 0);
        }
        let (gone, stay): (Vec<_>, Vec<_>) =
            self.drain().into_iter().partition(|bucket| bucket.is_expired(now));
        let moved = stay.len();
        self.allot(moved);
        stay.into_iter().for_each(|bucket| self.place(bucket));
        (gone, moved)
    }

    /// The earliest deadline in it.
    pub(super) fn earliest(&self) -> u64 {
        if self.expiring == 0 {
            return NEVER;
        }
        self.entries().map(|bucket| bucket.deadline).min().unwrap_or(NEVER)
    }

    fn resize(&mut self, len: usize) -> usize {
        let entries = self.drain();
        let moved = entries.len();
        self.allot(len.max(moved));
        entries.into_iter().for_each(|bucket| self.place(bucket));
        moved
    }

    fn drain(&mut self) -> Vec<Bucket> {
        self.len = 0;
        self.expiring = 0;
        let buckets = core::mem::take(&mut self.buckets).into_vec();
        buckets.into_iter().filter(|bucket| !bucket.body.is_vacant()).collect()
    }

    /// An empty array with room for `len` entries.
    fn allot(&mut self, len: usize) {
        let capacity = if len == 0 { 0 } else { capacity_for(len) };
        self.buckets = core::iter::repeat_with(Bucket::default).take(capacity).collect();
    }

    /// Puts an entry into the first vacant bucket from its home on; there must be one.
    fn place(&mut self, bucket: Bucket) {
        let mut at = self.home(bucket.hash);
        while !self.buckets[at].body.is_vacant() {
            at = self.after(at);
        }
        self.len += 1;
        self.expiring += u32::from(bucket.expires());
        self.buckets[at] = bucket;
    }

    /// Shifts back what probing would no longer find behind the vacant bucket `gap` (Knuth 6.4, algorithm R).
    fn close_gap(&mut self, mut gap: usize) -> usize {
        let mut moved = 0;
        let mut at = self.after(gap);
        while !self.buckets[at].body.is_vacant() {
            let from_home = self.distance(self.home(self.buckets[at].hash), at);
            if from_home >= self.distance(gap, at) {
                self.buckets.swap(gap, at);
                gap = at;
                moved += 1;
            }
            at = self.after(at);
        }
        moved
    }

    /// Where probing for a hash begins. Only its last eight bits count: the leading ones are alike here.
    fn home(&self, hash: u32) -> usize {
        ((hash & 0xff) as usize * self.buckets.len()) >> 8
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.buckets.len() { 0 } else { at + 1 }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from { to - from } else { to + self.buckets.len() - from }
    }
}

/// How many entries an array of that capacity takes: three quarters, so that probing ends.
const fn limit(capacity: usize) -> usize {
    capacity * 3 / 4
}

/// The least capacity for `len` entries. Beyond the listed ones only hashes that agree in more bits than are split
/// by get here: then it doubles.
fn capacity_for(len: usize) -> usize {
    CAPACITIES.into_iter().find(|capacity| limit(*capacity) >= len).unwrap_or(len * 2)
}
