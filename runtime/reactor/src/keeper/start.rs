//! Starting one child, in the keeper: a group of its own, the processor mask and limits the program began with,
//! default signals, no descriptor but its three streams. The hard thing is that between fork and exec only calls
//! that are async-signal-safe may be made, so everything that allocates is done before.

use super::socket::check;
use machine::{Command, Limit, PipeKind};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Stdio;

/// The last signal the kernel knows, and eight bytes are its set of them.
const SIGNAL_MAX: libc::c_int = 64;

/// What children get from the program as it was when it began.
#[derive(Debug)]
pub(super) struct Heritage {
    env: Vec<(&'static str, OsString)>,
    files: libc::rlimit,
}

impl Heritage {
    /// Taken before the fork, while the program is as the operator started it.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let names = ["PATH", "HOME", "LANG"];
        let env = names.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
        Ok(Self { env, files: limit_now(libc::RLIMIT_NOFILE)? })
    }
}

/// A child that runs.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: libc::pid_t,
    /// Our ends of its pipes, in the order of [`PIPE_KINDS`](super::message::PIPE_KINDS).
    pub(super) pipes: Vec<(PipeKind, OwnedFd)>,
}

/// Starts it. The error is the sentence of an `Unstarted`. Takes as long as the kernel needs to fork this small
/// process and exec: about half a millisecond.
pub(super) fn start(command: &Command, heritage: &Heritage) -> Result<Child, String> {
    // Without this, a missing directory would read like a missing program.
    if let Some(dir) = command.dir.as_deref()
        && !std::path::Path::new(dir).is_dir()
    {
        return Err(format!("cannot start {}: there is no directory {dir}", command.program));
    }
    prepare(command, heritage)
        .and_then(|mut prepared| prepared.spawn())
        .and_then(take_pipes)
        .map_err(|error| format!("cannot start {}: {error}", command.program))
}

fn prepare(command: &Command, heritage: &Heritage) -> io::Result<std::process::Command> {
    let mut prepared = std::process::Command::new(&*command.program);
    prepared.args(command.args.iter().map(|arg| &**arg)).env_clear();
    prepared.envs(heritage.env.iter().map(|(name, value)| (name, value)));
    prepared.envs(command.env.iter().map(|(name, value)| (&**name, &**value)));
    if let Some(dir) = command.dir.as_deref() {
        prepared.current_dir(dir);
    }
    let stream = |kind| if command.pipes.contains(&kind) { Stdio::piped() } else { Stdio::null() };
    prepared.stdin(stream(PipeKind::Input)).stdout(stream(PipeKind::Output)).stderr(stream(PipeKind::Error));
    prepared.process_group(0);
    let limits = limits_for(command, heritage)?;
    // SAFETY: getpid has no conditions.
    let keeper = unsafe { libc::getpid() };
    // SAFETY: the closure runs between fork and exec; it makes only plain system calls on values made before.
    unsafe { prepared.pre_exec(move || become_child(keeper, &limits)) };
    Ok(prepared)
}

/// What the child does to itself before exec.
fn become_child(keeper: libc::pid_t, limits: &[(libc::__rlimit_resource_t, libc::rlimit)]) -> io::Result<()> {
    // The kernel's own struct sigaction, all zeros: the default, no flags, no mask. By the bare system call, because
    // the C library refuses to touch the two signals it keeps for itself, which may have come to us ignored.
    let default = [0_u64; 4];
    // SAFETY: plain system calls, each async-signal-safe, with pointers to locals that outlive them. SIGKILL and
    // SIGSTOP cannot be set: the kernel refuses, and they are as they should be.
    unsafe {
        for signal in 1..=SIGNAL_MAX {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8_usize);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()))?;
        // The keeper has one thread, so this follows the process. It is for the case that the keeper is killed.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        if libc::getppid() != keeper {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        for (resource, bound) in limits {
            check(libc::setrlimit(*resource, bound))?;
        }
        // Everything of ours is close-on-exec already. A kernel before 5.11 does not know this call.
        libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
    Ok(())
}

/// The limits to set: that on descriptors as the program found it (it raises its own), then those asked for.
fn limits_for(
    command: &Command,
    heritage: &Heritage,
) -> io::Result<Vec<(libc::__rlimit_resource_t, libc::rlimit)>> {
    let mut limits = vec![(libc::RLIMIT_NOFILE, heritage.files)];
    for limit in &command.limits {
        // At its soft limit of processor time a child gets SIGXCPU, which tells what ended it; a second later,
        // where it has caught that, SIGKILL.
        let (resource, bound, grace) = match *limit {
            Limit::Memory(bytes) => (libc::RLIMIT_AS, bytes, 0),
            Limit::Cpu(time) => (libc::RLIMIT_CPU, time.as_secs().max(1), 1),
            Limit::Files(count) => (libc::RLIMIT_NOFILE, count, 0),
            Limit::FileSize(bytes) => (libc::RLIMIT_FSIZE, bytes, 0),
            Limit::Processes(count) => (libc::RLIMIT_NPROC, count, 0),
        };
        let most = limit_now(resource)?.rlim_max;
        let bound =
            libc::rlimit { rlim_cur: bound.min(most), rlim_max: bound.saturating_add(grace).min(most) };
        limits.push((resource, bound));
    }
    Ok(limits)
}

fn limit_now(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit writes one rlimit, into `limit`.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    Ok(limit)
}

fn take_pipes(mut child: std::process::Child) -> io::Result<Child> {
    let streams = [
        (PipeKind::Input, child.stdin.take().map(OwnedFd::from)),
        (PipeKind::Output, child.stdout.take().map(OwnedFd::from)),
        (PipeKind::Error, child.stderr.take().map(OwnedFd::from)),
    ];
    let mut pipes = Vec::new();
    for (kind, end) in streams {
        let Some(end) = end else { continue };
        // The two ends of a pipe have flags of their own: the child's still blocks, as programs expect.
        // SAFETY: fcntl on a descriptor we own, with a flag and nothing else.
        check(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, flags_of(&end)? | libc::O_NONBLOCK) })?;
        pipes.push((kind, end));
    }
    Ok(Child { pid: child.id().cast_signed(), pipes })
}

fn flags_of(end: &OwnedFd) -> io::Result<libc::c_int> {
    // SAFETY: fcntl on a descriptor we own only reads its flags.
    check(unsafe { libc::fcntl(end.as_raw_fd(), libc::F_GETFL) })
}
