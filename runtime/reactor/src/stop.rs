//! Starting and stopping as the main thread sees it: it waits for signals and for what cores report, shows gauges
//! when asked to, and carries the order to drain. The first signal drains, the second ends at once.

use crate::control::{Control, Report};
use crate::gather::gather;
use crate::lane::Seats;
use crate::{Fatal, boot::Watch, clock};
use flume::Receiver;
use machine::CoreId;
use std::time::{Duration, Instant};

/// How long cores may take over the drain's deadline before they are told to stop all the same.
const GRACE: Duration = Duration::from_millis(200);

/// SIGTERM and SIGINT, taken from every thread and read on one.
pub(crate) struct Signals {
    arrived: Receiver<i32>,
}

impl Signals {
    /// Blocks them for this thread and all it starts, and ignores SIGPIPE.
    pub(crate) fn take() -> Result<Self, Fatal> {
        // SAFETY: sets are initialised before use; masks and dispositions are the process's own.
        let set = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            libc::sigaddset(&raw mut set, libc::SIGTERM);
            libc::sigaddset(&raw mut set, libc::SIGINT);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            set
        };
        let (tell, arrived) = flume::unbounded();
        let wait = move || {
            let mut signal = 0;
            // SAFETY: waits for the set above; the number lands in a word of ours.
            while unsafe { libc::sigwait(&raw const set, &raw mut signal) } == 0 && tell.send(signal).is_ok()
            {
            }
        };
        let thread = std::thread::Builder::new().name("signals".into()).spawn(wait);
        thread.map_err(|error| Fatal { status: 3, sentence: format!("no thread for signals: {error}") })?;
        Ok(Self { arrived })
    }
}

/// What SIGTERM does, from a thread of this program: every core is ordered to drain, and a second time ends at once.
pub fn terminate() {
    // SAFETY: plain numbers; the signal is this process's own, blocked everywhere and waited for since it runs.
    unsafe { libc::kill(libc::getpid(), libc::SIGTERM) };
}

/// What the main thread waits for.
enum Event {
    Signal,
    Report(Report),
    Nothing,
    AllGone,
}

/// Attends to a running system until every core is drained.
pub(crate) fn attend(
    seats: &Seats,
    reported: &Receiver<Report>,
    signals: Signals,
    cores: usize,
    drain: Duration,
    on_ready: Box<dyn FnOnce() + Send>,
    mut watch: Option<(Duration, Watch)>,
) -> Result<(), Fatal> {
    let mut on_ready = Some(on_ready);
    let (mut started, mut drained) = (0, 0);
    let mut ends_at: Option<Instant> = None;
    let mut failed = Ok(());
    let mut watch_at = watch.as_ref().map(|(period, _)| Instant::now() + *period);
    while drained < cores {
        let until = [watch_at, ends_at].into_iter().flatten().min();
        match next_event(&signals, reported, until) {
            Event::Signal if ends_at.is_some() => std::process::exit(0),
            Event::Signal => {
                order_drain(seats, cores, drain);
                ends_at = Some(Instant::now() + drain + GRACE);
            }
            Event::Report(Report::Started) => {
                started += 1;
                if started == cores
                    && let Some(ready) = on_ready.take()
                {
                    ready();
                }
            }
            Event::Report(Report::Drained) => drained += 1,
            Event::Report(Report::Failed(fatal)) => {
                failed = Err(fatal);
                break;
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
            show(&gather(seats));
            // Kept to its grid; a period that was missed is not made up for.
            while *at <= now {
                *at += *period;
            }
        }
    }
    (0..cores).for_each(|core| seats.control(CoreId(core as u16), Control::Stop));
    failed
}

fn next_event(signals: &Signals, reported: &Receiver<Report>, until: Option<Instant>) -> Event {
    let selector = flume::Selector::new()
        .recv(&signals.arrived, |signal| signal.map_or(Event::Nothing, |_| Event::Signal))
        .recv(reported, |report| report.map_or(Event::AllGone, Event::Report));
    match until {
        Some(until) => selector.wait_deadline(until).unwrap_or(Event::Nothing),
        None => selector.wait(),
    }
}

fn order_drain(seats: &Seats, cores: usize, drain: Duration) {
    let by = clock::instant() + drain;
    (0..cores).for_each(|core| seats.control(CoreId(core as u16), Control::Drain(by)));
}
