//! From a plan to running cores and back: one executor pinned on each core, the main thread listening for signals
//! and reports meanwhile, and at the end every core's shard handed back.

use crate::child::Children;
use crate::clock;
use crate::control::{Control, Presence, Report};
use crate::eras::{Eras, Replays};
use crate::gather::{Gatherer, Gatherings};
use crate::handover::Inheritance;
use crate::io::{Counters, Io};
use crate::keeper::{Keeper, KeeperSeat};
use crate::lane::{Lanes, Mailbox, Parcel, Seats};
use crate::link::{Links, Neighbours};
use crate::listen::{Doors, Listeners};
use crate::log::{Keeping, Log};
use crate::ring::{Buffers, Ring};
use crate::stall::Stopwatch;
use crate::store::Store;
use crate::turn::Core;
use crate::{Fatal, stop};
use crate::{sleep, stamp};
use flume::{Receiver, Sender};
use glommio::{LocalExecutorBuilder, Placement};
use machine::{Chance, CoreId, Deadlines, Gauges, NodeId, Seat, Shard, Slab};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wire::peer::Message;

/// Bounds of what one core holds. Each has an effect when it is reached, named here.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that may wait to be sent on a connection; over it the connection ends, `Overfull`.
    pub output_max: usize,
    /// Over it `room` is 0 and a polite shard waits for `on_room`.
    pub output_high: usize,
    /// Under it `on_room` follows.
    pub output_low: usize,
    /// Bytes that may arrive and stay unused on a connection; over it the connection ends, `Overfull`. A large
    /// value that a shard asked for by `need` does not count.
    pub input_max: usize,
    /// Bytes that may wait for a core; over it this core takes nothing more from sockets.
    pub lane_high: usize,
    /// Under it, it does again.
    pub lane_low: usize,
    /// Bytes that may wait to be sent on a link; over it the link is cut.
    pub link_max: usize,
    /// The longest messages of a link; a longer one cuts it.
    pub link: wire::link::Limits,
    /// How long a connection that was closed flushed may take to take what waits.
    pub flush: Duration,
    /// Buffers that receives pick from (a power of two) and the bytes of each. All in use, sockets wait.
    pub buffers: u16,
    /// See `buffers`.
    pub buffer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            output_max: 64 * 1024 * 1024,
            output_high: 256 * 1024,
            output_low: 64 * 1024,
            input_max: 64 * 1024 * 1024,
            lane_high: 4 * 1024 * 1024,
            lane_low: 1024 * 1024,
            link_max: 64 * 1024 * 1024,
            link: wire::link::Limits::default(),
            flush: Duration::from_secs(10),
            buffers: 1024,
            buffer_bytes: 16 * 1024,
        }
    }
}

/// What is to run, and how. [`Plan::new`] gives defaults that work on a bare machine.
pub struct Plan<C> {
    /// The system's name, as it stands in files and links.
    pub name: &'static str,
    /// The configuration, the same on every core.
    pub config: C,
    /// This node.
    pub node: NodeId,
    /// Kernel numbers of the cores to run on, one executor pinned on each; empty: every core allowed.
    pub cores: Vec<usize>,
    /// Whether each executor is pinned on its core. A program of one core that starts often does not want it: reading
    /// how the machine is made takes longer than all the rest of its start.
    pub pinned: bool,
    /// Where all chance comes from; drawn from the system by default.
    pub seed: u64,
    /// Ports reserved before start.
    pub doors: Doors,
    /// Where logs live; none: a shard that logs is told `Failed`.
    pub data: Option<PathBuf>,
    /// The version of what the system logs.
    pub log_version: u32,
    /// How logs are kept.
    pub keeping: Keeping,
    /// Which logs a core is told at the start.
    pub replays: Replays,
    /// Who starts children; forked before any thread.
    pub keeper: Option<Keeper>,
    /// What is taken over from the program before this one.
    pub inheritance: Option<Inheritance>,
    /// Whether SIGUSR2 starts another process of this program, which takes over. What a shard does not bequeath is
    /// lost then; so it is for systems that know what to say.
    pub hands_over: bool,
    /// Reads the configuration again, at SIGHUP and when a shard wants it. None: SIGHUP ends the program, as ever.
    pub reread: Option<Reread<C>>,
    /// The other nodes, for a system that runs on several.
    pub neighbours: Option<Neighbours>,
    /// Bounds.
    pub limits: Limits,
    /// Whether input on dialled connections tells when the kernel had it; it costs each receive some 100 ns.
    pub stamps: bool,
    /// How long a drain may take.
    pub drain: Duration,
    /// How long a core that has nothing to do spins before it sleeps.
    pub spin: Duration,
    /// How long an event or a step of a turn may take before it is counted as a stall, and a line tells of it.
    pub stall: Duration,
    /// Where such a line goes; standard error by default.
    pub warn: fn(&str),
    /// Called when every core has started, with what it asked for in `on_start` done.
    pub on_ready: Box<dyn FnOnce() + Send>,
    /// Asks the cores for their gauges, once they run: clone it before.
    pub gatherer: Gatherer,
    /// Called with the gauges of every core, each period, on the main thread. For what is on show all the time; it
    /// wakes every core each period.
    pub watch: Option<(Duration, Watch)>,
}

