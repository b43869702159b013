//! Parts of values told and changed: ranges, appended bytes, numbers that are added to.
//!
//! The one hard thing is a long value that is changed often, such as one that is appended to a million times. It is a
//! blob, which others may be sending at this moment. So it is taken out of the table first: if nobody else holds it
//! then, its own bytes are changed, and grow as a vector grows; else they are copied once, and are its own after that.

use super::Store;
use crate::act::Payload;
use crate::extended::Extended;
use crate::keep::effect::Effect;
use crate::refusal::Fault;
use crate::reply::Reply;
use machine::blob::BLOB_MIN;
use machine::{Blob, WallTime};
use state::{Expiry, Slot, Value, View};
use wire::resp::integer;

impl Store {
    pub(super) fn append(&mut self, slot: Slot, key: &[u8], more: Payload<'_>, now: WallTime) -> Reply<'_> {
        let before = self.table.get(slot, key, now).map_or(0, |entry| entry.as_bytes().len());
        let length = before + more.bytes().len();
        if length > self.value_max {
            return Reply::Refused(Fault::ValueTooLong);
        }
        if before == 0 {
            self.table.set(slot, key, more.into(), Expiry::Keep, now);
        } else {
            self.table.before(slot, key);
            self.table.changes += 1;
            self.table.note(&Effect::Patch { key, offset: before as u64, bytes: more.bytes() });
            self.rewrite(slot, key, length, now, |bytes| bytes.extend_from_slice(more.bytes()));
        }
        Reply::Integer(length as i64)
    }

    pub(super) fn get_range(
        &mut self,
        slot: Slot,
        key: &[u8],
        start: i64,
        end: i64,
        now: WallTime,
    ) -> Reply<'_> {
        let Some(view) = self.read(slot, key, now) else { return Reply::Bulk(b"") };
        let length = view.as_bytes().len();
        if start < 0 && end < 0 && start > end {
            return Reply::Bulk(b"");
        }
        let from_start = |at: i64| match usize::try_from(at) {
            Ok(at) => at,
            Err(_) => length.saturating_sub(usize::try_from(at.unsigned_abs()).unwrap_or(usize::MAX)),
        };
        let (start, end) = (from_start(start), from_start(end).saturating_add(1).min(length));
        match view {
            _ if start >= end => Reply::Bulk(b""),
            View::Blob(blob) if end - start >= BLOB_MIN => Reply::Blob(blob.slice(start..end)),
            View::Blob(blob) => Reply::Bulk(&blob[start..end]),
            View::Bytes(bytes) => Reply::Bulk(&bytes[start..end]),
        }
    }

    pub(super) fn set_range(
        &mut self,
        slot: Slot,
        key: &[u8],
        offset: u64,
        part: &[u8],
        now: WallTime,
    ) -> Reply<'_> {
        let before = self.table.get(slot, key, now).map_or(0, |entry| entry.as_bytes().len());
        if part.is_empty() {
            return Reply::Integer(before as i64);
        }
        let end = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(part.len());
        if end > self.value_max {
            return Reply::Refused(Fault::ValueTooLong);
        }
        let start = end - part.len();
        self.table.before(slot, key);
        self.table.changes += 1;
        if self.table.is_on() {
            if self.table.peek(slot, key, now).is_none() {
                // What may have expired there is not written over when this is told again.
                self.table.note(&Effect::Del { key });
            }
            self.table.note(&Effect::Patch { key, offset: start as u64, bytes: part });
        }
        if end <= before
            && let Some(bytes) = self.table.get_mut(slot, key, now)
        {
            bytes[start..end].copy_from_slice(part);
            return Reply::Integer(before as i64);
        }
        let length = before.max(end);
        self.rewrite(slot, key, length, now, |bytes| {
            bytes.resize(length, 0);
            bytes[start..end].copy_from_slice(part);
        });
        Reply::Integer(length as i64)
    }

    pub(super) fn add(&mut self, slot: Slot, key: &[u8], number: i64, now: WallTime) -> Reply<'_> {
        let mut digits = itoa::Buffer::new();
        // Nearly always the sum is as long as the value was, and this is the only look-up.
        let mut before = 0;
        self.table.before(slot, key);
        if let Some(bytes) = self.table.get_mut(slot, key, now) {
            before = match integer(bytes) {
                Some(before) => before,
                None => return Reply::Refused(Fault::NotAnInteger),
            };
            let Some(sum) = before.checked_add(number) else { return Reply::Refused(Fault::Overflow) };
            let text = digits.format(sum).as_bytes();
            if text.len() == bytes.len() {
                bytes.copy_from_slice(text);
                self.table.changes += 1;
                self.table.note(&Effect::Value { key, value: text });
                return Reply::Integer(sum);
            }
        } else if self.table.peek(slot, key, now).is_some() {
            // A blob, which is no number.
            return Reply::Refused(Fault::NotAnInteger);
        }
        let sum = before + number;
        self.table.set(slot, key, digits.format(sum).as_bytes().into(), Expiry::Keep, now);
        Reply::Integer(sum)
    }

    pub(super) fn add_float(&mut self, slot: Slot, key: &[u8], number: Extended, now: WallTime) -> Reply<'_> {
        let before = match self.table.get(slot, key, now) {
            Some(entry) => match Extended::parse(entry.as_bytes()) {
                Some(before) => before,
                None => return Reply::Refused(Fault::NotAFloat),
            },
            None => Extended::default(),
        };
        let Some(sum) = before.plus(number) else { return Reply::Refused(Fault::NotFinite) };
        self.taken.clear();
        self.taken.extend_from_slice(sum.text().as_bytes());
        self.table.set(slot, key, Value::Bytes(&self.taken), Expiry::Keep, now);
        Reply::Bulk(&self.taken)
    }

    /// Changes the bytes of a value, of a missing one none, to `length` bytes.
    fn rewrite(
        &mut self,
        slot: Slot,
        key: &[u8],
        length: usize,
        now: WallTime,
        change: impl FnOnce(&mut Vec<u8>),
    ) {
        // Recorded by who asks for it, as what was changed and not as what it comes to.
        let table = self.table.unrecorded();
        let before = table.get(slot, key, now).map(|entry| entry.value);
        let mut bytes = match before {
            Some(View::Blob(blob)) => {
                let blob = blob.clone();
                // The table lets go of it, so that it may be the only one that is left.
                table.set(slot, key, Value::Bytes(b""), Expiry::Keep, now);
                blob.into_vec()
            }
            Some(View::Bytes(bytes)) => {
                let mut whole = Vec::with_capacity(length);
                whole.extend_from_slice(bytes);
                whole
            }
            None => Vec::with_capacity(length),
        };
        change(&mut bytes);
        let value = if length < BLOB_MIN { Value::Bytes(&bytes) } else { Value::Blob(Blob::from(bytes)) };
        table.set(slot, key, value, Expiry::Keep, now);
    }
}
