//! A load generator that says what a request costs, without fooling anybody.
//!
//! The command line [as typed](cli) becomes a run [as meant](plan); on each core a [client], itself a shard, sends
//! what is [due](pace) on its [sessions](session), checks every reply against the [workload], and [tallies](tally)
//! it; the cores' tallies are merged into a [report] that ends in a [verdict].
//!
//! This crate knows nothing about the systems it measures but their [protocols](protocol). What it must measure and
//! how honestly is told in each module; the one rule over all: a time that the generator itself has lost is shown,
//! never hidden in the server's.

#![forbid(unsafe_code)]

pub mod agent;
pub mod bootstrap;
pub mod cli;
pub mod client;
pub mod compare;
pub mod counters;
pub mod dialler;
pub mod discover;
pub mod doctor;
pub mod environment;
pub mod events;
pub mod files;
pub mod history;
pub mod html;
pub mod http;
pub mod jobs;
pub mod keys;
pub mod live;
pub mod pace;
pub mod packed;
pub mod plan;
pub mod protocol;
pub mod register;
pub mod report;
pub mod routing;
pub mod run;
pub mod saturate;
pub mod scenario;
pub mod series;
pub mod session;
pub mod sizes;
pub mod stage;
pub mod svg;
pub mod sweep;
pub mod table;
pub mod tally;
pub mod units;
pub mod verdict;
pub mod words;
pub mod workload;
