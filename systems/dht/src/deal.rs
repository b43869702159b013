//! A command that several cores do as one, from the side of the core that was asked.
//!
//! The keys are claimed core by core, in ascending order ([`locks`](crate::locks) tells why). Readers read as they
//! come: when the last core has answered, all keys are still held, so the values are those of one moment. Writers
//! write at the last core when its keys are theirs, and then at all others at once: who asks for one of the keys
//! before the last is written waits for it. So nobody sees a part of it, and it takes one round more than there are
//! other cores before the last.
//!
//! A deal belongs to the core and not to the connection: it goes on to its end if its client is gone. The hard thing
//! is the client that is there and has sent more. Until the last core was asked nothing more of it is read, for a
//! later request could overtake the deal at a core that has not heard of it; from then on lanes keep the order.
//!
//! So deals that one connection sends at once overlap by their last core alone. More would be safe in a wave: a request
//! may go to a core once each deal before it has asked that core or needs nothing there. It is not done, because it has
//! to be known which cores a request concerns before it is used up, and for each request, also the plain one that
//! nobody's deal is before; a client that wants more at once takes more connections, or a hash tag. And what was read
//! is of one moment but for expiry: each core judges by its own reading of the clock whether a key's time has come.

use crate::act::{Act, Set};
use crate::answer;
use crate::claim::Done;
use crate::gather::{Got, Sum};
use crate::locks::Claim;
use crate::peer::{Fact, Hold, Item, Part, Said, Text, Work};
use crate::refusal::Fault;
use crate::reply::Shape;
use crate::session::{Answer, Late, Session};
use crate::shard::Dht;
use machine::id::Key;
use machine::{Blob, ConnId, CoreId, Now, Outbox, Ticket};

/// A command under way.
#[derive(Debug)]
pub(crate) struct Deal {
    /// Who waits for the answer; nobody yet while it is begun.
    who: Option<(ConnId, Ticket, Shape)>,
    plan: Plan,
    /// The cores that have its keys, in ascending order.
    stages: Vec<Stage>,
    /// How many of them were asked for their keys.
    asked: usize,
    /// Answers outstanding.
    missing: usize,
    /// The keys are all claimed, or it was given up.
    is_finishing: bool,
    /// How its parts are logged, if they are.
    fact: Option<Fact>,
    /// The command, as its place in the table.
    command: u8,
    sum: Sum,
}

/// A core's share of a deal.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) core: CoreId,
    pub(crate) items: Vec<Item>,
    /// It keeps keys for the deal.
    is_held: bool,
}

impl Stage {
    pub(crate) fn new(core: CoreId) -> Self {
        Self { core, items: Vec::new(), is_held: false }
    }
}

/// What is done once the keys are claimed.
#[derive(Debug)]
pub(crate) enum Plan {
    /// The act, as the keys come.
    Read(Act),
    /// The act.
    Write(Act),
    /// Store the payloads if none of the keys is there.
    Absent,
    /// The value of the key at place 0 goes to that at place 1.
    Move(Move),
    /// This, on all keys of the cores.
    Whole(Work),
}

/// RENAME, RENAMENX and COPY.
#[derive(Debug)]
pub(crate) struct Move {
    /// The first key goes.
    pub(crate) removes: bool,
    /// A value at the second is replaced.
    pub(crate) replaces: bool,
    /// Nothing at the first is an error.
    pub(crate) needs: bool,
    /// What was found.
    pub(crate) seen: Seen,
    /// The first key is still to be removed, on that stage.
    pub(crate) left: Option<usize>,
}

/// What a move has found.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    first: bool,
    value: Vec<u8>,
    blob: Option<Blob>,
    until: Option<u64>,
    second: bool,
}

impl Deal {
    pub(crate) fn new(plan: Plan, stages: Vec<Stage>, sum: Sum, command: u8) -> Self {
        Self { who: None, plan, stages, asked: 0, missing: 0, is_finishing: false, fact: None, command, sum }
    }

    /// Whether there is no core left that does not know of it.
    fn is_announced(&self) -> bool {
        self.is_finishing || self.asked == self.stages.len()
    }

