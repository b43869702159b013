//! A node that says numbers to every core of every other node, and prints what its links do and what it hears. Within
//! one life of a link they count from 1; whatever is missing, twice or out of order is printed as a gap.

use machine::{
    Blob, Chance, ConnId, CoreId, End, Gauges, Input, Link, NodeId, Now, Opened, Order, Outbox, Peer, Seat,
    Shard, TimerId,
};
use reactor::{Neighbours, Plan, fatal};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;
use wire::proof::Key;

const EVERY: Duration = Duration::from_millis(5);
/// Cores of each node.
pub(crate) const CORES: u16 = 2;

/// A process, a life of its link, a number in it.
type Said = [u64; 3];

struct Herald {
    seat: Seat,
    others: Vec<NodeId>,
    /// Lives of our link to each, and the last number said in this one, by core of theirs.
    lives: BTreeMap<NodeId, (bool, u64, BTreeMap<u16, u64>)>,
    heard: BTreeMap<(NodeId, CoreId), Said>,
    counts: BTreeMap<NodeId, u64>,
    ticks: u64,
}

impl Shard for Herald {
    type Config = Vec<NodeId>;
    type Said = Said;
    type Heard = rkyv::Archived<Said>;

    fn new(seat: Seat, others: &Vec<NodeId>, _: Chance) -> Self {
        Self {
            seat,
            others: others.clone(),
            lives: BTreeMap::new(),
            heard: BTreeMap::new(),
            counts: BTreeMap::new(),
            ticks: 0,
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        out.wake(TimerId(0), Some(now.at + EVERY));
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        let me = u64::from(std::process::id());
        for node in self.others.clone() {
            let (is_up, life, numbers) = self.lives.entry(node).or_default();
            for core in 0..CORES {
                let number = numbers.entry(core).or_default();
                *number += u64::from(*is_up);
                // Also while there is no link: then it is dropped.
                let blob = (*number % 3 == 0).then(|| Blob::from(vec![*number as u8; 3000]));
                out.send(node, CoreId(core), [me, *life, *number], blob);
            }
        }
        self.ticks += 1;
        if self.ticks.is_multiple_of(40) {
            for (node, count) in &self.counts {
                println!("HEARD {} {} {count}", node.0, self.seat.core.0);
            }
        }
        out.wake(timer, Some(now.at + EVERY));
    }

    fn on_link(&mut self, _: Now, node: NodeId, link: Link, _: &mut impl Outbox<Said = Said>) {
        let (is_up, life, numbers) = self.lives.entry(node).or_default();
        match link {
            Link::Up { .. } => {
                println!("UP {} {}", node.0, self.seat.core.0);
                *life += 1;
                numbers.clear();
                assert!(!std::mem::replace(is_up, true), "up and down take turns");
            }
            Link::Down(why) => {
                println!("DOWN {} {} {why:?}", node.0, self.seat.core.0);
                assert!(std::mem::replace(is_up, false), "up and down take turns");
            }
        }
    }

    fn on_peer(
        &mut self,
        _: Now,
        from: Peer,
        heard: &Self::Heard,
        blob: Option<Blob>,
        _: &mut impl Outbox<Said = Said>,
    ) {
        let Peer::Node(node, core) = from else { return };
        let said = [heard[0].to_native(), heard[1].to_native(), heard[2].to_native()];
        let [process, life, number] = said;
        let last = self.heard.insert((node, core), said);
        let follows = match last {
            Some([before, of, last]) if (before, of) == (process, life) => number == last + 1,
            Some([before, of, _]) if before == process => life > of && number == 1,
            Some(_) | None => number == 1,
        };
        let whole = match blob {
            Some(blob) => number.is_multiple_of(3) && blob[..] == vec![number as u8; 3000],
            None => !number.is_multiple_of(3),
        };
        if !follows || !whole {
            println!("GAP of node {} core {}: {said:?} after {last:?}", node.0, core.0);
        }
        *self.counts.entry(node).or_default() += 1;
    }

    fn on_open(&mut self, _: Now, _: ConnId, _: Opened, _: &mut impl Outbox<Said = Said>) {}
    fn on_bytes(&mut self, _: Now, _: ConnId, _: &mut Input<'_>, _: &mut impl Outbox<Said = Said>) {}
    fn on_end(&mut self, _: Now, _: ConnId, _: End, _: &mut impl Outbox<Said = Said>) {}
    fn on_order(&mut self, _: Now, order: Order<'_, Self::Config>, out: &mut impl Outbox<Said = Said>) {
        if let Order::Drain { .. } = order {
            out.drained();
        }
    }
    fn gauges(&self, _: &mut Gauges) {}
}

/// How long an address may stay taken after who listened there was killed.
const RESTART_MAX: Duration = Duration::from_secs(30);

/// `node NUMBER LINK_MAX KEY_FILE|- ADDRESS...`: runs that node of these.
pub(crate) fn serve(words: &[String]) -> ! {
    let me: u16 = words[0].parse().expect("a node's number");
    let at: Vec<SocketAddr> = words[3..].iter().map(|at| at.parse().expect("an address")).collect();
    let nodes = (0..at.len() as u16).filter(|node| *node != me);
    let nodes: Vec<_> = nodes.map(|node| (NodeId(node), at[usize::from(node)])).collect();
    let key = (words[2] != "-").then(|| {
        let bytes = std::fs::read(&words[2]).expect("the key is there");
        Key::new(&bytes).expect("it is long enough")
    });
    let mut plan = Plan::new("herald", nodes.iter().map(|(node, _)| *node).collect());
    plan.node = NodeId(me);
    plan.cores = reactor::allowed_cores()[..usize::from(CORES)].to_vec();
    plan.neighbours = Some(Neighbours { at: at[usize::from(me)], version: 1, nodes, key });
    plan.limits.link_max = words[1].parse().expect("bytes");
    // A busy kernel lets go of what a killed process listened on when it comes to it.
    let late = std::time::Instant::now() + RESTART_MAX;
    while let Err(fatal) = plan.doors.reserve(at[usize::from(me)]) {
        assert!(std::time::Instant::now() < late, "{fatal}");
    }
    // Nobody looks at the machine's own pauses here.
    plan.stall = Duration::from_secs(3600);
    match reactor::run::<Herald>(plan) {
        Ok(_) => std::process::exit(0),
        Err(fatal) => fatal::exit(fatal),
    }
}
