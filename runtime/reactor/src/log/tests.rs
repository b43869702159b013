//! What the log keeps, under a disk that does as it is told: real files, scripted answers.

mod cuts;
mod keeping;
mod trouble;

use super::format::PREFIX;
use super::*;
use machine::{CoreId, NodeId};
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("log-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Opens the log; also what was told.
    fn open(&self) -> (Log, Vec<Told>, Replayed) {
        self.try_open(seat(), "tally", 2).unwrap()
    }

    fn try_open(&self, seat: Seat, system: &str, version: u32) -> Result<(Log, Vec<Told>, Replayed), Fatal> {
        let mut told = Vec::new();
        let mut tell = |kept: Kept<'_>| {
            told.push(match kept {
                Kept::Part(bytes) => Told::Part(bytes.to_vec()),
                Kept::Record(bytes) => Told::Record(bytes.to_vec()),
            });
        };
        let keeping = Keeping { segment_bytes: SEGMENT, calls: Some(self.0.join("calls")) };
        let (log, replayed) = Log::open(&self.0, seat, system, version, &keeping, &mut tell)?;
        Ok((log, told, replayed))
    }

    fn refusal(&self, seat: Seat, system: &str, version: u32) -> String {
        let fatal = self.try_open(seat, system, version).map(|_| ()).unwrap_err();
        assert_eq!(fatal.status, crate::fatal::STATUS_UNREADABLE);
        fatal.sentence
    }

    /// The files of the log, by name, in order.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != "core-1.lock" && name != "calls");
        names.sort();
        names
    }

    /// The files with records, by age.
    fn segments(&self) -> Vec<PathBuf> {
        let mut segments = Vec::new();
        for name in self.files() {
            let path = self.0.join(&name);
            let bytes = fs::read(&path).unwrap();
            if let format::Read::Header(header) =
                format::Header::read(&bytes[..HEADER.min(bytes.len())], format::Holds::Log)
            {
                segments.push((header.number, path));
            }
        }
        segments.sort();
        segments.into_iter().map(|(_, path)| path).collect()
    }

    fn only_segment(&self) -> PathBuf {
        let segments = self.segments();
        assert_eq!(segments.len(), 1, "{segments:?}");
        segments[0].clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Short, so that logs have many.
const SEGMENT: u64 = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Part(Vec<u8>),
    Record(Vec<u8>),
}

fn record(number: usize) -> Vec<u8> {
    // Of all lengths, zero too, with bytes that differ.
    (0..number * 7 % 40).map(|index| (number * 31 + index) as u8).collect()
}

fn records(numbers: std::ops::Range<usize>) -> Vec<Told> {
    numbers.map(|number| Told::Record(record(number))).collect()
}

fn seat() -> Seat {
    Seat { node: NodeId(3), core: CoreId(1), cores: 2 }
}

/// Does everything there is to do; what the shard would be told.
fn settle(log: &mut Log) -> Vec<Stored> {
    let mut told = Vec::new();
    loop {
        let before = told.len();
        let mut is_done = true;
        for lane in Lane::ALL {
            if let Some(operation) = log.next_operation(lane) {
                is_done = false;
                let result = operation.perform();
                told.extend(log.completed(lane, result));
            }
        }
        if is_done && told.len() == before {
            return told;
        }
    }
}

/// One operation for records: true for a write.
fn step(log: &mut Log) -> (bool, Option<Stored>) {
    step_of(log, Lane::Groups)
}

fn step_of(log: &mut Log, lane: Lane) -> (bool, Option<Stored>) {
    let operation = log.next_operation(lane).expect("there is something to do");
    let is_write = matches!(operation, Operation::Write { .. });
    let result = operation.perform();
    (is_write, log.completed(lane, result))
}

/// The next operation for records goes wrong in this way.
fn spoil(log: &mut Log, errno: i32) -> Option<Stored> {
    assert!(log.next_operation(Lane::Groups).is_some());
    log.completed(Lane::Groups, -errno)
}

fn append(log: &mut Log, numbers: std::ops::Range<usize>) -> LogMark {
    numbers.map(|number| log.append(&record(number))).last().unwrap()
}
