//! Finn's algorithm: everybody learns who takes part, and decides when all of them have heard from all their
//! neighbours.
//!
//! Finn 1979; Tel, *Introduction to Distributed Algorithms*, algorithm 6.9. A unit keeps Inc, those it knows to take
//! part, and NInc, those of whom it knows that they have heard from every in-neighbour. It adds itself to NInc when
//! it has, writes to every out-neighbour whenever either set has grown, and decides when they are equal. Each set
//! grows at most N times, so a channel carries at most 2·N messages.
//!
//! What has grown travels, not the sets. That is the one hard thing: in the books a message that names a unit as
//! complete names all its neighbours too, here an earlier one did. So channels must keep order, as lanes and
//! connections do, and messages on a channel are numbered: where one is missing the channel has lost something, and
//! who wrote on it is given up.
//!
//! A third set holds those who were given up. It grows and travels as the others do, and who is in it is not waited
//! for: then a decision rests on NInc, and says who is missing. With faults a channel carries at most 3·N.

use super::bits::Bits;
use super::{Course, Lack, Missing, Outcome, Scene};
use crate::letter::{Algorithm, Kind, Letter, Word};
use crate::network::UnitId;
use crate::share::{Local, Share, Way};

/// The most units of a network that runs this algorithm here: three sets of as many bits for each of them.
pub const FINN_UNITS_MAX: usize = 1024;

/// One unit's part.
#[derive(Debug)]
struct Part {
    inc: Bits,
    ninc: Bits,
    gone: Bits,
    /// Units of Inc that are neither in NInc nor given up.
    open: u32,
    /// In-neighbours that were not heard.
    waiting: u32,
    has_decided: bool,
}

/// What grew since a unit last wrote.
#[derive(Debug, Default)]
struct Growth {
    lists: [Vec<Word>; 3],
}

impl Growth {
    fn is_empty(&self) -> bool {
        self.lists.iter().all(Vec::is_empty)
    }
}

impl Part {
    fn new(units: usize, waiting: u32) -> Self {
        let [inc, ninc, gone] = [(); 3].map(|()| Bits::with_room(units));
        Self { inc, ninc, gone, open: 0, waiting, has_decided: false }
    }

    fn include(&mut self, unit: UnitId, growth: &mut Growth) {
        if self.inc.insert(unit) {
            growth.lists[0].push(Word::from_native(unit.0));
            self.open += u32::from(!self.gone.contains(unit));
        }
    }

    fn complete(&mut self, unit: UnitId, growth: &mut Growth) {
        self.include(unit, growth);
        if self.ninc.insert(unit) {
            growth.lists[1].push(Word::from_native(unit.0));
            self.open -= u32::from(!self.gone.contains(unit));
        }
    }

    fn forgo(&mut self, unit: UnitId, growth: &mut Growth) {
        if self.gone.insert(unit) {
            growth.lists[2].push(Word::from_native(unit.0));
            self.open -= u32::from(self.inc.contains(unit) && !self.ninc.contains(unit));
        }
    }

    /// On whom a decision rests, and whom it misses: those given up that have not been heard of as complete.
    fn outcome(&self, by: UnitId) -> Outcome {
        let lost = self.gone.iter().filter(|unit| !self.ninc.contains(*unit));
        let missing = lost.map(|unit| Missing { by, unit, why: Lack::Silent }).collect();
        Outcome { units: self.ninc.len(), missing, ..Outcome::default() }
    }
}

/// One core's units in a wave of Finn's.
#[derive(Debug)]
pub struct Finn {
    parts: Vec<Option<Box<Part>>>,
}

/// Whether a unit hears over this edge.
fn is_in(scene: &Scene<'_>, edge: usize) -> bool {
    scene.terms.algorithm != Algorithm::Directed || scene.share.way(edge) == Way::Up
}

/// Whether a unit writes over this edge.
fn is_out(scene: &Scene<'_>, edge: usize) -> bool {
    scene.terms.algorithm != Algorithm::Directed || scene.share.way(edge) == Way::Down
}

impl Finn {
    /// Nobody takes part.
    #[must_use]
    pub fn new(share: &Share) -> Self {
        Self { parts: (0..share.len()).map(|_| None).collect() }
    }

    fn join(&mut self, local: Local, growth: &mut Growth, scene: &mut Scene<'_>) {
        let waiting = scene.share.edges_of(local).filter(|edge| is_in(scene, *edge)).count() as u32;
        let mut part = Part::new(scene.share.network_len(), waiting);
        let unit = scene.share.unit(local);
        part.include(unit, growth);
        if waiting == 0 {
            part.complete(unit, growth);
        }
        self.parts[local.index()] = Some(Box::new(part));
        scene.joined();
    }

    /// An in-neighbour has been heard, or never will be.
    fn heard(&mut self, local: Local, edge: usize, growth: &mut Growth, scene: &mut Scene<'_>) {
        let Some(part) = &mut self.parts[local.index()] else { return };
        if !is_in(scene, edge) || core::mem::replace(&mut scene.marks[edge].heard, true) {
            return;
        }
        part.waiting -= 1;
        if part.waiting == 0 {
            part.complete(scene.share.unit(local), growth);
        }
    }

    /// Writes what has grown to all out-neighbours, then decides if it is time.
    fn pass_on(&mut self, local: Local, growth: &Growth, scene: &mut Scene<'_>) {
        if !growth.is_empty() {
            let [inc, ninc, gone] = &growth.lists;
            for edge in scene.share.edges_of(local) {
                if is_out(scene, edge) {
                    let number = u32::from(scene.marks[edge].sent) + 1;
                    scene.write(local, edge, Kind::Sets, [number, 0, 0], [inc, ninc, gone]);
                }
            }
        }
        if let Some(part) = &mut self.parts[local.index()]
            && part.open == 0
            && !part.has_decided
        {
            part.has_decided = true;
            let outcome = part.outcome(scene.share.unit(local));
            scene.decided(local, outcome);
        }
    }

