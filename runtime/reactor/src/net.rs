//! What is done to connections: opened, asked for bytes, flushed, closed. Nothing here tells the shard anything;
//! what it is to hear is put among the happenings.

use crate::conn::{Conn, Kind, Owner, Reading, SLICES_MAX, Stage, tag};
use crate::io::{Happening, Io, patience_of};
use crate::ring::{Op, Tag};
use crate::stamp;
use machine::{Address, ConnId, Dial, End, Opened, Why};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// How long what still comes is taken in after we said all, so that no reset destroys our last bytes.
const LINGER: Duration = Duration::from_secs(2);

/// Where receives bring times, so many connections are sent to in one call, and the clock is read once for them: a
/// send takes microseconds, and who measures wants to know when.
const SENDS_A_READING: usize = 8;
/// Where they do not, one call sends to so many.
const SENDS_A_CALL: usize = 1024;

impl<Said> Io<Said> {
    /// A place for a connection that is there.
    pub(crate) fn settle_in(&mut self, fd: OwnedFd, kind: Kind, how: Opened) -> ConnId {
        let conn = ConnId(self.conns.insert(Conn::new(Some(fd), kind, Owner::Shard, Stage::Open)));
        self.count_connections();
        self.happenings.push_back(Happening::Opened(conn, how));
        conn
    }

    fn count_connections(&self) {
        let mailbox = self.lanes.mailbox();
        mailbox.connections.store(self.conns.len(), std::sync::atomic::Ordering::Relaxed);
    }

    /// A place for a connection to be made, and the first step of making it.
    pub(crate) fn dial_for(&mut self, owner: Owner, dial: Dial) -> ConnId {
        let conn = ConnId(self.conns.insert(Conn::new(None, Kind::Socket, owner, Stage::Dialling)));
        self.count_connections();
        if dial.tls.is_some() {
            self.lose(conn, Why::Untrusted);
            return conn;
        }
        self.patience.set(patience_of(conn), Some(dial.by));
        match dial.to {
            Address::Ip(to) => self.connect(conn, &SockAddr::from(to), dial.from),
            Address::Unix(path) => match SockAddr::unix(&*path) {
                Ok(to) => self.connect(conn, &to, None),
                Err(_) => self.lose(conn, Why::Unreachable),
            },
            Address::Name(host, port) => self.resolve(conn, host, port, dial.from),
        }
        conn
    }

    /// Looks a name up on a thread of its own: the library call blocks. The answer comes as a control.
    fn resolve(&mut self, conn: ConnId, host: Box<str>, port: u16, from: Option<SocketAddr>) {
        use std::net::ToSocketAddrs;
        let (seats, core) = (self.lanes.seats().clone(), self.seat.core);
        let thread = std::thread::Builder::new().name("resolve".into()).spawn(move || {
            let found = (&*host, port).to_socket_addrs().map_err(|_| Why::Unreachable);
            let fits = |to: &SocketAddr| from.is_none_or(|from| from.is_ipv4() == to.is_ipv4());
            let found = found.and_then(|mut all| all.find(fits).ok_or(Why::Unreachable));
            seats.control(core, crate::control::Control::Resolved(conn, found, from));
        });
        if thread.is_err() {
            self.lose(conn, Why::Exhausted);
        }
    }

    /// A name was looked up.
    pub(crate) fn resolved(
        &mut self,
        conn: ConnId,
        found: Result<SocketAddr, Why>,
        from: Option<SocketAddr>,
    ) {
        if self.told(conn).is_none() {
            return;
        }
        match found {
            Ok(to) => self.connect(conn, &SockAddr::from(to), from),
            Err(why) => self.lose(conn, why),
        }
    }

    fn connect(&mut self, conn: ConnId, to: &SockAddr, from: Option<SocketAddr>) {
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        match dial_socket(to, from) {
            Ok(socket) => {
                let address = Box::new(to.clone());
                let fd = socket.as_raw_fd();
                held.stamped = self.stamps.is_some() && stamp::ask(fd).is_ok();
                held.fd = Some(socket.into());
                held.outstanding += 1;
                let (at, len) = (address.as_ptr().cast(), address.len());
                held.dialled = Some(address);
                self.ring.connect(fd, at, len, tag(Op::Connect, conn));
            }
            Err(error) => self.lose(conn, why_of(&error)),
        }
    }

