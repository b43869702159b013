//! Commands that several cores do together: told to each, gathered here, answered once.
//!
//! One message to each core, whatever the number of keys, so that a command of any length stays under the bound on
//! tells. The values of MSET and MGET travel in the message itself, copied; a message carries at most one blob.

use crate::act::{Act, Op, Payload};
use crate::answer;
use crate::command::Many;
use crate::config::Limits;
use crate::gather::{Fold, Gather, Sum};
use crate::info::Facts;
use crate::peer::{ArchivedItem, Item, Part, Question, Said, Text};
use crate::refusal::Fault;
use crate::reply::Reply;
use crate::session::{Answer, Late, Session};
use crate::shard::Dht;
use machine::id::Key;
use machine::{Now, Outbox, WallTime};
use rkyv::vec::ArchivedVec;
use state::Slot;

impl Dht {
    /// The same act on several keys, wherever they are.
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
        let mut elsewhere: Vec<Vec<Item>> = Vec::new();
        elsewhere.resize_with(usize::from(self.seat.cores), Vec::new);
        for (index, op) in many.ops().enumerate() {
            let slot = Slot::of(op.key);
            let owner = self.owner(slot);
            if owner == self.seat.core {
                sum.add_reply(index, self.store.execute(slot, op, now.wall));
            } else {
                let (key, payload) = (Text::from_slice(op.key), Text::from_slice(op.payload.bytes()));
                let item = Item { index: index as u32, slot: slot.number(), key, payload };
                elsewhere[owner.index()].push(item);
            }
        }
        let missing = elsewhere.iter().filter(|items| !items.is_empty()).count();
        let Some(gather) = self.gather(session, sum, missing, out) else { return };
        for (core, items) in self.seat.all_cores().zip(elsewhere) {
            if !items.is_empty() {
                self.tell(core, Said::AskMany { gather, act: many.act, items }, None, out);
            }
        }
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
        let others = usize::from(self.seat.cores) - 1;
        let Some(gather) = self.gather(session, sum, others, out) else { return };
        for core in self.seat.other_cores() {
            self.tell(core, Said::AskAll { gather, question: question.clone() }, None, out);
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

    /// Does for another core what it asks of several keys.
    pub(crate) fn part_of_many(
        &mut self,
        act: Act,
        items: &ArchivedVec<ArchivedItem>,
        now: WallTime,
    ) -> Part {
        let (mut count, mut bytes, mut values) = (0, 0, Vec::new());
        let mut refused = None;
        for item in items.iter() {
            let slot = Slot::new(item.slot.to_native()).unwrap_or_else(|| Slot::of(&item.key));
            let op = Op { key: &item.key, payload: Payload::Bytes(&item.payload), act };
            let value = match self.store.execute(slot, op, now) {
                Reply::Integer(number) => {
                    count += number;
                    continue;
                }
                Reply::Refused(fault) => {
                    refused = Some(fault);
                    continue;
                }
                Reply::Ok | Reply::Nil | Reply::Kind(_) => continue,
                Reply::Bulk(value) => value.to_vec(),
                Reply::Blob(value) => value.into_vec(),
            };
            bytes += value.len();
            if bytes > self.config.limits.answer_max {
                return Part::Refused(Fault::AnswerTooLong);
            }
            values.push((item.index.to_native(), value));
        }
        match (refused, act) {
            (Some(fault), _) => Part::Refused(fault),
            (None, Act::Get) => Part::Values(values),
            (None, Act::Set(_)) => Part::Done,
            (None, _) => Part::Count(count),
        }
    }

    /// What this core has to say to a question to all.
    pub(crate) fn part_of_all(&mut self, question: Question, now: Now) -> Part {
        match question {
            Question::Size => Part::Count(self.store.len() as i64),
            Question::Flush => {
                self.store.flush();
                Part::Done
            }
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
            Question::SlotSize(slot) => {
                Part::Count(Slot::new(slot).map_or(0, |slot| self.store.slot_len(slot) as i64))
            }
            Question::SlotKeys { slot, count } => {
                let keys = |slot| self.store.slot_keys(slot, count as usize, now.wall);
                Part::Keys(Slot::new(slot).map_or_else(Vec::new, keys))
            }
        }
    }
}
