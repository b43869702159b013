//! The real thing: a shard on two cores of the reactor, of which one asks and the other answers. What a turn says
//! travels in one parcel, so with many in flight the lanes gather by themselves.

use crate::course::{Asker, Course, Outcome};
use crate::message::{ArchivedSaid, Said};
use machine::{
    Blob, Chance, ConnId, CoreId, End, Gauges, Input, Now, Opened, Order, Outbox, Peer, Seat, Shard,
};
use std::time::Duration;

/// Asks and answers.
const ASKER: CoreId = CoreId(0);
const ANSWERER: CoreId = CoreId(1);

struct Hopper {
    seat: Seat,
    /// On the core that asks, until it has ended.
    asker: Option<Asker>,
    outcome: Option<Outcome>,
}

impl Hopper {
    /// All that may be in flight: fewer than one event may say.
    fn fill(&mut self, out: &mut impl Outbox<Said = Said>) {
        let Some(asker) = &mut self.asker else { return };
        while asker.has_room() {
            out.tell(ANSWERER, asker.ask(), None);
        }
    }
}

impl Shard for Hopper {
    type Config = Course;
    type Said = Said;
    type Heard = ArchivedSaid;

    fn new(seat: Seat, config: &Course, _chance: Chance) -> Self {
        let asker = (seat.core == ASKER).then(|| Asker::new(*config));
        Self { seat, asker, outcome: None }
    }

    fn on_start(&mut self, _now: Now, out: &mut impl Outbox<Said = Said>) {
        self.fill(out);
    }

    fn on_peer(
        &mut self,
        _now: Now,
        _from: Peer,
        heard: &ArchivedSaid,
        _blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if self.seat.core == ANSWERER {
            match heard.answer() {
                Said::Stop => out.drained(),
                said @ (Said::One(_) | Said::Many(_)) => out.tell(ASKER, said, None),
            }
            return;
        }
        let Some(asker) = &mut self.asker else { return };
        if asker.take(heard) {
            self.fill(out);
        } else {
            self.outcome = self.asker.take().map(Asker::end);
            out.tell(ANSWERER, Said::Stop, None);
            out.drained();
        }
    }

    fn on_order(&mut self, _now: Now, _order: Order<'_, Course>, out: &mut impl Outbox<Said = Said>) {
        out.drained();
    }

    fn on_open(&mut self, _now: Now, _conn: ConnId, _how: Opened, _out: &mut impl Outbox<Said = Said>) {}

    fn on_bytes(&mut self, _: Now, _: ConnId, _: &mut Input<'_>, _: &mut impl Outbox<Said = Said>) {}

    fn on_end(&mut self, _now: Now, _conn: ConnId, _end: End, _out: &mut impl Outbox<Said = Said>) {}

    fn gauges(&self, _into: &mut Gauges) {}
}

pub(crate) fn run(course: Course, spin: Duration) -> Outcome {
    let mut plan = reactor::Plan::new("hopper", course);
    plan.cores = vec![course.asker, course.answerer];
    plan.spin = spin;
    // A slow step is another program's doing here, and shows in the round trips.
    plan.warn = |_| {};
    let shards = reactor::run::<Hopper>(plan).unwrap_or_else(|fatal| {
        eprintln!("hop_bench: {}", fatal.sentence);
        std::process::exit(i32::from(fatal.status));
    });
    shards.into_iter().find_map(|shard| shard.outcome).unwrap_or_else(|| {
        eprintln!("hop_bench: broken off");
        std::process::exit(1);
    })
}
