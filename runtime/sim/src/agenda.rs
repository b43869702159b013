//! What will happen, by virtual time. Of two things at one instant chance decides which comes first: a real world
//! promises nothing there, and a fixed order would hide what depends on it.

use core::cmp::{Ordering, Reverse};
use machine::{Instant, Stream};
use std::collections::BinaryHeap;

/// Things by instant.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Instant,
    tie: u64,
    number: u64,
    event: E,
}

impl<E> Entry<E> {
    fn key(&self) -> (Instant, u64, u64) {
        (self.at, self.tie, self.number)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl<E> Agenda<E> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), entered: 0 }
    }

    pub(crate) fn enter(&mut self, at: Instant, event: E, schedule: &mut Stream) {
        self.entered += 1;
        self.heap.push(Reverse(Entry { at, tie: schedule.next_u64(), number: self.entered, event }));
    }

    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    pub(crate) fn next(&mut self) -> Option<(Instant, E)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}
