//! Says a line again only after the log says that it is safe. What leans on it: a reply means kept, whatever the
//! disk does, also when it fills, also when power fails.

use crate::real::{DEADLINE, Scratch, Server};
use crate::trial;
use libtest_mimic::Trial;
use machine::{
    Address, Blob, Chance, ConnId, CoreId, End, Gauges, Input, Kept, LogMark, NodeId, Now, Opened, Order,
    Outbox, Peer, Seat, Shard, Stored,
};
use sim::{Client, Counts, Faults, Lies, Setup, World, for_seeds};
use std::collections::{BTreeSet, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

/// Where it listens, and whether it waits for the log at all.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    listen: SocketAddr,
    /// Off only in a canary: it then replies before the commit.
    waits: bool,
}

pub(crate) struct EchoLog {
    config: Config,
    /// What is to be said when everything before the mark is safe.
    waiting: VecDeque<(LogMark, ConnId, Vec<u8>)>,
    conns: BTreeSet<ConnId>,
    full: bool,
    /// What was kept before the last end.
    kept: BTreeSet<Vec<u8>>,
}

impl Shard for EchoLog {
    type Config = Config;
    type Said = ();
    type Heard = ();

    fn new(_: Seat, config: &Config, _: Chance) -> Self {
        Self {
            config: config.clone(),
            waiting: VecDeque::new(),
            conns: BTreeSet::new(),
            full: false,
            kept: BTreeSet::new(),
        }
    }

    fn on_replay(&mut self, what: Kept<'_>) {
        let Kept::Record(record) = what else { unreachable!("no snapshot is made") };
        self.kept.insert(record.to_vec());
    }

    fn on_start(&mut self, _: Now, out: &mut impl Outbox<Said = ()>) {
        out.listen(Address::Ip(self.config.listen));
    }

    fn on_open(&mut self, _: Now, conn: ConnId, _: Opened, _: &mut impl Outbox<Said = ()>) {
        self.conns.insert(conn);
    }

    fn on_bytes(&mut self, _: Now, conn: ConnId, input: &mut Input<'_>, out: &mut impl Outbox<Said = ()>) {
        if self.full {
            return out.pause(conn);
        }
        while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
            let line = input.bytes()[..=end].to_vec();
            input.used(end + 1);
            let mark = out.log(&line);
            if self.config.waits {
                self.waiting.push_back((mark, conn, line));
            } else {
                out.write(conn, &line);
            }
        }
    }

    fn on_end(&mut self, _: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = ()>) {
        match end {
            End::Half => out.finish(conn),
            End::Gone(_) => {
                self.conns.remove(&conn);
            }
        }
    }

    fn on_stored(&mut self, _: Now, what: Stored, out: &mut impl Outbox<Said = ()>) {
        match what {
            Stored::Logged(upto) => {
                while self.waiting.front().is_some_and(|(mark, ..)| *mark <= upto) {
                    let (_, conn, line) = self.waiting.pop_front().expect("there is a front");
                    out.write(conn, &line);
                }
                if core::mem::take(&mut self.full) {
                    for conn in &self.conns {
                        out.write(*conn, b"ROOM\n");
                        out.resume(*conn);
                    }
                }
            }
            Stored::Full => {
                self.full = true;
                for conn in &self.conns {
                    out.write(*conn, b"FULL\n");
                }
            }
            Stored::Saved(_) | Stored::Unsaved | Stored::Failed => panic!("{what:?}"),
        }
    }

    fn on_peer(&mut self, _: Now, _: Peer, (): &(), _: Option<Blob>, _: &mut impl Outbox<Said = ()>) {}

    fn on_order(&mut self, _: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = ()>) {
        if matches!(order, Order::Drain { .. }) {
            out.drained();
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        into.level("kept", "records replayed", self.kept.len() as i64);
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("simulated::echo_log::power_cuts".to_owned(), power_cuts_simulated),
        trial("simulated::echo_log::disk_full".to_owned(), full_simulated),
        trial("real::echo_log::disk_full".to_owned(), full_real),
        trial("real::echo_log::killed".to_owned(), killed_real),
    ]
}

/// Lines of a client that says a few at a time.
fn line(client: Client, number: u64) -> Vec<u8> {
    let fill = "x".repeat((number * 37 % 700) as usize);
    format!("{client:?} {number} {fill}\n").into_bytes()
}

pub(crate) fn setup(waits: bool) -> Setup<Config> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 1));
    // Full disks are an ordinary thing here, and resets would only end the conversation.
    let faults = Faults { full: 20, full_max: Duration::from_millis(400), ..Faults::rough() };
    Setup::new(Config { listen, waits }).faults(faults)
}

/// The oracle: after any number of power cuts and kills, every line that was said again is kept, and no line that
/// nobody said.
pub(crate) fn power_cuts(seed: u64, setup: Setup<Config>) -> Counts {
    let mut world = World::<EchoLog>::new(seed, setup);
    let node = NodeId(0);
    let mut ever = BTreeSet::new();
    for _ in 0..4 {
        let clients: Vec<_> = (0..3).map(|_| world.connect(node, 0)).collect();
        for number in 0..30 {
            let client = clients[world.workload().below(3) as usize];
            world.say(client, &line(client, number));
            ever.insert(line(client, number));
            let pause = Duration::from_micros(world.workload().between(0, 900));
            world.run_for(pause);
        }
        if world.workload().below(3) == 0 {
            world.kill(node)
        } else {
            world.power_cut(node)
        }
        world.run_for(Duration::from_millis(50));
        world.restart(node);
        let kept = &world.shard(node, CoreId(0)).kept;
        let strange = kept.iter().find(|line| !ever.contains(*line));
        assert_eq!(strange, None, "kept, and never said");
        for client in clients {
            let heard = world.heard(client).split_inclusive(|byte| *byte == b'\n');
            for said in
                heard.filter(|line| line.ends_with(b"\n") && **line != *b"FULL\n" && **line != *b"ROOM\n")
            {
                assert!(kept.contains(said), "said again, and not kept: {}", said.escape_ascii());
            }
        }
    }
    world.counts().clone()
}

