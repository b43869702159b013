//! Warming: bringing near what look-ups of a batch will need. A look-up waits for memory some three times, each wait
//! for an address that the one before brought. Waits of one key cannot overlap; those of many keys can, when all first
//! steps are made first, then all second ones: the processor has a dozen or so in flight. The hard thing is not to wait
//! here instead: each step only asks for lines, and what it reads itself was asked for by the step before. (Plain loads
//! were tried: they fill the processor's window after some eight keys, and half of the waits remain.)

use super::segment::Segment;
use super::slot_table::SlotTable;
use super::{Aim, Table};
use prefetch_index::prefetch_index;

/// Keys warmed in one go. A first-level cache of 32 KiB holds what that many bring.
pub const WARM_MAX: usize = 32;

/// Has the line brought near in which this begins.
#[inline]
pub(super) fn bring<T>(what: &T) {
    prefetch_index(core::slice::from_ref(what), 0);
}

/// How far the warming of a batch has come: how many of its keys each step was made for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Warming {
    tables: usize,
    segments: usize,
    records: usize,
}

/// A step is made for a key so many keys after the one before, while a batch is being read: by then what it reads has
/// arrived, at some ten nanoseconds for reading a key.
const LAG: usize = 4;

impl Table {
    /// Brings near what look-ups of these keys will touch. Changes nothing and tells nothing. Worth it from some
    /// four keys on, in a table larger than the caches; aims beyond [`WARM_MAX`] are not looked at.
    #[inline]
    pub fn warm(&self, aims: &[Aim]) {
        self.warm_rest(aims, Warming::default());
    }

    /// Makes the steps that are due while a batch grows: `aims` are those of all its keys so far.
    #[inline]
    pub fn warm_along(&self, aims: &[Aim], warming: &mut Warming) {
        let due = |lag: usize| aims.len().min(WARM_MAX).saturating_sub(lag);
        self.bring_tables(aims, warming, due(1));
        self.bring_segments(aims, warming, due(1 + LAG));
        self.bring_records(aims, warming, due(1 + 2 * LAG));
    }

    /// Makes the steps that are left once a batch is whole.
    #[inline]
    pub fn warm_rest(&self, aims: &[Aim], mut warming: Warming) {
        let all = aims.len().min(WARM_MAX);
        self.bring_tables(aims, &mut warming, all);
        self.bring_segments(aims, &mut warming, all);
        self.bring_records(aims, &mut warming, all);
    }

    #[inline]
    fn bring_tables(&self, aims: &[Aim], warming: &mut Warming, due: usize) {
        while warming.tables < due {
            if let Some(table) = &self.slots[aims[warming.tables].slot.index()] {
                table.bring();
            }
            warming.tables += 1;
        }
    }

    #[inline]
    fn bring_segments(&self, aims: &[Aim], warming: &mut Warming, due: usize) {
        while warming.segments < due {
            if let Some(segment) = self.segment_of(aims[warming.segments]) {
                segment.bring();
            }
            warming.segments += 1;
        }
    }

    #[inline]
    fn bring_records(&self, aims: &[Aim], warming: &mut Warming, due: usize) {
        while warming.records < due {
            let aim = aims[warming.records];
            if let Some(segment) = self.segment_of(aim) {
                segment.bring_record(aim.hash);
            }
            warming.records += 1;
        }
    }

    #[inline]
    fn segment_of(&self, aim: Aim) -> Option<&Segment> {
        let table: &SlotTable = self.slots[aim.slot.index()].as_deref()?;
        Some(table.segment(table.index_of(aim.hash)))
    }
}
