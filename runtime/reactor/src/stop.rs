//! Starting and stopping as the main thread sees it: it waits for signals and for what cores report, shows gauges
//! when asked to, and carries orders: to reload, to hand over, to drain. The first signal to end drains, the second
//! ends at once.

use crate::boot::{Reread, Watch};
use crate::control::{Control, Report};
use crate::gather::gather;
use crate::handover::Inheritance;
use crate::heir::{Heir, Progress};
use crate::keeper::Keeper;
use crate::lane::Seats;
use crate::listen::Doors;
use crate::{Fatal, clock};
use flume::{Receiver, Sender};
use machine::CoreId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long cores may take over the drain's deadline before they are told to stop all the same.
const GRACE: Duration = Duration::from_millis(200);

/// SIGTERM and SIGINT, and for programs that know what to do then SIGHUP and SIGUSR2: taken from every thread and read
/// on one, which the first plan of a process starts and all later ones share. With one for each, a signal would go to
/// any of them, also to one whose plan is over.
pub(crate) struct Signals {
    arrived: Receiver<i32>,
}

static ARRIVED: Mutex<Option<Receiver<i32>>> = Mutex::new(None);
static WAS_TOLD_TO_END: AtomicBool = AtomicBool::new(false);

/// Whether SIGTERM or SIGINT came since the first plan of this process was run: who runs several ends with the one at
/// hand.
#[must_use]
pub fn was_told_to_end() -> bool {
    WAS_TOLD_TO_END.load(Ordering::Relaxed)
}

impl Signals {
    /// Blocks them for this thread and all it starts, and ignores SIGPIPE. Which they are is the first plan's choice.
    pub(crate) fn take(rereads: bool, hands_over: bool) -> Result<Self, Fatal> {
        let mut shared = ARRIVED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(arrived) = &*shared {
            return Ok(Self { arrived: arrived.clone() });
        }
        // SAFETY: sets are initialised before use; masks and dispositions are the process's own.
        let set = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            if rereads {
                libc::sigaddset(&raw mut set, libc::SIGHUP);
            }
            if hands_over {
                libc::sigaddset(&raw mut set, libc::SIGUSR2);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            set
        };
        let (tell, arrived) = flume::unbounded();
        let wait = move || {
            let mut signal = 0;
            // SAFETY: waits for the set above; the number lands in a word of ours.
            while unsafe { libc::sigwait(&raw const set, &raw mut signal) } == 0 {
                WAS_TOLD_TO_END.fetch_or(matches!(signal, libc::SIGTERM | libc::SIGINT), Ordering::Relaxed);
                if tell.send(signal).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("signals".into()).spawn(wait);
        thread.map_err(|error| Fatal { status: 3, sentence: format!("no thread for signals: {error}") })?;
        *shared = Some(arrived.clone());
        Ok(Self { arrived })
    }
}

/// Calls `begin` when signals are heeded, and returns when SIGTERM or SIGINT has come: for a program that serves without
/// cores of its own. Threads that `begin` starts are ended by neither.
///
/// # Errors
/// A sentence, when there is no thread for signals.
pub fn until_told_to_end(begin: impl FnOnce()) -> Result<(), Fatal> {
    let signals = Signals::take(false, false)?;
    begin();
    let _ = signals.arrived.recv();
    Ok(())
}

/// What SIGTERM does, from a thread of this program: every core is ordered to drain, and a second time ends at once.
pub fn terminate() {
    // SAFETY: plain numbers; the signal is this process's own, blocked everywhere and waited for since it runs.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
}

/// What the main thread waits for.
enum Event {
    Signal(i32),
    Report(Report),
    Heir(Progress),
    Nothing,
    AllGone,
}

/// What the main thread has to do its work with.
pub(crate) struct Affairs<'a, C> {
    pub(crate) seats: &'a Seats,
    pub(crate) cores: usize,
    pub(crate) drain: Duration,
    pub(crate) doors: &'a Doors,
    pub(crate) keeper: Option<&'a Keeper>,
    /// A core each.
    pub(crate) configs: Vec<Sender<C>>,
    pub(crate) reread: Option<Reread<C>>,
    pub(crate) warn: fn(&str),
}

/// Where handing over to another process is.
#[derive(Default)]
struct Handing {
    heir: Option<Heir>,
    /// What cores have bequeathed so far.
    legacies: Vec<(CoreId, Vec<u8>)>,
    /// Cores were ordered to hand over.
    was_ordered: bool,
    /// The other process serves.
    is_done: bool,
}

impl<C: Clone> Affairs<'_, C> {
    /// Attends to a running system until every core is drained. True when another process has taken over.
    pub(crate) fn attend(
        mut self,
        reported: &Receiver<Report>,
        signals: &Signals,
        (on_ready, mut inheritance): (Box<dyn FnOnce() + Send>, Option<Inheritance>),
        mut watch: Option<(Duration, Watch)>,
    ) -> Result<bool, Fatal> {
        let mut on_ready = Some(on_ready);
        let (mut started, mut deaf, mut drained) = (0, 0, 0);
        let mut ends_at: Option<Instant> = None;
        let mut failed = Ok(());
        let mut handing = Handing::default();
        let mut watch_at = watch.as_ref().map(|(period, _)| Instant::now() + *period);
        while drained < self.cores {
            let until = [watch_at, ends_at].into_iter().flatten().min();
            match next_event(signals, reported, &handing, until) {
                Event::Signal(libc::SIGHUP) => self.reload(),
                Event::Signal(libc::SIGUSR2) if ends_at.is_some() || on_ready.is_some() => {
                    (self.warn)("no process takes over while this one starts or ends");
                }
                Event::Signal(libc::SIGUSR2) => self.hand_over(&mut handing),
                Event::Signal(_) if ends_at.is_some() => std::process::exit(0),
                Event::Signal(_) => ends_at = Some(self.deafen()),
                Event::Report(Report::Started) => {
                    started += 1;
                    if started == self.cores
                        && let Some(ready) = on_ready.take()
                    {
                        ready();
                        if let Some(inheritance) = inheritance.take() {
                            inheritance.serves();
                        }
                    }
                }
                Event::Report(Report::Deaf) => {
                    deaf += 1;
                    if deaf == self.cores {
                        self.order_drain(ends_at);
                    }
                }
                Event::Report(Report::Drained) => drained += 1,
                Event::Report(Report::Reread) => self.reload(),
                Event::Report(Report::Bequeathed(core, legacy)) => {
                    handing.legacies.push((core, legacy));
                    if handing.legacies.len() == self.cores
                        && let Some(heir) = &handing.heir
                    {
                        heir.tell(std::mem::take(&mut handing.legacies));
                    }
                }
                Event::Report(Report::Failed(fatal)) => {
                    failed = Err(fatal);
                    break;
                }
                // The thread says why, when it is waited for.
                Event::Report(Report::Gone) => break,
                Event::Heir(Progress::Ready) => {
                    handing.legacies.clear();
                    handing.was_ordered = true;
                    self.order(|| Control::HandOver);
                }
                Event::Heir(Progress::Serves) => {
                    handing.is_done = true;
                    if ends_at.is_none() {
                        ends_at = Some(self.deafen());
                    }
                }
                Event::Heir(Progress::Failed(why)) => {
                    (self.warn)(&format!("{why}; this one serves on"));
                    if std::mem::take(&mut handing).was_ordered {
                        self.order(|| Control::TakeBack);
                    }
                }
                Event::AllGone => break,
                Event::Nothing => {}
            }
            let now = Instant::now();
            if ends_at.is_some_and(|at| at <= now) {
                break;
            }
            if let (Some(at), Some((period, show))) = (&mut watch_at, &mut watch)
                && *at <= now
            {
                show(&gather(self.seats));
                // Kept to its grid; a period that was missed is not made up for.
                while *at <= now {
                    *at += *period;
                }
            }
        }
        self.order(|| Control::Stop);
        if let Some(heir) = handing.heir.take().filter(|_| !handing.is_done) {
            heir.abandon();
        }
        failed.map(|()| handing.is_done)
    }

