//! A child that prints without end, and one reader that comes late: until then nothing may pile up, from then on
//! everything comes, and when the reader leaves the child is ended.

use crate::real::{DEADLINE, Server};
use crate::trial;
use libtest_mimic::Trial;
use machine::{
    Address, Blob, Chance, ChildEvent, ChildId, Close, Command, ConnId, End, Gauges, Input, NodeId, Now,
    Opened, Order, Outbox, Peer, PipeKind, READ_SLACK, Seat, Shard, Signal,
};
use sim::{ChildScript, Counts, Faults, Setup, World, for_seeds};
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What it listens at. The child is `yes`.
pub(crate) struct Pipe {
    listen: SocketAddr,
    child: Option<ChildId>,
    output: Option<ConnId>,
    reader: Option<ConnId>,
    /// Bytes that came while nobody read.
    unread: usize,
    ended: bool,
}

impl Shard for Pipe {
    type Config = SocketAddr;
    type Said = ();
    type Heard = ();

    fn new(_: Seat, listen: &SocketAddr, _: Chance) -> Self {
        Self { listen: *listen, child: None, output: None, reader: None, unread: 0, ended: false }
    }

    fn on_start(&mut self, _: Now, out: &mut impl Outbox<Said = ()>) {
        out.listen(Address::Ip(self.listen));
        let command = Command { program: "yes".into(), pipes: vec![PipeKind::Output], ..Command::default() };
        self.child = Some(out.spawn(command));
    }

    fn on_open(&mut self, _: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = ()>) {
        match how {
            Opened::Pipe(..) => {
                self.output = Some(conn);
                if self.reader.is_none() {
                    out.pause(conn);
                }
            }
            Opened::Accepted { .. } | Opened::Dialled => {
                self.reader = Some(conn);
                if let Some(output) = self.output {
                    out.resume(output);
                }
            }
        }
    }

    fn on_bytes(&mut self, _: Now, conn: ConnId, input: &mut Input<'_>, out: &mut impl Outbox<Said = ()>) {
        if Some(conn) != self.output {
            return;
        }
        let Some(reader) = self.reader else {
            // Left where it is: it comes again.
            self.unread = input.bytes().len();
            assert!(self.unread <= READ_SLACK, "at most READ_SLACK comes after a pause");
            return;
        };
        out.write(reader, input.bytes());
        input.used(input.bytes().len());
        if out.room(reader) == 0 {
            out.pause(conn);
        }
    }

    fn on_room(&mut self, _: Now, _: ConnId, out: &mut impl Outbox<Said = ()>) {
        if let Some(output) = self.output {
            out.resume(output);
        }
    }

    fn on_end(&mut self, _: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = ()>) {
        if Some(conn) == self.output {
            self.output = None;
            return;
        }
        if let Some(child) = self.child {
            out.signal(child, Signal::Kill);
        }
        self.reader = None;
        if let Some(output) = self.output {
            out.pause(output);
        }
        if end == End::Half {
            out.close(conn, Close::Now);
        }
    }

    fn on_child(&mut self, _: Now, _: ChildId, what: ChildEvent, out: &mut impl Outbox<Said = ()>) {
        match what {
            ChildEvent::Started { .. } => {}
            ChildEvent::Killed(9) => {
                self.ended = true;
                out.drained();
            }
            ChildEvent::Unstarted(_) | ChildEvent::Exited(_) | ChildEvent::Killed(_) => {
                panic!("it only ends by being killed: {what:?}")
            }
        }
    }

    fn on_peer(&mut self, _: Now, _: Peer, (): &(), _: Option<Blob>, _: &mut impl Outbox<Said = ()>) {}

    fn on_order(&mut self, _: Now, order: Order<'_, SocketAddr>, out: &mut impl Outbox<Said = ()>) {
        if matches!(order, Order::Drain { .. }) {
            out.drained();
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        into.level("unread", "bytes that came while nobody read", self.unread as i64);
    }
}

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("simulated::pipe".to_owned(), simulated), trial("real::pipe".to_owned(), real)]
}

fn is_the_childs(bytes: &[u8]) -> bool {
    bytes.chunks(2).all(|line| b"y\n".starts_with(line))
}

fn simulated() {
    const ENOUGH: usize = 3 << 20;
    let mut counts = Counts::new();
    for_seeds(40, |seed| {
        let faults = if seed % 2 == 0 { Faults::none() } else { Faults::rough() };
        let listen = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut world = World::<Pipe>::new(seed, Setup::new(listen).faults(faults));
        world.children(|_, _| ChildScript::Prints(b"y\n".to_vec()));
        world.run_for(Duration::from_secs(1));
        let reader = world.connect(NodeId(0), 0);
        world.run_until(|world| world.heard(reader).len() > ENOUGH / 2);
        world.stall(reader);
        world.run_for(Duration::from_millis(200));
        world.unstall(reader);
        world.run_until(|world| world.heard(reader).len() > ENOUGH);
        assert!(is_the_childs(world.heard(reader)), "what the child printed, in order");
        world.reset(reader);
        world.run_until(|world| world.drained(NodeId(0)));
        assert_eq!(world.children_of(NodeId(0)), 0, "the child was ended");
        counts.add(world.counts());
    });
    counts.assert_all(&["on_open pipe", "on_room", "on_child killed", "fault: slack after a pause"]);
}

pub(crate) fn serve() -> ! {
    crate::real::serve::<Pipe>("pipe", 1, 1, None, |doors| doors[0])
}

fn real() {
    const WARM: usize = 64 << 20;
    const ENOUGH: usize = 512 << 20;
    let mut server = Server::start("pipe", &[]);
    // While nobody reads the child could print gigabytes.
    std::thread::sleep(Duration::from_millis(500));
    let mut reader = TcpStream::connect(server.doors[0]).expect("it listens");
    reader.set_read_timeout(Some(DEADLINE)).expect("a deadline is not zero");
    let mut buffer = vec![0; 1 << 16];
    let (mut heard, mut warm) = (0, None);
    while heard < ENOUGH {
        let even = buffer.len() - heard % 2;
        let count = reader.read(&mut buffer[..even]).expect("it comes in time");
        assert!(count > 0, "it never ends by itself");
        let first = heard % 2;
        assert!(buffer[..count].iter().enumerate().all(|(at, byte)| *byte == b"y\n"[(at + first) % 2]));
        heard += count;
        if warm.is_none() && heard > WARM {
            warm = Some(server.memory_peak());
            std::thread::sleep(Duration::from_millis(300));
        }
    }
    let grown = server.memory_peak() - warm.expect("more was heard than that");
    assert!(grown < 4 << 20, "a stalled reader took {grown} bytes");
    drop(reader);
    assert!(server.ends(), "the child was killed, and the server ended by itself");
}
