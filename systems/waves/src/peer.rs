//! What a core of this system says to another. Archived by rkyv, read in place by the core that hears it.
//!
//! A question carries where its answer belongs, so the core that answers keeps nothing: the asker finds its
//! connection and its place in line by what comes back.

#![allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]

use machine::id::Key;
use machine::{ConnId, Ticket};
use rkyv::{Archive, Serialize};

/// One message.
#[derive(Archive, Serialize, Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Please count one more of that name; it is yours.
    Count {
        /// Where the answer belongs.
        place: Place,
        /// The counter's name.
        name: Vec<u8>,
    },
    /// The answer.
    Counted {
        /// Where it belongs, as it was asked.
        place: Place,
        /// The new value; none when there is no room for another counter.
        value: Option<u64>,
    },
}

/// A line that waits for its answer: the asker's own words, which nobody else reads.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    conn: u64,
    ticket: u64,
}

impl Place {
    /// The place of that line of that connection.
    #[must_use]
    pub fn new(conn: ConnId, ticket: Ticket) -> Self {
        Self { conn: conn.0.to_bits(), ticket: ticket.0 }
    }
}

impl ArchivedPlace {
    /// The same place, to be said back.
    #[must_use]
    pub fn copied(&self) -> Place {
        Place { conn: self.conn.to_native(), ticket: self.ticket.to_native() }
    }

    /// Whose line it was.
    #[must_use]
    pub fn conn(&self) -> ConnId {
        ConnId(Key::from_bits(self.conn.to_native()))
    }

    /// Which of its lines.
    #[must_use]
    pub fn ticket(&self) -> Ticket {
        Ticket(self.ticket.to_native())
    }
}
