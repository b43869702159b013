//! How busy a machine is, as a worker tells it. The numbers come as lines from a small process beside the node, because
//! a system looks at nothing itself; a line that cannot be read is passed over, and the last one stays.

#![allow(missing_docs, reason = "rkyv derives archived twins, whose fields it leaves without a word")]

use rkyv::{Archive, Deserialize, Serialize};

/// What a worker has and what of it is in use.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Thousandths of processors that it may give to jobs.
    pub cpu_milli: u64,
    /// MiB that it may give to jobs.
    pub memory_mb: u64,
    /// Thousandths of all processors' time in use, whoever uses it.
    pub cpu_used: u64,
    /// Thousandths of memory in use.
    pub memory_used: u64,
    /// Thousandths of the last ten seconds in which something waited for processor, memory or disk
    /// (`/proc/pressure`), the greatest of the three.
    pub pressure: u64,
}

impl Load {
    /// A machine of which nothing is known but what it gives.
    #[must_use]
    pub const fn idle(cpu_milli: u64, memory_mb: u64) -> Self {
        Self { cpu_milli, memory_mb, cpu_used: 0, memory_used: 0, pressure: 0 }
    }

    /// Takes in a line: `cpu_used memory_used pressure`, in thousandths. Whether it was one.
    pub fn hear(&mut self, line: &str) -> bool {
        let mut numbers =
            line.split_whitespace().map(|word| word.parse::<u64>().ok().filter(|part| *part <= 1000));
        let mut next = || numbers.next().flatten();
        let (Some(cpu), Some(memory), Some(pressure)) = (next(), next(), next()) else { return false };
        (self.cpu_used, self.memory_used, self.pressure) = (cpu, memory, pressure);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_whole_or_not_at_all() {
        let mut load = Load::idle(2000, 1024);
        assert!(load.hear("120 500 30"));
        assert_eq!((load.cpu_used, load.memory_used, load.pressure), (120, 500, 30));
        for wrong in ["", "1 2", "1 2 x", "1001 2 3", "-1 2 3"] {
            assert!(!load.hear(wrong), "{wrong}");
        }
        assert_eq!(load.cpu_used, 120);
    }
}
