//! The programs: what is typed becomes what is meant, and then the reactor runs it.
//!
//! The only crate that knows systems and reactor together, and the only place where command line, environment and
//! configuration files are read. It decides nothing about a request. What all programs share (options, layering,
//! the READY line, logs, refusals) is here once; a program adds its own options and its plan.

#[cfg(feature = "balancer")]
pub mod balancer;
pub mod doctor;
pub mod doors;
pub mod logs;
pub mod options;
#[cfg(feature = "balancer")]
pub mod sweep;
pub mod values;

#[cfg(feature = "scheduler")]
pub mod scheduler;

#[cfg(feature = "dht")]
pub mod check;
#[cfg(feature = "dht")]
pub mod client;
#[cfg(feature = "dht")]
pub mod dht;
#[cfg(feature = "dht")]
pub mod dht_bounds;
#[cfg(feature = "dht")]
pub mod exchange;
#[cfg(feature = "dht")]
pub mod nodes_file;
#[cfg(feature = "dht")]
pub mod static_nodes;

#[cfg(feature = "faas")]
pub mod faas;
