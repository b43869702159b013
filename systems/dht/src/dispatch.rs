//! Where a request goes: done here, told to its key's owner, or gathered from several cores.
//!
//! The one hard thing is to stop in time. A client may send requests faster than other cores or its own connection
//! take the answers; reading stops at the bounds, the rest stays with the world, and comes again after `resume`.

use crate::act::{Act, Op, Payload};
use crate::answer;
use crate::clients::Filter;
use crate::command::{self, Command, Mute, Words};
use crate::config::Limits;
use crate::forward;
use crate::frames::{self, Asked};
use crate::peer::{Asker, Question, Said, Text, Told};
use crate::refusal::{Fault, Refusal};
use crate::reply::{Reply, Says, Shape};
use crate::session::{Session, Speaks};
use crate::shard::{Ask, Dht};
use crate::slow::HEAVY;
use machine::blob::BLOB_MIN;
use machine::{Blob, CoreId, FANOUT_MAX, Input, Now, Outbox};
use state::Slot;
use wire::resp::{Request, Writer};
use wire::{Outcome, frame};

/// To several keys on a port where each slot has one owner.
const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// To one who has yet to say who it is.
pub(crate) const NOAUTH: &str = "NOAUTH Authentication required.";

/// Whether these keys are of more than one slot.
fn crosses<'k>(keys: impl Iterator<Item = &'k [u8]>) -> bool {
    let mut slots = keys.map(Slot::of);
    let first = slots.next();
    slots.any(|slot| Some(slot) != first)
}

impl Dht {
    /// Reads as many requests as there are and may be.
    #[inline]
    pub(crate) fn read_resp(
        &mut self,
        now: Now,
        session: &mut Session,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let limits = self.config.limits;
        while self.may_read(session, input, &limits, out) {
            if self.run(now, session, input, &limits, out) {
                continue;
            }
            let bytes = input.bytes();
            let Speaks::Resp { reader, .. } = &mut session.speaks else { return };
            match reader.next(bytes) {
                Outcome::Done { value, used } => {
                    self.request(now, session, &value, used, input, &limits, out);
                }
                Outcome::Partial { need } => {
                    if reader.blob_pending() {
                        input.need(need);
                    }
                    return;
                }
                Outcome::Fault(fault) => {
                    let mut words = Vec::new();
                    fault.write(&mut words);
                    self.say_raw(session, &words, out);
                    session.is_closing = true;
                }
            }
        }
    }

    /// The same for framed text.
    pub(crate) fn read_frames(
        &mut self,
        now: Now,
        session: &mut Session,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let limits = self.config.limits;
        let text_max = frame::text_max(limits.key_max, limits.value_max);
        while self.may_read(session, input, &limits, out) {
            match frame::read_request(input.bytes(), text_max) {
                Outcome::Done { value, used } => self.frame(now, session, value, used, input, &limits, out),
                Outcome::Partial { need } => {
                    if need >= BLOB_MIN {
                        input.need(need);
                    }
                    return;
                }
                Outcome::Fault(fault) => {
                    let mut words = Vec::new();
                    frame::write_reply(&mut words, frame::Reply::Failure(fault.to_string().as_bytes()));
                    self.say_raw(session, &words, out);
                    session.is_closing = true;
                }
            }
        }
    }

    /// Whether there is another request to look at. What is over is thrown away; what is too much is put off.
    #[inline]
    fn may_read(
        &self,
        session: &mut Session,
        input: &mut Input<'_>,
        limits: &Limits,
        out: &mut impl Outbox<Said = Said>,
    ) -> bool {
        if input.bytes().is_empty() {
            return false;
        }
        if session.is_closing || (self.is_draining && session.owed == 0) {
            input.used(input.bytes().len());
            return false;
        }
        let is_full = self.is_full(session, limits);
        if is_full {
            session.has_left = true;
            if !session.is_paused {
                session.is_paused = true;
                out.pause(session.conn);
            }
        }
        !is_full
    }

    /// Whether so much waits, of this connection or of this event, that nothing more may be asked for now.
    #[inline]
    pub(crate) fn is_full(&self, session: &Session, limits: &Limits) -> bool {
        session.is_paused
            || session.is_dealing
            || session.is_full(limits)
            || self.direct.is_full()
            || self.is_held(session)
            || self.told + usize::from(self.seat.cores) > FANOUT_MAX
    }

