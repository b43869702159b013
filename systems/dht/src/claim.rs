//! A core's part of what several cores do together: it keeps keys, does the work on them, and lets go of them.

use crate::act::{Act, Op, Payload, Set};
use crate::glob;
use crate::locks::{Claim, Parked, Ready};
use crate::peer::{Asker, Fact, Item, Page, Part, Said, Work};
use crate::refusal::Fault;
use crate::reply::Reply;
use crate::shard::Dht;
use machine::id::Key;
use machine::{Blob, CoreId, FANOUT_MAX, Now, Outbox, TimerId, WallTime};
use state::{Expiry, Slot, Value, View};

/// Fires when there are acts and claims to go on with, for which an event had no room.
pub(crate) const READY: TimerId = TimerId(3);
/// Long values that one part brings as blobs; more are copied into the part. A blob is a message of its own.
pub(crate) const BLOBS_MAX: usize = 64;
/// Acts and claims of a core that may wait or be kept; one more is refused. A claim costs some hundred bytes.
const WAITING_MAX: usize = 65_536;
/// Bytes of keys in a page of SCAN, over which it ends early.
const PAGE_BYTES_MAX: usize = 1024 * 1024;

/// What work came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) part: Part,
    /// Long values of the part, by the places of their keys.
    pub(crate) blobs: Vec<(u32, Blob)>,
}

impl From<Part> for Done {
    fn from(part: Part) -> Self {
        Self { part, blobs: Vec::new() }
    }
}

impl Dht {
    /// Whether nothing more may wait here.
    pub(crate) fn is_crowded(&self) -> bool {
        self.locks.len() >= WAITING_MAX
    }

    /// Has an act on one key wait for the key.
    #[cold]
    pub(crate) fn park(&mut self, from: CoreId, asker: Asker, slot: Slot, op: Op<'_>) {
        let (payload, blob) = match op.payload {
            Payload::Bytes(bytes) => (bytes.into(), None),
            Payload::Blob(blob) => (Default::default(), Some(blob)),
        };
        let (slot, act, key) = (slot.number(), op.act, op.key.into());
        self.locks.park(Parked { from, asker, slot, act, key, payload, blob });
    }

    /// Takes a claim in; what its work came to, if it is granted at once.
    pub(crate) fn claim(&mut self, claim: Claim, now: Now) -> Option<Done> {
        if self.is_crowded() {
            return Some(Part::Refused(Fault::Crowded).into());
        }
        let (key, is_granted) = self.locks.claim(claim);
        if is_granted { self.granted(key, now).map(|(_, done)| done) } else { None }
    }

    /// Does the work that a claim was made for.
    fn granted(&mut self, key: Key, now: Now) -> Option<((CoreId, u64), Done)> {
        let Claim { from, deal, stays, stores, command, work, items, .. } = self.locks.granted(key)?;
        self.slowness.part(command, from, &items);
        let room = if stores { self.store.reserve(sizes(&items), now.wall) } else { Some(0) };
        let done = match room {
            // Nothing stays for such a claim, so it is told as one that was refused before it was made.
            Some(_) if !stays && work.writes() && self.keep.refuses().is_some() => {
                Part::Refused(self.keep.refuses().unwrap_or(Fault::DiskFull)).into()
            }
            None => Part::Refused(Fault::OutOfMemory).into(),
            Some(bytes) if stays => {
                self.locks.reserve(key, bytes);
                self.locks.keys(key).iter().for_each(|key| self.store.keep(key));
                self.work(work, &items, None, now.wall)
            }
            Some(bytes) => {
                self.store.let_in(bytes);
                self.work(work, &items, None, now.wall)
            }
        };
        match stays {
            // It is told that it was refused, and that it is not held.
            true if room.is_some() => {}
            true | false => self.locks.release(key),
        }
        Some(((from, deal), done))
    }

