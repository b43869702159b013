//! The smallest replicated system worth checking: a roll to which names are appended, once each, by clients who may
//! ask again. `A 7` appends and is answered `K 7 PLACE` once it is committed; `R 3` asks how long the roll is and is
//! answered `V 3 LENGTH`; a node that does not lead answers `N LEADER`, and whoever asked goes there.
//!
//! An append-only roll makes the check of linearizability exact and cheap: every answer names a place in one order.

use consensus::{
    ArchivedMessage, Change, Config, Effect, Fault, Group, Members, Message, ProposalId, ReadId, Refused,
};
use machine::{
    Address, Blob, Chance, ConnId, CoreId, End, Gauges, Input, Kept, Link, LogMark, NodeId, Now, Opened,
    Order, Outbox, Peer, Seat, Shard, Stored, TimerId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What a node gets wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    /// It answers when it has proposed, not when it is committed.
    AnswersEarly,
    /// It takes what an earlier leader says for what the present one says.
    TakesOldTerms,
    /// It says how long its own roll is without asking the leader.
    ReadsAtOnce,
    /// It tells the others that entries are on its disk when it has only logged them.
    AcknowledgesUnlogged,
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) voters: Vec<NodeId>,
    pub(crate) learners: Vec<NodeId>,
    pub(crate) reluctant: Option<NodeId>,
    pub(crate) group: Config,
    /// Entries held, from which on a snapshot is made.
    pub(crate) keep_over: u64,
    pub(crate) lie: Lie,
}

pub(crate) struct Roll {
    seat: Seat,
    settings: Settings,
    pub(crate) group: Group,
    pub(crate) names: Vec<u64>,
    known: BTreeSet<u64>,
    parts: usize,
    asked: BTreeMap<ProposalId, (ConnId, u64)>,
    reads: BTreeMap<ReadId, (ConnId, u64)>,
    /// The disk is full or broken: nothing may be logged.
    stands: bool,
    failed: bool,
    is_saving: bool,
    last_mark: LogMark,
    pub(crate) restored: u64,
    pub(crate) saved: u64,
    pub(crate) led: u64,
    pub(crate) leads: bool,
    pub(crate) members: Members,
    drains: bool,
}

const WAKE: TimerId = TimerId(1);

impl Shard for Roll {
    type Config = Settings;
    type Said = Message;
    type Heard = ArchivedMessage;

    fn new(seat: Seat, settings: &Settings, chance: Chance) -> Self {
        let config = Config { is_reluctant: settings.reluctant == Some(seat.node), ..settings.group };
        let group = Group::new(seat.node, &settings.voters, &settings.learners, config, chance);
        Self {
            seat,
            settings: settings.clone(),
            members: group.members(),
            group,
            names: Vec::new(),
            known: BTreeSet::new(),
            parts: 0,
            asked: BTreeMap::new(),
            reads: BTreeMap::new(),
            stands: false,
            failed: false,
            is_saving: false,
            last_mark: LogMark::default(),
            restored: 0,
            saved: 0,
            led: 0,
            leads: false,
            drains: false,
        }
    }

    fn on_replay(&mut self, what: Kept<'_>) {
        match what {
            // The group's part comes first, then the roll in one.
            Kept::Part(part) if self.parts == 0 => self.group.on_replay(part).expect("it wrote it"),
            Kept::Part(part) => self.take(part),
            Kept::Record(record) => self.group.on_replay(record).expect("it wrote it"),
        }
        self.parts += usize::from(matches!(what, Kept::Part(_)));
    }

    fn on_start(&mut self, now: Now, out: &mut impl Outbox<Said = Message>) {
        out.listen(Address::Ip(SocketAddr::from(([127, 0, 0, 1], 1))));
        self.group.on_start(now.at);
        self.act(now, out);
    }

    fn on_open(&mut self, _: Now, _: ConnId, _: Opened, _: &mut impl Outbox<Said = Message>) {}