    fn hear_sets(
        &mut self,
        local: Local,
        edge: usize,
        letter: &Letter,
        words: &[Word],
        scene: &mut Scene<'_>,
    ) {
        let mark = &mut scene.marks[edge];
        mark.silence = 0;
        let next = u32::from(mark.received) + 1;
        if letter.sums[0] < next {
            scene.tally.strays += 1;
            return;
        }
        let mut growth = Growth::default();
        if self.parts[local.index()].is_none() {
            self.join(local, &mut growth, scene);
        }
        if letter.sums[0] == next {
            scene.marks[edge].received += 1;
            self.heard(local, edge, &mut growth, scene);
            self.merge(local, letter, words, &mut growth, scene);
        }
        self.pass_on(local, &growth, scene);
        if letter.sums[0] > next {
            self.give_up(local, edge, Lack::Silent, scene);
        }
    }

    fn merge(
        &mut self,
        local: Local,
        letter: &Letter,
        words: &[Word],
        growth: &mut Growth,
        scene: &Scene<'_>,
    ) {
        let Some(part) = &mut self.parts[local.index()] else { return };
        let (inc, rest) = words.split_at_checked(letter.lists[0] as usize).unwrap_or_default();
        let (ninc, gone) = rest.split_at_checked(letter.lists[1] as usize).unwrap_or_default();
        let known =
            |word: &Word| Some(UnitId(word.to_native())).filter(|unit| scene.share.place(*unit).is_some());
        inc.iter().filter_map(known).for_each(|unit| part.include(unit, growth));
        ninc.iter().filter_map(known).for_each(|unit| part.complete(unit, growth));
        gone.iter().filter_map(known).for_each(|unit| part.forgo(unit, growth));
    }
}

impl Course for Finn {
    fn start(&mut self, local: Local, scene: &mut Scene<'_>) {
        if self.parts[local.index()].is_some() {
            return;
        }
        let mut growth = Growth::default();
        self.join(local, &mut growth, scene);
        self.pass_on(local, &growth, scene);
    }

    fn hear(&mut self, local: Local, edge: usize, letter: &Letter, words: &[Word], scene: &mut Scene<'_>) {
        match letter.kind {
            Kind::Sets if is_in(scene, edge) => self.hear_sets(local, edge, letter, words, scene),
            Kind::Beat => scene.marks[edge].silence = 0,
            Kind::Late => self.give_up(local, edge, Lack::Late, scene),
            Kind::Sets | Kind::Explore | Kind::Back => scene.tally.strays += 1,
        }
    }

    /// Who has not decided waits for all in-neighbours that were not heard, or are neither complete nor gone: each of
    /// them may still have something to pass on.
    fn awaits(&self, local: Local, edge: usize, scene: &Scene<'_>) -> bool {
        let far = scene.share.far(edge);
        is_in(scene, edge)
            && self.parts[local.index()].as_ref().is_some_and(|part| {
                let is_known = part.gone.contains(far) || part.ninc.contains(far);
                let is_settled = is_known && scene.marks[edge].heard;
                !part.has_decided && !is_settled
            })
    }

    fn give_up(&mut self, local: Local, edge: usize, why: Lack, scene: &mut Scene<'_>) {
        let Some(part) = &mut self.parts[local.index()] else { return };
        if part.has_decided {
            return;
        }
        let (by, unit) = (scene.share.unit(local), scene.share.far(edge));
        if part.gone.contains(unit) && scene.marks[edge].heard {
            return;
        }
        let mut growth = Growth::default();
        part.forgo(unit, &mut growth);
        scene.gave_up(Missing { by, unit, why });
        self.heard(local, edge, &mut growth, scene);
        self.pass_on(local, &growth, scene);
    }

    /// All out-neighbours may wait for whoever has not decided.
    fn beat(&mut self, local: Local, scene: &mut Scene<'_>) {
        for edge in scene.share.edges_of(local) {
            if is_out(scene, edge) {
                scene.beat(local, edge);
            }
        }
    }

    fn is_under_way(&self, local: Local) -> bool {
        self.parts[local.index()].as_ref().is_some_and(|part| !part.has_decided)
    }

    /// Whoever is not complete by now is given up.
    fn expire(&mut self, local: Local, scene: &mut Scene<'_>) {
        let unit = scene.share.unit(local);
        let mut growth = Growth::default();
        let Some(part) = self.parts[local.index()].as_mut().filter(|part| !part.has_decided) else { return };
        let open: Vec<UnitId> = part.inc.iter().filter(|other| !part.ninc.contains(*other)).collect();
        let silent = scene.share.edges_of(local).filter(|edge| !scene.marks[*edge].heard);
        let silent: Vec<UnitId> = silent.map(|edge| scene.share.far(edge)).collect();
        part.complete(unit, &mut growth);
        for other in open.into_iter().chain(silent).filter(|other| *other != unit) {
            part.forgo(other, &mut growth);
            scene.gave_up(Missing { by: unit, unit: other, why: Lack::Silent });
        }
        self.pass_on(local, &growth, scene);
    }

    fn bury(&mut self, local: Local) {
        if let Some(part) = &mut self.parts[local.index()] {
            part.has_decided = true;
        }
    }
}
