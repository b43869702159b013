//! One core's share of a face: its connections, and what a shard says to each in its own events. A shard passes on
//! what concerns the face, asks [`take`](Site::take) for what came, and answers.

use crate::ask::AskId;
use crate::face::Face;
use crate::live::{Live, end_stream};
use crate::route::Routes;
use crate::say;
use crate::session::{Patience, Reading, Session};
use crate::sessions::Sessions;
use machine::id::Key;
use machine::{Close, ConnId, Deadlines, End, Gauges, Instant, Now, Outbox, Ticket, TimerId};
use std::collections::VecDeque;
use wire::websocket::Reason;

/// The timer of a face: a shard gives what it is told of it to [`Site::timer`].
pub const TIMER: TimerId = TimerId(u64::from_be_bytes(*b"web face"));

/// The ticket of a face's gatherings: a shard gives what it is told of it to [`Site::gathered`].
pub const TICKET: Ticket = Ticket(u64::from_be_bytes(*b"web face"));

/// Connections whose deadlines are looked at in one call; those left come with the next.
const DUE_MAX: usize = 256;

/// When the next live values are due, among the deadlines of connections: no key has all bits set.
pub(crate) const LIVE: TimerId = TimerId(u64::MAX);

/// One core's share of a face.
#[derive(Debug)]
pub struct Site<R: 'static> {
    pub(crate) face: Face,
    pub(crate) routes: Routes<R>,
    pub(crate) otherwise: Option<R>,
    pub(crate) sessions: Sessions,
    pub(crate) live: Live,
    pub(crate) counts: Counts,
    pub(crate) is_draining: bool,
    pub(crate) overs: VecDeque<Over>,
    /// Where answers are put together; its memory is used again.
    pub(crate) draft: Vec<u8>,
    pub(crate) date: say::Date,
    deadlines: Deadlines,
    /// When the world wakes us.
    woken: Option<Instant>,
}

/// What had begun and is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A WebSocket.
    Socket(ConnId),
    /// A body in parts that will not be whole. Its ask may still be answered; nobody hears it.
    Parts(AskId),
}

/// What a core's share of a face counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) accepted: u64,
    pub(crate) turned_away: u64,
    /// By the hundreds of their status, from 1xx.
    pub(crate) answers: [u64; 5],
    pub(crate) faults: u64,
    pub(crate) slow: u64,
    pub(crate) stalled: u64,
    pub(crate) missed: u64,
}

impl<R: Copy> Site<R> {
    /// The site of a face, without connections. `otherwise` is asked for what no route, page or file knows.
    ///
    /// # Panics
    /// When it knows more than 255 other origins: an ask's id has no more room for them.
    #[must_use]
    pub fn new(face: Face, routes: impl Into<Vec<crate::Route<R>>>, otherwise: Option<R>) -> Self {
        assert!(face.origins.len() < 256, "at most 255 other origins");
        Self {
            routes: Routes::new(routes.into(), face.slash),
            otherwise,
            sessions: Sessions::default(),
            live: Live::default(),
            counts: Counts::default(),
            is_draining: false,
            overs: VecDeque::new(),
            draft: Vec::new(),
            date: say::Date::default(),
            deadlines: Deadlines::new(),
            woken: None,
            face,
        }
    }

    /// Whether that connection is one of the face's.
    #[must_use]
    pub fn owns(&self, conn: ConnId) -> bool {
        self.sessions.get(conn).is_some()
    }

    /// How many connections there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A connection was accepted at the face's door. One too many is told so and closed.
    pub fn open(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox) {
        let session = Box::new(Session::new(conn, now.at, &self.face.limits));
        let is_full = self.sessions.len() >= self.face.limits.connections_max;
        self.sessions.insert(session);
        let Some(mut session) = self.sessions.take(conn) else { return };
        self.counts.accepted += 1;
        if is_full || self.is_draining {
            self.counts.turned_away += 1;
            let id = session.place(Session::LAST);
            self.refuse(now, &mut session, id, 503, "there are too many connections", out);
        }
        self.settle(now, session, out);
    }

