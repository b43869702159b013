//! The steps of a group: ticks made up for, and what the Raft library has ready taken out, in the one order that is
//! safe. Its promises (a vote, an entry acknowledged) wait until the records behind them are on disk; a leader's
//! entries go out at once, and its own disk counts as one of the majority only when it has them.

use crate::config::TICKS_OF_HEARTBEAT;
use crate::group::{Effect, Group, Role};
use crate::members::{Change, Members};
use crate::message::{Entry, Message, Meta, What, node_id};
use crate::record::{Hard, Record};
use machine::{Instant, LogMark, NodeId};
use raft::eraftpb::{self, HardState, MessageType};
use raft::{Ready, SnapshotStatus, StateRole};

/// A step whose records are not yet on disk.
pub(crate) struct Unsafe {
    mark: LogMark,
    number: u64,
    then: Vec<eraftpb::Message>,
    /// The last entry that a snapshot among them stands for; none without one.
    restored: Option<u64>,
}

/// What effects have said already.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) applied: u64,
    role: Option<(Role, Option<NodeId>, u64)>,
    leads: Option<u64>,
    /// The library has seen the offered snapshot.
    is_offer_used: bool,
}

impl Group {
    /// Makes the ticks that are due. After a long sleep no more than make an election: what waits in the sockets is
    /// to be heard before the second.
    pub(crate) fn catch_up(&mut self, now: Instant) {
        self.time.now = self.time.now.max(now);
        let tick = self.config.tick().as_nanos().max(1) as u64;
        let due = self.time.now.nanos_since(self.time.ticked) / tick;
        if due == 0 {
            return;
        }
        self.time.ticked += core::time::Duration::from_nanos(due * tick);
        if self.is_restoring() {
            return;
        }
        for _ in 0..due.min(u64::from(self.config.election_ticks())) {
            let raft = &self.raft().raft;
            let is_last = raft.election_elapsed + 1 >= raft.randomized_election_timeout();
            self.time.tries += u64::from(is_last && raft.state != StateRole::Leader);
            self.raft().tick();
            self.settle();
        }
    }

    /// Replaces the library's own draw of how patient this node is, which comes from the operating system, by one
    /// that the seed decides. It is a function of what happened, so it does not matter when the library drew.
    pub(crate) fn settle(&mut self) {
        let most = u64::from(self.config.election_ticks());
        let term = self.raft().raft.term;
        let draw =
            self.chance.within("term", term).within("try", self.time.tries).stream("patience").below(most);
        // Not the very least: the others must have given the leader up too, or they ignore who asks for votes.
        let ticks = most + u64::from(TICKS_OF_HEARTBEAT) / 2 + draw;
        let ticks = if self.config.is_reluctant { 3 * ticks } else { ticks };
        self.raft().raft.set_randomized_election_timeout(ticks as usize);
    }

    /// Every record before this mark is on disk: say what waited for it.
    pub(crate) fn steps_are_safe(&mut self, upto: LogMark) {
        while let Some(step) = self.unsafe_steps.pop_front_if(|step| step.mark <= upto) {
            self.persisted(step.number, step.restored);
            self.post(step.then);
        }
        self.settle();
    }

    /// Whether a leader's snapshot is taken in and not yet safe. Until then the library counts it neither as pending
    /// nor as applied, and would look for the entries before it if it stood for election; so it does not.
    pub(crate) fn is_restoring(&self) -> bool {
        self.unsafe_steps.iter().any(|step| step.restored.is_some())
    }

    fn persisted(&mut self, number: u64, restored: Option<u64>) {
        self.raft().on_persist_ready(number);
        if let Some(index) = restored.filter(|index| *index > self.raft().raft.raft_log.applied()) {
            self.raft().advance_apply_to(index);
        }
    }

