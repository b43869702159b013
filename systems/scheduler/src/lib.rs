//! A leader, workers, and nothing lost when they die.
//!
//! A cluster of nodes runs programs that people send. One node leads: it gives each job to the worker with the most
//! room. If the leader dies another takes over; if a worker dies its jobs go elsewhere. What all of them agree on is
//! the [`ledger`], a pure state machine fed by a log that a majority has on disk ([`consensus`]).
//!
//! What holds always:
//!
//! - a job that was acknowledged is on the disks of a majority, and reaches exactly one committed end;
//! - only the last attempt that was assigned can end a job; results of others are kept aside as "late";
//! - a job marked at_most_once is never started twice;
//! - a worker that has heard no leader for two thirds of its lease runs nothing any more.
//!
//! The way of a job: somebody sends it to any node ([`asks`](crate)), which proposes it to whoever leads
//! ([`proposals`]); applied, it is acknowledged. The leader chooses a worker ([`placement`], [`leader`]) and proposes
//! that; applied, it tells the worker ([`worker`]), which starts the program ([`run`]), says so, and in the end proposes
//! the result, again and again, until it sees it in its own copy of the ledger. [`crash`] names every arrow of that way.
//!
//! `shard` only routes; [`node`] keeps the order; the nouns decide.

#![forbid(unsafe_code)]

mod asks;
pub mod client;
pub mod config;
pub mod crash;
pub mod entry;
pub mod job;
pub mod leader;
pub mod leader_on_worker;
pub mod ledger;
pub mod load;
pub mod logbook;
pub mod node;
pub mod output;
pub mod page;
pub mod peer;
pub mod placement;
pub mod proposals;
pub mod run;
mod shard;
pub mod spec;
pub mod view;
pub mod worker;
pub mod worker_on_leader;

pub use client::{Client, ClientConfig};
pub use config::{Config, Kind, Member, Terminal};
pub use shard::Scheduler;
