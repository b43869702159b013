//! faas: functions are registered, run on workers, and their results fetched.
//!
//! A function is a Python callable as bytes that nobody here unpickles; a task is one call of it. Both live on the
//! core that the ring gives to their id. Any core answers any request: it asks the owner. Workers connect to one
//! core each, which gives them tasks under leases and takes their results.
//!
//! What holds always:
//! - a task that was accepted ends exactly once, whatever is killed on the way;
//! - a result of an attempt whose lease has ended changes nothing;
//! - what is not wanted costs no processor: no loop, and a timer only when something is due.
//!
//! `shard` only routes. `dispatch` is what service and worker say to each other, `worker` the other program.

#![forbid(unsafe_code)]

pub mod config;
pub mod dispatch;
pub mod peer;
pub mod shard;
pub mod worker;

pub use config::Config;
pub use shard::Faas;
