//! The closed loop that asks, the same for all ways.

use crate::pool::Pool;
use crate::ring::{RECEIVE, Ring, SEND, WHOM};
use crate::server::{ANSWER, Running};
use crate::way::Setup;
use hdrhistogram::Histogram;
use io_uring::{cqueue, opcode, squeue, types};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::os::unix::thread::JoinHandleExt as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// A read of a key of 16 bytes.
const REQUEST: &[u8] = b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n";
/// How long it goes on before it counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// A longer wait counts as this one.
const WAIT_MAX_NS: u64 = 60_000_000_000;

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    /// Requests that each connection has in flight.
    pub(crate) pipeline: usize,
}

/// What came of it.
pub(crate) struct Outcome {
    requests: u64,
    seconds: f64,
    /// Of the server's thread, in user space and in the kernel.
    processor_seconds: f64,
    waits: Histogram<u64>,
}

struct Asking {
    stream: TcpStream,
    /// Bytes of answers that are still to come.
    awaited: usize,
    since: Instant,
}

/// Asks a server for so long, and ends it.
pub(crate) fn run(server: Running, load: Load, core: usize, lasting: Duration) -> Outcome {
    assert!(core_affinity::set_for_current(core_affinity::CoreId { id: core }), "core {core} is there");
    let batch = REQUEST.repeat(load.pipeline);
    let mut ring = Ring::new(Setup::Deferred).expect("a ring");
    let mut pool = Pool::new(&ring.uring, 8192, 2048, false).expect("provided buffers");
    let mut all: Vec<Asking> = (0..load.connections).map(|_| Asking::connect(server.address)).collect();
    for (whom, asking) in all.iter_mut().enumerate() {
        ring.push(&asking.receive(whom));
        ring.push(&asking.ask(whom, &batch, load));
    }
    let clock = processor_clock(&server);
    let began = Instant::now();
    let mut counted: Option<(Instant, f64)> = None;
    let mut requests = 0;
    let mut waits = Histogram::new_with_bounds(1, WAIT_MAX_NS, 3).expect("these bounds are allowed");
    let mut taken = Vec::new();
    loop {
        ring.submit(1);
        ring.take(usize::MAX, &mut taken);
        let now = Instant::now();
        match counted {
            None if now - began > WARM_UP => {
                (requests, counted) = (0, Some((now, seconds_of(clock))));
                waits.reset();
            }
            Some((since, _)) if now - since > lasting => break,
            _ => {}
        }
        for entry in &taken {
            let whom = (entry.user_data() & WHOM) as usize;
            assert!(entry.user_data() & !WHOM == RECEIVE, "sending failed: {}", entry.result());
            let asking = &mut all[whom];
            if entry.result() != -libc::ENOBUFS {
                let length = usize::try_from(entry.result()).expect("the server answers");
                pool.give(cqueue::buffer_select(entry.flags()).expect("bytes come in a buffer"));
                asking.awaited = asking.awaited.checked_sub(length).expect("no more than was asked for");
                if asking.awaited == 0 {
                    requests += load.pipeline as u64;
                    waits.saturating_record((now - asking.since).as_nanos() as u64);
                    ring.push(&asking.ask(whom, &batch, load));
                }
            }
            if !cqueue::more(entry.flags()) {
                ring.push(&asking.receive(whom));
            }
        }
        pool.publish();
    }
    let (since, spent) = counted.expect("it was warm");
    let seconds = since.elapsed().as_secs_f64();
    let processor_seconds = seconds_of(clock) - spent;
    server.is_over.store(true, Ordering::Release);
    drop(ring);
    drop(all);
    server.thread.join().expect("the server ends well");
    Outcome { requests, seconds, processor_seconds, waits }
}

impl Asking {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("an option of TCP");
        // Closed without a trace: ten thousand that wait for their time are felt by what is measured next.
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option of sockets");
        Self { stream, awaited: 0, since: Instant::now() }
    }

    fn receive(&self, whom: usize) -> squeue::Entry {
        let entry = opcode::RecvMulti::new(types::Fd(self.stream.as_raw_fd()), 0).build();
        entry.user_data(RECEIVE | whom as u64)
    }

    fn ask(&mut self, whom: usize, batch: &[u8], load: Load) -> squeue::Entry {
        (self.awaited, self.since) = (load.pipeline * ANSWER.len(), Instant::now());
        let entry = opcode::Send::new(types::Fd(self.stream.as_raw_fd()), batch.as_ptr(), batch.len() as u32);
        let entry = entry.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build();
        entry.user_data(SEND | whom as u64).flags(squeue::Flags::SKIP_SUCCESS)
    }
}

/// The clock of what the server's thread spends.
fn processor_clock(server: &Running) -> libc::clockid_t {
    let mut clock = 0;
    // SAFETY: the thread runs, and the place for its clock is ours.
    let failed = unsafe { libc::pthread_getcpuclockid(server.thread.as_pthread_t(), &raw mut clock) };
    assert!(failed == 0, "a thread has a clock");
    clock
}

fn seconds_of(clock: libc::clockid_t) -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place for the time is ours.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert!(failed == 0, "the server's thread runs");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

impl Outcome {
    /// A line of JSON.
    pub(crate) fn line(&self, way: &str, round: u64, load: Load) -> Value {
        json!({
            "way": way,
            "round": round,
            "connections": load.connections,
            "pipeline": load.pipeline,
            "requests_per_second": self.requests as f64 / self.seconds,
            "requests_per_processor_second": self.requests as f64 / self.processor_seconds,
            "p50_ns": self.waits.value_at_quantile(0.5),
            "p99_ns": self.waits.value_at_quantile(0.99),
        })
    }
}
