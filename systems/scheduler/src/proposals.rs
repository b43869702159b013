//! What this node wants in the ledger and does not see there yet: kept, and said again to whoever leads, until it is
//! applied here or its time is over. Saying it twice does no harm: each fact is of a kind that has no effect the second
//! time.

use crate::entry::{Entry, Fact, Origin};
use crate::node::How;
use core::time::Duration;
use machine::{Instant, Now};
use std::collections::BTreeMap;
use web::AskId;

/// How long somebody who asked waits for a majority.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How long without a leader before those who wait are told so.
pub const LEADERLESS: Duration = Duration::from_millis(1500);

/// After this a proposal that was not applied is said again.
const AGAIN: Duration = Duration::from_millis(400);

/// Proposals of people that may wait at once; one more is told to come later.
pub const WAITING_MAX: usize = 20_000;

/// Something proposed.
#[derive(Clone, Debug)]
struct Pending {
    fact: Fact,
    asker: Option<(AskId, How)>,
    since: Instant,
    said: Option<Instant>,
}

/// All of them.
#[derive(Debug)]
pub struct Proposals {
    node: u16,
    life: u64,
    number: u64,
    pending: BTreeMap<u64, Pending>,
    /// Those that were not said since the leader changed, or never: no need to look at all of them.
    fresh: Vec<u64>,
    looked: Instant,
}

impl Proposals {
    /// None.
    #[must_use]
    pub fn new(node: u16, life: u64) -> Self {
        Self { node, life, number: 0, pending: BTreeMap::new(), fresh: Vec::new(), looked: Instant::ZERO }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// One more.
    pub fn add(&mut self, now: Instant, fact: Fact, asker: Option<(AskId, How)>) {
        self.number += 1;
        self.pending.insert(self.number, Pending { fact, asker, since: now, said: None });
        self.fresh.push(self.number);
    }

    /// There is another leader: all are to be said again.
    pub fn leader_changed(&mut self) {
        self.fresh = self.pending.keys().copied().collect();
    }

    /// What is to be said to the leader now.
    pub fn due(&mut self, now: Instant) -> Vec<(Origin, Fact)> {
        let mut numbers = core::mem::take(&mut self.fresh);
        if now.since(self.looked) >= AGAIN / 2 {
            self.looked = now;
            let is_old = |pending: &Pending| pending.said.is_some_and(|said| now.since(said) >= AGAIN);
            numbers.extend(self.pending.iter().filter(|(_, each)| is_old(each)).map(|(number, _)| *number));
        }
        let mut due = Vec::new();
        for number in numbers {
            let Some(pending) = self.pending.get_mut(&number) else { continue };
            pending.said = Some(now);
            due.push((Origin { node: self.node, life: self.life, number }, pending.fact.clone()));
        }
        due
    }

    /// An entry was applied: who waits for it, if it is one of ours.
    pub fn applied(&mut self, origin: Origin) -> Option<Option<(AskId, How)>> {
        if (origin.node, origin.life) != (self.node, self.life) {
            return None;
        }
        self.pending.remove(&origin.number).map(|pending| pending.asker)
    }

    /// Whose time is over. What nobody asked for is dropped too: whoever proposed it looks at the ledger and proposes
    /// again.
    pub fn expired(&mut self, now: Instant, patience: Duration) -> Vec<AskId> {
        let is_over = |pending: &Pending| now.since(pending.since) >= patience;
        let over: Vec<u64> =
            self.pending.iter().filter(|(_, each)| is_over(each)).map(|(number, _)| *number).collect();
        let asker = |number| self.pending.remove(&number)?.asker.map(|(ask, _)| ask);
        over.into_iter().filter_map(asker).collect()
    }

    /// Everybody who waits.
    pub fn askers(&self) -> impl Iterator<Item = AskId> {
        self.pending.values().filter_map(|pending| pending.asker.map(|(ask, _)| ask))
    }

    /// All are given up; this node begins another life.
    pub fn renew(&mut self, life: u64) {
        self.life = life;
        self.pending.clear();
        self.fresh.clear();
    }
}

/// An entry as a leader proposes it.
#[must_use]
pub fn entry(now: Now, origin: Origin, fact: Fact) -> Entry {
    Entry { origin, at_ms: now.wall.millis(), fact }
}