fn power_cuts_simulated() {
    let mut counts = Counts::new();
    for_seeds(200, |seed| counts.add(&power_cuts(seed, setup(true))));
    counts.assert_all(&["power cut", "kill", "restart", "log lost its tail", "on_stored logged"]);
    counts.assert_all(&["on_stored full", "fault: slow disk"]);
}

fn full_simulated() {
    for_seeds(60, |seed| {
        let mut world = World::<EchoLog>::new(seed, Setup { lies: Lies::none(), ..setup(true) });
        let node = NodeId(0);
        let client = world.connect(node, 0);
        let mut expected = Vec::new();
        for number in 0..40 {
            if number == 10 {
                world.fill_disk(node);
            }
            if number == 30 {
                world.run_until(|world| world.heard(client).ends_with(b"FULL\n"));
                world.free_disk(node);
            }
            world.say(client, &line(client, number));
            expected.extend(line(client, number));
            world.run_for(Duration::from_millis(1));
        }
        world.calm();
        let echoed = |world: &World<EchoLog>| {
            let lines = world.heard(client).split_inclusive(|byte| *byte == b'\n');
            lines.filter(|line| **line != *b"FULL\n" && **line != *b"ROOM\n").collect::<Vec<_>>().concat()
        };
        world.run_until(|world| echoed(world).len() >= expected.len());
        assert!(echoed(&world) == expected, "every line once, in order");
    });
}

// The real arm.

pub(crate) fn serve(data: PathBuf) -> ! {
    let config = |doors: &[SocketAddr]| Config { listen: doors[0], waits: true };
    crate::real::serve::<EchoLog>("echolog", 1, 1, Some(data), config)
}

/// One line from the server.
fn hear(reader: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    reader.read_line(&mut line).expect("it comes in time");
    assert!(!line.is_empty(), "the server is gone");
    line.trim_end().to_owned()
}

fn connect(server: &Server) -> (TcpStream, BufReader<TcpStream>) {
    let stream = TcpStream::connect(server.doors[0]).expect("it listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
    let reader = BufReader::new(stream.try_clone().expect("a descriptor is left"));
    (stream, reader)
}

fn full_real() {
    const DISK: usize = 4 << 20;
    let scratch = Scratch::new("full");
    let Some(mut server) = Server::start_on_small_disk("echolog", &scratch.0, DISK) else {
        eprintln!("not run: mounting a small disk needs root");
        return;
    };
    // The server's disk, seen through its own namespace.
    let filler = PathBuf::from(format!("/proc/{}/root{}/filler", server.id(), scratch.0.display()));
    let (mut stream, mut reader) = connect(&server);
    let fill = "x".repeat(60_000);
    stream.write_all(b"before\n").expect("it is taken");
    assert_eq!(hear(&mut reader), "before");
    let mut file = std::fs::File::create(&filler).expect("the disk can be reached");
    while file.write_all(&[0; 4096]).is_ok() {}
    for number in 0..20 {
        stream.write_all(format!("{number} {fill}\n").as_bytes()).expect("it is taken");
    }
    // Until the last page of its log is full it may answer, then it says so, and answers no more.
    let mut next = 0;
    loop {
        match hear(&mut reader) {
            full if full == "FULL" => break,
            line => {
                assert!(line.starts_with(&format!("{next} ")), "in order");
                next += 1;
            }
        }
    }
    drop(file);
    std::fs::remove_file(&filler).expect("it is there");
    while next < 20 {
        match hear(&mut reader) {
            words if words == "ROOM" || words == "FULL" => {}
            line => {
                assert!(line == format!("{next} {fill}"), "every line once, in order");
                next += 1;
            }
        }
    }
    assert!(server.stop(), "the server ended by itself");
}

/// Killed at any moment, five times over: what was said again is in the log's files.
fn killed_real() {
    let scratch = Scratch::new("killed");
    let data = scratch.0.display().to_string();
    let mut said: BTreeSet<String> = BTreeSet::new();
    for round in 0..5 {
        let server = Server::start("echolog", &[&data]);
        let (mut stream, mut reader) = connect(&server);
        for number in 0..200 {
            stream.write_all(format!("{round}.{number}\n").as_bytes()).expect("it is taken");
        }
        for _ in 0..round * 40 + 1 {
            said.insert(hear(&mut reader));
        }
        // Its drop kills it, with most of the lines unanswered.
    }
    let kept = kept_in(&scratch.0);
    for line in &said {
        let line = format!("{line}\n");
        let found = kept.windows(line.len()).any(|window| window == line.as_bytes());
        assert!(found, "said again, and not kept: {line}");
    }
}

/// All bytes of all files there.
fn kept_in(folder: &std::path::Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the log is there").flatten() {
        let path = entry.path();
        bytes.extend(if path.is_dir() {
            kept_in(&path)
        } else {
            std::fs::read(path).expect("it can be read")
        });
    }
    bytes
}
