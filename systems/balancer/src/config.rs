//! As the operator meant it: every bound and wait of the balancer, with how to choose it and what it costs.

use crate::spread::Way;
use machine::{Address, Signal};
use std::time::Duration;
use wire::http;

/// What a request is spread by.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum KeyFrom {
    /// A random number for each request: the classic.
    #[default]
    RequestId,
    /// The path without its query.
    Path,
    /// A header's value; a request without it gets a random number.
    Header(Box<str>),
    /// The client's address.
    ClientIp,
}

/// Who runs the replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Processes of ours.
    Process {
        /// Program and arguments, in which `{port}`, `{host}` and `{id}` are filled in.
        command: Vec<Box<str>>,
        /// Ports that replicas may be given: the first and the last.
        ports: (u16, u16),
    },
    /// Somebody else, at these addresses.
    Static(Vec<Address>),
    /// Containers, by the Docker Engine's API.
    Docker(Docker),
}

/// How containers are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    /// The engine's unix socket.
    pub socket: Box<str>,
    /// The image of a replica.
    pub image: Box<str>,
    /// The network of their own; made when it is not there.
    pub network: Box<str>,
    /// The port on which a replica listens in its container.
    pub port: u16,
    /// Marks what is ours, its value the network's name, so that it is found again at the next start.
    pub label: Box<str>,
    /// Which system calls a container may make, in place of the engine's own rule: a profile's text, or `unconfined`.
    /// Engines from 25 on forbid io_uring by theirs.
    pub seccomp: Option<Box<str>>,
}

/// Which headers say whom a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Telling {
    /// `X-Forwarded-For`, `-Proto` and `-Host`.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
    /// `Via` (RFC 9110 section 7.6.3), both ways.
    pub via: bool,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// From the first byte of a head to its last; a slower one is 408.
    pub head: Duration,
    /// Between two pieces of a request's body.
    pub body: Duration,
    /// Until a replica's connection is there.
    pub connect: Duration,
    /// From the request's last byte to the response's first, and between two pieces of the response.
    pub response: Duration,
    /// Between requests on a connection, of a client or to a replica.
    pub idle: Duration,
    /// In the queue, when all replicas have as many requests as they may.
    pub queue: Duration,
    /// From the start of a replica to its first heartbeat.
    pub start: Duration,
    /// From the stop signal to SIGKILL.
    pub stop: Duration,
    /// What is in flight to a replica that is removed.
    pub drain: Duration,
    /// How long a newcomer takes less than its share.
    pub slow_start: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            head: seconds(10),
            body: seconds(60),
            connect: seconds(2),
            response: seconds(60),
            idle: seconds(60),
            queue: seconds(30),
            start: seconds(10),
            stop: seconds(5),
            drain: seconds(30),
            slow_start: seconds(1),
        }
    }
}

/// How replicas are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watching {
    /// Between two heartbeats, and how long one may take.
    pub interval: Duration,
    /// So many missed in a row, and it is dead.
    pub max_fail: u32,
    /// So many failed connections in a row on one core, and it is out for a while. 0: never.
    pub eject_after: u32,
    /// So many responses of 500 and more in a row on one core, and it is out for a while. 0: never.
    pub eject_after_5xx: u32,
    /// For how long at first; the nth time n times as long.
    pub eject_for: Duration,
}

impl Default for Watching {
    fn default() -> Self {
        let interval = Duration::from_secs(1);
        let eject_for = Duration::from_secs(10);
        Self { interval, max_fail: 2, eject_after: 5, eject_after_5xx: 0, eject_for }
    }
}

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients connect.
    pub traffic: Address,
    /// Where operators connect.
    pub admin: Address,
    /// Whether `/rep`, `/add` and `/rm` are ours on the traffic port.
    pub classic: bool,
    /// Who may add and remove from elsewhere than this machine.
    pub tokens: Vec<Box<str>>,
    /// What a request is spread by.
    pub key: KeyFrom,
    /// How.
    pub way: Way,
    /// How much more than the mean a replica may bear, in thousandths; 0: no bound.
    pub load_factor: u32,
    /// How many replicas there are at first.
    pub replicas: usize,
    /// Requests in flight to one replica, over all cores. At least the number of cores.
    pub replica_max: u32,
    /// Replicas that start or stop at once.
    pub start_batch: usize,
    /// Who runs them.
    pub driver: Driver,
    /// What stops a process.
    pub stop_signal: Signal,
    /// How they are watched.
    pub watching: Watching,
    /// How long things may take.
    pub waits: Waits,
    /// What replicas are told of clients.
    pub telling: Telling,
    /// Bounds of heads and bodies.
    pub limits: http::Limits,
    /// What was changed in the configuration and cannot change while the program runs: a sentence each.
    pub held_back: Vec<Box<str>>,
}

impl Config {
    /// Defaults, with everything that must be said.
    #[must_use]
    pub fn new(traffic: Address, admin: Address, driver: Driver) -> Self {
        Self {
            traffic,
            admin,
            classic: true,
            tokens: Vec::new(),
            key: KeyFrom::default(),
            way: Way::default(),
            load_factor: 1250,
            replicas: 3,
            replica_max: 256,
            start_batch: 10,
            driver,
            stop_signal: Signal::Interrupt,
            watching: Watching::default(),
            waits: Waits::default(),
            telling: Telling { x_forwarded: true, forwarded: false, via: true },
            limits: http::Limits::default(),
            held_back: Vec::new(),
        }
    }
}