    /// Turns all that the library has ready into records and effects.
    pub(crate) fn work(&mut self, log: &mut dyn FnMut(&[u8]) -> LogMark) {
        self.ask_for_reads();
        self.give_up_on_the_silent();
        self.hand_on_if_reluctant();
        while self.raft().has_ready() {
            let ready = self.raft().ready();
            self.take(ready, log);
            self.ask_for_reads();
        }
        self.parts.forget_wholes();
        let applied = self.told.applied;
        for id in self.reads.ready(applied) {
            self.effects.push_back(Effect::ReadReady { id });
        }
        self.tell_role();
        if self.raft().store().wants_offer.take() {
            self.effects.push_back(Effect::SnapshotWanted);
        }
    }

    fn take(&mut self, mut ready: Ready, log: &mut dyn FnMut(&[u8]) -> LogMark) {
        self.post(ready.take_messages());
        for read in ready.take_read_states() {
            let context = read.request_ctx[..].try_into().map_or(0, u64::from_le_bytes);
            self.reads.answered(context, read.index);
        }
        self.tell_role();
        let restored = (!ready.snapshot().is_empty()).then(|| ready.snapshot().get_metadata().index);
        let mark = self.write_down(&mut ready, log);
        let committed = ready.take_committed_entries();
        let (then, number) = (ready.take_persisted_messages(), ready.number());
        self.raft().advance_append_async(ready);
        self.apply(committed);
        match mark.or_else(|| self.unsafe_steps.back().map(|step| step.mark)) {
            Some(mark) => self.unsafe_steps.push_back(Unsafe { mark, number, then, restored }),
            None => {
                self.persisted(number, restored);
                self.post(then);
            }
        }
        self.settle();
    }

    /// Logs what must not be forgotten. That more is committed may be: the next leader says it again.
    fn write_down(&mut self, ready: &mut Ready, log: &mut dyn FnMut(&[u8]) -> LogMark) -> Option<LogMark> {
        let mut mark = None;
        if !ready.snapshot().is_empty() {
            mark = Some(self.restore(Meta::from_raft(ready.snapshot().get_metadata()), log));
        }
        let store = self.raft().mut_store();
        let before = store.hard;
        if let Some(hard) = ready.hs() {
            store.hard = Hard::from(hard);
        }
        let hard = store.hard;
        let is_promise = (hard.term, hard.vote) != (before.term, before.vote);
        let entries = ready.take_entries();
        if is_promise || !entries.is_empty() || mark.is_some() {
            let written = entries.iter().map(Entry::from_raft).collect();
            store.append(entries);
            mark = Some(log(&Record::Step { hard: Some(hard), entries: written }.write()));
        }
        mark
    }

    /// Takes a leader's snapshot in place of all before it.
    fn restore(&mut self, of: Meta, log: &mut dyn FnMut(&[u8]) -> LogMark) -> LogMark {
        let bytes = self.parts.whole(&of).expect("the library restores what it was just given");
        let total = bytes.len() as u64;
        let mut mark = LogMark::default();
        let most = self.config.part_max.max(1);
        for (offset, piece) in
            (0..).step_by(most).zip(bytes.chunks(most).chain(bytes.is_empty().then_some(&[][..])))
        {
            mark = log(&Record::Piece { of: of.clone(), offset, total, bytes: piece.to_vec() }.write());
        }
        let index = of.index;
        self.raft().mut_store().restore(of);
        self.told.applied = index;
        self.effects.push_back(Effect::Restore { index, bytes: bytes.into() });
        self.effects.push_back(Effect::Members(self.members()));
        while let Some((_, _, id)) = self.proposals.pop_front_if(|(at, ..)| *at <= index) {
            self.effects.push_back(Effect::ProposalLost { id });
        }
        mark
    }

