//! What this core owns, and how an act changes it. Pure: told the time, it answers with a value.
//!
//! Every act on a key comes through [`Store::execute`], from a connection here or from another core alike, so what
//! a command means is said once. The one hard thing is to answer without copying: a reply borrows from the table,
//! or from `taken` where the value has left it.

mod change;
mod life;
mod room;
mod walk;

pub use room::{EVICTIONS_MAX, SAMPLES};

use crate::act::{Act, Aspect, Kind, Life, Op, Payload, Set, SetAnswer, SetWhen};
use crate::keep::effect::Entries;
use crate::keep::recorded::Recorded;
use crate::keep::walk::Walk;
use crate::refusal::Fault;
use crate::reply::Reply;
use core::time::Duration;
use machine::{Blob, Stream, WallTime};
use state::table::{Aim, Warming};
use state::{Entry, Expiry, Slot, Table, Value, View};
use wire::resp::integer;

/// Entries looked at in one sweep for expired ones: some tens of microseconds.
const SWEEP_ENTRIES: usize = 1024;

/// Segments of at most 64 entries freed in one sweep after a flush.
const SWEEP_SEGMENTS: usize = 64;

/// Bytes of the longest string that Redis keeps beside its header.
const EMBEDDED_MAX: usize = 44;

/// Integers from 0 on that Redis keeps once for all.
const SHARED_INTEGERS: i64 = 10_000;

/// The table of a core, with what is counted there.
#[derive(Debug)]
pub struct Store {
    table: Recorded,
    value_max: usize,
    bound: room::Bound,
    /// A value that has left the table and is told.
    taken: Vec<u8>,
    /// Whether a flush left memory to be freed.
    buried: bool,
    /// Look-ups that found something, and that did not.
    pub hits: u64,
    /// Look-ups that found nothing.
    pub misses: u64,
    /// Entries whose time had come, since the start or the last reset.
    expired_before: u64,
}

impl Store {
    /// An empty store whose look-ups are keyed from `keys`, with values of at most `value_max` bytes.
    #[must_use]
    pub fn new(keys: &mut Stream, value_max: usize) -> Self {
        Self {
            table: Recorded::new(Table::new(keys)),
            value_max,
            bound: room::Bound::new(keys.clone()),
            taken: Vec::new(),
            buried: false,
            hits: 0,
            misses: 0,
            expired_before: 0,
        }
    }

