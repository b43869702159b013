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

impl Table {
    /// Brings near what look-ups of these keys will touch. Changes nothing and tells nothing. Worth it from some
    /// four keys on, in a table larger than the caches; aims beyond [`WARM_MAX`] are not looked at.
    #[inline]
    pub fn warm(&self, aims: &[Aim]) {
        let aims = &aims[..aims.len().min(WARM_MAX)];
        for aim in aims {
            if let Some(table) = &self.slots[aim.slot.index()] {
                table.bring();
            }
        }
        let segment = |aim: &Aim| -> Option<&Segment> {
            let table: &SlotTable = self.slots[aim.slot.index()].as_deref()?;
            Some(table.segment(table.index_of(aim.hash)))
        };
        for aim in aims {
            if let Some(segment) = segment(aim) {
                segment.bring();
            }
        }
        for aim in aims {
            if let Some(segment) = segment(aim) {
                segment.bring_record(aim.hash);
            }
        }
    }
}
