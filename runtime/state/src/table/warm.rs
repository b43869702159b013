//! Warming: reading ahead what look-ups of a batch will need. A look-up waits for memory some four times, each
//! wait for an address that the one before brought. Waits of one key cannot overlap; those of many keys can, when
//! all first steps are made first, then all second ones: the processor has a dozen or so in flight. There is no
//! prefetch without `unsafe`, so these are plain loads whose sum is kept from being optimized away.

use super::segment::Segment;
use super::slot_table::SlotTable;
use super::{Aim, Table};
use core::hint::black_box;

/// Keys warmed in one go. A first-level cache of 32 KiB holds what that many bring.
pub const WARM_MAX: usize = 32;

impl Table {
    /// Brings near what look-ups of these keys will touch. Changes nothing and tells nothing. Worth it from some
    /// four keys on, in a table larger than the caches; aims beyond [`WARM_MAX`] are not looked at.
    pub fn warm(&self, aims: &[Aim]) {
        let mut sum = 0u64;
        let mut tables: [Option<&SlotTable>; WARM_MAX] = [None; WARM_MAX];
        let mut segments: [Option<&Segment>; WARM_MAX] = [None; WARM_MAX];
        for (table, aim) in tables.iter_mut().zip(aims) {
            *table = self.slots[aim.slot.index()].as_deref();
        }
        for table in tables.iter().flatten() {
            sum += table.touch();
        }
        for ((segment, table), aim) in segments.iter_mut().zip(&tables).zip(aims) {
            *segment = table.map(|table| table.segment(table.index_of(aim.hash)));
            sum += segment.map_or(0, Segment::touch_index);
        }
        for (segment, aim) in segments.iter().zip(aims) {
            sum += segment.map_or(0, |segment| segment.touch_record(aim.hash));
        }
        black_box(sum);
    }
}
