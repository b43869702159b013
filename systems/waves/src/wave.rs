//! Wave algorithms behind one interface: what one core's units do in one wave.
//!
//! A [`Course`] is told what its units hear and says what they write. It never sees the network whole: a unit knows
//! its own links, and nothing else. The one hard thing is what the books leave out: a unit or a link that dies while
//! the wave is on its way. Who still waits sends a beat now and then to whoever waits for them; an edge that was
//! silent for some beats is given up, and what was given up travels with the result. So every wave ends, and says
//! what it does not know. A wave that ends within one beat sends none and pays nothing for any of this.

pub mod bits;
pub mod echo;
pub mod field;
pub mod finn;
pub mod monitor;

use crate::letter::{Kind, Letter, Mail, Terms, WaveId, Word};
use crate::network::UnitId;
use crate::share::{Local, Share};
use machine::Instant;
use monitor::Tally;

/// What a unit knows of itself when a wave comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Tasks it has.
    pub load: u32,
    /// Its processors.
    pub cpu: u32,
    /// When it came to be; it takes no part in waves that are older.
    pub born_at: Instant,
    /// Whether it lives. The dead hear nothing.
    pub is_alive: bool,
}

/// What an echo brings of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The unit.
    pub unit: UnitId,
    /// From whom it heard first; the initiator names itself.
    pub parent: UnitId,
    /// Tasks it had.
    pub load: u32,
    /// Its processors.
    pub cpu: u32,
}

/// Why a part is missing from a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lack {
    /// Nothing was heard for so long that it was given up.
    Silent,
    /// It came to be after the wave was started.
    Late,
}

/// A part that is missing: whatever `by` would have heard through `unit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Missing {
    /// Who gave up.
    pub by: UnitId,
    /// Of whom.
    pub unit: UnitId,
    /// Why.
    pub why: Lack,
}

const LATE_BIT: u32 = 1 << 31;

impl Missing {
    /// As it travels.
    #[must_use]
    pub fn words(self) -> [Word; 2] {
        let late = if self.why == Lack::Late { LATE_BIT } else { 0 };
        [Word::from_native(self.by.0), Word::from_native(self.unit.0 | late)]
    }

    /// The missing parts that these words say.
    pub fn read(words: &[Word]) -> impl Iterator<Item = Self> + '_ {
        words.as_chunks::<2>().0.iter().map(|[by, unit]| Self {
            by: UnitId(by.to_native()),
            unit: UnitId(unit.to_native() & !LATE_BIT),
            why: if unit.to_native() & LATE_BIT == 0 { Lack::Silent } else { Lack::Late },
        })
    }
}

impl Reading {
    /// As it travels.
    #[must_use]
    pub fn words(self) -> [Word; 4] {
        [self.unit.0, self.parent.0, self.load, self.cpu].map(Word::from_native)
    }

    /// The readings that these words say.
    pub fn read(words: &[Word]) -> impl Iterator<Item = Self> + '_ {
        words.as_chunks::<4>().0.iter().map(|words| {
            let [unit, parent, load, cpu] = words.map(Word::to_native);
            Self { unit: UnitId(unit), parent: UnitId(parent), load, cpu }
        })
    }
}

/// What a unit knew when it decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Units that the decision rests on.
    pub units: u32,
    /// Their tasks, where the algorithm adds them up.
    pub load: u32,
    /// Their processors, where it does.
    pub cpu: u32,
    /// Every one of them, where the wave's purpose wants to know.
    pub readings: Vec<Reading>,
    /// What it does not rest on.
    pub missing: Vec<Missing>,
}

/// What happened to a wave here that others want to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A unit has decided.
    Decided(WaveId, UnitId, Box<Outcome>),
    /// A unit has given up an edge.
    GaveUp(WaveId, Missing),
    /// A letter was written: wave, from, to. Said only while somebody watches.
    Wrote(WaveId, UnitId, UnitId, Kind),
}

/// What a wave keeps of one end of a link here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    /// Messages of the algorithm written on it, at most `u16::MAX`.
    pub sent: u16,
    /// Messages of the algorithm taken in, where order counts.
    pub received: u16,
    /// What the algorithm waits for on it has come, or was given up.
    pub heard: bool,
    /// Beats since anything came.
    pub silence: u8,
}

