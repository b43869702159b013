//! Routing: what happened goes to the noun it concerns. Nothing is decided here but who is asked.

use crate::asks::{Asks, To};
use crate::config::Config;
use crate::node::{CORE, GROUP, Node, PUMP, TICK};
use crate::peer::{ArchivedSaid, Said};
use machine::{
    Blob, Chance, ChildEvent, ChildId, ConnId, End, Gauges, Input, Kept, Link, ListenerId, Listening, NodeId,
    Now, Opened, Order, Outbox, Peer, PipeKind, Seat, Shard, Stored, Ticket, TimerId,
};

/// Bytes of an unfinished line of the sensor; more is no line.
const SENSED_MAX: usize = 256;

/// One core of a node. The first has the node; a ledger is one order of things, so there is nothing for a second.
pub struct Scheduler {
    node: Option<Box<Node>>,
    asks: Asks,
    sensor: Option<ChildId>,
    sensed: Option<ConnId>,
}

impl Scheduler {
    /// The node, on the core that has it.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.node.as_deref()
    }

    fn sense(&mut self, out: &mut impl Outbox<Said = Said>) {
        let Some(node) = &self.node else { return };
        if let Some(command) = &node.config.sense {
            self.sensor = Some(out.spawn(command.clone()));
        }
    }

    /// What was found out for those who asked is answered, and the rest of the turn's work is done soon.
    fn after(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if let Some(node) = &mut self.node {
            self.asks.answer(now, node, out);
            node.soon(now, out);
        }
    }
}

