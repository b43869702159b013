//! What changes while somebody looks: streams of events by topic, and the gauges of all cores, which are asked for
//! when somebody wants them and never otherwise.
//!
//! The one hard thing is what a slow listener costs. An event is written to who has room and missed by who has not;
//! who misses too many in a row is cut. So nothing piles up, whatever they do.

use crate::answer::Answer;
use crate::ask::AskId;
use crate::session::{Reading, Session};
use crate::site::{LIVE, Site, TICKET};
use machine::{Close, ConnId, Gauges, Instant, Now, Outbox};
use std::collections::BTreeMap;
use wire::http::chunk;

/// The topic of the gauges at `/live`; a system's own are below it.
pub const GAUGES: u16 = u16::MAX;

/// How long a browser waits before it comes back, in milliseconds.
const RETRY_MS: u64 = 2000;

/// The media type of Prometheus text.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Who listens to what, and who waits for gauges.
#[derive(Debug, Default)]
pub(crate) struct Live {
    topics: BTreeMap<u16, Vec<ConnId>>,
    /// Who asked for metrics since the gathering that is under way began; they wait for the next, so that what they
    /// see is younger than their asking.
    next: Vec<AskId>,
    /// Who is answered by the one under way.
    asked: Vec<AskId>,
    is_gathering: bool,
    /// Live values are wanted with the next gathering.
    is_due: bool,
    /// When they were last told.
    told: Option<Instant>,
    /// Where bodies are put together; its memory is used again.
    pub(crate) text: Vec<u8>,
}

impl Live {
    pub(crate) fn listeners(&self) -> usize {
        self.topics.values().map(Vec::len).sum()
    }

    pub(crate) fn leave(&mut self, topic: u16, conn: ConnId) {
        if let Some(listeners) = self.topics.get_mut(&topic) {
            listeners.retain(|listener| *listener != conn);
        }
    }
}

impl<R: Copy> Site<R> {
    /// Answers an ask with a stream of events, those of that topic, until they leave.
    pub fn listen(&mut self, now: Now, id: AskId, topic: u16, out: &mut impl Outbox) {
        let Some(mut session) = self.sessions.take(id.conn) else { return };
        if id.manner.head_only {
            self.say(now, &mut session, id, Answer::new(200, wire::sse::MEDIA_TYPE, b""), out);
        } else {
            self.begin_stream(now, &mut session, id, topic, out);
        }
        self.settle(now, session, out);
    }

    pub(crate) fn begin_stream(
        &mut self,
        now: Now,
        session: &mut Session,
        id: AskId,
        topic: u16,
        out: &mut impl Outbox,
    ) {
        let fields = [("Cache-Control", "no-store"), ("X-Accel-Buffering", "no")];
        let answer = Answer::new(200, wire::sse::MEDIA_TYPE, b"").with(&fields);
        self.begin_endless(now, session, id, &answer, out);
        let mut retry = Vec::new();
        wire::sse::retry(RETRY_MS, &mut retry);
        self.begun_part(session, id, &retry, out);
        session.is_old = id.manner.is_old;
        session.reading = Reading::Stream(topic);
        session.beat = now.at;
        self.live.topics.entry(topic).or_default().push(id.conn);
    }

    /// Whether anybody listens to that topic here.
    #[must_use]
    pub fn has_listeners(&self, topic: u16) -> bool {
        self.live.topics.get(&topic).is_some_and(|listeners| !listeners.is_empty())
    }

    /// Tells an event to all who listen to that topic here. Who has no room misses it.
    pub fn publish(&mut self, topic: u16, kind: &str, data: &str, out: &mut impl Outbox) {
        let Some(listeners) = self.live.topics.get(&topic).cloned() else { return };
        let mut bytes = core::mem::take(&mut self.draft);
        bytes.clear();
        wire::sse::event(kind, data, &mut bytes);
        for conn in listeners {
            let Some(mut session) = self.sessions.take(conn) else { continue };
            if self.say_to_listener(&mut session, &bytes, out) {
                self.sessions.put_back(session);
            } else {
                out.close(conn, Close::Now);
                self.forget(session);
            }
        }
        self.draft = bytes;
    }

