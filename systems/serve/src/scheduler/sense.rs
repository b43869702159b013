//! How busy this machine is, line by line, for the node that started this: thousandths of processor time in use, of
//! memory in use, and of time in which something waited (`/proc/pressure`).

use reactor::Fatal;
use std::io::Write as _;
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(500);

/// Prints until nobody reads.
pub(super) fn run() -> Result<(), Fatal> {
    let mut before = processor_time();
    loop {
        std::thread::sleep(EVERY);
        let now = processor_time();
        let (busy, all) = (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1));
        before = now;
        let cpu = (busy * 1000).checked_div(all).unwrap_or_default();
        let pressure = ["cpu", "memory", "io"].into_iter().filter_map(pressure).max().unwrap_or_default();
        let line = format!("{} {} {}\n", cpu.min(1000), memory().min(1000), pressure.min(1000));
        let mut out = std::io::stdout();
        if out.write_all(line.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
    }
}

/// Busy and all time of all processors, in ticks.
fn processor_time() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    let times: Vec<u64> =
        first.split_whitespace().skip(1).take(8).map(|word| word.parse().unwrap_or(0)).collect();
    let all: u64 = times.iter().sum();
    let idle: u64 = times.iter().skip(3).take(2).sum();
    (all - idle, all)
}

/// Thousandths of memory that is not available.
fn memory() -> u64 {
    let (total, available) = (meminfo("MemTotal:"), meminfo("MemAvailable:"));
    (total.saturating_sub(available) * 1000).checked_div(total).unwrap_or_default()
}

/// A line of /proc/meminfo, in KiB; 0 where it is not there.
pub(super) fn meminfo(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or_default()
}

/// Thousandths of the last ten seconds in which some waited for that.
fn pressure(what: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/pressure/{what}")).ok()?;
    let some = text.lines().find(|line| line.starts_with("some"))?;
    let percent = some.split("avg10=").nth(1)?.split_whitespace().next()?;
    percent.parse::<f64>().ok().map(|percent| (percent * 10.0) as u64)
}
