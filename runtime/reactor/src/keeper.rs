//! The keeper: a small process of one thread that owns every child of the program. It exists because a server must
//! not fork (measured: 11 ms from 200 MB, 146 ms from 4 GB), because a core must not wait for the dead, and because
//! somebody has to be left to end the children when the program itself is killed. The hard thing is that last one:
//! the keeper sees the program go by the end of its sockets, kills every group it owns, and, being the subreaper of
//! all that descends from it, also those who have left their group.
//!
//! It watches by one signal descriptor and waitid(2) rather than by a pidfd a child: adopted grandchildren, which
//! have no pidfd of ours, must be reaped too, and as nobody else reaps, a process id stays what it was until we
//! have looked at it.

mod message;
mod seat;
mod socket;
mod start;
mod watch;

pub use seat::{KeeperEvent, KeeperSeat};

use crate::fatal::Fatal;
use machine::{Command, CoreId};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The most cores one keeper serves: one socket each.
pub const CORES_MAX: usize = 1024;

/// The longest message either side sends, and so the bound on a command's program, arguments and environment
/// together. The kernel takes no longer single argument either (MAX_ARG_STRLEN).
pub const MESSAGE_MAX: usize = 128 * 1024;

/// The most children alive under one keeper. A further one is `Unstarted`.
pub const CHILDREN_MAX: usize = 16 * 1024;

/// How long the last act may take; then it is killed.
pub const LAST_ACT_MAX: Duration = Duration::from_secs(30);

/// The program's side of its keeper: the seats not yet given to their cores.
#[derive(Debug)]
pub struct Keeper {
    process: libc::pid_t,
    seats: Vec<Option<OwnedFd>>,
}

impl Keeper {
    /// [`Keeper::fork_with_last_act`], with nothing left to be done.
    ///
    /// # Errors
    /// As there.
    pub fn fork(cores: usize) -> Result<Self, Fatal> {
        Self::fork_with_last_act(cores, None)
    }

    /// Forks the keeper for this many cores. Call it first in `main`, before there is a thread (a fork copies only
    /// the calling one, and with it the locks the others held), before the program pins itself (children run
    /// where the program was allowed to when it began) and before it opens anything.
    ///
    /// `last_act` is started when the program is gone, whoever ended it, and every child with it: it puts in order
    /// outside of this machine's processes what the program cannot any more. It has [`LAST_ACT_MAX`].
    ///
    /// # Errors
    /// Status 3 when the machine gives no process or descriptor; status 2 for no core or over [`CORES_MAX`].
    pub fn fork_with_last_act(cores: usize, last_act: Option<Command>) -> Result<Self, Fatal> {
        if cores == 0 || cores > CORES_MAX {
            return Err(Fatal::misuse(format!("a keeper serves 1 to {CORES_MAX} cores, not {cores}")));
        }
        let cannot =
            |error: io::Error| Fatal::machine(format!("cannot make the keeper of child processes: {error}"));
        let mut ours = Vec::with_capacity(cores);
        let mut theirs = Vec::with_capacity(cores);
        for _ in 0..cores {
            let (our, their) = socket::pair(4 * MESSAGE_MAX).map_err(cannot)?;
            ours.push(our);
            theirs.push(their);
        }
        let heritage = start::Heritage::of_this_process().map_err(cannot)?;
        // SAFETY: the child runs `watch::run` and never returns into the caller's frames. The caller promises that
        // there is no other thread, so no lock is held by somebody the child does not have.
        match unsafe { libc::fork() } {
            -1 => Err(cannot(io::Error::last_os_error())),
            0 => {
                drop(ours);
                watch::run(theirs, heritage, last_act)
            }
            process => Ok(Self { process, seats: ours.into_iter().map(Some).collect() }),
        }
    }

    /// The seat of this core. Once for each core.
    ///
    /// # Panics
    /// When the core is none of those the keeper was forked for, or its seat was taken before.
    #[must_use]
    pub fn seat(&mut self, core: CoreId) -> KeeperSeat {
        let socket = self.seats[core.index()].take().expect("a core takes its seat once");
        KeeperSeat::new(core, socket)
    }

    /// The keeper's process id.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process.unsigned_abs()
    }

    /// Lets the keeper go and waits until it has ended every child. Drop all seats before: while one is held, the
    /// keeper stays, and this waits.
    pub fn wait(self) {
        drop(self.seats);
        let mut status = 0;
        loop {
            // SAFETY: waitpid writes one int, into `status`.
            let ended = unsafe { libc::waitpid(self.process, &raw mut status, 0) };
            if ended >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
                return;
            }
        }
    }
}
