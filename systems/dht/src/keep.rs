//! What outlives the process: each change is logged as its [effect], and under [`Durability::Sync`] nobody is told
//! anything that a power cut could take back. Answers wait in the order in which they were made until the log says
//! that everything before them is safe.
//!
//! The hard thing is a command of several cores, one fact in several logs. Every core logs its [part](effect::Entry),
//! and keeps the keys locked until all parts are safe; so nobody sees one before it is whole, and what is found alone
//! at a start can be [taken back](replay) without taking anything from anybody.
//!
//! Where the disk is full or has failed, writes are refused with a reason, and reads are answered.

pub mod effect;
pub(crate) mod recorded;
pub(crate) mod replay;
pub mod snapshot;
pub(crate) mod walk;

use crate::act::Op;
use crate::claim::Done;
use crate::gather::Sum;
use crate::peer::{Asker, Fact, Part, Said, Told};
use crate::refusal::Fault;
use crate::reply::{Reply, Shape};
use crate::session::{Answer, Late, Session};
use crate::shard::Dht;
use core::time::Duration;
use effect::FactId;
use machine::id::Key;
use machine::{
    Blob, ConnId, CoreId, FANOUT_MAX, LogMark, Now, Outbox, Stored, Stream, Ticket, TimerId, WallTime,
};
use replay::Replay;
use state::Slot;
use std::collections::VecDeque;

/// What an acknowledged write outlives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing: all is gone with the process.
    #[default]
    Memory,
    /// The process and the power, but for what was written in the last [`BATCH`].
    Batch,
    /// The process and the power: it was on the disk before it was acknowledged.
    Sync,
}

impl Durability {
    /// As it is typed and told.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Batch => "batch",
            Self::Sync => "sync",
        }
    }
}

/// How long a write may wait to be logged under [`Durability::Batch`]. The log itself needs a little more.
pub const BATCH: Duration = Duration::from_millis(5);

/// Fires when a batch is to be logged, or when there are answers to go on with for which an event had no room.
pub(crate) const KEEP: TimerId = TimerId(5);

/// Bytes of effects over which a batch does not wait.
const BATCH_BYTES: usize = 1024 * 1024;

/// Kinds of groups that are counted, each twice as large as the one before.
pub(crate) const GROUPS: usize = 16;

/// How it stands with what is kept.
#[derive(Debug)]
pub(crate) struct Keep {
    durability: Durability,
    /// Names this core's facts, with their deals.
    life: u64,
    /// Of the effects that have none yet. Each run of effects that is logged together has one.
    next: u64,
    /// Runs that are logged and not safe, with the marks after them, and how many changes there ever were then.
    logged: VecDeque<(u64, LogMark, u64)>,
    /// Changes that were safe when the last group was.
    counted: u64,
    /// Groups that became safe, by how many changes they held: 1, 2 and 3, 4 to 7 and so on.
    pub(crate) groups: [u64; GROUPS],
    /// Every run before is safe.
    safe: u64,
    held: VecDeque<Held>,
    is_waking: bool,
    refuses: Option<Fault>,
    pub(crate) replay: Option<Box<Replay>>,
    /// The number of the last snapshot that was begun.
    pub(crate) point: u64,
    /// Facts that were found incomplete at the start.
    pub(crate) dropped: u64,
    /// Records told at the start.
    pub(crate) replayed: u64,
    /// Bytes of the records among them.
    found: u64,
    /// Runs logged.
    pub(crate) runs: u64,
}

/// An answer that waits for everything before it to be safe.
#[derive(Debug)]
struct Held {
    /// The run that must be safe.
    run: u64,
    /// It tells that something was changed.
    is_write: bool,
    what: Holding,
}

#[derive(Debug)]
enum Holding {
    /// To a request for one key.
    One { to: CoreId, asker: Asker, told: Told, blob: Option<Blob> },
    /// To a request that was put together here.
    Sum { conn: ConnId, ticket: Ticket, shape: Shape, sum: Sum },
    /// To a deal.
    Came { to: CoreId, deal: u64, done: Done },
}

impl Keep {
    pub(crate) fn new(durability: Durability, lives: &mut Stream) -> Self {
        Self {
            durability,
            life: lives.next_u64(),
            next: 1,
            logged: VecDeque::new(),
            counted: 0,
            groups: [0; GROUPS],
            safe: 0,
            held: VecDeque::new(),
            is_waking: false,
            refuses: None,
            replay: None,
            point: 0,
            dropped: 0,
            replayed: 0,
            found: 0,
            runs: 0,
        }
    }

    /// Whether changes are logged.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.durability != Durability::Memory
    }

    /// Why nothing may be changed, if that is so.
    #[inline]
    pub(crate) fn refuses(&self) -> Option<Fault> {
        self.refuses
    }

    /// Answers that wait for the disk.
    pub(crate) fn held(&self) -> u64 {
        self.held.len() as u64
    }

    /// How a deal that changes keys of so many cores is logged.
    pub(crate) fn fact(&self, parts: usize) -> Option<Fact> {
        let stays = self.durability == Durability::Sync;
        self.is_on().then_some(Fact { life: self.life, parts: parts as u16, stays })
    }

    /// A name for the start that follows, so that facts of different starts differ.
    pub(crate) fn live(&mut self, now: Now) {
        self.life ^= now.wall.micros();
    }
}