    fn order(&self, control: impl Fn() -> Control) {
        (0..self.cores).for_each(|core| self.seats.control(CoreId(core as u16), control()));
    }

    /// The beginning of the end: cores accept nothing more. Only when none does they are told to drain, or one that
    /// has nothing left to do would be gone when another passes on what it had just accepted.
    fn deafen(&self) -> Instant {
        self.order(|| Control::Deafen);
        Instant::now() + self.drain + GRACE
    }

    fn order_drain(&self, ends_at: Option<Instant>) {
        let left = ends_at.map_or(self.drain, |at| at.saturating_duration_since(Instant::now() + GRACE));
        let by = clock::instant() + left;
        self.order(|| Control::Drain(by));
    }

    fn reload(&mut self) {
        let Some(reread) = &mut self.reread else { return };
        match reread() {
            Ok(config) => {
                for to in &self.configs {
                    // A core that is gone needs no configuration.
                    let _ = to.send(config.clone());
                }
                self.order(|| Control::Reload);
            }
            Err(fatal) => {
                (self.warn)(&format!("nothing was reloaded: {}", fatal.sentence));
                let why: Arc<str> = fatal.sentence.into();
                self.order(|| Control::Unread(why.clone()));
            }
        }
    }

    fn hand_over(&self, handing: &mut Handing) {
        if handing.heir.is_some() {
            return (self.warn)("another process is taking over already");
        }
        match Heir::start(self.doors, self.keeper) {
            Ok(heir) => handing.heir = Some(heir),
            Err(fatal) => (self.warn)(&format!("{}; this one serves on", fatal.sentence)),
        }
    }
}

fn next_event(
    signals: &Signals,
    reported: &Receiver<Report>,
    handing: &Handing,
    until: Option<Instant>,
) -> Event {
    let mut selector = flume::Selector::new()
        .recv(&signals.arrived, |signal| signal.map_or(Event::Nothing, Event::Signal))
        .recv(reported, |report| report.map_or(Event::AllGone, Event::Report));
    // Its channel is closed once it has said the last.
    if let Some(heir) = handing.heir.as_ref().filter(|_| !handing.is_done) {
        selector = selector.recv(&heir.progress, |progress| progress.map_or(Event::Nothing, Event::Heir));
    }
    match until {
        Some(until) => selector.wait_deadline(until).unwrap_or(Event::Nothing),
        None => selector.wait(),
    }
}
