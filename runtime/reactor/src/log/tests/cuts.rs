//! Power cuts: a log at work with its disk calls noted, then directories as a cut at any moment may have left them,
//! and in each everything that had been acknowledged. And liars, each of which must be caught: within how many seeds
//! stands beside it.

use super::power::Platter;
use super::*;
use machine::{Chance, Stream};

/// What is got wrong on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    None,
    /// One write or sync in eight says that it made things safe, and did not.
    Unsynced,
    /// A record counts as safe when it is appended.
    EarlyWord,
    /// Who reads takes each record for whole that has a length.
    Unchecked,
}

/// What somebody was told, and how long the journal was then.
#[derive(Debug, Default)]
struct Word {
    at: usize,
    /// So many records are safe.
    records: usize,
    /// A snapshot stands for so many of them.
    saved: usize,
}

struct Work {
    log: Log,
    journal: PathBuf,
    /// Marks of the records appended; snapshots asked for: their mark, and for how many records they stand.
    marks: Vec<LogMark>,
    saving: Vec<(LogMark, usize)>,
    words: Vec<Word>,
    disk: Stream,
    lie: Lie,
}

fn numbered(number: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..number * 37 % 900).map(|index| (index ^ number) as u8 | 1));
    bytes
}

impl Work {
    fn told(&mut self, told: Option<Stored>) {
        let last = self.words.last().map_or((0, 0), |word| (word.records, word.saved));
        let at = fs::metadata(&self.journal).unwrap().len() as usize;
        match told {
            Some(Stored::Logged(upto)) => {
                let records = self.marks.partition_point(|mark| *mark <= upto);
                self.words.push(Word { at, records, saved: last.1 });
            }
            Some(Stored::Saved(upto)) => {
                let saved = self.saving.iter().find(|(mark, _)| *mark == upto).unwrap().1;
                self.words.push(Word { at, records: last.0, saved });
            }
            Some(Stored::Unsaved | Stored::Full | Stored::Failed) => panic!("{told:?}"),
            None => {}
        }
    }

    fn append(&mut self) {
        let mark = self.log.append(&numbered(self.marks.len()));
        self.marks.push(mark);
        if self.lie == Lie::EarlyWord {
            self.told(Some(Stored::Logged(mark)));
        }
    }

    fn save(&mut self) {
        let (mark, records) = (self.log.mark(), self.marks.len());
        self.log.save(&records.to_le_bytes());
        self.log.save(&vec![9; self.disk.below(3000) as usize]);
        self.log.saved(mark);
        self.saving.push((mark, records));
    }

    fn disk(&mut self, lane: Lane) {
        let Some(operation) = self.log.next_operation(lane) else { return };
        let result = operation.perform();
        let told = self.log.completed(lane, result);
        self.told(told);
    }
}

/// Works for a while with noted calls; gives the journal and what was told.
fn worked(place: &Place, seed: u64, lie: Lie) -> (Vec<u8>, Vec<Word>) {
    let chance = Chance::new(seed);
    let mut workload = chance.stream("workload");
    let journal = place.0.join("calls");
    let (log, ..) = place.open();
    let mut work = Work {
        log,
        journal: journal.clone(),
        marks: Vec::new(),
        saving: Vec::new(),
        words: Vec::new(),
        disk: chance.stream("disk"),
        lie,
    };
    for _ in 0..workload.between(10, 150) {
        match workload.below(100) {
            0..60 => (0..workload.between(1, 12)).for_each(|_| work.append()),
            60..63 => work.save(),
            63..88 => work.disk(Lane::Groups),
            _ => work.disk(Lane::Chores),
        }
    }
    drop(work.log);
    (fs::read(journal).unwrap(), work.words)
}

/// The journal of a disk that left syncs out, and said that it had not.
fn without_lies(journal: &[u8], seed: u64, lie: Lie) -> Vec<u8> {
    if lie != Lie::Unsynced {
        return journal.to_vec();
    }
    let mut chance = Chance::new(seed).stream("left out");
    let (mut rest, mut honest) = (journal, Vec::new());
    while let Some((call, used)) = calls::read(rest) {
        let is_safe = matches!(call, calls::Call::Wrote(_, _, true) | calls::Call::Synced(_));
        let mut entry = rest[..used].to_vec();
        if is_safe && chance.below(8) == 0 {
            // The same entry, without the word that says it is safe; of the same length, as lengths are moments.
            entry[0] = match call {
                calls::Call::Wrote(..) => 4,
                _ => 6,
            };
        }
        honest.extend(entry);
        rest = &rest[used..];
    }
    honest
}

