//! One node: its share of the group, its copy of the ledger, what it does as leader and as worker, and what it knows of
//! the others. It is told by the shard; what it says goes out at the end of a turn, in [`Node::pump`].
//!
//! The one hard thing is the order in which effects are taken: an answer to a client may leave only after the entry was
//! committed and applied, a decision may be made only by a leader that has applied all that earlier ones committed. Both
//! hold because there is one loop, here, that takes the group's effects in their order and works only after them.

mod asking;
mod hearing;

use crate::config::{Config, Kind, Member};
use crate::crash::Point;
use crate::entry::{Entry, Fact, JobId};
use crate::leader::{Act, Leader};
use crate::ledger::{Ledger, Verdict};
use crate::load::Load;
use crate::logbook::{Heard, Logbook};
use crate::peer::{Beat, Said};
use crate::proposals::Proposals;
use crate::worker::{News, Worker};
use crate::worker_on_leader::LEASE;
use consensus::{Effect, Group, ReadId};
use core::time::Duration;
use machine::{Chance, CoreId, Instant, LogMark, NodeId, Now, Outbox, Seat, Stream, TimerId};
use std::collections::BTreeMap;
use web::AskId;

/// The core that owns the node's group.
pub const CORE: CoreId = CoreId(0);

/// When all that was told in this turn is acted upon.
pub const PUMP: TimerId = TimerId(1);
/// When the group wants to be told the time.
pub const GROUP: TimerId = TimerId(2);
/// When beats go out and what is over is looked for.
pub const TICK: TimerId = TimerId(3);

/// Between two ticks.
pub const EVERY: Duration = Duration::from_millis(100);

/// Rounds of effects and work in one pump; what is left is done in the next turn.
const ROUNDS_MAX: usize = 16;

/// Lines sent to the event log at once.
const LINES_AT_ONCE: usize = 200;

/// What a record or a part of a snapshot is: of the group's, or of the ledger's.
const OF_GROUP: u8 = b'G';
const OF_LEDGER: u8 = b'L';

/// Another node as this one knows it.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// When it was heard last, and what it said.
    pub heard: Option<(Instant, Beat)>,
    /// A connection with it is there: ours, or its own to us.
    pub is_linked: bool,
    /// Ours is there: what is sent to it now is heard. After it was away that may be a second later than its own.
    pub hears: bool,
    /// Its log is known to the event log up to here.
    told: u64,
}

impl Known {
    /// Whether it is taken for alive.
    #[must_use]
    pub fn is_alive(&self, now: Instant) -> bool {
        self.is_linked && self.heard.as_ref().is_some_and(|(at, _)| now.since(*at) < LEASE)
    }
}

/// What somebody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// That a job is run.
    Sent,
    /// That a job is another than it was.
    Changed,
    /// One job.
    Job,
    /// Its result.
    Result,
    /// That it is tried again: what its last attempt is must be known first.
    Retry,
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The entry of this ask was applied.
    Applied(AskId, How, Verdict),
    /// No majority took it in time.
    Refused(AskId, String),
    /// The ledger here may be read.
    Readable(AskId, JobId, How),
}

/// One node.
pub struct Node {
    pub(crate) me: Member,
    pub(crate) config: Config,
    pub(crate) group: Group,
    pub(crate) ledger: Ledger,
    pub(crate) proposals: Proposals,
    pub(crate) worker: Option<Worker>,
    pub(crate) leader: Option<Leader>,
    pub(crate) known: BTreeMap<u16, Known>,
    pub(crate) load: Load,
    pub(crate) book: Logbook,
    /// Everybody's lines, in the event log.
    pub(crate) all: Logbook,
    heard: Heard,
    readers: BTreeMap<ReadId, (AskId, JobId, How, Instant)>,
    /// What is to be told to those who asked.
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) is_stopped: bool,
    /// The disk failed: this node can promise nothing any more.
    pub(crate) is_broken: bool,
    /// The disk has no room: nothing more is logged, and so nothing said, until it has.
    pub(crate) is_full: bool,
    pub(crate) life: u64,
    number: u64,
    chance: Stream,
    last_leader: Option<NodeId>,
    leaderless_since: Option<Instant>,
    dying: Option<Point>,
    parts: Vec<Vec<u8>>,
    was_replayed: bool,
    unreadable: Option<String>,
    mark: LogMark,
    kept_at: u64,
    is_saving: bool,
    /// Something people see has changed.
    pub(crate) is_changed: bool,
    pub(crate) acknowledged: u64,
}

