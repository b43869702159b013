//! What the operator wants of a shard while it runs.

use crate::time::Instant;

/// An order to a shard.
#[derive(Debug)]
pub enum Order<'a, Config> {
    /// The configuration was read again.
    Reload(&'a Config),
    /// Take nothing new, finish what is in flight, then say [`drained`](crate::Outbox::drained). Listeners no
    /// longer accept.
    Drain {
        /// When the world stops waiting.
        by: Instant,
    },
}
