//! Snapshots: each core tells its table as it was at one moment, while it goes on serving, and the log before that
//! moment goes. Core 0 leads a round at a time: a deal over all cores sets the moment, so that nothing that several
//! cores do as one lies on both sides of it; then each core [walks](super::walk) over its table in small steps.
//!
//! The hard thing is that a whole snapshot of one core speaks for the others: what several cores did before the moment
//! counts as whole from then on. So no core's becomes whole before every core's log is safe up to the moment; core 0
//! hears of that, and says when. A round that fails anywhere is given up everywhere, and what there was before stands.

#![allow(missing_docs, reason = "the derive writes types beside ours, without docs for their fields")]

mod share;

use crate::command::index_of;
use crate::deal::{Deal, Plan, Stage};
use crate::gather::{Fold, Sum};
use crate::peer::{Part, Said, Work};
use crate::refusal::Fault;
use crate::reply::Shape;
use crate::session::{Answer, Late, Session};
use crate::shard::Dht;
use core::time::Duration;
use machine::{ConnId, CoreId, FANOUT_MAX, Instant, LogMark, Now, Outbox, Ticket, TimerId};
use rkyv::{Archive, Deserialize, Serialize};

/// Fires when a walk goes on.
pub(crate) const WALK: TimerId = TimerId(6);

/// What is told at most of this core's part of a round at the end of an event.
const SAID_MAX: usize = 4;
/// After a round that failed, how long none is begun but by a client.
const FAILED_FOR: Duration = Duration::from_secs(30);
/// How often a round is begun again because everything was removed under it.
const AGAIN_MAX: u32 = 16;

/// What a client wants of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// SAVE: to be told when it is whole.
    Whole,
    /// BGSAVE: to be told that it was begun; with SCHEDULE, if one is under way, that another will follow.
    Begun {
        /// SCHEDULE was said.
        follows: bool,
    },
    /// BGREWRITEAOF: the same, in other words.
    Rewrite,
    /// SHUTDOWN SAVE: the process is to end when it is whole.
    End,
}

impl Wish {
    const fn is_urgent(self) -> bool {
        matches!(self, Self::Whole | Self::End)
    }
}

/// What cores say to each other about a round.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To core 0: begin one.
    Want {
        /// Who waits, as it is named there; nobody when the log has grown.
        waiter: Option<u64>,
        /// Somebody waits for its end.
        is_urgent: bool,
        /// Another one follows where one is under way.
        follows: bool,
    },
    /// From core 0, to who waits.
    Heard {
        /// Who.
        waiter: u64,
        /// It was begun; or why not; or nothing: it follows the one under way.
        begun: Begun,
    },
    /// To core 0: all is told here, and the log is safe up to the moment.
    Told {
        /// The round.
        number: u64,
    },
    /// From core 0: so it is everywhere.
    Keep {
        /// The round.
        number: u64,
    },
    /// To core 0: it is whole here.
    Kept {
        /// The round.
        number: u64,
    },
    /// To core 0: it cannot be, here.
    Failed {
        /// The round.
        number: u64,
        /// Why; none when it is to be begun again.
        fault: Option<Fault>,
    },
    /// From core 0: forget it.
    GiveUp {
        /// The round.
        number: u64,
    },
    /// From core 0: it is over.
    Over {
        /// Why it failed, if it did.
        fault: Option<Fault>,
        /// How long it took, in milliseconds.
        took_ms: u64,
    },
}

/// What becomes of a wish.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// A round was begun for it.
    Now,
    /// One will be.
    Later,
    /// None: one is under way.
    Busy,
}

/// A client that waits.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    id: u64,
    conn: ConnId,
    ticket: Ticket,
    shape: Shape,
    wish: Wish,
    /// The round that is under way is for it.
    is_begun: bool,
}

/// A core's part of a round.
#[derive(Debug)]
struct Share {
    number: u64,
    is_urgent: bool,
    /// Nothing was done for it yet.
    is_new: bool,
    /// The mark of the moment, once it is logged; whether everything before it is safe.
    upto: Option<LogMark>,
    is_safe: bool,
    /// Core 0 was told that all is told here; it has said that all may be kept.
    is_told: bool,
    is_kept: bool,
    bytes: u64,
    changes: u64,
}

