//! Whether this machine can generate the load: the reactor's own checks, and the two that only a client has, ports
//! and descriptors for all connections at once. Each finding says the line that mends it.

use crate::cli::DoctorArgs;
use crate::plan::Load;
use reactor::Fatal;
use std::fs;

/// Descriptors that the program needs beside its connections: rings, eventfds, files, a few a core.
const DESCRIPTORS_BESIDE: u64 = 128;
/// The range of local ports when the kernel does not tell.
const PORTS_DEFAULT: (u64, u64) = (32_768, 60_999);

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, and what was found.
    pub said: String,
    /// The line to type, when it does not suffice.
    pub mend: Option<String>,
}

/// Prints every finding. Gives the exit status: 0 when all suffices, 3 when something does not.
///
/// # Errors
/// None; the type is that of every command.
pub fn run(typed: &DoctorArgs) -> Result<u8, Fatal> {
    let sources = typed.source.as_ref().map_or(1, Vec::len) as u64;
    let findings = [
        ports(typed.connections, sources, typed.targets),
        descriptors(typed.connections),
        backlog(),
        governor(),
    ];
    for finding in &findings {
        let mark = if finding.mend.is_none() { "ok   " } else { "short" };
        println!("{mark} {}", finding.said);
        if let Some(mend) = &finding.mend {
            println!("      {mend}");
        }
    }
    Ok(if findings.iter().all(|finding| finding.mend.is_none()) { 0 } else { 3 })
}

/// Whether there are ports and descriptors for this load.
///
/// # Errors
/// A sentence with what to do, when there are not.
pub fn room_for(load: &Load) -> Result<(), Fatal> {
    let connections = u64::from(load.connections);
    let needs = [
        ports(connections, load.sources.len().max(1) as u64, load.targets.len() as u64),
        descriptors(connections),
    ];
    for finding in needs {
        if let Some(mend) = finding.mend {
            return Err(Fatal::machine(format!("{}; {mend}", finding.said)));
        }
    }
    Ok(())
}

fn ports(connections: u64, sources: u64, targets: u64) -> Finding {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    judge_ports(connections, sources, targets, port_range(&text).unwrap_or(PORTS_DEFAULT))
}

fn judge_ports(connections: u64, sources: u64, targets: u64, (first, last): (u64, u64)) -> Finding {
    let each = (last + 1).saturating_sub(first);
    let there = each * sources * targets;
    let said =
        format!("{there} local ports ({sources} sources, {targets} targets) for {connections} connections");
    let mend = (there < connections).then(|| {
        let wanted = connections.div_ceil(each.max(1) * targets).clamp(2, 250);
        format!("connect from more addresses: --source 127.0.0.2-127.0.0.{}", wanted + 1)
    });
    Finding { said, mend }
}

fn port_range(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn descriptors(connections: u64) -> Finding {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let mut numbers = line.split_whitespace().map(|number| number.parse().unwrap_or(u64::MAX));
    let (soft, hard) = (numbers.next().unwrap_or(u64::MAX), numbers.next().unwrap_or(u64::MAX));
    judge_descriptors(connections, soft, hard)
}

fn judge_descriptors(connections: u64, soft: u64, hard: u64) -> Finding {
    let needed = connections + DESCRIPTORS_BESIDE;
    let said = format!("{soft} open files for {connections} connections");
    let mend = (soft < needed).then(|| match hard < needed {
        true => format!(
            "raise the hard limit, which is {hard}, as root: prlimit --pid $$ --nofile={needed}:{needed}"
        ),
        false => format!("raise the limit: ulimit -n {needed}"),
    });
    Finding { said, mend }
}

/// A listener on this machine with a longer backlog than this loses connects in a burst.
fn backlog() -> Finding {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    let most: u64 = text.trim().parse().unwrap_or(u64::MAX);
    let mend = (most < 4096).then(|| "sysctl -w net.core.somaxconn=4096".to_owned());
    Finding { said: format!("{most} connections may wait in a listener's backlog"), mend }
}

fn governor() -> Finding {
    let path = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";
    let governor = fs::read_to_string(path).unwrap_or_else(|_| "none to be seen".to_owned());
    let governor = governor.trim();
    let mend = (governor == "powersave").then(|| "cpupower frequency-set -g performance".to_owned());
    Finding { said: format!("frequency governor: {governor}"), mend }
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
    }

    #[test]
    fn descriptors_are_mended_by_whoever_can() {
        assert_eq!(judge_descriptors(800, 1024, 20_000).mend, None);
        assert_eq!(judge_descriptors(1_000, 1024, 20_000).mend.unwrap(), "raise the limit: ulimit -n 1128");
        assert!(judge_descriptors(30_000, 1024, 20_000).mend.unwrap().contains("hard limit, which is 20000"));
    }
}