/// Over it other clients of a core have waited long enough for somebody to look.
const STALL: Duration = Duration::from_millis(10);

/// Reads the configuration again, on the main thread.
///
/// # Errors
/// A sentence that says what is wrong with it; nothing changes then.
pub type Reread<C> = Box<dyn FnMut() -> Result<C, Fatal> + Send>;

/// What is shown the gauges of every core.
pub type Watch = Box<dyn FnMut(&[Gauges]) + Send>;

impl<C> Plan<C> {
    /// A plan with defaults.
    #[must_use]
    pub fn new(name: &'static str, config: C) -> Self {
        let mut seed = [0; 8];
        // SAFETY: fills eight bytes of ours. Without entropy the seed stays 0, which is a seed like any other.
        unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), 0) };
        Self {
            name,
            config,
            node: NodeId(0),
            cores: Vec::new(),
            pinned: true,
            seed: u64::from_ne_bytes(seed),
            doors: Doors::default(),
            data: None,
            log_version: 1,
            keeping: Keeping::default(),
            replays: Replays::Own,
            keeper: None,
            inheritance: None,
            hands_over: false,
            reread: None,
            neighbours: None,
            limits: Limits::default(),
            stamps: false,
            drain: Duration::from_secs(10),
            spin: Duration::ZERO,
            stall: STALL,
            warn: |sentence| eprintln!("{sentence}"),
            on_ready: Box::new(|| {}),
            gatherer: Gatherer::default(),
            watch: None,
        }
    }
}

/// The cores this process may run on, by kernel number.
#[must_use]
pub fn allowed_cores() -> Vec<usize> {
    let mut cores: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|core| core.id).collect();
    cores.sort_unstable();
    cores
}

/// What one core's thread is given.
struct Berth<C> {
    seat: Seat,
    config: C,
    chance: Chance,
    limits: Limits,
    stamps: bool,
    pinned: bool,
    spin: Duration,
    stall: (Duration, fn(&str)),
    name: &'static str,
    log_version: u32,
    keeping: Keeping,
    eras: Option<Arc<Eras>>,
    doors: Doors,
    neighbours: Option<Neighbours>,
    keeper: Option<KeeperSeat>,
    seats: Arc<Seats>,
    parcels: Receiver<Parcel>,
    controls: Receiver<Control>,
    configs: Receiver<C>,
    legacy: Arc<Vec<(CoreId, Vec<u8>)>>,
    reports: Sender<Report>,
}

