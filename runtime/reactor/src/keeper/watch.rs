//! The keeper's own life: one loop over one poll(2) of a signal descriptor and a socket a core. It never waits for
//! a core: what a slow core does not take is queued, and while much is queued nothing more is read from it. The hard
//! thing is the end: by end of file of every socket, it kills what it owns until no descendant is left.

use super::message::{self, Answer, Request};
use super::socket::{self, check};
use super::start::{self, Heritage};
use super::{CHILDREN_MAX, LAST_ACT_MAX, MESSAGE_MAX};
use machine::{ChildEvent, ChildId, Command};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// While so many answers wait for one core, nothing more is read from it. The ends of its children still join:
/// at most [`CHILDREN_MAX`] more.
const ANSWERS_MAX: usize = 256;

/// Requests taken from one core before the others have their turn. A start takes half a millisecond.
const REQUESTS_A_ROUND: usize = 8;

/// Sleep between two tries to send when the kernel had no memory or too many descriptors were in flight.
const RETRY_MS: libc::c_int = 20;

/// How long to go on killing what does not die (a process that waits for a dead disk cannot).
const ENDING_MAX: Duration = Duration::from_secs(10);

struct Watch {
    seats: Vec<Option<Seat>>,
    children: BTreeMap<libc::pid_t, Owned>,
    pids: BTreeMap<ChildId, libc::pid_t>,
    heritage: Heritage,
    deaths: OwnedFd,
    buffer: Vec<u8>,
}

struct Seat {
    socket: OwnedFd,
    answers: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

struct Owned {
    child: ChildId,
    /// The seat that asked for it, and those that adopted it, while they are there.
    owners: Vec<usize>,
}

/// How a process ended.
enum Death {
    Exited(i32),
    Killed(i32),
}

/// Lives as the keeper, in the forked process, until the last socket has ended. Never returns.
pub(super) fn run(sockets: Vec<OwnedFd>, heritage: Heritage, last_act: Option<Command>) -> ! {
    let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let deaths = settle(&sockets)?;
        let seats =
            sockets.into_iter().map(|socket| Some(Seat { socket, answers: VecDeque::new() })).collect();
        let (children, pids) = (BTreeMap::new(), BTreeMap::new());
        let mut watch = Watch { seats, children, pids, heritage, deaths, buffer: vec![0; MESSAGE_MAX] };
        watch.live()?;
        watch.end()?;
        last_act.map_or(Ok(()), |last_act| watch.act_last(&last_act))
    }));
    let status = match lived {
        Ok(Ok(())) => 0,
        Ok(Err(_)) => crate::fatal::STATUS_MACHINE,
        Err(_) => crate::fatal::STATUS_BUG,
    };
    // SAFETY: _exit takes a number and does not return; nothing of the program's is to be run or flushed here.
    unsafe { libc::_exit(i32::from(status)) }
}

/// Leaves everything of the program's behind: its session, its streams, its descriptors, its signals. Returns the
/// descriptor that tells of deaths.
fn settle(sockets: &[OwnedFd]) -> io::Result<OwnedFd> {
    // SAFETY: system calls with plain numbers and with pointers to locals and constants that outlive the calls.
    let deaths = unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_NAME, c"keeper".as_ptr());
        check(libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1_u64, 0_u64, 0_u64, 0_u64))?;
        let mut every: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut every);
        check(libc::sigprocmask(libc::SIG_SETMASK, &raw const every, std::ptr::null_mut()))?;
        // An inherited "ignore" would make the kernel reap children by itself.
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        let nowhere = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC);
        if nowhere >= 0 {
            libc::dup2(nowhere, 0);
            libc::dup2(nowhere, 1);
        }
        close_all_but(sockets);
        let mut death: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut death);
        libc::sigaddset(&raw mut death, libc::SIGCHLD);
        check(libc::signalfd(-1, &raw const death, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?
    };
    // SAFETY: it was just made and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(deaths) })
}

/// Closes every descriptor but the standard streams and the sockets, so that none of the program's is held open.
fn close_all_but(sockets: &[OwnedFd]) {
    let mut kept: Vec<u32> = sockets.iter().map(|socket| socket.as_raw_fd().unsigned_abs()).collect();
    kept.sort_unstable();
    let mut from = 3;
    for kept in kept.into_iter().chain([u32::MAX]) {
        if from < kept {
            // SAFETY: what is closed are copies of the program's descriptors; nothing in this process uses them.
            unsafe { libc::syscall(libc::SYS_close_range, from, kept - 1, 0_u32) };
        }
        from = kept.saturating_add(1);
    }
}

