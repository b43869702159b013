//! The roster: the names of all segments, from which eviction draws. Drawing a segment and then one of its 64
//! places until there is an entry finds every entry with the same chance, however slots differ in size.
//!
//! Names of segments that are gone stay until they are met: by a draw or by the sweep that goes on a little with
//! each name that comes. So there are never many more of them than twice the segments there are or once were.

use super::hints::Name;
use machine::Stream;

/// Names in one piece, so that adding one never copies many.
const CHUNK_NAMES: usize = 4096;

/// Names looked at for each one that comes.
const SWEPT_AT_ONCE: usize = 2;

/// Names of segments, in no order.
#[derive(Debug, Default)]
pub(super) struct Roster {
    chunks: Vec<Vec<Name>>,
    len: usize,
    sweep: usize,
}

impl Roster {
    /// Adds a name and drops some that are no more in use.
    pub(super) fn add(&mut self, name: Name, is_in_use: impl Fn(Name) -> bool) {
        if self.len == self.chunks.len() * CHUNK_NAMES {
            self.chunks.push(Vec::new());
        }
        self.chunks[self.len / CHUNK_NAMES].push(name);
        self.len += 1;
        for _ in 0..SWEPT_AT_ONCE {
            self.sweep = if self.sweep >= self.len { 0 } else { self.sweep };
            match self.get(self.sweep) {
                Some(name) if !is_in_use(name) => self.swap_remove(self.sweep),
                Some(_) => self.sweep += 1,
                None => {}
            }
        }
    }

    /// A name by chance, which may be no more in use.
    pub(super) fn draw(&self, chance: &mut Stream) -> Option<Name> {
        if self.len == 0 { None } else { self.get(chance.below(self.len as u64) as usize) }
    }

    /// Forgets all names.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// How many names there are.
    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, index: usize) -> Option<Name> {
        self.chunks.get(index / CHUNK_NAMES)?.get(index % CHUNK_NAMES).copied()
    }

    fn swap_remove(&mut self, index: usize) {
        let Some(last) = self.chunks.last_mut().and_then(Vec::pop) else { return };
        self.len -= 1;
        if index < self.len {
            self.chunks[index / CHUNK_NAMES][index % CHUNK_NAMES] = last;
        }
        if self.chunks.last().is_some_and(Vec::is_empty) {
            self.chunks.pop();
        }
    }
}
