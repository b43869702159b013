//! All clients of the node: who is meant by CLIENT LIST and CLIENT KILL, and how many there are.
//!
//! The one hard thing is a bound on the whole node when each core takes its own clients. Asking before each would cost
//! a round; so every core tells the others its number whenever it has changed enough to matter, and counts on what it
//! was told last.

#![allow(missing_docs, reason = "the derive writes types beside ours, without docs for their fields")]

use crate::session::Session;
use machine::{CoreId, Seat};
use rkyv::{Archive, Deserialize, Serialize};

/// Which clients are meant: those for whom all that is said is true.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of a type that nobody here has.
    pub is_none: bool,
    /// One of these numbers.
    pub numbers: Option<Vec<u64>>,
    /// They came from there.
    pub from: Option<String>,
    /// They came to there.
    pub at: Option<String>,
    /// They came in as this user.
    pub user: Option<String>,
    /// Not the one who asks.
    pub skips_asker: bool,
}

impl Filter {
    /// Whether this client is meant, if it is not the one who asks.
    #[must_use]
    pub fn has(&self, session: &Session) -> bool {
        let about = &session.about;
        let is_text =
            |wanted: &Option<String>, text: String| wanted.as_ref().is_none_or(|wanted| *wanted == text);
        !self.is_none
            && self.numbers.as_ref().is_none_or(|numbers| numbers.contains(&about.number))
            && is_text(&self.from, about.from.to_string())
            && is_text(&self.at, about.at.map_or_else(String::new, |at| at.to_string()))
            && self.user.as_ref().is_none_or(|user| **user == *about.user)
    }
}

/// Parts of a core's share of clients after which others are told.
const STEPS: u32 = 64;

/// How many clients the node has, as this core knows.
#[derive(Debug, Default)]
pub struct Crowd {
    /// By core, as they told.
    others: Vec<u32>,
    others_sum: usize,
    /// What the others were told.
    told: usize,
}

impl Crowd {
    /// Nobody is there.
    #[must_use]
    pub fn new(seat: Seat) -> Self {
        Self { others: vec![0; usize::from(seat.cores)], others_sum: 0, told: 0 }
    }

    /// Another core has so many.
    pub fn hear(&mut self, core: CoreId, count: u32) {
        if let Some(place) = self.others.get_mut(core.index()) {
            self.others_sum = self.others_sum - *place as usize + count as usize;
            *place = count;
        }
    }

    /// Whether one more is too many, when this core has `own`.
    #[must_use]
    pub fn is_full(&self, own: usize, clients_max: u32) -> bool {
        own + self.others_sum >= clients_max as usize
    }

    /// What to tell the others now, if anything.
    #[inline]
    pub fn news(&mut self, own: usize, clients_max: u32) -> Option<u32> {
        if own == self.told || self.others.len() < 2 {
            return None;
        }
        let step = (clients_max / (STEPS * self.others.len() as u32)).max(1) as usize;
        if own != 0 && own.abs_diff(self.told) < step {
            return None;
        }
        self.told = own;
        Some(u32::try_from(own).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::NodeId;

    #[test]
    fn what_matters_is_told_and_counted() {
        let mut crowd = Crowd::new(Seat { node: NodeId(0), core: CoreId(0), cores: 2 });
        assert_eq!(crowd.news(0, 4), None);
        assert_eq!(crowd.news(1, 4), Some(1));
        assert_eq!(crowd.news(1, 4), None);
        assert_eq!(crowd.news(2, 100_000), None, "too few to matter");
        assert_eq!(crowd.news(800, 100_000), Some(800));
        assert_eq!(crowd.news(0, 100_000), Some(0), "nobody is always told");
        crowd.hear(CoreId(1), 3);
        crowd.hear(CoreId(1), 2);
        assert!(!crowd.is_full(1, 4) && crowd.is_full(2, 4));
    }

    #[test]
    fn alone_there_is_nobody_to_tell() {
        let mut crowd = Crowd::new(Seat { node: NodeId(0), core: CoreId(0), cores: 1 });
        assert_eq!(crowd.news(5, 10), None);
        assert!(crowd.is_full(10, 10));
    }
}