    /// They have said all, or are gone. [`over`](Self::over) tells what ended with them.
    pub fn end(&mut self, now: Now, conn: ConnId, end: End, out: &mut impl Outbox) {
        let Some(mut session) = self.sessions.take(conn) else { return };
        match (end, &session.reading) {
            (End::Gone(_), _) => self.forget(session),
            // Who listens or has a socket never says all and stays.
            (End::Half, Reading::Socket(_)) => {
                out.close(conn, Close::Flushed);
                self.forget(session);
            }
            (End::Half, Reading::Stream(_)) => {
                end_stream(&session, out);
                self.forget(session);
            }
            // What they asked last can never be whole.
            (End::Half, Reading::Whole(_) | Reading::Parts(..)) => {
                self.cut_short(now, &mut session, 400, "the connection ended within the body", out);
                self.settle(now, session, out);
            }
            (End::Half, Reading::Head | Reading::Skip(_) | Reading::Asked(_) | Reading::Nothing) => {
                session.is_closing = true;
                session.reading = Reading::Nothing;
                self.settle(now, session, out);
            }
        }
    }

    /// They take again what is written to them. Whether the connection is one of the face's.
    pub fn room(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox) -> bool {
        let Some(session) = self.sessions.take(conn) else { return false };
        self.settle(now, session, out);
        true
    }

    /// The face's timer is due. [`over`](Self::over) tells what ended.
    pub fn timer(&mut self, now: Now, out: &mut impl Outbox) {
        self.woken = None;
        for _ in 0..DUE_MAX {
            let Some(timer) = self.deadlines.due(now.at) else { break };
            if timer == LIVE {
                self.live_due(now, out);
            } else if let Some(session) = self.sessions.take(ConnId(Key::from_bits(timer.0))) {
                self.due(now, session, out);
            }
        }
        self.wake(out);
    }

    /// What had begun and is no more: to be asked after `take`, `end` and `timer`, until there is nothing. A face
    /// without sockets and bodies in parts has none.
    pub fn over(&mut self) -> Option<Over> {
        self.overs.pop_front()
    }

    /// Nothing new is begun: connections end with the answers they wait for, streams at once, sockets with a word.
    /// When [`is_empty`](Self::is_empty) the face is drained.
    pub fn drain(&mut self, now: Now, out: &mut impl Outbox) {
        self.is_draining = true;
        for conn in self.sessions.conns() {
            let Some(mut session) = self.sessions.take(conn) else { continue };
            match &mut session.reading {
                Reading::Socket(socket) => {
                    self.draft.clear();
                    socket.close(Reason::Away, &mut self.draft);
                    out.write(conn, &self.draft);
                    out.close(conn, Close::Flushed);
                    self.forget(session);
                    continue;
                }
                Reading::Stream(_) => {
                    end_stream(&session, out);
                    self.forget(session);
                    continue;
                }
                Reading::Head if !session.reader.has_begun() => {
                    session.reading = Reading::Nothing;
                    session.is_closing = true;
                }
                Reading::Head
                | Reading::Whole(_)
                | Reading::Parts(..)
                | Reading::Skip(_)
                | Reading::Asked(_)
                | Reading::Nothing => {}
            }
            self.settle(now, session, out);
        }
    }

    /// What this core's share of the face counts.
    pub fn gauges(&self, into: &mut Gauges) {
        let counts = &self.counts;
        into.counter("web_accepted_total", "connections accepted by the face", counts.accepted);
        into.counter("web_turned_away_total", "connections over the bound", counts.turned_away);
        let names = [
            "web_answers_total{status=\"1xx\"}",
            "web_answers_total{status=\"2xx\"}",
            "web_answers_total{status=\"3xx\"}",
            "web_answers_total{status=\"4xx\"}",
            "web_answers_total{status=\"5xx\"}",
        ];
        for (name, count) in names.into_iter().zip(counts.answers) {
            into.counter(name, "answers by status", count);
        }
        into.counter("web_faults_total", "connections that broke the rules of HTTP", counts.faults);
        into.counter("web_slow_total", "heads and bodies that did not come in time", counts.slow);
        into.counter("web_stalled_total", "connections reset because they took nothing", counts.stalled);
        into.counter("web_missed_total", "events that slow listeners missed", counts.missed);
        into.level("web_connections", "connections of the face", self.sessions.len() as i64);
        into.level("web_listeners", "listeners to streams of events", self.live.listeners() as i64);
    }

