//! A command that waits for several cores: what is still missing, and how the parts are put together.
//!
//! Parts come in any order; what is told does not depend on it. One core's objection is the whole command's answer,
//! but the other parts are waited for all the same, so that nothing of it is under way when the client hears.

use crate::command::Sections;
use crate::config::Limits;
use crate::info::{self, Facts};
use crate::latency::{self, LatencyWord};
use crate::peer::{Part, Stats};
use crate::refusal::Fault;
use crate::reply::{Reply, Shape, Sink, Tell};
use crate::slow::{self, Series, Slow};
use machine::blob::BLOB_MIN;
use machine::{Blob, ConnId, Ticket};
use wire::resp::Writer;

/// How parts become one answer, and what has come so far.
#[derive(Debug)]
pub enum Fold {
    /// OK, once all are done.
    Done,
    /// This word.
    Word(&'static str),
    /// The sum.
    Sum(i64),
    /// Values in the order of their keys.
    Values(Vec<Option<Got>>),
    /// Keys of a page, and the cursor of the next.
    Page {
        /// The core that is asked.
        core: u16,
        /// How many cores there are.
        cores: u16,
        /// The cursor; 0 at the end.
        next: u64,
        /// The keys.
        keys: Vec<Vec<u8>>,
    },
    /// One key of all, and how many those were from which it was chosen.
    Sample(Option<Vec<u8>>, u64),
    /// Lines one after another.
    Text(String),
    /// Keys one after another.
    Keys(Vec<Vec<u8>>),
    /// OK when one was let go, else that there was none.
    Killed(i64),
    /// The sum, or this if it is less.
    Bounded(i64, u32),
    /// The newest slow events, at most so many.
    Slow(Vec<Slow>, u32),
    /// What LATENCY tells of these samples.
    Latency(LatencyWord, Vec<Series>),
    /// What MEMORY STATS tells of how the cores do.
    Memory(Vec<Stats>),
    /// The sections of INFO, from how the cores do.
    Info {
        /// Which.
        sections: Sections,
        /// What is told of the process.
        facts: Box<Facts>,
        /// How they do.
        cores: Vec<Stats>,
    },
}

/// A value that waits for others.
#[derive(Debug)]
pub enum Got {
    /// A short one.
    Bytes(Vec<u8>),
    /// A long one.
    Blob(Blob),
}

impl Got {
    fn of(bytes: Vec<u8>) -> Self {
        if bytes.len() < BLOB_MIN { Self::Bytes(bytes) } else { Self::Blob(Blob::from(bytes)) }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Blob(blob) => blob.len(),
        }
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What has been put together so far.
#[derive(Debug)]
pub struct Sum {
    fold: Fold,
    refused: Option<Fault>,
    /// Bytes of values.
    bytes: usize,
    bytes_max: usize,
}

impl Sum {
    /// Nothing yet, of a command with `keys` keys.
    #[must_use]
    pub fn new(mut fold: Fold, keys: usize, limits: &Limits) -> Self {
        if let Fold::Values(values) = &mut fold {
            values.resize_with(keys, || None);
        }
        Self { fold, refused: None, bytes: 0, bytes_max: limits.answer_max }
    }

    /// What the act on the key at `index` came to, on this core.
    pub fn add_reply(&mut self, index: usize, reply: Reply<'_>) {
        let got = match reply {
            Reply::Bulk(bytes) => Got::Bytes(bytes.to_vec()),
            Reply::Blob(blob) => Got::Blob(blob),
            Reply::Integer(number) => return self.add(Part::Count(number)),
            Reply::Refused(fault) => return self.add(Part::Refused(fault)),
            Reply::Ok | Reply::Nil | Reply::Kind(_) => return,
        };
        self.put(index, got);
    }

    /// A core's part.
    pub fn add(&mut self, part: Part) {
        match (&mut self.fold, part) {
            (_, Part::Refused(fault)) => self.refused = Some(fault),
            (Fold::Sum(sum) | Fold::Bounded(sum, _) | Fold::Killed(sum), Part::Count(number)) => {
                *sum += number
            }
            (Fold::Slow(all, _), Part::Slow(more)) => all.extend(more),
            (Fold::Latency(_, all), Part::Latency(more)) => slow::merge(all, more),
            (Fold::Info { facts, .. }, Part::World(world)) => facts.world = Some(*world),
            (Fold::Memory(cores), Part::Stats(stats)) => cores.push(*stats),
            (Fold::Text(text), Part::Text(more)) => text.push_str(&more),
            (Fold::Info { cores, .. }, Part::Stats(stats)) => cores.push(*stats),
            (Fold::Keys(keys), Part::Keys(more)) => keys.extend(more),
            (Fold::Page { core, cores, next, keys }, Part::Page(more, place)) => {
                *next = scan_cursor(*core, *cores, place);
                *keys = more;
            }
            (Fold::Sample(chosen, of), Part::Sample(Some(key), len, drawn)) => {
                // Each core's key with the chance that its keys have among all so far.
                *of += len;
                if drawn % (*of).max(1) < len {
                    *chosen = Some(key);
                }
            }
            (Fold::Values(_), Part::Values(values)) => {
                for (index, value) in values {
                    self.put(index as usize, Got::of(value));
                }
            }
            _ => {}
        }
    }

