//! The shortest path through everything: real cores, real sockets, a word that crosses to another core and back,
//! a value received into a buffer of its own, and a core that sleeps and is woken.

use machine::{
    Address, Blob, Chance, Close, ConnId, CoreId, End, Gauges, Input, Now, Opened, Order, Outbox, Peer, Seat,
    Shard,
};
use reactor::Plan;
use rkyv::{Archive, Serialize};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Lines: `hop WORD` goes to every core in turn and comes back; `blob N` and then N bytes come back; `stop` ends.
struct Hopper {
    seat: Seat,
    at: SocketAddr,
}

#[derive(Archive, Serialize)]
enum Said {
    Hop { home: u16, index: u32, generation: u32, word: Vec<u8>, cores: u16 },
    Stop,
}

impl Hopper {
    fn pass_on(&self, home: u16, conn: ConnId, word: &[u8], cores: u16, out: &mut impl Outbox<Said = Said>) {
        let next = CoreId((self.seat.core.0 + 1) % self.seat.cores);
        let key = conn.0;
        let hop = Said::Hop {
            home,
            index: key.index,
            generation: key.generation,
            word: word.to_vec(),
            cores: cores + 1,
        };
        out.tell(next, hop, None);
    }
}

impl Shard for Hopper {
    type Config = SocketAddr;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, config: &SocketAddr, _chance: Chance) -> Self {
        Self { seat, at: *config }
    }

    fn on_start(&mut self, _now: Now, out: &mut impl Outbox<Said = Said>) {
        out.listen(Address::Ip(self.at));
    }

    fn on_open(&mut self, _now: Now, _conn: ConnId, _how: Opened, _out: &mut impl Outbox<Said = Said>) {}

    fn on_bytes(
        &mut self,
        _now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
            let line = &input.bytes()[..end];
            if let Some(count) = line.strip_prefix(b"blob ") {
                let count: usize = std::str::from_utf8(count).unwrap().parse().unwrap();
                if input.bytes().len() < end + 1 + count {
                    input.need(end + 1 + count);
                    return;
                }
                input.used(end + 1);
                let value = input.take(count);
                out.write_blob(conn, value);
                continue;
            }
            if let Some(word) = line.strip_prefix(b"hop ") {
                self.pass_on(self.seat.core.0, conn, word, 0, out);
            } else if line == b"stop" {
                out.close(conn, Close::Flushed);
                self.seat.all_cores().for_each(|core| out.tell(core, Said::Stop, None));
            }
            input.used(end + 1);
        }
    }

    fn on_end(&mut self, _now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        if end == End::Half {
            out.close(conn, Close::Flushed);
        }
    }

    fn on_peer(
        &mut self,
        _now: Now,
        _from: Peer,
        heard: &ArchivedSaid,
        _blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        match heard {
            ArchivedSaid::Stop => out.drained(),
            ArchivedSaid::Hop { home, index, generation, word, cores } => {
                let key = machine::id::Key { index: index.to_native(), generation: generation.to_native() };
                let conn = ConnId(key);
                if home.to_native() == self.seat.core.0 {
                    out.write(conn, format!("{} over {}\n", String::from_utf8_lossy(word), cores).as_bytes());
                } else {
                    self.pass_on(home.to_native(), conn, word, cores.to_native(), out);
                }
            }
        }
    }

    fn on_order(&mut self, _now: Now, _order: Order<'_, SocketAddr>, out: &mut impl Outbox<Said = Said>) {
        out.drained();
    }

    fn gauges(&self, _into: &mut Gauges) {}
}

