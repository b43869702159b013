//! Work that waits for somebody to do it: ready, delayed, leased or dead, until it is done.
//!
//! Who takes an item gets a *lease*: the item, and the number of this attempt. Only who comes back with that number,
//! while the lease lasts, finishes the item; everybody else is late and changes nothing. A lease that is lost puts
//! the item back after a pause that grows, until its attempts are used up: then it is dead, and waits to be looked at
//! and revived, or forgotten.
//!
//! Ready items stand in lines, one for each group, and groups take turns: who has much work waiting does not make who
//! has little wait behind all of it. Within a group the order is that of arrival.
//!
//! The one hard thing is that an item may leave a line or the delayed from the middle, when it is cancelled. Nothing
//! is searched for: every stay in a line has a stamp, and an entry whose stamp is old is passed over when it comes to
//! the front. So every call costs the same whatever waits.

pub mod keys;
#[cfg(test)]
mod tests;

use core::cmp::Reverse;
use core::time::Duration;
use machine::id::Key;
use machine::{Instant, Slab};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

pub use keys::Keys;

/// How often an item may be begun, and how long it pauses after an attempt that was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Attempts until an item is dead: at least 1.
    pub attempts_max: u32,
    /// The pause after the first lost attempt; it doubles with each.
    pub pause: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl Patience {
    /// How long an item pauses when that attempt, counted from 1, was lost.
    #[must_use]
    pub fn pause_after(&self, attempt: u32) -> Duration {
        let doubled = self.pause.saturating_mul(1 << attempt.saturating_sub(1).min(20));
        doubled.min(self.pause_max)
    }
}

/// Where an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<H> {
    /// It can be taken.
    Ready,
    /// It can be taken from then on.
    Delayed(Instant),
    /// Somebody has it.
    Leased(H),
    /// Its attempts are used up.
    Dead,
}

/// An item that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The item, as `add` named it.
    pub item: Key,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The caller's own name for it.
    pub token: u64,
}

/// What became of an item whose attempt was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It is taken again, from then on.
    Again(Instant),
    /// That was the last attempt: it is dead.
    Dead,
    /// That lease had ended before: nothing happened.
    Late,
}

/// How many items are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items that can be taken.
    pub ready: usize,
    /// Items that pause.
    pub delayed: usize,
    /// Items that somebody has.
    pub leased: usize,
    /// Items that nobody tries any more.
    pub dead: usize,
}

#[derive(Clone, Copy, Debug)]
struct Item<H> {
    token: u64,
    group: u32,
    /// Attempts begun.
    attempt: u32,
    /// Attempts begun when it was last revived: they do not count against it.
    forgiven: u32,
    /// Which stay in a line or among the delayed is the true one.
    stamp: u32,
    state: State<H>,
}

/// What of one group is ready. Without a ready item there is no line.
#[derive(Debug)]
struct Line {
    /// In the order of arrival, with stamps; some have left.
    waiting: VecDeque<(Key, u32)>,
    /// Those that have not.
    ready: usize,
    stamp: u64,
}

/// One core's work. `H` names who may hold a lease.
#[derive(Debug)]
pub struct Queue<H> {
    items: Slab<Item<H>>,
    lines: BTreeMap<u32, Line>,
    /// Groups in the order of their turns, each with the stamp of its line; one whose line is gone is passed over.
    turns: VecDeque<(u32, u64)>,
    /// Lines begun so far.
    stamped: u64,
    delayed: BinaryHeap<Reverse<(Instant, Key, u32)>>,
    counts: Counts,
}

impl<H: Copy + Eq> Default for Queue<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: Copy + Eq> Queue<H> {
    /// Without work.
    #[must_use]
    pub fn new() -> Self {
        Self {
            items: Slab::new(),
            lines: BTreeMap::new(),
            turns: VecDeque::new(),
            stamped: 0,
            delayed: BinaryHeap::new(),
            counts: Counts::default(),
        }
    }

