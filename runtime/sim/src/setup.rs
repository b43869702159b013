//! What a world is made of, before its seed: how many nodes and cores, their bounds, what may go wrong, and what
//! the world lies about. Chances are per thousand occasions; 0 turns one off and costs no draw of another
//! stream, so runs stay comparable.

use core::time::Duration;

/// A world to be made.
#[derive(Clone, Debug)]
pub struct Setup<C> {
    /// How many nodes: at least 1. With more than one, every two are linked.
    pub nodes: u16,
    /// How many cores each node has: at least 1.
    pub cores: u16,
    /// What every shard is configured with.
    pub config: C,
    /// The bounds of each core, as the reactor has them.
    pub limits: Limits,
    /// What may go wrong.
    pub faults: Faults,
    /// What the world gets wrong on purpose.
    pub lies: Lies,
    /// How much virtual time `run_until` gives a condition before it fails the test.
    pub patience: Duration,
    /// At a start every core is told the logs of all cores of its node, its own last.
    pub all_logs: bool,
}

impl<C> Setup<C> {
    /// One node of one core, in a calm world that tells the truth.
    #[must_use]
    pub fn new(config: C) -> Self {
        Self {
            nodes: 1,
            cores: 1,
            config,
            limits: Limits::default(),
            faults: Faults::none(),
            lies: Lies::none(),
            patience: Duration::from_secs(60),
            all_logs: false,
        }
    }

    /// With so many nodes.
    #[must_use]
    pub fn nodes(self, nodes: u16) -> Self {
        Self { nodes, ..self }
    }

    /// With so many cores on each node.
    #[must_use]
    pub fn cores(self, cores: u16) -> Self {
        Self { cores, ..self }
    }

    /// With all logs of a node told to each of its cores.
    #[must_use]
    pub fn all_logs(self) -> Self {
        Self { all_logs: true, ..self }
    }

    /// With these faults.
    #[must_use]
    pub fn faults(self, faults: Faults) -> Self {
        Self { faults, ..self }
    }

    /// With these lies.
    #[must_use]
    pub fn lies(self, lies: Lies) -> Self {
        Self { lies, ..self }
    }
}

/// The bounds of each core; the defaults are the reactor's.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that may wait to be sent on a connection before it ends, overfull.
    pub output_max: usize,
    /// From so many waiting bytes on, a connection has no room.
    pub output_high: usize,
    /// Under so many, it has again.
    pub output_low: usize,
    /// Bytes that may arrive and stay unused on a connection before it ends, overfull. A large value that a shard
    /// waits for does not count.
    pub input_max: usize,
    /// Connections a core takes; more are reset.
    pub connections_max: usize,
    /// From so many bytes waiting for any core on, nothing more is taken from sockets.
    pub lane_high: usize,
    /// Under so many, it is again.
    pub lane_low: usize,
    /// Bytes that may wait for another node before its link is cut.
    pub link_max: usize,
    /// Bytes of a node's disk.
    pub disk_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output_max: 64 << 20,
            output_high: 256 << 10,
            output_low: 64 << 10,
            input_max: 64 << 20,
            connections_max: 65_536,
            lane_high: 4 << 20,
            lane_low: 1 << 20,
            link_max: 64 << 20,
            disk_max: 64 << 30,
        }
    }
}

/// What may go wrong, each with its chance per thousand occasions, and how long it may take.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The shortest and the longest way of a packet between hosts.
    pub delay: (Duration, Duration),
    /// A packet holds but a few bytes of what was sent together (per packet).
    pub cut: u64,
    /// A packet, and all behind it, comes late (per packet), by at most `stall_max`.
    pub stall: u64,
    /// How late.
    pub stall_max: Duration,
    /// A connection is reset (per packet).
    pub reset: u64,
    /// A dial is refused, or there is no way there (per dial).
    pub refuse: u64,
    /// A dial is lost and times out (per dial).
    pub lose_dial: u64,
    /// Bytes that had arrived still come after a pause (per pause).
    pub slack: u64,
    /// Input that was waited for comes in a buffer of its own even when it is small (per occasion).
    pub hold: u64,
    /// A core is kept from running after a turn (per turn), by at most `slow_turn_max`.
    pub slow_turn: u64,
    /// How long.
    pub slow_turn_max: Duration,
    /// An event is said to have taken long (per event), at most `slow_event_max`. Nothing is late by it.
    pub slow_event: u64,
    /// How long.
    pub slow_event_max: Duration,
    /// A lane's batch comes late (per batch), by at most `slow_lane_max`.
    pub slow_lane: u64,
    /// How late.
    pub slow_lane_max: Duration,
    /// A commit takes long (per commit), at most `slow_disk_max`.
    pub slow_disk: u64,
    /// How long.
    pub slow_disk_max: Duration,
    /// The disk is full (per commit), for at most `full_max`.
    pub full: u64,
    /// How long.
    pub full_max: Duration,
    /// The disk fails for good (per commit).
    pub disk_fails: u64,
    /// A child cannot be started (per spawn).
    pub child_fails: u64,
    /// The longest time between two blows to whole nodes and links; zero: none.
    pub blow_every: Duration,
    /// How long what such a blow broke stays broken, at most.
    pub heal_max: Duration,
    /// Blows cut links, one way or both.
    pub cut_links: bool,
    /// Blows cut a node's power; it is started again.
    pub cut_power: bool,
    /// Blows kill a node's process; it is started again.
    pub kill: bool,
    /// Blows move a node's wall clock, by at most an hour either way.
    pub wall_jumps: bool,
    /// Blows make a node stand still, as SIGSTOP does, for at most `heal_max`: its disk and network go on.
    pub pauses: bool,
    /// Blows make a link come and go several times.
    pub flaps: bool,
}