    /// Whether the world has to be asked for it.
    pub(crate) fn asks_world(&self) -> bool {
        matches!(&self.fold, Fold::Info { sections, .. } if sections.has("memory", true) || sections.has("cores", true))
    }

    /// Whether the whole is refused.
    pub(crate) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Why it is.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.refused
    }

    /// The sum so far; 0 for what is none.
    pub(crate) fn total(&self) -> i64 {
        if let Fold::Sum(sum) = self.fold { sum } else { 0 }
    }

    /// The sum is this, whatever has come.
    pub(crate) fn set_total(&mut self, total: i64) {
        if let Fold::Sum(sum) = &mut self.fold {
            *sum = total;
        }
    }

    /// One more value; the whole is refused when they are too long together.
    pub(crate) fn put(&mut self, index: usize, got: Got) {
        self.bytes += got.len();
        if self.bytes > self.bytes_max {
            self.refused = Some(Fault::AnswerTooLong);
        }
        if self.refused.is_none()
            && let Fold::Values(values) = &mut self.fold
            && let Some(place) = values.get_mut(index)
        {
            *place = Some(got);
        }
    }
}

impl Tell for Sum {
    fn tell(self, shape: Shape, into: &mut impl Sink) {
        if shape == Shape::Silent {
            return;
        }
        let version = shape.version();
        match (self.refused, self.fold) {
            (Some(fault), _) => Reply::Refused(fault).tell(shape, into),
            (None, Fold::Done) => Reply::Ok.tell(shape, into),
            (None, Fold::Word(word)) => Writer::new(into.bytes(), version).simple(word),
            (None, Fold::Sum(sum)) => Reply::Integer(sum).tell(shape, into),
            (None, Fold::Bounded(sum, most)) => Reply::Integer(sum.min(i64::from(most))).tell(shape, into),
            (None, Fold::Slow(all, most)) => {
                slow::write(all, most as usize, &mut Writer::new(into.bytes(), version));
            }
            (None, Fold::Latency(word, all)) => {
                latency::write(&word, &all, &mut Writer::new(into.bytes(), version));
            }
            (None, Fold::Keys(keys)) => write_keys(&keys, &mut Writer::new(into.bytes(), version)),
            (None, Fold::Page { next, keys, .. }) => {
                let mut writer = Writer::new(into.bytes(), version);
                writer.array(2);
                writer.bulk(itoa::Buffer::new().format(next).as_bytes());
                write_keys(&keys, &mut writer);
            }
            (None, Fold::Sample(None, _)) => Reply::Nil.tell(shape, into),
            (None, Fold::Sample(Some(key), _)) => Reply::Bulk(&key).tell(shape, into),
            (None, Fold::Text(text)) => {
                Writer::new(into.bytes(), version).verbatim(*b"txt", text.as_bytes());
            }
            (None, Fold::Killed(0)) => Writer::new(into.bytes(), version).error("ERR No such client"),
            (None, Fold::Killed(_)) => Reply::Ok.tell(shape, into),
            (None, Fold::Memory(cores)) => info::memory(&cores, &mut Writer::new(into.bytes(), version)),
            (None, Fold::Info { sections, facts, cores }) => {
                let text = info::text(&sections, &facts, cores);
                Writer::new(into.bytes(), version).verbatim(*b"txt", text.as_bytes());
            }
            (None, Fold::Values(values)) => {
                Writer::new(into.bytes(), version).array(values.len());
                for value in values {
                    match value {
                        None => Reply::Nil.tell(shape, into),
                        Some(Got::Bytes(bytes)) => Reply::Bulk(&bytes).tell(shape, into),
                        Some(Got::Blob(blob)) => Reply::Blob(blob).tell(shape, into),
                    }
                }
            }
        }
    }
}

fn write_keys(keys: &[Vec<u8>], writer: &mut Writer<'_>) {
    writer.array(keys.len());
    keys.iter().for_each(|key| writer.bulk(key));
}

/// Where the parts of a cursor of SCAN begin: 32 bits of the slot's own, 14 of the slot, the core. So with up to 128
/// cores it is under 2^53, past which some clients' numbers are no longer exact.
const SLOT_AT: u32 = 32;
const CORE_AT: u32 = SLOT_AT + 14;

/// Core, slot and the slot's cursor, as a client's cursor says.
#[must_use]
pub fn scan_place(cursor: u64) -> (u64, u16, u64) {
    let slot = (cursor >> SLOT_AT) as u16 & (state::Slot::COUNT - 1) as u16;
    (cursor >> CORE_AT, slot, cursor & u64::from(u32::MAX))
}

/// The cursor for going on at that place of a core, or with the next core, or 0 after the last.
fn scan_cursor(core: u16, cores: u16, place: Option<(u16, u64)>) -> u64 {
    match place {
        Some((slot, cursor)) => u64::from(core) << CORE_AT | u64::from(slot) << SLOT_AT | cursor,
        None if core + 1 < cores => u64::from(core + 1) << CORE_AT,
        None => 0,
    }
}

/// A command that waits.
#[derive(Debug)]
pub struct Gather {
    /// Whose command it is.
    pub conn: ConnId,
    /// Its place.
    pub ticket: Ticket,
    /// How it is told.
    pub shape: Shape,
    /// How many cores have not said their part.
    pub missing: usize,
    /// What has come.
    pub sum: Sum,
}