/// Runs a system on every core of the plan until all shards say that they are drained, by order or because their
/// work is done; gives the shards back, by core.
///
/// # Errors
/// What keeps it from starting or going on, as a sentence with an exit status.
///
/// # Panics
/// When a shard does: the panic is carried to the caller.
pub fn run<S>(mut plan: Plan<S::Config>) -> Result<Vec<S>, Fatal>
where
    S: Shard + Send,
    S::Config: Clone + Send,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    let cores = chosen_cores(&plan.cores)?;
    let signals = stop::Signals::take(plan.reread.is_some(), plan.hands_over)?;
    let legacy = plan.inheritance.as_mut().map(Inheritance::legacy).transpose()?;
    let legacy = Arc::new(legacy.unwrap_or_default());
    let eras = plan.data.as_deref().map(|data| Eras::open(data, cores.len() as u16, plan.replays));
    let eras = eras.transpose()?;
    let (reports, reported) = flume::unbounded();
    let (seats, ends) = open_seats(cores.len())?;
    plan.gatherer.attach(&seats);
    let mut keeper = plan.keeper;
    let mut threads = Vec::new();
    let mut configs = Vec::new();
    for (index, ((cpu, parcels), controls)) in cores.iter().zip(ends.0).zip(ends.1).enumerate() {
        let core = CoreId(index as u16);
        let (config, config_end) = flume::unbounded();
        configs.push(config);
        let berth = Berth {
            seat: Seat { node: plan.node, core, cores: cores.len() as u16 },
            config: plan.config.clone(),
            chance: Chance::new(plan.seed).within("core", index as u64),
            limits: plan.limits,
            stamps: plan.stamps,
            pinned: plan.pinned,
            spin: plan.spin,
            stall: (plan.stall, plan.warn),
            name: plan.name,
            log_version: plan.log_version,
            keeping: plan.keeping.clone(),
            eras: eras.clone(),
            doors: plan.doors.clone(),
            neighbours: plan.neighbours.clone(),
            keeper: keeper.as_mut().map(|keeper| keeper.seat(core)),
            seats: seats.clone(),
            parcels,
            controls,
            configs: config_end,
            legacy: legacy.clone(),
            reports: reports.clone(),
        };
        threads.push(start_core::<S>(*cpu, berth)?);
    }
    drop(reports);
    let affairs = stop::Affairs {
        seats: &seats,
        cores: cores.len(),
        drain: plan.drain,
        doors: &plan.doors,
        keeper: keeper.as_ref(),
        configs,
        reread: plan.reread,
        warn: plan.warn,
    };
    let outcome = affairs.attend(&reported, &signals, (plan.on_ready, plan.inheritance), plan.watch);
    let mut shards = Vec::new();
    for thread in threads {
        match thread.join() {
            Ok(shard) => shards.extend(shard),
            Err(error) => return Err(Fatal::machine(format!("a core cannot run: {error}; see doctor"))),
        }
    }
    match (keeper, &outcome) {
        // It has another program to keep children for.
        (Some(keeper), Ok(true)) => drop(keeper),
        (Some(keeper), Ok(false) | Err(_)) => keeper.wait(),
        (None, _) => {}
    }
    outcome.map(|_| shards)
}

fn chosen_cores(asked: &[usize]) -> Result<Vec<usize>, Fatal> {
    let allowed = allowed_cores();
    if asked.is_empty() {
        return Ok(allowed);
    }
    match asked.iter().find(|core| !allowed.contains(core)) {
        None => Ok(asked.to_vec()),
        Some(core) => {
            let sentence = format!("core {core} is not one this program may run on: choose from {allowed:?}");
            Err(Fatal { status: 2, sentence })
        }
    }
}

type Ends = (Vec<Receiver<Parcel>>, Vec<Receiver<Control>>);

fn open_seats(cores: usize) -> Result<(Arc<Seats>, Ends), Fatal> {
    let mailboxes: Result<Vec<_>, _> = (0..cores).map(|_| Mailbox::new()).collect();
    let mailboxes = mailboxes.map_err(|error| Fatal {
        status: 3,
        sentence: format!("no descriptor left for a core's eventfd: {error}"),
    })?;
    let (parcels, parcel_ends) = (0..cores).map(|_| flume::unbounded()).unzip();
    let (controls, control_ends) = (0..cores).map(|_| flume::unbounded()).unzip();
    let seats = Seats { mailboxes: Arc::new(mailboxes), parcels, controls };
    Ok((Arc::new(seats), (parcel_ends, control_ends)))
}

type CoreThread<S> = glommio::ExecutorJoinHandle<Option<S>>;

