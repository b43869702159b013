//! Clients that wait for a result, each until it comes or for as long as it said.

use crate::peer::Asker;
use crate::uuid::Uuid;
use machine::{Deadlines, Instant, TimerId};
use std::collections::BTreeMap;

/// Who waits for what.
#[derive(Debug, Default)]
pub struct Waiters {
    waiting: BTreeMap<u64, (Uuid, Asker, Instant)>,
    by_task: BTreeMap<Uuid, Vec<u64>>,
    deadlines: Deadlines,
    numbered: u64,
}

impl Waiters {
    /// Somebody waits for that task until then.
    pub fn add(&mut self, task: Uuid, asker: Asker, until: Instant) {
        self.numbered += 1;
        self.waiting.insert(self.numbered, (task, asker, until));
        self.by_task.entry(task).or_default().push(self.numbered);
        self.deadlines.set(TimerId(self.numbered), Some(until));
    }

    /// It has come: everybody who waited for it.
    pub fn come(&mut self, task: Uuid) -> Vec<Asker> {
        let numbers = self.by_task.remove(&task).unwrap_or_default();
        let found = numbers.into_iter().filter_map(|number| {
            self.deadlines.set(TimerId(number), None);
            self.waiting.remove(&number)
        });
        found.map(|(_, asker, _)| asker).collect()
    }

    /// The next who has waited long enough.
    pub fn due(&mut self, now: Instant) -> Option<(Uuid, Asker)> {
        let TimerId(number) = self.deadlines.due(now)?;
        let (task, asker, _) = self.waiting.remove(&number)?;
        if let Some(numbers) = self.by_task.get_mut(&task) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_task.remove(&task);
            }
        }
        Some((task, asker))
    }

    /// Nobody waits longer than that, and who waits for what will not come, until `now`.
    pub fn bound(&mut self, now: Instant, latest: Instant, comes: impl Fn(Uuid) -> bool) {
        for (number, (task, _, until)) in &mut self.waiting {
            *until = (*until).min(if comes(*task) { latest } else { now });
            self.deadlines.set(TimerId(*number), Some(*until));
        }
    }

    /// When that is.
    pub fn next_due(&mut self) -> Option<Instant> {
        self.deadlines.earliest()
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nobody does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
