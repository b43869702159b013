//! A seeded world that runs the same shards as the reactor does, with time, network, disk, processes and chance
//! all drawn from one seed.
//!
//! [`World`] is nodes × cores of a [`machine::Shard`], taken through the same turn as on real cores: timers,
//! peers, completions, lanes, log, writes, sleep. A test connects [`Client`]s, speaks, runs virtual time and
//! looks; what goes wrong on the way is set by [`Faults`]; what the world itself gets wrong on purpose, to prove
//! that a test would notice, by [`Lies`]. [`for_seeds`] runs a test over many seeds and says how to repeat the
//! one that failed. [`transcript`] runs one file of `> sent` and `< expected` against this world and against a
//! real process.
//!
//! The one hard thing is to be neither kinder nor harsher than the seam promises: a promise that is kept better
//! here than by the reactor hides bugs, one that is kept worse invents them. Each promise is therefore checked
//! by one probe in both worlds (tests/).
//!
//! This crate knows nothing about any system, and nothing real: no socket, clock, thread or file, but for the
//! real arm of [`transcript`] and the two variables read by [`for_seeds`].

#![forbid(unsafe_code)]

mod agenda;
mod children;
mod counts;
mod desk;
mod disk;
mod link;
mod net;
mod seeds;
mod server;
mod setup;
mod trace;
pub mod transcript;
mod world;

pub use children::{ChildScript, Fate, Process, Stage};
pub use counts::Counts;
pub use seeds::for_seeds;
pub use server::{Say, Server};
pub use setup::{Faults, Lies, Limits, Setup};
pub use world::{Client, Door, World};
