//! The world: its nodes, what is on the way between them, and its clock, which jumps from one thing that happens
//! to the next. Everything in it is decided by the seed, the setup and what the test does; nothing else.

mod accept;
mod blows;
mod call;
mod client;
mod completions;
mod events;
mod family;
mod links;
mod nodes;
mod storage;
mod streams;
mod turn;

pub use client::{Client, Door};

use crate::agenda::Agenda;
use crate::children::{Child, ScriptFor};
use crate::counts::Counts;
use crate::desk::Desk;
use crate::disk::Log;
use crate::link::Links;
use crate::net::Wire;
use crate::server::Server;
use crate::setup::Setup;
use crate::trace::{Step, Trace};
use client::Talk;
use core::time::Duration;
use events::Event;
use machine::{
    Address, Chance, ChildId, CoreId, Instant, ListenerId, NodeId, Now, Seat, Shard, Slab, Stream, WallTime,
};
use std::collections::BTreeMap;
use wire::peer::Message;

/// 2026-01-01T00:00:00Z: what the wall shows when a world begins.
const WALL_AT_START: WallTime = WallTime::from_millis(1_767_225_600_000);

/// A seeded world of `nodes` × `cores` shards.
pub struct World<S: Shard>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    seed: u64,
    setup: Setup<S::Config>,
    time: Instant,
    agenda: Agenda<Event>,
    nodes: Vec<Node<S>>,
    wires: Slab<Wire>,
    links: Links,
    clients: Vec<Talk>,
    servers: Vec<(Address, Option<Box<dyn Server>>)>,
    scripts: Option<ScriptFor>,
    trace: Trace,
    counts: Counts,
    chance: Chances,
    calm: bool,
}

/// The streams that one seed is split into.
struct Chances {
    seed: Chance,
    schedule: Stream,
    network: Stream,
    disk: Stream,
    children: Stream,
    faults: Stream,
    workload: Stream,
    spent: Stream,
}

impl Chances {
    fn new(seed: u64) -> Self {
        let seed = Chance::new(seed);
        let [schedule, network, disk, children, faults, workload, spent] =
            ["schedule", "network", "disk", "children", "faults", "workload", "spent"]
                .map(|name| seed.stream(name));
        Self { seed, schedule, network, disk, children, faults, workload, spent }
    }
}

/// One node: a process that may die, on a machine that may lose power.
struct Node<S: Shard> {
    alive: bool,
    /// How often it was started: what was under way for an earlier life finds nobody.
    life: u64,
    /// What its instants count from, as seen by the world: two nodes' clocks have nothing in common.
    origin: Duration,
    wall_shift_us: i64,
    cores: Vec<Core<S>>,
    listeners: Vec<Bound>,
    children: BTreeMap<ChildId, Child>,
    /// What its disk keeps while it is down, by core.
    kept: Vec<Log>,
    disk_full: bool,
    /// Full by chance until then.
    full_until: Instant,
    pids: u32,
    /// Batches between its cores, by from × cores + to.
    lanes: Vec<Lane>,
    children_spawned: Vec<u64>,
}

/// What flies from one core to another.
#[derive(Default)]
struct Lane {
    flying: std::collections::VecDeque<Vec<crate::desk::Parcel>>,
    last_at: Instant,
}

/// An address that cores of a node listen at.
struct Bound {
    at: Address,
    by: Vec<(CoreId, ListenerId)>,
}

