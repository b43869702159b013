//! The world itself: the same seed gives the same run, streams arrive whole whatever happens on the way, and
//! nothing that was meant to be exercised is not.

use machine::{
    Address, Blob, Chance, ConnId, CoreId, End, Gauges, Input, NodeId, Now, Opened, Order, Outbox, Peer,
    Seat, Shard,
};
use sim::transcript::{Transcript, run_world};
use sim::{Counts, Faults, Limits, Setup, World, for_seeds};
use std::collections::BTreeMap;

/// Says every byte again, by way of the next core.
struct Echo {
    seat: Seat,
    served: BTreeMap<u64, ConnId>,
}

#[derive(rkyv::Archive, rkyv::Serialize)]
enum Said {
    Say { conn: u64, bytes: Vec<u8> },
    Echoed { conn: u64, bytes: Vec<u8> },
    End { conn: u64 },
    Ended { conn: u64 },
}

impl Shard for Echo {
    type Config = ();
    type Said = Said;
    type Heard = rkyv::Archived<Said>;

    fn new(seat: Seat, (): &(), _: Chance) -> Self {
        Self { seat, served: BTreeMap::new() }
    }

    fn on_start(&mut self, _: Now, out: &mut impl Outbox<Said = Said>) {
        out.listen(Address::Ip("0.0.0.0:7".parse().unwrap()));
    }

    fn on_open(&mut self, _: Now, conn: ConnId, _: Opened, _: &mut impl Outbox<Said = Said>) {
        self.served.insert(conn.0.to_bits(), conn);
    }

    fn on_bytes(&mut self, _: Now, conn: ConnId, input: &mut Input<'_>, out: &mut impl Outbox<Said = Said>) {
        let said = Said::Say { conn: conn.0.to_bits(), bytes: input.bytes().to_vec() };
        input.used(input.bytes().len());
        out.tell(self.next(), said, None);
    }

    fn on_end(&mut self, _: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        match end {
            End::Half => out.tell(self.next(), Said::End { conn: conn.0.to_bits() }, None),
            End::Gone(_) => {
                self.served.remove(&conn.0.to_bits());
            }
        }
    }

    fn on_peer(
        &mut self,
        _: Now,
        from: Peer,
        heard: &Self::Heard,
        _: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Peer::Core(from) = from else { unreachable!("one node") };
        match heard {
            ArchivedSaid::Say { conn, bytes } => {
                out.tell(from, Said::Echoed { conn: conn.to_native(), bytes: bytes.to_vec() }, None);
            }
            ArchivedSaid::End { conn } => out.tell(from, Said::Ended { conn: conn.to_native() }, None),
            ArchivedSaid::Echoed { conn, bytes } => {
                if let Some(conn) = self.served.get(&conn.to_native()) {
                    out.write(*conn, bytes);
                }
            }
            ArchivedSaid::Ended { conn } => {
                if let Some(conn) = self.served.get(&conn.to_native()) {
                    out.finish(*conn);
                }
            }
        }
    }

    fn on_order(&mut self, _: Now, _: Order<'_, ()>, out: &mut impl Outbox<Said = Said>) {
        out.drained();
    }

    fn gauges(&self, into: &mut Gauges) {
        into.level("connections", "open connections", self.served.len() as i64);
    }
}

impl Echo {
    fn next(&self) -> CoreId {
        CoreId((self.seat.core.0 + 1) % self.seat.cores)
    }
}