    /// The next core's claim.
    fn next_claim(&mut self, from: CoreId, deal: u64) -> (CoreId, Claim) {
        let stores = matches!(self.plan, Plan::Absent | Plan::Write(Act::Set(_)));
        let is_last = self.asked + 1 == self.stages.len();
        let stage = &mut self.stages[self.asked];
        let bare = |items: &[Item]| {
            items.iter().map(|item| Item { payload: Text::new(), key: item.key.clone(), ..*item }).collect()
        };
        let (hold, stays, work, items) = match &self.plan {
            Plan::Read(act) => (Hold::Shared, !is_last, Work::Act(*act), core::mem::take(&mut stage.items)),
            Plan::Write(act) if is_last && self.fact.is_none() => {
                (Hold::Alone, false, Work::Act(*act), core::mem::take(&mut stage.items))
            }
            Plan::Write(_) => (Hold::Alone, true, Work::Nothing, bare(&stage.items)),
            Plan::Absent => (Hold::Alone, true, Work::Act(Act::Exists), bare(&stage.items)),
            Plan::Move(_) => (Hold::Alone, true, Work::Look, bare(&stage.items)),
            Plan::Whole(Work::Flush | Work::Point { .. }) if !is_last || self.fact.is_some() => {
                (Hold::Whole, true, Work::Nothing, Vec::new())
            }
            Plan::Whole(work) => (Hold::Whole, !is_last, work.clone(), Vec::new()),
        };
        stage.is_held = stays;
        self.asked += 1;
        self.missing += 1;
        let command = self.command;
        (stage.core, Claim { from, deal, hold, stays, stores, command, work, items })
    }

    /// Whether it changes keys of more than one core, and how many of them.
    fn parts(&self) -> usize {
        match &self.plan {
            Plan::Write(act) if !act.writes() => 1,
            Plan::Move(motion) if !motion.removes => 1,
            Plan::Write(_) | Plan::Absent | Plan::Move(_) | Plan::Whole(Work::Flush) => self.stages.len(),
            Plan::Read(_) | Plan::Whole(_) => 1,
        }
    }

    /// The number of the snapshot whose moment it sets.
    fn point(&self) -> Option<u64> {
        match self.plan {
            Plan::Whole(Work::Point { number, .. }) => Some(number),
            Plan::Whole(_) | Plan::Read(_) | Plan::Write(_) | Plan::Absent | Plan::Move(_) => None,
        }
    }

    /// Whether it changes anything.
    fn writes(&self) -> bool {
        match &self.plan {
            Plan::Write(act) => act.writes(),
            Plan::Absent | Plan::Move(_) | Plan::Whole(Work::Flush) => true,
            Plan::Read(_) | Plan::Whole(_) => false,
        }
    }

    /// A part has come.
    fn add(&mut self, done: Done) {
        self.missing -= 1;
        let Done { part, blobs } = done;
        match (&mut self.plan, part) {
            (_, Part::Refused(fault)) => {
                self.sum.add(Part::Refused(fault));
                // A claim that was refused is not held.
                if !self.is_finishing && matches!(fault, Fault::Crowded | Fault::OutOfMemory) {
                    self.stages[self.asked - 1].is_held = false;
                }
            }
            (Plan::Move(motion), Part::Seen { first, value, until, second }) => {
                motion.seen.second |= second;
                if first {
                    let blob = motion.seen.blob.take();
                    motion.seen = Seen { first, value, blob, until, second: motion.seen.second };
                    for (_, blob) in blobs {
                        motion.seen.blob = Some(blob);
                    }
                }
            }
            // The key that RENAME removes is not its answer.
            (Plan::Move(_), _) => {}
            (_, part) => {
                self.sum.add(part);
                for (index, blob) in blobs {
                    self.sum.put(index as usize, Got::Blob(blob));
                }
            }
        }
    }

    /// Whether it ends without doing anything, though not all keys are claimed.
    fn is_given_up(&self) -> bool {
        self.sum.is_refused() || (matches!(self.plan, Plan::Absent) && self.sum.total() > 0)
    }

    /// What each core that holds keys does last, by stage; whether it is heard; and the blob that goes along.
    fn last(&mut self) -> Vec<(usize, Work, bool, Option<Blob>)> {
        let held: Vec<usize> = (0..self.asked).filter(|stage| self.stages[*stage].is_held).collect();
        let nothing =
            |held: Vec<usize>| held.into_iter().map(|stage| (stage, Work::Nothing, false, None)).collect();
        if self.sum.is_refused() {
            return nothing(held);
        }
        let work = match &mut self.plan {
            Plan::Read(_) => return nothing(held),
            Plan::Absent if self.sum.total() > 0 => {
                self.sum.set_total(0);
                return nothing(held);
            }
            Plan::Absent => {
                self.sum.set_total(1);
                Work::Act(Act::Set(Set::default()))
            }
            Plan::Move(_) => return self.last_of_move(held),
            Plan::Write(act) => Work::Act(*act),
            Plan::Whole(work @ (Work::Flush | Work::Point { .. })) => work.clone(),
            Plan::Whole(_) => return nothing(held),
        };
        held.into_iter().map(|stage| (stage, work.clone(), true, None)).collect()
    }

