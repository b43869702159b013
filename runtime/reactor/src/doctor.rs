//! What this machine must allow before a program of ours can run, looked at one by one, each with the line to type
//! where it does not. It exists because "operation not permitted" from deep inside a ring helps nobody. The hard
//! thing is that one error number has several causes: EPERM from io_uring is a sysctl or a container's filter.

use crate::fatal::Fatal;
use std::fs;
use std::io;

/// The oldest kernel with all that the reactor uses: multishot receive (6.0), DEFER_TASKRUN (6.1).
pub const KERNEL_MIN: (u32, u32) = (6, 1);

/// Locked memory for each core, in bytes: what an executor's rings were measured to need at least.
pub const MEMLOCK_A_CORE: u64 = 512 * 1024;

/// What a program is going to need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Cores to run on.
    pub cores: usize,
    /// Descriptors to be open at once.
    pub open_files: u64,
}

/// One thing looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, in a word or two.
    pub name: &'static str,
    /// Whether it will do.
    pub ok: bool,
    /// How it was found, in words.
    pub found: String,
    /// Where it will not do: the line to type, or what to do where no line helps.
    pub mend: Option<String>,
}

/// Looks at everything: the kernel, io_uring, locked memory, open files, cores. Takes milliseconds; changes nothing.
#[must_use]
pub fn examine(needs: &Needs) -> Vec<Finding> {
    judge(needs, &Facts::gather())
}

/// The same as a condition to start.
///
/// # Errors
/// Status 3, with the first finding that will not do and the line that mends it.
pub fn require(needs: &Needs) -> Result<(), Fatal> {
    match examine(needs).into_iter().find(|finding| !finding.ok) {
        None => Ok(()),
        Some(Finding { name, found, mend, .. }) => {
            let mend = mend.map(|mend| format!("; to mend it: {mend}")).unwrap_or_default();
            Err(Fatal::machine(format!("{name}: {found}{mend}")))
        }
    }
}

/// Lets this process have as many descriptors as the system allows it; returns how many those are. Children of the
/// keeper are given the limit as it was.
///
/// # Errors
/// What setrlimit(2) says; the limit is then as before.
pub fn raise_open_files() -> io::Result<u64> {
    let mut limit = limit_of(libc::RLIMIT_NOFILE)?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: setrlimit reads one rlimit, from `limit`.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } {
        0 => Ok(limit.rlim_cur),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets this process lock as much memory as it may. The executors look at the soft limit alone, also where a
/// capability lets the process lock more.
///
/// # Errors
/// What setrlimit(2) says; the limit is then as before.
pub fn raise_locked_memory() -> io::Result<()> {
    let hard = limit_of(libc::RLIMIT_MEMLOCK)?.rlim_max;
    // Beyond the hard limit only who has CAP_SYS_RESOURCE may go.
    for most in [hard.max(MEMLOCK_A_CORE), hard] {
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: setrlimit reads one rlimit, from `limit`.
        if unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) } == 0 {
            return Ok(());
        }
    }
    Err(io::Error::last_os_error())
}

/// What was found, before it is judged.
#[derive(Clone, Debug)]
struct Facts {
    /// As uname(2) has it.
    release: String,
    /// The error with which a ring could not be made.
    ring: Result<(), i32>,
    /// kernel.io_uring_disabled, where this kernel has it.
    ring_disabled: Option<u32>,
    /// The soft limit on locked memory; none where there is none.
    memlock: Option<u64>,
    /// Whether that limit does not hold for this process; an executor asks for its own share all the same.
    locks_anything: bool,
    /// The hard limit on descriptors.
    open_files: u64,
    /// fs.nr_open: the most that the hard limit can be set to.
    open_files_most: Option<u64>,
    /// The processors this process may run on.
    cores: Vec<usize>,
}

impl Facts {
    fn gather() -> Self {
        let memlock = limit_of(libc::RLIMIT_MEMLOCK).map_or(0, |limit| limit.rlim_cur);
        Self {
            release: number_file_text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            ring: try_ring(),
            ring_disabled: number_file("/proc/sys/kernel/io_uring_disabled"),
            memlock: (memlock != libc::RLIM_INFINITY).then_some(memlock),
            locks_anything: may_lock_anything(),
            open_files: limit_of(libc::RLIMIT_NOFILE).map_or(0, |limit| limit.rlim_max),
            open_files_most: number_file("/proc/sys/fs/nr_open"),
            cores: cores_allowed(),
        }
    }
}

fn judge(needs: &Needs, facts: &Facts) -> Vec<Finding> {
    vec![
        judge_kernel(facts),
        judge_ring(facts),
        judge_memlock(needs, facts),
        judge_open_files(needs, facts),
        judge_cores(needs, facts),
    ]
}

