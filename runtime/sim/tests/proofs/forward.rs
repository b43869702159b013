//! A TCP forwarder: what comes on one side goes out on the other. It leans on everything that flow control
//! promises: room and pause on both sides at once, halves passed on, a dial that fails, and no memory to speak of
//! whoever stalls.

use crate::real::{DEADLINE, Server};
use crate::trial;
use libtest_mimic::Trial;
use machine::{
    Address, Blob, Chance, Close, ConnId, Dial, End, Gauges, Input, NodeId, Now, Opened, Order, Outbox, Peer,
    Seat, Shard, Why,
};
use sim::{Client, Counts, Faults, Limits, Say, Server as Script, Setup, World, for_seeds};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Where it listens, and where to it forwards.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) listen: SocketAddr,
    pub(crate) to: SocketAddr,
}

/// Each connection, and the one that it is forwarded to.
pub(crate) struct Forward {
    way: Way,
    other: BTreeMap<ConnId, ConnId>,
}

impl Shard for Forward {
    type Config = Way;
    type Said = ();
    type Heard = ();

    fn new(_: Seat, way: &Way, _: Chance) -> Self {
        Self { way: way.clone(), other: BTreeMap::new() }
    }

    fn on_start(&mut self, _: Now, out: &mut impl Outbox<Said = ()>) {
        out.listen(Address::Ip(self.way.listen));
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = ()>) {
        if matches!(how, Opened::Accepted { .. }) {
            let by = now.at + Duration::from_secs(10);
            let other = out.dial(Dial { to: Address::Ip(self.way.to), from: None, tls: None, by });
            self.other.insert(conn, other);
            self.other.insert(other, conn);
        }
    }

    fn on_bytes(&mut self, _: Now, conn: ConnId, input: &mut Input<'_>, out: &mut impl Outbox<Said = ()>) {
        let Some(&other) = self.other.get(&conn) else { return };
        out.write(other, input.bytes());
        input.used(input.bytes().len());
        if out.room(other) == 0 {
            out.pause(conn);
        }
    }

    fn on_room(&mut self, _: Now, conn: ConnId, out: &mut impl Outbox<Said = ()>) {
        if let Some(&other) = self.other.get(&conn) {
            out.resume(other);
        }
    }

    fn on_end(&mut self, _: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = ()>) {
        let Some(&other) = self.other.get(&conn) else { return };
        match end {
            End::Half => out.finish(other),
            End::Gone(why) => {
                self.other.remove(&conn);
                self.other.remove(&other);
                // What was said to the end goes on to the end; what was broken off is broken off.
                let how = if why == Why::Closed { Close::Flushed } else { Close::Now };
                out.close(other, how);
            }
        }
    }

    fn on_peer(&mut self, _: Now, _: Peer, (): &(), _: Option<Blob>, _: &mut impl Outbox<Said = ()>) {}

    fn on_order(&mut self, _: Now, order: Order<'_, Way>, out: &mut impl Outbox<Said = ()>) {
        if matches!(order, Order::Drain { .. }) {
            out.drained();
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        into.level("connections", "open connections", self.other.len() as i64);
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("simulated::forward::both_ways_at_once".to_owned(), both_ways_simulated),
        trial("simulated::forward::refused".to_owned(), refused_simulated),
        trial("real::forward::both_ways_at_once".to_owned(), both_ways_real),
        trial("real::forward::halves_either_way".to_owned(), halves_real),
        trial("real::forward::refused".to_owned(), refused_real),
    ]
}

/// Bytes in which no shift, swap or loss goes unseen for long: a period that shares nothing with any buffer.
fn pattern(count: usize) -> Vec<u8> {
    const PERIOD: u64 = 65_521;
    (0..count as u64).map(|at| ((at % PERIOD).wrapping_mul(0x9e37_79b9) >> 16) as u8).collect()
}

// The simulated arm.

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 9, 9, 9], port))
}

pub(crate) fn setup(faults: Faults) -> Setup<Way> {
    // Twice the slack over the high mark is all that a polite forwarder ever needs.
    let limits = Limits { output_max: (256 << 10) + 2 * machine::READ_SLACK, ..Limits::default() };
    let listen = SocketAddr::from(([127, 0, 0, 1], 1));
    Setup { limits, ..Setup::new(Way { listen, to: at(2) }).faults(faults) }
}

/// Says so many bytes to whoever connects, and that it is all.
struct Origin {
    bytes: usize,
    finishes: bool,
}

impl Script for Origin {
    fn on_open(&mut self, _: Client, say: &mut Say) {
        say.bytes(&pattern(self.bytes));
        if self.finishes {
            say.finish();
        }
    }
    fn on_bytes(&mut self, _: Client, _: &mut Vec<u8>, _: &mut Say) {}
}

