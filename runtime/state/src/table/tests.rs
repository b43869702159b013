//! The table against a sorted map, its books against a recount, and its bounds against counters.

use super::*;
use machine::blob::BLOB_MIN;
use machine::{Blob, Chance};
use std::collections::{BTreeMap, BTreeSet};

type Model = BTreeMap<(Slot, Vec<u8>), (Vec<u8>, u64)>;

fn table(seed: u64) -> Table {
    Table::new(&mut Chance::new(seed).stream("keys"))
}

fn at(millis: u64) -> WallTime {
    WallTime::from_millis(millis)
}

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

const START: WallTime = WallTime::from_millis(1_000_000);

fn set(table: &mut Table, slot: Slot, key: &[u8], value: &[u8], expiry: Expiry) -> Set {
    table.set(slot, key, Value::Bytes(value), expiry, START)
}

/// Recounts everything that is kept as a sum or a hint.
fn audit(table: &Table) {
    let (mut len, mut expiring, mut bytes, mut hints, mut segments) = (0, 0, 0, 0, 0);
    for slot in Slot::all() {
        let Some(of_slot) = &table.slots[slot.index()] else { continue };
        assert!(of_slot.len > 0, "an empty table is let go");
        let mut sums = (0, 0, 0);
        segments += of_slot.segments();
        for index in 0..of_slot.segments() as u32 {
            let segment = of_slot.segment(index);
            segment.audit();
            assert!(segment.walk_at <= segment.earliest(), "walked too late");
            assert_eq!(segment.walk_at == NEVER, segment.expiring() == 0);
            hints += usize::from(segment.walk_at != NEVER);
            for at in 0..segment.len() {
                let hash = table.hash(segment.key(at));
                assert_eq!(of_slot.find(hash, segment.key(at)), Some((index, at)), "an entry lost");
            }
            sums.0 += segment.len();
            sums.1 += segment.expiring();
            sums.2 += segment.allocated();
        }
        sums.2 += of_slot.structure();
        assert_eq!(sums, (of_slot.len, of_slot.expiring, of_slot.bytes));
        (len, expiring, bytes) = (len + sums.0, expiring + sums.1, bytes + sums.2);
    }
    assert_eq!((len, expiring, bytes), (table.len(), table.expiring(), table.bytes));
    let names: BTreeSet<Name> = (0..table.roster.len()).filter_map(|index| table.roster.get(index)).collect();
    assert_eq!(names.len(), table.roster.len(), "a name stands twice in the roster");
    let named = names.iter().filter(|name| table.named(**name).is_some()).count();
    assert_eq!(named, segments, "a segment is not in the roster");
    if table.buried.is_empty() {
        assert_eq!(hints, table.hints.len(), "one hint for each segment in which something expires");
    }
}

fn scan_all(table: &Table, slot: Slot, now: WallTime) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut seen = Vec::new();
    let mut cursor = 0;
    loop {
        cursor =
            table.scan(slot, cursor, now, |entry| seen.push((entry.key.to_vec(), entry.as_bytes().to_vec())));
        if cursor == 0 {
            return seen;
        }
    }
}

