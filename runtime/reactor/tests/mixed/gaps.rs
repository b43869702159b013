//! What the machine itself lost: a thread that sleeps a millisecond at a time and notes when it was longer.

use crate::ask::Slow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A time in which this thread was not run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    from: Instant,
    to: Instant,
}

pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Gap>>,
}

impl Watcher {
    pub(crate) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut gaps = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let from = Instant::now();
                std::thread::sleep(Duration::from_millis(1));
                let to = Instant::now();
                if to - from > Duration::from_millis(20) {
                    gaps.push(Gap { from, to });
                }
            }
            gaps
        });
        Self { stop, thread }
    }

    pub(crate) fn stop(self) -> Vec<Gap> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("it only sleeps")
    }
}

pub(crate) fn longest(gaps: &[Gap]) -> Duration {
    gaps.iter().map(|gap| gap.to - gap.from).max().unwrap_or_default()
}

/// Whether the machine's own gaps make up for what was too long.
pub(crate) fn explain(gaps: &[Gap], slow: &Slow) -> bool {
    let lost: Duration = gaps
        .iter()
        .map(|gap| gap.to.min(slow.answered).saturating_duration_since(gap.from.max(slow.asked)))
        .sum();
    slow.answered - slow.asked < crate::SLOW + 2 * lost
}
