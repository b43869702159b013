//! Tasks and the units that work on them: each loads one processor of its unit for its whole time, and waits in the
//! unit's queue until one is free.
//!
//! The one hard thing is that a task is never lost and never twice while it moves. It is taken from its unit before
//! it is offered to another; until the answer comes it belongs to neither and lies in the crew's hands; refused, it
//! goes back to its unit, or is counted as lost with it, if that has died meanwhile. So at every moment
//! `created = finished + lost + present + moving`, added over all cores.

use crate::share::Local;
use core::time::Duration;
use machine::Instant;
use std::collections::{BTreeMap, VecDeque};

/// The most tasks of a unit; one more is refused.
pub const TASKS_MAX: usize = 1 << 20;

/// A task: work that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// How much longer a processor is busy with it.
    pub left: Duration,
}

/// A task on its way to another unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MoveId(pub u64);

/// One unit's tasks.
#[derive(Debug)]
struct Bench {
    cpu: u32,
    is_alive: bool,
    waiting: VecDeque<Task>,
    /// By when they are finished, in the order in which they were begun at that instant.
    running: BTreeMap<(Instant, u64), ()>,
}

impl Bench {
    fn load(&self) -> u32 {
        (self.waiting.len() + self.running.len()) as u32
    }
}

/// What a crew counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tasks that came to be.
    pub created: u64,
    /// Tasks whose time has passed on a processor.
    pub finished: u64,
    /// Tasks whose unit died.
    pub lost: u64,
    /// Tasks that came here from another unit.
    pub moved_in: u64,
    /// Tasks that went to another unit, which took them.
    pub moved_out: u64,
    /// Tasks that were refused and came back.
    pub bounced: u64,
}

/// The units of one core at work.
#[derive(Debug, Default)]
pub struct Crew {
    benches: Vec<Bench>,
    moving: BTreeMap<MoveId, (Local, Task)>,
    /// When each unit is next done with a task.
    due: BTreeMap<(Instant, Local), ()>,
    moves: u64,
    begun: u64,
    counts: Counts,
}

impl Crew {
    /// Adds a unit of so many processors, without tasks.
    pub fn add(&mut self, cpu: u32) -> Local {
        let (waiting, running) = (VecDeque::new(), BTreeMap::new());
        self.benches.push(Bench { cpu, is_alive: true, waiting, running });
        Local(self.benches.len() as u32 - 1)
    }

    /// What was counted.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Tasks of all units here.
    #[must_use]
    pub fn present(&self) -> u64 {
        self.benches.iter().map(|bench| u64::from(bench.load())).sum()
    }

    /// Tasks that left a unit here and have not arrived.
    #[must_use]
    pub fn moving(&self) -> u64 {
        self.moving.len() as u64
    }

    /// Tasks of a unit, those it works on included.
    #[must_use]
    pub fn load(&self, local: Local) -> u32 {
        self.benches[local.index()].load()
    }

