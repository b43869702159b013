//! The turn of a core: due timers, peers, completions, flush lanes, flush log, flush writes, sleep. Lanes go before
//! writes because a write costs microseconds and another core should not wait behind fifty of them. Every step has
//! a bound; what is over it waits for the next turn.
//!
//! The one hard thing is backpressure without refusal: while too much waits for another core or for the disk, what
//! sockets brought stays where it is, in buffers the kernel then lacks, until less waits.

use crate::conn::{Kind, Left, Owner, Reading, Stage};
use crate::control::{Control, Report};
use crate::gather::GATHER_TIMER;
use crate::io::{Happening, Io, whose_patience};
use crate::lane::Parcel;
use crate::listen::ACCEPT_TIMER;
use crate::net::why_of;
use crate::ring::{Buffers, COMPLETIONS_MAX, Completion, Op};
use crate::stall::{Step, spent};
use crate::store::STORE_TIMER;
use crate::{clock, link, stamp};
use flume::{Receiver, Sender};
use machine::{Blob, ConnId, End, Event, Input, Opened, Shard, Why};
use std::collections::VecDeque;
use std::time::Duration;
use wire::peer::Message;

/// Inputs shown to the shard before the first of them is brought.
const FORESEEN_MAX: usize = 32;
/// Parcels read in one turn.
const PARCELS_MAX: usize = 64;
/// Timers fired in one turn.
const TIMERS_MAX: usize = 256;
/// Bytes read from a pipe in one call.
const PIPE_READ: usize = 64 * 1024;

/// A core: its shard and all it holds for it.
pub(crate) struct Core<S: Shard> {
    pub(crate) shard: S,
    // Before the buffers: the ring must end before what it receives into.
    pub(crate) io: Io<S::Said>,
    pub(crate) buffers: Buffers,
    batch: Vec<Completion>,
    /// Input that waits for lanes or the log to drain.
    deferred: VecDeque<Completion>,
    pipe_bytes: Vec<u8>,
    pub(crate) controls: Receiver<Control>,
    /// As read again, each announced by a control.
    pub(crate) configs: Receiver<S::Config>,
    pub(crate) reports: Sender<Report>,
    pub(crate) stopping: bool,
    pub(crate) drained_told: bool,
    /// That the keeper is gone was reported.
    pub(crate) loss_told: bool,
    /// Told to accept nothing more, and not yet sure of it.
    pub(crate) is_deafening: bool,
    /// The eventfd's count lands here.
    wake_word: Box<u64>,
}