    #[inline]
    fn request(
        &mut self,
        now: Now,
        session: &mut Session,
        request: &Request<'_>,
        used: usize,
        input: &mut Input<'_>,
        limits: &Limits,
        out: &mut impl Outbox<Said = Said>,
    ) {
        if request.is_empty() {
            return input.used(used);
        }
        if session.mute == Mute::SkipNext {
            session.mute = Mute::Skip;
        }
        self.request_of(now, session, request, used, input, limits, out);
        if session.mute == Mute::Skip {
            session.mute = Mute::Off;
        }
    }

    #[inline]
    fn request_of(
        &mut self,
        now: Now,
        session: &mut Session,
        request: &Request<'_>,
        used: usize,
        input: &mut Input<'_>,
        limits: &Limits,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let words = Words::new(request, limits, now.wall);
        let (index, parsed) =
            if session.is_stranger { command::parse_stranger(words) } else { command::parse(words) };
        if index.is_none() && command::is_web(words) {
            // Somebody's browser was made to speak to us: it must neither change nor learn anything.
            session.is_closing = true;
            return input.used(used);
        }
        match index {
            Some(index) => self.count(index),
            None => self.counts.unknown += 1,
        }
        let takes_all = matches!(parsed, Ok(Command::Whole(..) | Command::All(..)));
        self.slowness.weigh(if takes_all { HEAVY } else { used }, &input.bytes()[..used]);
        session.last = index;
        session.asked = now.at;
        match parsed {
            Ok(Command::One(mut op)) => {
                let last = request.blob().map(|range| range.start);
                self.lift_blob(&mut op, last, used, input);
                self.one(now, session, op, session.shape(), out);
                return;
            }
            Ok(Command::Many(many)) if session.is_core && crosses(many.ops().map(|op| op.key)) => {
                self.refuse(session, &Refusal::Says(CROSSSLOT.into()), out);
            }
            Ok(Command::Many(many)) => match self.refuse_keys(many.ops().map(|op| op.key)) {
                None => self.many(now, session, many, limits, out),
                Some(refusal) => self.refuse(session, &refusal, out),
            },
            Ok(Command::Pair(pair)) if session.is_core && crosses(pair.keys().into_iter()) => {
                self.refuse(session, &Refusal::Says(CROSSSLOT.into()), out);
            }
            Ok(Command::Pair(pair)) => match self.refuse_keys(pair.keys().into_iter()) {
                None => self.pair(now, session, &pair, limits, out),
                Some(refusal) => self.refuse(session, &refusal, out),
            },
            Ok(Command::Whole(work, fold)) => self.whole(now, session, work, fold, out),
            Ok(Command::All(Question::Kill(Filter { user: Some(user), .. }), _))
                if !self.config.users.has(&user) =>
            {
                self.refuse(session, &Refusal::Says(format!("ERR No such user '{user}'").into()), out);
            }
            Ok(Command::All(question, fold)) => self.all(now, session, question, fold, out),
            Ok(Command::Here(here)) => self.here(now, session, here, out),
            Err(refusal) => self.refuse(session, &refusal, out),
        }
        input.used(used);
    }

    #[inline]
    fn frame(
        &mut self,
        now: Now,
        session: &mut Session,
        request: frame::Request<'_>,
        used: usize,
        input: &mut Input<'_>,
        limits: &Limits,
        out: &mut impl Outbox<Said = Said>,
    ) {
        session.asked = now.at;
        if let frame::Request::Unknown = request
            && let Some(said) = forward::agreed(&input.bytes()[frame::HEADER..used])
        {
            self.agree(session, said, out);
            return input.used(used);
        }
        if session.is_stranger {
            let mut words = Vec::new();
            frame::write_reply(&mut words, frame::Reply::Failure(NOAUTH.as_bytes()));
            self.say_raw(session, &words, out);
            return input.used(used);
        }
        match frames::asked(request, limits) {
            Asked::One(mut op, shape, command) => {
                self.count(command);
                session.last = Some(command);
                let last = used - op.payload.bytes().len();
                self.lift_blob(&mut op, Some(last), used, input);
                self.one(now, session, op, shape, out);
            }
            Asked::Told(bytes) => {
                self.counts.unknown += 1;
                self.say_raw(session, &bytes, out);
                input.used(used);
            }
        }
    }

