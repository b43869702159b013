//! A node that lies: the real one with one promise broken, so that the oracle can be seen to notice.

#![allow(dead_code, reason = "each test uses a part of it")]

use machine::{
    Blob, Chance, ChildEvent, ChildId, ConnId, CoreId, End, Gauges, Input, Kept, Link, ListenerId, Listening,
    NodeId, Now, Opened, Order, Outbox, Peer, Seat, Shard, Stored, Ticket, TimerId,
};
use scheduler::entry::{Fact, JobId, Origin};
use scheduler::peer::{ArchivedSaid, Said};
use scheduler::{Config, Scheduler};
use wire::peer::{Batch, Message};

/// Which promise is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    /// None.
    Truth,
    /// A job is acknowledged when it arrives.
    AcknowledgesEarly,
    /// The result of an attempt that was given up is taken for that of the present one.
    TakesOldAttempts,
}

/// What a liar is made with.
#[derive(Clone, Debug)]
pub(crate) struct LiarConfig {
    pub(crate) config: Config,
    pub(crate) lie: Lie,
}

/// A node that may lie.
pub(crate) struct Liar {
    inner: Scheduler,
    lie: Lie,
}

impl Liar {
    /// The node.
    pub(crate) fn node(&self) -> &scheduler::node::Node {
        self.inner.node().expect("one core has it")
    }
}

impl Shard for Liar {
    type Config = LiarConfig;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, config: &LiarConfig, chance: Chance) -> Self {
        Self { inner: Scheduler::new(seat, &config.config, chance), lie: config.lie }
    }

    fn on_replay(&mut self, what: Kept<'_>) {
        self.inner.on_replay(what);
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.inner.on_start(now, out);
    }

    fn on_open(&mut self, now: Now, conn: ConnId, how: Opened, out: &mut impl Outbox<Said = Said>) {
        self.inner.on_open(now, conn, how, out);
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if self.lie == Lie::AcknowledgesEarly
            && let Some(id) = sent_job(input.bytes())
        {
            let body = format!("{{\"id\":\"{id}\",\"state\":\"accepted\"}}");
            let head = format!("HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n", body.len());
            out.write(conn, (head + &body).as_bytes());
        }
        self.inner.on_bytes(now, conn, input, out);
    }

    fn on_room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        self.inner.on_room(now, conn, out);
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        self.inner.on_end(now, conn, end, out);
    }

    fn on_peer(
        &mut self,
        now: Now,
        from: Peer,
        heard: &ArchivedSaid,
        blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let lie = (self.lie == Lie::TakesOldAttempts).then(|| self.rewritten(heard)).flatten();
        let Some(lie) = lie else { return self.inner.on_peer(now, from, heard, blob, out) };
        let mut batch = Batch::new();
        lie.write(&mut batch, false);
        let envelope = batch.envelopes().next().expect("one was written");
        let heard = Said::hear(envelope.archive).expect("it was just written");
        self.inner.on_peer(now, from, heard, blob, out);
    }

    fn on_link(&mut self, now: Now, node: NodeId, link: Link, out: &mut impl Outbox<Said = Said>) {
        self.inner.on_link(now, node, link, out);
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut impl Outbox<Said = Said>) {
        self.inner.on_timer(now, timer, out);
    }

    fn on_stored(&mut self, now: Now, what: Stored, out: &mut impl Outbox<Said = Said>) {
        self.inner.on_stored(now, what, out);
    }

    fn on_child(&mut self, now: Now, child: ChildId, what: ChildEvent, out: &mut impl Outbox<Said = Said>) {
        self.inner.on_child(now, child, what, out);
    }

    fn on_listen(&mut self, now: Now, id: ListenerId, what: Listening, out: &mut impl Outbox<Said = Said>) {
        self.inner.on_listen(now, id, what, out);
    }

    fn on_gathered(
        &mut self,
        now: Now,
        ticket: Ticket,
        gauges: &[Gauges],
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.inner.on_gathered(now, ticket, gauges, out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, LiarConfig>, out: &mut impl Outbox<Said = Said>) {
        match order {
            Order::Reload(config) => self.inner.on_order(now, Order::Reload(&config.config), out),
            Order::Drain { by } => self.inner.on_order(now, Order::Drain { by }, out),
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        self.inner.gauges(into);
    }
}

impl Liar {
    /// A late result as one of the present attempt.
    fn rewritten(&self, heard: &ArchivedSaid) -> Option<Said> {
        let ArchivedSaid::Propose { origin, fact } = heard else { return None };
        let fact = rkyv::deserialize::<Fact, rkyv::rancor::Error>(fact).ok()?;
        let Fact::Ended { id, attempt, outcome, .. } = fact else { return None };
        let job = self.node().ledger().job(id).filter(|job| job.state.is_held() && job.attempt != attempt)?;
        let fact = Fact::Ended { id, attempt: job.attempt, worker: job.worker?, outcome };
        let origin = rkyv::deserialize::<Origin, rkyv::rancor::Error>(origin).ok()?;
        Some(Said::Propose { origin, fact })
    }
}

/// The job that whole bytes of a request send.
fn sent_job(bytes: &[u8]) -> Option<JobId> {
    let text = core::str::from_utf8(bytes).ok()?.strip_prefix("POST /api/v1/jobs ")?;
    let (_, rest) = text.split_once("Idempotency-Key: ")?;
    text.ends_with('}').then(|| JobId::of(rest.lines().next().unwrap_or_default()))
}

/// The core that has a node.
pub(crate) const CORE: CoreId = CoreId(0);
