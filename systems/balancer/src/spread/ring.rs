//! The ring: who owns a key, by one of four ways, over the members that can serve now.
//!
//! Every core has its own and changes it by the same messages in the same order, so all agree without asking each
//! other. The hard thing is that a change must be cheap to take and dear to none: what is filled by work (the Maglev
//! table) is filled when it is next asked, so that ten members that leave together cost one filling.

use super::key::Key;
use super::maglev::Maglev;
use super::rendezvous::{MEMBERS_MAX, Rendezvous};
use super::slots512::{Pair, Slots512};
use state::hash::hash64;

/// A replica's place in the tables of every core: small, and reused after it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat(pub u16);

impl Seat {
    /// As an index.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How keys are spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Way {
    /// Rendezvous up to 64 members, Maglev over it.
    #[default]
    Best,
    /// Highest random weight.
    Rendezvous,
    /// A table of 65,537 entries.
    Maglev,
    /// The classic ring.
    Slots512(Pair),
    /// The less loaded of two drawn at random; there is no owner.
    TwoChoices,
}

impl Way {
    /// As it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Best | Self::Rendezvous => "rendezvous",
            Self::Maglev => "maglev",
            Self::Slots512(_) => "slots512",
            Self::TwoChoices => "p2c",
        }
    }
}

/// Members and what finds the owner among them.
#[derive(Clone, Debug)]
pub struct Ring {
    way: Way,
    /// In the order of joining, which is the same on every core.
    members: Vec<(u64, Seat)>,
    finder: Finder,
    stale: bool,
}

#[derive(Clone, Debug)]
enum Finder {
    Lots(Rendezvous),
    Table(Maglev),
    Slots(Slots512),
    None,
}

impl Ring {
    /// Without members.
    #[must_use]
    pub fn new(way: Way) -> Self {
        let finder = match way {
            Way::Slots512(pair) => Finder::Slots(Slots512::new(pair)),
            Way::Best | Way::Rendezvous | Way::Maglev | Way::TwoChoices => Finder::None,
        };
        Self { way, members: Vec::new(), finder, stale: true }
    }

    /// How keys are spread.
    #[must_use]
    pub fn way(&self) -> Way {
        self.way
    }

    /// A member joins. What it owns is decided by its name alone (and, in the classic ring, by who was there).
    pub fn join(&mut self, name: &str, seat: Seat) {
        debug_assert!(self.members.iter().all(|member| member.1 != seat), "a seat is taken once");
        self.members.push((hash64(name.as_bytes(), 0), seat));
        if let Finder::Slots(slots) = &mut self.finder {
            // Whoever lets members in has counted the room; without it they own nothing and are chosen by load.
            let _ = slots.join(seat);
        }
        self.stale = true;
    }

    /// A member leaves.
    pub fn leave(&mut self, seat: Seat) {
        self.members.retain(|member| member.1 != seat);
        if let Finder::Slots(slots) = &mut self.finder {
            slots.leave(seat);
        }
        self.stale = true;
    }

    /// The members, in the order in which they joined.
    pub fn members(&self) -> impl ExactSizeIterator<Item = Seat> + Clone {
        self.members.iter().map(|member| member.1)
    }

    /// The member that joined after `index` others.
    #[must_use]
    pub fn member(&self, index: usize) -> Option<Seat> {
        self.members.get(index).map(|member| member.1)
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Who owns the key; none without members, and for [`Way::TwoChoices`].
    pub fn owner(&mut self, key: Key) -> Option<Seat> {
        if self.stale {
            self.fill();
        }
        match &self.finder {
            Finder::Lots(lots) => lots.owner(key),
            Finder::Table(table) => table.owner(key),
            Finder::Slots(slots) => slots.owner(key),
            Finder::None => None,
        }
    }

    fn fill(&mut self) {
        self.stale = false;
        // By name, not by age: a member that was away comes back to the same keys.
        let mut sorted = self.members.clone();
        sorted.sort_unstable();
        let few = sorted.len() <= MEMBERS_MAX;
        match self.way {
            Way::Best if few => self.finder = Finder::Lots(Rendezvous::new(sorted.into_iter())),
            Way::Rendezvous => self.finder = Finder::Lots(Rendezvous::new(sorted.into_iter())),
            Way::Best | Way::Maglev => self.finder = Finder::Table(Maglev::new(sorted.into_iter())),
            Way::Slots512(_) | Way::TwoChoices => {}
        }
    }

    /// The share of all keys that each member owns, in the order of [`Ring::members`]; they sum to 1.
    pub fn shares(&mut self) -> Vec<f64> {
        if self.stale {
            self.fill();
        }
        let even = vec![1.0; self.len()];
        let counts = match &self.finder {
            Finder::Lots(_) | Finder::None => even,
            Finder::Table(table) => self.counted(table.counts().map(|seat| (seat, 1))),
            Finder::Slots(slots) => self.counted(slots.exact()),
        };
        let sum: f64 = counts.iter().sum();
        counts.into_iter().map(|count| if sum > 0.0 { count / sum } else { 0.0 }).collect()
    }

    fn counted(&self, owned: impl Iterator<Item = (Seat, u64)>) -> Vec<f64> {
        let places = self.members().map(|seat| seat.index() + 1).max().unwrap_or(0);
        let mut by_seat = vec![0u64; places];
        owned.for_each(|(seat, count)| by_seat[seat.index()] += count);
        self.members().map(|seat| by_seat[seat.index()] as f64).collect()
    }
}