    fn apply(&mut self, committed: Vec<eraftpb::Entry>) {
        let Some(last) = committed.last().map(|entry| entry.index) else { return };
        for entry in committed {
            let ours = self.ours(entry.index, entry.term);
            let (index, term) = (entry.index, entry.term);
            match Entry::from_raft(&entry).what {
                What::Nothing => {}
                What::Bytes(bytes) => {
                    self.effects.push_back(Effect::Committed { index, term, bytes: bytes.into(), ours });
                }
                What::Change(change) => self.change(change),
            }
            self.told.applied = index;
            let raft = &self.raft().raft;
            let leads = (raft.state == StateRole::Leader && term == raft.term).then_some(term);
            if leads.is_some() && self.told.leads != leads {
                self.tell_role();
                self.told.leads = leads;
                self.effects.push_back(Effect::Leads { term });
            }
        }
        self.raft().advance_apply_to(last);
    }

    /// Which proposal of ours that entry is. Those before it, or in its place from another term, are lost.
    fn ours(&mut self, index: u64, term: u64) -> Option<crate::group::ProposalId> {
        let mut ours = None;
        while let Some((at, of, id)) = self.proposals.pop_front_if(|(at, ..)| *at <= index) {
            if (at, of) == (index, term) {
                ours = Some(id);
            } else {
                self.effects.push_back(Effect::ProposalLost { id });
            }
        }
        ours
    }

    fn change(&mut self, change: Change) {
        // A change that would leave nobody is refused by the library; then it is not one.
        if let Ok(state) = self.raft().apply_conf_change(&change.as_raft()) {
            let members = Members::from_raft(&state);
            // A leader that an earlier leader let go: the library would go on leading, and end the process.
            if self.role() == Role::Leader && !members.voters.contains(&self.me) {
                let raft = &mut self.raft().raft;
                raft.become_follower(raft.term, raft::INVALID_ID);
            }
            self.effects.push_back(Effect::Members(members));
        }
    }

    fn hand_on_if_reluctant(&mut self) {
        if self.config.is_reluctant
            && self.role() == Role::Leader
            && self.raft().raft.lead_transferee.is_none()
            && let Some(heir) = self.heir()
        {
            self.raft().transfer_leader(heir);
        }
    }

    fn tell_role(&mut self) {
        let is = (self.role(), self.leader(), self.term());
        if self.told.role != Some(is) {
            let had = self.told.role.replace(is);
            let (role, leader, term) = is;
            if had.is_some_and(|(had, ..)| had == Role::Leader) && role != Role::Leader {
                self.parts.stop_sending();
                self.raft().mut_store().offer = None;
            }
            self.effects.push_back(Effect::Role { role, leader, term });
        }
    }

    /// Sends what may be said now.
    fn post(&mut self, messages: Vec<eraftpb::Message>) {
        for message in messages {
            let Some(to) = node_id(message.to) else { continue };
            if message.get_msg_type() == MessageType::MsgSnapshot {
                if let Some(offer) = self.raft().store().offer.clone() {
                    let by = self.time.now + 2 * self.config.election;
                    self.told.is_offer_used = true;
                    self.parts.begin(to, offer, by);
                    self.send_parts(to);
                }
            } else if let Some(message) = Message::from_raft(&message) {
                self.effects.push_back(Effect::Send { to, message });
            }
        }
    }

    fn ask_for_reads(&mut self) {
        let now = self.time.now;
        let raft = &self.raft().raft;
        let can_answer = raft.state != StateRole::Leader || raft.commit_to_current_term();
        let whom = (raft.leader_id, raft.term, can_answer);
        let again_at = now + self.config.election / 2;
        if let Some(context) = self.reads.question(now, again_at, whom) {
            self.raft().read_index(context.to_le_bytes().to_vec());
        }
    }

    fn give_up_on_the_silent(&mut self) {
        for node in self.parts.overdue(self.time.now) {
            self.raft().report_snapshot(crate::message::raft_id(node), SnapshotStatus::Failure);
        }
        // An offer is held until it was sent; one that nobody was sent yet waits for the library to see it.
        if self.told.is_offer_used && !self.parts.is_sending() {
            self.told.is_offer_used = false;
            self.raft().mut_store().offer = None;
        }
    }
}

impl From<&HardState> for Hard {
    fn from(hard: &HardState) -> Self {
        Self { term: hard.term, vote: hard.vote, commit: hard.commit }
    }
}