fn start_core<S>(cpu: usize, berth: Berth<S::Config>) -> Result<CoreThread<S>, Fatal>
where
    S: Shard + Send,
    S::Config: Send,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    // Held until all is reported, and let go of by an executor that cannot be made.
    let presence = Presence(berth.reports.clone());
    // A long preempt timer: with a short one an executor can park while a task is runnable (measured).
    let placement = if berth.pinned { Placement::Fixed(cpu) } else { Placement::Unbound };
    LocalExecutorBuilder::new(placement)
        .name(&format!("{}-{}", berth.name, berth.seat.core.0))
        .ring_depth(128)
        .io_memory(64 * 1024)
        .preempt_timer(Duration::from_secs(10))
        .spawn(move || async move {
            let _presence = presence;
            let reports = berth.reports.clone();
            match live::<S>(berth).await {
                Ok(shard) => Some(shard),
                Err(fatal) => {
                    let _ = reports.send(Report::Failed(fatal));
                    let _ = reports.send(Report::Drained);
                    None
                }
            }
        })
        .map_err(|error| Fatal { status: 3, sentence: format!("core {cpu} cannot be used: {error}") })
}

/// A core's whole life.
async fn live<S>(berth: Berth<S::Config>) -> Result<S, Fatal>
where
    S: Shard,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    let machine_lacks = |what: &str, error: std::io::Error| Fatal {
        status: 3,
        sentence: format!("{what}: {error}; see doctor"),
    };
    let mut shard = S::new(berth.seat, &berth.config, berth.chance);
    let log = open_log(&berth, &mut shard)?;
    for (core, legacy) in berth.legacy.iter() {
        shard.on_legacy(*core, legacy);
    }
    let ring = Ring::new().map_err(|error| machine_lacks("io_uring cannot be set up", error))?;
    let limits = berth.limits;
    let buffers = Buffers::new(&ring, limits.buffers, limits.buffer_bytes)
        .map_err(|error| machine_lacks("receive buffers cannot be registered", error))?;
    let (high, low) = (limits.lane_high, limits.lane_low);
    let io = Io {
        seat: berth.seat,
        limits,
        now: clock::now(),
        flushed_at: clock::instant(),
        ring,
        conns: Slab::new(),
        dirty: Vec::new(),
        sent: Vec::new(),
        happenings: std::collections::VecDeque::new(),
        starved: Vec::new(),
        timers: Deadlines::new(),
        patience: Deadlines::new(),
        lanes: Lanes::new(berth.seat.core, berth.seats, berth.parcels, high, low),
        listeners: Listeners::new(berth.doors),
        children: Children::new(berth.keeper),
        store: Store::new(log, berth.eras, berth.stall.1),
        links: Links::new(berth.name, berth.neighbours, berth.stall.1),
        gatherings: Gatherings::default(),
        spare: Vec::new(),
        counters: Counters::default(),
        stopwatch: Stopwatch::new(berth.seat.core, berth.stall.0, berth.stall.1),
        drained: false,
        bequeathed: None,
        wants_reread: false,
        is_ending: false,
        fanout: 0,
        stamps: berth.stamps.then(stamp::template),
        receipt: None,
        said: PhantomData,
    };
    let mut core = Core::new(shard, io, buffers, (berth.controls, berth.configs), berth.reports);
    core.start();
    sleep::run(&mut core, berth.spin)
        .await
        .map_err(|error| machine_lacks("an eventfd cannot be made", error))?;
    core.last_words();
    Ok(core.shard)
}

fn open_log<S: Shard>(berth: &Berth<S::Config>, shard: &mut S) -> Result<Option<Log>, Fatal> {
    let Some(eras) = &berth.eras else { return Ok(None) };
    let (name, core) = (berth.name, berth.seat.core.0);
    let (version, keeping) = (berth.log_version, &berth.keeping);
    let (log, found) = eras.log(berth.seat, name, version, keeping, &mut |kept| shard.on_replay(kept))?;
    if found.is_torn {
        eprintln!(
            "{name}: core {core} kept {} snapshot parts and {} records; what stood behind them was an unfinished \
             write, was never acknowledged, and is gone",
            found.parts, found.records
        );
    }
    if core == 0 && !log.is_direct() {
        eprintln!("{name}: the file system of the data directory writes through the page cache");
    }
    Ok(Some(log))
}