    /// Does the last of a deal here, and lets go of its keys.
    pub(crate) fn finish(
        &mut self,
        from: CoreId,
        deal: u64,
        fact: Option<Fact>,
        work: Work,
        items: &[Item],
        blob: Option<Blob>,
        now: WallTime,
    ) -> Done {
        let claim = self.locks.stayed(from, deal);
        if let Some(claim) = claim {
            self.store.let_in(self.locks.take_reserved(claim));
        }
        let done = match self.keep.refuses().filter(|_| work.writes()) {
            // The deal was begun before; without this part it is none, and what it changed is dropped at a start.
            Some(fault) => Part::Refused(fault).into(),
            None => self.as_part(fact, from, deal, |this| this.work(work, items, blob, now)),
        };
        if fact.is_some_and(|fact| fact.stays) {
            return done;
        }
        if let Some(claim) = claim {
            self.locks.keys(claim).iter().for_each(|key| self.store.let_go(key));
            self.locks.release(claim);
        }
        done
    }

    /// Tells another core what its work came to, when it may be told.
    pub(crate) fn tell_done(
        &mut self,
        to: CoreId,
        deal: u64,
        done: Done,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if let Some(done) = self.hold_done(to, deal, done) {
            self.say_done(to, deal, done, out);
        }
    }

    /// Tells it now.
    pub(crate) fn say_done(&mut self, to: CoreId, deal: u64, done: Done, out: &mut impl Outbox<Said = Said>) {
        let Done { part, blobs } = done;
        for (index, blob) in blobs {
            self.told += 1;
            out.tell(to, Said::Value { deal, index }, Some(blob));
        }
        self.told += 1;
        out.tell(to, Said::Came { deal, part }, None);
    }

    /// Goes on with those who have come through, as many as an event may.
    pub(crate) fn serve_ready(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let most = BLOBS_MAX + 2 + usize::from(self.seat.cores);
        while self.told + most <= FANOUT_MAX {
            match self.locks.next_ready() {
                None => return,
                Some(Ready::One(parked)) => self.serve(parked, now, out),
                Some(Ready::Granted(key)) => {
                    let Some(((from, deal), done)) = self.granted(key, now) else { continue };
                    if from == self.seat.core {
                        if let Some(done) = self.hold_done(from, deal, done) {
                            self.came(Key::from_bits(deal), done, now, out);
                        }
                    } else {
                        self.tell_done(from, deal, done, out);
                    }
                }
            }
        }
        if self.locks.has_ready() {
            out.wake(READY, Some(now.at));
        }
    }

    fn serve(&mut self, parked: Parked, now: Now, out: &mut impl Outbox<Said = Said>) {
        let Parked { from, asker, slot, act, key, payload, blob } = parked;
        let payload = blob.map_or(Payload::Bytes(&payload), Payload::Blob);
        let slot = Slot::new(slot).unwrap_or_else(|| Slot::of(&key));
        let (told, blob) = self.execute(slot, Op { key: &key, payload, act }, now.wall);
        let Some((told, blob)) = self.hold_one(from, asker, act.writes(), told, blob) else { return };
        if from == self.seat.core {
            self.hear(asker, told.reply(blob), out);
        } else {
            self.told += 1;
            out.tell(from, Said::Answer { asker, told }, blob);
        }
    }

    fn work(&mut self, work: Work, items: &[Item], blob: Option<Blob>, now: WallTime) -> Done {
        match work {
            Work::Nothing => Part::Done.into(),
            Work::Act(act) => self.act_on_all(act, items, now),
            Work::Look => self.look(items, now),
            Work::Put { until, copies } => {
                if let [first, rest @ ..] = items {
                    let payload = blob.clone().map_or(Payload::Bytes(&first.payload), Payload::Blob);
                    let op = Op { key: &first.key, payload, act: Act::Set(Set::default()) };
                    if copies && !self.store.lets_in(slot_of(first), &op, now) {
                        return Part::Refused(Fault::OutOfMemory).into();
                    }
                    let value = blob.map_or(Value::Bytes(&first.payload), Value::Blob);
                    let expiry =
                        until.map_or(Expiry::Never, |until| Expiry::At(WallTime::from_micros(until)));
                    self.store.put(slot_of(first), &first.key, value, expiry, now);
                    self.act_on_all(Act::Del, rest, now);
                }
                Part::Done.into()
            }
            Work::Flush => {
                self.store.flush();
                Part::Done.into()
            }
            Work::Point { number, is_urgent } => {
                self.point(number, is_urgent);
                Part::Done.into()
            }
            Work::Size => Part::Count(self.store.len() as i64).into(),
            Work::SlotSize(slot) => {
                Part::Count(Slot::new(slot).map_or(0, |slot| self.store.slot_len(slot) as i64)).into()
            }
            Work::SlotKeys { slot, count } => {
                let keys = |slot| self.store.slot_keys(slot, count as usize, now);
                Part::Keys(Slot::new(slot).map_or_else(Vec::new, keys)).into()
            }
            Work::Keys(pattern) => self.keys(&pattern, now),
            Work::Scan(page) => self.page(&page, now),
            Work::Sample => {
                let key = self.store.sample(&mut self.samples, now);
                Part::Sample(key, self.store.len() as u64, self.samples.next_u64()).into()
            }
        }
    }

