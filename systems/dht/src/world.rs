//! What the world counts of its cores and of the process, as INFO shows it: read out of the gauges that it gathers.
//! In a world that counts nothing, all is zero.

#![allow(missing_docs, reason = "the derive writes types beside ours, without docs for their fields")]

use machine::Gauges;
use rkyv::{Archive, Deserialize, Serialize};

/// What it counts.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// By core.
    pub cores: Vec<Turns>,
    /// Bytes of the process in memory.
    pub resident: u64,
}

/// Of a core, since the start.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    /// Turns.
    pub turns: u64,
    /// Events told in them, a batch of messages being one.
    pub events: u64,
    /// Calls that entered the kernel's ring.
    pub enters: u64,
    /// Completions taken.
    pub completions: u64,
    /// Sleeps.
    pub parks: u64,
    /// Batches of messages that came from cores.
    pub hops: u64,
    /// How long half of them were under way at most, in nanoseconds.
    pub hop_median_ns: u64,
    /// The same for 99 of 100.
    pub hop_late_ns: u64,
    /// Events and steps of a turn that took longer than the world's bound.
    pub stalls: u64,
    /// The longest of all, in microseconds.
    pub longest_us: u64,
    /// Which step and event that was.
    pub longest_in: String,
}

const LONGEST: &str = "reactor_longest_us";

impl World {
    /// As the gauges of every core say.
    #[must_use]
    pub fn of(gauges: &[Gauges]) -> Self {
        let resident = gauges.iter().map(|core| number(core, "process_resident_memory_bytes")).sum();
        Self { cores: gauges.iter().map(Turns::of).collect(), resident }
    }
}

impl Turns {
    fn of(core: &Gauges) -> Self {
        let longest = core.entries().iter().find(|entry| entry.name.starts_with(LONGEST));
        let hops = core.distribution("reactor_hop_ns");
        let way = |percentile| hops.map_or(0, |hops| hops.value_at_percentile(percentile));
        Self {
            turns: number(core, "reactor_turns_total"),
            events: number(core, "reactor_events_total"),
            enters: number(core, "reactor_enters_total"),
            completions: number(core, "reactor_completions_total"),
            parks: number(core, "reactor_parks_total") + number(core, "reactor_long_parks_total"),
            hops: hops.map_or(0, |hops| hops.len()),
            hop_median_ns: way(50.0),
            hop_late_ns: way(99.0),
            stalls: number(core, "reactor_stalls_total"),
            longest_us: longest.map_or(0, |entry| number(core, &entry.name)),
            longest_in: longest.map_or_else(String::new, |entry| labels(&entry.name)),
        }
    }
}

fn number(core: &Gauges, name: &str) -> u64 {
    u64::try_from(core.number(name)).unwrap_or(0)
}

/// The values of a name's labels: `x{step="flush",event=""}` as `flush`.
fn labels(name: &str) -> String {
    let values: Vec<&str> = name.split('"').skip(1).step_by(2).filter(|value| !value.is_empty()).collect();
    values.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_is_nothing() {
        let mut core = Gauges::new();
        assert_eq!(World::of(&[core.clone()]), World { cores: vec![Turns::default()], resident: 0 });
        core.level("reactor_longest_us{step=\"completions\",event=\"bytes\"}", "the longest", 7);
        core.counter("reactor_turns_total", "turns", 5);
        let found = &World::of(&[core]).cores[0];
        assert_eq!((found.turns, found.longest_us, &*found.longest_in), (5, 7, "completions/bytes"));
        assert_eq!(labels("x{step=\"flush\",event=\"\"}"), "flush");
    }
}
