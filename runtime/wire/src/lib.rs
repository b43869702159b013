//! Bytes ⇄ meaning: what clients, cores and nodes say, as bytes and as values.
//!
//! This crate knows nothing about sockets, cores, clocks or systems; it imports none of our crates. Every reader
//! is told all unconsumed bytes from the first one on and answers with an [`Outcome`]: done, partial or fault.
//! The one hard thing, in every file: bytes come cut anywhere, and come slowly from those who wish us ill. So a
//! cut is never a fault, no length is used before it is bounded, nothing is allocated because a length was
//! merely announced, and reading a message in a thousand pieces costs about what reading it in one does.
#![forbid(unsafe_code)]

pub mod frame;
pub mod http;
pub mod link;
mod outcome;
pub mod peer;
pub mod proof;
pub mod resp;
pub mod sse;
pub mod websocket;

pub use outcome::{BLOB_MIN, Outcome};