impl Node {
    /// A node that knows nothing yet.
    ///
    /// # Panics
    /// When it is none of the members.
    #[must_use]
    pub fn new(seat: Seat, config: &Config, chance: Chance) -> Self {
        let me = config.member(seat.node).expect("a node is a member of its cluster").clone();
        let voters: Vec<NodeId> = config.members.iter().map(|member| member.node).collect();
        let is_reluctant = me.kind == Kind::Log;
        let settings = consensus::Config { is_reluctant, ..config.group };
        let mut stream = chance.stream("node");
        let life = stream.next_u64();
        let number = seat.node.0;
        let worker = (me.kind == Kind::Server).then(|| Worker::new(number, life, config.dir.clone()));
        let others = voters.iter().filter(|node| **node != seat.node);
        Self {
            group: Group::new(seat.node, &voters, &[], settings, chance.within("group", 0)),
            ledger: Ledger::default(),
            proposals: Proposals::new(number, life),
            worker,
            leader: None,
            known: others.map(|node| (node.0, Known::default())).collect(),
            load: Load::idle(config.room.0, config.room.1),
            book: Logbook::default(),
            all: Logbook::default(),
            heard: Heard::default(),
            readers: BTreeMap::new(),
            outcomes: Vec::new(),
            is_stopped: false,
            is_broken: false,
            is_full: false,
            life,
            number: 0,
            chance: stream,
            last_leader: None,
            leaderless_since: None,
            dying: None,
            parts: Vec::new(),
            was_replayed: false,
            unreadable: None,
            mark: LogMark::default(),
            kept_at: 0,
            is_saving: false,
            is_changed: true,
            acknowledged: 0,
            me,
            config: config.clone(),
        }
    }

