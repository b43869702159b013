//! Who may touch which key of this core now, while several cores change keys together.
//!
//! A command on keys of several cores claims them core by core, in ascending order, and lets go of all when it is
//! done. A claim takes its place in the lines of all its keys in one step and is granted when it has come through in
//! each, so within a core everybody waits only for who came before, and between cores only for who is further up:
//! there is no circle, and so no deadlock. Readers come through together. A claim on the whole core waits until no
//! key has a line, and all who come after it wait at a gate.
//!
//! While nobody claims anything, which is nearly always, this costs a look at two lengths. The one hard thing is that
//! what may go on must not all go on within one event: it is put into a list of who is ready, and keeps its place in
//! line until it was served, so that nobody who comes later overtakes it.

use crate::act::Act;
use crate::peer::{Asker, Hold, Item, Text, Work};
use machine::id::Key;
use machine::{Blob, CoreId, Slab};
use std::collections::{BTreeMap, VecDeque};

/// An act on one key that waits.
#[derive(Debug)]
pub(crate) struct Parked {
    /// The core that asked.
    pub(crate) from: CoreId,
    /// The request that waits for the answer.
    pub(crate) asker: Asker,
    pub(crate) slot: u16,
    pub(crate) act: Act,
    pub(crate) key: Text,
    pub(crate) payload: Text,
    pub(crate) blob: Option<Blob>,
}

/// A claim on keys.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The core whose deal it is.
    pub(crate) from: CoreId,
    /// The deal, as that core names it.
    pub(crate) deal: u64,
    pub(crate) hold: Hold,
    /// It is kept until the deal is finished; else until its work is done.
    pub(crate) stays: bool,
    /// It is refused where there is no room for what will be stored.
    pub(crate) stores: bool,
    /// The command, as its place in the table.
    pub(crate) command: u8,
    /// What is done as soon as it is granted.
    pub(crate) work: Work,
    /// Its keys.
    pub(crate) items: Vec<Item>,
}

/// Who can be served.
#[derive(Debug)]
pub(crate) enum Ready {
    /// An act on one key.
    One(Parked),
    /// A claim was granted.
    Granted(Key),
}

/// The lines of a core.
#[derive(Debug)]
pub(crate) struct Locks {
    lines: BTreeMap<Text, Line>,
    claims: Slab<Waits>,
    parked: Slab<Parked>,
    /// Claims that stay, by core and deal.
    staying: BTreeMap<(CoreId, u64), Key>,
    /// Begins with a claim on the whole core; behind it are all who came later.
    gate: VecDeque<Who>,
    ready: VecDeque<Who>,
}

#[derive(Debug)]
struct Waits {
    claim: Claim,
    keys: Vec<Text>,
    /// Keys where it has not come through.
    blocked: usize,
    /// Bytes of the store that are kept for it.
    reserved: usize,
}

/// Those who want one key, in the order in which they came, those who have it included.
#[derive(Debug, Default)]
struct Line {
    places: VecDeque<Place>,
    /// How many of them want it alone.
    alone: usize,
}

#[derive(Debug)]
struct Place {
    who: Who,
    alone: bool,
    through: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Claim(Key),
    Parked(Key),
}

impl Locks {
    pub(crate) fn new() -> Self {
        Self {
            lines: BTreeMap::new(),
            claims: Slab::new(),
            parked: Slab::new(),
            staying: BTreeMap::new(),
            gate: VecDeque::new(),
            ready: VecDeque::new(),
        }
    }