    /// The kernel's answer to a dial.
    pub(crate) fn connected(&mut self, conn: ConnId, result: i32) {
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        held.outstanding -= 1;
        held.dialled = None;
        if held.stage == Stage::Dead {
            return self.release(conn);
        }
        if held.lost.is_some() {
            return;
        }
        if result < 0 {
            return self.lose(conn, why_of(&io::Error::from_raw_os_error(-result)));
        }
        held.stage = Stage::Open;
        self.patience.set(patience_of(conn), None);
        self.happenings.push_back(Happening::Opened(conn, Opened::Dialled));
        self.soil(conn);
    }

    /// Brings what the kernel is asked about reading in line with what the connection wants.
    pub(crate) fn settle_reading(&mut self, conn: ConnId) {
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        let fd = held.raw();
        let op = if held.kind == Kind::Pipe { Op::Readable } else { Op::Receive };
        match (held.reading, held.wants_input()) {
            (Reading::Idle, true) => {
                held.outstanding += 1;
                held.reading = Reading::Armed;
                let need = held.need;
                match (&mut held.big, held.kind) {
                    (_, Kind::Pipe) => self.ring.poll(fd, libc::POLLIN, tag(op, conn)),
                    (Some(big), Kind::Socket) if big.len() < need => {
                        held.reading = Reading::Into;
                        let (into, len) = (big.spare_capacity_mut().as_mut_ptr().cast(), need - big.len());
                        self.ring.receive_into(fd, into, len, tag(Op::ReceiveInto, conn));
                    }
                    (_, Kind::Socket) => match &self.stamps {
                        Some(template) if held.stamped => {
                            self.ring.receive_stamped(fd, &raw const **template, tag(op, conn));
                        }
                        Some(_) | None => self.ring.receive(fd, tag(op, conn)),
                    },
                }
            }
            // What is armed fills small buffers; the rest of a large value is to come into its own.
            (Reading::Armed, true) if held.big.is_none() || held.kind == Kind::Pipe => {}
            (Reading::Armed, _) => {
                held.reading = Reading::Cancelling;
                self.ring.cancel(tag(op, conn));
            }
            (Reading::Idle, false) | (Reading::Cancelling | Reading::Into, _) => {}
        }
    }

    /// Asks to be told when a connection that is not read ends.
    pub(crate) fn watch_end(&mut self, conn: ConnId) {
        if let Some(held) = self.told(conn)
            && !held.watched
            && held.fd.is_some()
        {
            held.watched = true;
            held.outstanding += 1;
            // Errors and hang-ups are always told; of a socket also that they have said all.
            let events = if held.kind == Kind::Socket { libc::POLLRDHUP } else { 0 };
            let fd = held.raw();
            self.ring.poll(fd, events, tag(Op::Ending, conn));
        }
    }

    /// A watched connection is ending: what of it can be known without reading.
    pub(crate) fn ending(&mut self, conn: ConnId, result: i32) {
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        held.outstanding -= 1;
        held.watched = false;
        if held.stage == Stage::Dead {
            return self.release(conn);
        }
        let broken = result > 0 && result & i32::from(libc::POLLERR) != 0;
        if broken && held.kind == Kind::Pipe {
            self.lose(conn, Why::Reset);
        } else if broken && let Some(fd) = &held.fd {
            let error = socket2::SockRef::from(fd).take_error().ok().flatten();
            let why = error.map_or(Why::Reset, |error| why_of(&error));
            self.lose(conn, why);
        }
    }

