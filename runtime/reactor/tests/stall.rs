//! A shard that works too long in one event: it is told how long that took, the core counts it and says so in a line.

use machine::{
    Address, Blob, Chance, ConnId, End, Event, Gauges, Input, Now, Opened, Order, Outbox, Peer, Seat, Shard,
    Spent,
};
use reactor::Plan;
use rkyv::{Archive, Serialize};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const SLOW: Duration = Duration::from_millis(40);

/// Works as long as [`SLOW`] for every byte that is `s`, and answers each byte.
struct Worker {
    at: SocketAddr,
    events: Vec<Spent>,
}

#[derive(Archive, Serialize)]
struct Nothing;

impl Shard for Worker {
    type Config = SocketAddr;
    type Said = Nothing;
    type Heard = ArchivedNothing;

    fn new(_seat: Seat, config: &SocketAddr, _chance: Chance) -> Self {
        Self { at: *config, events: Vec::new() }
    }

    fn on_start(&mut self, _now: Now, out: &mut impl Outbox<Said = Nothing>) {
        out.listen(Address::Ip(self.at));
    }

    fn on_open(&mut self, _now: Now, _conn: ConnId, _how: Opened, _out: &mut impl Outbox<Said = Nothing>) {}

    fn on_bytes(
        &mut self,
        _now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Nothing>,
    ) {
        let began = Instant::now();
        if input.bytes().contains(&b's') {
            while began.elapsed() < SLOW {
                std::hint::spin_loop();
            }
        }
        out.write(conn, input.bytes());
        input.used(input.bytes().len());
    }

    fn on_spent(&mut self, _now: Now, what: Spent, _out: &mut impl Outbox<Said = Nothing>) {
        self.events.push(what);
    }

    fn on_end(&mut self, _now: Now, _conn: ConnId, _end: End, out: &mut impl Outbox<Said = Nothing>) {
        out.drained();
    }

    fn on_peer(
        &mut self,
        _now: Now,
        _from: Peer,
        _heard: &ArchivedNothing,
        _blob: Option<Blob>,
        _out: &mut impl Outbox<Said = Nothing>,
    ) {
    }

    fn on_order(&mut self, _now: Now, _order: Order<'_, SocketAddr>, out: &mut impl Outbox<Said = Nothing>) {
        out.drained();
    }

    fn gauges(&self, _into: &mut Gauges) {}
}

static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn a_slow_event_is_told_counted_and_said() {
    let mut plan = Plan::new("worker", SocketAddr::from(([127, 0, 0, 1], 0)));
    plan.config = plan.doors.reserve(plan.config).unwrap();
    plan.cores = reactor::allowed_cores()[..1].to_vec();
    plan.warn = |sentence| SAID.lock().unwrap().push(sentence.to_owned());
    let (at, gatherer) = (plan.config, plan.gatherer.clone());
    let (ready, is_ready) = std::sync::mpsc::channel();
    plan.on_ready = Box::new(move || ready.send(()).unwrap());
    let server = std::thread::spawn(move || reactor::run::<Worker>(plan).unwrap());
    is_ready.recv_timeout(Duration::from_secs(10)).unwrap();

    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    for byte in *b"qsq" {
        stream.write_all(&[byte]).unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    let core = &gatherer.gather()[0];
    assert!(core.number("reactor_stalls_total") >= 1);
    assert!(core.number("reactor_events_total") >= 4, "an open and three bytes");
    let longest = core.entries().iter().find(|entry| entry.name.starts_with("reactor_longest_us{"));
    let longest = longest.expect("there is one").name.clone();
    assert!(core.number(&longest) >= 40_000, "{longest}");
    assert!(core.number("process_resident_memory_bytes") > 1_000_000);
    drop(stream);

    let shards = server.join().unwrap();
    let bytes: Vec<Duration> = shards[0]
        .events
        .iter()
        .filter(|spent| spent.event == Event::Bytes && spent.count == 1)
        .map(|spent| spent.took)
        .collect();
    assert_eq!(bytes.len(), 3, "{bytes:?}");
    assert!(bytes[1] >= SLOW && bytes.iter().all(|took| !took.is_zero()), "{bytes:?}");
    let said = SAID.lock().unwrap();
    assert!(said.iter().any(|line| line.starts_with("core 0 stalled: ")), "{said:?}");
}
