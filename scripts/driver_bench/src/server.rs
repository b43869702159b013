//! The server: a request is a star, and each is answered by the same bytes.

use crate::pool::Pool;
use crate::ring::{ACCEPT, RECEIVE, Ring, SEND, WHOM};
use crate::way::{Receive, Send, Way};
use io_uring::{cqueue, opcode, squeue, types};
use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A value of 32 bytes, as RESP has it.
pub(crate) const ANSWER: &[u8] = b"$32\r\n0123456789abcdef0123456789abcdef\r\n";
/// Descriptors: over what the machine allows to a process.
const PLACES: usize = 32_768;
/// Files that a ring may know: under what the machine allows to a process.
const FILES: u32 = 10_000;

const FULL: &str = "a closed loop never fills a socket";

/// A server that runs, and ends when it is told to and its last connection is closed.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) thread: JoinHandle<()>,
    pub(crate) is_over: Arc<AtomicBool>,
}

/// Starts it on that core.
pub(crate) fn start(way: Way, core: usize) -> Running {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    listener.set_tcp_nodelay(true).expect("an option of TCP");
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    listener.listen(4096).expect("a listener");
    let address = listener.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    let is_over = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_over);
    let serve = move || {
        assert!(core_affinity::set_for_current(core_affinity::CoreId { id: core }), "core {core} is there");
        Server::new(way, listener).serve(&told);
    };
    Running { address, thread: std::thread::spawn(serve), is_over }
}

/// A connection.
#[derive(Default)]
struct Place {
    is_open: bool,
    /// What is owed, and what is on its way as an entry of the ring.
    owed: Vec<u8>,
    leaving: Vec<u8>,
    is_listed: bool,
}

struct Server {
    way: Way,
    listener: Socket,
    // The ring goes before the buffers that it writes into.
    ring: Ring,
    pool: Pool,
    places: Vec<Place>,
    open: usize,
    /// Who is owed something.
    listed: Vec<usize>,
}

impl Server {
    fn new(way: Way, listener: Socket) -> Self {
        let ring = Ring::new(way.setup).expect("a ring");
        let incremental = way.receive == Receive::Incremental;
        let pool = Pool::new(&ring.uring, way.buffers, way.buffer, incremental).expect("provided buffers");
        if way.send == Send::EntryOfRegistered {
            ring.uring.submitter().register_files_sparse(FILES).expect("places for files");
        }
        let places = (0..PLACES).map(|_| Place::default()).collect();
        Self { way, listener, ring, pool, places, open: 0, listed: Vec::new() }
    }

    fn serve(mut self, is_over: &AtomicBool) {
        self.accept();
        let mut taken = Vec::new();
        loop {
            let wait = usize::from(!self.ring.has_more());
            self.ring.submit(wait);
            self.ring.take(self.way.batch, &mut taken);
            for entry in &taken {
                self.completed(entry);
            }
            for whom in std::mem::take(&mut self.listed) {
                self.send(whom);
            }
            self.pool.publish();
            if self.open == 0 && is_over.load(Ordering::Acquire) {
                return;
            }
        }
    }

    fn accept(&mut self) {
        let listener = types::Fd(self.listener.as_raw_fd());
        let registered = self.way.send == Send::EntryOfRegistered;
        let entry = opcode::AcceptMulti::new(listener).allocate_file_index(registered).build();
        self.ring.push(&entry.user_data(ACCEPT));
    }

    fn receive(&mut self, whom: usize) {
        // What is a descriptor to one is a place among the registered files to the other.
        let registered = match self.way.send {
            Send::EntryOfRegistered => squeue::Flags::FIXED_FILE,
            _ => squeue::Flags::empty(),
        };
        let from = types::Fd(whom as RawFd);
        let entry = match self.way.receive {
            Receive::Multishot | Receive::Incremental => {
                opcode::RecvMulti::new(from, 0).build().flags(registered)
            }
            Receive::Bundle => opcode::RecvMultiBundle::new(from, 0).build().flags(registered),
            Receive::OneShot => {
                let entry = opcode::Recv::new(from, std::ptr::null_mut(), 0).buf_group(0).build();
                entry.flags(registered | squeue::Flags::BUFFER_SELECT)
            }
        };
        self.ring.push(&entry.user_data(RECEIVE | whom as u64));
    }

