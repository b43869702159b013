//! A core's table made again from what was kept: by this core, by the others, and in earlier eras by cores that were
//! more or fewer. It is told everything, and takes what concerns its own slots.
//!
//! The hard thing is a part of what several cores did as one. Whether it counts is known only when the other parts
//! were found, or a snapshot that stands for them; so what it changes can be taken back until then. Whatever is told
//! later of such a key was done later, and is not taken back: under `sync` nobody could touch the key before all parts
//! were safe, and under `batch` the last that was done is what is kept. There several parts may lie one on another on
//! a key; they are taken back from the last to the first.

use super::effect::{Effect, Entry, FactId, Reader, SNAPSHOT_HEAD};
use crate::peer::Text;
use machine::{CoreId, Kept, WallTime};
use state::{Expiry, Slot, Table, Value};
use std::collections::BTreeMap;

/// Before anything expires: what was there at the time is there when it is told again.
const THEN: WallTime = WallTime::from_micros(0);

/// What is known while logs are read.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    facts: BTreeMap<FactId, Fact>,
    /// Changes that facts made.
    made: u64,
    /// Keys that a fact may take back.
    doubtful: BTreeMap<Text, FactId>,
    /// The greatest number of a snapshot that was found.
    snapshot: Option<u64>,
    /// The greatest number of a point.
    point: u64,
    /// The snapshot at hand is of a core none of whose slots are ours.
    is_skipping: bool,
    /// Entries that could not be read: a newer program wrote them, or this one is wrong.
    pub(crate) unread: u64,
}

#[derive(Debug)]
struct Fact {
    /// Parts that were not found yet.
    missing: u16,
    undo: Vec<Undo>,
    /// Which change of all that facts made was its last.
    last: u64,
    /// Whose logs its parts stand in, and the point that was told after it in that log.
    cores: Vec<CoreId>,
    point: Option<u64>,
}

/// How a key comes to be as it was.
#[derive(Debug)]
struct Undo {
    key: Text,
    before: Option<Before>,
    /// Which fact could have taken the key back before this one.
    under: Option<FactId>,
}

#[derive(Debug)]
struct Before {
    value: Vec<u8>,
    until: Option<WallTime>,
}

impl Replay {
    /// Takes in a record or a part of a snapshot.
    pub(crate) fn take(&mut self, kept: Kept<'_>, is_ours: impl Fn(Slot) -> bool, table: &mut Table) {
        let bytes = match kept {
            Kept::Record(bytes) => bytes,
            Kept::Part(bytes) if self.is_skipping && !Reader::begins_snapshot(bytes) => return,
            Kept::Part(bytes) => bytes,
        };
        self.is_skipping = false;
        let mut reader = Reader::new(bytes);
        for entry in reader.by_ref() {
            match entry {
                Entry::Effect(effect) => self.apply(&effect, None, &is_ours, table),
                Entry::Dropped(id) => self.settle(id, false, table),
                Entry::Part { id, parts, at, inside } => {
                    let fact = self.facts.entry(id).or_insert_with(|| Fact {
                        missing: parts,
                        undo: Vec::new(),
                        last: 0,
                        cores: Vec::new(),
                        point: None,
                    });
                    fact.missing = fact.missing.saturating_sub(1);
                    fact.cores.push(at);
                    let is_whole = fact.missing == 0;
                    for entry in Reader::new(inside) {
                        if let Entry::Effect(effect) = entry {
                            self.apply(&effect, Some(id), &is_ours, table);
                        }
                    }
                    if is_whole {
                        self.settle(id, true, table);
                    }
                }
                Entry::Point { number, core } => self.pass(number, core),
                Entry::Snapshot { number } => {
                    self.snapshot = self.snapshot.max(Some(number));
                    // Which slots it is of is said next.
                    if let Some(Entry::Effect(Effect::Flush(slots))) =
                        Reader::new(&bytes[SNAPSHOT_HEAD..]).next()
                    {
                        self.is_skipping = matches!(kept, Kept::Part(_)) && !slots.iter().any(&is_ours);
                    }
                }
            }
            if self.is_skipping {
                return;
            }
        }
        self.unread += u64::from(!reader.is_whole());
    }