    /// The same act on each key, in their order.
    fn act_on_all(&mut self, act: Act, items: &[Item], now: WallTime) -> Done {
        let (mut count, mut bytes, mut values, mut blobs) = (0, 0, Vec::new(), Vec::new());
        let mut refused = None;
        for item in items {
            let op = Op { key: &item.key, payload: Payload::Bytes(&item.payload), act };
            // There is room: it was reserved.
            match self.store.perform(slot_of(item), op, now) {
                Reply::Integer(number) => count += number,
                Reply::Refused(fault) => refused = Some(fault),
                Reply::Bulk(value) => {
                    bytes += value.len();
                    values.push((item.index, value.to_vec()));
                }
                Reply::Blob(value) if blobs.len() < BLOBS_MAX => {
                    bytes += value.len();
                    blobs.push((item.index, value));
                }
                Reply::Blob(value) => {
                    bytes += value.len();
                    values.push((item.index, value.to_vec()));
                }
                Reply::Ok | Reply::Nil | Reply::Kind(_) => {}
            }
            if bytes > self.config.limits.answer_max {
                return Part::Refused(Fault::AnswerTooLong).into();
            }
        }
        let part = match (refused, act) {
            (Some(fault), _) => Part::Refused(fault),
            (None, Act::Get) => Part::Values(values),
            (None, Act::Set(_)) => Part::Done,
            (None, _) => Part::Count(count),
        };
        Done { part, blobs }
    }

    /// Tells the value of the key at place 0, with its life, and whether there is one at place 1.
    fn look(&mut self, items: &[Item], now: WallTime) -> Done {
        let (mut first, mut value, mut until, mut second) = (false, Vec::new(), None, false);
        let mut blobs = Vec::new();
        for item in items {
            let Some(entry) = self.store.peek(slot_of(item), &item.key, now) else { continue };
            if item.index > 0 {
                second = true;
                continue;
            }
            first = true;
            until = entry.expiry.map(WallTime::micros);
            match entry.value {
                View::Bytes(bytes) => value = bytes.to_vec(),
                View::Blob(blob) => blobs.push((0, blob.clone())),
            }
        }
        Done { part: Part::Seen { first, value, until, second }, blobs }
    }

    fn keys(&mut self, pattern: &[u8], now: WallTime) -> Done {
        let (mut keys, mut bytes) = (Vec::new(), 0);
        let bytes_max = self.config.limits.answer_max;
        self.store.page(Slot::default(), 0, u64::MAX, now, |key| {
            if bytes <= bytes_max && glob::matches(pattern, key) {
                bytes += key.len();
                keys.push(key.to_vec());
            }
            bytes <= bytes_max
        });
        if bytes > bytes_max { Part::Refused(Fault::AnswerTooLong).into() } else { Part::Keys(keys).into() }
    }

    fn page(&mut self, page: &Page, now: WallTime) -> Done {
        let Some(slot) = Slot::new(page.slot) else { return Part::Page(Vec::new(), None).into() };
        let (mut keys, mut bytes) = (Vec::new(), 0);
        let next = self.store.page(slot, page.cursor, page.count, now, |key| {
            let is_wanted = page.pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, key));
            if is_wanted && !page.none {
                bytes += key.len();
                keys.push(key.to_vec());
            }
            bytes <= PAGE_BYTES_MAX
        });
        Part::Page(keys, next.map(|(slot, cursor)| (slot.number(), cursor))).into()
    }
}

/// What will be stored at these keys, as the store asks for it.
fn sizes(items: &[Item]) -> impl Iterator<Item = (Slot, &[u8], usize)> + Clone {
    items.iter().map(|item| (slot_of(item), &item.key[..], item.length as usize))
}

fn slot_of(item: &Item) -> Slot {
    Slot::new(item.slot).unwrap_or_else(|| Slot::of(&item.key))
}
