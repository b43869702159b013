//! What a child says comes whole, however soon it ends and however long its node stands still meanwhile.

use machine::{
    Chance, ChildEvent, ChildId, Command, ConnId, CoreId, End, Gauges, Input, NodeId, Now, Opened, Order,
    Outbox, Peer, PipeKind, Seat, Shard, Why,
};
use sim::{ChildScript, Faults, Setup, World, for_seeds};
use std::time::Duration;

/// Starts one child and remembers what it heard.
#[derive(Default)]
struct Parent {
    heard: Vec<u8>,
    exited: Option<i32>,
    ended: Vec<Why>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
struct Nothing;

impl Shard for Parent {
    type Config = ();
    type Said = Nothing;
    type Heard = ArchivedNothing;

    fn new(_: Seat, (): &(), _: Chance) -> Self {
        Self::default()
    }

    fn on_start(&mut self, _: Now, out: &mut impl Outbox<Said = Nothing>) {
        let pipes = vec![PipeKind::Input, PipeKind::Output];
        out.spawn(Command { program: "says".into(), pipes, ..Command::default() });
    }

    fn on_open(&mut self, _: Now, _: ConnId, _: Opened, _: &mut impl Outbox<Said = Nothing>) {}

    fn on_bytes(&mut self, _: Now, _: ConnId, input: &mut Input<'_>, _: &mut impl Outbox<Said = Nothing>) {
        self.heard.extend_from_slice(input.bytes());
        input.used(input.bytes().len());
    }

    fn on_end(&mut self, _: Now, _: ConnId, end: End, _: &mut impl Outbox<Said = Nothing>) {
        if let End::Gone(why) = end {
            self.ended.push(why);
        }
    }

    fn on_child(&mut self, _: Now, _: ChildId, what: ChildEvent, _: &mut impl Outbox<Said = Nothing>) {
        if let ChildEvent::Exited(status) = what {
            self.exited = Some(status);
        }
    }

    fn on_peer(
        &mut self,
        _: Now,
        _: Peer,
        _: &ArchivedNothing,
        _: Option<machine::Blob>,
        _: &mut impl Outbox<Said = Nothing>,
    ) {
    }

    fn on_order(&mut self, _: Now, _: Order<'_, ()>, out: &mut impl Outbox<Said = Nothing>) {
        out.drained();
    }

    fn gauges(&self, _: &mut Gauges) {}
}

const NODE: NodeId = NodeId(0);

#[test]
fn a_child_that_is_over_before_its_node_hears_of_its_start_has_said_all_it_said() {
    for_seeds(50, |seed| {
        let mut world: World<Parent> =
            World::new(seed, Setup::new(()).faults(Faults { reset: 500, ..Faults::rough() }));
        world.children(|_, _| ChildScript::Exits {
            says: vec![7; 300],
            after: Duration::from_millis(1),
            status: 3,
        });
        world.run_for(Duration::from_micros(50));
        world.pause(NODE, Duration::from_secs(5));
        world.run_for(Duration::from_secs(10));
        let parent = world.shard(NODE, CoreId(0));
        assert_eq!((parent.heard.len(), parent.exited), (300, Some(3)));
        assert!(parent.ended.contains(&Why::Closed) && parent.ended.len() == 2, "{:?}", parent.ended);
    });
}
