//! When keys end: what EXPIRE and its like set, and what TTL and its like tell.

use super::{Aside, Store, wall};
use crate::act::{ExpireWhen, Lease, Unit};
use crate::reply::Reply;
use machine::WallTime;
use state::Slot;

/// What is told of a key that never expires.
const NEVER: i64 = -1;
/// What is told of no key.
const NO_KEY: i64 = -2;

impl Store {
    pub(super) fn get_ex(&mut self, slot: Slot, key: &[u8], lease: Lease, now: WallTime) -> Reply<'_> {
        if lease == Lease::Same {
            return self.get(slot, key, now);
        }
        let aside = self.take_aside(slot, key, now);
        if let Aside::Nothing = aside {
            return Reply::Nil;
        }
        match lease {
            Lease::Same => {}
            Lease::Refused(fault) => return Reply::Refused(fault),
            Lease::Ever => {
                self.table.expire_at(slot, key, None, now);
            }
            Lease::Until(at_ms) => self.end_at(slot, key, wall(at_ms), now),
        }
        self.tell_aside(aside)
    }

    pub(super) fn expire(
        &mut self,
        slot: Slot,
        key: &[u8],
        at_ms: i64,
        when: ExpireWhen,
        now: WallTime,
    ) -> Reply<'_> {
        let Some(entry) = self.table.peek(slot, key, now) else { return Reply::Integer(0) };
        let before = entry.expiry;
        let at = wall(at_ms);
        let refused = (when.absent && before.is_some())
            || (when.present && before.is_none())
            || (when.longer && before.is_none_or(|before| at <= before))
            || (when.shorter && before.is_some_and(|before| at >= before));
        if refused {
            return Reply::Integer(0);
        }
        self.end_at(slot, key, at, now);
        Reply::Integer(1)
    }

    pub(super) fn ttl(&mut self, slot: Slot, key: &[u8], unit: Unit, now: WallTime) -> Reply<'_> {
        Reply::Integer(match self.table.peek(slot, key, now).map(|entry| entry.expiry) {
            None => NO_KEY,
            Some(None) => NEVER,
            Some(Some(at)) => told_in(unit, at.millis().saturating_sub(now.millis())),
        })
    }

    pub(super) fn expire_time(&mut self, slot: Slot, key: &[u8], unit: Unit, now: WallTime) -> Reply<'_> {
        Reply::Integer(match self.table.peek(slot, key, now).map(|entry| entry.expiry) {
            None => NO_KEY,
            Some(None) => NEVER,
            Some(Some(at)) => told_in(unit, at.millis()),
        })
    }

    pub(super) fn persist(&mut self, slot: Slot, key: &[u8], now: WallTime) -> Reply<'_> {
        let expires = self.table.peek(slot, key, now).is_some_and(|entry| entry.expiry.is_some());
        if expires {
            self.table.expire_at(slot, key, None, now);
        }
        Reply::Integer(i64::from(expires))
    }

    /// A key that is there ends then; at once, when that is past.
    fn end_at(&mut self, slot: Slot, key: &[u8], at: WallTime, now: WallTime) {
        if at <= now {
            self.table.remove(slot, key, now);
        } else {
            self.table.expire_at(slot, key, Some(at), now);
        }
    }
}

/// Seconds are rounded to the nearest, as Redis does.
fn told_in(unit: Unit, millis: u64) -> i64 {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    match unit {
        Unit::Seconds => millis.saturating_add(500) / 1000,
        Unit::Millis => millis,
    }
}