/// What core 0 knows of a round.
#[derive(Debug)]
struct Lead {
    number: u64,
    is_urgent: bool,
    begun: Instant,
    /// Cores that have yet to say that all is told, and that it is whole.
    untold: u16,
    unkept: u16,
    /// How often it was begun again.
    again: u32,
    /// Every core has set the moment; before, what failed is only noted.
    is_pointed: bool,
    failed: Option<Option<Fault>>,
}

/// All that a core knows of snapshots.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    share: Option<Share>,
    lead: Option<Lead>,
    /// On core 0: another round follows.
    follows: bool,
    waiters: Vec<Waiter>,
    waiters_made: u64,
    is_waking: bool,
    /// The moment was to be logged while the disk takes nothing.
    is_point_lost: bool,
    /// A round was asked for because the log has grown; not before then, if one failed.
    is_wanted: bool,
    not_before: Instant,
    /// Bytes logged since the last snapshot's moment, and since that of the one being made.
    grown: u64,
    grown_since: u64,
    /// Bytes of the last snapshot of this core.
    pub(crate) bytes: u64,
    /// Keys told in the round at hand or the last one, those of them ahead, and the most bytes this took.
    pub(crate) keys: u64,
    pub(crate) ahead: u64,
    pub(crate) taken: u64,
    /// Changes before the last snapshot's moment.
    changes: u64,
    /// The second of the last snapshot, or of the start; how long the last round took; whether it failed.
    pub(crate) second: u64,
    pub(crate) took_ms: u64,
    pub(crate) fault: Option<Fault>,
    /// Rounds that became whole.
    pub(crate) rounds: u64,
    begun: Option<Instant>,
}

impl Snapshots {
    /// So much was found in the logs at the start, of all cores.
    pub(crate) fn found(&mut self, bytes: u64, cores: u16) {
        self.grown = bytes / u64::from(cores.max(1));
    }

    /// So much was logged.
    pub(crate) fn logged(&mut self, bytes: usize) {
        self.grown += bytes as u64;
        self.grown_since += bytes as u64;
    }

    /// Bytes of the log that the next start will read.
    pub(crate) fn grown(&self) -> u64 {
        self.grown
    }

    /// Since when a round is under way here.
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.begun
    }

    /// Changes since the last snapshot, of so many ever.
    pub(crate) fn unsaved(&self, changes: u64) -> u64 {
        changes - self.changes.min(changes)
    }

    /// A moment of the table is logged at this mark; or it could not be.
    pub(crate) fn pointed(&mut self, upto: Option<LogMark>) {
        self.grown_since = 0;
        self.is_point_lost = upto.is_none();
        if let Some(share) = &mut self.share {
            share.upto = upto;
        }
    }
}

const LEADER: CoreId = CoreId(0);
const BGSAVE: usize = index_of("bgsave");

impl Dht {
    /// SAVE and its like.
    pub(crate) fn wish(&mut self, session: &mut Session, wish: Wish, out: &mut impl Outbox<Said = Said>) {
        let shape = session.shape();
        if !self.config.has_data {
            let sum = match wish {
                // As a server that has a place and cannot write there: INFO tells how it ended.
                Wish::Begun { .. } | Wish::Rewrite => {
                    self.snapshots.fault = Some(Fault::NowhereToSave);
                    self.sum_of(None, wish)
                }
                Wish::Whole | Wish::End => self.sum_of(Some(Fault::NowhereToSave), wish),
            };
            return crate::answer::at_once(session, &mut self.direct, sum, shape, out);
        }
        let id = self.snapshots.waiters_made;
        self.snapshots.waiters_made += 1;
        let (conn, ticket) = (session.conn, session.pipeline.wait());
        self.snapshots.waiters.push(Waiter { id, conn, ticket, shape, wish, is_begun: false });
        let follows = wish == Wish::Begun { follows: true };
        let want = Round::Want { waiter: Some(id), is_urgent: wish.is_urgent(), follows };
        self.say_round(LEADER, want, out);
    }

    fn sum_of(&self, fault: Option<Fault>, wish: Wish) -> Sum {
        let fold = match wish {
            Wish::Whole | Wish::End => Fold::Done,
            Wish::Begun { .. } => Fold::Word("Background saving started"),
            Wish::Rewrite => Fold::Word("Background append only file rewriting started"),
        };
        let mut sum = Sum::new(fold, 0, &self.config.limits);
        if let Some(fault) = fault {
            sum.add(Part::Refused(fault));
        }
        sum
    }

