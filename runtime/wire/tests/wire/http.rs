//! HTTP at both ends: what is taken, what is refused, and that both cost the same however they are cut.

mod accepted;
mod body;
mod heads;
mod loops;
mod refused;
mod rows;
mod session;
mod writer;

pub(crate) use session::{request_session, response_session};
