//! RESP2 and RESP3, both ends: what Redis clients and servers say to each other.
//!
//! [`Reader`] and [`Writer`] are the server's side, [`Replies`] and [`write_request`] the client's (a load
//! generator, tests, a node that forwards). Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>,
//! and where the text is silent, what redis-server 7 does. The one hard thing: clients recognise errors by their
//! exact words and depend on what is accepted by accident, so strictness is copied, not invented.

mod fault;
mod inline;
mod number;
mod plain;
mod replies;
mod reply;
mod request;
mod writer;

pub use fault::Fault;
pub use number::integer;
pub use plain::Plain;
pub use replies::Replies;
pub use reply::{Elements, Many, Reply, ReplyFault, ReplyLimits};
pub use request::{Arguments, Limits, Reader, Request};
pub use writer::{Writer, write_request};

/// Which of the two protocols a connection speaks; it begins with two and `HELLO 3` changes it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RESP2: five types, null as a length of -1.
    #[default]
    Two,
    /// RESP3: maps, sets, pushes, doubles, booleans and a null of its own.
    Three,
}