    fn completed(&mut self, entry: &cqueue::Entry) {
        let whom = (entry.user_data() & WHOM) as usize;
        match entry.user_data() & !WHOM {
            ACCEPT => {
                let place = usize::try_from(entry.result()).expect("accept brings a connection");
                self.places[place] = Place { is_open: true, ..Place::default() };
                self.open += 1;
                self.receive(place);
                if !cqueue::more(entry.flags()) {
                    self.accept();
                }
            }
            RECEIVE => self.received(whom, entry),
            _ => {
                let place = &mut self.places[whom];
                if entry.result() < 0 {
                    return self.close(whom);
                }
                assert!(entry.result() == place.leaving.len() as i32, "{FULL}");
                place.leaving.clear();
                self.owe(whom);
            }
        }
    }

    fn received(&mut self, whom: usize, entry: &cqueue::Entry) {
        let length = entry.result();
        if length == -libc::ENOBUFS {
            // Those that are in use come back with the completions at hand.
            self.pool.publish();
            self.receive(whom);
            return;
        }
        let buffer = cqueue::buffer_select(entry.flags());
        if length <= 0 {
            buffer.into_iter().for_each(|number| self.pool.give(number));
            self.close(whom);
            return;
        }
        let (length, number) = (length as usize, buffer.expect("bytes come in a buffer"));
        match self.way.receive {
            Receive::Bundle => {
                for (number, length) in self.pool.bundle(number, length) {
                    self.answer(whom, number, length);
                    self.pool.give(number);
                }
            }
            Receive::Incremental if cqueue::buffer_more(entry.flags()) => {
                self.answer(whom, number, length);
                self.pool.use_up(number, length);
            }
            _ => {
                self.answer(whom, number, length);
                self.pool.give(number);
            }
        }
        match self.way.send {
            Send::AtOnce => self.send(whom),
            _ => self.owe(whom),
        }
        if !cqueue::more(entry.flags()) {
            self.receive(whom);
        }
    }

    fn answer(&mut self, whom: usize, number: u16, length: usize) {
        let stars = self.pool.piece(number, length).iter().filter(|byte| **byte == b'*').count();
        for _ in 0..stars {
            self.places[whom].owed.extend_from_slice(ANSWER);
        }
    }

    fn owe(&mut self, whom: usize) {
        let place = &mut self.places[whom];
        if !place.is_listed && !place.owed.is_empty() {
            place.is_listed = true;
            self.listed.push(whom);
        }
    }

    fn send(&mut self, whom: usize) {
        let place = &mut self.places[whom];
        place.is_listed = false;
        if !place.is_open || place.owed.is_empty() || !place.leaving.is_empty() {
            return;
        }
        match self.way.send {
            Send::Direct | Send::AtOnce => {
                let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
                // SAFETY: the bytes are there for the length of the call.
                let sent =
                    unsafe { libc::send(whom as RawFd, place.owed.as_ptr().cast(), place.owed.len(), flags) };
                if sent < 0 {
                    // The client is done and has closed it.
                    return self.close(whom);
                }
                assert!(sent == place.owed.len() as isize, "{FULL}");
                place.owed.clear();
            }
            Send::Entry | Send::EntryOfRegistered => {
                std::mem::swap(&mut place.owed, &mut place.leaving);
                let (start, length) = (place.leaving.as_ptr(), place.leaving.len() as u32);
                let entry = match self.way.send {
                    Send::EntryOfRegistered => opcode::Send::new(types::Fixed(whom as u32), start, length),
                    _ => opcode::Send::new(types::Fd(whom as RawFd), start, length),
                };
                let entry = entry.flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL).build();
                self.ring.push(&entry.user_data(SEND | whom as u64));
            }
        }
    }

    fn close(&mut self, whom: usize) {
        if !std::mem::take(&mut self.places[whom].is_open) {
            return;
        }
        self.open -= 1;
        match self.way.send {
            Send::EntryOfRegistered => {
                let entry = opcode::Close::new(types::Fixed(whom as u32)).build();
                self.ring.push(&entry.flags(squeue::Flags::SKIP_SUCCESS));
            }
            _ => {
                // SAFETY: it is ours, and nobody uses it after this.
                unsafe { libc::close(whom as RawFd) };
            }
        }
    }
}
