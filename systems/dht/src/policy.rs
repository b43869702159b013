//! What gives way when memory is full: the rules of Redis' `maxmemory-policy`, by the same names.

#![allow(missing_docs, reason = "the derive writes types beside ours, without docs for their fields")]

use rkyv::{Archive, Deserialize, Serialize};

/// What is removed to make room for a write.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// Nothing: the write is refused.
    #[default]
    NoEviction,
    /// Of some keys drawn by chance, the one not used for longest.
    AllKeysLru,
    /// The same among keys that will expire.
    VolatileLru,
    /// Of some keys drawn by chance, the one used least often.
    AllKeysLfu,
    /// The same among keys that will expire.
    VolatileLfu,
    /// Any key.
    AllKeysRandom,
    /// Any key that will expire.
    VolatileRandom,
    /// Of some keys that will expire, the one that would do so first.
    VolatileTtl,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::NoEviction,
        Self::AllKeysLru,
        Self::VolatileLru,
        Self::AllKeysLfu,
        Self::VolatileLfu,
        Self::AllKeysRandom,
        Self::VolatileRandom,
        Self::VolatileTtl,
    ];

    /// Its name in Redis.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoEviction => "noeviction",
            Self::AllKeysLru => "allkeys-lru",
            Self::VolatileLru => "volatile-lru",
            Self::AllKeysLfu => "allkeys-lfu",
            Self::VolatileLfu => "volatile-lfu",
            Self::AllKeysRandom => "allkeys-random",
            Self::VolatileRandom => "volatile-random",
            Self::VolatileTtl => "volatile-ttl",
        }
    }

    /// The one of that name, in any case of letters.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name().eq_ignore_ascii_case(name))
    }

    /// Whether only keys that will expire may go.
    #[must_use]
    pub const fn is_volatile(self) -> bool {
        matches!(self, Self::VolatileLru | Self::VolatileLfu | Self::VolatileRandom | Self::VolatileTtl)
    }

    /// The same, as the table knows it.
    #[must_use]
    pub const fn of_table(self) -> state::Policy {
        match self {
            Self::NoEviction => state::Policy::NoEviction,
            Self::AllKeysLru => state::Policy::AllKeysLru,
            Self::VolatileLru => state::Policy::VolatileLru,
            Self::AllKeysLfu => state::Policy::AllKeysLfu,
            Self::VolatileLfu => state::Policy::VolatileLfu,
            Self::AllKeysRandom => state::Policy::AllKeysRandom,
            Self::VolatileRandom => state::Policy::VolatileRandom,
            Self::VolatileTtl => state::Policy::VolatileTtl,
        }
    }

    /// What the table must note of each use for it.
    #[must_use]
    pub const fn track(self) -> state::Track {
        match self {
            Self::AllKeysLfu | Self::VolatileLfu => state::Track::Frequency,
            _ => state::Track::Recency,
        }
    }
}
