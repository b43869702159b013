//! What cores say to each other. A question carries all that its answer needs to find its way back, so the core
//! that is asked remembers nothing.

#![allow(missing_docs, reason = "the derive writes types beside ours, without docs for their fields")]

use crate::act::{Act, Kind};
use crate::clients::Filter;
use crate::parameter::Change;
use crate::refusal::Fault;
use crate::reply::{Reply, Shape};
use machine::Blob;
use rkyv::rancor::{Failure, Strategy};
use rkyv::{Archive, Deserialize, Serialize};
use smallvec::SmallVec;

/// A key or a short value; most have no allocation of their own.
pub type Text = SmallVec<[u8; 32]>;

/// What a core says.
#[derive(Archive, Serialize, Debug)]
pub enum Said {
    /// Do this to a key of yours. A long payload comes as the blob.
    Ask {
        /// Who waits for the answer.
        asker: Asker,
        /// The key's slot.
        slot: u16,
        /// What to do.
        act: Act,
        /// The key.
        key: Text,
        /// The bytes that go with the act.
        payload: Text,
    },
    /// What it came to. A long value comes as the blob.
    Answer {
        /// Who waits for it.
        asker: Asker,
        /// The reply.
        told: Told,
    },
    /// Do this to several keys of yours.
    AskMany {
        /// Which gathering waits for your part.
        gather: u64,
        /// What to do to each.
        act: Act,
        /// The keys.
        items: Vec<Item>,
    },
    /// A question to all cores.
    AskAll {
        /// Which gathering waits for your part.
        gather: u64,
        /// The question.
        question: Question,
    },
    /// So many clients are connected to me.
    Crowd(u32),
    /// A core's part of what is gathered.
    Part {
        /// The gathering.
        gather: u64,
        /// The part.
        part: Part,
    },
}

/// What a core hears.
pub type Heard = ArchivedSaid;

/// The place of a waiting request, on the core that asks.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The connection, as bits.
    pub conn: u64,
    /// Its ticket.
    pub ticket: u64,
    /// How the answer is told.
    pub shape: Shape,
}

/// A reply on its way.
#[derive(Archive, Serialize, Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Done.
    Ok,
    /// No such value, or not done.
    Nil,
    /// A number.
    Integer(i64),
    /// A short value.
    Bulk(Text),
    /// The blob that comes along.
    Blob,
    /// The kind of a value.
    Kind(Kind),
    /// Not done, and why.
    Refused(Fault),
}

impl Told {
    /// A reply as it travels, with its blob.
    #[must_use]
    pub fn of(reply: Reply<'_>) -> (Self, Option<Blob>) {
        let told = match reply {
            Reply::Ok => Self::Ok,
            Reply::Nil => Self::Nil,
            Reply::Integer(number) => Self::Integer(number),
            Reply::Bulk(bytes) => Self::Bulk(Text::from_slice(bytes)),
            Reply::Blob(blob) => return (Self::Blob, Some(blob)),
            Reply::Kind(kind) => Self::Kind(kind),
            Reply::Refused(fault) => Self::Refused(fault),
        };
        (told, None)
    }
}

impl Told {
    /// The reply, with the blob that came along.
    ///
    /// # Panics
    /// When it says that a blob comes and none did: a core of ours would be lying.
    #[must_use]
    pub fn reply(&self, blob: Option<Blob>) -> Reply<'_> {
        match self {
            Self::Ok => Reply::Ok,
            Self::Nil => Reply::Nil,
            Self::Integer(number) => Reply::Integer(*number),
            Self::Bulk(bytes) => Reply::Bulk(bytes),
            Self::Blob => Reply::Blob(blob.expect(BLOB_COMES)),
            Self::Kind(kind) => Reply::Kind(*kind),
            Self::Refused(fault) => Reply::Refused(*fault),
        }
    }
}

const BLOB_COMES: &str = "a blob comes with the word that announces it";

impl ArchivedTold {
    /// The reply that was sent, with the blob that came along.
    ///
    /// # Panics
    /// When it says that a blob comes and none did: a core of ours would be lying.
    #[must_use]
    pub fn reply(&self, blob: Option<Blob>) -> Reply<'_> {
        match self {
            Self::Ok => Reply::Ok,
            Self::Nil => Reply::Nil,
            Self::Integer(number) => Reply::Integer(number.to_native()),
            Self::Bulk(bytes) => Reply::Bulk(bytes),
            Self::Blob => Reply::Blob(blob.expect(BLOB_COMES)),
            Self::Kind(kind) => Reply::Kind(native(kind)),
            Self::Refused(fault) => Reply::Refused(native(fault)),
        }
    }
}

/// A key of a command that has several.
#[derive(Archive, Serialize, Debug)]
pub struct Item {
    /// Its place among the command's keys.
    pub index: u32,
    /// Its slot.
    pub slot: u16,
    /// The key.
    pub key: Text,
    /// The bytes that go with the act.
    pub payload: Text,
}

/// What all cores are asked.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// How many keys have you?
    Size,
    /// Remove all keys.
    Flush,
    /// How do you do?
    Stats,
    /// Count from zero again.
    ResetStats,
    /// Who is connected to you?
    Clients(Filter),
    /// Let these clients go.
    Kill(Filter),
    /// From now on these bounds hold.
    Change(Change),
    /// How many keys have you of this slot?
    SlotSize(u16),
    /// Which keys have you of this slot?
    SlotKeys {
        /// The slot.
        slot: u16,
        /// At most so many.
        count: u32,
    },
}

/// A part of what is gathered.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// It is done.
    Done,
    /// A number to be added.
    Count(i64),
    /// The values that are there, by the places of their keys.
    Values(Vec<(u32, Vec<u8>)>),
    /// Keys.
    Keys(Vec<Vec<u8>>),
    /// How a core does.
    Stats(Box<Stats>),
    /// Lines.
    Text(String),
    /// Not done, and why.
    Refused(Fault),
}

/// How a core does.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Which core.
    pub core: u16,
    /// Keys it owns.
    pub keys: u64,
    /// Those of them that will expire.
    pub expiring: u64,
    /// Bytes they are taken to cost.
    pub bytes: u64,
    /// Connections open.
    pub connections: u64,
    /// Connections ever taken.
    pub accepted: u64,
    /// Connections turned away.
    pub rejected: u64,
    /// Requests ever read.
    pub commands: u64,
    /// Look-ups that found something.
    pub hits: u64,
    /// Look-ups that found nothing.
    pub misses: u64,
    /// Entries whose time had come.
    pub expired: u64,
    /// Questions to other cores.
    pub hops: u64,
    /// Bytes of requests read.
    pub bytes_in: u64,
    /// Bytes that connections are taken to cost, with the answers that wait here.
    pub held: u64,
    /// Keys that gave way to others.
    pub evicted: u64,
    /// Clients let go because they were idle.
    pub idled: u64,
    /// Clients cut off because they did not take their answers.
    pub overfull: u64,
    /// Requests read, by command.
    pub by_command: Vec<u64>,
    /// Of those, refused before they were done.
    pub refused: Vec<u64>,
    /// Errors told, by their first word.
    pub errors: Vec<(String, u64)>,
}

/// The value that an archived one was made of. For types without pointers it costs what a copy does.
pub fn native<T>(archived: &T::Archived) -> T
where
    T: Archive,
    T::Archived: Deserialize<T, Strategy<(), Failure>>,
{
    let mut unit = ();
    // Only shared pointers and layouts over isize::MAX can fail, and no message has either.
    archived.deserialize(Strategy::<(), Failure>::wrap(&mut unit)).expect("a message has only plain values")
}
