//! Commands on several keys or on all: done at once where all is here, else made a [deal](crate::deal) of several
//! cores; and questions about the cores themselves, told to each, gathered here, answered once.
//!
//! One message to each core at a time, whatever the number of keys, so that a command of any length stays under the
//! bound on tells.

use crate::act::{Act, Op};
use crate::answer;
use crate::command::{Many, Pair};
use crate::config::Limits;
use crate::deal::{Deal, Move, Plan, Seen, Stage};
use crate::gather::{Fold, Gather, Sum};
use crate::info::Facts;
use crate::peer::{Item, Part, Question, Said, Text, Work};
use crate::refusal::Fault;
use crate::session::{Answer, Late, Session};
use crate::shard::Dht;
use machine::id::Key;
use machine::{CoreId, Now, Outbox, Ticket};
use state::Slot;

impl Dht {
    /// The same act on several keys, wherever they are. Where all are here and nobody waits, it is done at once.
    pub(crate) fn many(
        &mut self,
        now: Now,
        session: &mut Session,
        mut many: Many<'_>,
        limits: &Limits,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let fold = core::mem::replace(&mut many.fold, Fold::Done);
        let mut sum = Sum::new(fold, many.len(), limits);
        if self.locks.is_quiet() && many.ops().all(|op| self.owner(Slot::of(op.key)) == self.seat.core) {
            if let Some(fault) = self.keep.refuses().filter(|_| many.act.writes()) {
                sum.add(Part::Refused(fault));
                return answer::at_once(session, &mut self.direct, sum, session.shape(), out);
            }
            if many.if_absent {
                let is_free = many.ops().all(|op| !self.store.is_there(Slot::of(op.key), op.key, now.wall));
                sum.set_total(i64::from(is_free));
            }
            let stores = matches!(many.act, Act::Set(_)) && (!many.if_absent || sum.total() > 0);
            let sizes = many.ops().map(|op| (Slot::of(op.key), op.key, op.payload.bytes().len()));
            if stores && !self.store.lets_all_in(sizes, now.wall) {
                sum.add(Part::Refused(Fault::OutOfMemory));
            } else if !many.if_absent || sum.total() > 0 {
                for (index, op) in many.ops().enumerate() {
                    sum.add_reply(index, self.store.perform(Slot::of(op.key), op, now.wall));
                }
            }
            return self.tell_sum(session, sum, out);
        }
        let plan = match many.act {
            _ if many.if_absent => Plan::Absent,
            act if act.writes() => Plan::Write(act),
            act => Plan::Read(act),
        };
        let stages = self.stages(many.ops());
        let deal = Deal::new(plan, stages, sum, session.command());
        self.begin(now, session, deal, out);
    }

    /// RENAME, RENAMENX or COPY.
    pub(crate) fn pair(
        &mut self,
        now: Now,
        session: &mut Session,
        pair: &Pair<'_>,
        limits: &Limits,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let fold = if pair.counts { Fold::Sum(0) } else { Fold::Done };
        let motion = Move {
            removes: pair.removes,
            replaces: pair.replaces,
            needs: pair.removes,
            seen: Seen::default(),
            left: None,
        };
        let keys = if pair.from == pair.to { &pair.keys()[..1] } else { &pair.keys()[..] };
        let stages = self.stages(keys.iter().map(|key| Op::of(key, Act::Exists)));
        let deal = Deal::new(Plan::Move(motion), stages, Sum::new(fold, 0, limits), session.command());
        self.begin(now, session, deal, out);
    }

    /// Work on all keys of all cores, or of one.
    pub(crate) fn whole(
        &mut self,
        now: Now,
        session: &mut Session,
        work: Work,
        mut fold: Fold,
        out: &mut impl Outbox<Said = Said>,
    ) {
        // At its own port a core is a node of its own to a cluster's client, which adds up what all of them say.
        let here = self.seat.core;
        let last = if session.is_core { here.0 + 1 } else { self.seat.cores };
        if let Fold::Page { core, .. } = &mut fold
            && session.is_core
        {
            *core = here.0.max(*core);
        }
        let stages = match &mut fold {
            Fold::Page { core, .. } if *core >= last => {
                let sum = Sum::new(fold, 0, &self.config.limits);
                return answer::at_once(session, &mut self.direct, sum, session.shape(), out);
            }
            Fold::Page { core, cores, .. } => {
                *cores = last;
                vec![Stage::new(CoreId(*core))]
            }
            _ if session.is_core => vec![Stage::new(here)],
            _ if let Some(slot) = of_one_slot(&work) => vec![Stage::new(self.owner(slot))],
            _ => self.seat.all_cores().map(Stage::new).collect(),
        };
        let sum = Sum::new(fold, 0, &self.config.limits);
        let deal = Deal::new(Plan::Whole(work), stages, sum, session.command());
        self.begin(now, session, deal, out);
    }

