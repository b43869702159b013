//! How a segment lays its records: over the old one, at the end, or all anew when the holes have become too many.

use super::{DEAD_MIN, Segment};
use crate::table::chunks::{CHUNK, Chunks};
use crate::table::entry::Value;
use crate::table::large::Large;
use crate::table::record::{self, Draft, Record};
use crate::table::usage::Usage;

impl Segment {
    /// Lays an entry that has its place, in the stead of a record of `old` bytes.
    pub(super) fn lay(
        &mut self,
        at: usize,
        key: &[u8],
        value: Value<'_>,
        deadline: u64,
        used: Usage,
        old: usize,
    ) -> usize {
        if record::fits(key.len(), value.as_bytes().len()) {
            return self.lay_draft(at, &Draft::inside(key, value.as_bytes(), deadline, used), old);
        }
        let place = self.larges.get_or_insert_default().put(Large::new(key, value));
        self.lay_draft(at, &Draft::outside(place, deadline, used), old)
    }

    /// Lays a record: over the old one if it is no longer than that, else at the end.
    pub(super) fn lay_draft(&mut self, at: usize, draft: &Draft<'_>, old: usize) -> usize {
        let size = draft.size();
        if size <= old {
            draft.write(self.chunks.at_mut(self.offset(at)));
            self.dead += (old - size) as u16;
            return self.tidy();
        }
        self.dead += old as u16;
        let mut moved = 0;
        if !self.chunks.has_room(size) && usize::from(self.dead) >= CHUNK / 2 {
            moved = self.write_anew(Some(at));
        }
        let offset = self.chunks.take(size);
        self.set_offset(at, offset);
        draft.write(self.chunks.at_mut(offset));
        moved
    }

    /// Writes all records anew if that saves a chunk.
    pub(super) fn tidy(&mut self) -> usize {
        let dead = usize::from(self.dead);
        let is_due = dead >= DEAD_MIN && dead >= self.chunks.end() || self.len == 0;
        if is_due { self.write_anew(None) } else { 0 }
    }

    /// Writes all records without holes, but for the one at `except`. Returns how many entries moved.
    pub(super) fn write_anew(&mut self, except: Option<usize>) -> usize {
        let mut chunks = Chunks::default();
        let mut moved = 0;
        for at in (0..self.len()).filter(|at| Some(*at) != except) {
            let old = self.chunks.at(self.offset(at));
            let size = Record::at(old).size();
            let new = chunks.take(size);
            chunks.at_mut(new)[..size].copy_from_slice(&old[..size]);
            self.set_offset(at, new);
            moved += 1;
        }
        self.chunks = chunks;
        self.dead = 0;
        moved
    }

    /// Takes an entry out and leaves a hole. The last one takes its place.
    pub(super) fn forget(&mut self, at: usize) {
        let record = self.record(at);
        let (size, outside) = (record.size(), record.outside());
        self.dead += size as u16;
        if let Some(place) = outside {
            self.take_large(place);
        }
        let last = self.len() - 1;
        self.set_tag(at, self.tag_at(last));
        self.set_offset(at, self.offset(last));
        self.note_expiring(at, self.expiring & (1 << last) != 0);
        self.note_expiring(last, false);
        self.len -= 1;
    }

    /// Gives the entry at a place to another segment, where there must be room. It must not be used here any more.
    pub(super) fn hand_over(&mut self, at: usize, to: &mut Self) {
        let bytes = self.chunks.at(self.offset(at));
        let record = Record::at(bytes);
        let (size, outside) = (record.size(), record.outside());
        let place = to.len();
        to.note_expiring(place, record.expires());
        let offset = to.chunks.take(size);
        to.set_tag(place, self.tag_at(at));
        to.set_offset(place, offset);
        to.len += 1;
        let there = to.chunks.at_mut(offset);
        there[..size].copy_from_slice(&bytes[..size]);
        if let Some(outside) = outside {
            let large = self.take_large(outside);
            record::set_outside(there, to.larges.get_or_insert_default().put(large));
        }
    }

    pub(super) fn take_large(&mut self, place: usize) -> Large {
        let larges = self.larges.as_mut().expect("a record outside has its large");
        let large = larges.take(place);
        if larges.is_empty() {
            self.larges = None;
        }
        large
    }

    pub(super) fn note_expiring(&mut self, at: usize, expires: bool) {
        self.expiring = self.expiring & !(1 << at) | u64::from(expires) << at;
    }
}

#[cfg(test)]
impl Segment {
    /// Recounts what is kept as a sum.
    pub(in crate::table) fn audit(&self) {
        let mut taken: Vec<(u16, usize)> = Vec::new();
        for at in 0..self.len() {
            assert_eq!(self.record(at).expires(), self.expiring & (1 << at) != 0);
            taken.push((self.offset(at), self.record(at).size()));
        }
        assert!(self.expiring.checked_shr(self.len.into()).unwrap_or(0) == 0, "no entry, no expiry");
        taken.sort_unstable();
        assert!(
            taken.windows(2).all(|two| usize::from(two[0].0) + two[0].1 <= two[1].0.into()),
            "records overlap"
        );
        let live: usize = taken.iter().map(|(_, size)| size).sum();
        assert!(live + usize::from(self.dead) <= self.chunks.allocated(), "more than there is");
        let outside = (0..self.len()).filter(|at| self.record(*at).outside().is_some()).count();
        assert_eq!(outside > 0, self.larges.is_some());
        if let Some(larges) = &self.larges {
            assert_eq!(larges.recounted(), larges.allocated());
        }
    }
}
