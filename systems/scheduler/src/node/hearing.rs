//! What a node and the others say to each other: that they live, what they hold, their logs; and its simulated crash, in
//! which it says and hears nothing.

use super::{CORE, LINES_AT_ONCE, Node};
use crate::config::Kind;
use crate::entry::JobId;
use crate::peer::{Beat, Said};
use crate::worker::Worker;
use machine::{NodeId, Now, Outbox};

impl Node {
    pub(super) fn beat(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.number += 1;
        let beat = Beat {
            life: self.life,
            number: self.number,
            pid: self.config.pid,
            load: self.load,
            applied: self.ledger.applied(),
            holds: self.worker.as_ref().map(Worker::holds).unwrap_or_default(),
            gave_up: self.worker.as_ref().map(Worker::gave_up).unwrap_or_default(),
        };
        if let Some(worker) = &mut self.worker {
            worker.leader.sent(self.number, now.at);
        }
        for node in self.known.keys() {
            out.send(NodeId(*node), CORE, Said::Beat(beat.clone()), None);
        }
        self.hear_as_leader(now, self.my_number(), beat);
        if let (Some(worker), Some(_)) = (&mut self.worker, &self.leader) {
            worker.leader.heard(self.number);
        }
    }

    pub(super) fn hear_as_leader(&mut self, now: Now, from: u16, beat: Beat) {
        let is_server = self.config.member(NodeId(from)).is_some_and(|member| member.kind == Kind::Server);
        if let Some(leader) = self.leader.as_mut().filter(|_| is_server) {
            leader.on_beat(now.at, from, beat);
        }
    }

    /// Another node lives.
    pub fn on_beat(&mut self, now: Now, from: u16, beat: Beat, out: &mut impl Outbox<Said = Said>) {
        if self.leader.is_some() {
            out.send(NodeId(from), CORE, Said::Heard { life: beat.life, number: beat.number }, None);
        }
        if let Some(known) = self.known.get_mut(&from) {
            known.heard = Some((now.at, beat.clone()));
            known.is_linked = true;
            self.is_changed = true;
        }
        self.hear_as_leader(now, from, beat);
    }

    /// A leader has heard us.
    pub fn on_heard(&mut self, life: u64, number: u64) {
        if let Some(worker) = self.worker.as_mut().filter(|_| life == self.life) {
            worker.leader.heard(number);
        }
    }

    /// A leader says that this is ours.
    pub fn on_run(&mut self, id: JobId, attempt: u32, index: u64, life: u64) {
        self.run(id, attempt, index, life);
    }

    /// Another node's log, for the event log.
    pub fn on_lines(&mut self, from: u16, life: u64, first: u64, lines: &[&str]) {
        if self.me.kind != Kind::Log {
            return;
        }
        let name = self.config.name(from).to_owned();
        let known = self.heard.new_of(from, life, first, lines.len());
        for line in &lines[known..] {
            self.note_of(&name, line);
        }
        self.is_changed = true;
    }

    /// A connection to another node came up or went down.
    pub fn on_link(&mut self, now: Now, node: NodeId, is_up: bool) {
        self.is_changed = true;
        if let Some(known) = self.known.get_mut(&node.0) {
            known.is_linked = is_up;
            known.hears = is_up;
            known.told = 0;
        }
        if is_up {
            self.proposals.leader_changed();
            // The first of a new cluster tries again as the others come: alone it could not win.
            if self.config.first == Some(self.me.node)
                && self.group.term() <= 1
                && self.group.leader().is_none()
            {
                self.group.campaign(now.at);
            }
            return;
        }
        if !self.is_full {
            self.group.on_unreachable(now.at, node);
        }
        if let Some(leader) = &mut self.leader {
            leader.on_down(now.at, node.0);
        }
    }

    /// Sends the event log what it does not have.
    pub(super) fn send_lines(&mut self, out: &mut impl Outbox<Said = Said>) {
        if self.is_stopped || self.me.kind == Kind::Log {
            return;
        }
        let logs = self.config.members.iter().filter(|member| member.kind == Kind::Log);
        for node in logs.map(|member| member.node) {
            let Some(known) = self.known.get_mut(&node.0).filter(|known| known.is_linked) else { continue };
            while known.told < self.book.next() {
                let (first, lines) = self.book.since(known.told, LINES_AT_ONCE);
                known.told = first + lines.len() as u64;
                out.send(node, CORE, Said::Lines { life: self.life, first, lines }, None);
            }
        }
    }

    /// Stops as if it had crashed, or begins again. What it says now: whether it is stopped.
    pub fn toggle(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) -> bool {
        self.is_stopped = !self.is_stopped;
        self.is_changed = true;
        self.life = self.chance.next_u64();
        if let Some(worker) = &mut self.worker {
            worker.crash(self.life, out);
        }
        self.proposals.renew(self.life);
        self.readers.clear();
        if self.is_stopped {
            self.leader = None;
        } else {
            self.last_leader = None;
            self.leaderless_since = self.group.leader().is_none().then_some(now.at);
            self.group.on_timer(now.at);
            self.note("has recovered");
        }
        self.is_stopped
    }
}