/// Random work on a table and on the simplest model of it, compared at every answer.
struct Trial {
    table: Table,
    model: Model,
    stream: Stream,
    now: u64,
    keys: u64,
    slots: u64,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let mut stream = Chance::new(seed).stream("work");
        let keys = [3, 40, 400][stream.below(3) as usize];
        let slots = 1 + stream.below(3);
        Self { table: table(seed), model: Model::new(), stream, now: 1_000, keys, slots }
    }

    fn key(&mut self) -> (Slot, Vec<u8>) {
        let number = self.stream.below(self.keys);
        let mut key = format!("{number}").into_bytes();
        key.resize(key.len() + (number % 30) as usize, b'k');
        (slot(16_383 - self.stream.below(self.slots) as u16), key)
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.stream.below(100) {
            0 => BLOB_MIN + self.stream.below(3) as usize - 1,
            1..=20 => self.stream.below(600) as usize,
            // As long as another that lies outside its record.
            21..=28 => 300,
            _ => self.stream.below(24) as usize,
        };
        let mut value = vec![0; len];
        self.stream.fill(&mut value);
        value
    }

    fn live(&self, key: &(Slot, Vec<u8>)) -> Option<&(Vec<u8>, u64)> {
        self.model.get(key).filter(|(_, deadline)| *deadline > self.now)
    }

    fn step(&mut self) {
        self.now += self.stream.below(20);
        let now = at(self.now);
        let name = self.key();
        let live = self.live(&name).cloned();
        let before = self.table.moved();
        match self.stream.below(12) {
            0..=3 => self.set(&name, live),
            4 | 5 => {
                let entry = self.table.get(name.0, &name.1, now);
                let got = entry.map(|entry| (entry.as_bytes().to_vec(), deadline(entry.expiry)));
                assert_eq!(got, live);
                assert!(entry.is_none_or(
                    |entry| entry.key == name.1 && entry.used_second == (self.now / 1_000) as u32
                ));
            }
            6 => {
                let got = self.table.peek(name.0, &name.1, now).map(|entry| entry.as_bytes().to_vec());
                assert_eq!(got, live.map(|live| live.0));
            }
            7 | 8 => {
                assert_eq!(self.table.remove(name.0, &name.1, now), live.is_some());
                self.model.remove(&name);
            }
            9 => {
                let until = (self.stream.below(3) > 0).then(|| self.now + self.stream.below(500));
                assert_eq!(self.table.expire_at(name.0, &name.1, until.map(at), now), live.is_some());
                if let Some((value, _)) = live {
                    self.model.insert(name, (value, until.unwrap_or(u64::MAX)));
                }
            }
            10 => self.change_in_place(&name, live),
            _ => self.expire(),
        }
        assert!(self.table.moved() - before <= MOVES_MAX as u64);
    }

    fn set(&mut self, name: &(Slot, Vec<u8>), live: Option<(Vec<u8>, u64)>) {
        let value = self.value();
        let kept = live.as_ref().map_or(u64::MAX, |live| live.1);
        let until = self.now + self.stream.below(800);
        let (expiry, deadline) = match self.stream.below(4) {
            0 => (Expiry::Keep, kept),
            1 | 2 => (Expiry::At(at(until)), until),
            _ => (Expiry::Never, u64::MAX),
        };
        let offered = match self.stream.below(2) {
            0 => Value::Bytes(&value),
            _ => Value::Blob(Blob::from(value.clone())),
        };
        let expected = if live.is_some() { Set::Replaced } else { Set::New };
        assert_eq!(self.table.set(name.0, &name.1, offered, expiry, at(self.now)), expected);
        self.model.insert(name.clone(), (value, deadline));
    }

    fn change_in_place(&mut self, name: &(Slot, Vec<u8>), live: Option<(Vec<u8>, u64)>) {
        let bytes = self.table.get_mut(name.0, &name.1, at(self.now));
        match live {
            Some((mut value, deadline)) if value.len() < BLOB_MIN => {
                let bytes = bytes.expect("a small value can be changed where it lies");
                assert_eq!(bytes, value);
                bytes.reverse();
                value.reverse();
                self.model.insert(name.clone(), (value, deadline));
            }
            _ => assert!(bytes.is_none()),
        }
    }

    /// One segment a call, whatever is due.
    fn expire(&mut self) {
        let mut gone = BTreeSet::new();
        let done = self.table.expire_some(at(self.now), 1, |slot, key| {
            assert!(gone.insert((slot, key.to_vec())), "removed twice");
        });
        assert_eq!(done.removed, gone.len());
        for name in gone {
            let (_, deadline) = self.model.remove(&name).expect("what is removed was there");
            assert!(deadline <= self.now, "removed too early");
        }
    }

    /// All that is due, after which table and model hold the same.
    fn finish(mut self) {
        audit(&self.table);
        let mut calls = 0;
        while self.table.expire_some(at(self.now), 1, |_, _| {}).more {
            calls += 1;
            assert!(calls < 1_000, "expiry does not come to an end");
        }
        self.model.retain(|_, (_, deadline)| *deadline > self.now);
        assert_eq!(self.table.len(), self.model.len());
        audit(&self.table);
        let mut seen = Model::new();
        let mut from = Some(Slot::default());
        while let Some(slot) = from.and_then(|from| self.table.occupied_from(from)) {
            for (key, value) in scan_all(&self.table, slot, at(self.now)) {
                let expiry = self.table.peek(slot, &key, at(self.now)).unwrap().expiry;
                assert!(seen.insert((slot, key), (value, deadline(expiry))).is_none(), "shown twice");
            }
            from = Slot::new(slot.number() + 1);
        }
        assert_eq!(seen, self.model);
    }
}

fn deadline(expiry: Option<WallTime>) -> u64 {
    expiry.map_or(u64::MAX, WallTime::millis)
}