/// One transfer each way, with one side or the other stalling for a while.
pub(crate) fn transfer(seed: u64, setup: Setup<Way>) -> Counts {
    let mut world = World::<Forward>::new(seed, setup);
    let bytes = world.workload().between(1, 2 << 20) as usize;
    let finishes = world.workload().below(2) == 0;
    world.serve_at(at(2), Origin { bytes, finishes });
    let client = world.connect(NodeId(0), 0);
    world.say(client, &pattern(bytes));
    world.finish(client);
    world.run_until(|world| !world.served().is_empty() || world.ended(client).is_some());
    let origin = world.served()[0];
    for stalls in [client, origin] {
        let until = Duration::from_micros(world.workload().between(1, 20_000));
        world.stall(stalls);
        world.run_for(until);
        world.unstall(stalls);
    }
    let gone = |world: &World<Forward>| {
        [client, origin].iter().all(|end| matches!(world.ended(*end), Some(End::Gone(Why::Closed))))
    };
    world.run_until(gone);
    let expected = pattern(bytes);
    for end in [client, origin] {
        assert!(world.heard(end) == expected, "what arrived is what was sent, {bytes} bytes");
    }
    world.run_for(Duration::from_secs(2));
    assert_eq!(world.gauges(NodeId(0)).number("connections"), 0, "nothing is left behind");
    world.counts().clone()
}

fn both_ways_simulated() {
    let mut counts = Counts::new();
    for_seeds(60, |seed| counts.add(&transfer(seed, setup(Faults::none()))));
    for_seeds(60, |seed| counts.add(&transfer(seed, setup(Faults::rough()))));
    counts.assert_all(&["on_room", "on_end half", "on_end closed", "fault: slack after a pause"]);
}

fn refused_simulated() {
    for_seeds(50, |seed| {
        let mut world = World::<Forward>::new(seed, setup(Faults::rough()));
        let client = world.connect(NodeId(0), 0);
        world.say(client, b"for nobody");
        world.run_until(|world| world.ended(client).is_some());
        assert_eq!(world.heard(client), b"");
    });
}

// The real arm.

pub(crate) fn serve(to: &str) -> ! {
    let to = to.parse().expect("an address to forward to");
    crate::real::serve::<Forward>("forward", 1, 1, None, |doors| Way { listen: doors[0], to })
}

/// Sends so many bytes of the pattern, and that they are all.
fn send(mut stream: TcpStream, bytes: usize) {
    let block = pattern(65_521);
    let mut left = bytes;
    while left > 0 {
        let count = left.min(block.len());
        stream.write_all(&block[..count]).expect("it is taken");
        left -= count;
    }
    stream.shutdown(Shutdown::Write).expect("it is still there");
}

/// Takes bytes of the pattern to their end, and waits a while in the middle; gives how many.
fn receive(mut stream: TcpStream, expected: usize, stall: Duration) -> usize {
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
    let twice = [pattern(65_521), pattern(65_521)].concat();
    let mut buffer = vec![0; 60_000];
    let (mut heard, mut stalled) = (0, false);
    loop {
        let count = stream.read(&mut buffer).expect("it comes in time");
        if count == 0 {
            return heard;
        }
        let from = heard % 65_521;
        assert!(buffer[..count] == twice[from..from + count], "what arrived is what was sent");
        heard += count;
        if !stalled && heard > expected / 2 {
            stalled = true;
            std::thread::sleep(stall);
        }
    }
}

/// So many bytes each way at once; either end stalls for so long.
fn exchange(server: &Server, origin: &TcpListener, bytes: [usize; 2], stalls: [Duration; 2]) {
    let client = TcpStream::connect(server.doors[0]).expect("it listens");
    let (accepted, _) = origin.accept().expect("it dials");
    let copy = |stream: &TcpStream| stream.try_clone().expect("a descriptor is left");
    let (one, other) = (copy(&client), copy(&accepted));
    std::thread::scope(|scope| {
        scope.spawn(move || send(one, bytes[0]));
        scope.spawn(move || send(other, bytes[1]));
        let there = scope.spawn(move || receive(accepted, bytes[0], stalls[0]));
        let back = scope.spawn(move || receive(client, bytes[1], stalls[1]));
        assert_eq!(there.join().expect("it arrived"), bytes[0]);
        assert_eq!(back.join().expect("it arrived"), bytes[1]);
    });
}

fn start() -> (Server, TcpListener) {
    let origin = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let to = origin.local_addr().expect("it is bound").to_string();
    (Server::start("forward", &[&to]), origin)
}

fn both_ways_real() {
    const PAIR_MAX: usize = 4 << 20;
    let stall = Duration::from_millis(300);
    let (mut server, origin) = start();
    // Warm: buffers that all pairs share are in use from here on.
    exchange(&server, &origin, [64 << 20; 2], [Duration::ZERO; 2]);
    let before = server.memory_peak();
    exchange(&server, &origin, [1 << 30; 2], [stall; 2]);
    let grown = server.memory_peak() - before;
    assert!(grown < PAIR_MAX, "a pair took {grown} bytes");
    assert!(server.stop(), "the server ended by itself");
}

fn halves_real() {
    let (mut server, origin) = start();
    for bytes in [[0, 1 << 20], [1 << 20, 0], [1, 16 << 20], [16 << 20, 1]] {
        exchange(&server, &origin, bytes, [Duration::from_millis(20); 2]);
    }
    assert!(server.stop(), "the server ended by itself");
}

fn refused_real() {
    let (mut server, origin) = start();
    drop(origin);
    let mut client = TcpStream::connect(server.doors[0]).expect("it listens");
    client.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
    // A reset is as good an end as any.
    assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
    assert!(server.stop(), "the server ended by itself");
}