impl Dht {
    /// Whether an answer made now must wait for the disk.
    #[inline]
    pub(crate) fn is_behind(&self) -> bool {
        let keep = &self.keep;
        keep.durability == Durability::Sync
            && keep.refuses.is_none()
            && (!self.store.effects().is_empty() || keep.safe + 1 < keep.next)
    }

    /// Does an act on a key of ours, unless nothing may be changed.
    pub(crate) fn execute(&mut self, slot: Slot, op: Op<'_>, now: WallTime) -> (Told, Option<Blob>) {
        match self.keep.refuses.filter(|_| op.act.writes()) {
            Some(fault) => (Told::Refused(fault), None),
            None => Told::of(self.store.execute(slot, op, now)),
        }
    }

    /// The same for a client of ours, where changes are logged.
    pub(crate) fn one_kept(
        &mut self,
        now: Now,
        session: &mut Session,
        slot: Slot,
        op: Op<'_>,
        shape: Shape,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let is_write = op.act.writes();
        let (told, blob) = self.execute(slot, op, now.wall);
        if !self.is_behind() {
            if let Told::Refused(fault) = &told {
                self.counts.error(fault.words());
            }
            return crate::answer::at_once(session, &mut self.direct, told.reply(blob), shape, out);
        }
        let ticket = session.pipeline.wait().0;
        let asker = Asker { conn: session.conn.0.to_bits(), ticket, shape, command: session.command() };
        self.hold(is_write, Holding::One { to: self.seat.core, asker, told, blob });
    }

    /// Has an answer about one key wait, where it must; else gives it back.
    pub(crate) fn hold_one(
        &mut self,
        to: CoreId,
        asker: Asker,
        is_write: bool,
        told: Told,
        blob: Option<Blob>,
    ) -> Option<(Told, Option<Blob>)> {
        if !self.is_behind() {
            return Some((told, blob));
        }
        self.hold(is_write, Holding::One { to, asker, told, blob });
        None
    }

    /// The same for what came of a deal here.
    pub(crate) fn hold_done(&mut self, to: CoreId, deal: u64, done: Done) -> Option<Done> {
        if !self.is_behind() {
            return Some(done);
        }
        self.hold(true, Holding::Came { to, deal, done });
        None
    }

    /// Tells what was put together here, now or when it may be told.
    pub(crate) fn tell_sum(&mut self, session: &mut Session, sum: Sum, out: &mut impl Outbox<Said = Said>) {
        let shape = session.shape();
        if !self.is_behind() {
            return crate::answer::at_once(session, &mut self.direct, sum, shape, out);
        }
        let (conn, ticket) = (session.conn, session.pipeline.wait());
        self.hold(true, Holding::Sum { conn, ticket, shape, sum });
    }

    fn hold(&mut self, is_write: bool, what: Holding) {
        // What has no run yet will have the next.
        let run = if self.store.effects().is_empty() { self.keep.next - 1 } else { self.keep.next };
        self.keep.held.push_back(Held { run, is_write, what });
    }

    /// Does the part of a fact that is this core's.
    pub(crate) fn as_part<T>(
        &mut self,
        fact: Option<Fact>,
        from: CoreId,
        deal: u64,
        work: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let Some(fact) = fact else { return work(self) };
        let id = FactId { life: fact.life, core: from.0, deal };
        self.store.effects_mut().begin_part(id, fact.parts, self.seat.core);
        let done = work(self);
        self.store.effects_mut().end_part();
        done
    }

    /// At the end of an event: what it changed is logged, or will be.
    #[inline]
    pub(crate) fn keep_up(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if !self.store.effects().is_empty() {
            self.log_effects(now, out);
        }
        self.snapshot_up(now, out);
    }

    fn log_effects(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let is_due = match self.keep.durability {
            Durability::Memory | Durability::Sync => true,
            Durability::Batch => {
                let effects = self.store.effects();
                effects.bytes().len() >= BATCH_BYTES || effects.cut().is_some()
            }
        };
        if is_due {
            self.log_now(out);
            self.snapshot_if_grown(now, out);
        } else if !self.keep.is_waking {
            self.keep.is_waking = true;
            out.wake(KEEP, Some(now.at + BATCH));
        }
    }

    pub(crate) fn log_now(&mut self, out: &mut impl Outbox<Said = Said>) {
        let changes = self.store.changes();
        let entries = self.store.effects_mut();
        if entries.is_empty() {
            return;
        }
        let (bytes, cut) = (entries.bytes(), entries.cut());
        if let Some(fault) = self.keep.refuses {
            if cut.is_some() {
                self.snapshots.pointed(None);
            }
            // What was answered under batch before the disk was full waits for room: without it the log would have a
            // hole. Writes are refused meanwhile, so it does not grow.
            match fault {
                Fault::DiskFull => entries.uncut(),
                _ => entries.clear(),
            }
        } else {
            let mut mark = out.log(&bytes[..cut.unwrap_or(bytes.len())]);
            self.snapshots.logged(bytes.len());
            if let Some(cut) = cut {
                self.snapshots.pointed(Some(mark));
                if cut < bytes.len() {
                    mark = out.log(&bytes[cut..]);
                }
            }
            self.keep.logged.push_back((self.keep.next, mark, changes));
            self.keep.next += 1;
            self.keep.runs += 1;
            entries.clear();
        }
    }