    /// When a processor is next free; the crew is to be [`woken`](Self::work) then.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), ())| *at)
    }

    /// A new task for a unit. False when it is dead, or has [`TASKS_MAX`].
    pub fn create(&mut self, local: Local, task: Task, now: Instant) -> bool {
        let is_taken = self.put(local, task, now);
        self.counts.created += u64::from(is_taken);
        is_taken
    }

    fn put(&mut self, local: Local, task: Task, now: Instant) -> bool {
        let Some(bench) = self.benches.get_mut(local.index()) else { return false };
        if !bench.is_alive || bench.load() as usize >= TASKS_MAX {
            return false;
        }
        bench.waiting.push_back(task);
        self.begin(local, now);
        true
    }

    /// Gives tasks to processors that are free.
    fn begin(&mut self, local: Local, now: Instant) {
        let before = self.first_end(local);
        let bench = &mut self.benches[local.index()];
        while bench.running.len() < bench.cpu as usize
            && let Some(task) = bench.waiting.pop_front()
        {
            self.begun += 1;
            bench.running.insert((now + task.left, self.begun), ());
        }
        self.note_due(local, before);
    }

    fn first_end(&self, local: Local) -> Option<Instant> {
        self.benches[local.index()].running.first_key_value().map(|((at, _), ())| *at)
    }

    fn note_due(&mut self, local: Local, before: Option<Instant>) {
        let after = self.first_end(local);
        if before != after {
            before.map(|at| self.due.remove(&(at, local)));
            after.map(|at| self.due.insert((at, local), ()));
        }
    }

    /// Finishes what is finished by now, and begins what waits. At most `units_max` units are looked at; those whose
    /// load has changed are given.
    pub fn work(&mut self, now: Instant, units_max: usize) -> Vec<Local> {
        let mut changed = Vec::new();
        while let Some((&(at, local), ())) = self.due.first_key_value()
            && at <= now
            && changed.len() < units_max
        {
            let bench = &mut self.benches[local.index()];
            while let Some((&(end, number), ())) = bench.running.first_key_value()
                && end <= now
            {
                bench.running.remove(&(end, number));
                self.counts.finished += 1;
            }
            self.due.remove(&(at, local));
            let next = self.first_end(local);
            next.map(|at| self.due.insert((at, local), ()));
            self.begin(local, now);
            changed.push(local);
        }
        changed
    }

    /// Takes a task from a unit, to be offered to another: one that waits, else the one with most work left. None
    /// when it has none.
    pub fn take(&mut self, local: Local, now: Instant) -> Option<(MoveId, Task)> {
        let before = self.first_end(local);
        let bench = self.benches.get_mut(local.index()).filter(|bench| bench.is_alive)?;
        let task = match bench.waiting.pop_back() {
            Some(task) => task,
            None => {
                let ((end, _), ()) = bench.running.pop_last()?;
                Task { left: end.since(now) }
            }
        };
        self.note_due(local, before);
        self.moves += 1;
        let id = MoveId(self.moves);
        self.moving.insert(id, (local, task));
        Some((id, task))
    }

    /// A task comes from another unit. False when it cannot be taken.
    pub fn arrive(&mut self, local: Local, task: Task, now: Instant) -> bool {
        let is_taken = self.put(local, task, now);
        self.counts.moved_in += u64::from(is_taken);
        is_taken
    }

    /// The answer to an offer: it was taken, or comes back. A second answer changes nothing. Gives the unit that
    /// offered it, if its load changed by this.
    pub fn answered(&mut self, id: MoveId, is_taken: bool, now: Instant) -> Option<Local> {
        let (local, task) = self.moving.remove(&id)?;
        if is_taken {
            self.counts.moved_out += 1;
            return None;
        }
        self.counts.bounced += 1;
        if self.put(local, task, now) {
            return Some(local);
        }
        self.counts.lost += 1;
        None
    }

    /// A unit has died: its tasks are lost with it, but for those that are on their way.
    pub fn bury(&mut self, local: Local) {
        let before = self.first_end(local);
        let bench = &mut self.benches[local.index()];
        self.counts.lost += u64::from(bench.load());
        bench.is_alive = false;
        bench.waiting.clear();
        bench.running.clear();
        self.note_due(local, before);
    }

    /// A unit is there again, without tasks.
    pub fn revive(&mut self, local: Local) {
        self.benches[local.index()].is_alive = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    const TASK: Task = Task { left: Duration::from_secs(10) };

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_unit_works_on_as_many_tasks_as_it_has_processors() {
        let mut crew = Crew::default();
        let unit = crew.add(2);
        for _ in 0..3 {
            assert!(crew.create(unit, TASK, at(0)));
        }
        assert_eq!((crew.load(unit), crew.next_due()), (3, Some(at(10))));
        assert_eq!(crew.work(at(9), 10), []);
        assert_eq!(crew.work(at(10), 10), [unit]);
        assert_eq!((crew.load(unit), crew.next_due()), (1, Some(at(20))));
        crew.work(at(20), 10);
        assert_eq!((crew.counts().finished, crew.next_due()), (3, None));
    }

    #[test]
    fn a_task_that_is_refused_comes_back_with_the_work_it_had_left() {
        let mut crew = Crew::default();
        let unit = crew.add(1);
        crew.create(unit, TASK, at(0));
        let (id, task) = crew.take(unit, at(4)).unwrap();
        assert_eq!((task.left, crew.load(unit), crew.next_due()), (Duration::from_secs(6), 0, None));
        assert_eq!(crew.answered(id, false, at(5)), Some(unit));
        assert_eq!(crew.answered(id, false, at(5)), None, "a second answer changes nothing");
        assert_eq!((crew.load(unit), crew.next_due()), (1, Some(at(11))));
        crew.work(at(11), 1);
        assert_eq!(crew.take(unit, at(11)), None);
    }

    #[test]
    fn no_task_is_lost_or_twice_whatever_happens() {
        for seed in 0..500 {
            let mut draw = Chance::new(seed).stream("crew");
            let mut crews = [Crew::default(), Crew::default()];
            for crew in &mut crews {
                for _ in 0..3 {
                    crew.add(2);
                }
            }
            let mut offers = Vec::new();
            for second in 0..200 {
                let (home, unit) = (draw.below(2) as usize, Local(draw.below(3) as u32));
                let now = at(second);
                match draw.below(8) {
                    0..=2 => drop(crews[home].create(unit, TASK, now)),
                    3..=4 => offers.extend(crews[home].take(unit, now).map(|offer| (home, offer))),
                    5 if draw.below(4) == 0 => crews[home].bury(unit),
                    6 => crews[home].revive(unit),
                    _ if !offers.is_empty() => {
                        let (from, (id, task)) = offers.swap_remove(draw.below(offers.len() as u64) as usize);
                        let is_taken = crews[home].arrive(unit, task, now);
                        crews[from].answered(id, is_taken, now);
                    }
                    _ => drop(crews[home].work(now, 2)),
                }
                let sum = |part: fn(&Crew) -> u64| crews.iter().map(part).sum::<u64>();
                let gone = sum(|crew| crew.counts().finished + crew.counts().lost);
                let here = sum(|crew| crew.present() + crew.moving());
                assert_eq!(sum(|crew| crew.counts().created), gone + here, "seed {seed} at {second}");
                assert_eq!(sum(Crew::moving), offers.len() as u64);
            }
        }
    }
}
