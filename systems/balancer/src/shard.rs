//! Routing: what happened goes to the noun it concerns, and what that says goes out.
//!
//! Nothing is decided here but who is asked. The one hard thing is when a connection may close: not before every
//! line that came was answered, also those that wait because too many are under way.

use crate::Config;
use crate::counters::{Counters, Refused, owner};
use crate::line;
use crate::peer::{ArchivedSaid, Place, Said};
use machine::pipeline::Piece;
use machine::{
    Blob, Chance, Close, ConnId, End, Gauges, Input, ListenerId, Listening, Now, Opened, Order, Outbox, Peer,
    Pipeline, Seat, Shard,
};
use std::collections::BTreeMap;
use wire::Outcome;

/// Lines of one connection under way at once. Past it the connection is paused: that bounds what one event makes
/// us say to other cores, and what waits for them.
const UNDER_WAY_MAX: usize = 1024;

/// Bytes of answers that may wait behind an unanswered line, before the connection is paused.
const HELD_MAX: usize = 64 * 1024;

/// One core's counters and connections.
#[derive(Debug)]
pub struct Balancer {
    seat: Seat,
    config: Config,
    counters: Counters,
    conns: BTreeMap<ConnId, Conn>,
    lines: u64,
    draining: bool,
}

/// One client.
#[derive(Debug, Default)]
struct Conn {
    answers: Pipeline,
    /// Too many lines are under way: nothing more is brought until half are answered.
    paused: bool,
    /// Bytes came that were not read, because of that. They come again.
    unread: bool,
    /// They say no more: close when all is answered.
    ending: bool,
}

impl Conn {
    fn is_full(&self) -> bool {
        self.answers.len() >= UNDER_WAY_MAX || self.answers.held() >= HELD_MAX
    }

    fn is_finished(&self) -> bool {
        self.ending && !self.unread && self.answers.is_idle()
    }
}

impl Shard for Balancer {
    type Config = Config;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, config: &Config, _chance: Chance) -> Self {
        let (counters, conns) = (Counters::default(), BTreeMap::new());
        Self { seat, config: config.clone(), counters, conns, lines: 0, draining: false }
    }

    fn on_start(&mut self, _now: Now, out: &mut impl Outbox<Said = Said>) {
        out.listen(self.config.listen.clone());
    }

    fn on_open(&mut self, _now: Now, conn: ConnId, _how: Opened, _out: &mut impl Outbox<Said = Said>) {
        self.conns.insert(conn, Conn::default());
    }

    fn on_bytes(
        &mut self,
        _now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.with(conn, |each| each.unread = false);
        while self.conns.get(&conn).is_some_and(|each| !each.is_full()) {
            match line::read(input.bytes()) {
                Outcome::Done { value: name, used } => {
                    self.count(conn, name, out);
                    input.used(used);
                }
                Outcome::Partial { need } => {
                    input.need(need);
                    self.close_if_finished(conn, out);
                    return;
                }
                Outcome::Fault(line::TooLong) => {
                    // What waits for other cores is given up: there is no next line to find.
                    out.write(conn, b"ERROR a line has at most 256 bytes\n");
                    self.close(conn, out);
                    return;
                }
            }
        }
        let unread = !input.bytes().is_empty();
        self.with(conn, |each| (each.paused, each.unread) = (true, unread));
        out.pause(conn);
    }

    fn on_end(&mut self, _now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        match end {
            End::Half => {
                self.with(conn, |each| each.ending = true);
                self.close_if_finished(conn, out);
            }
            End::Gone(_) => {
                self.conns.remove(&conn);
                self.drained_if_done(out);
            }
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
        let Peer::Core(core) = from else { unreachable!("a system of one node hears no other") };
        match heard {
            ArchivedSaid::Count { place, name } => {
                let value = self.counters.next(name).ok();
                out.tell(core, Said::Counted { place: place.copied(), value }, None);
            }
            ArchivedSaid::Counted { place, value } => {
                let value = value.as_ref().map(|value| value.to_native());
                let (conn, ticket) = (place.conn(), place.ticket());
                let Some(each) = self.conns.get_mut(&conn) else { return };
                let answer = answer(value.ok_or(Refused::Full));
                each.answers.answer(ticket, Piece::Bytes(&answer), &mut |piece| out.write_piece(conn, piece));
                if each.paused && each.answers.len() <= UNDER_WAY_MAX / 2 {
                    each.paused = false;
                    out.resume(conn);
                }
                self.close_if_finished(conn, out);
            }
        }
    }

    fn on_listen(
        &mut self,
        _now: Now,
        _listener: ListenerId,
        what: Listening,
        _out: &mut impl Outbox<Said = Said>,
    ) {
        // The world tells the operator which address was found, or that there is none.
        let _ = what;
    }

    fn on_order(&mut self, _now: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Said>) {
        match order {
            Order::Reload(config) => self.config = config.clone(),
            Order::Drain { by: _ } => {
                self.draining = true;
                let conns: Vec<ConnId> = self.conns.keys().copied().collect();
                for conn in conns {
                    self.with(conn, |each| each.ending = true);
                    self.close_if_finished(conn, out);
                }
                self.drained_if_done(out);
            }
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        into.counter("balancer_lines_total", "lines read from clients", self.lines);
        into.level("balancer_counters", "counters kept", self.counters.len() as i64);
    }
}

impl Balancer {
    /// One line: answered here, or asked of the core that owns the name.
    fn count(&mut self, conn: ConnId, name: &[u8], out: &mut impl Outbox<Said = Said>) {
        self.lines += 1;
        let Some(each) = self.conns.get_mut(&conn) else { return };
        // A line without a name is nobody's: it is refused here.
        let owner = if name.is_empty() { self.seat.core } else { owner(name, self.seat) };
        if owner == self.seat.core {
            let answer = answer(self.counters.next(name));
            each.answers.ready(Piece::Bytes(&answer), &mut |piece| out.write_piece(conn, piece));
        } else {
            let place = Place::new(conn, each.answers.wait());
            out.tell(owner, Said::Count { place, name: name.to_vec() }, None);
        }
    }

    fn with(&mut self, conn: ConnId, change: impl FnOnce(&mut Conn)) {
        if let Some(each) = self.conns.get_mut(&conn) {
            change(each);
        }
    }

    fn close_if_finished(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        if self.conns.get(&conn).is_some_and(Conn::is_finished) {
            self.close(conn, out);
        }
    }

    fn close(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        self.conns.remove(&conn);
        out.close(conn, Close::Flushed);
        self.drained_if_done(out);
    }

    fn drained_if_done(&self, out: &mut impl Outbox<Said = Said>) {
        if self.draining && self.conns.is_empty() {
            out.drained();
        }
    }
}

/// The line that answers.
fn answer(counted: Result<u64, Refused>) -> Vec<u8> {
    match counted {
        Ok(value) => format!("{value}\n").into_bytes(),
        Err(Refused::Nameless) => b"ERROR a name has at least one byte\n".to_vec(),
        Err(Refused::Full) => b"ERROR this core keeps no more counters\n".to_vec(),
    }
}