/// Twenty clients say a few hundred bytes each and hear them again; gives the trace and what happened.
fn run(seed: u64, faults: Faults) -> (u64, Counts) {
    let calm = faults.reset == 0;
    let mut world = World::<Echo>::new(seed, Setup::new(()).cores(3).faults(faults));
    let clients: Vec<_> = (0..20).map(|_| world.connect(NodeId(0), 0)).collect();
    let mut said = vec![Vec::new(); 20];
    for _ in 0..60 {
        let who = world.workload().below(20) as usize;
        let mut bytes = vec![0; world.workload().between(1, 90) as usize];
        world.workload().fill(&mut bytes);
        world.say(clients[who], &bytes);
        said[who].extend(bytes);
        world.run_for(core::time::Duration::from_micros(150));
    }
    clients.iter().for_each(|client| world.finish(*client));
    world.run_until(|world| clients.iter().all(|client| matches!(world.ended(*client), Some(End::Gone(_)))));
    for (client, said) in clients.iter().zip(&said) {
        let heard = world.heard(*client);
        assert!(said.starts_with(heard), "what was heard is not what was said");
        assert!(!calm || heard.len() == said.len(), "bytes were lost");
    }
    world.run_for(core::time::Duration::from_secs(2));
    world.drain(NodeId(0));
    world.run_until(|world| world.drained(NodeId(0)));
    assert_eq!(world.gauges(NodeId(0)).number("connections"), 0);
    (world.trace_hash(), world.counts().clone())
}

#[test]
fn the_same_seed_is_the_same_run() {
    for_seeds(20, |seed| {
        for faults in [Faults::none(), Faults::rough(), Faults::harsh()] {
            assert_eq!(run(seed, faults.clone()), run(seed, faults), "one seed, two runs");
        }
    });
    assert_ne!(run(1, Faults::rough()).0, run(2, Faults::rough()).0);
}

#[test]
fn streams_arrive_whole_under_all_that_loses_nothing() {
    let mut counts = Counts::new();
    for_seeds(100, |seed| counts.add(&run(seed, Faults::rough()).1));
    counts.assert_all(&["on_bytes", "on_peer", "on_end half", "on_end closed", "fault: cut packet"]);
    counts.assert_all(&["fault: stall", "fault: short read", "fault: slow turn", "fault: slow lane"]);
}

#[test]
fn sockets_wait_while_a_lane_is_full_and_nothing_is_lost() {
    let mut waited = 0;
    for_seeds(50, |seed| {
        let limits = Limits { lane_high: 300, lane_low: 100, ..Limits::default() };
        let faults = Faults { slow_lane: 500, ..Faults::rough() };
        let mut world = World::<Echo>::new(seed, Setup { limits, ..Setup::new(()).cores(2).faults(faults) });
        let clients = [0; 4].map(|_| world.connect(NodeId(0), 0));
        clients.iter().for_each(|client| world.say(*client, &[7; 2_000]));
        world.run_until(|world| clients.iter().all(|client| world.heard(*client).len() == 2_000));
        waited += world.counts().of("sockets waited for lanes");
    });
    assert!(waited > 0, "no socket ever waited");
}

#[test]
fn a_transcript_names_the_line_that_differs() {
    let check = |text: &str, expected: Result<(), usize>| {
        let mut world = World::<Echo>::new(1, Setup::new(()).cores(2).faults(Faults::rough()));
        let transcript = Transcript::parse("echo", text).unwrap();
        let outcome = run_world(&transcript, &mut world, NodeId(0)).map_err(|mismatch| mismatch.line);
        assert_eq!(outcome, expected, "{text}");
    };
    check("> one\n> two\n< one\n~ t*o\nb> three\nb< three\nfinish\nended\nquiet b 1ms\n", Ok(()));
    check("> one\n< two\n", Err(2));
    check("> one\n~ t*\n", Err(2));
    check("> one\nwait 100ms\nquiet 1ms\n", Err(3));
    check("> one\nended\n", Err(2));
    check("> one\n> more\n< one\n", Err(0));
}

#[test]
fn resets_are_told_to_both_sides() {
    let mut counts = Counts::new();
    for_seeds(100, |seed| counts.add(&run(seed, Faults { reset: 20, ..Faults::rough() }).1));
    counts.assert_all(&["fault: reset", "on_end reset"]);
}
