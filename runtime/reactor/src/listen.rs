//! Listeners: ports found free before start, one listening socket a core for each address that cores share, and
//! each accepted connection to the core that holds fewest. A program that takes over gets the very sockets, so that
//! those who wait in them are not lost. SO_REUSEPORT makes the kernel wake one core for each
//! connection, but it also hides a taken port, so every address is first bound once without it.

use crate::conn::Kind;
use crate::control::Control;
use crate::io::{Happening, Io};
use crate::ring::{Op, Tag};
use crate::{Fatal, net};
use machine::{Address, CoreId, Instant, ListenerId, Listening, Opened, TimerId};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Connections that may wait to be accepted at one listener of one core (bounded again by somaxconn).
const BACKLOG: i32 = 4096;
/// How many more connections this core must hold than another before it passes one on.
const SPREAD: usize = 1;
/// How long a taken port is tried: the ring of a program that was killed holds its listeners a little longer than
/// the program lives, and with port 0 somebody else may take the free one that was found.
const RESTART: Duration = Duration::from_secs(2);
/// When accepting is tried again after descriptors ran out.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// The internal timer for it; connections' deadlines have ids with a generation over 0.
pub(crate) const ACCEPT_TIMER: TimerId = TimerId(1);

/// Addresses that this process listens at, reserved or in use.
#[derive(Clone, Default)]
pub struct Doors {
    held: Arc<Mutex<BTreeMap<SocketAddr, Door>>>,
    inherited: Arc<Mutex<Vec<Inherited>>>,
}

struct Door {
    /// As it was asked for, perhaps with port 0, and the how manieth that was.
    asked: (usize, SocketAddr),
    /// Bound, not listening: keeps the port ours while no core listens at it.
    _reserved: Socket,
    group: Arc<Group>,
    /// Sockets of the program before this one that no core took yet, with how many there were.
    left: (Vec<(usize, Socket)>, usize),
    /// Duplicates of all that cores listen on, for a program that takes over.
    listening: Vec<Socket>,
}

/// A door as one program hands it to the next: connections that wait in its sockets are not lost.
#[derive(Debug)]
pub(crate) struct Inherited {
    pub(crate) asked: SocketAddr,
    pub(crate) found: SocketAddr,
    pub(crate) sockets: Vec<OwnedFd>,
}

/// The cores that accept at one address.
#[derive(Debug, Default)]
struct Group {
    members: Vec<AtomicBool>,
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Doors")
    }
}

/// More cores than any machine this runs on has.
const CORES_MAX: usize = 1024;

