//! What the log keeps, under a disk that does as it is told: real files, scripted answers.

mod keeping;
mod trouble;

use super::*;
use machine::{CoreId, NodeId};
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
        let (log, replayed) = Log::open(&self.0, seat, system, version, &mut tell)?;
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
        names.retain(|name| name != "core-1.lock");
        names.sort();
        names
    }

    fn only_segment(&self) -> PathBuf {
        let names = self.files();
        assert_eq!(names.len(), 1, "{names:?}");
        self.0.join(&names[0])
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

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
    while let Some(operation) = log.next_operation() {
        let result = operation.perform();
        told.extend(log.completed(result));
    }
    told
}

/// One operation: true for a write.
fn step(log: &mut Log) -> (bool, Vec<Stored>) {
    let operation = log.next_operation().expect("there is something to do");
    let is_write = matches!(operation, Operation::Write { .. });
    let result = operation.perform();
    (is_write, log.completed(result))
}

/// The next operation goes wrong in this way.
fn spoil(log: &mut Log, errno: i32) -> Vec<Stored> {
    assert!(log.next_operation().is_some());
    log.completed(-errno)
}

fn append(log: &mut Log, numbers: std::ops::Range<usize>) -> LogMark {
    numbers.map(|number| log.append(&record(number))).last().unwrap()
}
