//! A distributed hash table: every core owns a part of all keys, and speaks RESP and framed text.
//!
//! A client is connected to some core; its key is owned by some core. Where they are the same, a request is read,
//! done and answered within one call and nothing is copied but the reply. Where they are not, the core that was asked
//! takes a place in the connection's pipeline, tells the owner, and the answer finds its place when it comes. So
//! replies keep request order whoever is asked, and no core waits.
//!
//! What holds:
//!
//! - A key is touched by its owner alone, in the order in which cores asked it; requests of one connection about one
//!   key are done in their order.
//! - What a command means is said once, in [`store`]; the rest is routing. A command is a line in
//!   [`command::COMMANDS`], a function that reads its words, and an [`act::Act`].
//! - A connection never makes this core hold more than its bounds ([`config::Limits`]): what passes them is not read
//!   until answers have gone.
//! - Malformed requests are answered, in the words that clients match on.
//!
//! This crate knows nothing about sockets, threads, clocks, files or the reactor.

#![forbid(unsafe_code)]

pub mod act;
mod answer;
mod claim;
pub mod clients;
mod cluster;
pub mod command;
pub mod config;
mod deal;
mod dispatch;
pub mod exchange;
pub mod extended;
mod figures;
mod forward;
pub mod frames;
pub mod gather;
pub mod glob;
pub mod info;
pub mod keep;
pub mod latency;
mod local;
mod locks;
pub mod login;
pub mod nodes;
pub mod parameter;
pub mod peer;
pub mod policy;
pub mod refusal;
pub mod reply;
mod run;
pub mod session;
mod several;
mod shard;
pub mod slow;
mod staying;
pub mod store;
mod watch;
pub mod world;

pub use config::{Announce, Config, Limits};
pub use keep::Durability;
pub use peer::{Heard, Said};
pub use shard::Dht;
