//! faas: functions are registered, run on workers, and their results fetched.
//!
//! A function is a Python callable as bytes that nobody here unpickles; a task is one call of it. A task lives on the
//! core that the ring gives to its id, and waits in that core's queue; functions are known on every core. Any core
//! answers any request: it asks the owner. Workers connect to one core each, which gives them tasks under leases and
//! takes their results; a core whose workers have nothing to do is lent tasks by others.
//!
//! What holds always:
//! - a task that was accepted ends exactly once, whatever is killed on the way;
//! - a result of an attempt whose lease has ended changes nothing: a lease ends with the session of the worker that has
//!   it, reports name their session, and no session is ever another, whatever was started again between them;
//! - nobody is told anything that a power cut could take back, where a log is kept;
//! - what is not wanted costs no processor: no loop, and a timer only when something is due.
//!
//! `shard` only routes. `asks` is what the core does that a client asks, `owner` the one on which a task lives,
//! `dispatcher` the one to which its worker is connected. `dispatch` is what service and worker say to each other,
//! `worker` the other program.

#![forbid(unsafe_code)]

pub mod answers;
mod asks;
pub mod base64;
pub mod config;
pub mod dispatch;
mod dispatcher;
pub mod form;
pub mod functions;
pub mod keep;
pub mod local;
mod look;
mod owner;
pub mod peer;
pub mod pickle;
pub mod python;
pub mod roster;
pub mod shard;
pub mod snapshot;
pub mod task;
pub mod tasks;
pub mod uuid;
pub mod waiters;
pub mod worker;

pub use config::Config;
pub use shard::Faas;
