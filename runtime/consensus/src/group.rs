//! One node's share of a group: what it may be told and asked, and what it says. The order of things is the whole
//! difficulty and stands in [`step`](crate::step): nothing is promised to another node before it is on disk.

use crate::config::{Config, TICKS_OF_HEARTBEAT};
use crate::members::{Change, Members};
use crate::message::{ArchivedMessage, Body, Fault, Message, Meta, node_id, raft_id};
use crate::parts::{Parts, Sent};
use crate::reads::Reads;
use crate::record::{Record, Unreadable};
use crate::store::{Offer, Store};
use machine::{Chance, Instant, LogMark, NodeId};
use raft::{RawNode, SnapshotStatus, StateRole};
use std::collections::VecDeque;

/// A proposal of this node since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u64);

/// A read of this node since it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// What a node is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It orders the proposals of all.
    Leader,
    /// It follows one, or waits for one.
    Follower,
    /// It stands for election, or asks whether it should.
    Candidate,
}

/// Why a proposal or a change was not taken. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Only the leader takes them.
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// The leader is handing leadership on, or has all it may hold that is not committed, or has a change of members
    /// that is not yet applied. Try again soon.
    Busy,
    /// The entry is longer than [`Config::entry_max`].
    TooLong,
}

/// What is to be done. In this order, each before the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send this to the core that owns the group on that node. It may be lost.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: Message,
    },
    /// This is now in the ledger for ever, on every node in this order: apply it.
    Committed {
        /// Its place: grows, with gaps where the group itself wrote something.
        index: u64,
        /// The term of the leader that took it.
        term: u64,
        /// What was proposed.
        bytes: Box<[u8]>,
        /// Which proposal of this node it is; it can be acknowledged now.
        ours: Option<ProposalId>,
    },
    /// A proposal of this node is not in the ledger and never will be; if a snapshot came in between
    /// ([`Effect::Restore`] just before), it may be in that. Ask the state.
    ProposalLost {
        /// Which.
        id: ProposalId,
    },
    /// The state here may be read for this read: it holds everything that was acknowledged before the read began.
    ReadReady {
        /// Which.
        id: ReadId,
    },
    /// Forget the state and take this one, which another node offered ([`Group::offer_snapshot`]).
    Restore {
        /// The place in the ledger that it stands for.
        index: u64,
        /// The state.
        bytes: Box<[u8]>,
    },
    /// The role, the leader or the term is another now.
    Role {
        /// What this node is.
        role: Role,
        /// Who leads.
        leader: Option<NodeId>,
        /// Since which term.
        term: u64,
    },
    /// This node leads and has applied everything that was committed before it was elected. Only now its state is the
    /// truth to decide from; decisions made earlier could miss what an earlier leader had acknowledged.
    Leads {
        /// Its term.
        term: u64,
    },
    /// Who belongs to the group from now on.
    Members(Members),
    /// A follower is too far behind: make the state, as it is now, into bytes and give it to
    /// [`Group::offer_snapshot`]. Asked again when one is needed again.
    SnapshotWanted,
}

/// One node's share of a group. See the crate's documentation for how it is driven.
pub struct Group {
    pub(crate) me: NodeId,
    pub(crate) config: Config,
    pub(crate) chance: Chance,
    pub(crate) stage: Stage,
    pub(crate) effects: VecDeque<Effect>,
    pub(crate) time: Time,
    pub(crate) reads: Reads,
    pub(crate) parts: Parts,
    pub(crate) proposals: VecDeque<(u64, u64, ProposalId)>,
    pub(crate) next_proposal: u64,
    /// Steps whose records are not yet on disk, with what may be said once they are.
    pub(crate) unsafe_steps: VecDeque<crate::step::Unsafe>,
    pub(crate) told: crate::step::Told,
}

/// Before and after the start.
pub(crate) enum Stage {
    Replay(Box<Store>),
    Runs(Box<RawNode<Store>>),
}

/// How far the ticks have been made, and how patient this node is.
pub(crate) struct Time {
    pub(crate) ticked: Instant,
    pub(crate) now: Instant,
    /// How often this node's patience has ended: with the term it decides how long it is the next time.
    pub(crate) tries: u64,
}

