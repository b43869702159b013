//! The keeper: a small process of one thread that owns every child of the program. It exists because a server must
//! not fork (measured: 11 ms from 200 MB, 146 ms from 4 GB), because a core must not wait for the dead, and because
//! somebody has to be left to end the children when the program itself is killed. The hard thing is that last one:
//! the keeper sees the program go by the end of its sockets, kills every group it owns, and, being the subreaper of
//! all that descends from it, also those who have left their group.
//!
//! A program that takes over gets seats of its own. A child belongs to every seat that asked for it or adopted it, and
//! ends when the last of them is gone: so whichever of two programs is killed, nothing is left without an owner.
//!
//! It watches by one signal descriptor and waitid(2) rather than by a pidfd a child: adopted grandchildren, which
//! have no pidfd of ours, must be reaped too, and as nobody else reaps, a process id stays what it was until we
//! have looked at it.

mod message;
mod seat;
pub(crate) mod socket;
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

/// How often, and how long in between, a request is tried for which the keeper's socket has no room.
const SEAT_TRIES: usize = 100;
const SEAT_WAIT: Duration = Duration::from_millis(5);

/// The program's side of its keeper: the seats not yet given to their cores, and one of the program's own, by which
/// it asks for the seats of a program that takes over.
#[derive(Debug)]
pub struct Keeper {
    process: libc::pid_t,
    /// How many programs had this keeper before: the ids of each one's children differ.
    generation: u16,
    seats: Vec<Option<OwnedFd>>,
    door: OwnedFd,
}

/// What a program that takes over is given of the keeper: its seats and the door, and whose they are.
#[derive(Debug)]
pub(crate) struct KeeperShare {
    pub(crate) process: libc::pid_t,
    pub(crate) generation: u16,
    /// A seat a core, then the door.
    pub(crate) sockets: Vec<OwnedFd>,
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
        for _ in 0..=cores {
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
            process => Ok(Self::of(KeeperShare { process, generation: 0, sockets: ours })),
        }
    }

    /// The keeper of the program before this one.
    ///
    /// # Panics
    /// When there is not even a door.
    pub(crate) fn of(share: KeeperShare) -> Self {
        let KeeperShare { process, generation, mut sockets } = share;
        let door = sockets.pop().expect("there is a door behind the seats");
        Self { process, generation, seats: sockets.into_iter().map(Some).collect(), door }
    }

    /// This keeper without seats: enough to ask it for more.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn door(&self) -> io::Result<Self> {
        let door = self.door.try_clone()?;
        Ok(Self { process: self.process, generation: self.generation, seats: Vec::new(), door })
    }

    /// Seats for a program that takes over, on so many cores. Children that it adopts end only when both are gone.
    ///
    /// # Errors
    /// What the kernel refuses; then nothing has changed.
    pub(crate) fn share(&self, cores: usize) -> io::Result<KeeperShare> {
        let mut sockets = Vec::with_capacity(cores + 1);
        for _ in 0..=cores {
            let (our, their) = socket::pair(4 * MESSAGE_MAX)?;
            self.seat_one(&[their])?;
            sockets.push(our);
        }
        Ok(KeeperShare { process: self.process, generation: self.generation.wrapping_add(1), sockets })
    }

    /// Asks for one more seat; the keeper may be a few requests behind, but it never waits for anybody.
    fn seat_one(&self, socket: &[OwnedFd]) -> io::Result<()> {
        for _ in 0..SEAT_TRIES {
            match socket::send(&self.door, &message::write_seat(), socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(SEAT_WAIT),
                outcome => return outcome,
            }
        }
        Err(io::ErrorKind::TimedOut.into())
    }

    /// The seat of this core. Once for each core.
    ///
    /// # Panics
    /// When the core is none of those the keeper was forked for, or its seat was taken before.
    #[must_use]
    pub fn seat(&mut self, core: CoreId) -> KeeperSeat {
        let socket = self.seats[core.index()].take().expect("a core takes its seat once");
        KeeperSeat::new(core, self.generation, socket)
    }

    /// The keeper's process id.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.process.unsigned_abs()
    }

    /// Lets the keeper go and waits until it has ended every child. Drop all seats before: while one is held, the
    /// keeper stays, and this waits.
    pub fn wait(self) {
        let Self { process, seats, door, .. } = self;
        // Opened while the keeper must be alive, because we hold its door: afterwards the id could be another's. It
        // may be the child of a program before this one, so waitpid alone does not do.
        // SAFETY: pidfd_open takes numbers and gives a descriptor of ours, or less than 0.
        let watched = unsafe { libc::syscall(libc::SYS_pidfd_open, process, 0) } as libc::c_int;
        drop((seats, door));
        let mut status = 0;
        loop {
            // SAFETY: waitpid writes one int, into `status`.
            let ended = unsafe { libc::waitpid(process, &raw mut status, 0) };
            if ended >= 0 {
                break;
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ECHILD) if watched >= 0 => {
                    let mut place = libc::pollfd { fd: watched, events: libc::POLLIN, revents: 0 };
                    // SAFETY: poll reads and writes this one entry.
                    if unsafe { libc::poll(&raw mut place, 1, -1) } >= 0 {
                        break;
                    }
                }
                _ => break,
            }
        }
        if watched >= 0 {
            // SAFETY: it was opened above and belongs to nobody else.
            unsafe { libc::close(watched) };
        }
    }
}
