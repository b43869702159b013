//! One client's connection and the request on it, of which there is one at a time.

use super::heads::Origin;
use crate::control::Verb;
use crate::spread::{Key, Seat};
use machine::{ConnId, Instant};
use wire::http::{Asked, Body, Framing, Limits, RequestReader, Version};

/// So many replicas are tried for one request.
pub(super) const TRIES_MAX: usize = 3;

/// Through which door a client came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Its requests go to replicas.
    Traffic,
    /// Its requests are ours.
    Admin,
}

/// Where its request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none, or its head has not wholly come.
    Idle,
    /// It waits until a replica may take it.
    Queued,
    /// It was sent to a replica, perhaps without the end of its body; no answer was passed on yet.
    Asking,
    /// The answer is being passed on.
    Answering,
    /// It is not HTTP any more.
    Tunnel,
    /// It is ours, and its body is coming.
    Collecting,
    /// It is ours, and the keeper of the truth is asked.
    Asked,
}

/// What a request of ours is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ours {
    /// The control interface.
    Control { verb: Verb, is_json: bool },
    /// The admin port: method and target.
    Admin { method: Box<str>, target: Box<str> },
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) door: Door,
    pub(super) origin: Origin,
    pub(super) reader: RequestReader,
    pub(super) phase: Phase,
    /// What is sent to the replica, kept so that it can be sent again; of a request of ours, its body.
    pub(super) head: Vec<u8>,
    pub(super) ours: Option<Ours>,
    /// What its path allows, where it is one of ours.
    pub(super) allow: &'static str,
    pub(super) key: Key,
    pub(super) asked: Asked,
    pub(super) version: Version,
    /// Whether another request may follow.
    pub(super) persists: bool,
    /// Whether it may be sent twice.
    pub(super) is_repeatable: bool,
    pub(super) body: Body,
    pub(super) is_chunked: bool,
    /// Something of the body went to a replica, and is not here any more.
    pub(super) body_begun: bool,
    pub(super) tried: [Seat; TRIES_MAX],
    pub(super) tries: usize,
    /// So many of the first tries do not count against their replicas any more: those may have been replaced.
    pub(super) forgiven: usize,
    pub(super) upstream: Option<ConnId>,
    /// Nothing more is brought, because nobody can take it.
    pub(super) is_paused: bool,
    /// They have said all.
    pub(super) has_said_all: bool,
    /// Whom it waits for, where it waits for one replica.
    pub(super) queued: Option<Seat>,
    /// Which wait in a queue this is.
    pub(super) ticket: u64,
    pub(super) began_at: Instant,
    /// When what is waited for is too late.
    pub(super) deadline: Instant,
    /// When the world will wake us for it: never after it.
    pub(super) armed: Option<Instant>,
}

impl Client {
    pub(super) fn new(door: Door, origin: Origin, limits: Limits, now: Instant) -> Self {
        Self {
            door,
            origin,
            reader: RequestReader::new(limits),
            phase: Phase::Idle,
            head: Vec::new(),
            ours: None,
            allow: "",
            key: Key::of_id(0),
            asked: Asked::Plain,
            version: Version::Http11,
            persists: true,
            is_repeatable: false,
            body: Body::new(Framing::None, limits),
            is_chunked: false,
            body_begun: false,
            tried: [Seat(u16::MAX); TRIES_MAX],
            tries: 0,
            forgiven: 0,
            upstream: None,
            is_paused: false,
            has_said_all: false,
            queued: None,
            ticket: 0,
            began_at: now,
            deadline: now,
            armed: None,
        }
    }

    pub(super) fn tried(&self) -> &[Seat] {
        let tries = self.tries.min(TRIES_MAX);
        &self.tried[self.forgiven.min(tries)..tries]
    }

    /// Whether the request can go to another replica as if nothing had been: nothing of its body is lost, and the
    /// first either did not get it or it does not matter.
    pub(super) fn can_repeat(&self, was_sent: bool) -> bool {
        !self.body_begun && (self.is_repeatable || !was_sent) && self.tries < TRIES_MAX
    }
}