fn line(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn words_cross_cores_and_values_come_back_whole() {
    let server = Running::start();
    let cores = reactor::allowed_cores().len();

    let mut streams: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for round in 0..3 {
        for stream in &mut streams {
            stream.write_all(b"hop wo").unwrap();
            stream.write_all(b"rd\n").unwrap();
        }
        for stream in &mut streams {
            assert_eq!(line(stream), format!("word over {cores}"));
        }
        // Long enough for the long sleep, so that the next round wakes cores.
        std::thread::sleep(Duration::from_millis(30 * round));
    }

    let value: Vec<u8> = (0..3_000_000u32).map(|number| (number % 251) as u8).collect();
    let mut sender = streams[0].try_clone().unwrap();
    let sent = value.clone();
    let writer = std::thread::spawn(move || {
        sender.write_all(b"blob 3000000\n").unwrap();
        sender.write_all(&sent).unwrap();
        sender.write_all(b"hop after\n").unwrap();
    });
    let mut back = vec![0; value.len()];
    streams[0].read_exact(&mut back).unwrap();
    assert!(back == value);
    assert_eq!(line(&mut streams[0]), format!("after over {cores}"));
    writer.join().unwrap();

    streams[1].write_all(b"stop\n").unwrap();
    assert_eq!(server.thread.join().unwrap(), cores);
}

/// A server for one test, and how to end it.
struct Running {
    at: SocketAddr,
    thread: std::thread::JoinHandle<usize>,
}

impl Running {
    fn start() -> Self {
        let mut plan = Plan::new("hopper", SocketAddr::from(([127, 0, 0, 1], 0)));
        plan.config = plan.doors.reserve(plan.config).unwrap();
        let at = plan.config;
        let (ready, is_ready) = std::sync::mpsc::channel();
        plan.on_ready = Box::new(move || ready.send(()).unwrap());
        let thread = std::thread::spawn(move || reactor::run::<Hopper>(plan).unwrap().len());
        is_ready.recv_timeout(Duration::from_secs(10)).unwrap();
        Self { at, thread }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    fn stop(self) {
        self.connect().write_all(b"stop\n").unwrap();
        self.thread.join().unwrap();
    }
}

#[test]
fn what_comes_behind_a_large_value_is_brought_without_more_coming() {
    let server = Running::start();
    let mut stream = server.connect();
    let value = vec![b'v'; 100_000];
    let mut request = b"blob 100000\n".to_vec();
    request.extend_from_slice(&value);
    request.extend_from_slice(b"hop behind\n");
    let mut back = vec![0; value.len()];
    for _ in 0..100 {
        stream.write_all(&request).unwrap();
        stream.read_exact(&mut back).unwrap();
        assert!(back == value);
        assert!(line(&mut stream).starts_with("behind"));
    }
    server.stop();
}

#[test]
fn who_has_said_all_still_reads_the_last_answer() {
    let server = Running::start();
    for _ in 0..100 {
        let mut stream = server.connect();
        let value = vec![b'v'; 300_000];
        let mut writer = stream.try_clone().unwrap();
        let sent = value.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(b"blob 300000\n").unwrap();
            writer.write_all(&sent).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        writing.join().unwrap();
        // Read late: an end by reset would destroy what was not read yet.
        std::thread::sleep(Duration::from_millis(2));
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == value);
    }
    server.stop();
}

/// The middle one of thirty answers, each asked for after a silence in which every core sleeps long.
fn median_after_silence(mut ask: impl FnMut()) -> Duration {
    let mut took: Vec<Duration> = (0..30)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(12));
            let asked = std::time::Instant::now();
            ask();
            asked.elapsed()
        })
        .collect();
    took.sort();
    took[took.len() / 2]
}

/// It was believed that whatever completes in a ring rings its eventfd at once. What completes within another core's
/// write to an eventfd rings it after an RCU grace period: hops took 30 ms after a silence.
#[test]
fn a_core_that_sleeps_long_hears_another_at_once() {
    let server = Running::start();
    let mut stream = server.connect();
    stream.set_nodelay(true).unwrap();
    let hop = median_after_silence(|| {
        stream.write_all(b"hop word\n").unwrap();
        line(&mut stream);
    });
    let (there, asked) = std::sync::mpsc::channel::<()>();
    let (back, answered) = std::sync::mpsc::channel();
    std::thread::spawn(move || asked.iter().for_each(|()| back.send(()).unwrap()));
    let threads = median_after_silence(|| {
        there.send(()).unwrap();
        answered.recv().unwrap();
    });
    // Beside two plain threads that wake each other: within a grace period it cannot be, however slow they are.
    assert!(hop < threads * 20 + Duration::from_millis(5), "a hop took {hop:?}, two threads {threads:?}");
    server.stop();
}

#[test]
fn a_taken_port_is_found_out() {
    let first = reactor::Doors::default();
    let at = first.reserve(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let _listening = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let fatal = reactor::Doors::default().reserve(listener.local_addr().unwrap()).unwrap_err();
        assert_eq!(fatal.status, 4);
        assert!(fatal.sentence.contains("another program listens there"), "{}", fatal.sentence);
        listener
    };
    assert_ne!(at.port(), 0);
}
