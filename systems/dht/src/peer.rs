//! What cores say to each other. A question carries all that its answer needs to find its way back, so the core
//! that is asked remembers nothing.

#![allow(missing_docs, reason = "the derive writes types beside ours, without docs for their fields")]

use crate::act::{Act, Kind};
use crate::clients::Filter;
use crate::keep::snapshot::Round;
use crate::parameter::Change;
use crate::refusal::Fault;
use crate::reply::{Reply, Shape};
use crate::slow::{Series, Slow};
use crate::world::World;
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
    /// Keep these keys of yours for a deal of mine; once they are, do this.
    Claim {
        /// The deal.
        deal: u64,
        /// What else may go on with the keys.
        hold: Hold,
        /// Until the deal is finished; else until the work is done.
        stays: bool,
        /// There has to be room for what will be stored at the keys; else it is refused.
        stores: bool,
        /// The command, as its place in the table.
        command: u8,
        /// What to do.
        work: Work,
        /// The keys.
        items: Vec<Item>,
    },
    /// Do this and let go of the keys. A long value comes as the blob.
    Finish {
        /// The deal.
        deal: u64,
        /// The command, as its place in the table.
        command: u8,
        /// What to do.
        work: Work,
        /// The keys it is done to.
        items: Vec<Item>,
        /// An answer is waited for.
        hears: bool,
        /// It is a part of what several cores do as one, and logged so.
        fact: Option<Fact>,
    },
    /// What the work on a deal came to. A long value comes as the blob.
    Came {
        /// The deal.
        deal: u64,
        /// The part.
        part: Part,
    },
    /// A long value, as the blob, that belongs to the next that comes to this deal.
    Value {
        /// The deal.
        deal: u64,
        /// The place of its key.
        index: u32,
    },
    /// A question to all cores.
    AskAll {
        /// Which gathering waits for your part.
        gather: u64,
        /// The question.
        question: Question,
    },
    /// About a round of snapshots.
    Round(Round),
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
    /// Its command, as the place in the table, by which its owner counts what it costs.
    pub command: u8,
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

impl Work {
    /// Whether it changes anything.
    #[must_use]
    pub const fn writes(&self) -> bool {
        match self {
            Self::Act(act) => act.writes(),
            // The moment of a snapshot is logged.
            Self::Put { .. } | Self::Flush | Self::Point { .. } => true,
            Self::Nothing
            | Self::Look
            | Self::Size
            | Self::SlotSize(_)
            | Self::SlotKeys { .. }
            | Self::Keys(_)
            | Self::Scan(_)
            | Self::Sample => false,
        }
    }
}

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

/// How a part of what several cores do as one is logged; the deal names it.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// The life of the core that asked.
    pub life: u64,
    /// How many parts there are.
    pub parts: u16,
    /// The keys are kept until another word, when all parts are safe.
    pub stays: bool,
}

/// What else may go on with keys that are claimed.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// They may be read.
    Shared,
    /// Nothing.
    Alone,
    /// Nothing, with any key of the core.
    Whole,
}

/// A core's part of a deal.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// This, to each of the keys.
    Act(Act),
    /// Tell the value of the key at place 0 and whether there is one at place 1.
    Look,
    /// Store a value for the first key; then remove the second one, if there is one.
    Put {
        /// Microseconds after 1970, if it expires.
        until: Option<u64>,
        /// Only if there is room for one more value: it is a copy.
        copies: bool,
    },
    /// Remove all keys.
    Flush,
    /// The moment of this snapshot is now.
    Point {
        /// Its number.
        number: u64,
        /// Somebody waits for it.
        is_urgent: bool,
    },
    /// Count all keys.
    Size,
    /// Count the keys of this slot.
    SlotSize(u16),
    /// Tell keys of a slot.
    SlotKeys {
        /// The slot.
        slot: u16,
        /// At most so many.
        count: u32,
    },
    /// Tell the keys that this pattern describes.
    Keys(Vec<u8>),
    /// Tell some keys.
    Scan(Page),
    /// Tell some key.
    Sample,
}

/// Which keys a SCAN asks for.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// From this slot on.
    pub slot: u16,
    /// From this cursor of the slot on.
    pub cursor: u64,
    /// About so many are looked at.
    pub count: u64,
    /// Only those that it describes.
    pub pattern: Option<Vec<u8>>,
    /// None of them: a type of value was named that there is not.
    pub none: bool,
}

/// A key of a command that has several.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place among the command's keys.
    pub index: u32,
    /// Its slot.
    pub slot: u16,
    /// The key.
    pub key: Text,
    /// The bytes that go with the act.
    pub payload: Text,
    /// How many these are, also where they come later.
    pub length: u32,
}

/// What all cores are asked.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Question {
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
    /// What was slow lately, at most so many?
    Slow(u32),
    /// How often was it?
    SlowCount,
    /// Forget what was slow.
    SlowForget,
    /// Which samples of latency have you?
    Latency,
    /// Forget those of these kinds; of all, when there is none.
    LatencyForget(Vec<String>),
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
    /// How a core does.
    Stats(Box<Stats>),
    /// Keys.
    Keys(Vec<Vec<u8>>),
    /// What is at two keys.
    Seen {
        /// There is something at the first.
        first: bool,
        /// Its value, if it is short.
        value: Vec<u8>,
        /// When it expires.
        until: Option<u64>,
        /// There is something at the second.
        second: bool,
    },
    /// Some keys, and slot and cursor from which to go on.
    Page(Vec<Vec<u8>>, Option<(u16, u64)>),
    /// Some key of so many, and a number that was drawn.
    Sample(Option<Vec<u8>>, u64, u64),
    /// Lines.
    Text(String),
    /// What was slow.
    Slow(Vec<Slow>),
    /// Samples of latency.
    Latency(Vec<Series>),
    /// What the world counts; from this core to itself.
    World(Box<World>),
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
    /// Runs of changes logged since the start.
    pub log_runs: u64,
    /// Groups that became safe together, by how many changes they held.
    pub log_groups: Vec<u64>,
    /// Answers that wait for the disk.
    pub log_held: u64,
    /// Records and parts told at the start, and facts taken back then.
    pub log_replayed: u64,
    /// See there.
    pub log_dropped: u64,
    /// Writes are refused because of the disk.
    pub is_log_refused: bool,
    /// Bytes of the log that a start would read after the last snapshot.
    pub log_grown: u64,
    /// Changes since that snapshot.
    pub unsaved: u64,
    /// Its bytes.
    pub snapshot_bytes: u64,
    /// Keys told in the round of snapshots at hand or the last one, those that were about to change, and the most
    /// bytes that this took.
    pub snapshot_keys: u64,
    /// See there.
    pub snapshot_ahead: u64,
    /// See there.
    pub snapshot_taken: u64,
    /// Requests read, by command.
    pub by_command: Vec<u64>,
    /// Of those, refused before they were done.
    pub refused: Vec<u64>,
    /// Time that requests took, by command, in nanoseconds.
    pub nanos: Vec<u64>,
    /// The most bytes that keys were ever taken to cost.
    pub bytes_peak: u64,
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
