//! What cores of the balancer say to each other. Archived by rkyv, read in place by the core that hears it.
//!
//! Core 0 keeps the truth about replicas and tells every core, itself too, each change in order, with a number that
//! grows by one; so all tables are equal after equally many changes. The other cores tell it only what it cannot see:
//! that a replica has nothing in flight any more, or is in trouble, and what their clients ask of it.

#![allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]

use crate::control::Verb;
use crate::spread::Seat;
use machine::id::Key;
use machine::{Address, ConnId};
use rkyv::{Archive, Serialize};

/// One message.
#[derive(Archive, Serialize, Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// From the keeper of the truth to all.
    Changed {
        /// How many changes there were before.
        epoch: u64,
        /// Whose.
        seat: u16,
        /// Which tenant of the seat.
        life: u32,
        /// What.
        change: Change,
    },
    /// To the keeper: nothing is in flight from here to a draining replica.
    Emptied { seat: u16, life: u32 },
    /// To the keeper: requests to it fail here, one after another.
    Trouble { seat: u16, life: u32 },
    /// To the keeper: a client asks for what only it can answer.
    Asks { conn: u64, verb: Word, is_json: bool, body: Vec<u8> },
    /// The answer.
    Answers { conn: u64, status: u16, body: String },
    /// To the keeper: this core was told to drain, and has nothing in flight any more.
    Quiet,
}

/// What changes about a replica.
#[derive(Archive, Serialize, Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has answered: requests may go to it.
    Join {
        /// Its name.
        name: String,
        /// Where it is, as [`Address`] shows it.
        at: String,
        /// Not a newcomer: it takes its whole share from now on.
        is_warm: bool,
    },
    /// It is out for a while, but better than none.
    Eject,
    /// It is in again.
    Return,
    /// Nothing new to it; say when nothing is in flight.
    Drain,
    /// It is gone: what is in flight to it is lost.
    Leave,
}

/// [`Verb`] on its way.
#[derive(Archive, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    List,
    Add,
    Remove,
}

impl From<Verb> for Word {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::List => Self::List,
            Verb::Add => Self::Add,
            Verb::Remove => Self::Remove,
        }
    }
}

impl From<&ArchivedWord> for Verb {
    fn from(word: &ArchivedWord) -> Self {
        match word {
            ArchivedWord::List => Self::List,
            ArchivedWord::Add => Self::Add,
            ArchivedWord::Remove => Self::Remove,
        }
    }
}

/// A connection on its way through another core, which only says it back.
#[must_use]
pub fn conn_bits(conn: ConnId) -> u64 {
    conn.0.to_bits()
}

/// The connection that [`conn_bits`] gave.
#[must_use]
pub fn conn_of(bits: u64) -> ConnId {
    ConnId(Key::from_bits(bits))
}

/// A replica's tenancy: its seat, and which tenant of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenancy {
    /// The seat.
    pub seat: Seat,
    /// Which start of a replica this is, from 1 over all of them.
    pub life: u32,
}

/// Reads an address as it is shown.
#[must_use]
pub fn address(text: &str) -> Address {
    match text.parse() {
        Ok(ip) => Address::Ip(ip),
        Err(_) => match text.rsplit_once(':') {
            Some((host, port)) => Address::Name(host.into(), port.parse().unwrap_or(0)),
            None => Address::Name(text.into(), 0),
        },
    }
}