impl Faults {
    /// Nothing goes wrong; packets take 20 to 60 µs and arrive as they were sent.
    #[must_use]
    pub fn none() -> Self {
        Self {
            delay: (Duration::from_micros(20), Duration::from_micros(60)),
            cut: 0,
            stall: 0,
            stall_max: Duration::from_millis(200),
            reset: 0,
            refuse: 0,
            lose_dial: 0,
            slack: 0,
            hold: 0,
            slow_turn: 0,
            slow_turn_max: Duration::from_millis(20),
            slow_event: 0,
            slow_event_max: Duration::from_millis(50),
            slow_lane: 0,
            slow_lane_max: Duration::from_millis(5),
            slow_disk: 0,
            slow_disk_max: Duration::from_millis(300),
            full: 0,
            full_max: Duration::from_secs(2),
            disk_fails: 0,
            child_fails: 0,
            blow_every: Duration::ZERO,
            heal_max: Duration::from_secs(5),
            cut_links: false,
            cut_power: false,
            kill: false,
            wall_jumps: false,
            pauses: false,
            flaps: false,
        }
    }

    /// All that a shard must not even notice: bytes cut anywhere, everything late now and then, slack after a
    /// pause. Nothing is lost, nothing ends.
    #[must_use]
    pub fn rough() -> Self {
        Self {
            delay: (Duration::from_micros(10), Duration::from_millis(2)),
            cut: 200,
            stall: 10,
            slack: 500,
            hold: 500,
            slow_turn: 10,
            slow_event: 5,
            slow_lane: 100,
            slow_disk: 50,
            ..Self::none()
        }
    }

    /// [`rough`](Self::rough), and what a shard must answer: resets, failed dials, disks full, children that
    /// cannot start. Nodes live on.
    #[must_use]
    pub fn harsh() -> Self {
        Self { reset: 2, refuse: 100, lose_dial: 50, full: 20, child_fails: 100, ..Self::rough() }
    }

    /// [`harsh`](Self::harsh), and blows to nodes and links every second or so.
    #[must_use]
    pub fn disastrous() -> Self {
        Self {
            blow_every: Duration::from_secs(2),
            cut_links: true,
            cut_power: true,
            kill: true,
            wall_jumps: true,
            ..Self::harsh()
        }
    }
}

/// Known lies of the world, each to be caught by the test that relies on the opposite. Chances per thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lies {
    /// The disk says that it is safe while it is not (per commit): a power cut loses it.
    pub unsynced: u64,
    /// What a power cut tore is taken for whole, with zeros where it is missing (per core and cut).
    pub unchecked: u64,
    /// Two messages of one lane change places (per batch of two or more).
    pub swap_lane: u64,
    /// A message from core to core is lost (per message).
    pub lose_tell: u64,
    /// A byte of a stream is another one on arrival (per packet).
    pub wrong_byte: u64,
    /// A timer comes before its time (per timer).
    pub early_timer: u64,
}

impl Lies {
    /// Whether there is any.
    #[must_use]
    pub fn any(&self) -> bool {
        let Self { unsynced, unchecked, swap_lane, lose_tell, wrong_byte, early_timer } = *self;
        unsynced + unchecked + swap_lane + lose_tell + wrong_byte + early_timer > 0
    }

    /// The truth.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }
}
