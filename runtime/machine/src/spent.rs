//! How long an event took. A shard never looks at a clock, and the one reading that a whole turn is told says nothing
//! about the work in it; so the world takes the time between events and tells it, for a shard that shows its users
//! what was slow.

use core::time::Duration;

/// Which call of a shard an event was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// `on_timer`.
    Timer,
    /// `on_order`.
    Order,
    /// `on_peer`.
    Peer,
    /// `on_open`.
    Open,
    /// `on_bytes`.
    Bytes,
    /// `on_room`.
    Room,
    /// `on_end`.
    End,
    /// `on_link`.
    Link,
    /// `on_stored`.
    Stored,
    /// `on_child`.
    Child,
    /// `on_listen`.
    Listen,
    /// `on_gathered`.
    Gathered,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Timer,
        Self::Order,
        Self::Peer,
        Self::Open,
        Self::Bytes,
        Self::Room,
        Self::End,
        Self::Link,
        Self::Stored,
        Self::Child,
        Self::Listen,
        Self::Gathered,
    ];

    /// In one word, for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timer => "timer",
            Self::Order => "order",
            Self::Peer => "peer",
            Self::Open => "open",
            Self::Bytes => "bytes",
            Self::Room => "room",
            Self::End => "end",
            Self::Link => "link",
            Self::Stored => "stored",
            Self::Child => "child",
            Self::Listen => "listen",
            Self::Gathered => "gathered",
        }
    }
}

/// How long the event before this took, by a clock that never goes back: the work, and whatever kept the core from
/// it meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// Which.
    pub event: Event,
    /// How many of them in a row were measured together: messages that came in one batch.
    pub count: u32,
    /// How long all of them took.
    pub took: Duration,
}
