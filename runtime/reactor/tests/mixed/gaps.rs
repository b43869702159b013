//! What the machine itself took away: on each core a thread that sleeps a millisecond at a time and notes when it
//! was longer (the host gave the core to somebody else), and for every thread of both programs the time it could
//! have run and was not (schedstat(5): another program had the core).

use crate::ask::Slow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often the threads' waits are read.
const LOOK: Duration = Duration::from_millis(10);
/// A sleep of a millisecond that is this long was no sleep.
const GAP: Duration = Duration::from_millis(20);

/// Within this time, so much was taken away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gap {
    from: Instant,
    to: Instant,
    lost: Duration,
}

pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Gap>>>,
}

impl Watcher {
    /// Watches this process and that one.
    pub(crate) fn start(other: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for core in reactor::allowed_cores() {
            let stop = stop.clone();
            threads.push(std::thread::spawn(move || sleep_on(core, &stop)));
        }
        let stopped = stop.clone();
        threads.push(std::thread::spawn(move || watch_waits(&[std::process::id(), other], &stopped)));
        Self { stop, threads }
    }

    pub(crate) fn stop(self) -> Vec<Gap> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().flat_map(|thread| thread.join().expect("it only watches")).collect()
    }
}

fn sleep_on(core: usize, stop: &AtomicBool) -> Vec<Gap> {
    // SAFETY: a zeroed set is an empty one, and `core` is one this process may run on.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
    let mut gaps = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let from = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        let to = Instant::now();
        if to - from > GAP {
            gaps.push(Gap { from, to, lost: to - from });
        }
    }
    gaps
}

fn watch_waits(processes: &[u32], stop: &AtomicBool) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let (mut before, mut from) = (waits(processes), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let (after, to) = (waits(processes), Instant::now());
        let more = |(thread, wait): (&u64, &u64)| wait - before.get(thread).copied().unwrap_or(0).min(*wait);
        let lost = Duration::from_nanos(after.iter().map(more).sum());
        if lost > Duration::from_millis(1) {
            gaps.push(Gap { from, to, lost });
        }
        (before, from) = (after, to);
    }
    gaps
}

/// Nanoseconds each thread has waited for a core.
fn waits(processes: &[u32]) -> BTreeMap<u64, u64> {
    let mut waits = BTreeMap::new();
    for process in processes {
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let wait: Option<u64> = text.split(' ').nth(1).and_then(|wait| wait.parse().ok());
            let name: Option<u64> = task.file_name().to_string_lossy().parse().ok();
            waits.extend(name.zip(wait));
        }
    }
    waits
}

pub(crate) fn longest(gaps: &[Gap]) -> Duration {
    gaps.iter().map(|gap| gap.lost).max().unwrap_or_default()
}

/// Whether what was taken away makes up for what was too long.
pub(crate) fn explain(gaps: &[Gap], slow: &Slow) -> bool {
    let within = gaps.iter().filter(|gap| gap.from < slow.answered && slow.asked < gap.to);
    let lost: Duration = within.map(|gap| gap.lost).sum();
    slow.answered - slow.asked < crate::SLOW + lost
}