    /// Has a round begun when the log has grown enough.
    pub(crate) fn snapshot_if_grown(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let (after, snapshots) = (self.config.limits.snapshot_after, &mut self.snapshots);
        let is_due = after > 0 && snapshots.grown >= after.max(snapshots.bytes);
        let may = !self.is_draining && self.told + SAID_MAX <= FANOUT_MAX;
        if !is_due || snapshots.is_wanted || now.at < snapshots.not_before || !may {
            return;
        }
        snapshots.is_wanted = true;
        self.say_round(LEADER, Round::Want { waiter: None, is_urgent: false, follows: false }, out);
    }

    fn say_round(&mut self, to: CoreId, round: Round, out: &mut impl Outbox<Said = Said>) {
        // Also to itself: who asks is in the middle of something.
        self.told += 1;
        out.tell(to, Said::Round(round), None);
    }

    fn say_to_all(&mut self, round: Round, out: &mut impl Outbox<Said = Said>) {
        for core in self.seat.all_cores() {
            self.say_round(core, round, out);
        }
    }

    /// A core has something to say about a round.
    pub(crate) fn hear_round(
        &mut self,
        now: Now,
        from: CoreId,
        round: Round,
        out: &mut impl Outbox<Said = Said>,
    ) {
        match round {
            Round::Want { waiter, is_urgent, follows } => {
                let begun = match &self.snapshots.lead {
                    None => Begun::Now,
                    Some(_) if follows => Begun::Later,
                    Some(_) => Begun::Busy,
                };
                if let Some(waiter) = waiter {
                    self.say_round(from, Round::Heard { waiter, begun }, out);
                }
                match begun {
                    Begun::Now => self.begin_round(is_urgent, 0, now.at, now, out),
                    Begun::Later => self.snapshots.follows = true,
                    Begun::Busy => {}
                }
            }
            Round::Heard { waiter, begun } => self.wish_heard(waiter, begun, out),
            Round::Told { number } => {
                if let Some(lead) = self.snapshots.lead.as_mut().filter(|lead| lead.number == number) {
                    lead.untold -= 1;
                    if lead.untold == 0 {
                        self.say_to_all(Round::Keep { number }, out);
                    }
                }
            }
            Round::Keep { number } => {
                if let Some(share) = self.snapshots.share.as_mut().filter(|share| share.number == number)
                    && let Some(upto) = share.upto
                {
                    share.is_kept = true;
                    out.saved(upto);
                }
            }
            Round::Kept { number } => {
                if let Some(lead) = self.snapshots.lead.as_mut().filter(|lead| lead.number == number) {
                    lead.unkept -= 1;
                    if lead.unkept == 0 {
                        self.end_round(None, now, out);
                    }
                }
            }
            Round::Failed { number, fault } => self.round_failed(number, fault, now, out),
            Round::GiveUp { number } => {
                if self.snapshots.share.as_ref().is_some_and(|share| share.number == number) {
                    self.drop_share(out);
                }
            }
            Round::Over { fault, took_ms } => self.round_over(fault, took_ms, now, out),
        }
    }

    /// Core 0: the next round.
    fn begin_round(
        &mut self,
        is_urgent: bool,
        again: u32,
        begun: Instant,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.keep.point += 1;
        let (number, cores) = (self.keep.point, self.seat.cores);
        let (untold, unkept) = (cores, cores);
        let lead = Lead { number, is_urgent, begun, untold, unkept, again, is_pointed: false, failed: None };
        self.snapshots.lead = Some(lead);
        let stages = self.seat.all_cores().map(Stage::new).collect();
        let sum = Sum::new(Fold::Done, 0, &self.config.limits);
        let plan = Plan::Whole(Work::Point { number, is_urgent });
        self.begin_alone(Deal::new(plan, stages, sum, BGSAVE as u8), now, out);
    }

    /// Core 0: every core has set the moment, or could not.
    pub(crate) fn round_pointed(
        &mut self,
        number: u64,
        fault: Option<Fault>,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(lead) = self.snapshots.lead.as_mut().filter(|lead| lead.number == number) else { return };
        lead.is_pointed = true;
        let failed = fault.map(Some).or(lead.failed);
        if let Some(fault) = failed {
            self.round_failed(number, fault, now, out);
        }
    }