impl Shard for Scheduler {
    type Config = Config;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, config: &Config, chance: Chance) -> Self {
        let node = (seat.core == CORE).then(|| Box::new(Node::new(seat, config, chance)));
        Self { node, asks: Asks::new(config), sensor: None, sensed: None }
    }

    fn on_replay(&mut self, what: Kept<'_>) {
        if let Some(node) = &mut self.node {
            match what {
                Kept::Part(bytes) | Kept::Record(bytes) => node.on_kept(bytes),
            }
        }
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let Some(node) = &mut self.node else { return };
        out.listen(node.me.http.clone());
        node.start(now, out);
        self.sense(out);
        self.after(now, out);
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Said>) {
        match how {
            Opened::Accepted { from, .. } => self.asks.open(now, conn, &from, out),
            Opened::Pipe(child, PipeKind::Output) if self.sensor == Some(child) => self.sensed = Some(conn),
            Opened::Pipe(child, kind) => {
                if let Some(node) = &mut self.node
                    && let Some(worker) = &mut node.worker
                {
                    worker.on_pipe(conn, (child, kind), &node.ledger, out);
                }
                self.after(now, out);
            }
            Opened::Dialled => unreachable!("a node dials nobody"),
        }
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(node) = &mut self.node else { return };
        if self.sensed == Some(conn) {
            let bytes = input.bytes();
            let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            for line in String::from_utf8_lossy(&bytes[..end]).lines() {
                node.load.hear(line);
            }
            let is_too_long = bytes.len() - end > SENSED_MAX;
            return input.used(if is_too_long { bytes.len() } else { end });
        }
        let is_output = node.worker.as_mut().is_some_and(|worker| worker.on_bytes(conn, input.bytes()));
        if is_output {
            return input.used(input.bytes().len());
        }
        self.asks.take(now, conn, input, node, out);
        self.after(now, out);
    }

    fn on_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        self.asks.site.room(now, conn, out);
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        if self.sensed == Some(conn) {
            self.sensed = None;
            return;
        }
        let worker = self.node.as_mut().and_then(|node| node.worker.as_mut());
        if worker.is_some_and(|worker| worker.on_end(conn, end)) {
            return self.after(now, out);
        }
        self.asks.end(now, conn, end, out);
    }

    fn on_peer(
        &mut self,
        now: Now,
        from: Peer,
        heard: &ArchivedSaid,
        _blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let (Some(node), Peer::Node(from, _)) = (&mut self.node, from) else { return };
        if node.is_stopped || node.is_broken {
            return;
        }
        hear(now, from, heard, node, out);
        self.after(now, out);
    }

    fn on_link(&mut self, now: Now, node: NodeId, link: Link, out: &mut impl Outbox<Said = Said>) {
        if let Some(mine) = &mut self.node {
            mine.on_link(now, node, matches!(link, Link::Up { .. }));
        }
        self.after(now, out);
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        let Some(node) = &mut self.node else { return };
        match timer {
            PUMP => node.pump(now, out),
            GROUP => {
                if !node.is_stopped && !node.is_full {
                    node.group.on_timer(now.at);
                }
                node.soon(now, out);
            }
            TICK => {
                node.tick(now, out);
                self.asks.tick(now, node, out);
                node.soon(now, out);
            }
            web::TIMER => self.asks.site.timer(now, out),
            other => unreachable!("nobody asked for {other:?}"),
        }
        if let Some(node) = &mut self.node {
            if !node.outcomes.is_empty() {
                // What is read may lead to something that is proposed.
                node.soon(now, out);
            }
            self.asks.answer(now, node, out);
        }
    }

    fn on_stored(&mut self, now: Now, what: Stored, out: &mut impl Outbox<Said = Said>) {
        let Some(node) = &mut self.node else { return };
        match what {
            Stored::Logged(upto) => {
                node.is_full = false;
                node.group.on_logged(now.at, upto);
            }
            Stored::Saved(_) => node.on_saved(),
            Stored::Unsaved => {
                out.unsave();
                node.on_saved();
            }
            Stored::Full => node.on_full(),
            Stored::Failed => node.on_disk_failed(),
        }
        self.after(now, out);
    }

    fn on_child(&mut self, now: Now, child: ChildId, what: ChildEvent, out: &mut impl Outbox<Said = Said>) {
        if self.sensor == Some(child) {
            return match what {
                ChildEvent::Started { .. } => {}
                ChildEvent::Unstarted(_) | ChildEvent::Exited(_) | ChildEvent::Killed(_) => {
                    self.sensor = None
                }
            };
        }
        let worker = self.node.as_mut().and_then(|node| node.worker.as_mut());
        if let Some(worker) = worker {
            worker.on_child(now.at, child, &what);
        }
        self.after(now, out);
    }

    fn on_listen(
        &mut self,
        _now: Now,
        _listener: ListenerId,
        what: Listening,
        _out: &mut impl Outbox<Said = Said>,
    ) {
        if let (Listening::Failed(why), Some(node)) = (what, &mut self.node) {
            (node.config.terminal.refuse)(&why);
        }
    }

    fn on_gathered(
        &mut self,
        now: Now,
        ticket: Ticket,
        gauges: &[Gauges],
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.asks.gathered(now, ticket, gauges, out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Said>) {
        match order {
            Order::Reload(_) => {}
            Order::Drain { by: _ } => {
                if let Some(node) = &mut self.node {
                    // Somebody else leads at once, instead of after an election; and what runs here is given up now
                    // instead of when its lease ends.
                    node.group.transfer_leadership(now.at, None);
                    node.pump(now, out);
                }
                self.asks.site.drain(now, out);
                out.drained();
            }
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        self.asks.site.gauges(into);
        if let Some(node) = &self.node {
            node.gauges(into);
        }
    }
}

/// Another node said something.
fn hear(now: Now, from: NodeId, heard: &ArchivedSaid, node: &mut Node, out: &mut impl Outbox<Said = Said>) {
    match heard {
        // A group whose records have no room stands still.
        ArchivedSaid::Group(_) if node.is_full => {}
        ArchivedSaid::Group(message) => {
            if let Err(fault) = node.group.on_message(now.at, from, message) {
                node.note(&format!("{}: {fault}", node.config.name(from.0).to_owned()));
                if fault == consensus::Fault::Contradiction {
                    node.on_disk_failed();
                }
            }
        }
        ArchivedSaid::Beat(beat) => node.on_beat(now, from.0, beat.read(), out),
        ArchivedSaid::Heard { life, number } => node.on_heard(life.to_native(), number.to_native()),
        ArchivedSaid::Propose { origin, fact } => {
            let origin = rkyv::deserialize::<_, rkyv::rancor::Error>(origin);
            let fact = rkyv::deserialize::<_, rkyv::rancor::Error>(fact);
            if let (Ok(origin), Ok(fact)) = (origin, fact) {
                node.propose_here(now, origin, fact);
            }
        }
        ArchivedSaid::Run { id, attempt, index, life } => {
            let id = crate::entry::JobId(id.0.to_native());
            node.on_run(id, attempt.to_native(), index.to_native(), life.to_native());
        }
        ArchivedSaid::Lines { life, first, lines } => {
            let lines: Vec<&str> = lines.iter().map(|line| line.as_str()).collect();
            node.on_lines(from.0, life.to_native(), first.to_native(), &lines);
        }
    }
}

/// What a page or a program asks for is in `asks`; the routes are re-exported for its table.
pub(crate) type Site = web::Site<To>;
