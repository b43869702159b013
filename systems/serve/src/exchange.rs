//! Tables that travel between servers: `dht export` and `dht import`. What lies between them is a file of RESP
//! requests, which Redis' own tools read and write too.

pub mod export;
pub mod import;
mod talk;
