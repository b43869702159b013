//! Links and disks of several nodes: in order while a link is up, lost with it, told on both sides; what was safe
//! survives a power cut, what a snapshot stands for is replayed before what came after it.

use core::time::Duration;
use machine::{
    Blob, Chance, ConnId, CoreId, End, FANOUT_MAX, Gauges, Input, Instant, Kept, Link, LogMark, NodeId, Now,
    Opened, Order, Outbox, Peer, Seat, Shard, Stored, TimerId,
};
use sim::{Counts, Faults, Limits, Setup, World, for_seeds};
use std::collections::BTreeMap;

/// How often each core says a number to every core of every other node.
const EVERY: Duration = Duration::from_millis(5);
/// Records between two snapshots.
const SNAPSHOT_EVERY: u64 = 20;

/// How much the nodes say, and how many times as much as is allowed in one event.
#[derive(Clone, Copy, Debug)]
struct Config {
    nodes: u16,
    tells: usize,
}

/// Says numbers to all others, counts what it hears, and logs a number now and then.
struct Herald {
    seat: Seat,
    config: Config,
    up: BTreeMap<NodeId, bool>,
    /// The next number for each.
    said: BTreeMap<(NodeId, u16), u64>,
    /// The last number of each, in this life of its link.
    heard: BTreeMap<(NodeId, CoreId), u64>,
    ups: u64,
    downs: u64,
    logged: u64,
    safe: u64,
    marks: BTreeMap<LogMark, u64>,
    full: bool,
    /// What was replayed: the snapshot's number, and the last record's.
    replayed: (u64, u64),
}

impl Shard for Herald {
    type Config = Config;
    type Said = u64;
    type Heard = rkyv::Archived<u64>;

    fn new(seat: Seat, config: &Config, _: Chance) -> Self {
        Self {
            seat,
            config: *config,
            up: BTreeMap::new(),
            said: BTreeMap::new(),
            heard: BTreeMap::new(),
            ups: 0,
            downs: 0,
            logged: 0,
            safe: 0,
            marks: BTreeMap::new(),
            full: false,
            replayed: (0, 0),
        }
    }

