//! One connection to a replica: idle in its pool, or with one request on it.

use crate::peer::Tenancy;
use machine::{ConnId, Instant};
use wire::http::{Body, Framing, Limits, ResponseReader};

/// A connection to a replica.
#[derive(Debug)]
pub(super) struct Upstream {
    pub(super) tenancy: Tenancy,
    /// Whose request is on it; none: it is idle.
    pub(super) client: Option<ConnId>,
    pub(super) reader: ResponseReader,
    /// The response's body, once its head has come.
    pub(super) body: Option<Body>,
    /// The body is passed on in chunks.
    pub(super) in_chunks: bool,
    /// Another request may follow the answer.
    pub(super) persists: bool,
    pub(super) is_connected: bool,
    pub(super) is_paused: bool,
    pub(super) idle_since: Instant,
}

impl Upstream {
    pub(super) fn new(tenancy: Tenancy, client: ConnId, limits: Limits, now: Instant) -> Self {
        Self {
            tenancy,
            client: Some(client),
            reader: ResponseReader::new(limits),
            body: None,
            in_chunks: false,
            persists: false,
            is_connected: false,
            is_paused: false,
            idle_since: now,
        }
    }

    /// The response's head has come.
    pub(super) fn begin_body(&mut self, framing: Framing, limits: Limits, persists: bool, in_chunks: bool) {
        self.body = Some(Body::new(framing, limits));
        self.persists = persists;
        self.in_chunks = in_chunks;
    }

    /// Whether the whole response has come.
    pub(super) fn is_done(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_done)
    }
}
