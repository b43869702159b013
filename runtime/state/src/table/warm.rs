//! Warming: reading ahead what look-ups of a batch will need. A look-up waits for memory some four times, each
//! wait for an address that the one before brought. Waits of one key cannot overlap; those of many keys can, when
//! all first steps are made first, then all second ones: the processor has a dozen or so in flight. There is no
//! prefetch without `unsafe`, so these are plain loads whose sum is kept from being optimized away.

use super::Table;
use super::segment::Segment;
use super::slot_table::SlotTable;
use crate::slot::Slot;
use core::hint::black_box;

/// Keys warmed in one go. A first-level cache of 32 KiB holds what that many bring.
pub const WARM_MAX: usize = 32;

impl Table {
    /// Brings near what look-ups of these keys will touch. Changes nothing and tells nothing. Worth it from some
    /// four keys on, in a table larger than the caches; keys beyond [`WARM_MAX`] are not looked at.
    pub fn warm<'k>(&self, keys: impl IntoIterator<Item = (Slot, &'k [u8])>) {
        let mut sum = 0u64;
        let mut tables: [Option<(&SlotTable, u32)>; WARM_MAX] = [None; WARM_MAX];
        let mut segments: [Option<(&Segment, u32)>; WARM_MAX] = [None; WARM_MAX];
        for (table, (slot, key)) in tables.iter_mut().zip(keys) {
            *table = self.slots[slot.index()].as_deref().map(|table| (table, self.hash(key)));
            sum += table.map_or(0, |(table, _)| table.touch());
        }
        for (segment, table) in segments.iter_mut().zip(&tables) {
            *segment = table.map(|(table, hash)| (table.segment(table.index_of(hash)), hash));
            sum += segment.map_or(0, |(segment, _)| segment.touch_index());
        }
        for (segment, hash) in segments.iter().flatten() {
            sum += segment.touch_record(*hash);
        }
        black_box(sum);
    }
}
