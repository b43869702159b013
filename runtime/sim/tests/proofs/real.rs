//! The real arm: this test's own binary, run again as a server on the reactor. It must be a process of its own,
//! because the keeper forks before there is a thread, and because its memory and its disk are measured.

use reactor::{Doors, Keeper, Plan, fatal};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use wire::peer::Message;

/// How long a test waits for anything real before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A server that runs, and ends with this value.
pub(crate) struct Server {
    process: Child,
    pub(crate) doors: Vec<SocketAddr>,
}

impl Server {
    /// Runs `serve NAME ARGS` of this binary and waits until it listens.
    pub(crate) fn start(name: &str, args: &[&str]) -> Self {
        let me = std::env::current_exe().expect("this test has a file");
        let mut command = Command::new(me);
        command.arg("serve").arg(name).args(args).stdout(Stdio::piped());
        Self::run(&mut command)
    }

    /// Runs it in a mount namespace of its own, with a small memory disk at `data`. None where that is not
    /// allowed.
    pub(crate) fn start_on_small_disk(name: &str, data: &Path, bytes: usize) -> Option<Self> {
        let me = std::env::current_exe().expect("this test has a file");
        let script = format!(
            "mount -t tmpfs -o size={bytes} tmpfs '{data}' && exec '{me}' serve {name} '{data}'",
            data = data.display(),
            me = me.display()
        );
        let works = Command::new("unshare").args(["--mount", "true"]).stderr(Stdio::null()).status();
        if !works.is_ok_and(|status| status.success()) {
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]).stdout(Stdio::piped());
        Some(Self::run(&mut command))
    }

    fn run(command: &mut Command) -> Self {
        let mut process = command.spawn().expect("this test can be run again");
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        let doors = line.split_whitespace().map(|door| door.parse().expect("an address")).collect();
        assert!(!line.is_empty(), "the server ended before it listened");
        Self { process, doors }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The most memory it has had, in bytes.
    pub(crate) fn memory_peak(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()));
        let status = status.expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel says it");
        let kilobytes: usize =
            line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
        kilobytes * 1024
    }

    /// Asks it to end, and says whether it did so by itself.
    pub(crate) fn stop(&mut self) -> bool {
        let asked = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(asked.is_ok_and(|status| status.success()), "it is there to be asked");
        self.ends()
    }

    /// Waits for it to end, and says whether it did so as it should.
    pub(crate) fn ends(&mut self) -> bool {
        self.process.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A directory of this test's own, gone with this value.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringwise-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory can be made");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The server's side: reserves ports, says them when every core listens, and runs until it is told to end.
pub(crate) fn serve<S>(
    name: &'static str,
    cores: usize,
    doors: usize,
    data: Option<PathBuf>,
    config: impl FnOnce(&[SocketAddr]) -> S::Config,
) -> !
where
    S: machine::Shard + Send,
    S::Config: Clone + Send,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    let keeper = Keeper::fork(cores).unwrap_or_else(|fatal| fatal::exit(fatal));
    let reserved = Doors::default();
    let any = || SocketAddr::from(([127, 0, 0, 1], 0));
    let at: Vec<SocketAddr> =
        (0..doors).map(|_| reserved.reserve(any()).unwrap_or_else(|fatal| fatal::exit(fatal))).collect();
    let mut plan = Plan::new(name, config(&at));
    let allowed = reactor::allowed_cores();
    assert!(allowed.len() >= cores, "this test needs {cores} cores");
    plan.cores = allowed[..cores].to_vec();
    plan.doors = reserved;
    plan.data = data;
    plan.keeper = Some(keeper);
    plan.on_ready = Box::new(move || {
        let words: Vec<String> = at.iter().map(ToString::to_string).collect();
        println!("{}", words.join(" "));
    });
    match reactor::run::<S>(plan) {
        Ok(_) => std::process::exit(0),
        Err(fatal) => fatal::exit(fatal),
    }
}
