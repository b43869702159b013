//! The asker, on a reactor of its own: bursts in which every connection asks, silences in which now and then one
//! does, and the clock kept for each answer.

use crate::serve::{FRAME, KINDS, TIMER};
use machine::{
    Address, Blob, Chance, ConnId, Dial, End, Gauges, Input, Now, Opened, Order, Outbox, Peer, Seat, Shard,
    Stream, TimerId,
};
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Every connection asks about once in this time while it is loud.
const LOUD_PERIOD_MS: u64 = 1000;
/// How long it is loud, then silent.
const LOUD: Duration = Duration::from_secs(3);
const SILENT: Duration = Duration::from_secs(2);
/// In silence a core asks after a pause of up to this.
const PAUSE_MAX_MS: u64 = 300;
const TICK: TimerId = TimerId(0);
const TICK_PERIOD: Duration = Duration::from_millis(2);
/// Dials under way at once, for each core.
const DIALS: usize = 64;
/// After the end, how long answers are waited for.
const LAST: Duration = Duration::from_secs(2);

/// An answer that took too long.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "printed when it cannot be explained")]
pub(crate) struct Slow {
    pub(crate) kind: char,
    pub(crate) asked: Instant,
    pub(crate) answered: Instant,
    pub(crate) took: Duration,
}

#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) answers: u64,
    pub(crate) failures: u64,
    pub(crate) unanswered: usize,
    pub(crate) slow: Vec<Slow>,
    longest: BTreeMap<u8, Duration>,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers, {} over {:?}; longest", self.answers, self.slow.len(), crate::SLOW)?;
        let names =
            [(b'E', "at once"), (b'H', "over a core"), (b'T', "after a timer"), (b'L', "after the log")];
        names.iter().try_for_each(|(kind, name)| {
            let longest = self.longest.get(kind).copied().unwrap_or_default();
            write!(f, ", {name} {:.1} ms", longest.as_secs_f64() * 1e3)
        })
    }
}

#[derive(Clone)]
struct Config {
    at: SocketAddr,
    connections: usize,
    span: Duration,
}

struct Asker {
    config: Config,
    mine: usize,
    chance: Stream,
    dialling: usize,
    open: Vec<ConnId>,
    waiting: BTreeMap<ConnId, (u8, Instant)>,
    credit: f64,
    pause_until: machine::Instant,
    begun: Option<machine::Instant>,
    asked: Asked,
}

impl Asker {
    fn dial_more(&mut self, now: Now, out: &mut impl Outbox<Said = ()>) {
        while self.dialling < DIALS && self.open.len() + self.dialling < self.mine {
            self.dialling += 1;
            let by = now.at + Duration::from_secs(10);
            out.dial(Dial { to: Address::Ip(self.config.at), from: None, tls: None, by });
        }
    }

    fn ask(&mut self, out: &mut impl Outbox<Said = ()>) {
        let Some(&conn) = self.chance.pick(&self.open) else { return };
        if self.waiting.contains_key(&conn) {
            return;
        }
        let kind = *self.chance.pick(&KINDS).expect("there are kinds");
        let mut frame = [kind; FRAME];
        frame[8..].copy_from_slice(&conn.0.to_bits().to_le_bytes());
        self.waiting.insert(conn, (kind, Instant::now()));
        out.write(conn, &frame);
    }

    fn tick(&mut self, now: Now, since: Duration, out: &mut impl Outbox<Said = ()>) {
        let cycle = LOUD + SILENT;
        let phase = Duration::from_nanos((since.as_nanos() % cycle.as_nanos()) as u64);
        if phase < LOUD {
            self.credit +=
                self.open.len() as f64 * TICK_PERIOD.as_secs_f64() * 1000.0 / LOUD_PERIOD_MS as f64;
            while self.credit >= 1.0 {
                self.credit -= 1.0;
                self.ask(out);
            }
            out.wake(TICK, Some(now.at + TICK_PERIOD));
        } else {
            // Nothing but the one question wakes anybody.
            self.ask(out);
            self.pause_until = now.at + Duration::from_millis(self.chance.between(1, PAUSE_MAX_MS));
            out.wake(TICK, Some(self.pause_until));
        }
    }
}

