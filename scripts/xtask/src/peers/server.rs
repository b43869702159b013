//! A server that is measured: started on free ports and on cores that are told, watched from outside by what the
//! kernel says of its process, and ended with us.
//!
//! The hard thing is to leave none behind: the kernel kills a server when the thread that started it is gone, however
//! that came about (`setpriv --pdeathsig`, which takes no unsafe code of ours).

use super::resp::{Client, Reply};
use clap::ValueEnum;
use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// A server must answer within this.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(30);
/// Parts of a second in which /proc tells processor time; the same on every Linux.
const TICKS_A_SECOND: f64 = 100.0;
/// How often memory is looked at while it settles.
const SETTLE_STEP: Duration = Duration::from_millis(250);
/// Memory has settled when it stays within [`SETTLE_BYTES`] for so many steps: a second.
const SETTLE_STEPS: u32 = 4;
const SETTLE_BYTES: u64 = 64 << 10;
/// And is taken as it is after so many steps: five seconds.
const SETTLE_STEPS_MAX: u32 = 20;

/// How long a greeting may take to be answered.
const GREETING_MAX: Duration = Duration::from_secs(2);
/// Clients a server lets in, all of whom must find descriptors: ten thousand, and some to fill and to ask.
const CLIENTS_MAX: &str = "12000";
/// Connections that may wait to be accepted, so that ten thousand at once lose none.
const BACKLOG: &str = "4096";
/// Megabytes that memcached may fill: more than any measurement does, so that nothing is evicted.
const MEMCACHED_MEGABYTES: &str = "1024";
/// How long a [`Kind::DhtSpinning`] looks for work before it sleeps.
const SPIN_US: &str = "200";

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Dht,
    /// The same, which looks for work for [`SPIN_US`] before it sleeps.
    DhtSpinning,
    Redis,
    Memcached,
    /// A loop over io_uring that parses, looks up and answers, and nothing else.
    BareUring,
    /// The same, which never sleeps: what looking for work can gain at most.
    BareUringSpinning,
    /// The same over epoll.
    BareEpoll,
}

impl Kind {
    /// The one of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Dht,
            Self::DhtSpinning,
            Self::Redis,
            Self::Memcached,
            Self::BareUring,
            Self::BareUringSpinning,
            Self::BareEpoll,
        ];
        all.into_iter().find(|kind| kind.to_string() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Dht => "dht",
            Self::DhtSpinning => "dht --spin-us 200",
            Self::Redis => "redis-server",
            Self::Memcached => "memcached",
            Self::BareUring => "kv_uring",
            Self::BareUringSpinning => "kv_uring --spin",
            Self::BareEpoll => "kv_epoll",
        })
    }
}

/// What a server keeps of what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kept {
    /// Nothing; redis-server as it is without a log
    Memory,
    /// All but the last moments: batch, and appendfsync everysec
    Batch,
    /// All that was acknowledged: sync, and appendfsync always
    Sync,
}

