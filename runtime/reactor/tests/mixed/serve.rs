//! The server: answers at once, over another core, after a timer, or after the log; keeps timers of its own, and
//! a child that chatters and is read only now and then.

use machine::{
    Address, Blob, Chance, ChildEvent, ChildId, Close, Command, ConnId, CoreId, End, Gauges, Input, LogMark,
    Now, Opened, Order, Outbox, Peer, PipeKind, Seat, Shard, Signal, Stored, TimerId,
};
use rkyv::{Archive, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

/// A request and its answer: what is asked, then what the asker wants to see again.
pub(crate) const FRAME: usize = 16;
/// What can be asked, by the first byte.
pub(crate) const KINDS: [u8; 4] = [b'E', b'H', b'T', b'L'];
/// How long a `T` waits.
pub(crate) const TIMER: Duration = Duration::from_millis(10);

const CHATTER_TIMER: TimerId = TimerId(0);
const CHATTER_PERIOD: Duration = Duration::from_millis(50);
const CHATTER_MAX: usize = 64 * 1024;

pub(crate) struct Server {
    seat: Seat,
    at: SocketAddr,
    child: Option<ChildId>,
    chatter: Option<ConnId>,
    chattered: usize,
    chatter_total: u64,
    late: BTreeMap<u64, (ConnId, [u8; FRAME])>,
    next_timer: u64,
    logging: VecDeque<(LogMark, ConnId, [u8; FRAME])>,
    answers: u64,
}

#[derive(Archive, Serialize)]
pub(crate) enum Said {
    There { index: u32, generation: u32, frame: [u8; FRAME] },
    Back { index: u32, generation: u32, frame: [u8; FRAME] },
}

impl Server {
    fn answer(&mut self, conn: ConnId, frame: &[u8; FRAME], out: &mut impl Outbox<Said = Said>) {
        self.answers += 1;
        out.write(conn, frame);
    }

    fn asked(&mut self, now: Now, conn: ConnId, frame: [u8; FRAME], out: &mut impl Outbox<Said = Said>) {
        match frame[0] {
            b'E' => self.answer(conn, &frame, out),
            b'H' => {
                let next = CoreId((self.seat.core.0 + 1) % self.seat.cores);
                out.tell(
                    next,
                    Said::There { index: conn.0.index, generation: conn.0.generation, frame },
                    None,
                );
            }
            b'T' => {
                self.next_timer += 1;
                self.late.insert(self.next_timer, (conn, frame));
                out.wake(TimerId(self.next_timer), Some(now.at + TIMER));
            }
            b'L' => {
                let mark = out.log(&frame);
                self.logging.push_back((mark, conn, frame));
            }
            _ => out.close(conn, Close::Now),
        }
    }
}

impl Shard for Server {
    type Config = SocketAddr;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, config: &SocketAddr, _chance: Chance) -> Self {
        Self {
            seat,
            at: *config,
            child: None,
            chatter: None,
            chattered: 0,
            chatter_total: 0,
            late: BTreeMap::new(),
            next_timer: 0,
            logging: VecDeque::new(),
            answers: 0,
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        out.listen(Address::Ip(self.at));
        out.wake(CHATTER_TIMER, Some(now.at + CHATTER_PERIOD));
        self.child = Some(out.spawn(Command {
            program: "yes".into(),
            args: vec!["a child that chatters without end".into()],
            pipes: vec![PipeKind::Output],
            ..Command::default()
        }));
    }

    fn on_open(&mut self, _now: Now, conn: ConnId, how: Opened, _out: &mut impl Outbox<Said = Said>) {
        if let Opened::Pipe(..) = how {
            self.chatter = Some(conn);
        }
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if self.chatter == Some(conn) {
            let count = input.bytes().len();
            input.used(count);
            self.chattered += count;
            self.chatter_total += count as u64;
            if self.chattered > CHATTER_MAX {
                out.pause(conn);
            }
            return;
        }
        let (frames, _) = input.bytes().as_chunks::<FRAME>();
        for frame in frames {
            self.asked(now, conn, *frame, out);
        }
        input.used(frames.len() * FRAME);
    }

    fn on_end(&mut self, _now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        if end == End::Half {
            out.close(conn, Close::Flushed);
        }
    }

    fn on_peer(
        &mut self,
        _now: Now,
        from: Peer,
        heard: &ArchivedSaid,
        _blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        match (heard, from) {
            (ArchivedSaid::There { index, generation, frame }, Peer::Core(from)) => {
                let (index, generation) = (index.to_native(), generation.to_native());
                out.tell(from, Said::Back { index, generation, frame: *frame }, None);
            }
            (ArchivedSaid::Back { index, generation, frame }, _) => {
                let key = machine::id::Key { index: index.to_native(), generation: generation.to_native() };
                self.answer(ConnId(key), frame, out);
            }
            (ArchivedSaid::There { .. }, Peer::Node(..)) => unreachable!("there is one node"),
        }
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        if timer == CHATTER_TIMER {
            out.wake(CHATTER_TIMER, Some(now.at + CHATTER_PERIOD));
            self.chattered = 0;
            self.chatter.inspect(|conn| out.resume(*conn));
        } else if let Some((conn, frame)) = self.late.remove(&timer.0) {
            self.answer(conn, &frame, out);
        }
    }

    fn on_stored(&mut self, _now: Now, what: Stored, out: &mut impl Outbox<Said = Said>) {
        let Stored::Logged(upto) = what else { panic!("the log said {what:?}") };
        while self.logging.front().is_some_and(|(mark, ..)| *mark <= upto) {
            let (_, conn, frame) = self.logging.pop_front().expect("there is a front");
            self.answer(conn, &frame, out);
        }
    }

    fn on_replay(&mut self, _what: machine::Kept<'_>) {}

    fn on_child(
        &mut self,
        _now: Now,
        _child: ChildId,
        what: ChildEvent,
        _out: &mut impl Outbox<Said = Said>,
    ) {
        if let ChildEvent::Unstarted(why) = what {
            panic!("{why}");
        }
    }

    fn on_order(&mut self, _now: Now, _order: Order<'_, SocketAddr>, out: &mut impl Outbox<Said = Said>) {
        out.wake(CHATTER_TIMER, None);
        self.child.inspect(|child| out.signal(*child, Signal::Kill));
        out.drained();
    }

    fn gauges(&self, _into: &mut Gauges) {}
}

pub(crate) fn main() {
    let fail = |fatal: reactor::Fatal| -> ! {
        eprintln!("mixed: {}", fatal.sentence);
        std::process::exit(i32::from(fatal.status))
    };
    let cores = reactor::allowed_cores();
    let keeper = reactor::Keeper::fork(cores.len()).unwrap_or_else(|fatal| fail(fatal));
    reactor::doctor::raise_open_files().expect("a soft limit can be raised to the hard one");
    let mut plan = reactor::Plan::new("mixed", SocketAddr::from(([127, 0, 0, 1], 0)));
    plan.config = plan.doors.reserve(plan.config).unwrap_or_else(|fatal| fail(fatal));
    plan.keeper = Some(keeper);
    // In memory, so that what is measured is us and not the disk.
    let data = std::path::PathBuf::from(format!("/dev/shm/ringwise-mixed-{}", std::process::id()));
    std::fs::create_dir_all(&data).expect("/dev/shm can be written");
    plan.data = Some(data.clone());
    let at = plan.config;
    plan.on_ready = Box::new(move || {
        println!("READY {at}");
        std::io::stdout().flush().expect("somebody reads");
    });
    let shards = reactor::run::<Server>(plan).unwrap_or_else(|fatal| fail(fatal));
    let _ = std::fs::remove_dir_all(data);
    let answers: u64 = shards.iter().map(|shard| shard.answers).sum();
    let chatter: u64 = shards.iter().map(|shard| shard.chatter_total).sum();
    println!("{answers} answers, {} MiB of chatter", chatter >> 20);
}