    /// A snapshot was begun here. What stands before it in this log is whole if the snapshot is, on any core.
    fn pass(&mut self, number: u64, core: CoreId) {
        self.point = self.point.max(number);
        for fact in self.facts.values_mut().filter(|fact| fact.cores.contains(&core)) {
            fact.point.get_or_insert(number);
        }
    }

    /// Everything was told: parts that are alone are taken back. Gives which facts that were, which must be logged
    /// before anything else, and the greatest number of a snapshot that was ever begun.
    pub(crate) fn end(mut self, table: &mut Table) -> (Vec<FactId>, u64) {
        let mut open: Vec<FactId> = self.facts.keys().copied().collect();
        open.sort_by_key(|id| core::cmp::Reverse(self.facts[id].last));
        let mut dropped = Vec::new();
        for id in open {
            let stands = self.facts[&id].point.is_some_and(|point| self.snapshot >= Some(point));
            if !stands {
                dropped.push(id);
            }
            self.settle(id, stands, table);
        }
        (dropped, self.point.max(self.snapshot.unwrap_or(0)))
    }

    /// A fact is known to be whole, or not to be.
    fn settle(&mut self, id: FactId, is_whole: bool, table: &mut Table) {
        let Some(fact) = self.facts.remove(&id) else { return };
        for Undo { key, before, under } in fact.undo.into_iter().rev() {
            if self.doubtful.get(&key) != Some(&id) {
                continue;
            }
            if is_whole {
                self.doubtful.remove(&key);
                continue;
            }
            let slot = Slot::of(&key);
            match before {
                None => drop(table.remove(slot, &key, THEN)),
                Some(Before { value, until }) => put(table, &key, &value, until),
            }
            match under {
                None => drop(self.doubtful.remove(&key)),
                Some(under) => drop(self.doubtful.insert(key, under)),
            }
        }
    }

    fn apply(
        &mut self,
        effect: &Effect<'_>,
        of: Option<FactId>,
        is_ours: &impl Fn(Slot) -> bool,
        table: &mut Table,
    ) {
        let key = match effect {
            Effect::Put { key, .. }
            | Effect::Value { key, .. }
            | Effect::Patch { key, .. }
            | Effect::Life { key, .. }
            | Effect::Del { key } => *key,
            Effect::Flush(slots) => return self.flush(*slots, of, is_ours, table),
        };
        let slot = Slot::of(key);
        if !is_ours(slot) {
            return;
        }
        self.doubt(key, slot, of, table);
        match *effect {
            Effect::Put { value, until, .. } => put(table, key, value, until),
            Effect::Value { value, .. } => {
                table.set(slot, key, valued(value), Expiry::Keep, THEN);
            }
            Effect::Patch { offset, bytes, .. } => patch(table, slot, key, offset, bytes),
            Effect::Life { until, .. } => {
                table.expire_at(slot, key, until, THEN);
            }
            Effect::Del { .. } => {
                table.remove(slot, key, THEN);
            }
            Effect::Flush(_) => {}
        }
    }

    /// Remembers what is at a key that a fact changes; forgets it where something later does.
    fn doubt(&mut self, key: &[u8], slot: Slot, of: Option<FactId>, table: &Table) {
        let Some(id) = of else {
            if !self.doubtful.is_empty() {
                self.doubtful.remove(key);
            }
            return;
        };
        let Some(fact) = self.facts.get_mut(&id) else { return };
        let before = table
            .peek(slot, key, THEN)
            .map(|entry| Before { value: entry.as_bytes().to_vec(), until: entry.expiry });
        self.made += 1;
        fact.last = self.made;
        let under = self.doubtful.insert(Text::from_slice(key), id);
        fact.undo.push(Undo { key: Text::from_slice(key), before, under });
    }

    fn flush(
        &mut self,
        slots: super::effect::Slots<'_>,
        of: Option<FactId>,
        is_ours: &impl Fn(Slot) -> bool,
        table: &mut Table,
    ) {
        for slot in slots.iter().filter(|slot| is_ours(*slot)) {
            let mut keys = Vec::new();
            let mut cursor = 0;
            loop {
                cursor = table.scan(slot, cursor, THEN, |entry| keys.push(entry.key.to_vec()));
                if cursor == 0 {
                    break;
                }
            }
            for key in keys {
                self.doubt(&key, slot, of, table);
                table.remove(slot, &key, THEN);
            }
        }
    }
}