    /// Does it.
    #[inline]
    pub fn execute(&mut self, slot: Slot, op: Op<'_>, now: WallTime) -> Reply<'_> {
        if !self.lets_in(slot, &op, now) {
            return Reply::Refused(Fault::OutOfMemory);
        }
        self.perform(slot, op, now)
    }

    /// Does it, there being room: by [`lets_all_in`](Self::lets_all_in), or because room was reserved.
    #[inline]
    pub fn perform(&mut self, slot: Slot, op: Op<'_>, now: WallTime) -> Reply<'_> {
        match op.act {
            Act::Get => self.get(slot, op.key, now),
            Act::Set(set) => self.set(slot, op.key, op.payload, set, now),
            Act::GetDel => self.get_del(slot, op.key, now),
            Act::GetEx(lease) => self.get_ex(slot, op.key, lease, now),
            Act::GetRange { start, end } => self.get_range(slot, op.key, start, end, now),
            Act::SetRange(offset) => self.set_range(slot, op.key, offset, op.payload.bytes(), now),
            Act::Append => self.append(slot, op.key, op.payload, now),
            Act::StrLen => {
                Reply::Integer(self.read(slot, op.key, now).map_or(0, |view| view.as_bytes().len() as i64))
            }
            Act::Add(number) => self.add(slot, op.key, number, now),
            Act::AddFloat(number) => self.add_float(slot, op.key, number, now),
            Act::Del => Reply::Integer(i64::from(self.table.remove(slot, op.key, now))),
            Act::Exists => {
                let is_there = self.table.peek(slot, op.key, now).is_some();
                self.count(is_there);
                Reply::Integer(i64::from(is_there))
            }
            Act::Touch => Reply::Integer(i64::from(self.read(slot, op.key, now).is_some())),
            Act::Type => Reply::Kind(match self.table.peek(slot, op.key, now).map(|entry| entry.value) {
                Some(View::Bytes(_) | View::Blob(_)) => Kind::String,
                None => Kind::None,
            }),
            Act::Object(aspect) => self.object(slot, op.key, aspect, now),
            Act::Expire { at_ms, when } => self.expire(slot, op.key, at_ms, when, now),
            Act::Ttl(unit) => self.ttl(slot, op.key, unit, now),
            Act::ExpireTime(unit) => self.expire_time(slot, op.key, unit, now),
            Act::Persist => self.persist(slot, op.key, now),
        }
    }

    /// Where the entry of a key is, for what follows.
    #[inline]
    #[must_use]
    pub fn aim(&self, slot: Slot, key: &[u8]) -> Aim {
        self.table.aim(slot, key)
    }

    /// Brings near what the entries of these keys touch, as far as is due while more come.
    #[inline]
    pub fn warm_along(&self, aims: &[Aim], warming: &mut Warming) {
        self.table.warm_along(aims, warming);
    }

    /// The rest of it.
    #[inline]
    pub fn warm_rest(&self, aims: &[Aim], warming: Warming) {
        self.table.warm_rest(aims, warming);
    }

    /// GET of a key that was aimed at.
    #[inline]
    pub fn get_at(&mut self, aim: Aim, key: &[u8], now: WallTime) -> Reply<'_> {
        match self.table.value_at(aim, key, now) {
            Some(value) => {
                self.hits += 1;
                match value {
                    View::Bytes(bytes) => Reply::Bulk(bytes),
                    View::Blob(blob) => Reply::Blob(blob.clone()),
                }
            }
            None => {
                self.misses += 1;
                Reply::Nil
            }
        }
    }

    /// SET, without options, of a key that was aimed at.
    #[inline]
    pub fn set_at(&mut self, aim: Aim, key: &[u8], value: &[u8], now: WallTime) -> Reply<'_> {
        let op = Op { key, payload: Payload::Bytes(value), act: Act::Set(Set::default()) };
        if !self.lets_in(aim.slot(), &op, now) {
            return Reply::Refused(Fault::OutOfMemory);
        }
        self.table.set_at(aim, key, Value::Bytes(value), Expiry::Never, now);
        Reply::Ok
    }

    /// Whether there is such a key.
    #[must_use]
    pub fn is_there(&self, slot: Slot, key: &[u8], now: WallTime) -> bool {
        self.table.peek(slot, key, now).is_some()
    }