impl Doors {
    /// Takes an address before anything is started; port 0 takes a free one. Gives the address with its port.
    ///
    /// # Errors
    /// Status 4 with a sentence when the port is taken, forbidden, or no address of this machine.
    pub fn reserve(&self, at: SocketAddr) -> Result<SocketAddr, Fatal> {
        let mut held = self.held.lock().expect("no panic while it was held");
        let number = held.len();
        if let Some(Inherited { found, sockets, .. }) = self.inherited(at) {
            let door =
                open_inherited((number, at), found, sockets).map_err(|error| refusal(found, &error))?;
            held.insert(found, door);
            return Ok(found);
        }
        let until = std::time::Instant::now() + RESTART;
        loop {
            match open_door((number, at)) {
                Ok((door, found)) => {
                    held.insert(found, door);
                    return Ok(found);
                }
                Err(error) => {
                    let taken = error.kind() == io::ErrorKind::AddrInUse;
                    if !taken || std::time::Instant::now() >= until {
                        return Err(refusal(at, &error));
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        }
    }

    /// Doors of the program before this one: a reservation of the same address gets them.
    pub(crate) fn inherit(&self, doors: Vec<Inherited>) {
        *self.inherited.lock().expect("no panic while it was held") = doors;
    }

    fn inherited(&self, at: SocketAddr) -> Option<Inherited> {
        let mut left = self.inherited.lock().expect("no panic while it was held");
        let place = left.iter().position(|door| door.asked == at || door.found == at)?;
        Some(left.remove(place))
    }

    /// All that is listened on, for a program that takes over, in the order in which it was asked for.
    pub(crate) fn bequest(&self) -> io::Result<Vec<Inherited>> {
        let held = self.held.lock().expect("no panic while it was held");
        let mut doors: Vec<(usize, Inherited)> = Vec::new();
        for (found, door) in held.iter() {
            let sockets: io::Result<Vec<OwnedFd>> =
                door.listening.iter().map(|socket| Ok(socket.try_clone()?.into())).collect();
            let (number, asked) = door.asked;
            doors.push((number, Inherited { asked, found: *found, sockets: sockets? }));
        }
        doors.sort_unstable_by_key(|(number, _)| *number);
        Ok(doors.into_iter().map(|(_, door)| door).collect())
    }

    /// Nobody takes over any more, or somebody has: what cores do not listen on is closed.
    pub(crate) fn shut(&self) {
        let mut held = self.held.lock().expect("no panic while it was held");
        held.values_mut().for_each(|door| door.listening.clear());
        self.inherited.lock().expect("no panic while it was held").clear();
    }

    /// Sockets that listen there for one more core.
    fn enter(&self, at: SocketAddr, core: CoreId, cores: usize) -> Result<Entered, Fatal> {
        let known = at.port() != 0 && self.held.lock().expect("no panic while it was held").contains_key(&at);
        let at = if known { at } else { self.reserve(at)? };
        let mut held = self.held.lock().expect("no panic while it was held");
        let door = held.get_mut(&at).expect("it was reserved above");
        let group = door.group.clone();
        let sockets = door.sockets_of(core.index(), cores, at).map_err(|error| refusal(at, &error))?;
        for socket in &sockets {
            door.listening.push(socket.try_clone().map_err(|error| refusal(at, &error))?);
        }
        group.members[core.index()].store(true, Ordering::Relaxed);
        Ok(Entered { sockets, at, group })
    }
}

/// A core's part of a door.
struct Entered {
    sockets: Vec<Socket>,
    at: SocketAddr,
    group: Arc<Group>,
}

impl Door {
    /// Inherited sockets are dealt to all cores; a core for which there is none opens one.
    fn sockets_of(&mut self, core: usize, cores: usize, at: SocketAddr) -> io::Result<Vec<Socket>> {
        if core < self.left.1 {
            let all = std::mem::take(&mut self.left.0);
            let (mine, others) = all.into_iter().partition(|(index, _)| index % cores.max(1) == core);
            self.left.0 = others;
            let mine: Vec<(usize, Socket)> = mine;
            if !mine.is_empty() {
                return Ok(mine.into_iter().map(|(_, socket)| socket).collect());
            }
        }
        let socket = shared_socket(at)?;
        socket.listen(BACKLOG)?;
        Ok(vec![socket])
    }
}

fn refusal(at: SocketAddr, error: &io::Error) -> Fatal {
    let why = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => "another program listens there; choose another port or stop it".into(),
        Some(libc::EACCES) => "ports under 1024 need the right to bind them; choose a higher one".into(),
        Some(libc::EADDRNOTAVAIL) => "this machine has no such address".into(),
        _ => error.to_string(),
    };
    Fatal { status: 4, sentence: format!("cannot listen on {at}: {why}") }
}

fn open_door(asked: (usize, SocketAddr)) -> io::Result<(Door, SocketAddr)> {
    let (_, at) = asked;
    // Alone first: with SO_REUSEPORT a second server would share the port unseen.
    let alone = new_socket(at)?;
    alone.bind(&at.into())?;
    alone.listen(1)?;
    let found = alone.local_addr()?.as_socket().expect("an IP socket has an IP address");
    drop(alone);
    Ok((new_door(asked, found, Vec::new())?, found))
}

fn open_inherited(asked: (usize, SocketAddr), found: SocketAddr, sockets: Vec<OwnedFd>) -> io::Result<Door> {
    new_door(asked, found, sockets.into_iter().map(Socket::from).enumerate().collect())
}

fn new_door(asked: (usize, SocketAddr), found: SocketAddr, left: Vec<(usize, Socket)>) -> io::Result<Door> {
    let reserved = shared_socket(found)?;
    let group = Group { members: (0..CORES_MAX).map(|_| AtomicBool::new(false)).collect() };
    let count = left.len();
    let left = (left, count);
    Ok(Door { asked, _reserved: reserved, group: Arc::new(group), left, listening: Vec::new() })
}

fn shared_socket(at: SocketAddr) -> io::Result<Socket> {
    let socket = new_socket(at)?;
    socket.set_reuse_port(true)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

fn new_socket(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier run in TIME_WAIT are no reason not to start.
    socket.set_reuse_address(true)?;
    // Inherited by what is accepted.
    socket.set_tcp_nodelay(true)?;
    net::bound_unsent(&socket)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// One core's listeners.
pub(crate) struct Listeners {
    doors: Doors,
    all: Vec<Listener>,
    /// Those that stopped accepting for want of descriptors.
    stalled: Vec<u32>,
    /// Accepts that the kernel has not ended.
    accepting: usize,
}

struct Listener {
    /// As the shard knows it; a second socket of one door has a place of its own and the same id.
    id: ListenerId,
    /// None when it could not listen, or no longer does.
    fd: Option<OwnedFd>,
    at: Option<SocketAddr>,
    group: Arc<Group>,
}

impl Listeners {
    pub(crate) fn new(doors: Doors) -> Self {
        Self { doors, all: Vec::new(), stalled: Vec::new(), accepting: 0 }
    }
}

impl<Said> Io<Said> {
    pub(crate) fn start_listening(&mut self, at: Address) -> ListenerId {
        let id = ListenerId(self.listeners.all.len() as u32);
        let (listeners, what) = match self.open_listeners(id, &at) {
            Ok(listeners) => {
                let bound = listeners.first().and_then(|listener| listener.at).map_or(at, Address::Ip);
                (listeners, Listening::Bound(bound))
            }
            Err(sentence) => {
                let none = Listener { id, fd: None, at: None, group: Arc::default() };
                (vec![none], Listening::Failed(sentence.into()))
            }
        };
        for listener in listeners {
            if let Some(fd) = &listener.fd {
                let place = self.listeners.all.len() as u32;
                self.listeners.accepting += 1;
                self.ring.accept(fd.as_raw_fd(), Tag::new(Op::Accept, place, 0));
            }
            self.listeners.all.push(listener);
        }
        self.happenings.push_back(Happening::Listening(id, what));
        id
    }

    fn open_listeners(&self, id: ListenerId, at: &Address) -> Result<Vec<Listener>, String> {
        match at {
            Address::Ip(at) => {
                let cores = usize::from(self.seat.cores);
                let entered = self.listeners.doors.enter(*at, self.seat.core, cores);
                let Entered { sockets, at, group } = entered.map_err(|fatal| fatal.sentence)?;
                let listener = |socket: Socket| Listener {
                    id,
                    fd: Some(socket.into()),
                    at: Some(at),
                    group: group.clone(),
                };
                Ok(sockets.into_iter().map(listener).collect())
            }
            Address::Unix(path) => {
                let socket =
                    unix_listener(path).map_err(|error| format!("cannot listen on {path}: {error}"))?;
                Ok(vec![Listener { id, fd: Some(socket.into()), at: None, group: Arc::default() }])
            }
            Address::Name(host, port) => {
                Err(format!("cannot listen on a name ({host}:{port}): give an address"))
            }
        }
    }

    /// The kernel accepted a connection, or could not.
    pub(crate) fn accepted(&mut self, listener: u32, result: i32, more: bool) {
        let Some(held) = self.listeners.all.get(listener as usize) else { return };
        let (id, at, listening) = (held.id, held.at, held.fd.as_ref().map(AsRawFd::as_raw_fd));
        if result >= 0 {
            // SAFETY: a descriptor that the kernel just made for us.
            let fd = unsafe { OwnedFd::from_raw_fd(result) };
            match (at, self.least_busy(listener)) {
                // Who came before we stopped listening is served like all who had come before; only when all is over
                // there is nobody who could.
                _ if listening.is_none() => self.take_in_late(id, fd),
                (Some(at), Some(core)) => self.lanes.seats().control(core, Control::Accepted(at, fd)),
                (_, _) => self.take_in(id, fd),
            }
        }
        self.listeners.accepting -= usize::from(!more);
        let Some(listening) = listening else { return };
        if !more {
            let short = matches!(-result, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM);
            if short {
                self.listeners.stalled.push(listener);
                self.patience.set(ACCEPT_TIMER, Some(self.now.at + ACCEPT_RETRY));
            } else if -result != libc::ECANCELED {
                self.listeners.accepting += 1;
                self.ring.accept(listening, Tag::new(Op::Accept, listener, 0));
            }
        }
    }

    /// Accepting again where descriptors had run out.
    pub(crate) fn accept_again(&mut self) {
        for listener in std::mem::take(&mut self.listeners.stalled) {
            if let Some(fd) = &self.listeners.all[listener as usize].fd {
                self.listeners.accepting += 1;
                self.ring.accept(fd.as_raw_fd(), Tag::new(Op::Accept, listener, 0));
            }
        }
    }

    /// Whether the kernel may still accept somebody for us.
    pub(crate) fn is_accepting(&self) -> bool {
        self.listeners.accepting > 0
    }

    /// Another core that shares this listener and holds clearly fewer connections.
    fn least_busy(&self, listener: u32) -> Option<CoreId> {
        let group = &self.listeners.all[listener as usize].group;
        let mailboxes = &self.lanes.seats().mailboxes;
        let load = |core: usize| mailboxes[core].connections.load(Ordering::Relaxed);
        let mine = self.conns.len();
        let shared = (0..mailboxes.len())
            .filter(|core| group.members.get(*core).is_some_and(|member| member.load(Ordering::Relaxed)));
        let least = shared.min_by_key(|core| load(*core))?;
        (least != self.seat.core.index() && load(least) + SPREAD < mine).then_some(CoreId(least as u16))
    }

    /// A connection that another core accepted for us.
    pub(crate) fn passed_on(&mut self, at: SocketAddr, fd: OwnedFd) {
        let found = self.listeners.all.iter().find(|held| held.at == Some(at));
        match found.map(|held| (held.id, held.fd.is_some())) {
            Some((id, true)) => self.take_in(id, fd),
            Some((id, false)) => self.take_in_late(id, fd),
            None => {}
        }
    }

    fn take_in_late(&mut self, id: ListenerId, fd: OwnedFd) {
        if !self.drained && !self.is_ending {
            self.take_in(id, fd);
        }
    }

    fn take_in(&mut self, listener: ListenerId, fd: OwnedFd) {
        self.counters.accepted += 1;
        let peer = socket2::SockRef::from(&fd).peer_addr();
        // A peer that is gone already has no address; its end will be told like any other.
        let from = match peer.as_ref().map(|address| address.as_socket()) {
            Ok(Some(ip)) => Address::Ip(ip),
            Ok(None) => Address::Unix("".into()),
            Err(error) if net::why_of(error) == machine::Why::Exhausted => return,
            Err(_) => Address::Ip(SocketAddr::from(([0, 0, 0, 0], 0))),
        };
        self.settle_in(fd, Kind::Socket, Opened::Accepted { listener, from, identity: None });
    }

    /// Accepts nothing more.
    pub(crate) fn stop_listening(&mut self) {
        self.listeners.doors.shut();
        for (index, listener) in self.listeners.all.iter_mut().enumerate() {
            if listener.fd.take().is_some() {
                listener.group.members.get(self.seat.core.index()).inspect(|member| {
                    member.store(false, Ordering::Relaxed);
                });
                self.ring.cancel(Tag::new(Op::Accept, index as u32, 0));
            }
        }
        self.patience.set(ACCEPT_TIMER, None::<Instant>);
    }
}

fn unix_listener(path: &str) -> io::Result<Socket> {
    let address = socket2::SockAddr::unix(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if let Err(error) = socket.bind(&address) {
        // A file left behind by a process that is gone: nobody answers there.
        let stale = error.raw_os_error() == Some(libc::EADDRINUSE)
            && Socket::new(Domain::UNIX, Type::STREAM, None)?.connect(&address).is_err();
        if !stale {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&address)?;
    }
    socket.listen(BACKLOG)?;
    Ok(socket)
}
