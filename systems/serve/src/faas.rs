//! The program `faas`: what is typed becomes what is meant.

pub mod serve;
pub mod worker;
