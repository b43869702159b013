//! A town of units over several cores, without a world: every letter lies in one pile, and chance picks the next.
//! Letters may be lost, doubled or forged, links cut, units killed: on purpose, and counted.

#![allow(dead_code, reason = "each test uses its part")]

mod pile;

use machine::{Chance, CoreId, Instant, NodeId, Seat, Stream};
use pile::{Flying, Pile};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use waves::letter::{Algorithm, Kind, Letter, Mail, Purpose, Terms, WaveId, Word};
use waves::network::{Network, UnitId};
use waves::share::{Extent, Homes, Share};
use waves::wave::field::{Bounds, Field, Ground};
use waves::wave::monitor::{Tally, Verdicts, judge};
use waves::wave::{Fact, Happening, Outcome};

pub(crate) struct Core {
    field: Field,
    facts: Vec<Fact>,
    mail: Mail,
}

/// A wave as the town has seen it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) terms: Terms,
    pub(crate) extent: Extent,
    pub(crate) decisions: BTreeMap<UnitId, Vec<Outcome>>,
    pub(crate) tally: Tally,
    pub(crate) verdicts: Option<Verdicts>,
}

pub(crate) struct Town {
    pub(crate) network: Network,
    pub(crate) cores: Vec<Core>,
    pub(crate) pile: Pile,
    pub(crate) draw: Stream,
    pub(crate) now: Instant,
    pub(crate) waves: BTreeMap<WaveId, Seen>,
    pub(crate) dead: BTreeSet<UnitId>,
    pub(crate) cut: BTreeSet<(UnitId, UnitId)>,
    /// Letters lost and doubled, per thousand.
    pub(crate) loses: u64,
    pub(crate) doubles: u64,
    pub(crate) faults: u64,
    pub(crate) bounds: Bounds,
    numbers: u32,
    written: u64,
}

impl Town {
    pub(crate) fn new(network: Network, cores: u16, seed: u64) -> Self {
        let homes = Homes::ring(Seat { node: NodeId(0), core: CoreId(0), cores });
        let bounds = Bounds { waves_max: 1000, ..Bounds::default() };
        let mut draw = Chance::new(seed).stream("town");
        let cores = (0..cores)
            .map(|core| {
                let seat = Seat { node: NodeId(0), core: CoreId(core), cores };
                let share = Arc::new(Share::new(&network, seat, &homes));
                let facts = (0..share.len())
                    .map(|_| Fact {
                        load: draw.below(20) as u32,
                        cpu: 1 + draw.below(8) as u32,
                        born_at: Instant::ZERO,
                        is_alive: true,
                    })
                    .collect();
                Core { field: Field::new(share, bounds), facts, mail: Mail::new(cores) }
            })
            .collect();
        Self {
            network,
            cores,
            pile: Pile::default(),
            draw,
            now: Instant::from_nanos(1),
            waves: BTreeMap::new(),
            dead: BTreeSet::new(),
            cut: BTreeSet::new(),
            loses: 0,
            doubles: 0,
            faults: 0,
            bounds,
            numbers: 0,
            written: 0,
        }
    }

    fn core_of(&self, unit: UnitId) -> usize {
        self.cores[0].field.share().place(unit).expect("there is such a unit").core.index()
    }

    pub(crate) fn fact(&mut self, unit: UnitId) -> &mut Fact {
        let place = self.cores[0].field.share().place(unit).expect("there is such a unit");
        &mut self.cores[place.core.index()].facts[place.local.index()]
    }

