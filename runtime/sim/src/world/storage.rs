//! Commits: one at a time a core, all that was logged before it began made safe together. A full disk is told
//! once and tried again; a failed one is told once, for good.

use super::World;
use super::events::Event;
use crate::desk::Told;
use core::time::Duration;
use machine::{CoreId, NodeId, Shard, Stored};
use wire::peer::Message;

/// How long a commit takes, in nanoseconds: between these.
const COMMIT: (u64, u64) = (80_000, 2_000_000);
/// How often a full disk is tried again.
const RETRY: Duration = Duration::from_millis(100);

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    pub(super) fn commit_begins(&mut self, node: NodeId, core: CoreId) {
        if !self.core_mut(node, core).desk.log.wants_commit() {
            return;
        }
        let life = self.life(node);
        if self.strikes(self.setup.faults.disk_fails, "fault: disk failed") {
            self.fail_disk_of(node, core);
            return;
        }
        if self.is_full(node) {
            if self.core_mut(node, core).desk.log.full() {
                self.tell_stored(node, core, Stored::Full);
            }
            if self.core_mut(node, core).desk.log.give_up_snapshots() {
                self.tell_stored(node, core, Stored::Unsaved);
            }
            self.enter(self.time + RETRY, Event::Retry(life, core));
            return;
        }
        let mut takes = Duration::from_nanos(self.chance.disk.between(COMMIT.0, COMMIT.1));
        if self.strikes(self.setup.faults.slow_disk, "fault: slow disk") {
            takes += self.some_of(self.setup.faults.slow_disk_max);
        }
        let lying = self.lies(self.setup.lies.unsynced, "lie: unsynced");
        self.core_mut(node, core).desk.log.begin(lying);
        self.enter(self.time + takes, Event::Commit(life, core));
    }

    fn is_full(&mut self, node: NodeId) -> bool {
        if self.strikes(self.setup.faults.full, "fault: disk full") {
            let until = self.time + self.some_of(self.setup.faults.full_max);
            self.node_mut(node).full_until = until;
        }
        let found = self.node(node);
        let held: u64 = found.cores.iter().map(|core| core.desk.log.bytes()).sum();
        let by_chance = found.full_until > self.time && !self.calm;
        found.disk_full || by_chance || held > self.setup.limits.disk_max
    }

    pub(super) fn commit_ends(&mut self, node: NodeId, core: CoreId) {
        for told in self.core_mut(node, core).desk.log.end() {
            self.tell_stored(node, core, told);
        }
        self.commit_begins(node, core);
    }

    fn tell_stored(&mut self, node: NodeId, core: CoreId, what: Stored) {
        self.core_mut(node, core).desk.told.push_back(Told::Stored(what));
        self.rouse(node, core);
    }

    fn fail_disk_of(&mut self, node: NodeId, core: CoreId) {
        let log = &mut self.core_mut(node, core).desk.log;
        if !core::mem::replace(&mut log.failed, true) {
            self.tell_stored(node, core, Stored::Failed);
        }
    }

    /// The node's disk has no room from now on.
    pub fn fill_disk(&mut self, node: NodeId) {
        self.note(None, "disk filled", u64::from(node.0), 0);
        self.node_mut(node).disk_full = true;
    }

    /// The node's disk has room again.
    pub fn free_disk(&mut self, node: NodeId) {
        self.note(None, "disk freed", u64::from(node.0), 0);
        self.node_mut(node).disk_full = false;
        self.node_mut(node).full_until = self.time;
    }

    /// The node's disk fails: nothing more is stored before a restart.
    pub fn fail_disk(&mut self, node: NodeId) {
        self.note(None, "disk failed", u64::from(node.0), 0);
        for core in self.seats(node) {
            self.fail_disk_of(node, core);
        }
    }
}
