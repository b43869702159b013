//! What can be on the agenda, and who deals with it. Whatever belongs to a process carries which life of its node
//! it was made in, and finds nobody when that is over.

use super::World;
use crate::net::Holder;
use machine::id::Key;
use machine::{Address, ChildId, ConnId, CoreId, NodeId, Shard, Ticket, Why};
use wire::peer::Message;

/// A life of a node.
pub(super) type Life = (NodeId, u64);

/// Something that will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// A core takes its turn.
    Turn(Life, CoreId),
    /// The front packet of what flies to that end arrives.
    Arrive(Key, usize),
    /// Somebody's request to connect arrives at this address.
    Knock(Holder, NodeId, Address),
    /// A connection closed by one side has lingered long enough.
    LingerEnds(Key),
    /// A dial fails.
    DialFails(Life, CoreId, ConnId, Why),
    /// A client learns how its connecting ended.
    ClientFails(usize, Why),
    /// A batch arrives on a lane.
    Lane(Life, CoreId, CoreId),
    /// A core counts for another, whose ticket this is.
    Count(Life, CoreId, Ticket, CoreId),
    /// What flies from one node to another arrives.
    Link(NodeId, NodeId),
    /// Two nodes try to connect.
    LinkTry(NodeId, NodeId),
    /// A silent link is given up; it was this life of it.
    LinkDies(NodeId, NodeId, u64),
    /// A node (first) learns that its link to the other is no more.
    LinkDown(NodeId, NodeId, Why),
    /// What was cut between two nodes is whole again.
    LinkHeals(NodeId, NodeId),
    /// A flapping link changes, so many times still.
    Flap(NodeId, NodeId, u8),
    /// A commit ends.
    Commit(Life, CoreId),
    /// A full disk is tried again.
    Retry(Life, CoreId),
    /// A child comes to life, wakes or dies.
    ChildStarts(Life, ChildId),
    ChildWakes(Life, ChildId, u64),
    ChildDies(Life, ChildId),
    /// What a server said with a delay.
    Said(usize, crate::server::Speech),
    /// A blow to nodes and links is due.
    Blow,
    /// A node that is down is started again.
    Restart(NodeId, u64),
}

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Turn(life, core) => {
                let time = self.time;
                if self.lives(life) && self.core_mut(life.0, core).turn_at == Some(time) {
                    self.turn(life.0, core);
                }
            }
            Event::Arrive(wire, side) => self.arrive(wire, side),
            Event::LingerEnds(wire) => self.linger_ends(wire),
            Event::Knock(who, from, at) => self.knock(who, from, &at),
            Event::DialFails(life, core, conn, why) => {
                if self.lives(life) {
                    self.dial_fails(life.0, core, conn, why);
                }
            }
            Event::ClientFails(client, why) => self.client_ends(client, why),
            Event::Lane(life, from, to) => {
                if self.lives(life) {
                    self.lane_arrives(life.0, from, to);
                }
            }
            Event::Count(life, asker, ticket, core) => {
                if self.lives(life) {
                    self.count_for(life.0, asker, ticket, core);
                }
            }
            Event::Link(from, to) => self.link_delivers(from, to),
            Event::LinkTry(one, other) => self.link_try(one, other),
            Event::LinkDies(one, other, life) => {
                if self.links.life(one, other) == life && self.links.is_cut(one, other) {
                    self.link_ends(one, other, Why::TimedOut);
                }
            }
            Event::LinkDown(node, other, why) => self.link_down(node, other, why),
            Event::LinkHeals(one, other) => self.heal_link(one, other),
            Event::Flap(one, other, left) => self.flap(one, other, left),
            Event::Commit(life, core) => {
                if self.lives(life) {
                    self.commit_ends(life.0, core);
                }
            }
            Event::Retry(life, core) => {
                if self.lives(life) {
                    self.commit_begins(life.0, core);
                }
            }
            Event::ChildStarts(life, child) => {
                if self.lives(life) {
                    self.child_starts(life.0, child);
                }
            }
            Event::ChildWakes(life, child, number) => {
                if self.lives(life) {
                    self.child_wakes(life.0, child, number);
                }
            }
            Event::ChildDies(life, child) => {
                if self.lives(life) {
                    self.child_dies(life.0, child);
                }
            }
            Event::Said(client, speech) => self.speak(client, speech),
            Event::Blow => self.blow(),
            Event::Restart(node, life) => {
                if !self.node(node).alive && self.node(node).life == life {
                    self.restart(node);
                }
            }
        }
    }

    /// Whether this life of a node goes on.
    pub(super) fn lives(&self, (node, life): Life) -> bool {
        self.node(node).alive && self.node(node).life == life
    }

    pub(super) fn life(&self, node: NodeId) -> Life {
        (node, self.node(node).life)
    }
}