    /// Core 0: some core cannot.
    fn round_failed(
        &mut self,
        number: u64,
        fault: Option<Fault>,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(lead) = self.snapshots.lead.as_mut().filter(|lead| lead.number == number) else { return };
        if !lead.is_pointed {
            // Some core has yet to begin, and would not know that it is over.
            lead.failed.get_or_insert(fault);
            return;
        }
        let (is_urgent, again, begun) = (lead.is_urgent, lead.again + 1, lead.begun);
        self.say_to_all(Round::GiveUp { number }, out);
        match fault {
            None if again < AGAIN_MAX => self.begin_round(is_urgent, again, begun, now, out),
            None => self.end_round(Some(Fault::SaveOutrun), now, out),
            Some(fault) => self.end_round(Some(fault), now, out),
        }
    }

    /// Core 0: the round is over.
    fn end_round(&mut self, fault: Option<Fault>, now: Now, out: &mut impl Outbox<Said = Said>) {
        let Some(lead) = self.snapshots.lead.take() else { return };
        let took_ms = now.at.since(lead.begun).as_millis() as u64;
        self.say_to_all(Round::Over { fault, took_ms }, out);
        if core::mem::take(&mut self.snapshots.follows) {
            self.begin_round(false, 0, now.at, now, out);
        }
    }

    fn wish_heard(&mut self, id: u64, begun: Begun, out: &mut impl Outbox<Said = Said>) {
        let Some(index) = self.snapshots.waiters.iter().position(|waiter| waiter.id == id) else { return };
        let wish = self.snapshots.waiters[index].wish;
        let sum = match (wish, begun) {
            (Wish::Whole | Wish::End, Begun::Now) => {
                self.snapshots.waiters[index].is_begun = true;
                return;
            }
            // It wishes again when the one under way is over.
            (Wish::End, Begun::Busy | Begun::Later) => return,
            (Wish::Begun { .. } | Wish::Rewrite, Begun::Now) => self.sum_of(None, wish),
            (_, Begun::Later) => Sum::new(Fold::Word("Background saving scheduled"), 0, &self.config.limits),
            (_, Begun::Busy) => self.sum_of(Some(Fault::SaveUnderWay), wish),
        };
        let waiter = self.snapshots.waiters.remove(index);
        self.tell_waiter(waiter, sum, out);
    }

    fn tell_waiter(&mut self, waiter: Waiter, sum: Sum, out: &mut impl Outbox<Said = Said>) {
        let Some(mut session) = self.sessions.take(waiter.conn) else { return };
        let late = Late { ticket: waiter.ticket, shape: waiter.shape, answer: Answer::Gathered(sum) };
        if out.room(waiter.conn) > 0 && session.late.is_empty() {
            self.answer(&mut session, late, out);
        } else {
            session.late.push_back(late);
        }
        self.settle(session, out);
    }

    fn round_over(
        &mut self,
        fault: Option<Fault>,
        took_ms: u64,
        now: Now,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let snapshots = &mut self.snapshots;
        (snapshots.is_wanted, snapshots.begun) = (false, None);
        (snapshots.fault, snapshots.took_ms) = (fault, took_ms);
        match fault {
            None => {
                snapshots.rounds += 1;
                snapshots.second = now.wall.millis() / 1000;
            }
            Some(_) => snapshots.not_before = now.at + FAILED_FOR,
        }
        for waiter in core::mem::take(&mut self.snapshots.waiters) {
            match (waiter.wish, waiter.is_begun) {
                (Wish::End, false) => {
                    let want = Round::Want { waiter: Some(waiter.id), is_urgent: true, follows: false };
                    self.say_round(LEADER, want, out);
                    self.snapshots.waiters.push(waiter);
                }
                (_, false) => self.snapshots.waiters.push(waiter),
                (Wish::End, true) if fault.is_none() => {
                    if let Some(mut session) = self.sessions.take(waiter.conn) {
                        self.end_for(&mut session, waiter.ticket);
                        self.settle(session, out);
                    }
                }
                (wish, true) => {
                    let sum = self.sum_of(fault, wish);
                    self.tell_waiter(waiter, sum, out);
                }
            }
        }
    }
}
