//! What reaches a core from outside of all cores, and what a core reports there: orders, gathering, the answer of
//! a name look-up, an accepted descriptor that another core passes on.

use crate::gather::Asker;
use machine::{ConnId, CoreId, Gauges, Why};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// To a core.
pub(crate) enum Control {
    /// Count what can be counted and say it to whoever asks.
    Gather(Asker),
    /// What a core counted, for the gathering of that number of ours.
    Gathered(u64, CoreId, Gauges),
    /// Accept nothing more, and say when nothing that was accepted is on its way.
    Deafen,
    /// Take nothing new; finish within this many nanoseconds of the shared clock's now.
    Drain(machine::Instant),
    /// The configuration was read again: the next of this core's configurations.
    Reload,
    /// It was to be, and cannot be; why.
    Unread(Arc<str>),
    /// Another process is to take over: say what it must know.
    HandOver,
    /// It did not come to serve.
    TakeBack,
    /// Every core is finished: end.
    Stop,
    /// A name that was dialled, and from which local address.
    Resolved(ConnId, Result<SocketAddr, Why>, Option<SocketAddr>),
    /// Another core accepted this for us, at a listener we share.
    Accepted(SocketAddr, OwnedFd),
}

/// From a core.
pub(crate) enum Report {
    /// It has started, and so have all listeners it asked for.
    Started,
    /// It accepts nothing more.
    Deaf,
    /// It said that all is finished.
    Drained,
    /// What a process that takes over must know of it.
    Bequeathed(CoreId, Vec<u8>),
    /// It wants the configuration to be read again.
    Reread,
    /// It cannot go on; the sentence and the exit status.
    Failed(crate::Fatal),
    /// Its thread is over, or never had an executor.
    Gone,
}

/// As long as it is held there is a core. An executor that cannot be made lets go of it before it has said anything.
pub(crate) struct Presence(pub(crate) flume::Sender<Report>);

impl Drop for Presence {
    fn drop(&mut self) {
        let _ = self.0.send(Report::Gone);
    }
}