impl<S> Core<S>
where
    S: Shard,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    pub(crate) fn new(
        shard: S,
        io: Io<S::Said>,
        buffers: Buffers,
        (controls, configs): (Receiver<Control>, Receiver<S::Config>),
        reports: Sender<Report>,
    ) -> Self {
        let batch = Vec::with_capacity(COMPLETIONS_MAX);
        let pipe_bytes = vec![0; PIPE_READ];
        Self {
            shard,
            io,
            buffers,
            batch,
            deferred: VecDeque::new(),
            pipe_bytes,
            controls,
            configs,
            reports,
            stopping: false,
            drained_told: false,
            loss_told: false,
            is_deafening: false,
            wake_word: Box::new(0),
        }
    }

    /// The first event, and what the world itself waits for from the beginning.
    pub(crate) fn start(&mut self) {
        self.listen_for_wakes();
        self.io.watch_keeper();
        self.io.start_links();
        self.io.now = clock::now();
        self.shard.on_start(self.io.now, &mut self.io);
        self.settle_happenings();
        self.flush();
        // A shard's failed listener is its own affair; that it heard of all of them is what counts here.
        let _ = self.reports.send(Report::Started);
    }

    fn listen_for_wakes(&mut self) {
        let fd = self.io.lanes.mailbox().wake_fd();
        let into = &raw mut *self.wake_word;
        self.io.ring.read_word(fd, into, crate::ring::Tag::new(Op::Wake, 0, 0));
    }

    /// One turn, without sleep. Whether anything was done.
    pub(crate) fn turn(&mut self) -> bool {
        self.io.counters.turns += 1;
        self.io.now = clock::now();
        self.io.stopwatch.begin(self.io.now.at);
        let mut busy = self.step(Step::Timers, Self::fire_timers);
        busy |= self.step(Step::Controls, Self::hear_controls);
        busy |= self.hear_peers();
        busy |= self.step(Step::Completions, Self::complete);
        self.settle_happenings();
        self.flush();
        if busy {
            self.io.stopwatch.step(Step::Flush);
        }
        self.report();
        busy
    }

    /// A step whose end is worth a look at the clock when it did something.
    fn step(&mut self, step: Step, take: fn(&mut Self) -> bool) -> bool {
        let busy = take(self);
        if busy {
            self.io.stopwatch.step(step);
        }
        busy
    }

    pub(crate) fn flush(&mut self) {
        self.io.lanes.flush();
        self.io.flush_store();
        self.io.flush_children();
        self.io.flush();
    }

    fn fire_timers(&mut self) -> bool {
        let mut fired = 0;
        while fired < TIMERS_MAX
            && let Some(timer) = self.io.timers.due(self.io.now.at)
        {
            fired += 1;
            self.io.fanout = 0;
            self.shard.on_timer(self.io.now, timer, &mut self.io);
            spent(&mut self.shard, &mut self.io, Event::Timer, 1);
        }
        while fired < TIMERS_MAX
            && let Some(timer) = self.io.patience.due(self.io.now.at)
        {
            fired += 1;
            match timer {
                ACCEPT_TIMER => self.io.accept_again(),
                STORE_TIMER => self.io.retry_store(),
                link::REDIAL_TIMER => self.io.redial_links(),
                GATHER_TIMER => self.io.settle_gatherings(),
                conn => self.io.out_of_patience(whose_patience(conn)),
            }
        }
        fired > 0
    }

    fn hear_peers(&mut self) -> bool {
        for heard in 0..PARCELS_MAX {
            let Some(parcel) = self.io.lanes.take() else { return heard > 0 };
            self.hear_parcel(parcel);
        }
        true
    }

    fn hear_parcel(&mut self, mut parcel: Parcel) {
        self.io.stopwatch.hopped(parcel.posted);
        let mut count = 0;
        let mut blobs = std::mem::take(&mut parcel.blobs).into_iter();
        for envelope in parcel.batch.envelopes() {
            let blob = if envelope.blob { blobs.next() } else { None };
            // SAFETY: a parcel of a lane was written by `Message::write` of this very type in this process and
            // crossed by moving, so the archive is valid and aligned.
            let heard = unsafe { rkyv::access_unchecked::<S::Heard>(envelope.archive) };
            self.io.fanout = 0;
            self.shard.on_peer(self.io.now, parcel.from, heard, blob, &mut self.io);
            count += 1;
        }
        spent(&mut self.shard, &mut self.io, Event::Peer, count);
        self.io.lanes.taken(&parcel);
    }

    /// Takes the completions that are there and acts on them. Between turns the loop enters the ring, once.
    pub(crate) fn complete(&mut self) -> bool {
        let mut batch = std::mem::take(&mut self.batch);
        self.io.ring.completions(&mut batch, COMPLETIONS_MAX);
        let gated = self.is_gated();
        let mut busy = !batch.is_empty();
        self.io.counters.completions += batch.len() as u64;
        while !gated && let Some(completion) = self.deferred.pop_front() {
            busy = true;
            self.act(completion);
        }
        for some in batch.chunks(FORESEEN_MAX) {
            if !gated {
                self.foresee(some);
            }
            for completion in some {
                let input = matches!(completion.tag.op, Op::Receive | Op::ReceiveInto | Op::Readable);
                if input && (gated || !self.deferred.is_empty()) {
                    self.deferred.push_back(*completion);
                } else {
                    self.act(*completion);
                }
            }
        }
        batch.clear();
        self.batch = batch;
        self.buffers.publish();
        for conn in std::mem::take(&mut self.io.starved) {
            self.io.settle_reading(conn);
        }
        busy
    }

    /// Shows the shard what is about to be brought.
    fn foresee(&self, completions: &[Completion]) {
        if self.io.stamps.is_some() {
            return;
        }
        let mut coming = [&[][..]; FORESEEN_MAX];
        let mut count = 0;
        for Completion { tag, result, buffer, .. } in completions {
            if let (Op::Receive, Some(buffer), 1..) = (tag.op, buffer, result) {
                coming[count] = self.buffers.bytes(*buffer, *result as usize);
                count += 1;
            }
        }
        if count > 1 {
            self.shard.foresee(&coming[..count]);
        }
    }

    /// Whether so much waits for another core or the disk that nothing more is taken from sockets.
    fn is_gated(&mut self) -> bool {
        self.io.lanes.is_full() || self.io.store.is_full()
    }

    /// Goes on without sleep: submits what was asked, and lets the ring bring what is ready.
    pub(crate) fn go_on(&mut self) {
        self.io.stopwatch.goes_on();
        // Also where something is there already: what completes when it is asked for, such as a pipe that is never
        // empty, must not keep those waiting whose work is done only in this call.
        if !self.io.ring.is_full() {
            self.io.ring.enter(None);
        }
    }

    /// Whether input is held back.
    pub(crate) fn is_deferring(&self) -> bool {
        !self.deferred.is_empty()
    }

    /// Whether nothing reached this core that it has not seen.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.io.lanes.is_empty()
            && self.controls.is_empty()
            && self.io.happenings.is_empty()
            && self.io.dirty.is_empty()
            && self.io.ring.is_quiet()
    }

    fn act(&mut self, completion: Completion) {
        let Completion { tag, result, more, .. } = completion;
        let key =
            self.io.conns.key_at(tag.index).filter(|key| key.generation & 0x00ff_ffff == tag.generation);
        match (tag.op, key.map(ConnId)) {
            (Op::Wake, _) => self.listen_for_wakes(),
            (Op::Accept, _) => self.io.accepted(tag.index, result, more),
            (Op::Log, _) => self.io.stored(tag.index, result),
            (Op::Keeper, _) => self.io.hear_keeper(tag.index),
            (Op::Cancel | Op::Sent, _) => {}
            (Op::Receive, Some(conn)) => self.received(conn, completion),
            (Op::ReceiveInto, Some(conn)) => self.received_into(conn, result),
            (Op::Readable, Some(conn)) => self.readable(conn, result),
            (Op::Writable, Some(conn)) => self.io.writable(conn),
            (Op::Connect, Some(conn)) => self.io.connected(conn, result),
            (Op::Ending, Some(conn)) => self.io.ending(conn, result),
            (
                Op::Receive | Op::ReceiveInto | Op::Readable | Op::Writable | Op::Connect | Op::Ending,
                None,
            ) => {
                unreachable!("a place is freed after its last completion")
            }
        }
    }

    fn received(&mut self, conn: ConnId, completion: Completion) {
        let Completion { result, buffer, more, .. } = completion;
        let held = self.io.conns.get_mut(conn.0).expect("looked up by the caller");
        if !more {
            held.outstanding -= 1;
            held.reading = Reading::Idle;
        }
        let mut result = result;
        if let Some(buffer) = buffer {
            let mut from = 0;
            if let (true, Some(template), 1..) = (held.stamped, &self.io.stamps, result) {
                let open = stamp::open(self.buffers.bytes(buffer, result as usize), template, self.io.now);
                (from, result, self.io.receipt) = (open.from, open.len as i32, open.at);
            }
            if result > 0 {
                self.arrived(conn, Bytes::Provided(buffer, from, result as usize));
            }
            self.io.receipt = None;
            self.buffers.give_back(buffer);
        }
        match result {
            0 => self.heard_all(conn),
            1.. => {}
            _ if result == -libc::ENOBUFS => {
                self.io.counters.no_buffers += 1;
                self.io.starved.push(conn);
                return;
            }
            _ if matches!(-result, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            _ => self.failed(conn, result),
        }
        self.after_read(conn, more);
    }

    fn after_read(&mut self, conn: ConnId, more: bool) {
        let dead = self.io.conns.get(conn.0).is_none_or(|held| held.stage == Stage::Dead);
        if dead {
            self.io.release(conn);
        } else if !more {
            self.io.settle_reading(conn);
        }
    }

    fn received_into(&mut self, conn: ConnId, result: i32) {
        let held = self.io.conns.get_mut(conn.0).expect("looked up by the caller");
        held.outstanding -= 1;
        held.reading = Reading::Idle;
        match result {
            0 => self.heard_all(conn),
            1.. => {
                if let Some(big) = &mut held.big {
                    let len = big.len() + result as usize;
                    assert!(len <= big.capacity(), "the kernel was told how much fits");
                    // SAFETY: the kernel wrote `result` bytes from the old length on.
                    unsafe { big.set_len(len) };
                }
                self.io.counters.bytes_in += result as u64;
                self.bring_kept(conn);
            }
            _ if matches!(-result, libc::ECANCELED | libc::EINTR | libc::EAGAIN) => {}
            _ => self.failed(conn, result),
        }
        self.after_read(conn, false);
    }

    fn readable(&mut self, conn: ConnId, result: i32) {
        let held = self.io.conns.get_mut(conn.0).expect("looked up by the caller");
        held.outstanding -= 1;
        held.reading = Reading::Idle;
        if result >= 0 && held.wants_input() {
            let bytes = &mut self.pipe_bytes;
            // SAFETY: reads into a buffer of ours of that length.
            let count = unsafe { libc::read(held.raw(), bytes.as_mut_ptr().cast(), bytes.len()) };
            match count {
                0 => self.io.lose(conn, Why::Closed),
                1.. => self.arrived(conn, Bytes::Piped(count as usize)),
                _ => {
                    let error = std::io::Error::last_os_error();
                    if error.kind() != std::io::ErrorKind::WouldBlock {
                        self.io.lose(conn, why_of(&error));
                    }
                }
            }
        }
        self.after_read(conn, false);
    }

    fn failed(&mut self, conn: ConnId, result: i32) {
        self.io.lose(conn, why_of(&std::io::Error::from_raw_os_error(-result)));
    }

    /// They have said all.
    fn heard_all(&mut self, conn: ConnId) {
        let Some(held) = self.io.conns.get_mut(conn.0) else { return };
        held.ended = true;
        match held.stage {
            Stage::Lingering => self.io.kill(conn),
            Stage::Open => self.tell_end(conn),
            Stage::Dialling | Stage::Flushing | Stage::Dead => {}
        }
    }

    /// Tells that they have said all, once all that they said was brought.
    fn tell_end(&mut self, conn: ConnId) {
        let Some(held) = self.io.told(conn) else { return };
        if !held.ended || held.end_told || (held.paused && held.unbrought) || held.resuming {
            return;
        }
        held.end_told = true;
        match held.owner {
            Owner::Shard => {
                self.io.fanout = 0;
                self.shard.on_end(self.io.now, conn, End::Half, &mut self.io);
                self.io.maybe_over(conn);
            }
            Owner::Link => self.io.link_ended(conn, Why::Closed),
        }
    }

    /// Bytes have arrived: brought to the shard at once where nothing waits before them.
    fn arrived(&mut self, conn: ConnId, bytes: Bytes) {
        let bytes = match bytes {
            Bytes::Provided(buffer, from, len) => &self.buffers.bytes(buffer, from + len)[from..],
            Bytes::Piped(len) => &self.pipe_bytes[..len],
        };
        self.io.counters.bytes_in += bytes.len() as u64;
        let (now, most) = (self.io.now, self.io.limits.input_max);
        let Some(held) = self.io.told(conn) else { return };
        if held.owner == Owner::Link || held.paused || held.big.is_some() || held.left.len() > 0 {
            held.keep(bytes);
            if held.left.len() > most {
                return self.io.lose(conn, Why::Overfull);
            }
            if held.big.is_some() {
                self.io.settle_reading(conn);
            }
            return self.bring_kept(conn);
        }
        let sent_at = held.sent_at;
        let mut input = Input::lent(bytes, self.io.receipt.unwrap_or(now.at), sent_at);
        self.io.fanout = 0;
        self.shard.on_bytes(now, conn, &mut input, &mut self.io);
        spent(&mut self.shard, &mut self.io, Event::Bytes, 1);
        let (used, need) = input.outcome();
        if let Some(held) = self.io.told(conn) {
            held.left.push(&bytes[used..]);
            held.after_input(need);
            if held.big.is_some() {
                self.io.settle_reading(conn);
            }
        }
    }

    /// Brings what is kept, if it is enough.
    fn bring_kept(&mut self, conn: ConnId) {
        let Some(held) = self.io.told(conn) else { return };
        if held.paused || !held.is_ripe() {
            return;
        }
        if held.owner == Owner::Link {
            return self.bring_link(conn);
        }
        let (sent_at, big) = (held.sent_at, held.big.take());
        let came_behind = big.is_some() && held.left.len() > 0;
        held.unbrought = came_behind;
        let mut left = if big.is_some() { Left::default() } else { std::mem::take(&mut held.left) };
        self.io.fanout = 0;
        let received_at = self.io.receipt.unwrap_or(self.io.now.at);
        let need = if let Some(big) = big {
            let blob = Blob::from(big);
            let mut input = Input::held(&blob, received_at, sent_at);
            self.shard.on_bytes(self.io.now, conn, &mut input, &mut self.io);
            spent(&mut self.shard, &mut self.io, Event::Bytes, 1);
            let (used, need) = input.outcome();
            if let Some(held) = self.io.told(conn)
                && used < blob.len()
            {
                let behind = std::mem::take(&mut held.left);
                held.left.push(&blob[used..]);
                held.left.push(behind.bytes());
            }
            need
        } else {
            let mut input = Input::lent(left.bytes(), received_at, sent_at);
            self.shard.on_bytes(self.io.now, conn, &mut input, &mut self.io);
            spent(&mut self.shard, &mut self.io, Event::Bytes, 1);
            let (used, need) = input.outcome();
            left.used(used);
            if let Some(held) = self.io.told(conn) {
                held.left = left;
            }
            need
        };
        if let Some(held) = self.io.told(conn) {
            held.after_input(need);
            self.io.settle_reading(conn);
        }
        if came_behind {
            // What came behind a large value was never brought, and perhaps nothing more will come to bring it with.
            self.bring_kept(conn);
        }
    }

    /// Messages of another node, kept by its link: each is read in place and told.
    fn bring_link(&mut self, conn: ConnId) {
        let Some(held) = self.io.told(conn) else { return };
        let left = std::mem::take(&mut held.left);
        let rest = self.io.read_link(conn, left);
        if let Some(held) = self.io.told(conn) {
            held.left = rest;
        }
    }

    /// Tells the shard what happened besides bytes, until nothing is left to tell.
    fn settle_happenings(&mut self) {
        // What an event causes is told in the same turn, but not without end.
        for _ in 0..COMPLETIONS_MAX * 4 {
            let Some(happening) = self.io.happenings.pop_front() else { return };
            self.io.fanout = 0;
            self.tell(happening);
        }
    }

    fn tell(&mut self, happening: Happening) {
        let (now, event) = (self.io.now, happening.event());
        match happening {
            Happening::Opened(conn, how) => self.tell_open(conn, how),
            Happening::Resumed(conn) => {
                if let Some(held) = self.io.told(conn) {
                    held.resuming = false;
                    self.bring_kept(conn);
                    self.tell_end(conn);
                    self.io.settle_reading(conn);
                }
            }
            Happening::Room(conn) => {
                if self.io.told(conn).is_some() {
                    self.shard.on_room(now, conn, &mut self.io);
                }
            }
            Happening::End(conn, end) => {
                // The shard may have closed it since.
                let Some(held) = self.io.conns.get(conn.0).filter(|held| held.is_told()) else { return };
                let (owner, why) = (held.owner, held.lost.unwrap_or(Why::Broken));
                self.io.kill(conn);
                match owner {
                    Owner::Shard => self.shard.on_end(now, conn, end, &mut self.io),
                    Owner::Link => self.io.link_ended(conn, why),
                }
            }
            Happening::Listening(id, what) => {
                if !self.io.is_link_listener(id, &what) {
                    self.shard.on_listen(now, id, what, &mut self.io);
                }
            }
            Happening::Stored(what) => self.shard.on_stored(now, what, &mut self.io),
            Happening::Child(child, what) => self.shard.on_child(now, child, what, &mut self.io),
            Happening::Link(node, what) => self.shard.on_link(now, node, what, &mut self.io),
            Happening::Gathered(ticket, gauges) => {
                self.shard.on_gathered(now, ticket, &gauges, &mut self.io);
            }
        }
        if let Some(event) = event {
            spent(&mut self.shard, &mut self.io, event, 1);
        }
    }

    fn tell_open(&mut self, conn: ConnId, how: Opened) {
        let Some(held) = self.io.told(conn) else { return };
        if held.owner == Owner::Link {
            self.io.link_opened(conn);
        } else if self.io.is_link_door(&how) {
            self.io.adopt_link(conn);
        } else {
            self.shard.on_open(self.io.now, conn, how, &mut self.io);
        }
        let writes_only =
            self.io.conns.get(conn.0).is_some_and(|held| held.kind == Kind::Pipe && held.paused);
        if !writes_only {
            self.io.settle_reading(conn);
        }
    }

    /// When the next thing is due by the clock.
    pub(crate) fn next_due(&mut self) -> Option<Duration> {
        let timers = [self.io.timers.earliest(), self.io.patience.earliest()];
        let due = timers.into_iter().flatten().min()?;
        Some(due.since(clock::instant()))
    }
}

enum Bytes {
    Provided(u16, usize, usize),
    Piped(usize),
}