impl Group {
    /// A share of a group that begins with these members; if it is replayed anything, with those that are kept.
    ///
    /// # Panics
    /// When nobody votes, somebody is named twice, or a node's number is 65,535.
    #[must_use]
    pub fn new(me: NodeId, voters: &[NodeId], learners: &[NodeId], config: Config, chance: Chance) -> Self {
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<u16>>();
        let all: std::collections::BTreeSet<NodeId> = voters.iter().chain(learners).copied().collect();
        assert_eq!(all.len(), voters.len() + learners.len(), "each member is named once");
        assert!(!voters.is_empty() && !all.contains(&NodeId(u16::MAX)), "somebody votes, under 65,535");
        let first_context = chance.stream("reads").next_u64() >> 16 | u64::from(me.0) << 48;
        Self {
            me,
            config,
            chance,
            stage: Stage::Replay(Box::new(Store::new(numbers(voters), numbers(learners)))),
            effects: VecDeque::new(),
            time: Time { ticked: Instant::ZERO, now: Instant::ZERO, tries: 0 },
            reads: Reads::new(first_context),
            parts: Parts::default(),
            proposals: VecDeque::new(),
            next_proposal: 1,
            unsafe_steps: VecDeque::new(),
            told: crate::step::Told::default(),
        }
    }

    /// A record that was kept: what [`keep`](Self::keep) gave first, then those that were logged after it.
    ///
    /// # Errors
    /// When this program cannot read it. Do not start then.
    ///
    /// # Panics
    /// After the start.
    pub fn on_replay(&mut self, record: &[u8]) -> Result<(), Unreadable> {
        let Stage::Replay(store) = &mut self.stage else { panic!("what is replayed comes before the start") };
        store.replay(Record::read(record)?)
    }

