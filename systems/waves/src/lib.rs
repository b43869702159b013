//! A network of units, each with a queue of tasks, balanced by wave algorithms and watched live.
//!
//! A unit is a process in the sense of the books: it knows its own links and nothing else. Units live on cores, as
//! the ring says; what one writes to another is a letter, and letters travel in posts from core to core, also where
//! both live on the same. A wave (an echo, or one of Finn's) goes over them, collects what they have, and a balancer
//! moves tasks by it. Everything that happens can be seen on one page.
//!
//! What holds:
//!
//! - A wave that meets no fault takes exactly the messages that the literature says, and its decision rests on every
//!   unit. [`wave::monitor`] looks at each one; a broken property is counted and shown.
//! - A wave that meets faults ends, and says what is missing.
//! - Waves overlap freely: what a letter changes is its own wave's alone.
//! - A task is finished once, or lost with its unit; it moves whole or not at all.
//! - Where no unit has a task and no wave is under way, no timer is set and no core wakes.
//!
//! `shard` only routes. The nouns decide: [`wave`], [`task`], [`balance`], [`book`], [`news`].

#![forbid(unsafe_code)]

pub mod apart;
mod asks;
pub mod balance;
pub mod book;
mod config;
pub mod families;
mod hears;
pub mod letter;
pub mod network;
pub mod news;
pub mod peer;
mod shard;
pub mod share;
pub mod task;
pub mod topology;
pub mod tree;
pub mod wave;

pub use config::Config;
pub use shard::Waves;
