//! What a core of this system says to another. Archived by rkyv, read in place by the core that hears it.
//!
//! A question carries who asked, so whoever answers keeps nothing of it. Long texts (trees, news) travel as the blob.

#![allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]

use crate::letter::{Algorithm, Post, Purpose};
use crate::wave::monitor::Tally;
use rkyv::{Archive, Deserialize, Serialize};

/// One message.
#[derive(Archive, Serialize, Clone, Debug, PartialEq)]
pub enum Said {
    /// Letters for units of yours.
    Post(Post),
    /// A unit of yours is to start a wave.
    Launch { algorithm: Algorithm, purpose: Purpose, unit: u32, asker: Asker },
    /// It has (the wave's id), or cannot.
    Launched { asker: Asker, wave: Option<u64> },
    /// What an echo brought, for who asked: the tree as the blob.
    Brought(Asker),
    /// So many of my units decided in a wave of yours.
    Decided { wave: u64, count: u32 },
    /// What have you counted of this wave? If it is over, forget it.
    Settle { wave: u64, is_over: bool },
    /// This.
    Settled { wave: u64, counted: Counted },
    /// The blob is for all clients of the balancer's socket.
    Broadcast,
    /// The network should change. Asked of the first core, which orders all changes.
    Please { change: Change, asker: Asker },
    /// The network changes, on every core in this order.
    Change { change: Change, at: u64 },
    /// New tasks for a unit of yours.
    AddTasks { unit: u32, count: u32, asker: Asker },
    /// It was done, or was not.
    Done { asker: Asker, is_done: bool },
    /// Tasks of your units that should go elsewhere.
    Shift { shifts: Vec<Shift>, asker: Asker },
    /// Tasks for your units.
    Offer(Vec<Offer>),
    /// Which of those you offered are taken.
    Answer(Vec<(u64, bool)>),
    /// I have listeners who want to know what happens at your place; or none any more.
    Watch(bool),
    /// What has happened here, for your listeners: the blob.
    News,
    /// What have your units?
    Look(Asker),
    /// This: unit and tasks.
    Seen { asker: Asker, loads: Vec<(u32, u32)>, reports: String },
    /// Units of mine have tasks; or none has any more.
    Busy(bool),
    /// A wave of mine is over: what became of it is the blob.
    Report { is_broken: bool },
}

/// Who waits for an answer.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The core on which they are.
    pub core: u16,
    /// Who.
    pub whom: Whom,
}

/// Who, on their core.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Nobody.
    Nobody,
    /// A request, by its two words.
    Ask(u64, u64),
    /// A request that wants the result, by its two words.
    AskResult(u64, u64),
    /// A socket.
    Socket(u64),
    /// A question of the core itself, by number.
    Look(u64),
}

/// A change of the network.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A unit dies.
    Kill(u32),
    /// It is there again, empty.
    Revive(u32),
    /// A link carries nothing.
    Cut(u32, u32),
    /// It does again.
    Heal(u32, u32),
    /// A further unit, linked to these.
    Add { name: String, port: u16, cpu: u32, linked_to: Vec<u32> },
}

/// So many tasks from one unit to another.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shift {
    pub from: u32,
    pub to: u32,
    pub count: u32,
}

/// A task that was taken from its unit.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub id: u64,
    pub left: u64,
    pub to: u32,
}

/// A tally as it travels.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub joined: u32,
    pub sent: u64,
    pub received: u64,
    pub strays: u64,
    pub beats: u64,
    pub gave_up: u32,
    pub channel_max: u32,
    pub decided: u32,
    pub rests_on: Option<u32>,
    pub unfinished: u32,
}

impl From<Tally> for Counted {
    fn from(tally: Tally) -> Self {
        Self {
            joined: tally.joined,
            sent: tally.sent,
            received: tally.received,
            strays: tally.strays,
            beats: tally.beats,
            gave_up: tally.gave_up,
            channel_max: tally.channel_max,
            decided: tally.decided,
            rests_on: tally.rests_on,
            unfinished: tally.unfinished,
        }
    }
}

impl From<Counted> for Tally {
    fn from(counted: Counted) -> Self {
        Self {
            joined: counted.joined,
            sent: counted.sent,
            received: counted.received,
            strays: counted.strays,
            beats: counted.beats,
            gave_up: counted.gave_up,
            channel_max: counted.channel_max,
            decided: counted.decided,
            rests_on: counted.rests_on,
            unfinished: counted.unfinished,
        }
    }
}

/// A small part of a message, out of the archive.
pub fn native<T>(archived: &T::Archived) -> T
where
    T: Archive,
    T::Archived: Deserialize<T, rkyv::rancor::Strategy<(), rkyv::rancor::Failure>>,
{
    let mut strategy = ();
    let made = archived.deserialize(rkyv::rancor::Strategy::wrap(&mut strategy));
    made.expect("a message of our own core is as it was written")
}
