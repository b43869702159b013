//! Runs: plain requests, GET and SET of one key, that came together. They are read ahead of being carried out, so that
//! what all of them will touch in the table is brought near at once instead of one wait for memory after another.
//!
//! The one hard thing is that nothing else may change by it: each request keeps its place, is counted, and stops at the
//! bounds as if it had been read alone. So a run ends where anything is not plain, and what it did not come to is read
//! again.

use crate::act::{Act, Op, Payload, Set};
use crate::answer;
use crate::command::{Mute, index_of};
use crate::config::Limits;
use crate::peer::Said;
use crate::reply::{Reply, Shape};
use crate::session::{Session, Speaks};
use crate::shard::Dht;
use machine::{Input, Now, Outbox};
use smallvec::SmallVec;
use state::Slot;
use state::table::{Aim, WARM_MAX, Warming};
use wire::resp::Plain;

/// From so many requests on it pays to bring near what they touch.
const WARM_MIN: usize = 4;

const GET: usize = index_of("get");
const SET: usize = index_of("set");

/// What a plain request asks for, as the place of its command in the table.
#[inline]
fn command(plain: &Plain<'_>, limits: &Limits) -> Option<usize> {
    let command = match (&plain.name, plain.value) {
        (b"get", None) => GET,
        (b"set", Some(_)) => SET,
        _ => return None,
    };
    (plain.key.len() <= limits.key_max).then_some(command)
}

impl Dht {
    /// Brings near what single plain requests of several connections will touch.
    pub(crate) fn warm_for(&self, coming: &[&[u8]]) {
        if coming.len() < WARM_MIN {
            return;
        }
        let limits = wire::resp::Limits::default();
        let mut aims: SmallVec<[Aim; WARM_MAX]> = SmallVec::new();
        let mut warming = Warming::default();
        for bytes in coming.iter().take(WARM_MAX) {
            // Those of many requests are a run, which warms itself.
            let Some(plain) = Plain::read(bytes, &limits).filter(|plain| plain.used == bytes.len()) else {
                continue;
            };
            let slot = Slot::of(plain.key);
            if self.mine.contains(slot) {
                aims.push(self.store.aim(slot, plain.key));
                self.store.warm_along(&aims, &mut warming);
            }
        }
        self.store.warm_rest(&aims, warming);
    }

    /// Carries out the plain requests at the front of what came, while there is room for their answers. Whether there
    /// was any; if not, nothing was used.
    #[inline]
    pub(crate) fn run(
        &mut self,
        now: Now,
        session: &mut Session,
        input: &mut Input<'_>,
        limits: &Limits,
        out: &mut impl Outbox<Said = Said>,
    ) -> bool {
        let Speaks::Resp { reader, .. } = &session.speaks else { return false };
        // What is logged is answered when it is safe: one by one.
        if self.keep.is_on() {
            return false;
        }
        if !reader.is_at_start() || session.is_stranger || session.mute != Mute::Off || !self.locks.is_quiet()
        {
            return false;
        }
        let (resp, shape, bytes) = (reader.limits(), session.shape(), input.bytes());
        let Some(first) = Plain::read(bytes, &resp) else { return false };
        let Some(index) = command(&first, limits) else { return false };
        session.asked = now.at;
        let aim = self.store.aim(Slot::of(first.key), first.key);
        if first.used == bytes.len() {
            self.slowness.weigh(first.used, bytes);
            self.plain(now, session, &first, (index, aim), shape, out);
            input.used(first.used);
            return true;
        }
        let mut run: SmallVec<[(Plain<'_>, usize); WARM_MAX]> = SmallVec::new();
        let mut aims: SmallVec<[Aim; WARM_MAX]> = SmallVec::new();
        run.push((first, index));
        aims.push(aim);
        let (mut at, mut warming) = (first.used, Warming::default());
        while run.len() < WARM_MAX
            && let Some(plain) = Plain::read(&bytes[at..], &resp)
            && let Some(index) = command(&plain, limits)
        {
            at += plain.used;
            run.push((plain, index));
            aims.push(self.store.aim(Slot::of(plain.key), plain.key));
            self.store.warm_along(&aims, &mut warming);
        }
        if run.len() >= WARM_MIN {
            self.store.warm_rest(&aims, warming);
        }
        for ((plain, index), aim) in run.iter().zip(&aims) {
            if self.is_full(session, limits) {
                break;
            }
            self.slowness.weigh(plain.used, &input.bytes()[..plain.used]);
            self.plain(now, session, plain, (*index, *aim), shape, out);
            input.used(plain.used);
        }
        true
    }

    /// Carries out one.
    #[inline]
    fn plain(
        &mut self,
        now: Now,
        session: &mut Session,
        plain: &Plain<'_>,
        (index, aim): (usize, Aim),
        shape: Shape,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.count(index);
        session.last = Some(index);
        if !self.mine.contains(aim.slot()) {
            let act = if plain.value.is_none() { Act::Get } else { Act::Set(Set::default()) };
            let op = Op { key: plain.key, payload: Payload::Bytes(plain.value.unwrap_or_default()), act };
            return self.one(now, session, op, shape, out);
        }
        let reply = match plain.value {
            None => self.store.get_at(aim, plain.key, now.wall),
            Some(value) => self.store.set_at(aim, plain.key, value, now.wall),
        };
        if let Reply::Refused(fault) = &reply {
            self.counts.error(fault.words());
        }
        answer::at_once(session, &mut self.direct, reply, shape, out);
    }
}