impl Watch {
    fn live(&mut self) -> io::Result<()> {
        let mut is_sending_stuck = false;
        while self.seats.iter().any(Option::is_some) {
            let ready = self.poll(if is_sending_stuck { RETRY_MS } else { -1 })?;
            if ready[0] {
                self.drain_deaths();
            }
            self.reap();
            for core in 0..self.seats.len() {
                if ready[core + 1] {
                    self.take_requests(core);
                }
            }
            is_sending_stuck = false;
            for core in 0..self.seats.len() {
                is_sending_stuck |= self.send_answers(core);
            }
        }
        Ok(())
    }

    /// Waits; says for the signal descriptor and then for each core whether there is something to read.
    fn poll(&self, timeout_ms: libc::c_int) -> io::Result<Vec<bool>> {
        let mut places = vec![libc::pollfd { fd: self.deaths.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
        for seat in &self.seats {
            // A negative descriptor is skipped by the kernel.
            let mut place = libc::pollfd { fd: -1, events: 0, revents: 0 };
            if let Some(seat) = seat {
                place.fd = seat.socket.as_raw_fd();
                place.events |= if seat.answers.len() < ANSWERS_MAX { libc::POLLIN } else { 0 };
                // While sending is stuck for other reasons than room, the socket is writable all the time.
                let is_waiting = !seat.answers.is_empty() && timeout_ms < 0;
                place.events |= if is_waiting { libc::POLLOUT } else { 0 };
            }
            places.push(place);
        }
        // SAFETY: poll reads and writes exactly these entries.
        let count = unsafe { libc::poll(places.as_mut_ptr(), places.len() as libc::nfds_t, timeout_ms) };
        if let Err(error) = check(count)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        let readable = libc::POLLIN | libc::POLLHUP | libc::POLLERR;
        Ok(places.iter().map(|place| place.revents & readable != 0).collect())
    }

    fn drain_deaths(&self) {
        let mut buffer = [0_u8; 1024];
        // SAFETY: read writes at most the buffer's length into it. One signal stands for all that came at once.
        while unsafe { libc::read(self.deaths.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) } > 0 {}
    }

    fn take_requests(&mut self, core: usize) {
        for _ in 0..REQUESTS_A_ROUND {
            let Some(seat) = &self.seats[core] else { return };
            let (length, descriptors) = match socket::receive(&seat.socket, &mut self.buffer) {
                Ok(packet) => (packet.length, packet.descriptors),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => return,
                    _ => (0, Vec::new()),
                },
            };
            match message::read_request(&self.buffer[..length]) {
                Some(Request::Spawn(child, command)) => self.start(core, child, &command),
                Some(Request::Signal(child, signal)) => self.signal(child, signal),
                Some(Request::Adopt(child)) => self.adopt(core, child),
                Some(Request::Seat) => descriptors.into_iter().for_each(|socket| self.seat(socket)),
                None => return self.leave(core),
            }
        }
    }

    fn start(&mut self, core: usize, child: ChildId, command: &Command) {
        let started = if self.children.len() < CHILDREN_MAX {
            start::start(command, &self.heritage)
        } else {
            Err(format!("cannot start {}: {CHILDREN_MAX} children are running", command.program))
        };
        match started {
            Ok(started) => {
                self.children.insert(started.pid, Owned { child, owners: vec![core] });
                self.pids.insert(child, started.pid);
                let (pipes, ends) = started.pipes.into_iter().unzip();
                let what = ChildEvent::Started { pid: started.pid.unsigned_abs() };
                self.answer(core, Answer { child, what, pipes }, ends);
            }
            Err(sentence) => {
                let what = ChildEvent::Unstarted(sentence.into());
                self.answer(core, Answer { child, what, pipes: Vec::new() }, Vec::new());
            }
        }
    }

    fn signal(&self, child: ChildId, signal: i32) {
        if let Some(pid) = self.pids.get(&child) {
            kill_group(*pid, signal);
        }
    }

    /// One more seat; places of those that left are taken again.
    fn seat(&mut self, socket: OwnedFd) {
        let seat = Some(Seat { socket, answers: VecDeque::new() });
        match self.seats.iter().position(Option::is_none) {
            Some(free) => self.seats[free] = seat,
            None => self.seats.push(seat),
        }
    }

    fn adopt(&mut self, core: usize, child: ChildId) {
        let owned = self.pids.get(&child).and_then(|pid| Some((*pid, self.children.get_mut(pid)?)));
        let what = match owned {
            Some((pid, owned)) => {
                if !owned.owners.contains(&core) {
                    owned.owners.push(core);
                }
                ChildEvent::Started { pid: pid.unsigned_abs() }
            }
            None => ChildEvent::Unstarted("it ended before it was taken over".into()),
        };
        self.answer(core, Answer { child, what, pipes: Vec::new() }, Vec::new());
    }

    /// A seat whose socket has ended has nobody who could name its children: those that nobody else owns end.
    fn leave(&mut self, core: usize) {
        self.seats[core] = None;
        for (pid, owned) in &mut self.children {
            let had = owned.owners.len();
            owned.owners.retain(|owner| *owner != core);
            if owned.owners.is_empty() && had > 0 {
                kill_group(*pid, libc::SIGKILL);
            }
        }
    }

    fn answer(&mut self, core: usize, answer: Answer, pipes: Vec<OwnedFd>) {
        if let Some(seat) = &mut self.seats[core] {
            seat.answers.push_back((message::write_answer(&answer), pipes));
        }
    }

    /// Sends what this core takes without waiting. Says whether to try again by the clock: there was room, but the
    /// kernel lacked memory, or too many descriptors of this user were in flight.
    fn send_answers(&mut self, core: usize) -> bool {
        while let Some(seat) = &mut self.seats[core] {
            let Some((bytes, pipes)) = seat.answers.front() else { return false };
            match socket::send(&seat.socket, bytes, pipes) {
                Ok(()) => {
                    seat.answers.pop_front();
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return false,
                    Some(libc::EINTR) => {}
                    Some(libc::ETOOMANYREFS | libc::ENOBUFS | libc::ENOMEM) => return true,
                    _ => self.leave(core),
                },
            }
        }
        false
    }

    /// Reaps all who have died: children of ours, with word to their core, and grandchildren left to us.
    fn reap(&mut self) {
        while let Some((pid, death)) = next_dead() {
            let Some(owned) = self.children.remove(&pid) else {
                reap_one(pid);
                continue;
            };
            // Until it is reaped the id of its group cannot be given to another. Nobody could name what is left of
            // the group afterwards, so it ends too.
            kill_group(pid, libc::SIGKILL);
            reap_one(pid);
            self.pids.remove(&owned.child);
            let what = match death {
                Death::Exited(status) => ChildEvent::Exited(status),
                Death::Killed(signal) => ChildEvent::Killed(signal),
            };
            for owner in owned.owners {
                self.answer(
                    owner,
                    Answer { child: owned.child, what: what.clone(), pipes: Vec::new() },
                    Vec::new(),
                );
            }
        }
    }

    /// Kills until nobody descends from us: who loses its parent becomes our child, to be found in the next round.
    fn end(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        for pid in self.children.keys() {
            kill_group(*pid, libc::SIGKILL);
        }
        while begun.elapsed() < ENDING_MAX {
            self.reap();
            let children = children_of_this_process();
            if children.is_empty() && has_no_child() {
                return Ok(());
            }
            for pid in children {
                // SAFETY: kill takes numbers. The process is our child and not yet reaped, so the id is its own.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            self.poll(RETRY_MS)?;
            self.drain_deaths();
        }
        Ok(())
    }
}

impl Watch {
    /// Does what was left to be done when the program is gone, and waits for it. That it cannot be started is nobody's
    /// news any more.
    fn act_last(&mut self, last_act: &Command) -> io::Result<()> {
        let Ok(started) = start::start(last_act, &self.heritage) else { return Ok(()) };
        let begun = Instant::now();
        while begun.elapsed() < LAST_ACT_MAX {
            while let Some((pid, _)) = next_dead() {
                reap_one(pid);
            }
            if has_no_child() {
                return Ok(());
            }
            self.poll(RETRY_MS)?;
            self.drain_deaths();
        }
        kill_group(started.pid, libc::SIGKILL);
        Ok(())
    }
}

fn kill_group(group: libc::pid_t, signal: i32) {
    // SAFETY: kill takes numbers. The group's leader is not yet reaped, so the id is that of its group.
    unsafe { libc::kill(-group, signal) };
}

/// The next child of ours that is dead, left as it is.
fn next_dead() -> Option<(libc::pid_t, Death)> {
    // SAFETY: a siginfo of zeros is valid, and waitid writes one, into `info`.
    let (result, info) = unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let result =
            libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT);
        (result, info)
    };
    if result != 0 {
        return None;
    }
    // SAFETY: waitid has filled in the fields of a child's end, or left the zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    let death = if info.si_code == libc::CLD_EXITED { Death::Exited(status) } else { Death::Killed(status) };
    (pid != 0).then_some((pid, death))
}

fn reap_one(pid: libc::pid_t) {
    // SAFETY: waitpid may be told to write no status.
    unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WNOHANG) };
}

fn has_no_child() -> bool {
    // SAFETY: as in `next_dead`; the answer is not looked at.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) != 0
    }
}

/// Every process whose parent is this one, by /proc. None where that cannot be read.
fn children_of_this_process() -> Vec<libc::pid_t> {
    let own = std::process::id();
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &libc::pid_t| parent_of(*pid) == Some(own)).collect()
}

fn parent_of(pid: libc::pid_t) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; after it come the state and the parent.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
}
