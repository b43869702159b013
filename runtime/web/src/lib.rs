//! The face that a system shows to browsers and programs: routes, JSON, pages, live values, WebSockets.
//!
//! `wire` knows what the bytes of HTTP mean and nothing of who speaks. This crate stands between it and a system's
//! shard: it keeps a connection's place in its requests and answers, and says it all through the outbox.
#![forbid(unsafe_code)]