fn judge_kernel(facts: &Facts) -> Finding {
    let mut numbers =
        facts.release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let ok = version >= KERNEL_MIN;
    let (major, minor) = KERNEL_MIN;
    Finding {
        name: "kernel",
        ok,
        found: format!("Linux {}", facts.release),
        mend: (!ok).then(|| format!("boot Linux {major}.{minor} or newer")),
    }
}

fn judge_ring(facts: &Facts) -> Finding {
    let (found, mend) = match facts.ring {
        Ok(()) => ("allowed".to_owned(), None),
        Err(libc::EPERM) if facts.ring_disabled.is_some_and(|disabled| disabled > 0) => (
            format!("forbidden by kernel.io_uring_disabled = {}", facts.ring_disabled.unwrap_or_default()),
            Some("sudo sysctl -w kernel.io_uring_disabled=0".to_owned()),
        ),
        Err(libc::EPERM) => (
            "forbidden by the filter of a container (Docker's default one from engine 25 on)".to_owned(),
            Some("docker run --security-opt seccomp=scripts/container/seccomp.json …".to_owned()),
        ),
        Err(libc::ENOSYS) => (
            "this kernel, or the sandbox in which it runs, has none".to_owned(),
            Some("run it on a kernel with CONFIG_IO_URING, outside of a sandbox".to_owned()),
        ),
        Err(libc::ENOMEM) => (
            "no memory may be locked for a ring".to_owned(),
            Some(format!("sudo prlimit --pid $$ --memlock={0}:{0}", 16 * MEMLOCK_A_CORE)),
        ),
        Err(libc::EINVAL) => (
            "this kernel's is too old (no DEFER_TASKRUN)".to_owned(),
            Some(format!("boot Linux {}.{} or newer", KERNEL_MIN.0, KERNEL_MIN.1)),
        ),
        Err(errno) => {
            let error = io::Error::from_raw_os_error(errno);
            (format!("a ring cannot be made: {error}"), Some("dmesg | tail".to_owned()))
        }
    };
    Finding { name: "io_uring", ok: mend.is_none(), found, mend }
}

fn judge_memlock(needs: &Needs, facts: &Facts) -> Finding {
    let needed = MEMLOCK_A_CORE * if facts.locks_anything { 1 } else { needs.cores as u64 };
    let ok = facts.memlock.is_none_or(|memlock| memlock >= needed);
    let found = match facts.memlock {
        None => "without bound".to_owned(),
        Some(_) if ok && facts.locks_anything => "without bound".to_owned(),
        Some(memlock) => {
            format!("{} KiB of {} KiB needed on {} cores", memlock / 1024, needed / 1024, needs.cores)
        }
    };
    let mend = (!ok).then(|| format!("sudo prlimit --pid $$ --memlock={needed}:{needed}"));
    Finding { name: "locked memory", ok, found, mend }
}

fn judge_open_files(needs: &Needs, facts: &Facts) -> Finding {
    let needed = needs.open_files;
    let ok = facts.open_files >= needed;
    let mend = || {
        let limit = format!("sudo prlimit --pid $$ --nofile={needed}:{needed}");
        match facts.open_files_most {
            Some(most) if most < needed => format!("sudo sysctl -w fs.nr_open={needed} && {limit}"),
            _ => limit,
        }
    };
    let found = format!("{} of {needed} needed", facts.open_files);
    Finding { name: "open files", ok, found, mend: (!ok).then(mend) }
}

fn judge_cores(needs: &Needs, facts: &Facts) -> Finding {
    let ok = facts.cores.len() >= needs.cores.max(1);
    let list: Vec<String> = facts.cores.iter().map(ToString::to_string).collect();
    Finding {
        name: "cores",
        ok,
        found: format!("{} allowed of {} needed ({})", list.len(), needs.cores, list.join(",")),
        mend: (!ok).then(|| format!("--cores {}", list.join(","))),
    }
}

/// Makes a ring as the reactor's are made, and lets it go.
fn try_ring() -> Result<(), i32> {
    let ring = io_uring::IoUring::<io_uring::squeue::Entry>::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(8);
    ring.map(drop).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
}

fn limit_of(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes one rlimit, into `limit`.
    match unsafe { libc::getrlimit(resource, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether the limit on locked memory does not hold for this process (CAP_IPC_LOCK).
fn may_lock_anything() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return false };
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    bits >> CAP_IPC_LOCK & 1 == 1
}

fn cores_allowed() -> Vec<usize> {
    // SAFETY: an empty set is zeros; the call writes at most its size into it, and CPU_ISSET reads inside it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return Vec::new();
        }
        (0..libc::CPU_SETSIZE.unsigned_abs() as usize).filter(|core| libc::CPU_ISSET(*core, &set)).collect()
    }
}

