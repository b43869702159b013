//! One core's part in a round of snapshots: its moment, its walk over the table in small steps, and what the disk says
//! of what was saved.

use super::{LEADER, Round, SAID_MAX, Share, WALK};
use crate::keep::walk::Walk;
use crate::peer::Said;
use crate::refusal::Fault;
use crate::shard::Dht;
use core::time::Duration;
use machine::{FANOUT_MAX, Instant, Now, Outbox, Stored};
use state::Slot;

/// Entries and bytes of a step: some ten microseconds, so that who waits behind it hardly knows.
const STEP_ENTRIES: usize = 128;
const STEP_BYTES: usize = 32 * 1024;
/// Between two steps, so that nearly all of a core's time is its clients': some 500,000 keys a second.
const STEP_EVERY: Duration = Duration::from_micros(250);
/// When the disk has enough to do: when to look again.
const ROOM_EVERY: Duration = Duration::from_millis(1);

impl Dht {
    /// The moment of a snapshot is now.
    pub(crate) fn point(&mut self, number: u64, is_urgent: bool) {
        let slots: Vec<_> = Slot::all().filter(|slot| self.mine.contains(*slot)).collect();
        let changes = self.store.changes();
        self.store.begin_walk(Walk::new(number, slots.into_iter()));
        self.store.effects_mut().point(number, self.seat.core);
        self.snapshots.share = Some(Share {
            number,
            is_urgent,
            is_new: true,
            upto: None,
            is_safe: false,
            is_told: false,
            is_kept: false,
            bytes: 0,
            changes,
        });
    }

    /// At the end of an event: what became of this core's part of a round is seen to.
    #[inline]
    pub(crate) fn snapshot_up(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        if self.snapshots.share.is_none() {
            return;
        }
        if self.told + SAID_MAX > FANOUT_MAX {
            // What came in this event has used up what one may tell.
            return self.walk_later(now.at, out);
        }
        self.see_to_share(now, out);
    }

    fn see_to_share(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let Some(share) = &mut self.snapshots.share else { return };
        let number = share.number;
        if core::mem::take(&mut share.is_new) {
            // Whatever an earlier round has left there.
            out.unsave();
            self.snapshots.begun.get_or_insert(now.at);
            (self.snapshots.keys, self.snapshots.ahead, self.snapshots.taken) = (0, 0, 0);
            self.walk_later(now.at, out);
        }
        let is_lost = core::mem::take(&mut self.snapshots.is_point_lost);
        if is_lost || self.store.walk().is_some_and(|walk| walk.is_spoiled) {
            let fault = is_lost.then(|| self.keep.refuses().unwrap_or(Fault::DiskFull));
            self.drop_share(out);
            return self.say_round(LEADER, Round::Failed { number, fault }, out);
        }
        if self.store.walk().is_some_and(|walk| walk.told.bytes().len() >= STEP_BYTES || walk.is_over()) {
            self.save_told(out);
        }
        if let Some(share) = &mut self.snapshots.share
            && share.is_safe
            && !share.is_told
            && self.store.walk().is_none()
        {
            share.is_told = true;
            self.say_round(LEADER, Round::Told { number }, out);
        }
    }

    /// What was told so far is saved; the walk ends with the last of it.
    fn save_told(&mut self, out: &mut impl Outbox<Said = Said>) {
        let Some(walk) = self.store.walk() else { return };
        let (keys, ahead, taken) = (walk.keys, walk.changed, walk.bytes());
        let is_over = walk.is_over();
        if !walk.told.is_empty() {
            out.save(walk.told.bytes());
            if let Some(share) = &mut self.snapshots.share {
                share.bytes += walk.told.bytes().len() as u64;
            }
            walk.told.clear();
        }
        let snapshots = &mut self.snapshots;
        (snapshots.keys, snapshots.ahead) = (keys, ahead);
        snapshots.taken = snapshots.taken.max(taken as u64);
        if is_over {
            self.store.end_walk();
        }
    }

    fn walk_later(&mut self, at: Instant, out: &mut impl Outbox<Said = Said>) {
        if !core::mem::replace(&mut self.snapshots.is_waking, true) {
            out.wake(WALK, Some(at));
        }
    }

    /// The timer: a step.
    pub(crate) fn walk_timer(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        self.snapshots.is_waking = false;
        let Some(share) = &self.snapshots.share else { return };
        let is_urgent = share.is_urgent;
        if self.store.walk().is_none() {
            return;
        }
        if out.save_room() == 0 {
            return self.walk_later(now.at + ROOM_EVERY, out);
        }
        self.store.walk_on(STEP_ENTRIES, STEP_BYTES);
        self.save_told(out);
        let pause = if is_urgent { Duration::ZERO } else { STEP_EVERY };
        self.walk_later(now.at + pause, out);
    }

    /// What this core has of the round at hand is forgotten, unless it is on its way to be whole.
    pub(super) fn drop_share(&mut self, out: &mut impl Outbox<Said = Said>) {
        self.store.end_walk();
        if self.snapshots.share.take().is_some_and(|share| !share.is_kept) {
            out.unsave();
        }
    }

    /// What the disk has to say concerns this core's part of a round.
    pub(crate) fn snapshot_stored(&mut self, what: Stored, out: &mut impl Outbox<Said = Said>) {
        let Some(share) = &mut self.snapshots.share else {
            if what == Stored::Unsaved {
                out.unsave();
            }
            return;
        };
        let number = share.number;
        match what {
            Stored::Logged(safe) => share.is_safe |= share.upto.is_some_and(|upto| upto <= safe),
            Stored::Saved(upto) if share.is_kept && share.upto == Some(upto) => {
                let (bytes, changes) = (share.bytes, share.changes);
                let snapshots = &mut self.snapshots;
                (snapshots.bytes, snapshots.changes, snapshots.grown) =
                    (bytes, changes, snapshots.grown_since);
                snapshots.share = None;
                self.say_round(LEADER, Round::Kept { number }, out);
            }
            // One of a round that was given up elsewhere.
            Stored::Saved(_) | Stored::Full => {}
            Stored::Unsaved | Stored::Failed => {
                self.store.end_walk();
                self.snapshots.share = None;
                out.unsave();
                let fault = match what {
                    Stored::Failed => Fault::DiskFailed,
                    _ => Fault::NoRoomToSave,
                };
                self.say_round(LEADER, Round::Failed { number, fault: Some(fault) }, out);
            }
        }
    }
}