    /// The world is there. What is known to be committed is told as effects: first a `Restore`, if one was kept.
    ///
    /// # Panics
    /// When it has started.
    pub fn on_start(&mut self, now: Instant) {
        let placeholder = Stage::Replay(Box::new(Store::new(Vec::new(), Vec::new())));
        let Stage::Replay(mut store) = std::mem::replace(&mut self.stage, placeholder) else {
            panic!("a group starts once")
        };
        (self.time.now, self.time.ticked) = (now, now);
        let applied = store.base.index;
        if let Some(bytes) = store.replayed.take() {
            self.effects.push_back(Effect::Restore { index: applied, bytes: bytes.into() });
        }
        self.told.applied = applied;
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&self.raft_config(applied), *store, &logger)
            .expect("the settings are checked when they are made");
        self.stage = Stage::Runs(Box::new(node));
        self.settle();
    }

    fn raft_config(&self, applied: u64) -> raft::Config {
        let election = self.config.election_ticks() as usize;
        raft::Config {
            id: raft_id(self.me),
            election_tick: election,
            heartbeat_tick: TICKS_OF_HEARTBEAT as usize,
            min_election_tick: election,
            // The library checks our own draw of patience against this: three times over two of these, and a bit.
            max_election_tick: 8 * election,
            applied,
            max_size_per_msg: self.config.message_max as u64,
            max_inflight_msgs: self.config.pipeline_max,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            max_uncommitted_size: self.config.uncommitted_max.max(self.config.message_max) as u64,
            max_committed_size_per_ready: 8 << 20,
            ..raft::Config::default()
        }
    }

    pub(crate) fn raft(&mut self) -> &mut RawNode<Store> {
        match &mut self.stage {
            Stage::Runs(node) => node,
            Stage::Replay(_) => panic!("the group has not started"),
        }
    }

    fn seen(&self) -> Option<&RawNode<Store>> {
        match &self.stage {
            Stage::Runs(node) => Some(node),
            Stage::Replay(_) => None,
        }
    }

    /// Proposes an entry, which must not be empty. What becomes of it is told by `Committed` or `ProposalLost`, which
    /// may take as long as there is no majority; it is never told twice.
    ///
    /// # Errors
    /// When this node does not lead, cannot take more, or never takes one so long.
    ///
    /// # Panics
    /// When `bytes` is empty.
    pub fn propose(&mut self, now: Instant, bytes: Vec<u8>) -> Result<ProposalId, Refused> {
        assert!(!bytes.is_empty(), "an empty entry says nothing");
        self.catch_up(now);
        if self.role() != Role::Leader {
            return Err(Refused::NotLeader { leader: self.leader() });
        }
        if bytes.len() > self.config.entry_max {
            return Err(Refused::TooLong);
        }
        let node = self.raft();
        node.propose(Vec::new(), bytes).map_err(|_| Refused::Busy)?;
        let (index, term) = (node.raft.raft_log.last_index(), node.raft.term);
        let id = ProposalId(self.next_proposal);
        self.next_proposal += 1;
        self.proposals.push_back((index, term, id));
        Ok(id)
    }

    /// Changes one member. `Members` tells when it is so. A leader that is to leave hands leadership on instead: it is
    /// `Busy`, and the next leader, asked again, lets it go.
    ///
    /// # Errors
    /// When this node does not lead, is to leave itself, or an earlier change is not yet applied.
    pub fn change_membership(&mut self, now: Instant, change: Change) -> Result<(), Refused> {
        self.catch_up(now);
        if self.role() != Role::Leader {
            return Err(Refused::NotLeader { leader: self.leader() });
        }
        if change == Change::Leaves(self.me) {
            self.transfer_leadership(now, None);
            return Err(Refused::Busy);
        }
        let node = self.raft();
        if node.raft.has_pending_conf() {
            return Err(Refused::Busy);
        }
        node.propose_conf_change(Vec::new(), change.as_raft()).map_err(|_| Refused::Busy)
    }

    /// Another node of the group says something: `from` is whom the link has proved it to be.
    ///
    /// # Errors
    /// When it makes no sense here; nothing has changed then.
    pub fn on_message(&mut self, now: Instant, from: NodeId, heard: &ArchivedMessage) -> Result<(), Fault> {
        self.catch_up(now);
        let message = heard.read()?;
        if from == self.me || from.0 == u16::MAX {
            return Err(Fault::Malformed);
        }
        if !self.is_wanted(from, &message)? {
            return Ok(());
        }
        match message.body {
            Body::Part { of, offset, total, bytes } => {
                self.take_part(from, message.term, of, offset, total, &bytes)
            }
            Body::PartArrived { index, next } => self.part_arrived(from, index, next),
            _ => {
                let (from, me) = (raft_id(from), raft_id(self.me));
                let message = message.into_raft(from, me).expect("parts are not for the library");
                let is_call = message.get_msg_type() == raft::eraftpb::MessageType::MsgTimeoutNow;
                if is_call && self.is_restoring() {
                    return Ok(());
                }
                // It refuses what is none of its business; there is nothing to do about that.
                let _ = self.raft().step(message);
            }
        }
        self.settle();
        Ok(())
    }

    fn take_part(&mut self, from: NodeId, term: u64, of: Meta, offset: u64, total: u64, bytes: &[u8]) {
        let index = of.index;
        let Some((next, is_whole)) = self.parts.take((from, term), &of, offset, total, bytes) else { return };
        self.say(from, Body::PartArrived { index, next });
        if is_whole {
            let mut snapshot = raft::eraftpb::Snapshot::default();
            snapshot.set_metadata(of.to_raft());
            let mut message = raft::eraftpb::Message {
                from: raft_id(from),
                to: raft_id(self.me),
                term,
                ..Default::default()
            };
            message.set_msg_type(raft::eraftpb::MessageType::MsgSnapshot);
            message.set_snapshot(snapshot);
            let _ = self.raft().step(message);
        }
    }

    fn part_arrived(&mut self, from: NodeId, index: u64, next: u64) {
        let by = self.time.now + 2 * self.config.election;
        if self.parts.arrived(from, index, next, by) == Sent::Whole {
            self.raft().report_snapshot(raft_id(from), SnapshotStatus::Finish);
        }
        self.send_parts(from);
    }

    pub(crate) fn send_parts(&mut self, to: NodeId) {
        for part in self.parts.next(to, self.config.part_max.max(1)) {
            self.say(to, part);
        }
    }

    fn say(&mut self, to: NodeId, body: Body) {
        let term = self.raft().raft.term.max(1);
        self.effects.push_back(Effect::Send { to, message: Message { term, body } });
    }

    /// The link to that node is down: what was sent is lost.
    pub fn on_unreachable(&mut self, now: Instant, node: NodeId) {
        self.catch_up(now);
        let id = raft_id(node);
        if self.parts.give_up(node) {
            self.raft().report_snapshot(id, SnapshotStatus::Failure);
        }
        self.raft().report_unreachable(id);
    }

    /// The wake that was asked for, or a later moment.
    pub fn on_timer(&mut self, now: Instant) {
        self.catch_up(now);
    }

    /// When to call [`on_timer`](Self::on_timer) if nothing else happens. Ask after the effects were taken.
    #[must_use]
    pub fn next_wake(&self) -> Instant {
        let Some(node) = self.seen() else { return Instant::from_nanos(u64::MAX) };
        let raft = &node.raft;
        let left = if raft.state == StateRole::Leader {
            let heartbeat = raft.heartbeat_timeout().saturating_sub(raft.heartbeat_elapsed());
            heartbeat.min(raft.election_timeout().saturating_sub(raft.election_elapsed))
        } else if raft.promotable() {
            raft.randomized_election_timeout().saturating_sub(raft.election_elapsed)
        } else {
            // Nobody who may stand for election: only what others send matters.
            usize::MAX
        };
        let ticks = u32::try_from(left.max(1)).ok();
        let tick = ticks.map(|ticks| self.time.ticked + self.config.tick() * ticks);
        let others = [tick, self.reads.next_wake(), self.parts.next_wake()];
        others.into_iter().flatten().min().unwrap_or(Instant::from_nanos(u64::MAX))
    }

    /// Every record before this mark is on disk.
    pub fn on_logged(&mut self, now: Instant, upto: LogMark) {
        self.catch_up(now);
        self.steps_are_safe(upto);
    }

    /// Begins a read; `ReadReady` follows when there is a leader with a majority. On any node.
    pub fn read_index(&mut self, now: Instant) -> ReadId {
        self.catch_up(now);
        self.reads.begin()
    }

    /// Stands for election at once, as the first of a new group does. A no to it harms nobody.
    pub fn campaign(&mut self, now: Instant) {
        self.catch_up(now);
        // Refused by a node that does not vote, which is as it should be.
        let _ = self.raft().campaign();
        self.settle();
    }

    /// Hands leadership to that node, or to the voter that has most; proposals are `Busy` until it is done, or an
    /// election timeout has passed. Nothing happens on a node that does not lead, or has nobody to hand it to.
    pub fn transfer_leadership(&mut self, now: Instant, to: Option<NodeId>) {
        self.catch_up(now);
        if let Some(to) = to.map(raft_id).or_else(|| self.heir()) {
            self.raft().transfer_leader(to);
        }
        self.settle();
    }

    /// The voter, active of late, that has most.
    pub(crate) fn heir(&self) -> Option<u64> {
        let node = self.seen()?;
        let me = raft_id(self.me);
        let prs = node.raft.prs();
        let voters: std::collections::BTreeSet<u64> =
            prs.conf().to_conf_state().get_voters().iter().copied().collect();
        let candidates = voters.into_iter().filter(|id| *id != me);
        let known = candidates
            .filter_map(|id| prs.get(id).map(|progress| (progress.recent_active, progress.matched, id)));
        known
            .filter(|(is_active, ..)| *is_active)
            .max_by_key(|(_, matched, id)| (*matched, u64::MAX - *id))
            .map(|(.., id)| id)
    }

    /// Everything of the group in one record, which stands for all that it logged until now; the state up to
    /// [`applied`](Self::applied) is for the system to keep. For `Outbox::save`, as a part of a snapshot that is
    /// `saved` up to the last mark, once the effects were taken and acted upon. Entries far behind leave memory.
    #[must_use]
    pub fn keep(&mut self) -> Vec<u8> {
        let applied = self.applied();
        let members = self.members();
        let tail = self.config.tail;
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        let (voters, learners) = (numbers(&members.voters), numbers(&members.learners));
        let store = self.raft().mut_store();
        let term = store.term_of(applied).expect("what is applied last is here");
        let of = Meta { index: applied, term, voters, learners };
        let record = Record::Base { hard: store.hard, of, entries: store.after(applied) };
        store.trim(applied.saturating_sub(tail));
        record.write()
    }

    /// The state as it is now, for followers that are far behind: the answer to `SnapshotWanted`. It is held until it
    /// has been sent.
    pub fn offer_snapshot(&mut self, now: Instant, bytes: Vec<u8>) {
        self.catch_up(now);
        let index = self.applied();
        let members = self.members();
        let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
        let (voters, learners) = (numbers(&members.voters), numbers(&members.learners));
        let store = self.raft().mut_store();
        let Some(term) = store.term_of(index) else { return };
        if index > 0 {
            store.offer = Some(Offer { of: Meta { index, term, voters, learners }, bytes: bytes.into() });
        }
    }

    /// What to do now, which must be done in order and at once. While the disk is full (`Stored::Full`) nothing may be
    /// logged, so do not ask, and take in nothing but [`on_logged`](Self::on_logged): the group stands still, and the
    /// others go on without it. When it failed, the same until the end.
    ///
    /// `log` is given records to append to the core's log and says the mark after each; they are not
    /// among the effects. Cheap when there is nothing.
    #[must_use]
    pub fn effects(&mut self, log: &mut dyn FnMut(&[u8]) -> LogMark) -> Vec<Effect> {
        self.work(log);
        self.effects.drain(..).collect()
    }

    /// The place in the ledger up to which everything was told by effects that were taken.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.told.applied
    }

    /// How many entries are in memory: a reason to [`keep`](Self::keep), when it is much over [`Config::tail`].
    #[must_use]
    pub fn held(&self) -> u64 {
        self.seen().map_or(0, |node| node.store().last() + 1 - node.store().first())
    }

    /// What this node is.
    #[must_use]
    pub fn role(&self) -> Role {
        match self.seen().map(|node| node.raft.state) {
            Some(StateRole::Leader) => Role::Leader,
            Some(StateRole::Candidate | StateRole::PreCandidate) => Role::Candidate,
            Some(StateRole::Follower) | None => Role::Follower,
        }
    }

    /// Who leads, as far as this node knows. A node without one can promise nothing.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        self.seen().and_then(|node| node_id(node.raft.leader_id))
    }

    /// The latest term that this node knows; 0 before the first election.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.seen().map_or(0, |node| node.raft.term)
    }

    /// How far the ledger is known here to be committed.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.seen().map_or(0, |node| node.raft.raft_log.committed)
    }

    /// How far each other member has the ledger on disk, as far as a leader knows; empty on others.
    #[must_use]
    pub fn progress(&self) -> Vec<(NodeId, u64)> {
        let Some(node) = self.seen().filter(|node| node.raft.state == StateRole::Leader) else {
            return Vec::new();
        };
        let others =
            node.raft.prs().iter().filter_map(|(id, progress)| Some((node_id(*id)?, progress.matched)));
        let mut others: Vec<_> = others.filter(|(node, _)| *node != self.me).collect();
        others.sort_unstable();
        others
    }

    /// Who belongs to the group.
    #[must_use]
    pub fn members(&self) -> Members {
        match &self.stage {
            Stage::Runs(node) => Members::from_raft(&node.raft.prs().conf().to_conf_state()),
            Stage::Replay(store) => Members::from_raft(store.base.to_raft().get_conf_state()),
        }
    }
}

impl core::fmt::Debug for Group {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Group")
            .field("me", &self.me)
            .field("role", &self.role())
            .field("leader", &self.leader())
            .field("term", &self.term())
            .field("committed", &self.committed())
            .field("applied", &self.applied())
            .finish_non_exhaustive()
    }
}
