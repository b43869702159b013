//! Being laid.

pub mod fatal;
pub mod keeper;
