//! Blows to whole nodes and links, by chance, while the world is not calm; and the calm after them, in which what
//! should converge must.

use super::World;
use super::events::Event;
use core::time::Duration;
use machine::{NodeId, Shard};
use wire::peer::Message;

/// The kinds of blow.
#[derive(Clone, Copy, Debug)]
enum Blow {
    CutLink,
    CutPower,
    Kill,
    WallJump,
    Pause,
    Flap,
}

/// How often a flapping link is cut, and how long it stays as it is, at most.
const FLAPS: u8 = 5;
const FLAP_MAX: Duration = Duration::from_millis(700);

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    pub(super) fn plan_blow(&mut self) {
        let every = self.setup.faults.blow_every;
        if !every.is_zero() && !self.calm {
            let after = self.some_of(every);
            self.enter(self.time + after, Event::Blow);
        }
    }

    pub(super) fn blow(&mut self) {
        if self.calm {
            return;
        }
        let faults = &self.setup.faults;
        let kinds = [
            (faults.cut_links && self.setup.nodes > 1, Blow::CutLink),
            (faults.cut_power, Blow::CutPower),
            (faults.kill, Blow::Kill),
            (faults.wall_jumps, Blow::WallJump),
            (faults.pauses, Blow::Pause),
            (faults.flaps && self.setup.nodes > 1, Blow::Flap),
        ];
        let kinds: Vec<Blow> = kinds.iter().filter(|(on, _)| *on).map(|(_, kind)| *kind).collect();
        let heal_max = faults.heal_max;
        let node = NodeId(self.chance.faults.below(u64::from(self.setup.nodes)) as u16);
        let heals = self.some_of(heal_max);
        let step = u64::from(self.setup.nodes.max(2)) - 1;
        match self.chance.faults.pick(&kinds) {
            None => return,
            Some(Blow::CutLink) => {
                let step = self.chance.faults.between(1, step) as u16;
                let other = NodeId((node.0 + step) % self.setup.nodes);
                let both = self.chance.faults.below(2) == 0;
                self.cut_link(node, other, both);
                self.enter(self.time + heals, Event::LinkHeals(node, other));
            }
            Some(Blow::CutPower) => {
                self.power_cut(node);
                self.plan_restart(node, heals);
            }
            Some(Blow::Kill) => {
                self.kill(node);
                self.plan_restart(node, heals);
            }
            Some(Blow::WallJump) => {
                let hours = 3_600_000_000;
                let by = self.chance.faults.between(0, 2 * hours) as i64 - hours as i64;
                self.move_wall(node, by);
            }
            Some(Blow::Pause) => self.pause(node, heals),
            Some(Blow::Flap) => {
                let step = self.chance.faults.between(1, step) as u16;
                self.flap(node, NodeId((node.0 + step) % self.setup.nodes), 2 * FLAPS);
            }
        }
        self.plan_blow();
    }

    /// Cuts a link and heals it, in turns, until none is left.
    pub(super) fn flap(&mut self, one: NodeId, other: NodeId, left: u8) {
        if self.calm {
            return;
        }
        if left.is_multiple_of(2) {
            self.cut_link(one, other, true);
        } else {
            self.heal_link(one, other);
        }
        if left > 1 {
            let after = self.some_of(FLAP_MAX);
            self.enter(self.time + after, Event::Flap(one, other, left - 1));
        }
    }

    /// No faults from now on: links heal, nodes that are down are started, disks have room. What the setup lies
    /// about it goes on lying about.
    pub fn calm(&mut self) {
        self.note(None, "calm", 0, 0);
        self.calm = true;
        for node in (0..self.setup.nodes).map(NodeId) {
            self.node_mut(node).disk_full = false;
            for other in (node.0 + 1..self.setup.nodes).map(NodeId) {
                self.heal_link(node, other);
            }
            if !self.node(node).alive {
                self.restart(node);
            }
        }
    }
}
