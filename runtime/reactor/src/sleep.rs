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
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
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
    let bell = bell()?;
    let raw = bell.as_raw_fd();
    let bell = PollableFd::new(bell).map_err(std::io::Error::other)?;
    let mut busy_at = clock::instant();
    let mut gave_way_at = busy_at;
    while !core.stopping {
        let busy = core.turn();
        let now = clock::instant();
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
            long(core, &bell, raw).await;
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
    core.io.lanes.mailbox().park();
    // Looked at after the flag was raised: whoever sends later sees the flag and rings.
    if core.is_quiet() && !span.is_zero() {
        core.io.counters.parks += 1;
        core.io.ring.enter(Some(span));
    }
    core.io.lanes.mailbox().unpark();
}

/// Awaits through the executor.
async fn long<S>(core: &mut Core<S>, bell: &PollableFd<OwnedFd>, raw: i32)
where
    S: Shard,
    S::Said: Message<Heard = S::Heard>,
    S::Heard: rkyv::Portable,
{
    let span = span(core, HEARTBEAT);
    core.io.lanes.mailbox().park();
    // From here each completion rings the bell, also one whose work is still deferred.
    if core.io.ring.notify(raw).is_ok() {
        core.io.ring.enter(None);
        if core.is_quiet() && !span.is_zero() {
            core.io.counters.long_parks += 1;
            first_of(bell, span).await;
        }
        core.io.ring.no_longer_notify();
    }
    core.io.lanes.mailbox().unpark();
    still(raw);
}

/// Waits for the bell or for the time to pass.
async fn first_of(bell: &PollableFd<OwnedFd>, span: Duration) {
    let mut rung = pin!(bell.readable());
    let mut passed = pin!(Timer::new(span));
    std::future::poll_fn(|context| {
        if rung.as_mut().poll(context).is_ready() || passed.as_mut().poll(context).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Lets the executor have a turn. A timer brings this task back, not the yield.
async fn give_way() {
    Timer::new(Duration::from_micros(1)).await;
}

/// The eventfd that completions write while the core sleeps long.
fn bell() -> std::io::Result<OwnedFd> {
    // SAFETY: a new descriptor, checked, owned from here on.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
        if fd < 0 { Err(std::io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// Reads the bell's count away.
fn still(raw: i32) {
    let mut count = 0u64;
    // SAFETY: eight bytes into a word of ours; with nothing to read it says EAGAIN.
    unsafe { libc::read(raw, (&raw mut count).cast(), 8) };
}