impl Shard for Asker {
    type Config = Config;
    type Said = ();
    type Heard = ();

    fn new(seat: Seat, config: &Config, chance: Chance) -> Self {
        let (cores, core) = (usize::from(seat.cores), seat.core.index());
        Self {
            config: config.clone(),
            mine: config.connections / cores + usize::from(core < config.connections % cores),
            chance: chance.stream("ask"),
            dialling: 0,
            open: Vec::new(),
            waiting: BTreeMap::new(),
            credit: 0.0,
            pause_until: machine::Instant::ZERO,
            begun: None,
            asked: Asked::default(),
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = ()>) {
        self.dial_more(now, out);
    }

    fn on_open(&mut self, now: Now, conn: ConnId, _how: Opened, out: &mut impl Outbox<Said = ()>) {
        self.dialling -= 1;
        self.open.push(conn);
        if self.open.len() == self.mine {
            self.begun = Some(now.at);
            out.wake(TICK, Some(now.at + TICK_PERIOD));
        }
        self.dial_more(now, out);
    }

    fn on_bytes(
        &mut self,
        _now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        _out: &mut impl Outbox<Said = ()>,
    ) {
        let Some(frame) = input.bytes().first_chunk::<FRAME>() else { return input.need(FRAME) };
        input.used(FRAME);
        let Some((kind, asked)) = self.waiting.remove(&conn) else {
            self.asked.failures += 1;
            return;
        };
        if frame[0] != kind || frame[8..] != conn.0.to_bits().to_le_bytes() {
            self.asked.failures += 1;
        }
        let answered = Instant::now();
        let meant = if kind == b'T' { TIMER } else { Duration::ZERO };
        let took = (answered - asked).saturating_sub(meant);
        self.asked.answers += 1;
        let longest = self.asked.longest.entry(kind).or_default();
        *longest = took.max(*longest);
        if took > crate::SLOW {
            self.asked.slow.push(Slow { kind: char::from(kind), asked, answered, took });
        }
    }

    fn on_end(&mut self, _now: Now, _conn: ConnId, _end: End, _out: &mut impl Outbox<Said = ()>) {
        self.asked.failures += 1;
    }

    fn on_peer(&mut self, _: Now, _: Peer, (): &(), _: Option<Blob>, _: &mut impl Outbox<Said = ()>) {}

    fn on_timer(&mut self, now: Now, _timer: TimerId, out: &mut impl Outbox<Said = ()>) {
        let since = now.at.since(self.begun.expect("the tick begins with it"));
        if since < self.config.span {
            return self.tick(now, since, out);
        }
        if self.waiting.is_empty() || since > self.config.span + LAST {
            self.asked.unanswered = self.waiting.len();
            out.drained();
        } else {
            out.wake(TICK, Some(now.at + TICK_PERIOD));
        }
    }

    fn on_order(&mut self, _now: Now, _order: Order<'_, Config>, out: &mut impl Outbox<Said = ()>) {
        out.drained();
    }

    fn gauges(&self, _into: &mut Gauges) {}
}

/// Asks for that long over that many connections.
pub(crate) fn run(at: SocketAddr, connections: usize, span: Duration) -> Asked {
    let plan = reactor::Plan::new("asker", Config { at, connections, span });
    let mut sum = Asked::default();
    for shard in reactor::run::<Asker>(plan).expect("it runs where the server runs") {
        sum.answers += shard.asked.answers;
        sum.failures += shard.asked.failures;
        sum.unanswered += shard.asked.unanswered;
        sum.slow.extend(shard.asked.slow);
        for (kind, longest) in shard.asked.longest {
            let known = sum.longest.entry(kind).or_default();
            *known = longest.max(*known);
        }
    }
    sum
}
