//! Lanes: how the cores of a process speak. What a core says to another in a turn gathers in one batch, which
//! crosses by moving through the other's flume channel; the other core polls that channel in its turn. A core
//! that is about to sleep raises its `parked` flag and looks once more; whoever then sends writes its eventfd.
//!
//! The one hard thing is that `tell` cannot fail and yet memory is bounded: the bytes that wait for each core are
//! counted, and while any count is over `lane_high` this core takes nothing more from sockets.

use flume::{Receiver, Sender};
use machine::{Blob, CoreId, Instant, Peer};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use wire::peer::{Batch, Message};

use crate::clock;
use crate::control::Control;

/// What crosses to another core in one piece.
pub(crate) struct Parcel {
    pub(crate) from: Peer,
    pub(crate) batch: Batch,
    /// Those of the messages that carry one, in order.
    pub(crate) blobs: Vec<Blob>,
    /// What was counted as waiting for it.
    weight: usize,
    /// When it left.
    pub(crate) posted: Instant,
}

/// A core as the others see it. The flags lie on cache lines of their own.
#[repr(align(128))]
pub(crate) struct Mailbox {
    parked: AtomicBool,
    /// Bytes on their way to this core.
    waiting: AtomicUsize,
    /// Connections it holds, for spreading accepted ones.
    pub(crate) connections: AtomicUsize,
    wake: OwnedFd,
}

impl Mailbox {
    pub(crate) fn new() -> std::io::Result<Self> {
        // SAFETY: a new descriptor, checked, owned from here on.
        let wake = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
            if fd < 0 {
                return Err(std::io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self {
            parked: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            wake,
        })
    }

    pub(crate) fn wake_fd(&self) -> RawFd {
        self.wake.as_raw_fd()
    }

    /// Wakes the core if it sleeps. Whatever it is to see must have been sent before.
    pub(crate) fn wake(&self) -> bool {
        // Pairs with the fence in `park`: either we see the flag, or it sees what we sent.
        fence(Ordering::SeqCst);
        if !self.parked.load(Ordering::Relaxed) || !self.parked.swap(false, Ordering::Relaxed) {
            return false;
        }
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes of our own to a descriptor of our own. It cannot be full: it is read each time.
        unsafe { libc::write(self.wake_fd(), one.as_ptr().cast(), one.len()) };
        true
    }

    /// Says that this core is about to sleep. It must look at its channels once more before it does.
    pub(crate) fn park(&self) {
        self.parked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn unpark(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }
}

/// The ends of one core's channels.
pub(crate) struct Seats {
    pub(crate) mailboxes: Arc<Vec<Mailbox>>,
    pub(crate) parcels: Vec<Sender<Parcel>>,
    pub(crate) controls: Vec<Sender<Control>>,
}

impl Seats {
    /// To a core from outside of all cores.
    pub(crate) fn control(&self, core: CoreId, control: Control) {
        // A core that is gone needs no orders.
        let _ = self.controls[core.index()].send(control);
        self.mailboxes[core.index()].wake();
    }
}

/// One core's side of all lanes.
pub(crate) struct Lanes {
    core: CoreId,
    seats: Arc<Seats>,
    arriving: Receiver<Parcel>,
    /// What this turn says to each core.
    leaving: Vec<Leaving>,
    /// Cores with something in `leaving`.
    touched: Vec<CoreId>,
    high: usize,
    low: usize,
    /// Over the high mark for some core, and not under the low one since.
    full: bool,
    pub(crate) messages: u64,
    pub(crate) wakes: u64,
}

#[derive(Default)]
struct Leaving {
    batch: Batch,
    blobs: Vec<Blob>,
    blob_bytes: usize,
}

impl Leaving {
    fn weight(&self) -> usize {
        self.batch.len() + self.blob_bytes
    }
}

impl Lanes {
    pub(crate) fn new(
        core: CoreId,
        seats: Arc<Seats>,
        arriving: Receiver<Parcel>,
        high: usize,
        low: usize,
    ) -> Self {
        let leaving = seats.parcels.iter().map(|_| Leaving::default()).collect();
        Self {
            core,
            seats,
            arriving,
            leaving,
            touched: Vec::new(),
            high,
            low,
            full: false,
            messages: 0,
            wakes: 0,
        }
    }

    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.seats.mailboxes[self.core.index()]
    }

    pub(crate) fn seats(&self) -> &Arc<Seats> {
        &self.seats
    }

    pub(crate) fn tell(&mut self, to: CoreId, said: &impl Message, blob: Option<Blob>) {
        let leaving = &mut self.leaving[to.index()];
        if leaving.batch.is_empty() {
            self.touched.push(to);
        }
        said.write(&mut leaving.batch, blob.is_some());
        if let Some(blob) = blob {
            leaving.blob_bytes += blob.len();
            leaving.blobs.push(blob);
        }
        self.messages += 1;
    }

    pub(crate) fn room(&self, to: CoreId) -> usize {
        let waiting = self.seats.mailboxes[to.index()].waiting.load(Ordering::Relaxed);
        self.high.saturating_sub(waiting + self.leaving[to.index()].weight())
    }

    /// Sends what this turn said, one parcel a core.
    pub(crate) fn flush(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let posted = clock::instant();
        for to in std::mem::take(&mut self.touched) {
            let leaving = std::mem::take(&mut self.leaving[to.index()]);
            let weight = leaving.weight();
            let from = Peer::Core(self.core);
            self.post(to, Parcel { from, batch: leaving.batch, blobs: leaving.blobs, weight, posted });
        }
    }

    /// Sends what a core of another node said to one of ours, at once.
    pub(crate) fn relay(&mut self, from: Peer, to: CoreId, batch: Batch, blobs: Vec<Blob>) {
        let weight = batch.len() + blobs.iter().map(|blob| blob.len()).sum::<usize>();
        self.post(to, Parcel { from, batch, blobs, weight, posted: clock::instant() });
    }

    fn post(&mut self, to: CoreId, parcel: Parcel) {
        let mailbox = &self.seats.mailboxes[to.index()];
        mailbox.waiting.fetch_add(parcel.weight, Ordering::Relaxed);
        // The channel is unbounded by design (see above) and only closes when its core has ended.
        let _ = self.seats.parcels[to.index()].send(parcel);
        if to != self.core {
            self.wakes += u64::from(mailbox.wake());
        }
    }

    /// The next parcel for this core.
    pub(crate) fn take(&mut self) -> Option<Parcel> {
        self.arriving.try_recv().ok()
    }

    /// A parcel was read to its end.
    pub(crate) fn taken(&mut self, parcel: &Parcel) {
        self.mailbox().waiting.fetch_sub(parcel.weight, Ordering::Relaxed);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.arriving.is_empty()
    }

    /// Whether too much waits for some core to take more from sockets.
    pub(crate) fn is_full(&mut self) -> bool {
        let mark = if self.full { self.low } else { self.high };
        self.full = self.seats.mailboxes.iter().any(|mailbox| mailbox.waiting.load(Ordering::Relaxed) > mark);
        self.full
    }
}