    /// What is at a key, which is not thereby used.
    #[must_use]
    pub fn peek(&self, slot: Slot, key: &[u8], now: WallTime) -> Option<Entry<'_>> {
        self.table.peek(slot, key, now)
    }

    /// Whether there is room for what an act would store.
    pub fn lets_in(&mut self, slot: Slot, op: &Op<'_>, now: WallTime) -> bool {
        self.has_room(op) || self.make_room(slot, op, now)
    }

    /// Stores a value that was elsewhere until now.
    pub fn put(&mut self, slot: Slot, key: &[u8], value: Value<'_>, expiry: Expiry, now: WallTime) {
        self.table.set(slot, key, value, expiry, now);
    }

    /// From now on every change is recorded.
    pub(crate) fn record(&mut self) {
        self.table.record();
    }

    /// Begins to tell the table as it is now.
    pub(crate) fn begin_walk(&mut self, walk: Walk) {
        self.table.begin_walk(walk);
    }

    /// What is told of it.
    #[inline]
    pub(crate) fn walk(&mut self) -> Option<&mut Walk> {
        self.table.walk()
    }

    /// Goes on with that.
    pub(crate) fn walk_on(&mut self, entries_max: usize, bytes_max: usize) {
        self.table.walk_on(entries_max, bytes_max);
    }

    pub(crate) fn end_walk(&mut self) {
        self.table.end_walk();
    }

    /// Changes ever made.
    pub(crate) fn changes(&self) -> u64 {
        self.table.changes
    }

    /// What was recorded since it was last cleared.
    #[inline]
    pub(crate) fn effects(&self) -> &Entries {
        &self.table.entries
    }

    pub(crate) fn effects_mut(&mut self) -> &mut Entries {
        &mut self.table.entries
    }

    /// The table, with which what is done is not recorded.
    pub(crate) fn unrecorded(&mut self) -> &mut Table {
        self.table.unrecorded()
    }

    /// Removes all entries; their memory is given back sweep by sweep.
    pub fn flush(&mut self) {
        self.table.clear();
        self.buried = true;
    }

    /// Removes some of what has expired and frees some of what was flushed.
    pub fn sweep(&mut self, now: WallTime) {
        self.table.expire_some(now, SWEEP_ENTRIES, |_, _| {});
        if self.buried {
            self.buried = self.table.free_some(SWEEP_SEGMENTS);
        }
    }

    /// Whether there is anything for a sweep to do, now or later.
    #[must_use]
    pub fn wants_sweep(&self) -> bool {
        self.buried || self.table.expiring() > 0
    }

    /// How long until the next sweep has something to do; nothing when that is now.
    #[must_use]
    pub fn due_in(&self, now: WallTime) -> Duration {
        match self.table.next_expiry() {
            Some(at) if !self.buried => Duration::from_micros(at.micros().saturating_sub(now.micros())),
            Some(_) | None => Duration::ZERO,
        }
    }

    /// Keys, those that have expired and were not swept yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Keys that will expire.
    #[must_use]
    pub fn expiring(&self) -> usize {
        self.table.expiring()
    }

    /// Bytes that all entries are taken to cost.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.table.bytes()
    }

    /// Entries whose time had come.
    #[must_use]
    pub fn expired(&self) -> u64 {
        self.table.expired() - self.expired_before
    }

    /// Counts from zero again.
    pub fn reset_counts(&mut self) {
        (self.hits, self.misses) = (0, 0);
        self.expired_before = self.table.expired();
        self.reset_evicted();
    }

    /// Looks up a value and counts whether it was there.
    #[inline]
    fn read(&mut self, slot: Slot, key: &[u8], now: WallTime) -> Option<View<'_>> {
        match self.table.get(slot, key, now) {
            Some(entry) => {
                self.hits += 1;
                Some(entry.value)
            }
            None => {
                self.misses += 1;
                None
            }
        }
    }

    #[inline]
    fn get(&mut self, slot: Slot, key: &[u8], now: WallTime) -> Reply<'_> {
        match self.read(slot, key, now) {
            Some(View::Bytes(bytes)) => Reply::Bulk(bytes),
            Some(View::Blob(blob)) => Reply::Blob(blob.clone()),
            None => Reply::Nil,
        }
    }

    fn count(&mut self, is_there: bool) {
        self.hits += u64::from(is_there);
        self.misses += u64::from(!is_there);
    }

    /// What is known of a key, which is not thereby used.
    fn object(&self, slot: Slot, key: &[u8], aspect: Aspect, now: WallTime) -> Reply<'_> {
        let Some(entry) = self.table.peek(slot, key, now) else { return Reply::Nil };
        let number = integer(entry.as_bytes());
        match aspect {
            Aspect::Encoding if number.is_some() => Reply::Bulk(b"int"),
            Aspect::Encoding if entry.as_bytes().len() <= EMBEDDED_MAX => Reply::Bulk(b"embstr"),
            Aspect::Encoding => Reply::Bulk(b"raw"),
            Aspect::Frequency => Reply::Refused(Fault::NoFrequency),
            Aspect::IdleTime => {
                let second = (now.micros() / 1_000_000) as u32;
                Reply::Integer(i64::from(second.wrapping_sub(entry.used_second)))
            }
            Aspect::Cost => Reply::Integer(entry.cost() as i64),
            // Redis keeps the small integers once for all.
            Aspect::References => {
                let is_shared = number.is_some_and(|number| (0..SHARED_INTEGERS).contains(&number));
                Reply::Integer(if is_shared { i64::from(i32::MAX) } else { 1 })
            }
        }
    }

    /// What GET gives, in a form that outlives the entry: bytes are put aside in `taken`.
    fn take_aside(&mut self, slot: Slot, key: &[u8], now: WallTime) -> Aside {
        let mut taken = core::mem::take(&mut self.taken);
        let aside = match self.read(slot, key, now) {
            Some(View::Bytes(bytes)) => {
                taken.clear();
                taken.extend_from_slice(bytes);
                Aside::Taken
            }
            Some(View::Blob(blob)) => Aside::Blob(blob.clone()),
            None => Aside::Nothing,
        };
        self.taken = taken;
        aside
    }

    fn tell_aside(&self, aside: Aside) -> Reply<'_> {
        match aside {
            Aside::Taken => Reply::Bulk(&self.taken),
            Aside::Blob(blob) => Reply::Blob(blob),
            Aside::Nothing => Reply::Nil,
        }
    }

    fn get_del(&mut self, slot: Slot, key: &[u8], now: WallTime) -> Reply<'_> {
        let aside = self.take_aside(slot, key, now);
        self.table.remove(slot, key, now);
        self.tell_aside(aside)
    }

    #[inline]
    fn set(&mut self, slot: Slot, key: &[u8], payload: Payload<'_>, set: Set, now: WallTime) -> Reply<'_> {
        if set == Set::default() {
            self.table.set(slot, key, payload.into(), Expiry::Never, now);
            return Reply::Ok;
        }
        self.set_by_rule(slot, key, payload, set, now)
    }

    fn set_by_rule(
        &mut self,
        slot: Slot,
        key: &[u8],
        payload: Payload<'_>,
        set: Set,
        now: WallTime,
    ) -> Reply<'_> {
        let before = match set.answer {
            SetAnswer::Before => self.take_aside(slot, key, now),
            SetAnswer::Done | SetAnswer::Count => Aside::Nothing,
        };
        let stores = match set.when {
            SetWhen::Always => true,
            SetWhen::Absent => self.table.peek(slot, key, now).is_none(),
            SetWhen::Present => self.table.peek(slot, key, now).is_some(),
        };
        if stores {
            let expiry = match set.life {
                Life::Ever => Expiry::Never,
                Life::Kept => Expiry::Keep,
                Life::Until(at_ms) => Expiry::At(wall(at_ms)),
            };
            self.table.set(slot, key, payload.into(), expiry, now);
        }
        match set.answer {
            SetAnswer::Before => self.tell_aside(before),
            SetAnswer::Count => Reply::Integer(i64::from(stores)),
            SetAnswer::Done if stores => Reply::Ok,
            SetAnswer::Done => Reply::Nil,
        }
    }
}

/// A value on its way out of the table.
enum Aside {
    Taken,
    Blob(Blob),
    Nothing,
}

/// The latest end of a key, in milliseconds: past it microseconds have no number, and the last one means never.
const END_MAX_MS: u64 = u64::MAX / 1000 - 1;

/// A wall time of so many milliseconds; one before 1970 is long past all the same.
fn wall(at_ms: i64) -> WallTime {
    WallTime::from_millis(u64::try_from(at_ms).unwrap_or(0).min(END_MAX_MS))
}

#[cfg(test)]
mod tests;
