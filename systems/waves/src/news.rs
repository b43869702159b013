//! What has happened on a core since its listeners were last told: loads, letters, moves, reports, changes. Put
//! together only while somebody listens, told a few times a second, and bounded: of letters over the bound some are
//! told and all are counted, so that a wave over ten thousand units costs a page no more than one over a hundred.

use crate::letter::{Kind, WaveId};
use crate::network::UnitId;
use core::fmt::Write as _;
use core::time::Duration;
use machine::Instant;
use std::collections::BTreeMap;

/// How often listeners are told.
pub const EVERY: Duration = Duration::from_millis(100);

/// Letters and moves that are told each time. Of more letters, every second is told, or every fourth, and so on, so
/// that the whole of a wave is seen; of more moves, the first.
const LINES_MAX: usize = 1500;

/// Reports and changes that are told each time; of more, the newest.
const NOTES_MAX: usize = 64;

/// What listeners were not told yet.
#[derive(Debug, Default)]
pub struct News {
    loads: BTreeMap<UnitId, u32>,
    wrote: Vec<(WaveId, UnitId, UnitId, Kind)>,
    /// Letters that came, told or not.
    wrote_count: u64,
    /// One letter of so many is told, as a power of two.
    every: u32,
    moves: Vec<(UnitId, UnitId)>,
    moves_more: u64,
    notes: Vec<String>,
}

impl News {
    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.loads.is_empty()
            && self.wrote.is_empty()
            && self.moves.is_empty()
            && self.notes.is_empty()
            && self.moves_more == 0
    }

    /// A unit has so many tasks now.
    pub fn load(&mut self, unit: UnitId, tasks: u32) {
        self.loads.insert(unit, tasks);
    }

    /// A letter was written.
    pub fn wrote(&mut self, wave: WaveId, from: UnitId, to: UnitId, kind: Kind) {
        if self.wrote_count.is_multiple_of(1 << self.every) {
            if self.wrote.len() >= LINES_MAX {
                let mut index = 0;
                self.wrote.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                self.every += 1;
            }
            self.wrote.push((wave, from, to, kind));
        }
        self.wrote_count += 1;
    }

    /// A task has gone from one unit to another.
    pub fn moved(&mut self, from: UnitId, to: UnitId) {
        if self.moves.len() < LINES_MAX {
            self.moves.push((from, to));
        } else {
            self.moves_more += 1;
        }
    }

    /// Something that is told as it is: JSON with a `what`.
    pub fn note(&mut self, json: String) {
        if self.notes.len() >= NOTES_MAX {
            self.notes.remove(0);
        }
        self.notes.push(json);
    }

    /// All of it as JSON; then there is nothing to tell.
    pub fn take(&mut self, now: Instant) -> String {
        let news = core::mem::take(self);
        let wrote_more = news.wrote_count - news.wrote.len() as u64;
        let mut text = format!("{{\"at_us\":{}", now.nanos() / 1000);
        list(&mut text, "loads", news.loads.iter(), |(unit, tasks)| format!("[{},{tasks}]", unit.0));
        list(&mut text, "wrote", news.wrote.iter(), |(wave, from, to, kind)| {
            format!("[\"{wave}\",{},{},\"{}\"]", from.0, to.0, name(*kind))
        });
        list(&mut text, "moves", news.moves.iter(), |(from, to)| format!("[{},{}]", from.0, to.0));
        list(&mut text, "notes", news.notes.iter(), Clone::clone);
        let _ = write!(text, ",\"wrote_more\":{},\"moves_more\":{}}}", wrote_more, news.moves_more);
        text
    }
}

/// A list, unless it is empty.
fn list<T>(text: &mut String, name: &str, all: impl Iterator<Item = T>, each: impl Fn(T) -> String) {
    let parts: Vec<String> = all.map(each).collect();
    if !parts.is_empty() {
        let _ = write!(text, ",\"{name}\":[{}]", parts.join(","));
    }
}

const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Explore => "out",
        Kind::Back => "back",
        Kind::Late => "late",
        Kind::Sets => "sets",
        Kind::Beat => "beat",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_json_and_bounded_and_told_once() {
        let mut news = News::default();
        let wave = WaveId { initiator: UnitId(1), number: 2 };
        for unit in 0..4 * LINES_MAX as u32 {
            news.wrote(wave, UnitId(1), UnitId(unit), Kind::Explore);
        }
        news.load(UnitId(3), 4);
        news.load(UnitId(3), 5);
        news.moved(UnitId(0), UnitId(9));
        (0..NOTES_MAX + 1).for_each(|number| news.note(format!("{{\"what\":{number}}}")));
        let value: serde_json::Value = serde_json::from_str(&news.take(Instant::from_nanos(7000))).unwrap();
        assert_eq!(value["at_us"], 7);
        assert_eq!(value["loads"], serde_json::json!([[3, 5]]));
        let wrote = value["wrote"].as_array().unwrap();
        assert!((LINES_MAX / 2..=LINES_MAX).contains(&wrote.len()));
        assert_eq!(wrote.len() as u64 + value["wrote_more"].as_u64().unwrap(), 4 * LINES_MAX as u64);
        assert!(wrote.last().unwrap()[2].as_u64().unwrap() > 3 * LINES_MAX as u64, "its end is seen, too");
        assert_eq!(wrote[0], serde_json::json!(["1.2", 1, 0, "out"]));
        assert_eq!(value["notes"][0]["what"], 1);
        assert!(news.is_empty());
    }
}