    /// Uses up the request's bytes. A long payload that is to be kept becomes a blob: the very buffer it was
    /// received into, where it is the last of its request and that begins at `last`.
    #[inline]
    fn lift_blob(&self, op: &mut Op<'_>, last: Option<usize>, used: usize, input: &mut Input<'_>) {
        let Payload::Bytes(bytes) = op.payload else { return input.used(used) };
        if bytes.len() < BLOB_MIN {
            return input.used(used);
        }
        let whole = input.bytes();
        match last.filter(|last| core::ptr::eq(whole[*last..].as_ptr(), bytes.as_ptr())) {
            Some(last) => {
                input.used(last);
                op.payload = Payload::Blob(input.take(bytes.len()));
                input.used(used - last - bytes.len());
            }
            None => {
                op.payload = Payload::Blob(Blob::from(bytes.to_vec()));
                input.used(used);
            }
        }
    }

    /// An act on one key: done here if it is ours, else told to its owner, which may be on another node.
    #[inline]
    pub(crate) fn one(
        &mut self,
        now: Now,
        session: &mut Session,
        op: Op<'_>,
        shape: Shape,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let slot = Slot::of(op.key);
        let (node, owner) = self.placement.owner(slot);
        if node != self.seat.node {
            return self.elsewhere(now, session, op, shape, out);
        }
        if owner == self.seat.core && !self.locks.must_wait(op.key, &op.act) {
            if self.keep.is_on() {
                return self.one_kept(now, session, slot, op, shape, out);
            }
            let reply = self.store.execute(slot, op, now.wall);
            if let Reply::Refused(fault) = &reply {
                self.counts.error(fault.words());
            }
            answer::at_once(session, &mut self.direct, reply, shape, out);
            return;
        }
        if owner == self.seat.core && self.is_crowded() {
            let reply = Reply::Refused(Fault::Crowded);
            return answer::at_once(session, &mut self.direct, reply, shape, out);
        }
        let ticket = session.pipeline.wait().0;
        let asker = Asker { conn: session.conn.0.to_bits(), ticket, shape, command: session.command() };
        if owner == self.seat.core {
            return self.park(owner, asker, slot, op);
        }
        let (payload, blob) = match op.payload {
            Payload::Bytes(bytes) => (Text::from_slice(bytes), None),
            Payload::Blob(blob) => (Text::new(), Some(blob)),
        };
        let key = Text::from_slice(op.key);
        self.tell(owner, Said::Ask { asker, slot: slot.number(), act: op.act, key, payload }, blob, out);
    }

    pub(crate) fn tell(
        &mut self,
        core: CoreId,
        said: Said,
        blob: Option<Blob>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        self.told += 1;
        self.counts.hops += 1;
        out.tell(core, said, blob);
    }

    /// Does for another core what it asks of one key.
    #[inline]
    pub(crate) fn do_for(
        &mut self,
        now: Now,
        from: CoreId,
        asker: Asker,
        act: Act,
        ask: Ask<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let payload = match ask.blob {
            Some(blob) => Payload::Blob(blob),
            None => Payload::Bytes(ask.payload),
        };
        let slot = Slot::new(ask.slot).unwrap_or_else(|| Slot::of(ask.key));
        let op = Op { key: ask.key, payload, act };
        self.slowness.piece(asker.command, from, op.key, op.payload.bytes());
        let (told, blob) = if !self.locks.must_wait(op.key, &act) {
            self.execute(slot, op, now.wall)
        } else if self.is_crowded() {
            (Told::Refused(Fault::Crowded), None)
        } else {
            return self.park(from, asker, slot, op);
        };
        if let Some((told, blob)) = self.hold_one(from, asker, act.writes(), told, blob) {
            out.tell(from, Said::Answer { asker, told }, blob);
        }
    }

    /// Tells why not.
    pub(crate) fn refuse(
        &mut self,
        session: &mut Session,
        refusal: &Refusal,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let words = refusal.words();
        self.counts.error(&words);
        if let Some(index) = session.last {
            self.counts.refused[index] += 1;
        }
        self.say(session, |writer| writer.error(words.as_bytes()), out);
    }

    /// Tells what needs no store, in the version spoken now.
    pub(crate) fn say(
        &mut self,
        session: &mut Session,
        write: impl FnOnce(&mut Writer<'_>),
        out: &mut impl Outbox<Said = Said>,
    ) {
        let shape = session.shape();
        answer::at_once(session, &mut self.direct, Says(write), shape, out);
    }

    /// Tells bytes that are a whole reply already.
    fn say_raw(&mut self, session: &mut Session, bytes: &[u8], out: &mut impl Outbox<Said = Said>) {
        answer::at_once(session, &mut self.direct, answer::Raw(bytes), Shape::Two, out);
    }
}
