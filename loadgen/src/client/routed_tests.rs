//! A cluster in simulated time: nodes that know who has which slot, and say so when they are asked for another's.

use super::{Client, Outcomes};
use crate::plan::Load;
use crate::routing::{SLOTS, slot_of};
use crate::tally::Kind;
use crate::units::Rate;
use machine::{CoreId, NodeId};
use sim::{Say, Setup, World};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use wire::Outcome;
use wire::resp::{Limits, Reader, Version, Writer};

const NODE: NodeId = NodeId(0);

/// What all nodes know.
struct Truth {
    owners: Vec<usize>,
    /// Slots that are being moved: their owner says ASK, and that node lets in who says ASKING.
    moving: BTreeMap<u16, usize>,
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    redirects: u64,
}

fn address(node: usize) -> SocketAddr {
    SocketAddr::new([10, 9, 0, node as u8 + 1].into(), 7000)
}

impl Truth {
    fn answer(&mut self, node: usize, asking: bool, arguments: &[Vec<u8>], reply: &mut Writer<'_>) {
        let key = arguments.get(1).cloned().unwrap_or_default();
        let slot = slot_of(&key);
        let owner = self.owners[usize::from(slot)];
        match (&arguments[0][..], self.moving.get(&slot)) {
            (b"PING", _) => return reply.simple("PONG"),
            (b"ASKING", _) => return reply.ok(),
            (_, Some(to)) if owner == node => {
                self.redirects += 1;
                return reply.error(format!("ASK {slot} {}", address(*to)));
            }
            (_, Some(to)) if *to == node && asking => {}
            _ if owner != node => {
                self.redirects += 1;
                return reply.error(format!("MOVED {slot} {}", address(owner)));
            }
            _ => {}
        }
        match &arguments[0][..] {
            b"GET" => match self.values.get(&key) {
                Some(value) => reply.bulk(value),
                None => reply.null(),
            },
            b"SET" => {
                self.values.insert(key, arguments[2].clone());
                reply.ok();
            }
            other => panic!("{other:?} was never to be asked"),
        }
    }
}

fn serve(truth: Rc<RefCell<Truth>>, node: usize) -> impl FnMut(sim::Client, &mut Vec<u8>, &mut Say) {
    move |_, heard, say| {
        let (mut replies, mut asking) = (Vec::new(), false);
        while let Outcome::Done { value, used } = Reader::new(Limits::default()).next(heard) {
            let arguments: Vec<Vec<u8>> =
                (0..value.len()).map(|index| value.get(index).unwrap().to_vec()).collect();
            heard.drain(..used);
            let mut truth = truth.borrow_mut();
            truth.answer(node, asking, &arguments, &mut Writer::new(&mut replies, Version::Two));
            asking = arguments[0] == b"ASKING";
        }
        say.bytes(&replies);
    }
}

/// Runs against three nodes, of which the client knows the first two and takes the first for the owner of all.
fn run(load: Load, owners: Vec<usize>, moving: BTreeMap<u16, usize>) -> (Outcomes, u64) {
    let load = Load {
        targets: vec![address(0), address(1)],
        owners: Some(Arc::from([0_u16; SLOTS])),
        keys: 300,
        connections: 6,
        ..load
    };
    let truth = Truth { owners, moving, values: BTreeMap::new(), redirects: 0 };
    let truth = Rc::new(RefCell::new(truth));
    let mut world: World<Client> = World::new(1, Setup::new(load));
    for node in 0..3 {
        world.serve_at(address(node), serve(truth.clone(), node));
    }
    assert!(world.run_within(Duration::from_secs(600), |world| world.drained(NODE)));
    let outcomes = world.shard(NODE, CoreId(0)).outcomes.clone();
    let redirects = truth.borrow().redirects;
    (outcomes, redirects)
}

fn requests(count: u64) -> Load {
    Load { requests: Some(count), duration: None, ..Load::default() }
}

#[test]
fn a_wrong_map_costs_one_redirect_a_slot_and_no_request() {
    let owners = (0..SLOTS).map(|slot| slot % 2).collect();
    let (outcomes, redirects) = run(requests(2_000), owners, BTreeMap::new());
    assert_eq!((outcomes.tally.answered, outcomes.tally.errors.sum()), (2_000, 0));
    assert_eq!(outcomes.tally.loaded, 300);
    assert!(
        redirects > 100 && redirects < 320,
        "keys of one slot in flight may be sent on twice: {redirects}"
    );
}

#[test]
fn a_node_that_nobody_named_is_learnt_from_a_redirect() {
    let owners = (0..SLOTS).map(|slot| slot % 3).collect();
    let (outcomes, redirects) = run(requests(2_000), owners, BTreeMap::new());
    assert_eq!((outcomes.tally.answered, outcomes.tally.errors.sum()), (2_000, 0));
    assert!(redirects > 150, "{redirects}");
}

#[test]
fn a_slot_being_moved_is_asked_for_each_time_and_its_time_is_kept() {
    let moving: BTreeMap<u16, usize> = (0..SLOTS as u16).step_by(2).map(|slot| (slot, 1)).collect();
    let (outcomes, _) = run(requests(2_000), vec![0; SLOTS], moving);
    let tally = &outcomes.tally;
    assert_eq!((tally.answered, tally.errors.sum()), (2_000, 0));
    assert!((800..1_200).contains(&tally.redirect.len()), "{}", tally.redirect.len());
    // Both legs count: who was sent on waited for two round trips.
    let (direct, both) = (tally.service.value_at_quantile(0.1), tally.service.value_at_quantile(0.9));
    assert!(both > direct + direct / 2, "{direct} {both}");
}

#[test]
fn a_fixed_rate_is_kept_through_redirects() {
    let load = Load {
        rate: Some(Rate { milli: 1_000_000 }),
        duration: Some(Duration::from_secs(2)),
        ..Load::default()
    };
    let (outcomes, _) = run(load, (0..SLOTS).map(|slot| slot % 3).collect(), BTreeMap::new());
    assert_eq!((outcomes.tally.answered, outcomes.offered), (2_000, Some(2_000)));
    assert_eq!(outcomes.tally.errors.sum(), 0);
}

#[test]
fn redirects_without_end_are_counted_as_failures() {
    // The owner says of every slot that it is being moved, to itself.
    let mut moving = BTreeMap::new();
    moving.extend((0..SLOTS as u16).map(|slot| (slot, 0)));
    let load = Load { preload: false, ..requests(50) };
    let (outcomes, _) = run(load, vec![0; SLOTS], moving);
    assert_eq!(outcomes.tally.errors.of(Kind::Redirected), outcomes.tally.errors.sum());
    assert_eq!(outcomes.tally.errors.sum(), 50);
}
