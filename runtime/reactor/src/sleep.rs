//! Sleep in two steps, and the loop around the turn.
//!
//! Short: the hot task blocks in its own ring, one call, 5 ms at most; the lanes' eventfd is read through that
//! ring. Long: after 5 ms of silence it awaits, through the executor, a completion's eventfd or a timer. The hard
//! thing is that glommio may park while a task is runnable (measured): so this task never yields without an event
//! outstanding that will complete, and a heartbeat bounds what a lost wake could cost.

use crate::clock;
use crate::turn::Core;
use glommio::io::PollableFd;
use glommio::timer::Timer;
use machine::Shard;
use std::future::Future;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use wire::peer::Message;

/// How long the ring alone is slept in before the executor is.
const SHORT: Duration = Duration::from_millis(5);
/// The longest sleep: what a lost wake could cost at most, at one wake-up a second for each idle core.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a busy core goes on before it lets the executor's own timers and wakes have a turn.
const GIVE_WAY: Duration = Duration::from_millis(20);

/// Runs turns until the core is told to stop.
pub(crate) async fn run<S>(core: &mut Core<S>, spin: Duration) -> std::io::Result<()>
where
    S: Shard,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    let bells = Bells::new(core.io.lanes.mailbox().wake_fd())?;
    let mut busy_at = clock::instant();
    let mut gave_way_at = busy_at;
    let mut idle_since = None;
    while !core.stopping {
        let busy = core.turn();
        let began = core.io.now.at;
        if let Some(since) = idle_since {
            core.io.counters.idle_nanos += began.nanos_since(since);
        }
        idle_since = (!busy).then_some(began);
        let now = core.io.stopwatch.at();
        if busy {
            busy_at = now;
            if now.since(gave_way_at) > GIVE_WAY {
                give_way().await;
                gave_way_at = clock::instant();
            }
        }
        if core.stopping || !core.is_quiet() || now.since(busy_at) < spin {
            core.go_on();
        } else if now.since(busy_at) < spin + SHORT {
            short(core);
        } else {
            long(core, &bells).await;
            gave_way_at = clock::instant();
        }
    }
    Ok(())
}

/// How long to sleep, bounded by what is due.
fn span<S>(core: &mut Core<S>, most: Duration) -> Duration
where
    S: Shard,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    // Held-back input is looked at again soon: what it waits for is another core, which does not ring for it.
    let most = if core.is_deferring() { Duration::from_micros(50) } else { most };
    core.next_due().map_or(most, |due| due.min(most))
}

/// Blocks in the ring.
fn short<S>(core: &mut Core<S>)
where
    S: Shard,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    let span = span(core, SHORT);
    if span.is_zero() {
        // Not without the ring: who asks for a timer that is always due must not keep sockets waiting.
        return core.go_on();
    }
    core.io.lanes.mailbox().park();
    // Looked at after the flag was raised: whoever sends later sees the flag and rings.
    if core.is_quiet() {
        core.io.counters.parks += 1;
        core.io.ring.enter(Some(span));
    }
    core.io.lanes.mailbox().unpark();
}

/// Awaits through the executor.
async fn long<S>(core: &mut Core<S>, bells: &Bells)
where
    S: Shard,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    let span = span(core, HEARTBEAT);
    core.io.lanes.mailbox().park();
    // From here each completion rings the bell, also one whose work is still deferred.
    if core.io.ring.notify(bells.raw).is_ok() {
        core.io.ring.enter(None);
        if core.is_quiet() && !span.is_zero() {
            core.io.counters.long_parks += 1;
            bells.ring_or_pass(span).await;
        }
        core.io.ring.no_longer_notify();
    }
    core.io.lanes.mailbox().unpark();
    bells.still();
}

/// Lets the executor have a turn. A timer brings this task back, not the yield.
async fn give_way() {
    Timer::new(Duration::from_micros(1)).await;
}

/// What ends a long sleep besides time.
struct Bells {
    /// Written by each completion of the core's ring.
    completions: PollableFd<OwnedFd>,
    raw: RawFd,
    /// Written by other cores. It must be heard directly: the ring hears it too, but a completion that comes from
    /// within somebody's write to an eventfd rings no eventfd at once, only after an RCU grace period (some 30 ms).
    cores: PollableFd<OwnedFd>,
}

impl Bells {
    fn new(wake: RawFd) -> std::io::Result<Self> {
        // SAFETY: two new descriptors, checked, owned from here on; the one that is copied is open.
        let (bell, wake) = unsafe {
            let bell = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            let wake = libc::fcntl(wake, libc::F_DUPFD_CLOEXEC, 0);
            if bell < 0 || wake < 0 {
                return Err(std::io::Error::last_os_error());
            }
            (OwnedFd::from_raw_fd(bell), OwnedFd::from_raw_fd(wake))
        };
        let raw = bell.as_raw_fd();
        let completions = PollableFd::new(bell).map_err(std::io::Error::other)?;
        let cores = PollableFd::new(wake).map_err(std::io::Error::other)?;
        Ok(Self { completions, raw, cores })
    }

    /// Waits for either, or for the time to pass.
    async fn ring_or_pass(&self, span: Duration) {
        let mut completed = pin!(self.completions.readable());
        let mut woken = pin!(self.cores.readable());
        let mut passed = pin!(Timer::new(span));
        std::future::poll_fn(|context| {
            let rung = completed.as_mut().poll(context).is_ready()
                || woken.as_mut().poll(context).is_ready()
                || passed.as_mut().poll(context).is_ready();
            if rung { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Reads the completions' count away; the cores' is read by the ring.
    fn still(&self) {
        let mut count = 0u64;
        // SAFETY: eight bytes into a word of ours; with nothing to read it says EAGAIN.
        unsafe { libc::read(self.raw, (&raw mut count).cast(), 8) };
    }
}