    /// Whether nobody has or wants anything.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.lines.is_empty() && self.gate.is_empty()
    }

    /// How many wait or have claims.
    pub(crate) fn len(&self) -> usize {
        self.claims.len() + self.parked.len()
    }

    /// Whether an act on that key has to be [parked](Self::park).
    #[inline]
    pub(crate) fn must_wait(&self, key: &[u8], act: &Act) -> bool {
        if self.is_quiet() {
            return false;
        }
        !self.gate.is_empty() || self.lines.get(key).is_some_and(|line| act.writes() || line.alone > 0)
    }

    /// Has an act wait for its key.
    pub(crate) fn park(&mut self, parked: Parked) {
        let who = Who::Parked(self.parked.insert(parked));
        if self.gate.is_empty() { self.admit(who) } else { self.gate.push_back(who) }
    }

    /// Takes a claim in. True when it is granted already; else it will be [ready](Self::next_ready).
    pub(crate) fn claim(&mut self, claim: Claim) -> (Key, bool) {
        let mut keys: Vec<Text> = claim.items.iter().map(|item| item.key.clone()).collect();
        keys.sort_unstable();
        keys.dedup();
        let (from, deal, stays, hold) = (claim.from, claim.deal, claim.stays, claim.hold);
        let key = self.claims.insert(Waits { claim, keys, blocked: 1, reserved: 0 });
        if stays {
            self.staying.insert((from, deal), key);
        }
        if hold == Hold::Whole || !self.gate.is_empty() {
            self.gate.push_back(Who::Claim(key));
            self.open();
        } else {
            self.admit(Who::Claim(key));
        }
        let is_granted = self.ready.back() == Some(&Who::Claim(key));
        if is_granted {
            self.ready.pop_back();
        }
        (key, is_granted)
    }

    /// What a claim was made for, taken out of it.
    pub(crate) fn granted(&mut self, key: Key) -> Option<Claim> {
        let waits = self.claims.get_mut(key)?;
        let Claim { from, deal, hold, stays, stores, command, .. } = waits.claim;
        let work = core::mem::replace(&mut waits.claim.work, Work::Nothing);
        let items = core::mem::take(&mut waits.claim.items);
        Some(Claim { from, deal, hold, stays, stores, command, work, items })
    }

    /// A claim that stayed and is to be let go.
    pub(crate) fn stayed(&self, from: CoreId, deal: u64) -> Option<Key> {
        self.staying.get(&(from, deal)).copied()
    }

    /// The keys of a claim.
    pub(crate) fn keys(&self, key: Key) -> &[Text] {
        self.claims.get(key).map_or(&[], |waits| &waits.keys)
    }

    /// So many bytes of the store are kept for a claim.
    pub(crate) fn reserve(&mut self, key: Key, bytes: usize) {
        if let Some(waits) = self.claims.get_mut(key) {
            waits.reserved = bytes;
        }
    }

    /// How many are, which no longer are.
    pub(crate) fn take_reserved(&mut self, key: Key) -> usize {
        self.claims.get_mut(key).map_or(0, |waits| core::mem::take(&mut waits.reserved))
    }

    /// Lets go of a claim.
    pub(crate) fn release(&mut self, key: Key) {
        let Some(Waits { claim, keys, .. }) = self.claims.remove(key) else { return };
        self.staying.remove(&(claim.from, claim.deal));
        if claim.hold == Hold::Whole {
            // It is the first there: only then it is granted.
            self.gate.pop_front();
        } else {
            keys.iter().for_each(|each| self.leave(each, Who::Claim(key)));
        }
        self.open();
    }

    /// The next that can be served; a parked act is let go of by that.
    pub(crate) fn next_ready(&mut self) -> Option<Ready> {
        loop {
            match self.ready.pop_front()? {
                Who::Claim(key) => return Some(Ready::Granted(key)),
                Who::Parked(key) => {
                    let Some(parked) = self.parked.remove(key) else { continue };
                    self.leave(&parked.key, Who::Parked(key));
                    self.open();
                    return Some(Ready::One(parked));
                }
            }
        }
    }

    /// Whether anybody can be served.
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Puts one into the lines of its keys.
    fn admit(&mut self, who: Who) {
        match who {
            Who::Parked(key) => {
                let Some(parked) = self.parked.get(key) else { return };
                let (text, alone) = (parked.key.clone(), parked.act.writes());
                if self.lines.entry(text).or_default().push(who, alone) {
                    self.ready.push_back(who);
                }
            }
            Who::Claim(key) => {
                let Some(waits) = self.claims.get_mut(key) else { return };
                let alone = waits.claim.hold == Hold::Alone;
                waits.blocked = 0;
                for text in &waits.keys {
                    let through = self.lines.entry(text.clone()).or_default().push(who, alone);
                    waits.blocked += usize::from(!through);
                }
                if waits.blocked == 0 {
                    self.ready.push_back(who);
                }
            }
        }
    }

    /// One leaves the line of a key; who comes through by that may be ready.
    fn leave(&mut self, text: &Text, who: Who) {
        let Some(line) = self.lines.get_mut(text) else { return };
        line.remove(who);
        let mut woken = Vec::new();
        line.go_on(|who| woken.push(who));
        if line.places.is_empty() {
            self.lines.remove(text);
        }
        for who in woken {
            let is_ready = match who {
                Who::Parked(_) => true,
                Who::Claim(key) => self.claims.get_mut(key).is_some_and(|waits| {
                    waits.blocked -= 1;
                    waits.blocked == 0
                }),
            };
            if is_ready {
                self.ready.push_back(who);
            }
        }
    }

    /// Lets in who waits at the gate, up to the next claim on the whole core, which is granted once it is alone.
    fn open(&mut self) {
        while let Some(who) = self.gate.front().copied() {
            if let Who::Claim(key) = who
                && let Some(waits) = self.claims.get_mut(key)
                && waits.claim.hold == Hold::Whole
            {
                if self.lines.is_empty() && waits.blocked > 0 {
                    waits.blocked = 0;
                    self.ready.push_back(who);
                }
                return;
            }
            self.gate.pop_front();
            self.admit(who);
        }
    }
}

impl Line {
    /// One comes. True when it is through at once.
    fn push(&mut self, who: Who, alone: bool) -> bool {
        let through = self.places.is_empty() || (!alone && self.alone == 0);
        self.places.push_back(Place { who, alone, through });
        self.alone += usize::from(alone);
        through
    }

    fn remove(&mut self, who: Who) {
        if let Some(at) = self.places.iter().position(|place| place.who == who)
            && let Some(place) = self.places.remove(at)
        {
            self.alone -= usize::from(place.alone);
        }
    }

    /// Names those who come through now.
    fn go_on(&mut self, mut woken: impl FnMut(Who)) {
        for (at, place) in self.places.iter_mut().enumerate() {
            if place.alone && at > 0 {
                return;
            }
            if !core::mem::replace(&mut place.through, true) {
                woken(place.who);
            }
            if place.alone {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