    /// Its copy of the ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Whether it leads and has applied all that was committed before.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leader.is_some()
    }

    /// Programs started here in this life of the process, and those stopped for want of a leader.
    #[must_use]
    pub fn started_and_fenced(&self) -> (u64, u64) {
        self.worker.as_ref().map_or((0, 0), |worker| (worker.started, worker.fenced))
    }

    fn my_number(&self) -> u16 {
        self.me.node.0
    }

    /// A piece of what was kept.
    pub fn on_kept(&mut self, bytes: &[u8]) {
        self.was_replayed = true;
        let result = match bytes.split_first() {
            Some((&OF_GROUP, record)) => self.group.on_replay(record).map_err(|why| why.to_string()),
            Some((&OF_LEDGER, part)) => {
                self.parts.push(part.to_vec());
                Ok(())
            }
            _ => Err("what was kept is not what a scheduler keeps".to_owned()),
        };
        if let Err(why) = result {
            self.unreadable.get_or_insert(why);
        }
    }

    /// The world is there.
    pub fn start(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if let Some((head, parts)) = core::mem::take(&mut self.parts).split_first() {
            let applied = head.as_slice().try_into().map(u64::from_le_bytes).unwrap_or_default();
            match Ledger::from_parts(applied, parts.iter().map(Vec::as_slice)) {
                Ok(ledger) => self.ledger = ledger,
                Err(why) => self.unreadable = Some(why.to_string()),
            }
        }
        if let Some(why) = &self.unreadable {
            (self.config.terminal.refuse)(why);
        }
        self.group.on_start(now.at);
        self.kept_at = self.group.applied();
        if self.was_replayed {
            self.note("has recovered");
        } else if self.config.first == Some(self.me.node) {
            self.group.campaign(now.at);
        }
        self.leaderless_since = Some(now.at);
        out.wake(TICK, Some(now.at));
        out.wake(PUMP, Some(now.at));
    }

    /// Something was told: it is acted upon when this turn has told all.
    pub fn soon(&self, now: Now, out: &mut impl Outbox<Said = Said>) {
        out.wake(PUMP, Some(now.at));
    }

    /// A line for people.
    pub fn note(&mut self, line: &str) {
        let line = self.book.add(line).to_owned();
        (self.config.terminal.line)(&format!("{},{line}", self.me.name));
        self.is_changed = true;
        if self.me.kind == Kind::Log {
            let name = self.me.name.clone();
            self.note_of(&name, &line);
        }
    }

    fn note_of(&mut self, name: &str, line: &str) {
        let number = self.all.next() + 1;
        self.all.add(&format!("<Log {number}, Container {name}: {line}>"));
    }

    /// The node dies here, if it was told to.
    fn pass(&mut self, point: Point) {
        if self.config.crash == Some(point) {
            (self.config.terminal.die)(point);
        }
    }

    /// The node dies here once what was said in this turn has left.
    fn pass_soon(&mut self, point: Point) {
        if self.config.crash == Some(point) {
            self.dying.get_or_insert(point);
        }
    }

    /// Acts upon all that was told.
    pub fn pump(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if let Some(point) = self.dying.take() {
            (self.config.terminal.die)(point);
        }
        let mut is_done = self.is_full;
        for _ in 0..if self.is_full { 0 } else { ROUNDS_MAX } {
            let mut mark = self.mark;
            let effects = self.group.effects(&mut |record| {
                mark = out.log(&tagged(OF_GROUP, record));
                mark
            });
            self.mark = mark;
            let is_quiet = effects.is_empty();
            for effect in effects {
                self.act(now, effect, out);
            }
            let has_worked = !self.is_stopped && !self.is_broken && self.work(now, out);
            is_done = is_quiet && !has_worked;
            if is_done {
                break;
            }
        }
        if !is_done {
            self.soon(now, out);
        }
        self.keep(out);
        self.send_lines(out);
        let wake = if self.is_stopped || self.is_full || self.is_broken {
            None
        } else {
            Some(self.group.next_wake())
        };
        out.wake(GROUP, wake);
    }

    fn act(&mut self, now: Now, effect: Effect, out: &mut impl Outbox<Said = Said>) {
        match effect {
            Effect::Send { to, message } => {
                if !self.is_stopped && !self.is_broken {
                    out.send(to, CORE, Said::Group(message), None);
                }
            }
            Effect::Committed { index, term: _, bytes, ours: _ } => self.apply(index, &bytes),
            Effect::ProposalLost { id: _ } => self.proposals.leader_changed(),
            Effect::ReadReady { id } => {
                if let Some((ask, job, how, _)) = self.readers.remove(&id) {
                    self.outcomes.push(Outcome::Readable(ask, job, how));
                }
            }
            Effect::Restore { index, bytes } => match Ledger::from_whole(index, &bytes) {
                Ok(ledger) => self.ledger = ledger,
                Err(why) => (self.config.terminal.refuse)(&why.to_string()),
            },
            Effect::Role { role: _, leader, term: _ } => self.leader_is(now, leader),
            Effect::Leads { term: _ } => {
                let chance = Chance::new(self.chance.next_u64()).stream("leader");
                self.leader = Some(Leader::new(self.my_number(), now.at, chance));
                self.note("Is master container");
                self.proposals.leader_changed();
                self.beat(now, out);
            }
            Effect::Members(_) => {}
            Effect::SnapshotWanted => {
                let bytes = self.ledger.whole();
                self.group.offer_snapshot(now.at, bytes);
            }
        }
    }

    fn leader_is(&mut self, now: Now, leader: Option<NodeId>) {
        self.is_changed = true;
        if leader != Some(self.me.node) {
            self.leader = None;
        }
        match leader {
            None => {
                if self.last_leader.take().is_some_and(|last| last != self.me.node) && !self.is_stopped {
                    self.note("Leader has crashed");
                }
                self.leaderless_since.get_or_insert(now.at);
            }
            Some(leader) => {
                if self.last_leader.is_some_and(|last| last != leader && last != self.me.node)
                    && !self.is_stopped
                {
                    self.note("Leader has crashed");
                }
                self.last_leader = Some(leader);
                self.leaderless_since = None;
                self.proposals.leader_changed();
            }
        }
    }

    fn apply(&mut self, index: u64, bytes: &[u8]) {
        self.is_changed = true;
        let entry = match Entry::read(bytes) {
            Ok(entry) => entry,
            Err(why) => {
                return (self.config.terminal.refuse)(&format!("entry {index} cannot be read: {why}"));
            }
        };
        let verdict = self.ledger.apply(index, &entry);
        self.tell_people(&entry.fact, &verdict);
        if let Some(Some((ask, how))) = self.proposals.applied(entry.origin) {
            if matches!(entry.fact, Fact::Sent { .. }) {
                self.pass(Point::BeforeAcknowledging);
                self.pass_soon(Point::AfterAcknowledging);
                self.acknowledged += 1;
                if let Verdict::Changed(id) = verdict {
                    self.note(&format!("Received payload: {id}"));
                }
            }
            self.outcomes.push(Outcome::Applied(ask, how, verdict));
        }
    }

    fn tell_people(&mut self, fact: &Fact, verdict: &Verdict) {
        let (Fact::Ended { id, .. }, true) = (fact, self.leader.is_some()) else { return };
        match verdict {
            Verdict::Changed(_) => {
                self.note(&format!("Received result: {id}"));
                self.pass(Point::BeforeClient);
            }
            Verdict::Late(_) => self.note(&format!("Refused a late result: {id}")),
            Verdict::Known(_) | Verdict::Stale | Verdict::Refused(_) | Verdict::Nothing => {}
        }
    }

    /// What leader and worker do, and what is proposed. Whether the group was told anything.
    fn work(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) -> bool {
        if self.dying.is_some() {
            return false;
        }
        if let Some(mut leader) = self.leader.take() {
            let hears = |number: u16| self.known.get(&number).is_some_and(|known| known.hears);
            let acts = leader.step(now.at, &self.ledger, hears, self.config.result_ttl);
            self.leader = Some(leader);
            for act in acts {
                self.lead(now, act, out);
            }
        }
        if let Some(mut worker) = self.worker.take() {
            let facts = worker.step(now.at, &self.ledger, out);
            let news = core::mem::take(&mut worker.news);
            self.worker = Some(worker);
            for each in news {
                self.worker_did(each);
            }
            for fact in facts {
                self.proposals.add(now.at, fact, None);
            }
        }
        self.propose(now, out)
    }

    fn lead(&mut self, now: Now, act: Act, out: &mut impl Outbox<Said = Said>) {
        match act {
            Act::Propose(fact) => {
                if matches!(fact, Fact::Assigned { .. }) {
                    self.pass(Point::BeforeAssigning);
                }
                self.proposals.add(now.at, fact, None);
            }
            Act::Run { worker, id, attempt, index, life } => {
                self.pass(Point::BeforeSending);
                let port = self.config.member(NodeId(worker)).map_or(0, Member::port);
                self.note(&format!("Sent payload: {id} for execution to port: {port}"));
                if worker == self.my_number() {
                    self.run(id, attempt, index, life);
                } else {
                    out.send(NodeId(worker), CORE, Said::Run { id, attempt, index, life }, None);
                }
            }
            Act::Crashed(_) => self.note("Worker has crashed"),
        }
    }

    fn run(&mut self, id: JobId, attempt: u32, index: u64, life: u64) {
        self.pass(Point::BeforeStarting);
        if let Some(worker) = &mut self.worker {
            worker.on_run(id, attempt, index, life);
        }
    }

    fn worker_did(&mut self, news: News) {
        match news {
            News::Received(id) => {
                self.note(&format!("Received payload: {id}"));
                self.note(&format!("The CPU usage is: {:.1}", self.load.cpu_used as f64 / 10.0));
                self.note(&format!("RAM memory /%/ used: {:.1}", self.load.memory_used as f64 / 10.0));
            }
            News::Started(_) => self.pass(Point::AfterStarting),
            News::Ended(_) => self.pass(Point::BeforeResult),
            News::Sent(id) => {
                let leader = self.group.leader().and_then(|node| self.config.member(node));
                let port = leader.map_or(0, Member::port);
                self.note(&format!("Sent result: {id} for leader to port: {port}"));
                self.pass_soon(Point::AfterResult);
            }
        }
    }

    /// The log that people are shown here.
    #[must_use]
    pub fn shown_log(&self) -> &Logbook {
        match self.me.kind {
            Kind::Server => &self.book,
            Kind::Log => &self.all,
        }
    }

    /// Saves the state when the log has grown long.
    fn keep(&mut self, out: &mut impl Outbox<Said = Said>) {
        let applied = self.group.applied();
        if self.is_saving || self.is_broken || self.is_full || applied < self.kept_at + self.config.keep_every
        {
            return;
        }
        out.save(&tagged(OF_LEDGER, &applied.to_le_bytes()));
        for part in self.ledger.parts() {
            out.save(&tagged(OF_LEDGER, &part));
        }
        out.save(&tagged(OF_GROUP, &self.group.keep()));
        out.saved(self.mark);
        self.kept_at = applied;
        self.is_saving = true;
    }

    /// A snapshot is safe.
    pub fn on_saved(&mut self) {
        self.is_saving = false;
    }

    /// The disk has no room: what was logged waits in the world, and with it all that it would promise.
    pub fn on_full(&mut self) {
        if !self.is_full {
            self.is_full = true;
            self.note("The disk is full: nothing is promised here until there is room");
        }
    }

    /// The disk failed.
    pub fn on_disk_failed(&mut self) {
        self.is_broken = true;
        self.leader = None;
        self.note("The disk failed: this node stops");
    }
}

fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut tagged = Vec::with_capacity(1 + bytes.len());
    tagged.push(tag);
    tagged.extend_from_slice(bytes);
    tagged
}