/// One core: its shard, and the desk at which it asks.
struct Core<S: Shard> {
    shard: S,
    desk: Desk<S::Said>,
    turn_at: Option<Instant>,
    busy_until: Instant,
}

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    /// A world in which every core has started and every listener asked for in `on_start` is bound.
    #[must_use]
    pub fn new(seed: u64, setup: Setup<S::Config>) -> Self {
        assert!(setup.nodes > 0 && setup.cores > 0, "a world has a node and a core");
        let mut world = Self {
            seed,
            time: Instant::ZERO,
            agenda: Agenda::new(),
            nodes: Vec::new(),
            wires: Slab::new(),
            links: Links::default(),
            clients: Vec::new(),
            servers: Vec::new(),
            scripts: None,
            trace: Trace::default(),
            counts: Counts::new(),
            chance: Chances::new(seed),
            calm: false,
            setup,
        };
        for node in 0..world.setup.nodes {
            world.add_node(NodeId(node));
        }
        world.link_all();
        world.plan_blow();
        world
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How much virtual time has passed.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.time
    }

    /// Both clocks as a node shows them now.
    #[must_use]
    pub fn now_on(&self, node: NodeId) -> Now {
        let of = &self.nodes[usize::from(node.0)];
        let micros = (WALL_AT_START + self.time.since(Instant::ZERO)).micros();
        let wall = WallTime::from_micros(micros.saturating_add_signed(of.wall_shift_us));
        Now { at: self.time + of.origin, wall }
    }

    /// The stream from which a test draws what it does.
    pub fn workload(&mut self) -> &mut Stream {
        &mut self.chance.workload
    }

    /// The shard of that core, to be looked at. While its node is down: as it was.
    #[must_use]
    pub fn shard(&self, node: NodeId, core: CoreId) -> &S {
        &self.nodes[usize::from(node.0)].cores[core.index()].shard
    }

    /// What happened how often: `on_bytes`, `fault: reset`.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// All steps so far in one number: equal for equal seeds.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Seed, time and the last twenty steps.
    #[must_use]
    pub fn report(&self) -> String {
        format!(
            "seed {} at {:?}, {} steps, trace {:016x}; the last steps:\n{}",
            self.seed,
            self.time,
            self.trace.steps(),
            self.trace.hash(),
            self.trace.text()
        )
    }

    /// Does the next thing that happens; false when nothing will ever happen.
    pub fn step(&mut self) -> bool {
        let Some((at, event)) = self.agenda.next() else { return false };
        debug_assert!(at >= self.time, "time never goes back");
        self.time = self.time.max(at);
        self.happen(event);
        true
    }

    /// Lets that much virtual time pass.
    pub fn run_for(&mut self, span: Duration) {
        let until = self.time + span;
        while self.agenda.earliest().is_some_and(|at| at <= until) {
            self.step();
        }
        self.time = until;
    }

    /// Runs until the condition holds; false when it does not within `span` of virtual time.
    pub fn run_within(&mut self, span: Duration, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let until = self.time + span;
        loop {
            if holds(self) {
                return true;
            }
            if self.agenda.earliest().is_none_or(|at| at > until) {
                self.time = until;
                return holds(self);
            }
            self.step();
        }
    }

    /// Runs until the condition holds.
    ///
    /// # Panics
    /// When it does not within the setup's patience (60 s of virtual time).
    #[track_caller]
    pub fn run_until(&mut self, holds: impl FnMut(&Self) -> bool) {
        let patience = self.setup.patience;
        assert!(self.run_within(patience, holds), "what was waited for did not come in {patience:?}");
    }

    /// How much virtual time `run_until` gives.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.setup.patience
    }

    fn enter(&mut self, at: Instant, event: Event) {
        let at = at.max(self.time);
        self.agenda.enter(at, event, &mut self.chance.schedule);
    }

    fn note(&mut self, place: Option<(NodeId, CoreId)>, what: &'static str, who: u64, detail: u64) {
        self.counts.count(what);
        self.trace.step(Step { at: self.time, place, what, who, detail });
    }

    /// Whether a fault of that chance strikes now.
    fn strikes(&mut self, per_mille: u64, name: &'static str) -> bool {
        if self.calm || per_mille == 0 || !self.chance.faults.one_in_thousand(per_mille) {
            return false;
        }
        self.counts.count(name);
        true
    }

    /// Whether the world lies now. Lies go on in a calm world.
    fn lies(&mut self, per_mille: u64, name: &'static str) -> bool {
        if per_mille == 0 || !self.chance.faults.one_in_thousand(per_mille) {
            return false;
        }
        self.counts.count(name);
        true
    }

    fn some_of(&mut self, most: Duration) -> Duration {
        Duration::from_nanos(self.chance.faults.between(1, machine::time::nanos(most).max(1)))
    }

    fn node(&self, node: NodeId) -> &Node<S> {
        &self.nodes[usize::from(node.0)]
    }

    fn node_mut(&mut self, node: NodeId) -> &mut Node<S> {
        &mut self.nodes[usize::from(node.0)]
    }

    fn core_mut(&mut self, node: NodeId, core: CoreId) -> &mut Core<S> {
        &mut self.nodes[usize::from(node.0)].cores[core.index()]
    }

    fn seats(&self, node: NodeId) -> impl Iterator<Item = CoreId> + use<S> {
        (0..self.node(node).cores.len() as u16).map(CoreId)
    }

    fn seat(&self, node: NodeId, core: CoreId) -> Seat {
        Seat { node, core, cores: self.setup.cores }
    }
}

impl<S: Shard> Drop for World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    fn drop(&mut self) {
        // A world that lies is meant to fail.
        if std::thread::panicking() && !self.setup.lies.any() {
            eprintln!("{}", self.report());
        }
    }
}