    /// One event on a core, with what follows from it.
    fn on<T>(&mut self, core: usize, event: impl FnOnce(&mut Field, &mut Ground<'_>) -> T) -> T {
        let mut happened = Vec::new();
        self.now += Duration::from_nanos(100);
        let Core { field, facts, mail } = &mut self.cores[core];
        let mut ground = Ground { now: self.now, facts, mail, happened: &mut happened, is_watched: false };
        let value = event(field, &mut ground);
        let (pile, written) = (&mut self.pile, &mut self.written);
        mail.take(|core, post| {
            for letter in &post.letters {
                *written += 1;
                let words = post.words_of(letter).to_vec();
                pile.push(Flying { number: *written, core, letter: *letter, words });
            }
        });
        for what in happened {
            if let Happening::Decided(wave, unit, outcome) = what {
                let seen = self.waves.get_mut(&wave).expect("it was started");
                seen.decisions.entry(unit).or_default().push(*outcome);
            }
        }
        value
    }

    pub(crate) fn start(&mut self, algorithm: Algorithm, purpose: Purpose, initiators: &[UnitId]) -> WaveId {
        self.numbers += 1;
        let wave = WaveId { initiator: initiators[0], number: self.numbers };
        let terms = Terms { algorithm, purpose, started_at: self.now };
        let extent = self.cores[0].field.share().extent(initiators[0]);
        let seen =
            Seen { terms, extent, decisions: BTreeMap::new(), tally: Tally::default(), verdicts: None };
        self.waves.insert(wave, seen);
        for unit in initiators {
            let core = self.core_of(*unit);
            self.on(core, |field, ground| field.start(wave, terms, *unit, ground)).expect("it is let in");
        }
        wave
    }

    /// Delivers one letter, whichever chance picks.
    pub(crate) fn step(&mut self) -> bool {
        if self.pile.is_empty() {
            return false;
        }
        let picked = self.draw.below(self.pile.len() as u64) as usize;
        self.take(picked)
    }

    /// Delivers what lies in the pile now, and nothing of what follows from it.
    pub(crate) fn round(&mut self) {
        let mut later = Pile::default();
        let mut now = core::mem::take(&mut self.pile);
        while !now.is_empty() {
            let index = now.first(self.draw.below(now.len() as u64) as usize);
            let flying = now.swap_remove(index);
            self.deliver(&flying);
            later.append(&mut self.pile);
        }
        self.pile = later;
    }

    fn take(&mut self, picked: usize) -> bool {
        let index = self.pile.first(picked);
        if self.loses > 0 && self.draw.one_in_thousand(self.loses) {
            self.pile.swap_remove(index);
            self.faults += 1;
            return true;
        }
        let flying = if self.doubles > 0 && self.draw.one_in_thousand(self.doubles) {
            self.faults += 1;
            self.pile.get(index).clone()
        } else {
            self.pile.swap_remove(index)
        };
        self.deliver(&flying);
        true
    }

    pub(crate) fn deliver(&mut self, flying: &Flying) {
        self.on(flying.core.index(), |field, ground| field.hear(&flying.letter, &flying.words, ground));
    }

    pub(crate) fn forge(&mut self, letter: Letter, words: &[Word]) {
        let core = CoreId(self.core_of(UnitId(letter.to)) as u16);
        self.deliver(&Flying { number: 0, core, letter, words: words.to_vec() });
    }

    pub(crate) fn beat(&mut self) {
        self.now += self.bounds.beat();
        for core in 0..self.cores.len() {
            self.on(core, Field::sweep);
        }
    }

    pub(crate) fn kill(&mut self, unit: UnitId) {
        self.faults += 1;
        self.dead.insert(unit);
        self.fact(unit).is_alive = false;
        let place = self.cores[0].field.share().place(unit).expect("there is such a unit");
        self.cores[place.core.index()].field.bury(place.local);
    }

    pub(crate) fn revive(&mut self, unit: UnitId) {
        self.dead.remove(&unit);
        let now = self.now;
        *self.fact(unit) = Fact { is_alive: true, born_at: now, load: 0, cpu: 1 };
    }

    pub(crate) fn cut(&mut self, link: usize) {
        self.faults += 1;
        let (a, b) = self.network.links()[link];
        self.cut.insert((a.min(b), a.max(b)));
        for core in &mut self.cores {
            core.field.cut(a, b);
        }
    }

    fn is_over(&self, wave: WaveId) -> bool {
        let seen = &self.waves[&wave];
        match seen.terms.algorithm {
            Algorithm::Echo => {
                seen.decisions.contains_key(&wave.initiator) || self.dead.contains(&wave.initiator)
            }
            Algorithm::Finn | Algorithm::Directed => {
                let reached = (0..seen.extent.units).map(UnitId);
                let alive = reached.filter(|unit| !self.dead.contains(unit)).count();
                seen.decisions.keys().filter(|unit| !self.dead.contains(unit)).count() >= alive
            }
        }
    }

    /// Delivers everything, beats while nothing moves, until every wave is over or has lasted as long as one may.
    pub(crate) fn finish(&mut self) {
        let beats_max = self.bounds.wave_max.as_nanos() / self.bounds.beat().as_nanos() + 20;
        for _ in 0..beats_max {
            while self.step() {}
            if self.waves.keys().all(|wave| self.is_over(*wave)) {
                break;
            }
            self.beat();
        }
        while self.step() {}
        self.settle();
    }

    fn settle(&mut self) {
        let waves: Vec<WaveId> = self.waves.keys().copied().collect();
        for wave in waves {
            let now = self.now;
            let mut sum = Tally::default();
            for core in &mut self.cores {
                sum.add(&core.field.settle(wave, now));
            }
            let is_whole = self.faults == 0;
            let seen = self.waves.get_mut(&wave).expect("it is listed");
            seen.verdicts = Some(judge(seen.terms.algorithm, seen.extent, is_whole, &sum));
            seen.tally = sum;
        }
        assert!(self.cores.iter().all(|core| core.field.is_empty()), "a wave stays behind");
    }

    /// Whether what a result says of the network is the truth: whoever it does not rest on is behind somebody it says
    /// is missing, by a path through others it does not rest on.
    pub(crate) fn tells_the_truth(
        &self,
        counted: &BTreeSet<UnitId>,
        outcome: &Outcome,
        from: UnitId,
    ) -> bool {
        let share = self.cores[0].field.share();
        let mut found: BTreeSet<UnitId> = BTreeSet::new();
        let mut rest: Vec<UnitId> = outcome
            .missing
            .iter()
            .map(|missing| missing.unit)
            .filter(|unit| !counted.contains(unit))
            .collect();
        while let Some(unit) = rest.pop() {
            if found.insert(unit) {
                let next = self.network.links().iter().filter_map(|(a, b)| match unit {
                    _ if *a == unit => Some(*b),
                    _ if *b == unit => Some(*a),
                    _ => None,
                });
                rest.extend(next.filter(|unit| !counted.contains(unit)));
            }
        }
        (0..self.network.units().len() as u32)
            .map(UnitId)
            .filter(|unit| share.are_joined(*unit, from) && !counted.contains(unit))
            .all(|unit| found.contains(&unit))
    }

    pub(crate) fn letters_of(&self, kind: Kind) -> Vec<usize> {
        (0..self.pile.len()).filter(|index| self.pile.get(*index).letter.kind == kind).collect()
    }
}