    /// How many items are where.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Where an item is; none when it is done or was never added.
    #[must_use]
    pub fn state(&self, item: Key) -> Option<State<H>> {
        self.items.get(item).map(|item| item.state)
    }

    /// Attempts begun that count against it.
    #[must_use]
    pub fn tried(&self, item: Key) -> u32 {
        self.items.get(item).map_or(0, |item| item.attempt - item.forgiven)
    }

    /// One item more, ready; the caller's `token` comes back with its leases.
    pub fn add(&mut self, group: u32, token: u64) -> Key {
        let state = State::Ready;
        let key = self.items.insert(Item { token, group, attempt: 0, forgiven: 0, stamp: 0, state });
        self.counts.ready += 1;
        self.line_up(key, group, 0);
        key
    }

    /// An item is found as it was kept: attempts up to that number were begun for it before, of which `tried`, at most
    /// all, count against it. The next attempt has the next number, so none is ever given twice.
    pub fn resume(&mut self, item: Key, attempt: u32, tried: u32) {
        if let Some(found) = self.items.get_mut(item) {
            (found.attempt, found.forgiven) = (attempt, attempt.saturating_sub(tried));
        }
    }

    /// The next item, for that holder; none when none is ready. Groups take turns.
    pub fn take(&mut self, holder: H) -> Option<Lease> {
        let (item, _) = self.front()?;
        let found = self.items.get_mut(item)?;
        found.attempt += 1;
        found.stamp += 1;
        found.state = State::Leased(holder);
        let lease = Lease { item, attempt: found.attempt, token: found.token };
        let group = found.group;
        self.counts.leased += 1;
        self.pop(group);
        self.leave(group);
        Some(lease)
    }

    /// The token of the item that would be taken next.
    pub fn peek(&mut self) -> Option<u64> {
        self.front().map(|(_, token)| token)
    }

    /// An item is done, by who holds that attempt. False when that lease had ended: nothing happened.
    pub fn done(&mut self, item: Key, attempt: u32, holder: H) -> bool {
        let is_held = self.holds(item, attempt, holder);
        if is_held {
            self.items.remove(item);
            self.counts.leased -= 1;
        }
        is_held
    }

    /// A lease ended without a result.
    pub fn lost(&mut self, item: Key, attempt: u32, holder: H, patience: &Patience, now: Instant) -> Lost {
        if !self.holds(item, attempt, holder) {
            return Lost::Late;
        }
        self.counts.leased -= 1;
        let Some(found) = self.items.get_mut(item) else { return Lost::Late };
        let tried = found.attempt - found.forgiven;
        if tried >= patience.attempts_max {
            found.state = State::Dead;
            self.counts.dead += 1;
            return Lost::Dead;
        }
        let at = now + patience.pause_after(tried);
        found.state = State::Delayed(at);
        self.counts.delayed += 1;
        self.delayed.push(Reverse((at, item, found.stamp)));
        Lost::Again(at)
    }

    /// A lease is given back unused, by who never began it: the attempt does not count, and the item is ready.
    pub fn give_back(&mut self, item: Key, attempt: u32, holder: H) -> bool {
        if !self.holds(item, attempt, holder) {
            return false;
        }
        let Some(found) = self.items.get_mut(item) else { return false };
        found.forgiven += 1;
        self.counts.leased -= 1;
        self.make_ready(item);
        true
    }

    /// An item is found dead, as it was kept.
    pub fn bury(&mut self, item: Key) {
        let Some(found) = self.items.get_mut(item) else { return };
        found.stamp += 1;
        let group = found.group;
        match core::mem::replace(&mut found.state, State::Dead) {
            State::Ready => self.leave(group),
            State::Delayed(_) => self.counts.delayed -= 1,
            State::Leased(_) => self.counts.leased -= 1,
            State::Dead => self.counts.dead -= 1,
        }
        self.counts.dead += 1;
    }

