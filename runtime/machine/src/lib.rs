//! The seam between a system and the world.
//!
//! A system is *told* what happened and *says* what to do. It never asks, waits, looks at a clock or touches
//! a socket. [`Shard`] is what a system implements, one value for each core; [`Outbox`] is what it may ask of
//! the world. The reactor runs a shard on real cores, the simulator runs the same code in a seeded world.
//!
//! This crate knows nothing about io_uring, threads, files or bytes on the wire. What else it holds is what
//! every shard and both worlds need and would otherwise each write again: [ids](id), [integer time](time),
//! [seeded streams](chance), a [slab], the [pipeline] that keeps replies in request order, the
//! [deadlines] of a core and its [gauges].

#![forbid(unsafe_code)]

pub mod blob;
pub mod chance;
pub mod deadlines;
pub mod event;
pub mod gauges;
pub mod id;
pub mod input;
pub mod order;
pub mod pipeline;
pub mod shard;
pub mod slab;
pub mod spent;
pub mod time;

pub use blob::Blob;
pub use chance::{Chance, Stream};
pub use deadlines::Deadlines;
pub use event::{
    Address, ChildEvent, Close, Command, Dial, End, Identity, Kept, Limit, Link, Listening, Opened, PipeKind,
    Signal, Stored, Tls, Why,
};
pub use gauges::Gauges;
pub use id::{ChildId, ConnId, CoreId, ListenerId, LogMark, NodeId, Peer, Seat, TimerId};
pub use input::Input;
pub use order::Order;
pub use pipeline::{Pipeline, Ticket};
pub use shard::{Outbox, Shard};
pub use slab::Slab;
pub use spent::{Event, Spent};
pub use time::{Instant, Now, WallTime};

/// The most bytes that still reach a shard for a connection after it called [`Outbox::pause`].
///
/// What the kernel had already handed over when the pause was asked for; both worlds hold to it.
pub const READ_SLACK: usize = 256 * 1024;

/// The most [`Outbox::tell`]s and [`Outbox::send`]s that one event may cause.
///
/// Both worlds assert it. A command that needs more is cut into pieces, continued by `wake`. With it, what one
/// turn can add to a lane is bounded, and so is the memory behind the promise that `tell` never fails.
pub const FANOUT_MAX: usize = 4096;
