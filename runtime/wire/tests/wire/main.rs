//! Every reader and writer of the crate, as tables through one `check(input, expected)` each, and cut everywhere.

mod corpus;
mod cuts;
mod frame;
mod http;
mod link;
mod peer;
mod reply;
mod request;
mod websocket;
mod writer;
