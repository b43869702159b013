//! One call of a shard and what the world does right after it.

use super::events::Event;
use super::{Core, World};
use crate::desk::{Desk, Told, Want};
use crate::setup::Faults;
use machine::{CoreId, Gauges, Instant, NodeId, Now, Shard, Spent, Ticket};
use wire::peer::Message;

/// Nanoseconds that an event is usually said to have taken.
const SPENT_LEAST: u64 = 200;
const SPENT_MOST: u64 = 20_000;

/// Which event a step of that name is: its first word is the name of the shard's method. None at the start.
fn event_of(step: &str) -> Option<machine::Event> {
    let name = step.split(' ').next()?.strip_prefix("on_")?;
    machine::Event::ALL.into_iter().find(|event| event.name() == name)
}

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    /// Lends the shard for one event and carries out what it wants at once.
    pub(super) fn call<R>(
        &mut self,
        node: NodeId,
        core: CoreId,
        what: &'static str,
        (who, detail): (u64, u64),
        event: impl FnOnce(&mut S, Now, &mut Desk<S::Said>) -> R,
    ) -> R {
        self.note(Some((node, core)), what, who, detail);
        let now = self.now_on(node);
        let found = self.core_mut(node, core);
        found.desk.begin();
        let result = event(&mut found.shard, now, &mut found.desk);
        if let Some(event) = event_of(what) {
            let took = self.time_spent();
            let Core { shard, desk, .. } = self.core_mut(node, core);
            shard.on_spent(now, Spent { event, count: 1, took }, desk);
        }
        let found = self.core_mut(node, core);
        let wants = core::mem::take(&mut found.desk.wants);
        for want in wants {
            self.carry_out(node, core, want);
        }
        result
    }

    /// How long an event is said to have taken. Drawn from a stream of its own and of no effect on the world's time.
    fn time_spent(&mut self) -> core::time::Duration {
        let Faults { slow_event, slow_event_max, .. } = self.setup.faults;
        let spent = &mut self.chance.spent;
        let nanos = if spent.below(1000) < slow_event && !self.calm {
            self.counts.count("fault: slow event");
            spent.between(1, machine::time::nanos(slow_event_max).max(1))
        } else {
            spent.between(SPENT_LEAST, SPENT_MOST)
        };
        core::time::Duration::from_nanos(nanos)
    }

    fn carry_out(&mut self, node: NodeId, core: CoreId, want: Want) {
        match want {
            Want::Dial(conn, dial) => self.dial(node, core, conn, dial),
            Want::Listen(listener, at) => self.listen(node, core, listener, at),
            Want::Spawn(child, command) => self.spawn(node, core, child, command),
            Want::Signal(child, signal) => self.signal(node, child, signal),
            Want::Gather(ticket) => self.gather(node, core, ticket),
            Want::Close(ends, pending, how) => self.closed_by_shard(ends, pending, how),
        }
    }

    /// The core takes a turn at that instant, or at once after the one it is in.
    pub(super) fn wake(&mut self, node: NodeId, core: CoreId, at: Instant) {
        let time = self.time;
        let life = self.life(node);
        let found = self.core_mut(node, core);
        let at = at.max(time).max(found.busy_until);
        if found.turn_at.is_none_or(|planned| planned > at) {
            found.turn_at = Some(at);
            self.enter(at, Event::Turn(life, core));
        }
    }

    /// The core takes a turn soon.
    pub(super) fn rouse(&mut self, node: NodeId, core: CoreId) {
        let soon = core::time::Duration::from_nanos(self.chance.schedule.between(200, 3_000));
        let at = self.time + soon;
        self.wake(node, core, at);
    }

    /// Every core of that node counts at a moment of its own.
    fn gather(&mut self, node: NodeId, asker: CoreId, ticket: Ticket) {
        let cores = self.node(node).cores.len();
        self.core_mut(node, asker).desk.gatherings.push((ticket, vec![None; cores]));
        let life = self.life(node);
        for core in self.seats(node) {
            let delay = self.chance.schedule.between(500, 50_000);
            let at = self.time + core::time::Duration::from_nanos(delay);
            self.enter(at, Event::Count(life, asker, ticket, core));
        }
    }

    /// A core counts for another; the last makes the gathering whole.
    pub(super) fn count_for(&mut self, node: NodeId, asker: CoreId, ticket: Ticket, core: CoreId) {
        let mut gauges = Gauges::new();
        self.core_mut(node, core).shard.gauges(&mut gauges);
        let desk = &mut self.core_mut(node, asker).desk;
        let missing =
            |(of, parts): &(Ticket, Vec<Option<Gauges>>)| *of == ticket && parts[core.index()].is_none();
        let Some(place) = desk.gatherings.iter().position(missing) else { return };
        let parts = &mut desk.gatherings[place].1;
        parts[core.index()] = Some(gauges);
        if parts.iter().all(Option::is_some) {
            let (_, parts) = desk.gatherings.remove(place);
            desk.told.push_back(Told::Gathered(ticket, parts.into_iter().flatten().collect()));
            self.rouse(node, asker);
        }
    }
}
