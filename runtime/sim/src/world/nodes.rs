//! Nodes that start, stop, die and come back. A process that ends takes its connections, lanes and links with it;
//! its disk keeps what was safe, and of the rest what chance lets survive.

use super::events::Event;
use super::{Core, Lane, Node, World};
use crate::desk::{Desk, Told};
use crate::disk::Log;
use crate::net::Holder;
use core::time::Duration;
use machine::{CoreId, Gauges, Instant, NodeId, Shard, Why};
use std::collections::BTreeMap;
use wire::peer::Message;

/// How far apart the origins of two nodes' clocks may be.
const ORIGINS_APART: Duration = Duration::from_secs(3600);

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    pub(super) fn add_node(&mut self, node: NodeId) {
        let cores = usize::from(self.setup.cores);
        // The first node's clock is the world's, so that tests of one node need no conversion.
        let origin = match node.0 {
            0 => Duration::ZERO,
            _ => Duration::from_nanos(self.chance.schedule.between(0, machine::time::nanos(ORIGINS_APART))),
        };
        self.nodes.push(Node {
            alive: false,
            life: 0,
            origin,
            wall_shift_us: 0,
            cores: Vec::new(),
            listeners: Vec::new(),
            children: BTreeMap::new(),
            kept: (0..cores).map(|_| Log::default()).collect(),
            disk_full: false,
            full_until: Instant::ZERO,
            pids: 100,
            lanes: Vec::new(),
            children_spawned: vec![0; cores],
        });
        self.start(node);
    }

    /// Starts a node: every shard made, replayed and started.
    fn start(&mut self, node: NodeId) {
        let life = self.node(node).life + 1;
        let kept = core::mem::take(&mut self.node_mut(node).kept);
        let mut cores = Vec::new();
        let mut shards = Vec::new();
        for number in 0..kept.len() {
            let seat = self.seat(node, CoreId(number as u16));
            let name = u64::from(node.0) << 40 | life << 16 | number as u64;
            let mut shard = S::new(seat, &self.setup.config, self.chance.seed.within("shard", name));
            if self.setup.all_logs {
                let others = kept.iter().enumerate().filter(|(other, _)| *other != number);
                others.for_each(|(_, log)| log.replay(|what| shard.on_replay(what)));
            }
            kept[number].replay(|what| shard.on_replay(what));
            shards.push(shard);
        }
        for (number, (log, shard)) in kept.into_iter().zip(shards).enumerate() {
            let seat = self.seat(node, CoreId(number as u16));
            let spawned = self.node(node).children_spawned[number];
            let desk = Desk::new(seat, self.setup.limits, log, spawned);
            cores.push(Core { shard, desk, turn_at: None, busy_until: self.time });
        }
        let lanes = (0..cores.len() * cores.len()).map(|_| Lane::default()).collect();
        let found = self.node_mut(node);
        found.life = life;
        found.alive = true;
        found.cores = cores;
        found.lanes = lanes;
        found.listeners.clear();
        for core in self.seats(node) {
            self.call(node, core, "on_start", (life, 0), |shard, now, out| shard.on_start(now, out));
            self.rouse(node, core);
        }
    }

    /// Whether that node runs.
    #[must_use]
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.node(node).alive
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> u16 {
        self.setup.nodes
    }

    /// How many cores each node has.
    #[must_use]
    pub fn cores(&self) -> u16 {
        self.setup.cores
    }

    /// The node's power fails: what no commit had made safe is torn.
    pub fn power_cut(&mut self, node: NodeId) {
        self.down(node, true);
    }

    /// The node's process is killed: the kernel closes its connections and keeps what it was given to write.
    pub fn kill(&mut self, node: NodeId) {
        self.down(node, false);
    }

    /// The node's process stands still for so long, as by SIGSTOP. Disk and network go on, so all that happened
    /// meanwhile comes at once after it.
    pub fn pause(&mut self, node: NodeId, span: Duration) {
        if !self.node(node).alive {
            return;
        }
        self.note(None, "pause", u64::from(node.0), machine::time::nanos(span));
        let until = self.time + span;
        let life = self.life(node);
        for core in self.seats(node) {
            let found = self.core_mut(node, core);
            found.busy_until = found.busy_until.max(until);
            if found.turn_at.is_some_and(|at| at < until) {
                found.turn_at = Some(until);
                self.enter(until, Event::Turn(life, core));
            }
        }
    }

    /// Starts a node that is down, from what its disk kept.
    ///
    /// # Panics
    /// When it runs.
    pub fn restart(&mut self, node: NodeId) {
        assert!(!self.node(node).alive, "a node that runs is not started");
        self.note(None, "restart", u64::from(node.0), 0);
        self.start(node);
        for other in (0..self.setup.nodes).map(NodeId).filter(|other| *other != node) {
            self.link_retry(node, other);
        }
    }

    fn down(&mut self, node: NodeId, power: bool) {
        if !self.node(node).alive {
            return;
        }
        self.note(None, if power { "power cut" } else { "kill" }, u64::from(node.0), 0);
        let found = self.node_mut(node);
        found.alive = false;
        found.children.clear();
        found.listeners.clear();
        for core in self.seats(node) {
            let desk = &mut self.core_mut(node, core).desk;
            let (log, spawned) = (core::mem::take(&mut desk.log), desk.children);
            let unchecked = power && self.lies(self.setup.lies.unchecked, "lie: unchecked");
            let (log, torn) = log.cut(power, unchecked, &mut self.chance.disk);
            if torn {
                self.counts.count("log lost its tail");
            }
            let found = self.node_mut(node);
            found.kept.push(log);
            found.children_spawned[core.index()] = spawned;
        }
        self.drop_wires(node, power);
        for other in (0..self.setup.nodes).map(NodeId).filter(|other| *other != node) {
            self.link_ends(node, other, if power { Why::TimedOut } else { Why::Reset });
            self.links.way(node, other).up = false;
        }
    }

    fn drop_wires(&mut self, node: NodeId, power: bool) {
        for key in self.wires.keys() {
            let Some(wire) = self.wires.get(key) else { continue };
            let ours = wire
                .ends
                .map(|holder| matches!(holder, Holder::Shard(of, ..) | Holder::Child(of, ..) if of == node));
            match ours {
                [true, true] => {
                    self.wires.remove(key);
                }
                [true, false] => self.break_off(key, 0, if power { Why::TimedOut } else { Why::Reset }),
                [false, true] => self.break_off(key, 1, if power { Why::TimedOut } else { Why::Reset }),
                [false, false] => {}
            }
        }
    }

    /// Orders every core of a node to drain, within ten seconds.
    pub fn drain(&mut self, node: NodeId) {
        let by = self.now_on(node).at + Duration::from_secs(10);
        for core in self.seats(node) {
            let desk = &mut self.core_mut(node, core).desk;
            desk.draining = true;
            desk.told.push_back(Told::Drain(by));
            self.rouse(node, core);
        }
    }

    /// Whether every core of a node has said that it is drained.
    #[must_use]
    pub fn drained(&self, node: NodeId) -> bool {
        self.node(node).cores.iter().all(|core| core.desk.drained)
    }

    /// Gives every core of every node a new configuration, also those started later.
    pub fn reload(&mut self, config: S::Config) {
        self.setup.config = config;
        for node in (0..self.setup.nodes).map(NodeId) {
            for core in self.seats(node) {
                self.core_mut(node, core).desk.told.push_back(Told::Reload);
                if self.node(node).alive {
                    self.rouse(node, core);
                }
            }
        }
    }

    /// Moves the wall clock of a node; its other clock goes on as before.
    pub fn move_wall(&mut self, node: NodeId, by_us: i64) {
        self.note(None, "wall clock moved", u64::from(node.0), by_us as u64);
        self.node_mut(node).wall_shift_us += by_us;
    }

    /// The gauges of all cores of a node, added up.
    #[must_use]
    pub fn gauges(&self, node: NodeId) -> Gauges {
        let mut sum = Gauges::new();
        for core in &self.node(node).cores {
            let mut gauges = Gauges::new();
            core.shard.gauges(&mut gauges);
            sum.add(&gauges);
        }
        sum
    }

    pub(super) fn plan_restart(&mut self, node: NodeId, after: Duration) {
        let life = self.node(node).life;
        self.enter(self.time + after, Event::Restart(node, life));
    }
}