#[test]
fn agrees_with_a_sorted_map_while_time_passes() {
    for seed in 0..400 {
        let mut trial = Trial::new(seed);
        for step in 0..1_500 {
            trial.step();
            if step % 250 == 0 {
                audit(&trial.table);
            }
        }
        trial.finish();
    }
}

#[test]
fn no_call_moves_more_than_the_stated_number() {
    let mut table = table(1);
    let mut most = 0;
    let count = 200_000u32;
    for number in 0..count {
        let before = table.moved();
        set(&mut table, slot(7), &number.to_le_bytes(), b"v", Expiry::Never);
        most = most.max(table.moved() - before);
    }
    assert_eq!(table.slot_len(slot(7)), count as usize);
    assert_eq!(most, 64, "a full segment was split, and nothing more");
    for number in 0..count {
        let before = table.moved();
        assert!(table.remove(slot(7), &number.to_le_bytes(), START));
        assert!(table.moved() - before <= MOVES_MAX as u64);
    }
    assert!(table.is_empty() && table.bytes() == 0);
    assert!(!table.buried.is_empty(), "so large a table is not freed at once");
    while table.free_some(8) {}
}

#[test]
fn hashes_that_cannot_be_told_apart_still_keep_their_entries() {
    const HASH: u32 = 0xabcd_ef12;
    let mut table = SlotTable::new(1);
    let mut splits = 0;
    for number in 0..300u32 {
        let key = number.to_le_bytes();
        let mut index = table.open_index(HASH);
        while table.segment(index).is_full() && table.can_split(index) {
            table.split(HASH, |_| HASH);
            index = table.open_index(HASH);
            splits += 1;
        }
        if table.segment(index).is_full() {
            index = table.follow(index);
        }
        table.change(index, |segment| segment.push(HASH, &key, (&b"v"[..]).into(), NEVER, Usage::default()));
    }
    assert_eq!((table.len, splits), (300, 24));
    let places: BTreeSet<_> = (0..300u32).filter_map(|key| table.find(HASH, &key.to_le_bytes())).collect();
    assert_eq!(places.len(), 300);
    let (first, at) = table.find(HASH, &7u32.to_le_bytes()).unwrap();
    table.change(first, |segment| segment.remove(at));
    assert_eq!(table.open_index(HASH), first, "room in the first one is used again");
    assert_eq!(table.find(HASH + 1, &8u32.to_le_bytes()), None);
    assert_eq!(table.bytes, recount(&table));
}

fn recount(table: &SlotTable) -> usize {
    table.structure()
        + (0..table.segments() as u32).map(|index| table.segment(index).allocated()).sum::<usize>()
}

#[test]
fn a_scan_shows_what_stays_exactly_once_whatever_comes_and_goes() {
    for seed in 0..30 {
        let mut stream = Chance::new(seed).stream("work");
        let mut table = table(seed);
        let stays = [1, 30, 3_000][seed as usize % 3];
        for number in 0..stays {
            set(&mut table, slot(3), format!("stays {number}").as_bytes(), b"", Expiry::Never);
        }
        let mut shown: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let (mut cursor, mut next, mut calls) = (0, 0, 0);
        loop {
            let show = |entry: Entry<'_>| *shown.entry(entry.key.to_vec()).or_default() += 1;
            cursor = table.scan(slot(3), cursor, START, show);
            if cursor == 0 {
                break;
            }
            for _ in 0..stream.below(400) {
                let key =
                    format!("comes {}", if stream.below(3) > 0 { next } else { stream.below(next + 1) });
                if stream.below(3) > 0 {
                    set(&mut table, slot(3), key.as_bytes(), b"", Expiry::Never);
                    next += 1;
                } else {
                    table.remove(slot(3), key.as_bytes(), START);
                }
            }
            calls += 1;
            assert!(calls < 100_000, "a scan does not come to an end");
        }
        let stayed = shown.iter().filter(|(key, _)| key.starts_with(b"stays"));
        assert!(stayed.clone().all(|(_, times)| *times == 1), "shown twice");
        assert_eq!(stayed.count(), stays);
        assert!(stays < 3_000 || shown.len() > stays, "the test must meet a growing table");
    }
}

