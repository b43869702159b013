//! Balancer: counters by name, spread over the cores.
//!
//! A client sends lines; each line names a counter and is answered with its new value. Every counter lives on one
//! core, which its name alone decides, so counting needs no lock: a core that is asked for another's counter
//! tells that core and answers when it hears back. The hard thing is that answers keep the order of the lines,
//! whichever core is first.
//!
//! What holds always:
//! - a counter's values are 1, 2, 3, … without a gap, whichever connections and cores ask for it;
//! - the n-th line of a connection is answered by the n-th line back;
//! - a bad line never costs the connection, unless it does not end within [`line::LINE_MAX`] bytes.
//!
//! `shard` only routes: what happened, to whom. `line` and `counters` decide, and return values.

#![forbid(unsafe_code)]

pub mod counters;
pub mod line;
pub mod peer;
pub mod shard;
pub mod spread;

pub use shard::Balancer;

use machine::Address;

/// As the operator meant it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect.
    pub listen: Address,
}