    /// A deadline was due: the true one may be later, because deadlines are moved only when they are looked at.
    fn due(&mut self, now: Now, mut session: Box<Session>, out: &mut impl Outbox) {
        session.armed = None;
        let conn = session.conn;
        match session.patience(&self.face.limits).filter(|(at, _)| *at <= now.at) {
            None => {}
            Some((_, Patience::Idle)) => {
                out.close(conn, Close::Flushed);
                return self.forget(session);
            }
            Some((_, Patience::Stall)) => {
                self.counts.stalled += 1;
                out.close(conn, Close::Now);
                return self.forget(session);
            }
            Some((_, Patience::Slow)) => {
                self.counts.slow += 1;
                self.cut_short(now, &mut session, 408, "the request did not come in time", out);
            }
            Some((_, Patience::Beat)) if self.beat(now, &mut session, out) => {}
            Some((_, Patience::Beat)) => {
                out.close(conn, Close::Now);
                return self.forget(session);
            }
        }
        self.settle(now, session, out);
    }

    /// A head or a body will not be whole.
    fn cut_short(
        &mut self,
        now: Now,
        session: &mut Session,
        status: u16,
        sentence: &str,
        out: &mut impl Outbox,
    ) {
        let id = match &session.reading {
            Reading::Whole(whole) => whole.id,
            Reading::Parts(id, _) => {
                self.overs.push_back(Over::Parts(*id));
                *id
            }
            Reading::Skip(_) => {
                // It was answered.
                session.reading = Reading::Nothing;
                session.is_closing = true;
                return;
            }
            Reading::Head
            | Reading::Asked(_)
            | Reading::Socket(_)
            | Reading::Stream(_)
            | Reading::Nothing => session.place(Session::LAST),
        };
        let id = AskId { manner: Session::LAST, ..id };
        self.refuse(now, session, id, status, sentence, out);
    }

    /// A stream or a socket was silent. Whether it goes on.
    fn beat(&mut self, now: Now, session: &mut Session, out: &mut impl Outbox) -> bool {
        session.beat = now.at;
        match &mut session.reading {
            Reading::Socket(_) if session.is_asked => false,
            Reading::Socket(socket) => {
                session.is_asked = true;
                self.draft.clear();
                socket.ping(&mut self.draft);
                out.write(session.conn, &self.draft);
                true
            }
            Reading::Stream(_) => self.say_to_listener(session, wire::sse::SILENCE, out),
            Reading::Head
            | Reading::Whole(_)
            | Reading::Parts(..)
            | Reading::Skip(_)
            | Reading::Asked(_)
            | Reading::Nothing => true,
        }
    }

    /// After anything happened to a session: it ends, or is read on, or waits for so long.
    pub(crate) fn settle(&mut self, now: Now, mut session: Box<Session>, out: &mut impl Outbox) {
        let conn = session.conn;
        if session.is_over() {
            out.close(conn, Close::Flushed);
            return self.forget(session);
        }
        session.stalled = match (out.room(conn), session.stalled) {
            (0, since) => since.or(Some(now.at)),
            (_, _) => None,
        };
        if session.is_paused && session.may_read(&self.face.limits, out) {
            session.is_paused = false;
            out.resume(conn);
        }
        let wanted = session.patience(&self.face.limits).map(|(at, _)| at);
        if let Some(at) = wanted
            && session.armed.is_none_or(|armed| at < armed)
        {
            session.armed = Some(at);
            self.deadlines.set(TimerId(conn.0.to_bits()), Some(at));
            self.wake(out);
        }
        self.sessions.put_back(session);
    }

    /// It is over.
    pub(crate) fn forget(&mut self, session: Box<Session>) {
        if session.armed.is_some() {
            self.deadlines.set(TimerId(session.conn.0.to_bits()), None);
        }
        match &session.reading {
            Reading::Socket(_) => self.overs.push_back(Over::Socket(session.conn)),
            Reading::Parts(id, _) => self.overs.push_back(Over::Parts(*id)),
            Reading::Stream(topic) => self.live.leave(*topic, session.conn),
            Reading::Head | Reading::Whole(_) | Reading::Skip(_) | Reading::Asked(_) | Reading::Nothing => {}
        }
        self.sessions.forget(session);
    }

    /// A deadline of the site's own.
    pub(crate) fn arm(&mut self, timer: TimerId, at: Instant, out: &mut impl Outbox) {
        self.deadlines.set(timer, Some(at));
        self.wake(out);
    }

    /// Has the world wake us in time for the earliest deadline.
    fn wake(&mut self, out: &mut impl Outbox) {
        let Some(earliest) = self.deadlines.earliest() else { return };
        if self.woken.is_none_or(|woken| earliest < woken) {
            self.woken = Some(earliest);
            out.wake(TIMER, Some(earliest));
        }
    }
}
