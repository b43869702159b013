//! The waves that pass over one core's units at this moment, each by its id.
//!
//! Any number of waves overlap; a letter names its wave, and what it changes is that wave's alone. The hard thing is
//! the end: a letter that comes late must find that its wave is over, not begin it again. So a wave stays until all
//! cores are asked to settle it, its id is remembered for as long as a letter of it may still be on its way, and a
//! letter that is older than that is dropped.

use super::echo::Echo;
use super::finn::Finn;
use super::monitor::Tally;
use super::{Course, Fact, Happening, Lack, Mark, Scene};
use crate::letter::{Algorithm, Kind, Letter, Mail, Purpose, Terms, WaveId, Word};
use crate::network::UnitId;
use crate::share::{Local, Share};
use core::time::Duration;
use machine::Instant;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Beats for which an edge may be silent. With three intervals between four looks, at least the time-out passes.
const SILENT_BEATS: u8 = 4;

/// Ids of settled waves that are remembered; the oldest go first. At a thousand waves a second this is a minute.
const SETTLED_MAX: usize = 1 << 16;

/// The bounds of waves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How long an edge may be silent before it is given up. At least; at most a third more. Larger forgives slower
    /// units, and makes a wave over a dead one last longer.
    pub edge_timeout: Duration,
    /// How long a wave may last; then every unit ends its part with what it knows.
    pub wave_max: Duration,
    /// Waves under way on a core; one more is not started, and of those that come from elsewhere four times as many
    /// are taken in.
    pub waves_max: usize,
}

impl Default for Bounds {
    /// 1 s, 30 s, 256.
    fn default() -> Self {
        Self { edge_timeout: Duration::from_secs(1), wave_max: Duration::from_secs(30), waves_max: 256 }
    }
}

impl Bounds {
    /// How often who waits says so, and looks at who is silent.
    #[must_use]
    pub fn beat(&self) -> Duration {
        self.edge_timeout / 3
    }

    /// How long letters of a wave may still come.
    #[must_use]
    pub fn memory(&self) -> Duration {
        self.wave_max * 2
    }
}

/// Why a wave was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The unit does not live, or not here.
    NoUnit,
    /// [`Bounds::waves_max`] waves are under way.
    TooMany,
}

/// A course of one of the algorithms.
#[derive(Debug)]
enum Either {
    Echo(Echo),
    Finn(Finn),
}

impl Either {
    fn course(&mut self) -> &mut dyn Course {
        match self {
            Self::Echo(echo) => echo,
            Self::Finn(finn) => finn,
        }
    }
}

/// A wave that is under way here.
#[derive(Debug)]
struct Under {
    terms: Terms,
    share: Arc<Share>,
    course: Either,
    marks: Vec<Mark>,
    tally: Tally,
    has_expired: bool,
}

/// What a field needs from its core for one event.
pub struct Ground<'a> {
    /// The time.
    pub now: Instant,
    /// What units know of themselves, by place.
    pub facts: &'a [Fact],
    /// Letters that go out.
    pub mail: &'a mut Mail,
    /// What others want to hear of.
    pub happened: &'a mut Vec<Happening>,
    /// Whether somebody watches letters.
    pub is_watched: bool,
}

/// The waves of one core.
#[derive(Debug)]
pub struct Field {
    share: Arc<Share>,
    bounds: Bounds,
    waves: BTreeMap<WaveId, Under>,
    settled: BTreeMap<WaveId, Instant>,
    cuts: BTreeSet<(UnitId, UnitId)>,
    dropped: u64,
}

impl Field {
    /// No wave, over these units.
    #[must_use]
    pub fn new(share: Arc<Share>, bounds: Bounds) -> Self {
        let (waves, settled, cuts) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { share, bounds, waves, settled, cuts, dropped: 0 }
    }

    /// The units and links from now on; waves under way keep theirs.
    pub fn change(&mut self, share: Arc<Share>) {
        self.share = share;
    }