    /// The timer: a batch is due, or more answers can go.
    pub(crate) fn keep_timer(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.keep.is_waking = false;
        self.log_now(out);
        self.snapshot_if_grown(now, out);
        self.go_on_telling(now, out);
    }

    /// The disk has something to say.
    pub(crate) fn stored(&mut self, now: Now, what: Stored, out: &mut impl Outbox<Said = Said>) {
        match what {
            Stored::Logged(upto) => {
                if self.keep.refuses.take().is_some() {
                    self.log_now(out);
                }
                let mut changes = self.keep.counted;
                while let Some((run, mark, made)) = self.keep.logged.front().copied()
                    && mark <= upto
                {
                    (self.keep.safe, changes) = (run, made);
                    self.keep.logged.pop_front();
                }
                let held = changes - core::mem::replace(&mut self.keep.counted, changes);
                if held > 0 {
                    self.keep.groups[(held.ilog2() as usize).min(GROUPS - 1)] += 1;
                }
            }
            Stored::Saved(_) | Stored::Unsaved => {}
            Stored::Full => self.keep.refuses = Some(Fault::DiskFull),
            Stored::Failed => self.keep.refuses = Some(Fault::DiskFailed),
        }
        self.snapshot_stored(what, out);
        self.go_on_telling(now, out);
    }

    /// Tells what may be told, as much as an event may.
    fn go_on_telling(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let most = crate::claim::BLOBS_MAX + 2 + usize::from(self.seat.cores);
        while self.told + most <= FANOUT_MAX {
            let keep = &mut self.keep;
            if keep.held.front().is_none_or(|held| held.run > keep.safe && keep.refuses.is_none()) {
                return;
            }
            let Some(Held { run, is_write, what }) = keep.held.pop_front() else { return };
            // Whether it will outlive the process is not known, and that is what must be said.
            let fault = keep.refuses.filter(|_| is_write && run > keep.safe);
            self.let_one_go(what, fault, now, out);
        }
        if !self.keep.held.is_empty() && !self.keep.is_waking {
            self.keep.is_waking = true;
            out.wake(KEEP, Some(now.at));
        }
    }

    fn let_one_go(
        &mut self,
        what: Holding,
        fault: Option<Fault>,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let here = self.seat.core;
        match what {
            Holding::One { to, asker, told, blob } => {
                let (told, blob) = fault.map_or((told, blob), |fault| (Told::Refused(fault), None));
                if to == here {
                    return self.hear(asker, told.reply(blob), out);
                }
                self.told += 1;
                out.tell(to, Said::Answer { asker, told }, blob);
            }
            Holding::Came { to, deal, done } => {
                let done = fault.map_or(done, |fault| Part::Refused(fault).into());
                match to == here {
                    true => self.came(Key::from_bits(deal), done, now, out),
                    false => self.say_done(to, deal, done, out),
                }
            }
            Holding::Sum { conn, ticket, shape, sum } => {
                let Some(mut session) = self.sessions.take(conn) else { return };
                let answer = match fault {
                    Some(fault) => Answer::One(Told::of(Reply::Refused(fault)).0, None),
                    None => Answer::Gathered(sum),
                };
                let late = Late { ticket, shape, answer };
                if out.room(conn) > 0 && session.late.is_empty() {
                    self.answer(&mut session, late, out);
                } else {
                    session.late.push_back(late);
                }
                self.settle(session, out);
            }
        }
    }

    /// A piece of what was kept.
    pub(crate) fn replay_one(&mut self, what: machine::Kept<'_>) {
        let mut replay = self.keep.replay.take().unwrap_or_default();
        let (seat, placement) = (self.seat, &self.placement);
        let is_ours = |slot| placement.owner(slot) == (seat.node, seat.core);
        replay.take(what, is_ours, self.store.unrecorded());
        self.keep.replayed += 1;
        if let machine::Kept::Record(bytes) = what {
            self.keep.found += bytes.len() as u64;
        }
        self.keep.replay = Some(replay);
    }

    /// Everything that was kept was told.
    pub(crate) fn replayed(&mut self, now: Now) {
        self.keep.live(now);
        if let Some(replay) = self.keep.replay.take() {
            assert_eq!(replay.unread, 0, "the log holds what this program does not know");
            let (dropped, point) = replay.end(self.store.unrecorded());
            self.keep.dropped = dropped.len() as u64;
            self.keep.point = point;
            self.snapshots.found(self.keep.found, self.seat.cores);
            if self.keep.is_on() {
                dropped.iter().for_each(|id| self.store.effects_mut().dropped(*id));
            }
        }
        if self.keep.is_on() {
            self.store.record();
        }
    }
}