    /// Tells an event to one listener, the one who asked: what it must know before it hears what is new.
    pub fn tell(&mut self, id: AskId, kind: &str, data: &str, out: &mut impl Outbox) {
        let Some(mut session) = self.sessions.take(id.conn) else { return };
        let mut bytes = core::mem::take(&mut self.draft);
        bytes.clear();
        wire::sse::event(kind, data, &mut bytes);
        if matches!(session.reading, Reading::Stream(_)) {
            self.say_to_listener(&mut session, &bytes, out);
        }
        self.draft = bytes;
        self.sessions.put_back(session);
    }

    /// Says something to a listener that has room. Whether it may stay.
    pub(crate) fn say_to_listener(
        &mut self,
        session: &mut Session,
        bytes: &[u8],
        out: &mut impl Outbox,
    ) -> bool {
        // What stands before it in the pipeline holds it back, too.
        if out.room(session.conn) > 0 && session.pipeline.len() == 1 {
            session.missed = 0;
            say_part(session, bytes, out);
        } else {
            session.missed += 1;
            self.counts.missed += 1;
        }
        session.missed <= self.face.limits.missed_max
    }

    /// Answers with the gauges of all cores, once they are here.
    pub(crate) fn metrics(&mut self, id: AskId, out: &mut impl Outbox) {
        self.live.next.push(id);
        self.gather(out);
    }

    /// Answers with live values: the first as soon as may be.
    pub(crate) fn watch(&mut self, now: Now, out: &mut impl Outbox) {
        let due = self.live.told.map_or(now.at, |told| told + self.face.limits.live);
        self.arm(LIVE, due.max(now.at), out);
    }

    /// Live values are due, if anybody looks.
    pub(crate) fn live_due(&mut self, now: Now, out: &mut impl Outbox) {
        if self.has_listeners(GAUGES) {
            self.live.is_due = true;
            self.gather(out);
            self.arm(LIVE, now.at + self.face.limits.live, out);
        }
    }

    /// Asks all cores, unless that is under way.
    fn gather(&mut self, out: &mut impl Outbox) {
        let live = &mut self.live;
        if !live.is_gathering && (live.is_due || !live.next.is_empty()) {
            live.is_gathering = true;
            live.asked = core::mem::take(&mut live.next);
            out.gather(TICKET);
        }
    }

    /// The gauges of all cores are here: the world's answer with [`TICKET`].
    pub fn gathered(&mut self, now: Now, cores: &[Gauges], out: &mut impl Outbox) {
        let asked = core::mem::take(&mut self.live.asked);
        if !asked.is_empty() {
            let text = Gauges::prometheus(cores);
            for id in asked {
                self.answer(now, id, Answer::new(200, PROMETHEUS, text.as_bytes()), out);
            }
        }
        if core::mem::take(&mut self.live.is_due) && self.has_listeners(GAUGES) {
            self.live.told = Some(now.at);
            let mut text = String::new();
            (self.face.view)(now, cores, &mut text);
            self.publish(GAUGES, "", &text, out);
        }
        self.live.is_gathering = false;
        self.gather(out);
    }
}

/// Says a part of an endless answer: as a chunk, so that programs that read by the piece get each at once.
fn say_part(session: &Session, bytes: &[u8], out: &mut impl Outbox) {
    if session.is_old {
        return out.write(session.conn, bytes);
    }
    out.write(session.conn, chunk::head(bytes.len()).as_bytes());
    out.write(session.conn, bytes);
    out.write(session.conn, chunk::TAIL);
}

/// Ends an endless answer in order, and its connection.
pub(crate) fn end_stream(session: &Session, out: &mut impl Outbox) {
    if !session.is_old && session.pipeline.len() == 1 {
        out.write(session.conn, chunk::LAST);
    }
    out.close(session.conn, Close::Flushed);
}