    /// Sends what waits on every connection that was written to.
    pub(crate) fn flush(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        let mut sent = std::mem::take(&mut self.sent);
        let most = if self.stamps.is_some() { SENDS_A_READING } else { SENDS_A_CALL };
        for some in dirty.chunks(most) {
            self.flushed_at = crate::clock::instant();
            let queued = some.iter().filter(|conn| self.flush_one(**conn, some.len() > 1)).count();
            if queued > 0 {
                self.ring.make_sends(queued, &mut sent);
                for (tag, result) in sent.drain(..) {
                    self.answered(tag, result);
                }
            }
        }
        self.sent = sent;
        // The list keeps its memory; what was soiled meanwhile waits for the next turn.
        dirty.clear();
        std::mem::swap(&mut dirty, &mut self.dirty);
        self.dirty.append(&mut dirty);
    }

    /// Sends what waits on one, or queues it, where it lies in one piece and others are sent to as well. Whether it
    /// was queued.
    fn flush_one(&mut self, conn: ConnId, with_others: bool) -> bool {
        let Some(held) = self.conns.get_mut(conn.0) else { return false };
        held.dirty = false;
        let speaks = matches!(held.stage, Stage::Open | Stage::Flushing);
        if !speaks || held.lost.is_some() || held.blocked {
            return false;
        }
        if held.output.waiting() == 0 {
            self.after_flush(conn);
            return false;
        }
        self.counters.sends += 1;
        if with_others
            && held.kind == Kind::Socket
            && let Some(bytes) = held.output.whole()
        {
            self.ring.send(held.raw(), bytes, tag(Op::Sent, conn));
            return true;
        }
        let (offered, result) = offer(held);
        self.offered(conn, offered, result);
        false
    }