fn number_file_text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn number_file<T: std::str::FromStr>(path: &str) -> Option<T> {
    number_file_text(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: Needs = Needs { cores: 2, open_files: 10_000 };

    fn good() -> Facts {
        Facts {
            release: "6.1.0-44-amd64".into(),
            ring: Ok(()),
            ring_disabled: Some(0),
            memlock: Some(8 << 20),
            locks_anything: false,
            open_files: 20_000,
            open_files_most: Some(1 << 20),
            cores: vec![0, 2],
        }
    }

    /// The one finding that will not do: its name, and parts of how it was found and of the line to type.
    fn check(facts: &Facts, name: &str, found: &str, mend: &str) {
        let bad: Vec<_> = judge(&NEEDS, facts).into_iter().filter(|finding| !finding.ok).collect();
        assert_eq!(bad.len(), 1, "{bad:?}");
        assert_eq!(bad[0].name, name);
        assert!(bad[0].found.contains(found), "{bad:?}");
        assert!(bad[0].mend.as_ref().unwrap().contains(mend), "{bad:?}");
    }

    #[test]
    fn a_good_machine_has_nothing_to_mend() {
        let unbound = Facts { memlock: None, ring_disabled: None, open_files_most: None, ..good() };
        for facts in [good(), unbound] {
            for finding in judge(&NEEDS, &facts) {
                assert!(finding.ok && finding.mend.is_none() && !finding.found.is_empty(), "{finding:?}");
            }
        }
    }

    #[test]
    fn each_lack_is_named_with_the_line_that_mends_it() {
        let good = good();
        for release in ["6.0.12", "5.15.0-generic", "4", ""] {
            check(&Facts { release: release.into(), ..good.clone() }, "kernel", release, "6.1");
        }
        let ring = |errno| Facts { ring: Err(errno), ..good.clone() };
        let disabled = Facts { ring_disabled: Some(2), ..ring(libc::EPERM) };
        check(&disabled, "io_uring", "kernel.io_uring_disabled = 2", "sysctl -w kernel.io_uring_disabled=0");
        check(&ring(libc::EPERM), "io_uring", "container", "--security-opt seccomp=");
        check(&ring(libc::ENOSYS), "io_uring", "none", "CONFIG_IO_URING");
        check(&ring(libc::ENOMEM), "io_uring", "locked", "--memlock=");
        check(&ring(libc::EINVAL), "io_uring", "too old", "6.1");
        check(&ring(libc::EMFILE), "io_uring", "Too many open files", "dmesg");
        let memlock = Facts { memlock: Some(64 << 10), ..good.clone() };
        check(&memlock, "locked memory", "64 KiB of 1024 KiB", "prlimit --pid $$ --memlock=1048576:1048576");
        let locks_anything = Facts { locks_anything: true, ..memlock };
        check(&locks_anything, "locked memory", "64 KiB of 512 KiB", "--memlock=524288:524288");
        let files = Facts { open_files: 1024, ..good.clone() };
        check(&files, "open files", "1024 of 10000", "sudo prlimit --pid $$ --nofile=10000:10000");
        let files = Facts { open_files: 1024, open_files_most: Some(4096), ..good.clone() };
        check(&files, "open files", "1024 of 10000", "sysctl -w fs.nr_open=10000 && sudo prlimit");
        check(&Facts { cores: vec![3], ..good }, "cores", "1 allowed of 2 needed (3)", "--cores 3");
    }

    #[test]
    fn this_machine_is_looked_at() {
        let names: Vec<_> = examine(&NEEDS).into_iter().map(|finding| finding.name).collect();
        assert_eq!(names, ["kernel", "io_uring", "locked memory", "open files", "cores"]);
        let facts = Facts::gather();
        assert!(!facts.release.is_empty() && !facts.cores.is_empty() && facts.open_files > 0);
        let fatal = require(&Needs { cores: usize::MAX >> 20, open_files: 1 }).unwrap_err();
        assert_eq!(fatal.status, 3);
        assert!(fatal.sentence.contains("to mend it: "), "{fatal}");
    }

    #[test]
    fn locked_memory_is_raised_to_what_is_allowed() {
        raise_locked_memory().unwrap();
        let limit = limit_of(libc::RLIMIT_MEMLOCK).unwrap();
        assert_eq!(limit.rlim_cur, limit.rlim_max);
    }

    #[test]
    fn open_files_are_raised_to_what_is_allowed() {
        let raised = raise_open_files().unwrap();
        let limit = limit_of(libc::RLIMIT_NOFILE).unwrap();
        assert_eq!((limit.rlim_cur, limit.rlim_max), (raised, raised));
    }
}