/// Everything a course may look at and say to, for one event.
pub struct Scene<'a> {
    /// Which wave.
    pub wave: WaveId,
    /// What it is.
    pub terms: Terms,
    /// The units here and their links, as they were when the wave came.
    pub share: &'a Share,
    /// What units know of themselves, by place.
    pub facts: &'a [Fact],
    /// The time.
    pub now: Instant,
    /// One for each end of a link here.
    pub marks: &'a mut [Mark],
    /// What the monitors count.
    pub tally: &'a mut Tally,
    /// Letters that go out.
    pub mail: &'a mut Mail,
    /// What others want to hear of.
    pub happened: &'a mut Vec<Happening>,
    /// Whether somebody watches letters.
    pub is_watched: bool,
}

impl Scene<'_> {
    /// Writes a message of the algorithm on an edge.
    #[inline]
    pub fn write(&mut self, local: Local, edge: usize, kind: Kind, sums: [u32; 3], lists: [&[Word]; 3]) {
        let mark = &mut self.marks[edge];
        mark.sent = mark.sent.saturating_add(1);
        self.tally.sent += 1;
        self.tally.channel_max = self.tally.channel_max.max(u32::from(mark.sent));
        let (from, to) = (self.share.unit(local), self.share.far(edge));
        if self.is_watched {
            self.happened.push(Happening::Wrote(self.wave, from, to, kind));
        }
        let mut letter = Letter::plain(self.wave, self.terms, kind, from, to);
        letter.sums = sums;
        letter.lists = lists.map(|list| list.len() as u32);
        let core = self.share.place(to).map_or(machine::CoreId(0), |place| place.core);
        if letter.lists == [0; 3] {
            self.mail.add(core, letter, &[]);
        } else {
            self.mail.add(core, letter, &lists.concat());
        }
    }

    /// Tells the far end that somebody here still waits for others.
    pub fn beat(&mut self, local: Local, edge: usize) {
        self.tally.beats += 1;
        let (from, to) = (self.share.unit(local), self.share.far(edge));
        if let Some(place) = self.share.place(to) {
            self.mail.add(place.core, Letter::plain(self.wave, self.terms, Kind::Beat, from, to), &[]);
        }
    }

    /// Notes that a unit takes part from now on.
    pub fn joined(&mut self) {
        self.tally.joined += 1;
    }

    /// Notes that a unit has decided.
    pub fn decided(&mut self, local: Local, outcome: Outcome) {
        self.tally.decided += 1;
        let fewest = self.tally.rests_on.map_or(outcome.units, |fewest| fewest.min(outcome.units));
        self.tally.rests_on = Some(fewest);
        let unit = self.share.unit(local);
        self.happened.push(Happening::Decided(self.wave, unit, Box::new(outcome)));
    }

    /// Notes that an edge is given up.
    pub fn gave_up(&mut self, missing: Missing) {
        self.tally.gave_up += 1;
        self.happened.push(Happening::GaveUp(self.wave, missing));
    }
}

/// What one core's units do in one wave.
pub trait Course {
    /// A unit starts the wave. Nothing happens when it takes part already.
    fn start(&mut self, local: Local, scene: &mut Scene<'_>);

    /// A letter has come to a unit that lives, over an edge of its own, with its words.
    fn hear(&mut self, local: Local, edge: usize, letter: &Letter, words: &[Word], scene: &mut Scene<'_>);

    /// Whether a unit waits for anything on that edge.
    fn awaits(&self, local: Local, edge: usize, scene: &Scene<'_>) -> bool;

    /// Nothing will come on that edge any more.
    fn give_up(&mut self, local: Local, edge: usize, why: Lack, scene: &mut Scene<'_>);

    /// Tells those who wait for a unit that it still waits for others.
    fn beat(&mut self, local: Local, scene: &mut Scene<'_>);

    /// Whether a unit takes part and has not finished its part.
    fn is_under_way(&self, local: Local) -> bool;

    /// The wave has lasted as long as a wave may: a unit ends its part with what it knows.
    fn expire(&mut self, local: Local, scene: &mut Scene<'_>);

    /// A unit has died.
    fn bury(&mut self, local: Local);
}