fn put(table: &mut Table, key: &[u8], value: &[u8], until: Option<WallTime>) {
    let expiry = until.map_or(Expiry::Never, Expiry::At);
    table.set(Slot::of(key), key, valued(value), expiry, THEN);
}

fn valued(value: &[u8]) -> Value<'_> {
    if value.len() < machine::blob::BLOB_MIN {
        Value::Bytes(value)
    } else {
        Value::Blob(machine::Blob::from(value.to_vec()))
    }
}

/// Writes bytes over a value, which has zeros up to there where it was shorter.
fn patch(table: &mut Table, slot: Slot, key: &[u8], offset: u64, bytes: &[u8]) {
    let mut value = table.get(slot, key, THEN).map_or_else(Vec::new, |entry| entry.as_bytes().to_vec());
    let Ok(start) = usize::try_from(offset) else { return };
    let end = start.saturating_add(bytes.len());
    // A value is never longer than this program lets one be; a log that says so is not believed.
    if end > PATCH_MAX {
        return;
    }
    value.resize(value.len().max(end), 0);
    value[start..end].copy_from_slice(bytes);
    table.set(slot, key, valued(&value), Expiry::Keep, THEN);
}

/// The longest value, in bytes: what `--max-value` may be set to, and more.
const PATCH_MAX: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::super::effect::Entries;
    use super::*;
    use machine::Chance;

    fn table() -> Table {
        Table::new(&mut Chance::new(1).stream("look-ups"))
    }

    fn get(table: &Table, key: &[u8]) -> Option<Vec<u8>> {
        table.peek(Slot::of(key), key, THEN).map(|entry| entry.as_bytes().to_vec())
    }

    fn record(write: impl FnOnce(&mut Entries)) -> Vec<u8> {
        let mut entries = Entries::default();
        write(&mut entries);
        entries.bytes().to_vec()
    }

    fn put<'a>(key: &'a [u8], value: &'a [u8]) -> Effect<'a> {
        Effect::Put { key, value, until: None }
    }

    fn part(deal: u64, effects: &[Effect<'_>]) -> Vec<u8> {
        record(|entries| {
            entries.begin_part(FactId { life: 1, core: 0, deal }, 2, CoreId(0));
            effects.iter().for_each(|effect| entries.effect(effect));
            entries.end_part();
        })
    }

    #[test]
    fn effects_in_their_order_come_to_the_same() {
        let mut table = table();
        let mut replay = Replay::default();
        let told = record(|entries| {
            entries.effect(&put(b"a", b"1"));
            entries.effect(&Effect::Patch { key: b"a", offset: 1, bytes: b"23" });
            entries.effect(&put(b"b", b"x"));
            entries.effect(&Effect::Del { key: b"b" });
            entries.effect(&Effect::Patch { key: b"c", offset: 2, bytes: b"c" });
            entries.effect(&Effect::Life { key: b"c", until: Some(WallTime::from_micros(5)) });
            entries.effect(&Effect::Value { key: b"c", value: b"kept" });
        });
        replay.take(Kept::Record(&told), |_| true, &mut table);
        assert_eq!((replay.unread, replay.end(&mut table)), (0, (Vec::new(), 0)));
        assert_eq!((get(&table, b"a"), get(&table, b"b")), (Some(b"123".to_vec()), None));
        let entry = table.peek(Slot::of(b"c"), b"c", THEN).expect("it is there");
        assert_eq!((entry.as_bytes(), entry.expiry), (&b"kept"[..], Some(WallTime::from_micros(5))));
    }

    #[test]
    fn a_part_without_the_others_is_taken_back_and_with_them_it_stays() {
        for parts in [1, 2] {
            let mut table = table();
            let mut replay = Replay::default();
            replay.take(
                Kept::Record(&record(|entries| entries.effect(&put(b"a", b"old")))),
                |_| true,
                &mut table,
            );
            let first = part(7, &[put(b"a", b"new"), put(b"b", b"new")]);
            replay.take(Kept::Record(&first), |_| true, &mut table);
            if parts == 2 {
                replay.take(Kept::Record(&part(7, &[put(b"elsewhere", b"new")])), |_| false, &mut table);
            }
            assert_eq!(replay.end(&mut table).0.len(), usize::from(parts == 1));
            let expected =
                if parts == 2 { (&b"new"[..], Some(b"new".to_vec())) } else { (&b"old"[..], None) };
            assert_eq!((get(&table, b"a"), get(&table, b"b")), (Some(expected.0.to_vec()), expected.1));
        }
    }

    #[test]
    fn parts_that_lie_one_on_another_are_all_taken_back() {
        // Whichever of them is named first.
        for deals in [[7, 8], [8, 7]] {
            let mut table = table();
            let mut replay = Replay::default();
            let old = record(|entries| entries.effect(&put(b"a", b"old")));
            replay.take(Kept::Record(&old), |_| true, &mut table);
            replay.take(
                Kept::Record(&part(deals[0], &[put(b"a", b"1"), put(b"a", b"2")])),
                |_| true,
                &mut table,
            );
            replay.take(
                Kept::Record(&part(deals[1], &[put(b"a", b"3"), put(b"b", b"3")])),
                |_| true,
                &mut table,
            );
            let (dropped, _) = replay.end(&mut table);
            assert_eq!(dropped.iter().map(|id| id.deal).collect::<Vec<_>>(), [deals[1], deals[0]]);
            assert_eq!((get(&table, b"a"), get(&table, b"b")), (Some(b"old".to_vec()), None));
        }
    }

    #[test]
    fn a_snapshot_replaces_what_was_known_of_its_slots_and_others_are_passed_over() {
        let mut table = table();
        let mut replay = Replay::default();
        let (ours, theirs) = (Slot::of(b"a"), Slot::of(b"b"));
        let old = record(|entries| {
            entries.effect(&put(b"a", b"old"));
            entries.effect(&put(b"{a}gone", b"old"));
        });
        replay.take(Kept::Record(&old), |slot| slot == ours, &mut table);
        let snapshot = |slot, effects: &[Effect<'_>]| {
            record(|entries| {
                entries.snapshot(3);
                entries.flush([slot].into_iter());
                effects.iter().for_each(|effect| entries.effect(effect));
            })
        };
        let more = record(|entries| entries.effect(&put(b"{a}more", b"new")));
        let is_ours = |slot| slot == ours;
        replay.take(Kept::Part(&snapshot(theirs, &[put(b"b", b"new")])), is_ours, &mut table);
        replay.take(
            Kept::Part(&record(|entries| entries.effect(&put(b"{b}more", b"new")))),
            is_ours,
            &mut table,
        );
        replay.take(Kept::Part(&snapshot(ours, &[put(b"a", b"new")])), is_ours, &mut table);
        replay.take(Kept::Part(&more), is_ours, &mut table);
        assert_eq!(replay.end(&mut table), (Vec::new(), 3));
        assert_eq!((get(&table, b"a"), get(&table, b"{a}gone")), (Some(b"new".to_vec()), None));
        assert_eq!((get(&table, b"{a}more"), table.len()), (Some(b"new".to_vec()), 2));
    }

    #[test]
    fn what_was_done_later_is_not_taken_back() {
        let mut table = table();
        let mut replay = Replay::default();
        replay.take(Kept::Record(&part(7, &[put(b"a", b"1"), put(b"b", b"1")])), |_| true, &mut table);
        replay.take(Kept::Record(&record(|entries| entries.effect(&put(b"a", b"2")))), |_| true, &mut table);
        replay.end(&mut table);
        assert_eq!((get(&table, b"a"), get(&table, b"b")), (Some(b"2".to_vec()), None));
    }

    #[test]
    fn a_part_before_the_point_of_a_snapshot_that_is_there_stands() {
        for (snapshot, stays) in [(3, true), (2, false)] {
            let mut table = table();
            let mut replay = Replay::default();
            replay.take(Kept::Record(&part(7, &[put(b"a", b"1")])), |_| true, &mut table);
            let point = record(|entries| entries.point(3, CoreId(0)));
            replay.take(Kept::Record(&point), |_| true, &mut table);
            let other = record(|entries| entries.snapshot(snapshot));
            replay.take(Kept::Part(&other), |_| false, &mut table);
            let (dropped, point) = replay.end(&mut table);
            assert_eq!((dropped.len(), point), (usize::from(!stays), 3));
            assert_eq!(get(&table, b"a").is_some(), stays);
        }
    }
}