    /// The value is put to its new place first, and only then removed from the old one: a crash between leaves both.
    fn last_of_move(&mut self, held: Vec<usize>) -> Vec<(usize, Work, bool, Option<Blob>)> {
        let Plan::Move(motion) = &mut self.plan else { return Vec::new() };
        let seen = core::mem::take(&mut motion.seen);
        let fails = !seen.first || (seen.second && !motion.replaces);
        if !seen.first && motion.needs {
            self.sum.add(Part::Refused(Fault::NoSuchKey));
        }
        let has = |stage: &Stage, place: u32| stage.items.iter().any(|item| item.index == place);
        let to = held.iter().copied().find(|stage| has(&self.stages[*stage], 1));
        let (Some(to), false) = (to, fails) else {
            return held.into_iter().map(|stage| (stage, Work::Nothing, false, None)).collect();
        };
        self.sum.set_total(1);
        let from = held.iter().copied().find(|stage| *stage != to);
        motion.left = from.filter(|_| motion.removes);
        let removes = motion.removes;
        let items = &mut self.stages[to].items;
        items.sort_unstable_by_key(|item| core::cmp::Reverse(item.index));
        items.truncate(if removes { 2 } else { 1 });
        items[0].payload = Text::from_vec(seen.value);
        let mut last = vec![(to, Work::Put { until: seen.until, copies: !removes }, true, seen.blob)];
        if let (Some(from), false) = (from, removes) {
            last.push((from, Work::Nothing, false, None));
        }
        last
    }
}

impl Dht {
    /// Begins a deal for the request at hand; answers at once if it is done at once.
    pub(crate) fn begin(
        &mut self,
        now: Now,
        session: &mut Session,
        deal: Deal,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let (mut deal, shape) = (deal, session.shape());
        if deal.parts() > 1 {
            deal.fact = self.keep.fact(deal.parts());
        }
        if let Some(fault) = self.keep.refuses().filter(|_| deal.writes()) {
            deal.sum.add(Part::Refused(fault));
            return answer::at_once(session, &mut self.direct, deal.sum, shape, out);
        }
        let key = self.deals.insert(deal);
        if let Some(sum) = self.go_on(key, now, out) {
            answer::at_once(session, &mut self.direct, sum, shape, out);
        } else if let Some(deal) = self.deals.get_mut(key) {
            deal.who = Some((session.conn, session.pipeline.wait(), shape));
            session.is_dealing = !deal.is_announced();
        }
    }

    /// Begins a deal that nobody asked for: the moment of a snapshot.
    pub(crate) fn begin_alone(&mut self, deal: Deal, now: Now, out: &mut impl Outbox<Said = Said>) {
        let point = deal.point();
        let key = self.deals.insert(deal);
        if let (Some(sum), Some(number)) = (self.go_on(key, now, out), point) {
            self.round_pointed(number, sum.fault(), now, out);
        }
    }

    /// A part of a deal has come.
    pub(crate) fn came(&mut self, key: Key, done: Done, now: Now, out: &mut impl Outbox<Said = Said>) {
        let Some(deal) = self.deals.get_mut(key) else { return };
        deal.add(done);
        let (who, was_announced, point) = (deal.who, deal.is_announced(), deal.point());
        let sum = self.go_on(key, now, out);
        if let (Some(number), Some(sum)) = (point, &sum) {
            self.round_pointed(number, sum.fault(), now, out);
        }
        let is_announced = self.deals.get(key).is_none_or(Deal::is_announced);
        if let Some((conn, ticket, shape)) = who
            && (sum.is_some() || (is_announced && !was_announced))
            && let Some(mut session) = self.sessions.take(conn)
        {
            session.is_dealing &= was_announced;
            if let Some(sum) = sum {
                let late = Late { ticket, shape, answer: Answer::Gathered(sum) };
                if out.room(conn) > 0 && session.late.is_empty() {
                    self.answer(&mut session, late, out);
                } else {
                    session.late.push_back(late);
                }
            }
            self.settle(session, out);
        }
        self.drain_further(out);
    }