    fn on_replay(&mut self, what: Kept<'_>) {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        match what {
            Kept::Part(part) => {
                assert_eq!(self.replayed, (0, 0), "parts come first, and this snapshot has one");
                self.replayed = (number(part), number(part));
            }
            Kept::Record(record) => {
                assert_eq!(number(record), self.replayed.1 + 1, "records follow the snapshot without a gap");
                self.replayed.1 += 1;
            }
        }
        self.logged = self.replayed.1;
        self.safe = self.replayed.1;
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = u64>) {
        out.wake(TimerId(0), Some(now.at + EVERY));
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = u64>) {
        for node in (0..self.config.nodes).map(NodeId).filter(|node| *node != self.seat.node) {
            for core in 0..self.seat.cores {
                let number = self.said.entry((node, core)).or_default();
                *number += 1;
                let number = *number;
                out.send(node, CoreId(core), number, Some(Blob::from(number.to_le_bytes().to_vec())));
            }
        }
        for _ in 0..self.config.tells {
            out.tell(self.seat.core, 0, None);
        }
        if !self.full {
            self.keep(out);
        }
        out.wake(timer, Some(now.at + EVERY));
    }

    fn on_stored(&mut self, _: Now, what: Stored, _: &mut impl Outbox<Said = u64>) {
        self.full = match what {
            Stored::Full => true,
            Stored::Logged(_) => false,
            Stored::Saved(_) | Stored::Unsaved | Stored::Failed => self.full,
        };
        if let Stored::Logged(upto) = what {
            self.safe = self.marks.range(..=upto).next_back().map_or(self.safe, |(_, number)| *number);
        }
    }

    fn on_link(&mut self, _: Now, node: NodeId, link: Link, _: &mut impl Outbox<Said = u64>) {
        let up = matches!(link, Link::Up { .. });
        let was = self.up.insert(node, up).unwrap_or(false);
        assert_ne!(was, up, "up and down take turns");
        self.ups += u64::from(up);
        self.downs += u64::from(!up);
        // A node that was started again counts from the beginning.
        self.heard.retain(|(from, _), _| *from != node);
    }

    fn on_peer(
        &mut self,
        _: Now,
        from: Peer,
        heard: &Self::Heard,
        blob: Option<Blob>,
        _: &mut impl Outbox<Said = u64>,
    ) {
        let Peer::Node(node, core) = from else { return };
        assert!(self.up[&node], "nothing comes before a link is up, or after it is down");
        let number = heard.to_native();
        assert_eq!(blob.expect("it has one")[..], number.to_le_bytes());
        if let Some(last) = self.heard.insert((node, core), number) {
            assert_eq!(number, last + 1, "in order and without a gap while the link lives");
        }
    }

    fn on_open(&mut self, _: Now, _: ConnId, _: Opened, _: &mut impl Outbox<Said = u64>) {}
    fn on_bytes(&mut self, _: Now, _: ConnId, _: &mut Input<'_>, _: &mut impl Outbox<Said = u64>) {}
    fn on_end(&mut self, _: Now, _: ConnId, _: End, _: &mut impl Outbox<Said = u64>) {}
    fn on_order(&mut self, _: Now, _: Order<'_, Config>, _: &mut impl Outbox<Said = u64>) {}
    fn gauges(&self, _: &mut Gauges) {}
}

impl Herald {
    /// Logs the next number, and now and then lets a snapshot stand for all of them.
    fn keep(&mut self, out: &mut impl Outbox<Said = u64>) {
        self.logged += 1;
        let mark = out.log(&self.logged.to_le_bytes());
        self.marks.insert(mark, self.logged);
        if self.logged.is_multiple_of(SNAPSHOT_EVERY) {
            out.save(&self.logged.to_le_bytes());
            out.saved(mark);
        }
    }
}

fn setup(faults: Faults) -> Setup<Config> {
    Setup::new(Config { nodes: 3, tells: 0 }).nodes(3).cores(2).faults(faults)
}

fn all_linked(world: &World<Herald>) -> bool {
    let pairs = [(0, 1), (0, 2), (1, 2)];
    pairs.iter().all(|(one, other)| world.linked(NodeId(*one), NodeId(*other)))
}

#[test]
fn links_keep_order_and_heal_whatever_strikes() {
    let mut counts = Counts::new();
    for_seeds(40, |seed| {
        let mut hashes = [0; 2];
        for hash in &mut hashes {
            let mut world = World::<Herald>::new(seed, setup(Faults::disastrous()));
            world.run_for(Duration::from_secs(8));
            world.calm();
            world.run_until(all_linked);
            world.run_for(Duration::from_secs(1));
            assert!(all_linked(&world), "links stay up in a calm world");
            counts.add(world.counts());
            *hash = world.trace_hash();
        }
        assert_eq!(hashes[0], hashes[1], "one seed, two runs");
    });
    counts.assert_all(&["link cut", "link cut one way", "power cut", "kill", "restart", "wall clock moved"]);
    counts.assert_all(&["on_link", "sent without a link", "log lost its tail", "on_stored saved"]);
}

#[test]
fn a_one_way_cut_is_told_on_both_sides() {
    for_seeds(30, |seed| {
        let mut world = World::<Herald>::new(seed, setup(Faults::none()));
        world.run_until(all_linked);
        world.cut_link(NodeId(0), NodeId(1), false);
        let down = |world: &World<Herald>, node| world.shard(NodeId(node), CoreId(0)).downs == 1;
        world.run_until(|world| down(world, 0) && down(world, 1));
        world.run_for(Duration::from_secs(5));
        assert!(!world.linked(NodeId(0), NodeId(1)), "no link while one way is cut");
        world.heal_link(NodeId(0), NodeId(1));
        world.run_until(all_linked);
    });
}

#[test]
fn a_link_with_too_much_waiting_is_cut() {
    let limits = Limits { link_max: 4_000, ..Limits::default() };
    let mut world = World::<Herald>::new(3, Setup { limits, ..setup(Faults::none()) });
    world.run_until(all_linked);
    world.cut_link(NodeId(0), NodeId(1), false);
    world.run_until(|world| world.counts().of("link overfull") > 0);
    world.run_until(|world| world.shard(NodeId(0), CoreId(0)).downs == 1);
}

#[test]
fn what_was_safe_survives_and_a_snapshot_stands_for_what_was_before() {
    let mut counts = Counts::new();
    for_seeds(100, |seed| {
        let mut world = World::<Herald>::new(seed, setup(Faults::rough()));
        let mut snapshots = 0;
        for _ in 0..5 {
            let span = world.workload().between(1, 300);
            world.run_for(Duration::from_millis(span));
            let before = world.shard(NodeId(1), CoreId(1)).safe;
            world.power_cut(NodeId(1));
            world.run_for(Duration::from_millis(10));
            world.restart(NodeId(1));
            let shard = world.shard(NodeId(1), CoreId(1));
            assert!(shard.replayed.1 >= before, "{before} was safe, and {:?} came back", shard.replayed);
            snapshots = snapshots.max(shard.replayed.0);
        }
        assert!(snapshots % SNAPSHOT_EVERY == 0);
        counts.add(world.counts());
    });
    counts.assert_all(&["on_stored logged", "on_stored saved", "log lost its tail"]);
}

#[test]
#[should_panic(expected = "FANOUT_MAX")]
fn more_tells_than_an_event_may_cause_are_refused() {
    let config = Config { nodes: 1, tells: FANOUT_MAX + 1 };
    let mut world = World::<Herald>::new(0, Setup::new(config));
    world.run_for(Duration::from_secs(1));
}

#[test]
fn clocks_of_two_nodes_have_nothing_in_common() {
    let world = World::<Herald>::new(7, setup(Faults::none()));
    assert_eq!(world.now_on(NodeId(0)).at, Instant::ZERO);
    assert_ne!(world.now_on(NodeId(1)).at, world.now_on(NodeId(2)).at);
}
