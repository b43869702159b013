//! Links at work: what is sent, delivered, cut and found out. Each side learns for itself, and later than it is
//! true, that a link is no more.

use super::World;
use super::events::Event;
use crate::desk::FromLink;
use crate::link::{Sent, pair};
use core::time::Duration;
use machine::{CoreId, Link, NodeId, Shard, Why};
use wire::peer::Message;

/// What nodes of one world speak.
const VERSION: u32 = 1;
/// When a silent link is given up: between these.
const SILENCE: (u64, u64) = (500_000_000, 3_000_000_000);
/// When a node tries again to reach another: between these.
const RETRY: (u64, u64) = (20_000_000, 500_000_000);

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    pub(super) fn link_all(&mut self) {
        for one in 0..self.setup.nodes {
            for other in one + 1..self.setup.nodes {
                self.link_retry(NodeId(one), NodeId(other));
            }
        }
    }

    pub(super) fn link_retry(&mut self, one: NodeId, other: NodeId) {
        let after = self.chance.network.between(RETRY.0, RETRY.1);
        self.enter(self.time + Duration::from_nanos(after), Event::LinkTry(one, other));
    }

    pub(super) fn link_try(&mut self, one: NodeId, other: NodeId) {
        let believed = self.links.way(one, other).up || self.links.way(other, one).up;
        if !self.node(one).alive || !self.node(other).alive || self.links.is_cut(one, other) || believed {
            return;
        }
        for (node, to) in [(one, other), (other, one)] {
            self.links.way(node, to).up = true;
            self.links.way(node, to).dead = false;
            self.tell_link(node, to, Link::Up { version: VERSION });
        }
    }

    fn tell_link(&mut self, node: NodeId, other: NodeId, link: Link) {
        for core in self.seats(node) {
            let desk = &mut self.core_mut(node, core).desk;
            desk.from_links.entry(other).or_default().push_back(FromLink::Link(link));
            self.rouse(node, core);
        }
    }

    pub(super) fn flush_links(&mut self, node: NodeId, core: CoreId) {
        for (to_node, to, parcel) in core::mem::take(&mut self.core_mut(node, core).desk.sends) {
            assert!(to_node.0 < self.setup.nodes && to.0 < self.setup.cores, "sent to {to_node:?} {to:?}");
            let at = self.time + self.way();
            let way = self.links.way(node, to_node);
            if !way.up || way.dead {
                self.counts.count("sent without a link");
                continue;
            }
            way.last_at = way.last_at.max(at);
            way.waiting += parcel.len();
            let (at, waiting) = (way.last_at, way.waiting);
            way.flying.push_back(Sent { at, from: core, to, parcel });
            if waiting > self.setup.limits.link_max {
                self.counts.count("link overfull");
                self.link_ends(node, to_node, Why::Overfull);
                continue;
            }
            self.enter(at, Event::Link(node, to_node));
        }
    }

    /// All that has had time to arrive does, unless the way is cut.
    pub(super) fn link_delivers(&mut self, from: NodeId, to: NodeId) {
        loop {
            let time = self.time;
            let way = self.links.way(from, to);
            if way.cut || way.flying.front().is_none_or(|sent| sent.at > time) {
                return;
            }
            let Some(sent) = way.flying.pop_front() else { return };
            way.waiting -= sent.parcel.len();
            let desk = &mut self.core_mut(to, sent.to).desk;
            desk.from_links.entry(from).or_default().push_back(FromLink::Said(sent.from, sent.parcel));
            self.rouse(to, sent.to);
        }
    }

    /// This life of the link is over; both sides will learn it, each in its time.
    pub(super) fn link_ends(&mut self, one: NodeId, other: NodeId, why: Why) {
        self.links.end_life(one, other);
        for (node, to) in [(one, other), (other, one)] {
            let way = self.links.way(node, to);
            if way.up && !way.dead {
                way.dead = true;
                let after = Duration::from_nanos(self.chance.network.between(0, SILENCE.0));
                self.enter(self.time + after, Event::LinkDown(node, to, why));
            }
        }
        self.link_retry(one, other);
    }

    pub(super) fn link_down(&mut self, node: NodeId, other: NodeId, why: Why) {
        let way = self.links.way(node, other);
        if !way.up || !way.dead {
            return;
        }
        way.up = false;
        if self.node(node).alive {
            self.tell_link(node, other, Link::Down(why));
        }
        self.link_retry(node, other);
    }

    /// From now on nothing passes from one node to another; with `both`, nor back. Both are told within seconds.
    pub fn cut_link(&mut self, from: NodeId, to: NodeId, both: bool) {
        self.note(
            None,
            if both { "link cut" } else { "link cut one way" },
            u64::from(from.0),
            u64::from(to.0),
        );
        self.links.way(from, to).cut = true;
        if both {
            self.links.way(to, from).cut = true;
        }
        let life = self.links.life(from, to);
        let after = Duration::from_nanos(self.chance.network.between(SILENCE.0, SILENCE.1));
        let (one, other) = pair(from, to);
        self.enter(self.time + after, Event::LinkDies(one, other, life));
    }

    /// What was cut between two nodes is whole again, both ways.
    pub fn heal_link(&mut self, one: NodeId, other: NodeId) {
        for (from, to) in [(one, other), (other, one)] {
            if core::mem::replace(&mut self.links.way(from, to).cut, false) {
                self.link_delivers(from, to);
            }
        }
        self.link_retry(one, other);
    }

    /// Whether both nodes believe that they are linked, and are.
    #[must_use]
    pub fn linked(&self, one: NodeId, other: NodeId) -> bool {
        [(one, other), (other, one)]
            .iter()
            .all(|ways| self.links.ways.get(ways).is_some_and(|way| way.up && !way.dead && !way.cut))
    }
}
