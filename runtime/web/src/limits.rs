//! What each bound of a face is, and what happens when it is reached.

use core::time::Duration;
use wire::http;

/// Bounds of one core's share of a face.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections. One more is answered 503 and closed.
    pub connections_max: usize,
    /// Heads and what surrounds bodies: 414, 431, 400.
    pub http: http::Limits,
    /// Requests of one connection that wait for an answer or behind one; at this many no more are read until one is
    /// answered. More hides more latency to who pipelines; each place costs 40 bytes.
    pub places_max: usize,
    /// Bytes of answers of one connection held back by an earlier request; over it no more are read.
    pub held_max: usize,
    /// From a head's first byte to its last. Then 408.
    pub head: Duration,
    /// From a head to the end of a body that is brought whole; for one in parts this and a second for each
    /// `body_rate` bytes that came. Then 408.
    pub body: Duration,
    /// Bytes a second that a body in parts must come with.
    pub body_rate: u64,
    /// How long a connection may wait for its first or next request. Then it is closed without a word.
    pub idle: Duration,
    /// How long somebody may take nothing of what waits for them. Then the connection is reset.
    pub stall: Duration,
    /// Bytes of a WebSocket message. A longer one ends it, 1009.
    pub message_max: usize,
    /// How long a WebSocket or a stream of events may be silent before something is said: a ping, an empty line. Who
    /// has not answered a ping by the next is gone.
    pub beat: Duration,
    /// Events in a row that a slow listener may miss; at one more it is cut, and comes back by itself.
    pub missed_max: u32,
    /// The shortest time between two live updates of one core.
    pub live: Duration,
}

impl Default for Limits {
    /// 10,000 connections, the heads of `http::Limits`, 64 places, 1 MiB held, 10 s for a head, 30 s for a body, 1 KiB
    /// a second, 60 s idle, 30 s stalled, messages of 256 KiB, a beat of 20 s, 20 events missed, 2 updates a second.
    fn default() -> Self {
        Self {
            connections_max: 10_000,
            http: http::Limits::default(),
            places_max: 64,
            held_max: 1024 * 1024,
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            body_rate: 1024,
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            message_max: 256 * 1024,
            beat: Duration::from_secs(20),
            missed_max: 20,
            live: Duration::from_millis(500),
        }
    }
}
