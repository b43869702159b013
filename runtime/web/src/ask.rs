//! A request as a system gets it: where it goes, what stands in it, and by which id it is answered, now or later,
//! from here or by way of another core.

use crate::query::Query;
use crate::route::Parameters;
use machine::id::Key;
use machine::{ConnId, Ticket};
use serde::Deserialize;
use std::borrow::Cow;
use wire::http::RequestHead;

/// A request that is to be answered. Small, and the same wherever it goes: it may cross cores and come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskId {
    pub(crate) conn: ConnId,
    pub(crate) ticket: Ticket,
    pub(crate) manner: Manner,
}

/// What of a request its answer's form depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Manner {
    /// The connection goes on after it.
    pub(crate) keeps: bool,
    /// It was HEAD: the answer has a head alone.
    pub(crate) head_only: bool,
    /// They speak HTTP/1.0: no chunks.
    pub(crate) is_old: bool,
    /// Which of the face's origins asked, from 1; 0 for none of them.
    pub(crate) origin: u8,
}

const KEEPS: u64 = 1 << 63;
const HEAD_ONLY: u64 = 1 << 62;
const IS_OLD: u64 = 1 << 61;
const ORIGIN_SHIFT: u32 = 53;

impl AskId {
    /// The connection it came by.
    #[must_use]
    pub const fn conn(self) -> ConnId {
        self.conn
    }

    /// In two words, for a message to another core.
    #[must_use]
    pub const fn to_bits(self) -> (u64, u64) {
        let Manner { keeps, head_only, is_old, origin } = self.manner;
        let flags = keeps as u64 * KEEPS + head_only as u64 * HEAD_ONLY + is_old as u64 * IS_OLD;
        let manner = flags | (origin as u64) << ORIGIN_SHIFT;
        (self.conn.0.to_bits(), self.ticket.0 | manner)
    }

    /// The id that [`to_bits`](Self::to_bits) gave.
    #[must_use]
    pub const fn from_bits((conn, ticket): (u64, u64)) -> Self {
        let manner = Manner {
            keeps: ticket & KEEPS != 0,
            head_only: ticket & HEAD_ONLY != 0,
            is_old: ticket & IS_OLD != 0,
            origin: (ticket >> ORIGIN_SHIFT) as u8,
        };
        let ticket = Ticket(ticket & ((1 << ORIGIN_SHIFT) - 1));
        Self { conn: ConnId(Key::from_bits(conn)), ticket, manner }
    }
}

/// A request. Its texts lie in the bytes that brought it.
#[derive(Debug)]
pub struct Ask<'i, R> {
    /// By which it is answered. Every ask is answered, or its connection waits for ever.
    pub id: AskId,
    /// What the routes say.
    pub to: R,
    /// Its method, target and fields.
    pub head: RequestHead<'i>,
    /// What the route names of the path.
    pub parameters: Parameters<'i>,
    /// All of its body; empty for a route whose body comes in parts.
    pub body: Cow<'i, [u8]>,
}

impl<'i, R> Ask<'i, R> {
    /// What stands behind the question mark.
    #[must_use]
    pub fn query(&self) -> Query<'i> {
        Query::new(self.head.query().unwrap_or(""))
    }

    /// Whether the body says that it is JSON: `application/json`, or any `+json`.
    #[must_use]
    pub fn is_json(&self) -> bool {
        let media = self.head.fields.get("content-type").unwrap_or_default();
        let media = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        media.eq_ignore_ascii_case(b"application/json") || media.to_ascii_lowercase().ends_with(b"+json")
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// A sentence for who sent it: what is wrong, and at which line and column.
    pub fn json<'b, T: Deserialize<'b>>(&'b self) -> Result<T, String> {
        serde_json::from_slice(&self.body).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_another_core() {
        for manner in 0..8 {
            let id = AskId {
                conn: ConnId(Key { index: 7, generation: u32::MAX }),
                ticket: Ticket(1 << 40),
                manner: Manner {
                    keeps: manner & 1 > 0,
                    head_only: manner & 2 > 0,
                    is_old: manner & 4 > 0,
                    origin: 36 * manner,
                },
            };
            assert_eq!(AskId::from_bits(id.to_bits()), id);
        }
    }
}
