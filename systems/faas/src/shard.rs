//! Routing: what happened goes to the noun it concerns, and what that says goes out.

use crate::config::Config;
use crate::peer::{ArchivedSaid, Said};
use machine::{
    Blob, Chance, ConnId, End, Gauges, Input, Now, Opened, Order, Outbox, Peer, Seat, Shard, Ticket, TimerId,
};
use web::{Answer, Event, Face, Route, Site};

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// Who we are.
    Root,
}

/// One core's functions, tasks, workers and connections.
#[derive(Debug)]
pub struct Faas {
    config: Config,
    site: Site<To>,
}

impl Shard for Faas {
    type Config = Config;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(_: Seat, config: &Config, _: Chance) -> Self {
        let site = Site::new(Face::default(), [Route::get("/", To::Root)], None);
        Self { config: config.clone(), site }
    }

    fn on_start(&mut self, _: Now, out: &mut impl Outbox<Said = Said>) {
        out.listen(self.config.http.clone());
    }

    fn on_open(&mut self, now: Now, conn: ConnId, _: Opened, out: &mut impl Outbox<Said = Said>) {
        self.site.open(now, conn, out);
    }

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        while let Some(event) = self.site.take(now, conn, input, out) {
            if let Event::Ask(ask) = event {
                self.site.answer(now, ask.id, Answer::json(200, b"{\"name\":\"faas\"}"), out);
            }
        }
    }

    fn on_end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Said>) {
        self.site.end(now, conn, end, out);
    }

    fn on_peer(
        &mut self,
        _: Now,
        _: Peer,
        _: &ArchivedSaid,
        _: Option<Blob>,
        _: &mut impl Outbox<Said = Said>,
    ) {
    }

    fn on_timer(&mut self, now: Now, _: TimerId, out: &mut impl Outbox<Said = Said>) {
        self.site.timer(now, out);
    }

    fn on_gathered(&mut self, now: Now, _: Ticket, gauges: &[Gauges], out: &mut impl Outbox<Said = Said>) {
        self.site.gathered(now, gauges, out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Config>, out: &mut impl Outbox<Said = Said>) {
        match order {
            Order::Reload(_) => {}
            Order::Drain { by: _ } => {
                self.site.drain(now, out);
                out.drained();
            }
        }
    }

    fn gauges(&self, into: &mut Gauges) {
        self.site.gauges(into);
    }
}