    /// The units and links now.
    #[must_use]
    pub fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// Waves under way here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waves.len()
    }

    /// Whether no wave is under way here: then nothing has to be swept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waves.is_empty()
    }

    /// Letters that were dropped: for the dead, over cut links, of waves that are over.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether that wave is under way here.
    #[must_use]
    pub fn has(&self, wave: WaveId) -> bool {
        self.waves.contains_key(&wave)
    }

    /// What a wave that is under way here is for.
    #[must_use]
    pub fn purpose(&self, wave: WaveId) -> Option<Purpose> {
        self.waves.get(&wave).map(|under| under.terms.purpose)
    }

    /// By which algorithm a wave that is under way here runs.
    #[must_use]
    pub fn algorithm(&self, wave: WaveId) -> Option<Algorithm> {
        self.waves.get(&wave).map(|under| under.terms.algorithm)
    }

    /// A link carries nothing from now on.
    pub fn cut(&mut self, a: UnitId, b: UnitId) {
        self.cuts.insert((a.min(b), a.max(b)));
    }

    /// A link carries letters again.
    pub fn heal(&mut self, a: UnitId, b: UnitId) {
        self.cuts.remove(&(a.min(b), a.max(b)));
    }

    /// A unit has died: it finishes no wave.
    pub fn bury(&mut self, local: Local) {
        for under in self.waves.values_mut().filter(|under| local.index() < under.share.len()) {
            under.course.course().bury(local);
        }
    }

    /// A unit that lives here starts a wave, or joins one as a further initiator.
    ///
    /// # Errors
    /// [`Refused`]; nothing has happened then.
    pub fn start(
        &mut self,
        wave: WaveId,
        terms: Terms,
        unit: UnitId,
        ground: &mut Ground<'_>,
    ) -> Result<(), Refused> {
        let place = self.share.place(unit).ok_or(Refused::NoUnit)?;
        let is_here = self.share.units().get(place.local.index()) == Some(&unit);
        if !is_here || !ground.facts[place.local.index()].is_alive {
            return Err(Refused::NoUnit);
        }
        if self.waves.len() >= self.bounds.waves_max && !self.waves.contains_key(&wave) {
            return Err(Refused::TooMany);
        }
        let share = &self.share;
        let under = self.waves.entry(wave).or_insert_with(|| Under::new(terms, share.clone()));
        let (course, mut scene) = under.scene(wave, ground);
        course.start(place.local, &mut scene);
        Ok(())
    }

    /// A letter has come for a unit here.
    pub fn hear(&mut self, letter: &Letter, words: &[Word], ground: &mut Ground<'_>) {
        let (from, to) = (UnitId(letter.from), UnitId(letter.to));
        let Some(place) = self.share.place(to) else { return self.drop_one() };
        let Some(fact) = ground.facts.get(place.local.index()) else { return self.drop_one() };
        let is_cut = !self.cuts.is_empty() && self.cuts.contains(&(from.min(to), from.max(to)));
        if !fact.is_alive || is_cut {
            return self.drop_one();
        }
        if fact.born_at.nanos() > letter.started_at {
            return self.decline(letter, ground);
        }
        let wave = letter.wave_id();
        if !self.waves.contains_key(&wave) && !self.take_up(letter, ground) {
            return;
        }
        let under = self.waves.get_mut(&wave).expect("it is there or was just taken up");
        let edge =
            (place.local.index() < under.share.len()).then(|| under.share.edge(place.local, from)).flatten();
        let Some(edge) = edge else { return self.decline(letter, ground) };
        if letter.kind != Kind::Beat {
            under.tally.received += 1;
        }
        let (course, mut scene) = under.scene(wave, ground);
        course.hear(place.local, edge, letter, words, &mut scene);
    }

    fn drop_one(&mut self) {
        self.dropped += 1;
    }

    /// A letter of a wave that is not under way here: it begins here, unless it is over.
    fn take_up(&mut self, letter: &Letter, ground: &Ground<'_>) -> bool {
        let is_old = letter.terms().started_at + self.bounds.memory() < ground.now;
        let begins = matches!(letter.kind, Kind::Explore | Kind::Sets);
        let has_room = self.waves.len() < 4 * self.bounds.waves_max;
        if is_old || !begins || !has_room || self.settled.contains_key(&letter.wave_id()) {
            self.drop_one();
            return false;
        }
        self.waves.insert(letter.wave_id(), Under::new(letter.terms(), self.share.clone()));
        true
    }

    /// Who came later than the wave, or by a link that did, takes no part and says so to who would wait.
    fn decline(&mut self, letter: &Letter, ground: &mut Ground<'_>) {
        let is_asked = matches!(letter.kind, Kind::Explore | Kind::Sets);
        match self.share.place(UnitId(letter.from)).filter(|_| is_asked) {
            Some(place) => {
                let (from, to) = (UnitId(letter.to), UnitId(letter.from));
                let late = Letter::plain(letter.wave_id(), letter.terms(), Kind::Late, from, to);
                ground.mail.add(place.core, late, &[]);
            }
            None => self.drop_one(),
        }
    }

    /// One beat: who waits says so, who was silent for too long is given up, and waves that last too long end. To be
    /// called every [`Bounds::beat`] while any wave is under way.
    pub fn sweep(&mut self, ground: &mut Ground<'_>) {
        for (wave, under) in &mut self.waves {
            let expires = ground.now >= under.terms.started_at + self.bounds.wave_max;
            if !core::mem::replace(&mut under.has_expired, expires) || !expires {
                under.sweep(*wave, expires, ground);
            }
        }
        let (memory, now) = (self.bounds.memory(), ground.now);
        // Whoever should have settled them is gone.
        self.waves.retain(|_, under| under.terms.started_at + memory > now);
        self.settled.retain(|_, until| *until > now);
    }

    /// What was counted of a wave here up to now.
    #[must_use]
    pub fn peek(&self, wave: WaveId) -> Tally {
        self.waves.get(&wave).map(|under| under.tally).unwrap_or_default()
    }

    /// The wave is over: what was counted of it here.
    pub fn settle(&mut self, wave: WaveId, now: Instant) -> Tally {
        if self.settled.len() >= SETTLED_MAX {
            self.settled.pop_first();
        }
        self.settled.insert(wave, now + self.bounds.memory());
        let Some(mut under) = self.waves.remove(&wave) else { return Tally::default() };
        let course = under.course.course();
        let locals = (0..under.share.len() as u32).map(Local);
        under.tally.unfinished = locals.filter(|local| course.is_under_way(*local)).count() as u32;
        under.tally
    }
}