    fn on_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Message>,
    ) {
        while let Some(end) = input.bytes().iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8(input.bytes()[..end].to_vec()).expect("clients say text");
            input.used(end + 1);
            let (verb, number) = line.split_once(' ').expect("a verb and a number");
            let number: u64 = number.parse().expect("a number");
            match verb {
                _ if self.stands || self.drains => out.write(conn, b"N -\n"),
                "A" => self.append(now, conn, number, out),
                "R" if self.settings.lie == Lie::ReadsAtOnce => {
                    out.write(conn, format!("V {number} {}\n", self.names.len()).as_bytes());
                }
                "R" => {
                    let id = self.group.read_index(now.at);
                    self.reads.insert(id, (conn, number));
                }
                "LEARN" => self.change(now, Change::Learner(NodeId(number as u16))),
                "VOTE" => self.change(now, Change::Voter(NodeId(number as u16))),
                "LEAVE" => self.change(now, Change::Leaves(NodeId(number as u16))),
                other => panic!("{other} is no verb"),
            }
        }
        self.act(now, out);
    }

    fn on_end(&mut self, _: Now, conn: ConnId, end: End, out: &mut impl Outbox<Said = Message>) {
        if end == End::Half {
            out.finish(conn);
        }
        self.asked.retain(|_, (of, _)| *of != conn);
        self.reads.retain(|_, (of, _)| *of != conn);
    }

    fn on_peer(
        &mut self,
        now: Now,
        from: Peer,
        heard: &ArchivedMessage,
        _: Option<Blob>,
        out: &mut impl Outbox<Said = Message>,
    ) {
        let Peer::Node(node, _) = from else { return };
        if self.stands {
            return;
        }
        let outcome = if self.settings.lie == Lie::TakesOldTerms && heard.term.to_native() < self.group.term()
        {
            let mut message =
                rkyv::deserialize::<Message, rkyv::rancor::Error>(heard).expect("it is checked");
            message.term = self.group.term();
            let bytes = rkyv::to_bytes::<rkyv::rancor::Error>(&message).expect("it fits");
            let again = rkyv::access::<ArchivedMessage, rkyv::rancor::Error>(&bytes).expect("as written");
            self.group.on_message(now.at, node, again)
        } else {
            self.group.on_message(now.at, node, heard)
        };
        match outcome {
            Ok(()) => {}
            Err(fault @ (Fault::Malformed | Fault::Contradiction)) => {
                panic!("{:?} from {node:?}: {fault}", self.seat)
            }
        }
        self.act(now, out);
    }

    fn on_link(&mut self, now: Now, node: NodeId, link: Link, out: &mut impl Outbox<Said = Message>) {
        if matches!(link, Link::Down(_)) {
            self.group.on_unreachable(now.at, node);
            self.act(now, out);
        }
    }

    fn on_timer(&mut self, now: Now, _: TimerId, out: &mut impl Outbox<Said = Message>) {
        self.group.on_timer(now.at);
        self.act(now, out);
    }

    fn on_stored(&mut self, now: Now, what: Stored, out: &mut impl Outbox<Said = Message>) {
        match what {
            Stored::Logged(upto) => {
                self.stands = self.failed;
                self.group.on_logged(now.at, upto);
            }
            Stored::Unsaved => {
                out.unsave();
                self.is_saving = false;
            }
            Stored::Saved(_) => (self.is_saving, self.saved) = (false, self.saved + 1),
            Stored::Full => self.stands = true,
            Stored::Failed => (self.stands, self.failed) = (true, true),
        }
        self.act(now, out);
    }

    fn on_order(&mut self, now: Now, order: Order<'_, Settings>, out: &mut impl Outbox<Said = Message>) {
        if let Order::Drain { .. } = order {
            self.drains = true;
            self.group.transfer_leadership(now.at, None);
            self.act(now, out);
        }
    }

    fn gauges(&self, _: &mut Gauges) {}
}

impl Roll {
    fn append(&mut self, now: Now, conn: ConnId, name: u64, out: &mut impl Outbox<Said = Message>) {
        match self.group.propose(now.at, name.to_le_bytes().to_vec()) {
            Ok(_) if self.settings.lie == Lie::AnswersEarly => {
                out.write(conn, format!("K {name} {}\n", self.names.len()).as_bytes());
            }
            Ok(id) => {
                self.asked.insert(id, (conn, name));
            }
            Err(Refused::NotLeader { leader: Some(leader) }) => {
                out.write(conn, format!("N {}\n", leader.0).as_bytes());
            }
            Err(Refused::NotLeader { leader: None } | Refused::Busy | Refused::TooLong) => {
                out.write(conn, b"N -\n")
            }
        }
    }

    fn change(&mut self, now: Now, change: Change) {
        // Who asked sees in the members whether it was done, and asks again.
        let _ = self.group.change_membership(now.at, change);
    }

    fn act(&mut self, now: Now, out: &mut impl Outbox<Said = Message>) {
        if self.stands {
            return;
        }
        loop {
            let mut last = self.last_mark;
            let effects = self.group.effects(&mut |record| {
                last = out.log(record);
                last
            });
            let logged = last > self.last_mark;
            self.last_mark = last;
            for effect in effects {
                self.effect(now, effect, out);
            }
            if self.settings.lie != Lie::AcknowledgesUnlogged || !logged {
                break;
            }
            self.group.on_logged(now.at, last);
        }
        if self.group.held() > self.settings.keep_over && !self.is_saving {
            self.is_saving = true;
            out.save(&self.group.keep());
            out.save(&self.bytes());
            out.saved(self.last_mark);
        }
        out.wake(WAKE, Some(self.group.next_wake()));
    }

    fn effect(&mut self, now: Now, effect: Effect, out: &mut impl Outbox<Said = Message>) {
        match effect {
            Effect::Send { to, message } => out.send(to, CoreId(0), message, None),
            Effect::Committed { bytes, ours, .. } => {
                let name = u64::from_le_bytes(bytes[..].try_into().expect("names are numbers"));
                if self.known.insert(name) {
                    self.names.push(name);
                }
                if let Some((conn, name)) = ours.and_then(|id| self.asked.remove(&id)) {
                    let place = self.names.iter().position(|known| *known == name).expect("it is known");
                    out.write(conn, format!("K {name} {place}\n").as_bytes());
                }
            }
            Effect::ProposalLost { id } => {
                if let Some((conn, _)) = self.asked.remove(&id) {
                    out.write(conn, b"N -\n");
                }
            }
            Effect::ReadReady { id } => {
                if let Some((conn, number)) = self.reads.remove(&id) {
                    out.write(conn, format!("V {number} {}\n", self.names.len()).as_bytes());
                }
            }
            Effect::Restore { bytes, .. } => {
                self.take(&bytes);
                self.restored += 1;
            }
            Effect::Role { role, .. } => self.leads &= role == consensus::Role::Leader,
            Effect::Leads { .. } => (self.led, self.leads) = (self.led + 1, true),
            Effect::Members(members) => self.members = members,
            Effect::SnapshotWanted => self.group.offer_snapshot(now.at, self.bytes()),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.names.iter().flat_map(|name| name.to_le_bytes()).collect()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.names =
            bytes.chunks(8).map(|name| u64::from_le_bytes(name.try_into().expect("whole names"))).collect();
        self.known = self.names.iter().copied().collect();
    }
}
