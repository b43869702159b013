//! Asking a cluster: each request goes to the node that has its key, waits there for room, and is sent on when the
//! node says that another has it. As many requests are under way as connections could carry, waiting ones with
//! them, so that one slow node holds up a closed loop as it would hold up real clients.

use super::asking::{Turn, request};
use super::{BURST_MAX, Client, LOAD_FLIGHT_BYTES};
use crate::protocol::Dialect;
use crate::routing::{LEGS_MAX, Redirect, Waiting};
use crate::session::{Asked, Role};
use crate::stage::{Said, Stage};
use crate::tally::Kind;
use crate::workload::{Operation, Verb, write_key};
use machine::{Instant, Now, Outbox};

impl Client {
    /// Requests under way: on connections, or waiting for room at their node.
    #[inline]
    pub(super) fn in_flight(&self) -> usize {
        self.sessions.in_flight() + self.routing.as_ref().map_or(0, |routing| routing.waiting())
    }

    /// Writes the next keys, each to its node.
    pub(super) fn load_routed(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.send_waiting(now, out);
        let flight_max =
            (LOAD_FLIGHT_BYTES / self.load.values.most().max(1)).max(1).min(self.sessions.room());
        while self.has_key_to_load() && self.in_flight() < flight_max {
            let asked = self.next_to_load(now);
            self.send_routed(asked, out);
        }
        self.maybe_loaded(out);
    }

    /// Sends what is due, each to its node.
    pub(super) fn send_due_routed(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if now.at < self.window.start {
            return;
        }
        self.send_waiting(now, out);
        for _ in 0..BURST_MAX {
            if let Some(cut_short) = self.has_sent_all() {
                return self.stop(now, now.at, cut_short, out);
            }
            if self.sessions.open() == 0 && self.dialler.is_idle() {
                return self.stop(now, now.at, true, out);
            }
            if self.in_flight() >= self.sessions.room() {
                return;
            }
            let Turn::Due(due, measured) = self.next_turn(now, out) else { return };
            let operation = self.operations.draw();
            self.send_routed(request(operation, due, due, now.at, measured), out);
        }
        self.pace_at(now.at, out);
    }

    /// Sends this to the node that has its key, or lets it wait there for room.
    fn send_routed(&mut self, asked: Asked, out: &mut impl Outbox<Said = Said>) {
        self.key.clear();
        write_key(&mut self.key, asked.operation.key, self.load.key_size);
        let Some(routing) = &mut self.routing else { unreachable!("only a cluster is routed to") };
        let node = self.sessions.group_open(routing.owner(&self.key));
        match self.sessions.first_free(node) {
            Some((place, conn, free_at)) => {
                let ready = asked.ready.max(free_at);
                self.write(place, conn, Asked { ready, ..asked }, out);
            }
            None => routing.wait(node, Waiting { asked, asking: false }),
        }
    }

    /// Sends what waited for room, where there is room now.
    pub(super) fn send_waiting(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let nodes = self.routing.as_ref().map_or(0, |routing| routing.nodes()) as u16;
        for node in 0..nodes {
            while let Some((place, conn, free_at)) = self.sessions.first_free(node) {
                let Some(routing) = &mut self.routing else { return };
                let Some(Waiting { asked, asking }) = routing.take(node) else { break };
                if asking {
                    self.message.clear();
                    Dialect::write_asking(&mut self.message);
                    out.write(conn, &self.message);
                    self.outcomes.tally.written += 1;
                    let operation = Operation { verb: Verb::Get, key: 0, version: 0 };
                    let beside = request(operation, now.at, now.at, now.at, false);
                    self.sessions.asked_beside(place, Asked { role: Role::Asking, ..beside });
                }
                let ready = asked.ready.max(free_at);
                let sent = if asked.legs == 0 { now.at } else { asked.sent };
                self.write(place, conn, Asked { ready, sent, ..asked }, out);
            }
        }
    }

    /// The node says that another has the key: sends the request on there.
    pub(super) fn redirect(
        &mut self,
        now: Now,
        asked: Asked,
        redirect: Redirect,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.work += 1;
        let micros = now.at.nanos_since(asked.sent) / 1000;
        let Some(routing) = &mut self.routing else { return };
        let tally = &mut self.outcomes.tally;
        if asked.measured {
            tally.redirect.saturating_record(micros);
        }
        let learnt = if asked.legs < LEGS_MAX { routing.learn(redirect) } else { None };
        let Some((node, new)) = learnt else {
            match self.stage {
                Stage::LookingBack => self.again_later.push(asked.operation.key),
                _ => tally.fail(Kind::Redirected, 1, asked.measured),
            }
            return;
        };
        let asked = Asked { legs: asked.legs + 1, ..asked };
        routing.wait_first(node, Waiting { asked, asking: redirect.once });
        if new {
            let places = (self.sessions.places() / usize::from(node).max(1)).max(1);
            let first = self.sessions.grow(&self.load, places);
            (first..first + places as u32).for_each(|place| self.dialler.want(place));
            self.dial_more(now, out);
        }
    }

    /// Counts requests that waited for room longer than the timeout.
    pub(super) fn expire_waiting(&mut self, then: Instant) {
        let Some(routing) = &mut self.routing else { return };
        for asked in routing.expire(then) {
            match self.stage {
                Stage::LookingBack => self.again_later.push(asked.operation.key),
                Stage::Loading => self.outcomes.tally.fail(Kind::Timeout, 1, false),
                _ => self.outcomes.tally.fail(Kind::Timeout, 1, asked.measured),
            }
        }
    }
}