    /// A long value of a part that is on its way.
    pub(crate) fn value_came(&mut self, key: Key, index: u32, blob: Option<Blob>) {
        let (Some(deal), Some(blob)) = (self.deals.get_mut(key), blob) else { return };
        match &mut deal.plan {
            Plan::Move(motion) => motion.seen.blob = Some(blob),
            _ => deal.sum.put(index as usize, Got::Blob(blob)),
        }
    }

    /// Does what can be done for a deal now; the whole answer if that is all.
    fn go_on(&mut self, key: Key, now: Now, out: &mut impl Outbox<Said = Said>) -> Option<Sum> {
        loop {
            let deal = self.deals.get_mut(key)?;
            if deal.missing > 0 {
                return None;
            }
            if deal.is_finishing {
                if self.remove_moved(key, now, out) {
                    continue;
                }
                self.release_kept(key, now, out);
                return self.deals.remove(key).map(|deal| deal.sum);
            }
            if deal.asked == deal.stages.len() || deal.is_given_up() {
                self.finish_all(key, now, out);
            } else {
                self.claim_next(key, now, out);
            }
        }
    }

    fn claim_next(&mut self, key: Key, now: Now, out: &mut impl Outbox<Said = Said>) {
        let Some(deal) = self.deals.get_mut(key) else { return };
        let (core, claim) = deal.next_claim(self.seat.core, key.to_bits());
        if core != self.seat.core {
            let Claim { deal, hold, stays, stores, command, work, items, .. } = claim;
            return self.tell(
                core,
                Said::Claim { deal, hold, stays, stores, command, work, items },
                None,
                out,
            );
        }
        if let Some(done) = self.claim(claim, now)
            && let Some(done) = self.hold_done(core, key.to_bits(), done)
            && let Some(deal) = self.deals.get_mut(key)
        {
            deal.add(done);
        }
    }

    fn finish_all(&mut self, key: Key, now: Now, out: &mut impl Outbox<Said = Said>) {
        let Some(deal) = self.deals.get_mut(key) else { return };
        deal.is_finishing = true;
        for (stage, work, hears, blob) in deal.last() {
            self.finish_one(key, stage, work, hears, blob, now, out);
        }
    }

    fn finish_one(
        &mut self,
        key: Key,
        stage: usize,
        work: Work,
        hears: bool,
        blob: Option<Blob>,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(deal) = self.deals.get_mut(key) else { return };
        deal.missing += usize::from(hears);
        let (command, Stage { core, items, .. }) = (deal.command, &mut deal.stages[stage]);
        let core = *core;
        let items = if work == Work::Nothing { Vec::new() } else { core::mem::take(items) };
        let (bits, fact) = (key.to_bits(), deal.fact.filter(|_| work.writes()));
        if core != self.seat.core {
            return self.tell(
                core,
                Said::Finish { deal: bits, command, work, items, hears, fact },
                blob,
                out,
            );
        }
        let done = self.finish(core, bits, fact, work, &items, blob, now.wall);
        if hears
            && let Some(done) = self.hold_done(core, bits, done)
            && let Some(deal) = self.deals.get_mut(key)
        {
            deal.add(done);
        }
    }

    /// All parts are safe: the keys may be seen.
    fn release_kept(&mut self, key: Key, now: Now, out: &mut impl Outbox<Said = Said>) {
        let Some(deal) = self.deals.get_mut(key) else { return };
        if !deal.fact.take().is_some_and(|fact| fact.stays) {
            return;
        }
        let held: Vec<usize> = (0..deal.asked).filter(|stage| deal.stages[*stage].is_held).collect();
        for stage in held {
            self.finish_one(key, stage, Work::Nothing, false, None, now, out);
        }
    }

    /// The last step of a RENAME over two cores. False when there is none.
    fn remove_moved(&mut self, key: Key, now: Now, out: &mut impl Outbox<Said = Said>) -> bool {
        let Some(Deal { plan: Plan::Move(motion), .. }) = self.deals.get_mut(key) else { return false };
        let Some(stage) = motion.left.take() else { return false };
        self.finish_one(key, stage, Work::Act(Act::Del), true, None, now, out);
        true
    }
}
