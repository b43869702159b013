//! The Echo algorithm: one unit asks, its word spreads over every link, and comes back added up.
//!
//! Chang, *Echo Algorithms: Depth Parallel Operations on General Graphs*, 1982; Tel, *Introduction to Distributed
//! Algorithms*, algorithm 6.5. Whoever hears first takes the sender for its parent, passes the word to all other
//! neighbours, waits to hear from each of them, and then answers its parent. A neighbour that passes the word on in
//! turn has answered by that. So every link carries exactly two messages, one each way, and the links over which
//! units heard first are a spanning tree. On the way back travel sums, readings, and what is missing.

use super::{Course, Lack, Missing, Outcome, Reading, Scene};
use crate::letter::{Kind, Letter, Word};
use crate::share::{Local, Share};

/// The edge over which a unit heard first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parent {
    /// It has not heard.
    Nobody,
    /// It started the wave.
    Itself,
    /// This one.
    Edge(u32),
}

/// One unit's part.
#[derive(Clone, Copy, Debug)]
struct Part {
    parent: Parent,
    /// Edges on which nothing was heard yet.
    waiting: u32,
    is_done: bool,
    /// Units, load, processors of what came back, its own included.
    sums: [u32; 3],
}

/// What travels with sums, where there is any.
#[derive(Clone, Debug, Default)]
struct Baggage {
    readings: Vec<Word>,
    missing: Vec<Word>,
}

/// One core's units in an echo.
#[derive(Debug)]
pub struct Echo {
    parts: Vec<Part>,
    /// Empty until anything has to be carried.
    baggage: Vec<Baggage>,
}

impl Echo {
    /// Nobody has heard.
    #[must_use]
    pub fn new(share: &Share) -> Self {
        let part = Part { parent: Parent::Nobody, waiting: 0, is_done: false, sums: [0; 3] };
        Self { parts: vec![part; share.len()], baggage: Vec::new() }
    }

    /// The unit takes part from now on, and tells all neighbours but its parent.
    fn join(&mut self, local: Local, parent: Parent, scene: &mut Scene<'_>) {
        let fact = scene.facts[local.index()];
        let edges = scene.share.edges_of(local);
        let part = &mut self.parts[local.index()];
        *part = Part { parent, waiting: edges.len() as u32, is_done: false, sums: [1, fact.load, fact.cpu] };
        scene.joined();
        if scene.terms.purpose.gathers() {
            let unit = scene.share.unit(local);
            let parent = match parent {
                Parent::Edge(edge) => scene.share.far(edge as usize),
                Parent::Itself | Parent::Nobody => unit,
            };
            let reading = Reading { unit, parent, load: fact.load, cpu: fact.cpu };
            self.bag(local).readings.extend(reading.words());
        }
        for edge in edges {
            if parent != Parent::Edge(edge as u32) {
                scene.write(local, edge, Kind::Explore, [0; 3], [&[]; 3]);
            }
        }
    }

    fn bag(&mut self, local: Local) -> &mut Baggage {
        if self.baggage.is_empty() {
            self.baggage.resize_with(self.parts.len(), Baggage::default);
        }
        &mut self.baggage[local.index()]
    }

    /// What is waited for on this edge has come. Answers the parent, or decides, when it was the last.
    fn heard(&mut self, local: Local, edge: usize, scene: &mut Scene<'_>) {
        scene.marks[edge].heard = true;
        let part = &mut self.parts[local.index()];
        part.waiting -= 1;
        if part.waiting == 0 {
            self.complete(local, scene);
        }
    }

    fn complete(&mut self, local: Local, scene: &mut Scene<'_>) {
        let part = &mut self.parts[local.index()];
        part.is_done = true;
        let (parent, sums) = (part.parent, part.sums);
        let bag = self.baggage.get_mut(local.index()).map(core::mem::take).unwrap_or_default();
        match parent {
            Parent::Nobody => unreachable!("who has not heard does not answer"),
            Parent::Edge(edge) => {
                scene.write(local, edge as usize, Kind::Back, sums, [&bag.readings, &bag.missing, &[]]);
            }
            Parent::Itself => {
                let [units, load, cpu] = sums;
                let readings = Reading::read(&bag.readings).collect();
                let missing = Missing::read(&bag.missing).collect();
                scene.decided(local, Outcome { units, load, cpu, readings, missing });
            }
        }
    }

    /// Takes in what came back from a subtree.
    fn take_in(&mut self, local: Local, letter: &Letter, words: &[Word]) {
        let part = &mut self.parts[local.index()];
        for (sum, more) in part.sums.iter_mut().zip(letter.sums) {
            *sum = sum.saturating_add(more);
        }
        if let Some((readings, missing)) = words.split_at_checked(letter.lists[0] as usize)
            && !words.is_empty()
        {
            let bag = self.bag(local);
            bag.readings.extend_from_slice(readings);
            bag.missing.extend_from_slice(missing);
        }
    }
}

impl Course for Echo {
    fn start(&mut self, local: Local, scene: &mut Scene<'_>) {
        if self.parts[local.index()].parent != Parent::Nobody {
            return;
        }
        self.join(local, Parent::Itself, scene);
        if self.parts[local.index()].waiting == 0 {
            self.complete(local, scene);
        }
    }

    fn hear(&mut self, local: Local, edge: usize, letter: &Letter, words: &[Word], scene: &mut Scene<'_>) {
        let part = self.parts[local.index()];
        let is_new = part.parent == Parent::Nobody;
        match letter.kind {
            Kind::Explore if is_new => {
                self.join(local, Parent::Edge(edge as u32), scene);
                self.heard(local, edge, scene);
            }
            Kind::Beat if !is_new => scene.marks[edge].silence = 0,
            _ if is_new || scene.marks[edge].heard => scene.tally.strays += 1,
            Kind::Explore => self.heard(local, edge, scene),
            Kind::Back => {
                self.take_in(local, letter, words);
                self.heard(local, edge, scene);
            }
            Kind::Late => self.give_up(local, edge, Lack::Late, scene),
            Kind::Sets | Kind::Beat => scene.tally.strays += 1,
        }
    }

    fn awaits(&self, local: Local, edge: usize, scene: &Scene<'_>) -> bool {
        self.is_under_way(local) && !scene.marks[edge].heard
    }

    fn give_up(&mut self, local: Local, edge: usize, why: Lack, scene: &mut Scene<'_>) {
        if !self.awaits(local, edge, scene) {
            return;
        }
        let missing = Missing { by: scene.share.unit(local), unit: scene.share.far(edge), why };
        self.bag(local).missing.extend(missing.words());
        scene.gave_up(missing);
        self.heard(local, edge, scene);
    }

    /// Only the parent waits for a unit: all others have its word already.
    fn beat(&mut self, local: Local, scene: &mut Scene<'_>) {
        if let Parent::Edge(edge) = self.parts[local.index()].parent {
            scene.beat(local, edge as usize);
        }
    }

    fn is_under_way(&self, local: Local) -> bool {
        let part = &self.parts[local.index()];
        part.parent != Parent::Nobody && !part.is_done
    }

    fn expire(&mut self, local: Local, scene: &mut Scene<'_>) {
        for edge in scene.share.edges_of(local) {
            self.give_up(local, edge, Lack::Silent, scene);
        }
    }

    fn bury(&mut self, local: Local) {
        // Done without a word: it neither beats nor answers, and whatever comes for it is dropped.
        self.parts[local.index()].is_done = true;
    }
}