    /// The kernel's answer to a send that was queued.
    #[inline]
    fn answered(&mut self, tag: Tag, result: i32) {
        let conn =
            ConnId(self.conns.key_at(tag.index).expect("nobody ends a connection while sends are made"));
        let held = self.conns.get_mut(conn.0).expect("it was just looked up");
        let offered = held.output.waiting();
        if result as usize == offered && held.wants_nothing_more() {
            self.counters.bytes_out += offered as u64;
            held.sent_at = Some(self.flushed_at);
            let buffer = held.output.sent_all();
            return self.keep(buffer);
        }
        let result =
            if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as usize) };
        self.offered(conn, offered, result);
    }

    /// What the kernel said to so many bytes.
    fn offered(&mut self, conn: ConnId, offered: usize, result: io::Result<usize>) {
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        match result {
            Ok(sent) => {
                self.counters.bytes_out += sent as u64;
                held.output.sent(sent);
                held.sent_at = Some(self.flushed_at);
                if sent < offered {
                    self.await_room(conn);
                } else if held.output.waiting() > 0 {
                    self.soil(conn);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.await_room(conn),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.soil(conn),
            Err(error) => return self.lose(conn, why_of(&error)),
        }
        self.after_flush(conn);
    }

    fn await_room(&mut self, conn: ConnId) {
        if let Some(held) = self.conns.get_mut(conn.0) {
            held.blocked = true;
            held.outstanding += 1;
            let fd = held.raw();
            self.ring.poll(fd, libc::POLLOUT, tag(Op::Writable, conn));
        }
    }

    /// There is room again in the kernel.
    pub(crate) fn writable(&mut self, conn: ConnId) {
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        held.outstanding -= 1;
        held.blocked = false;
        if held.stage == Stage::Dead { self.release(conn) } else { self.soil(conn) }
    }

    /// What follows from there being less to send: room, a FIN, the end.
    fn after_flush(&mut self, conn: ConnId) {
        let low = self.limits.output_low;
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        let waiting = held.output.waiting();
        if held.over_high && waiting < low {
            held.over_high = false;
            if held.is_told() && held.owner == Owner::Shard {
                self.happenings.push_back(Happening::Room(conn));
            }
        }
        if waiting > 0 {
            return;
        }
        if held.output.has_capacity() {
            self.reclaim(conn);
        }
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        match held.stage {
            Stage::Open if held.finishing && !held.finished => {
                held.finished = true;
                if held.kind == Kind::Pipe {
                    return self.lose(conn, Why::Closed);
                }
                say_all(held.raw());
                self.maybe_over(conn);
            }
            Stage::Flushing => self.linger(conn),
            Stage::Open | Stage::Dialling | Stage::Lingering | Stage::Dead => {}
        }
    }

    /// Both sides have said all, and the shard has heard it of theirs.
    pub(crate) fn maybe_over(&mut self, conn: ConnId) {
        if self.told(conn).is_some_and(|held| held.finished && held.end_told) {
            self.lose(conn, Why::Closed);
        }
    }

    /// The shard is done with it; what waits is still sent.
    pub(crate) fn close_flushed(&mut self, conn: ConnId) {
        if let Some(held) = self.conns.get_mut(conn.0) {
            held.stage = Stage::Flushing;
            held.left = Default::default();
            self.patience.set(patience_of(conn), Some(self.now.at + self.limits.flush));
            self.settle_reading(conn);
            self.soil(conn);
        }
    }

    fn linger(&mut self, conn: ConnId) {
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        // The FIN goes first, also to those who have said all: without it the close would be a reset, which
        // destroys what they have not read yet.
        if held.kind == Kind::Socket && !held.finished {
            held.finished = true;
            say_all(held.raw());
        }
        if held.kind == Kind::Pipe || held.ended {
            return self.kill(conn);
        }
        held.stage = Stage::Lingering;
        self.patience.set(patience_of(conn), Some(self.now.at + LINGER));
        self.settle_reading(conn);
    }

    /// It is gone; the shard will be told why.
    pub(crate) fn lose(&mut self, conn: ConnId, why: Why) {
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        if !held.is_told() {
            return self.kill(conn);
        }
        if held.lost.is_none() {
            held.lost = Some(why);
            held.output.clear();
            self.happenings.push_back(Happening::End(conn, End::Gone(why)));
            self.settle_reading(conn);
        }
    }

    /// Ends it at once. Its place is free when the kernel has given back every request.
    pub(crate) fn kill(&mut self, conn: ConnId) {
        let Some(held) = self.conns.get_mut(conn.0) else { return };
        if held.stage == Stage::Dead {
            return;
        }
        let orderly = self.is_ending || (held.finished && held.ended);
        if let Some(fd) = held.fd.as_ref()
            && held.kind == Kind::Socket
            && !orderly
        {
            // A reset instead of a FIN: nobody waits for what is not sent, no TIME_WAIT is left behind.
            let _ = socket2::SockRef::from(fd).set_linger(Some(Duration::ZERO));
        }
        let dialling = held.stage == Stage::Dialling && held.dialled.is_some();
        let (reading, blocked, watched, kind) = (held.reading, held.blocked, held.watched, held.kind);
        held.stage = Stage::Dead;
        held.output.clear();
        held.left = Default::default();
        self.patience.set(patience_of(conn), None);
        match (reading, kind) {
            (Reading::Armed, Kind::Socket) => self.ring.cancel(tag(Op::Receive, conn)),
            (Reading::Armed, Kind::Pipe) => self.ring.cancel(tag(Op::Readable, conn)),
            (Reading::Into, _) => self.ring.cancel(tag(Op::ReceiveInto, conn)),
            (Reading::Idle | Reading::Cancelling, _) => {}
        }
        if blocked {
            self.ring.cancel(tag(Op::Writable, conn));
        }
        if watched {
            self.ring.cancel(tag(Op::Ending, conn));
        }
        if dialling {
            self.ring.cancel(tag(Op::Connect, conn));
        }
        self.release(conn);
    }

    /// Frees the place of a dead connection once nothing is outstanding.
    pub(crate) fn release(&mut self, conn: ConnId) {
        let free =
            self.conns.get(conn.0).is_some_and(|held| held.stage == Stage::Dead && held.outstanding == 0);
        if free {
            self.conns.remove(conn.0);
            self.count_connections();
        }
    }

    /// A connection's patience is over: a dial that took too long, a peer that takes nothing or says no end.
    pub(crate) fn out_of_patience(&mut self, conn: ConnId) {
        match self.conns.get(conn.0).map(|held| held.stage) {
            Some(Stage::Dialling) => self.lose(conn, Why::TimedOut),
            Some(Stage::Flushing | Stage::Lingering) => self.kill(conn),
            // Only a link has a deadline while it is open: for its greeting.
            Some(Stage::Open) => self.lose(conn, Why::TimedOut),
            Some(Stage::Dead) | None => {}
        }
    }
}

/// A socket to dial with. Blocking, as the ring wants it: a non-blocking one would make it answer EAGAIN.
fn dial_socket(to: &SockAddr, from: Option<SocketAddr>) -> io::Result<Socket> {
    let ip = to.domain() != Domain::UNIX;
    let socket = Socket::new(to.domain(), Type::STREAM, ip.then_some(Protocol::TCP))?;
    if ip {
        socket.set_tcp_nodelay(true)?;
        bound_unsent(&socket)?;
    }
    if let Some(from) = from {
        // The port is picked at connect, where the destination counts: 28,000 a destination, not in all.
        set_bind_address_no_port(socket.as_raw_fd())?;
        socket.bind(&from.into())?;
    }
    Ok(socket)
}

/// Bytes that the kernel takes of a connection beyond what its peer makes room for. Its own measure grows to megabytes,
/// and room is told only when a third of that is free: a peer that reads slowly would look like one that takes nothing,
/// and each would cost the megabytes (tcp(7) has no word of it; Linux, Documentation/networking/ip-sysctl,
/// tcp_notsent_lowat).
const UNSENT_MAX: libc::c_int = 128 << 10;

/// Bounds what waits in the kernel; what a listener accepts inherits it.
pub(crate) fn bound_unsent(socket: &Socket) -> io::Result<()> {
    set_option(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, UNSENT_MAX)
}

fn set_bind_address_no_port(fd: RawFd) -> io::Result<()> {
    set_option(fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)
}

fn set_option(fd: RawFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the option's value is an int of ours, and its size is passed.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Says that we have said all.
fn say_all(fd: RawFd) {
    // SAFETY: no memory is passed. An error means that the connection is gone, which its reads will say.
    unsafe { libc::shutdown(fd, libc::SHUT_WR) };
}

/// Hands what waits to the kernel, as much as one call may hold: how much that is, and what the kernel says.
fn offer(held: &Conn) -> (usize, io::Result<usize>) {
    if let Some(bytes) = held.output.whole() {
        return (bytes.len(), hand_over(held.raw(), held.kind, &[bytes]));
    }
    let mut slices = [&[][..]; SLICES_MAX];
    let count = held.output.slices(&mut slices);
    let offered = slices[..count].iter().map(|slice| slice.len()).sum();
    (offered, hand_over(held.raw(), held.kind, &slices[..count]))
}

/// Hands bytes to the kernel in one call that does not wait.
fn hand_over(fd: RawFd, kind: Kind, slices: &[&[u8]]) -> io::Result<usize> {
    let result = match (kind, slices) {
        (Kind::Socket, [bytes]) => {
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // SAFETY: the slice is valid for the call.
            unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) }
        }
        (Kind::Socket, _) => {
            let mut parts = parts_of(slices);
            // SAFETY: an all-zero msghdr is a valid empty one.
            let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
            message.msg_iov = parts.as_mut_ptr();
            message.msg_iovlen = slices.len() as _;
            // SAFETY: the parts point at slices that are valid for the call.
            unsafe { libc::sendmsg(fd, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) }
        }
        (Kind::Pipe, _) => {
            let parts = parts_of(slices);
            // SAFETY: as above; our end of a pipe does not block, and SIGPIPE is ignored since boot.
            unsafe { libc::writev(fd, parts.as_ptr(), slices.len() as libc::c_int) }
        }
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

fn parts_of(slices: &[&[u8]]) -> [libc::iovec; SLICES_MAX] {
    let mut parts = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SLICES_MAX];
    for (part, slice) in parts.iter_mut().zip(slices) {
        *part = libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: slice.len() };
    }
    parts
}

/// The kernel's reason in our words.
pub(crate) fn why_of(error: &io::Error) -> Why {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED | libc::ENOENT) => Why::Refused,
        Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => Why::Reset,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN) => Why::Unreachable,
        Some(libc::ETIMEDOUT) => Why::TimedOut,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL) => {
            Why::Exhausted
        }
        _ => Why::Broken,
    }
}