/// What a reader finds: for how many records the snapshot stands, and the numbers of those told behind it.
fn found(place: &Place, lie: Lie) -> Result<(usize, Vec<Vec<u8>>), String> {
    if lie == Lie::Unchecked {
        return Ok((0, unchecked(place)));
    }
    let (_, told, _) = place.try_open(seat(), "tally", 2).map_err(|fatal| fatal.sentence)?;
    let mut saved = 0;
    let mut records = Vec::new();
    for (index, told) in told.into_iter().enumerate() {
        match told {
            Told::Part(part) if index == 0 => saved = usize::from_le_bytes(part[..].try_into().unwrap()),
            Told::Part(_) => {}
            Told::Record(record) => records.push(record),
        }
    }
    Ok((saved, records))
}

/// Reads segments as if no checksum were there.
fn unchecked(place: &Place) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    for path in place.segments() {
        let bytes = fs::read(path).unwrap();
        let mut at = HEADER;
        while let Some(prefix) = bytes.get(at..).and_then(|rest| rest.first_chunk::<PREFIX>()) {
            let read = format::Prefix::read(*prefix);
            let Some(payload) = bytes.get(at + PREFIX..at + PREFIX + read.length) else { break };
            if *prefix == [0; PREFIX] {
                break;
            }
            if read.kind == format::Kind::Data {
                records.push(payload.to_vec());
            }
            at += PREFIX + read.length;
        }
    }
    records
}

/// One seed: works, cuts the power at some moments, and looks. What is wrong, if anything.
fn check(seed: u64, lie: Lie) -> Option<String> {
    let place = Place::new();
    let (journal, words) = worked(&place, seed, lie);
    let journal = without_lies(&journal, seed, lie);
    let mut chance = Chance::new(seed).stream("cuts");
    for _ in 0..4 {
        let cut = chance.below(journal.len() as u64 + 1) as usize;
        let after = Place::new();
        Platter::after(&journal, cut).leave(&after.0, &mut chance).unwrap();
        let word = words.iter().rfind(|word| word.at <= cut);
        let (safe, saved) = word.map_or((0, 0), |word| (word.records, word.saved));
        let (stands_for, records) = match found(&after, lie) {
            Ok(found) => found,
            Err(sentence) => return Some(format!("cut at {cut}: {sentence}")),
        };
        if stands_for < saved {
            return Some(format!(
                "cut at {cut}: a snapshot for {saved} was safe, one for {stands_for} is there"
            ));
        }
        // The reader without checksums knows no snapshots; what it finds goes on from the first it finds.
        let first = match (lie, records.first()) {
            (Lie::Unchecked, Some(record)) if record.len() >= 8 => {
                usize::from_le_bytes(record[..8].try_into().unwrap())
            }
            _ => stands_for,
        };
        for (index, record) in records.iter().enumerate() {
            if *record != numbered(first + index) {
                return Some(format!("cut at {cut}: record {} is another", first + index));
            }
        }
        if first + records.len() < safe {
            let there = first + records.len();
            return Some(format!("cut at {cut}: {safe} records were safe and {there} are there"));
        }
    }
    None
}

#[test]
fn after_a_power_cut_everything_acknowledged_is_there() {
    for seed in 0..150 {
        if let Some(wrong) = check(seed, Lie::None) {
            panic!("seed {seed}, {wrong}");
        }
    }
}

#[track_caller]
fn caught_within(seeds: u64, lie: Lie) {
    let caught = (0..seeds).find(|seed| check(*seed, lie).is_some());
    assert!(caught.is_some(), "{lie:?} was not caught in {seeds} seeds");
}

#[test]
fn a_sync_left_out_is_caught() {
    caught_within(20, Lie::Unsynced);
}

#[test]
fn a_word_before_its_time_is_caught() {
    caught_within(10, Lie::EarlyWord);
}

#[test]
fn a_checksum_not_looked_at_is_caught() {
    caught_within(20, Lie::Unchecked);
}