    /// Keys by the cores that own them, in ascending order of those.
    fn stages<'a>(&self, ops: impl Iterator<Item = Op<'a>>) -> Vec<Stage> {
        let mut stages: Vec<Stage> = self.seat.all_cores().map(Stage::new).collect();
        for (index, op) in ops.enumerate() {
            let slot = Slot::of(op.key);
            let (key, payload) = (Text::from_slice(op.key), Text::from_slice(op.payload.bytes()));
            let length = payload.len() as u32;
            let item = Item { index: index as u32, slot: slot.number(), key, payload, length };
            stages[self.owner(slot).index()].items.push(item);
        }
        stages.retain(|stage| !stage.items.is_empty());
        stages
    }

    /// A question to every core, this one included.
    pub(crate) fn all(
        &mut self,
        now: Now,
        session: &mut Session,
        question: Question,
        mut fold: Fold,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if let Fold::Info { facts, .. } = &mut fold {
            **facts = Facts { is_cluster: session.is_core, ..self.facts(now) };
        }
        let mut sum = Sum::new(fold, 0, &self.config.limits);
        sum.add(self.part_of_all(question.clone(), now));
        // The one that asks is out of its place while it is served.
        match &question {
            Question::Clients(filter) if filter.has(session) => {
                sum.add(Part::Text(session.line(now.at, self.seat.core.0) + "\n"));
            }
            Question::Kill(filter) if !filter.skips_asker && filter.has(session) => {
                sum.add(Part::Count(1));
                session.is_closing = true;
            }
            _ => {}
        }
        self.close_killed(out);
        let asks_world = sum.asks_world();
        let others = usize::from(self.seat.cores) - 1 + usize::from(asks_world);
        let Some(gather) = self.gather(session, sum, others, out) else { return };
        for core in self.seat.other_cores() {
            self.tell(core, Said::AskAll { gather, question: question.clone() }, None, out);
        }
        if asks_world {
            out.gather(Ticket(gather));
        }
    }

    /// Begins to wait for `missing` parts and gives the gathering's bits; without any, answers at once.
    fn gather(
        &mut self,
        session: &mut Session,
        sum: Sum,
        missing: usize,
        out: &mut impl Outbox<Said = Said>,
    ) -> Option<u64> {
        let shape = session.shape();
        if missing == 0 {
            answer::at_once(session, &mut self.direct, sum, shape, out);
            return None;
        }
        let ticket = session.pipeline.wait();
        let gather = Gather { conn: session.conn, ticket, shape, missing, sum };
        Some(self.gathers.insert(gather).to_bits())
    }

    /// A part of what is gathered has come.
    pub(crate) fn put_together(&mut self, key: Key, part: Part, out: &mut impl Outbox<Said = Said>) {
        let Some(gather) = self.gathers.get_mut(key) else { return };
        gather.sum.add(part);
        gather.missing -= 1;
        if gather.missing > 0 {
            return;
        }
        let Some(Gather { conn, ticket, shape, sum, .. }) = self.gathers.remove(key) else { return };
        let Some(mut session) = self.sessions.take(conn) else { return };
        let late = Late { ticket, shape, answer: Answer::Gathered(sum) };
        if out.room(conn) > 0 && session.late.is_empty() {
            self.answer(&mut session, late, out);
        } else {
            session.late.push_back(late);
        }
        self.settle(session, out);
    }

    /// What this core has to say to a question to all.
    pub(crate) fn part_of_all(&mut self, question: Question, now: Now) -> Part {
        match question {
            Question::Stats => Part::Stats(Box::new(self.stats())),
            Question::ResetStats => {
                self.reset_stats();
                Part::Done
            }
            Question::Clients(filter) => {
                let meant = self.sessions.iter().filter(|session| filter.has(session));
                Part::Text(meant.map(|session| session.line(now.at, self.seat.core.0) + "\n").collect())
            }
            Question::Kill(filter) => {
                let meant = self.sessions.iter().filter(|session| filter.has(session));
                let before = self.killed.len();
                self.killed.extend(meant.map(|session| session.conn));
                Part::Count((self.killed.len() - before) as i64)
            }
            Question::Change(change) => {
                change.apply(&mut self.config.limits);
                self.bounds_changed();
                Part::Done
            }
            Question::Slow(count) => Part::Slow(self.slowness.newest(count as usize)),
            Question::SlowCount => Part::Count(self.slowness.len() as i64),
            Question::SlowForget => {
                self.slowness.forget();
                Part::Done
            }
            Question::Latency => Part::Latency(self.slowness.series().to_vec()),
            Question::LatencyForget(named) => Part::Latency(self.slowness.forget_series(&named)),
        }
    }
}

/// The slot, of work that concerns the keys of one slot alone: its owner knows all of them.
fn of_one_slot(work: &Work) -> Option<Slot> {
    match work {
        Work::SlotSize(slot) | Work::SlotKeys { slot, .. } => Slot::new(*slot),
        Work::Nothing
        | Work::Act(_)
        | Work::Look
        | Work::Put { .. }
        | Work::Flush
        | Work::Point { .. }
        | Work::Size
        | Work::Keys(_)
        | Work::Scan(_)
        | Work::Sample => None,
    }
}