#[test]
fn a_scan_shows_no_key_twice_even_if_the_slot_ran_empty_between() {
    let mut table = table(1);
    let keys: Vec<Vec<u8>> = (0..1_000u32).map(|number| number.to_le_bytes().to_vec()).collect();
    keys.iter().for_each(|key| assert_eq!(set(&mut table, slot(3), key, b"", Expiry::Never), Set::New));
    let mut shown = Vec::new();
    let mut cursor = 0;
    for _ in 0..5 {
        cursor = table.scan(slot(3), cursor, START, |entry| shown.push(entry.key.to_vec()));
    }
    assert!(cursor > 0 && shown.len() > 50);
    assert!(keys.iter().all(|key| table.remove(slot(3), key, START)));
    keys[..60].iter().for_each(|key| assert_eq!(set(&mut table, slot(3), key, b"", Expiry::Never), Set::New));
    assert_eq!(table.scan(slot(3), cursor, START, |entry| shown.push(entry.key.to_vec())), 0);
    let distinct: BTreeSet<&Vec<u8>> = shown.iter().collect();
    assert_eq!(distinct.len(), shown.len());
    assert!(
        keys[..60].iter().all(|key| distinct.contains(key)),
        "what is there again was shown, then or now"
    );
}

#[test]
fn the_order_of_a_scan_follows_from_the_seed() {
    let order = |seed| {
        let mut table = table(seed);
        for number in 0..500u32 {
            set(&mut table, slot(0), &number.to_le_bytes(), b"", Expiry::Never);
        }
        scan_all(&table, slot(0), START)
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn a_value_lies_by_its_length_alone() {
    const SHORT_MAX: usize = record::RECORD_MAX - 15 - 3;
    assert!(record::fits(3, SHORT_MAX) && !record::fits(3, SHORT_MAX + 1));
    let mut table = table(1);
    let mut check = |len: usize, is_blob: bool| {
        let bytes = vec![b'x'; len];
        for value in [Value::Bytes(&bytes), Value::Blob(Blob::from(bytes.clone()))] {
            table.set(slot(0), b"key", value, Expiry::Never, START);
            let entry = table.peek(slot(0), b"key", START).unwrap();
            assert_eq!(entry.as_bytes(), bytes);
            assert_eq!(matches!(entry.value, View::Blob(_)), is_blob, "{len} bytes");
        }
    };
    check(0, false);
    check(SHORT_MAX, false);
    check(SHORT_MAX + 1, false);
    check(BLOB_MIN - 1, false);
    check(BLOB_MIN, true);
    let blob = Blob::from(vec![1; BLOB_MIN]);
    table.set(slot(0), b"key", blob.clone().into(), Expiry::Never, START);
    let View::Blob(kept) = table.peek(slot(0), b"key", START).unwrap().value else { panic!("no blob") };
    assert_eq!(kept.as_ptr(), blob.as_ptr(), "a blob is not copied");
}

#[test]
fn an_entry_is_gone_from_its_deadline_on() {
    let mut table = table(1);
    let now = START.millis();
    set(&mut table, slot(0), b"a", b"1", Expiry::At(at(now + 10)));
    assert!(table.get(slot(0), b"a", at(now + 9)).is_some());
    assert!(table.peek(slot(0), b"a", at(now + 10)).is_none());
    assert_eq!((table.len(), table.expired()), (1, 0), "a peek changes nothing");
    assert!(table.get(slot(0), b"a", at(now + 10)).is_none());
    assert_eq!((table.len(), table.expired(), table.bytes()), (0, 1, 0));
    assert_eq!(table.next_expiry(), None);
}

#[test]
fn one_call_of_expiry_walks_little_however_much_is_due() {
    let mut table = table(1);
    for number in 0..5_000u32 {
        let expiry = Expiry::At(at(START.millis() + 1 + u64::from(number % 3)));
        set(&mut table, slot(number as u16 % 2), &number.to_le_bytes(), b"", expiry);
    }
    let due = at(START.millis() + 10);
    let mut left = table.len();
    loop {
        let done = table.expire_some(due, 100, |_, _| {});
        assert!(done.removed < 100 + MOVES_MAX);
        left -= done.removed;
        assert_eq!(table.len(), left);
        if !done.more {
            break;
        }
        assert!(done.removed > 0, "every walk of what is due removes something");
    }
    assert_eq!(left, 0);
}

#[test]
fn what_is_cleared_is_gone_at_once_and_freed_bit_by_bit() {
    let mut table = table(1);
    let fill = |table: &mut Table, value: &[u8]| {
        for number in 0..3_000u32 {
            let expiry = Expiry::At(at(START.millis() + 5));
            set(table, slot(number as u16 % 3), &number.to_le_bytes(), value, expiry);
        }
    };
    fill(&mut table, b"old");
    assert_eq!(table.clear_slot(slot(1)), 1_000);
    assert_eq!((table.len(), table.slot_len(slot(1))), (2_000, 0));
    table.clear();
    assert_eq!((table.len(), table.expiring(), table.bytes()), (0, 0, 0));
    fill(&mut table, b"new");
    assert!(table.free_some(10), "there is more to free");
    assert_eq!(table.peek(slot(1), &1u32.to_le_bytes(), START).unwrap().as_bytes(), b"new");
    let due = at(START.millis() + 5);
    let mut gone = 0;
    while table.expire_some(due, 64, |_, _| gone += 1).more {}
    assert_eq!(gone, 3_000, "what was cleared does not expire as well");
    while table.free_some(10) {}
    audit(&table);
    assert_eq!(table.next_expiry(), None);
}

#[test]
fn bytes_are_what_is_allocated_and_nothing_when_all_is_gone() {
    let mut table = table(1);
    set(&mut table, slot(0), b"key", b"small", Expiry::Never);
    let small = table.bytes();
    let chunk_and_structure = chunks::CHUNK + size_of::<SlotTable>() + size_of::<Name>();
    assert_eq!(small, chunk_and_structure);
    assert_eq!(table.slot_bytes(slot(0)), small);
    set(&mut table, slot(0), b"key", &[0; 1000], Expiry::Never);
    assert!((1000..1300).contains(&(table.bytes() - small)), "{}", table.bytes() - small);
    set(&mut table, slot(0), b"key", b"small", Expiry::Never);
    assert!(table.bytes() <= small, "only half of a hole is counted");
    assert!(table.remove(slot(0), b"key", START));
    assert_eq!((table.bytes(), table.len()), (0, 0));
}

#[test]
fn every_removal_makes_the_bytes_fewer_at_once() {
    let mut table = table(1);
    for number in 0..5_000u32 {
        set(&mut table, slot(number as u16 % 9), &number.to_le_bytes(), &[1; 60], Expiry::Never);
    }
    for number in (0..5_000u32).step_by(3) {
        let before = table.bytes();
        assert!(table.remove(slot(number as u16 % 9), &number.to_le_bytes(), START));
        assert!(before - table.bytes() >= 32, "or eviction would not know when to stop");
    }
    audit(&table);
}

#[test]
fn warming_changes_nothing() {
    let mut table = table(1);
    let keys: Vec<[u8; 4]> = (0..100u32).map(u32::to_le_bytes).collect();
    keys[..60].iter().for_each(|key| {
        set(&mut table, slot(5), key, &[2; 300], Expiry::At(at(START.millis() + 1)));
    });
    let before = format!("{table:?}");
    let aims: Vec<_> = keys.iter().map(|key| table.aim(slot(5), key)).collect();
    table.warm(&aims);
    table.warm(&aims[90..]);
    table.warm(&[table.aim(slot(6), b"nobody")]);
    let mut warming = Warming::default();
    for count in 1..=aims.len() {
        table.warm_along(&aims[..count], &mut warming);
    }
    table.warm_rest(&aims, warming);
    assert_eq!(format!("{table:?}"), before);
}

#[test]
fn an_aim_finds_what_a_look_up_finds() {
    let mut table = table(1);
    let mut chance = Chance::new(7).stream("keys");
    for round in 0..20_000u32 {
        let number = chance.below(400);
        let key = format!("{number:0width$}", width = number as usize % 40);
        let (slot, now) = (slot(number as u16 % 3), at(START.millis() + u64::from(round)));
        let aim = table.aim(slot, key.as_bytes());
        if chance.below(3) == 0 {
            let value = vec![number as u8; chance.below(300) as usize];
            let expiry = match chance.below(2) {
                0 => Expiry::Never,
                _ => Expiry::At(at(now.millis() + chance.below(500))),
            };
            table.set_at(aim, key.as_bytes(), Value::Bytes(&value), expiry, now);
        }
        let peeked = table.peek(slot, key.as_bytes(), now).map(|entry| entry.as_bytes().to_vec());
        let aimed = table.value_at(aim, key.as_bytes(), now).map(|value| value.as_bytes().to_vec());
        assert_eq!(aimed, peeked);
        assert_eq!(table.get(slot, key.as_bytes(), now).map(|entry| entry.as_bytes().to_vec()), peeked);
    }
    audit(&table);
}
