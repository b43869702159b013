//! Balancer: an HTTP/1.1 load balancer that owns its replicas.
//!
//! It starts them, watches them, replaces the dead ones under their own names, and spreads requests over them by
//! consistent hashing. Every core relays its own clients' requests by itself: it has a copy of the table of replicas
//! and its part of what may be in flight to each, so that no request asks another core. One core keeps the truth and
//! tells the others each change, in order.
//!
//! What holds always:
//! - a request goes to a replica that has answered a heartbeat, and never to one that was told to leave;
//! - at most `replica_max` requests are in flight to a replica, over all cores; the rest wait in their order;
//! - a request is sent a second time only if that means nothing (by its method, and with all of its body);
//! - memory is bounded by connections: what one side cannot take, the other is not asked for;
//! - an answer that was begun is passed on whole, or the client sees that it was not.
//!
//! `shard` only routes. [`spread`] chooses, [`fleet`] knows the truth, [`view`] a core's copy of it, `relay` passes
//! requests and answers on, [`control`] has the words of `/add` and `/rm`, [`admin`] what an operator sees.

#![forbid(unsafe_code)]

pub mod admin;
pub mod config;
pub mod control;
pub mod desk;
pub mod docker;
pub mod fleet;
mod forward;
pub mod names;
pub mod peer;
pub mod probe;
mod relay;
pub mod replica;
pub mod shard;
pub mod spread;
pub mod view;

pub use config::Config;
pub use shard::Balancer;