    /// A dead item is ready again, with all its attempts before it. Whether it was dead.
    pub fn revive(&mut self, item: Key) -> bool {
        let Some(found) = self.items.get_mut(item).filter(|found| found.state == State::Dead) else {
            return false;
        };
        found.forgiven = found.attempt;
        self.counts.dead -= 1;
        self.make_ready(item);
        true
    }

    /// An item is wanted no more, wherever it is; says where it was. Who holds it will be late.
    pub fn remove(&mut self, item: Key) -> Option<State<H>> {
        let found = self.items.remove(item)?;
        match found.state {
            State::Ready => self.leave(found.group),
            State::Delayed(_) => self.counts.delayed -= 1,
            State::Leased(_) => self.counts.leased -= 1,
            State::Dead => self.counts.dead -= 1,
        }
        Some(found.state)
    }

    /// Makes ready what has paused long enough.
    pub fn wake(&mut self, now: Instant) {
        while let Some(&Reverse((at, item, stamp))) = self.delayed.peek() {
            let is_true = self.is_delayed(item, stamp);
            if is_true && at > now {
                return;
            }
            self.delayed.pop();
            if is_true {
                self.counts.delayed -= 1;
                self.make_ready(item);
            }
        }
    }

    /// When the next pause is over.
    pub fn next_due(&mut self) -> Option<Instant> {
        while let Some(&Reverse((at, item, stamp))) = self.delayed.peek() {
            if self.is_delayed(item, stamp) {
                return Some(at);
            }
            self.delayed.pop();
        }
        None
    }

    fn holds(&self, item: Key, attempt: u32, holder: H) -> bool {
        let found = self.items.get(item);
        found.is_some_and(|found| found.attempt == attempt && found.state == State::Leased(holder))
    }

    fn is_delayed(&self, item: Key, stamp: u32) -> bool {
        let found = self.items.get(item);
        found.is_some_and(|found| found.stamp == stamp && matches!(found.state, State::Delayed(_)))
    }

    fn make_ready(&mut self, item: Key) {
        let Some(found) = self.items.get_mut(item) else { return };
        found.stamp += 1;
        found.state = State::Ready;
        let (group, stamp) = (found.group, found.stamp);
        self.counts.ready += 1;
        self.line_up(item, group, stamp);
    }

    fn line_up(&mut self, item: Key, group: u32, stamp: u32) {
        let Self { lines, turns, stamped, .. } = self;
        let line = lines.entry(group).or_insert_with(|| {
            *stamped += 1;
            turns.push_back((group, *stamped));
            Line { waiting: VecDeque::new(), ready: 0, stamp: *stamped }
        });
        line.ready += 1;
        line.waiting.push_back((item, stamp));
    }

    /// An item of that group is not ready any more; the last takes the line with it.
    fn leave(&mut self, group: u32) {
        self.counts.ready -= 1;
        let Some(line) = self.lines.get_mut(&group) else { return };
        line.ready -= 1;
        if line.ready == 0 {
            self.lines.remove(&group);
        }
    }

    /// The true front of the line whose turn it is, after passing over what has left.
    fn front(&mut self) -> Option<(Key, u64)> {
        loop {
            let (group, stamp) = *self.turns.front()?;
            let Some(line) = self.lines.get_mut(&group).filter(|line| line.stamp == stamp) else {
                self.turns.pop_front();
                continue;
            };
            let Some((key, stamp)) = line.waiting.front().copied() else {
                self.turns.pop_front();
                continue;
            };
            let item = self.items.get(key).filter(|item| item.stamp == stamp);
            if let Some(item) = item.filter(|item| item.state == State::Ready) {
                return Some((key, item.token));
            }
            line.waiting.pop_front();
        }
    }

    /// Takes the front of a group's line away; the next turn is another group's.
    fn pop(&mut self, group: u32) {
        self.turns.pop_front();
        let Some(line) = self.lines.get_mut(&group) else { return };
        line.waiting.pop_front();
        if line.ready > 1 {
            self.turns.push_back((group, line.stamp));
        }
    }
}
