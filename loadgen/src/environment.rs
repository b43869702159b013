//! Where a number was measured: what must be the same before two numbers may be compared, and what was going on
//! while it was measured. Everything is read from /proc and /sys; what cannot be read is `unknown`, never left out.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

/// Clock ticks a second in /proc (USER_HZ; 100 on every architecture in use).
const TICKS_A_SECOND: f64 = 100.0;

/// A machine, and what it was doing before and after a run.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// The processor's name.
    pub cpu: String,
    /// Processors online.
    pub cpus: usize,
    /// The kernel's release and version.
    pub kernel: String,
    /// What the kernel does about each weakness of the processor.
    pub mitigations: BTreeMap<String, String>,
    /// Soft limits of this process.
    pub limits: BTreeMap<String, String>,
    /// How processor 0 picks its frequency.
    pub governor: String,
    /// The commit that was measured.
    pub git_commit: String,
    /// The version of this program.
    pub loadgen: &'static str,
    /// The three load averages before the run.
    pub load_before: String,
    /// And after it.
    pub load_after: String,
    /// Seconds that the host took from all processors, since boot, before the run.
    pub steal_before: Option<f64>,
    /// And after it.
    pub steal_after: Option<f64>,
}

impl Environment {
    /// This machine before a run.
    #[must_use]
    pub fn before(git_commit: &str) -> Self {
        let now = Moment::now();
        Self {
            cpu: cpu_name(&read("/proc/cpuinfo")),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: format!("{} {}", read("/proc/sys/kernel/osrelease"), read("/proc/sys/kernel/version")),
            mitigations: mitigations(),
            limits: limits(&read("/proc/self/limits")),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            git_commit: git_commit.to_owned(),
            loadgen: env!("CARGO_PKG_VERSION"),
            load_before: now.load.clone(),
            load_after: now.load,
            steal_before: now.steal,
            steal_after: now.steal,
        }
    }

    /// The same after the run.
    #[must_use]
    pub fn after(self) -> Self {
        let now = Moment::now();
        Self { load_after: now.load, steal_after: now.steal, ..self }
    }
}

/// What changes.
struct Moment {
    load: String,
    steal: Option<f64>,
}

impl Moment {
    fn now() -> Self {
        let load = read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ");
        Self { load, steal: steal_seconds(&read("/proc/stat")) }
    }
}

fn read(path: &str) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text.trim_end().to_owned(),
        Err(_) => "unknown".to_owned(),
    }
}

fn cpu_name(cpuinfo: &str) -> String {
    let mut pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    let found = pairs.find(|(name, _)| name.trim() == "model name");
    found.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn mitigations() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return BTreeMap::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.path()));
    names
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some((name, read(path.to_str()?)))
        })
        .collect()
}

fn limits(text: &str) -> BTreeMap<String, String> {
    let wanted =
        [("Max open files", "open_files"), ("Max locked memory", "memlock"), ("Max processes", "processes")];
    let soft = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line[name.len()..].split_whitespace().next().map(str::to_owned)
    };
    wanted
        .iter()
        .map(|(name, short)| ((*short).to_owned(), soft(name).unwrap_or_else(|| "unknown".to_owned())))
        .collect()
}

/// The eighth number of the line of all processors.
fn steal_seconds(stat: &str) -> Option<f64> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let ticks: u64 = line.split_whitespace().nth(8)?.parse().ok()?;
    Some(ticks as f64 / TICKS_A_SECOND)
}

/// How much processor time each thread of this process used, between two looks.
#[derive(Clone, Debug)]
pub struct Usage {
    at: Instant,
    seconds: BTreeMap<String, f64>,
}

impl Usage {
    /// Up to now.
    #[must_use]
    pub fn now() -> Self {
        let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        let seconds = tasks.filter_map(|task| {
            let stat = fs::read_to_string(task.path().join("stat")).ok()?;
            Some((task.file_name().to_string_lossy().into_owned(), thread_seconds(&stat)?))
        });
        Self { at: Instant::now(), seconds: seconds.collect() }
    }

    /// The share of the time since `earlier` in which the busiest thread ran.
    #[must_use]
    pub fn busiest_since(&self, earlier: &Self) -> Option<f64> {
        let span = self.at.duration_since(earlier.at).as_secs_f64();
        let used = self.seconds.iter().map(|(thread, now)| now - earlier.seconds.get(thread).unwrap_or(now));
        if span < 0.5 { None } else { used.reduce(f64::max).map(|most| most / span) }
    }
}

/// User and system time of a thread: the 14th and 15th field; the name before may hold spaces.
fn thread_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(cpu_name("processor\t: 0\nmodel name\t: AMD EPYC\n"), "AMD EPYC");
        assert_eq!(cpu_name(""), "unknown");
        assert_eq!(steal_seconds("cpu  1 2 3 4 5 6 7 800 9 0\ncpu0 1 1"), Some(8.0));
        let limits = limits(
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024      20000  files\n",
        );
        assert_eq!(limits["open_files"], "1024");
        assert_eq!(limits["memlock"], "unknown");
        let stat = "7 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(thread_seconds(stat), Some(2.0));
    }
}