impl Kept {
    pub(crate) const ALL: [Self; 3] = [Self::Memory, Self::Batch, Self::Sync];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Batch => "batch",
            Self::Sync => "sync",
        }
    }

    /// In the words of that server.
    pub(crate) const fn told(self, kind: Kind) -> &'static str {
        match (kind, self) {
            (Kind::Redis, Self::Memory) => "appendonly no",
            (Kind::Redis, Self::Batch) => "appendfsync everysec",
            (Kind::Redis, Self::Sync) => "appendfsync always",
            _ => self.name(),
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// One that runs.
pub(crate) struct Server {
    kind: Kind,
    child: Child,
    at: SocketAddr,
    /// Held open: a server that writes a line must have somewhere to write it.
    _stdout: Option<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts it on these cores (`0,2-5`) and waits until it answers. `memory_max` bounds it in bytes, with
    /// allkeys-lru; `dht` is the program of that kind.
    pub(crate) fn start(
        kind: Kind,
        dht: &Path,
        cores: &str,
        memory_max: Option<u64>,
    ) -> Result<Self, String> {
        let mut command = pinned(cores);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        match kind {
            Kind::Dht | Kind::DhtSpinning => Self::start_dht(command, kind, dht, memory_max),
            Kind::Redis => Self::start_redis(command, memory_max),
            Kind::Memcached => Self::start_memcached(command),
            Kind::BareUring | Kind::BareUringSpinning | Kind::BareEpoll => {
                Self::start_bare(command, kind, dht, cores)
            }
        }
    }

    /// Starts the hash table or redis-server so that it keeps what it is told in that folder.
    pub(super) fn start_kept(
        kind: Kind,
        dht: &Path,
        cores: &str,
        kept: Kept,
        folder: &Path,
    ) -> Result<Self, String> {
        let mut command = pinned(cores);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if kind != Kind::Redis {
            command.arg(dht).args(["serve", "--log-level", "warn", "--durability", kept.name()]);
            if kept != Kept::Memory {
                command.arg("--data").arg(folder);
            }
            return Self::listen_dht(command, kind, dht);
        }
        require("redis-server", "redis-server")?;
        let at = free_port()?;
        command.args(["redis-server", "--bind", "127.0.0.1", "--port", &at.port().to_string(), "--save", ""]);
        command.args(["--loglevel", "warning", "--maxclients", CLIENTS_MAX, "--dir"]).arg(folder);
        command.args(match kept {
            Kept::Memory => ["--appendonly", "no", "--appendfsync", "no"],
            Kept::Batch => ["--appendonly", "yes", "--appendfsync", "everysec"],
            Kept::Sync => ["--appendonly", "yes", "--appendfsync", "always"],
        });
        command.stdout(Stdio::null());
        Self::spawn(command, Kind::Redis, at)?.await_answer()
    }

    fn start_dht(
        mut command: Command,
        kind: Kind,
        dht: &Path,
        memory_max: Option<u64>,
    ) -> Result<Self, String> {
        command.arg(dht).args(["serve", "--log-level", "warn"]);
        if kind == Kind::DhtSpinning {
            command.args(["--spin-us", SPIN_US]);
        }
        if let Some(bytes) = memory_max {
            command.args(["--max-memory", &bytes.to_string(), "--max-memory-policy", "allkeys-lru"]);
        }
        Self::listen_dht(command, kind, dht)
    }

    fn listen_dht(mut command: Command, kind: Kind, dht: &Path) -> Result<Self, String> {
        command.args(["--port", "0", "--frame-port", "0", "--core-port", "0", "--max-clients", CLIENTS_MAX]);
        let mut server = Self::spawn(command, kind, ([127, 0, 0, 1], 0).into())?;
        let mut stdout = server.child.stdout.take().map(BufReader::new);
        let mut line = String::new();
        if let Some(stdout) = &mut stdout {
            stdout.read_line(&mut line).map_err(|error| format!("dht: {error}"))?;
        }
        server._stdout = stdout;
        let wrong = || format!("{} does not start; what it said stands above", dht.display());
        server.at = resp_address(&line).ok_or_else(wrong)?;
        server.await_answer()
    }

    fn start_redis(mut command: Command, memory_max: Option<u64>) -> Result<Self, String> {
        require("redis-server", "redis-server")?;
        let at = free_port()?;
        command.args(["redis-server", "--bind", "127.0.0.1", "--port", &at.port().to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--loglevel", "warning"]);
        command.args(["--maxclients", CLIENTS_MAX, "--tcp-backlog", BACKLOG]);
        if let Some(bytes) = memory_max {
            command.args(["--maxmemory", &bytes.to_string(), "--maxmemory-policy", "allkeys-lru"]);
        }
        command.stdout(Stdio::null());
        Self::spawn(command, Kind::Redis, at)?.await_answer()
    }

    /// One worker thread, as the others have one core; memcached's own housekeeping runs beside it on that core.
    fn start_memcached(mut command: Command) -> Result<Self, String> {
        require("memcached", "memcached")?;
        let at = free_port()?;
        command.args([
            "memcached",
            "--listen",
            "127.0.0.1",
            "--port",
            &at.port().to_string(),
            "--threads",
            "1",
        ]);
        command.args(["--conn-limit", CLIENTS_MAX, "--listen-backlog", BACKLOG]);
        command.args(["--memory-limit", MEMCACHED_MEGABYTES, "--udp-port", "0", "--user", "root"]);
        command.stdout(Stdio::null());
        Self::spawn(command, Kind::Memcached, at)?.await_answer()
    }

    /// Pins itself, and takes its port from anybody: so a free one is found before.
    fn start_bare(mut command: Command, kind: Kind, program: &Path, cores: &str) -> Result<Self, String> {
        let at = free_port()?;
        command.arg(program).args(["--port", &at.port().to_string(), "--core", cores]);
        if kind == Kind::BareUringSpinning {
            command.arg("--spin");
        }
        command.stdout(Stdio::null());
        Self::spawn(command, kind, at)?.await_answer()
    }

    fn spawn(mut command: Command, kind: Kind, at: SocketAddr) -> Result<Self, String> {
        require("taskset", "util-linux")?;
        require("setpriv", "util-linux")?;
        let child = command.spawn().map_err(|error| format!("{kind}: {error}"))?;
        Ok(Self { kind, child, at, _stdout: None })
    }

    fn await_answer(mut self) -> Result<Self, String> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if self.greeted() {
                return Ok(self);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended at once with {status}", self.kind));
            }
            if Instant::now() > until {
                return Err(format!("{} does not answer within {READY_WITHIN:?}", self.kind));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it answers what its protocol has for that.
    fn greeted(&self) -> bool {
        match self.kind {
            Kind::Memcached => self.greeted_as_memcached().is_ok_and(|answer| answer == *b"VERSION"),
            Kind::Dht
            | Kind::DhtSpinning
            | Kind::Redis
            | Kind::BareUring
            | Kind::BareUringSpinning
            | Kind::BareEpoll => {
                let answer = self.client().and_then(|mut client| client.ask(&[b"PING"]));
                answer == Ok(Reply::Simple("PONG".to_owned()))
            }
        }
    }

    fn greeted_as_memcached(&self) -> std::io::Result<[u8; 7]> {
        let mut stream = TcpStream::connect(self.at)?;
        stream.set_read_timeout(Some(GREETING_MAX))?;
        stream.write_all(b"version\r\n")?;
        let mut answer = [0; 7];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where it serves.
    pub(crate) const fn at(&self) -> SocketAddr {
        self.at
    }

    /// One more connection to it.
    pub(super) fn client(&self) -> Result<Client, String> {
        Client::connect(self.at)
    }

    /// What it holds of the machine's memory, in bytes.
    pub(super) fn resident(&self) -> Result<u64, String> {
        let status = self.told("status")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kilobytes.map(|kilobytes| kilobytes << 10).ok_or_else(|| format!("{} is gone", self.kind))
    }

    /// The same once it no longer changes, for what a server still does when all is answered.
    pub(super) fn resident_settled(&self) -> Result<u64, String> {
        let (mut before, mut steps) = (self.resident()?, 0);
        for _ in 0..SETTLE_STEPS_MAX {
            std::thread::sleep(SETTLE_STEP);
            let now = self.resident()?;
            steps = if now.abs_diff(before) <= SETTLE_BYTES { steps + 1 } else { 0 };
            before = now;
            if steps == SETTLE_STEPS {
                break;
            }
        }
        Ok(before)
    }

    /// Processor time that it took since it started, its own and the kernel's for it, in seconds.
    pub(super) fn processor_seconds(&self) -> Result<f64, String> {
        processor_seconds(self.child.id()).ok_or_else(|| format!("{} is gone", self.kind))
    }

    fn told(&self, what: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{what}", self.child.id());
        fs::read_to_string(path).map_err(|_| format!("{} is gone", self.kind))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time that a process took since it started, in seconds; nothing when it is gone.
pub(super) fn processor_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(ticks(&stat)? as f64 / TICKS_A_SECOND)
}

/// The cores that this process may run on.
pub(super) fn allowed_cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let listed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse::<usize>().ok()?)
    };
    let cores: Vec<usize> = listed.unwrap_or("0").split(',').filter_map(range).flatten().collect();
    if cores.is_empty() { vec![0] } else { cores }
}

/// Puts the load on the last core and leaves the first to a server: its name for [`Server::start`], and a sentence.
pub(crate) fn part_cores() -> Result<(String, String), String> {
    require("taskset", "util-linux")?;
    let cores = allowed_cores();
    let (first, last) = (cores[0], cores[cores.len() - 1]);
    let pid = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-a", "-c", "-p", &last.to_string(), &pid]).output();
    if !pinned.is_ok_and(|output| output.status.success()) {
        return Err(format!("taskset cannot put the load on core {last}"));
    }
    let how = if first == last {
        format!("Server and load share core {first}, the only one here")
    } else {
        format!("Server on core {first}, load on core {last}")
    };
    Ok((first.to_string(), how))
}

/// The core that [`part_cores`] puts the load on.
pub(crate) fn last_core() -> String {
    allowed_cores().last().map_or_else(|| "0".to_owned(), usize::to_string)
}

/// The start of a command that runs on these cores and ends with us, however we end.
pub(crate) fn pinned(cores: &str) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cores, "setpriv", "--pdeathsig", "KILL"]);
    command
}

/// Nobody listens there now. It comes from the kernel's own range, which it gives to nobody twice in short order.
pub(super) fn free_port() -> Result<SocketAddr, String> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    free.map_err(|error| format!("no free port: {error}"))
}

/// A sentence when a program is not here.
pub(crate) fn require(program: &str, package: &str) -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|folder| folder.join(program).is_file()) {
        return Ok(());
    }
    Err(format!("Missing here: {program}. Install the Debian package {package}, then run this again."))
}

/// Where RESP is, out of the READY line.
fn resp_address(line: &str) -> Option<SocketAddr> {
    let rest = line.strip_prefix("READY ")?;
    rest.split_whitespace().find_map(|word| word.strip_prefix("resp="))?.parse().ok()
}

/// User and system time out of /proc/PID/stat (proc(5), fields 14 and 15). A name may hold spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_tells_where() {
        let line = "READY dht resp=127.0.0.1:35377 cores=127.0.0.1:38847 frame=127.0.0.1:1 pid=9\n";
        assert_eq!(resp_address(line), Some(([127, 0, 0, 1], 35_377).into()));
        assert_eq!(resp_address("port in use\n"), None);
        assert_eq!(resp_address(""), None);
    }

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "9 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("9 (a) S 1"), None);
    }
}