impl Under {
    fn new(terms: Terms, share: Arc<Share>) -> Self {
        let course = match terms.algorithm {
            Algorithm::Echo => Either::Echo(Echo::new(&share)),
            Algorithm::Finn | Algorithm::Directed => Either::Finn(Finn::new(&share)),
        };
        let marks = vec![Mark::default(); share.edges()];
        Self { terms, share, course, marks, tally: Tally::default(), has_expired: false }
    }

    fn scene<'a>(&'a mut self, wave: WaveId, ground: &'a mut Ground<'_>) -> (&'a mut dyn Course, Scene<'a>) {
        let scene = Scene {
            wave,
            terms: self.terms,
            share: &self.share,
            facts: ground.facts,
            now: ground.now,
            marks: &mut self.marks,
            tally: &mut self.tally,
            mail: ground.mail,
            happened: ground.happened,
            is_watched: ground.is_watched,
        };
        (self.course.course(), scene)
    }

    fn sweep(&mut self, wave: WaveId, expires: bool, ground: &mut Ground<'_>) {
        let share = self.share.clone();
        let (course, mut scene) = self.scene(wave, ground);
        for local in (0..share.len() as u32).map(Local) {
            if !course.is_under_way(local) {
                continue;
            }
            if expires {
                course.expire(local, &mut scene);
                continue;
            }
            course.beat(local, &mut scene);
            for edge in share.edges_of(local) {
                if !course.awaits(local, edge, &scene) {
                    continue;
                }
                scene.marks[edge].silence += 1;
                if scene.marks[edge].silence >= SILENT_BEATS {
                    course.give_up(local, edge, Lack::Silent, &mut scene);
                }
            }
        }
    }
}
