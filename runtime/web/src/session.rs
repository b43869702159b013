//! One connection: where it is in what they say, the order in which it is answered, and how long it may take over
//! either. Pure state; `read` and `say` act on it.
//!
//! The one hard thing is patience: each state has its own bound, and moving a deadline for each request would cost
//! more than the request. So a deadline once armed stays, and when it is due the true one is looked up again.

use crate::ask::{AskId, Manner};
use crate::limits::Limits;
use core::time::Duration;
use machine::{ConnId, Instant, Outbox, Pipeline};
use wire::http::{Body, RequestReader};
use wire::websocket::Socket;

/// Where a connection is in what they say.
#[derive(Debug)]
pub(crate) enum Reading {
    /// Between requests, or within a head.
    Head,
    /// Within a body that is brought whole: nothing of the request is used before it is there.
    Whole(Whole),
    /// Within a body that is brought in parts.
    Parts(AskId, Body),
    /// Within a body that nobody wants.
    Skip(Body),
    /// A WebSocket was asked for and not yet granted; nothing more is read.
    Asked(AskId),
    /// A WebSocket.
    Socket(Box<Socket>),
    /// An endless answer to that topic: what they still say means nothing.
    Stream(u16),
    /// Nothing more is read: the last answer is on its way.
    Nothing,
}

/// A body that is gathered.
#[derive(Debug)]
pub(crate) struct Whole {
    pub(crate) id: AskId,
    pub(crate) how: Gather,
}

/// How a body is gathered.
#[derive(Debug)]
pub(crate) enum Gather {
    /// It lies behind its head in the input, until so many bytes are there, the head counted.
    Length(usize),
    /// It comes in chunks: how far they were read, and what they hold.
    Chunks { body: Box<Body>, at: usize, plain: Vec<u8> },
}

/// Why a deadline is set, and what happens when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The next request has not begun: closed without a word.
    Idle,
    /// A head or a body does not come: 408.
    Slow,
    /// They take nothing: reset.
    Stall,
    /// A stream or a socket was silent: something is said.
    Beat,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) conn: ConnId,
    pub(crate) reader: RequestReader,
    pub(crate) pipeline: Pipeline,
    pub(crate) reading: Reading,
    /// When the head or body at hand began.
    pub(crate) began: Instant,
    /// Bytes of a body in parts that came.
    pub(crate) came: u64,
    /// When it last was waiting for nothing but a request, or a socket last was heard.
    pub(crate) quiet_since: Instant,
    /// Since when they take nothing.
    pub(crate) stalled: Option<Instant>,
    /// The deadline that the site holds for it: never after the true one.
    pub(crate) armed: Option<Instant>,
    /// When something is to be said on a stream or a socket.
    pub(crate) beat: Instant,
    /// A ping of ours is not answered.
    pub(crate) is_asked: bool,
    /// They speak HTTP/1.0: what has no end comes without chunks.
    pub(crate) is_old: bool,
    /// Events missed in a row.
    pub(crate) missed: u32,
    pub(crate) is_paused: bool,
    /// The system takes no more of a body for now.
    pub(crate) is_held: bool,
    /// It ends with its last answer.
    pub(crate) is_closing: bool,
}

impl Session {
    pub(crate) fn new(conn: ConnId, now: Instant, limits: &Limits) -> Self {
        Self {
            conn,
            reader: RequestReader::new(limits.http),
            pipeline: Pipeline::new(),
            reading: Reading::Head,
            began: now,
            came: 0,
            quiet_since: now,
            stalled: None,
            armed: None,
            beat: now,
            is_asked: false,
            is_old: false,
            missed: 0,
            is_paused: false,
            is_held: false,
            is_closing: false,
        }
    }

    /// A place for that request's answer.
    pub(crate) fn place(&mut self, manner: Manner) -> AskId {
        AskId { conn: self.conn, ticket: self.pipeline.wait(), manner }
    }

    /// The manner of what is answered before anything was understood: it ends the connection.
    pub(crate) const LAST: Manner = Manner { keeps: false, head_only: false, is_old: false, origin: 0 };

    /// Whether another request may be read now.
    pub(crate) fn may_read(&self, limits: &Limits, out: &impl Outbox) -> bool {
        let has_places = self.pipeline.len() < limits.places_max && self.pipeline.held() < limits.held_max;
        !self.is_held && has_places && !matches!(self.reading, Reading::Asked(_)) && out.room(self.conn) > 0
    }

    /// Whether it is over: the last answer was given.
    pub(crate) fn is_over(&self) -> bool {
        let is_plain = !matches!(self.reading, Reading::Socket(_) | Reading::Stream(_));
        self.is_closing && is_plain && self.pipeline.is_idle()
    }

    /// What it is waited for, and until when; none while it waits for an answer of ours.
    pub(crate) fn patience(&self, limits: &Limits) -> Option<(Instant, Patience)> {
        if let Some(since) = self.stalled {
            return Some((since + limits.stall, Patience::Stall));
        }
        match &self.reading {
            Reading::Head if self.reader.has_begun() => Some((self.began + limits.head, Patience::Slow)),
            Reading::Head if self.pipeline.is_idle() => {
                Some((self.quiet_since + limits.idle, Patience::Idle))
            }
            Reading::Whole(_) | Reading::Skip(_) => Some((self.began + limits.body, Patience::Slow)),
            // The system that holds it back is slow, not they.
            Reading::Parts(..) if self.is_held => None,
            Reading::Parts(..) => {
                let earned = Duration::from_secs(self.came / limits.body_rate.max(1));
                Some((self.began + limits.body + earned, Patience::Slow))
            }
            Reading::Socket(_) | Reading::Stream(_) => Some((self.beat + limits.beat, Patience::Beat)),
            Reading::Head | Reading::Asked(_) | Reading::Nothing => None,
        }
    }
}
