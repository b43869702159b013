//! HTTP/1.1 and 1.0, both ends: what browsers, programs and replicas say to each other.
//!
//! [`RequestReader`] is the server's side, [`ResponseReader`] the client's (a balancer, a load generator), and
//! [`Body`] what follows either head. [`HeadWriter`] says both heads, [`chunk`] what goes around a payload.
//! Source: RFC 9110 (meaning) and RFC 9112 (bytes); every [`Fault`] names its section.
//!
//! The one hard thing: two programs that read the same bytes must agree where a message ends, or a stranger
//! slips a request into somebody else's connection. So there is one way to read every byte, and what the RFCs
//! allow to be repaired (a bare line feed, a folded line, a repeated length) is refused. A connection that gave
//! a fault is never read again.
//!
//! A server's loop, in short:
//!
//! ```
//! use wire::Outcome;
//! use wire::http::{Body, Framing, HeadWriter, Limits, RequestReader, Version};
//!
//! let (limits, mut out) = (Limits::default(), Vec::new());
//! let mut reader = RequestReader::new(limits);
//! let bytes = b"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi";
//! match reader.next(bytes) {
//!     Outcome::Done { value: head, used } => {
//!         assert_eq!((head.path(), head.query()), ("/a", Some("b")));
//!         let mut body = Body::new(head.framing, limits);
//!         while !body.is_done() {
//!             let piece = body.next(&bytes[used..]).expect("well framed");
//!             assert_eq!(&bytes[used..][piece.payload], b"hi");
//!         }
//!         let mut answer = HeadWriter::response(&mut out, Version::Http11, 204, "");
//!         answer.framing(Framing::None);
//!         answer.end();
//!         assert_eq!(out, b"HTTP/1.1 204 No Content\r\n\r\n");
//!     }
//!     Outcome::Partial { need } => assert!(need > bytes.len(), "wait for more"),
//!     Outcome::Fault(fault) => println!("answer {}, then close", fault.status()),
//! }
//! ```

mod body;
mod byte;
pub mod chunk;
mod date;
mod fault;
mod fields;
mod framing;
mod limits;
mod lines;
mod method;
mod ordinary;
mod progress;
mod request;
mod response;
mod status;
mod target;
mod text;
mod writer;

pub use body::{Body, Piece};
pub use date::{DATE_BYTES, date};
pub use fault::Fault;
pub use fields::{EndToEnd, Field, Fields, Iter};
pub use framing::{Connection, Framing};
pub use limits::{FIELDS_CEILING, HEAD_CEILING, Limits, METHOD_MAX};
pub use method::{Asked, Method};
pub use request::{RequestHead, RequestReader};
pub use response::{ResponseHead, ResponseReader};
pub use status::reason;
pub use target::{Target, is_host};
pub use text::{BadEscape, decode, has_token, pairs, tokens};
pub use writer::{HeadWriter, Unsayable};

/// The two versions that are spoken here. Another one is [`Fault::VersionUnknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0: connections end after each message unless both say otherwise; no chunks.
    Http10,
    /// HTTP/1.1
    Http11,
}

impl Version {
    /// As it stands in a start line.
    #[inline]
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}
