//! Being laid.

pub mod fatal;
