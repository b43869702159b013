//! Whether this machine can generate the load: the reactor's own checks, and the two that only a client has, ports
//! and descriptors for all connections at once. Each finding says the line that mends it.

use crate::cli::DoctorArgs;
use crate::plan::Run;
use reactor::doctor::{Finding, Needs, examine, raise_locked_memory, raise_open_files, require};
use reactor::{Fatal, allowed_cores};
use std::fs;

/// Descriptors that the program needs beside its connections: rings, eventfds, files, a few a core.
const DESCRIPTORS_BESIDE: u64 = 128;
/// Of all time, what a host may have taken.
const STEAL_MAX: f64 = 0.01;
/// The range of local ports when the kernel does not tell.
const PORTS_DEFAULT: (u64, u64) = (32_768, 60_999);

/// Prints every finding. Gives the exit status: 0 when all will do, 3 when something will not.
///
/// # Errors
/// None; the type is that of every command.
pub fn run(typed: &DoctorArgs) -> Result<u8, Fatal> {
    let sources = typed.source.as_ref().map_or(1, Vec::len) as u64;
    // As a run does.
    let _ = raise_locked_memory();
    let mut findings = examine(&needs(typed.connections, allowed_cores().len()));
    findings.extend([ports(typed.connections, sources, typed.targets), backlog(), governor(), steal()]);
    for Finding { name, ok, found, mend } in &findings {
        let mark = if *ok { "ok   " } else { "short" };
        println!("{mark} {name}: {found}");
        if let Some(mend) = mend {
            println!("      {mend}");
        }
    }
    Ok(if findings.iter().all(|finding| finding.ok) { 0 } else { 3 })
}

/// Whether there are ports, descriptors and all else for this run; the limit on descriptors is raised to what it
/// may be.
///
/// # Errors
/// A sentence with what to do, when there are not.
pub fn room_for(run: &Run) -> Result<(), Fatal> {
    let cores = if run.cores.is_empty() { allowed_cores().len() } else { run.cores.len() };
    let all = run.load.part.map_or(cores as u64, |part| u64::from(part.all).max(1));
    let connections = (u64::from(run.load.connections) * cores as u64).div_ceil(all);
    let _ = raise_locked_memory();
    require(&needs(connections, cores))?;
    // Where it cannot be raised, `require` has found the hard limit enough, and a dial tells.
    let _ = raise_open_files();
    let ports = ports(connections, run.load.sources.len().max(1) as u64, run.load.targets.len() as u64);
    match ports.mend {
        Some(mend) => Err(Fatal::machine(format!("{}; {mend}", ports.found))),
        None => Ok(()),
    }
}

fn needs(connections: u64, cores: usize) -> Needs {
    Needs { cores, open_files: connections + DESCRIPTORS_BESIDE }
}

fn ports(connections: u64, sources: u64, targets: u64) -> Finding {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    judge_ports(connections, sources, targets, port_range(&text).unwrap_or(PORTS_DEFAULT))
}

fn judge_ports(connections: u64, sources: u64, targets: u64, (first, last): (u64, u64)) -> Finding {
    let each = (last + 1).saturating_sub(first);
    let there = each * sources * targets;
    let found =
        format!("{there} local ports ({sources} sources, {targets} targets) for {connections} connections");
    let mend = (there < connections).then(|| {
        let wanted = connections.div_ceil(each.max(1) * targets).clamp(2, 250);
        format!("connect from more addresses: --source 127.0.0.2-127.0.0.{}", wanted + 1)
    });
    Finding { name: "ports", ok: mend.is_none(), found, mend }
}

fn port_range(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// A listener on this machine with a longer backlog than this loses connects in a burst.
fn backlog() -> Finding {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    let most: u64 = text.trim().parse().unwrap_or(u64::MAX);
    let mend = (most < 4096).then(|| "sysctl -w net.core.somaxconn=4096".to_owned());
    let found = format!("{most} connections may wait for a listener");
    Finding { name: "backlog", ok: mend.is_none(), found, mend }
}

fn governor() -> Finding {
    let path = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    let governor = fs::read_to_string(path).unwrap_or_else(|_| "none to be seen".to_owned());
    let governor = governor.trim();
    let mend = (governor == "powersave").then(|| "cpupower frequency-set -g performance".to_owned());
    Finding { name: "governor", ok: mend.is_none(), found: governor.to_owned(), mend }
}

/// Processor time that the host took from this machine since it started, of all.
fn steal() -> Finding {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let share = stolen(&text);
    let found =
        share.map_or_else(|| "unknown".to_owned(), |share| format!("{:.1} % of all time", share * 100.0));
    // A host can take without saying so; runs find that out by their own ticks.
    let mend = share.filter(|share| *share > STEAL_MAX).map(|_| {
        "measure on a host with cores of your own; here watch the column st of: vmstat 1 10".to_owned()
    });
    Finding { name: "steal", ok: mend.is_none(), found, mend }
}

/// The eighth of the ten numbers of the line of all processors, as a share of the first eight.
fn stolen(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line.split_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    let all: f64 = ticks.iter().sum();
    (ticks.len() == 8 && all > 0.0).then(|| ticks[7] / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_counted_by_pairs_of_source_and_target() {
        let mend =
            |connections, sources, targets| judge_ports(connections, sources, targets, (32_768, 60_999)).mend;
        assert_eq!(mend(28_232, 1, 1), None);
        assert_eq!(mend(28_233, 1, 1).unwrap(), "connect from more addresses: --source 127.0.0.2-127.0.0.3");
        assert_eq!(mend(50_000, 2, 1), None);
        assert_eq!(mend(50_000, 1, 2), None);
        assert_eq!(port_range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(port_range(""), None);
        assert_eq!(stolen("cpu  1 1 1 1 1 1 1 3 9 9\ncpu0 1"), Some(0.3));
        assert_eq!(stolen("cpu 1 2"), None);
    }
}
