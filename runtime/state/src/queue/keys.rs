//! Idempotency keys: what somebody called a request, so that the same request said again is the same work.
//!
//! A key is remembered for a time, and in the order of arrival, so forgetting the oldest costs nothing.

use core::time::Duration;
use machine::WallTime;
use std::collections::{BTreeMap, VecDeque};

/// One core's keys, each with what it stands for.
#[derive(Clone, Debug, Default)]
pub struct Keys<V> {
    known: BTreeMap<Box<[u8]>, V>,
    /// Oldest first.
    order: VecDeque<(WallTime, Box<[u8]>)>,
}

impl<V: Copy> Keys<V> {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self { known: BTreeMap::new(), order: VecDeque::new() }
    }

    /// What a key stands for.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<V> {
        self.known.get(key).copied()
    }

    /// A key stands for that, from then on. One that is known keeps what it stands for.
    pub fn put(&mut self, key: &[u8], value: V, at: WallTime) {
        if !self.known.contains_key(key) {
            self.known.insert(key.into(), value);
            self.order.push_back((at, key.into()));
        }
    }

    /// Forgets keys older than `span`, and the oldest of more than `keys_max`.
    pub fn forget(&mut self, now: WallTime, span: Duration, keys_max: usize) {
        while let Some((at, _)) = self.order.front() {
            if self.order.len() <= keys_max && *at + span > now {
                return;
            }
            if let Some((_, key)) = self.order.pop_front() {
                self.known.remove(&key);
            }
        }
    }

    /// How many are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// All, oldest first, with when they came.
    pub fn iter(&self) -> impl Iterator<Item = (WallTime, &[u8], V)> {
        let known = |key: &[u8]| self.known.get(key).copied();
        self.order.iter().filter_map(move |(at, key)| known(key).map(|value| (*at, &**key, value)))
    }
}
