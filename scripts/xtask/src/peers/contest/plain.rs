//! The plain client: goes round its connections, reads what came back on each, asks again. It speaks RESP and
//! memcached's text, which no other client here does both, so it is what memcached is compared by.
//!
//! It waits at one connection while others may have answered, so a server always has work, and the server's processor
//! time a request is right; the time a reply waits to be read is ours, so latency is told for one connection only.
//! The hard thing is to cost little beside the server: requests and what must come back are made before, and a reply
//! is checked by comparing bytes.

use super::cell::{Cell, What};
use crate::peers::chance::Chance;
use crate::peers::zipf::Zipf;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Keys that are there, as many as the other clients write.
pub(super) const KEYS: usize = 100_000;
/// Requests made before, to choose from: many keys, and few enough to hold with their replies.
const PREPARED: usize = 16_384;
/// Writes sent at once while filling.
const FILL_BATCH: usize = 100;
/// A server that is silent for longer has failed.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How skewed the mix is: the constant of YCSB.
const THETA: f64 = 0.99;
/// Writes among so many requests of the mix.
const MIX_ONE_WRITE_IN: usize = 10;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Resp,
    Memcached,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    /// Sorted, in microseconds; of one connection, else empty.
    pub(super) took_us: Vec<f64>,
}

/// Requests that are sent at once, and what must come back.
#[derive(Default)]
struct Batch {
    requests: Vec<u8>,
    replies: Vec<u8>,
}

impl Batch {
    fn set(&mut self, dialect: Dialect, key: usize, value: &str) {
        let length = value.len();
        let _ = match dialect {
            Dialect::Resp => {
                let head = "*3\r\n$3\r\nSET\r\n$16\r\n";
                write!(self.requests, "{head}key:{key:012}\r\n${length}\r\n{value}\r\n")
            }
            Dialect::Memcached => write!(self.requests, "set key:{key:012} 0 0 {length}\r\n{value}\r\n"),
        };
        self.replies.extend_from_slice(match dialect {
            Dialect::Resp => b"+OK\r\n",
            Dialect::Memcached => b"STORED\r\n",
        });
    }

    fn get(&mut self, dialect: Dialect, key: usize, value: &str) {
        let length = value.len();
        let _ = match dialect {
            Dialect::Resp => {
                let _ = write!(self.replies, "${length}\r\n{value}\r\n");
                write!(self.requests, "*2\r\n$3\r\nGET\r\n$16\r\nkey:{key:012}\r\n")
            }
            Dialect::Memcached => {
                let _ = write!(self.replies, "VALUE key:{key:012} 0 {length}\r\n{value}\r\nEND\r\n");
                write!(self.requests, "get key:{key:012}\r\n")
            }
        };
    }
}

/// Writes every key.
pub(super) fn fill(at: SocketAddr, dialect: Dialect, cell: &Cell) -> Result<(), String> {
    let mut stream = connect(at)?;
    let value = "x".repeat(cell.size.bytes());
    let mut came = Vec::new();
    for first in (0..KEYS).step_by(FILL_BATCH) {
        let mut batch = Batch::default();
        (first..KEYS.min(first + FILL_BATCH)).for_each(|key| batch.set(dialect, key, &value));
        ask(&mut stream, &batch)?;
        answered(&mut stream, &batch, &mut came)?;
    }
    Ok(())
}

/// Asks as the cell says, first for a while that does not count; `counting` is told when counting begins and when it
/// has ended.
pub(super) fn run(
    at: SocketAddr,
    dialect: Dialect,
    cell: &Cell,
    warm_up: Duration,
    duration: Duration,
    mut counting: impl FnMut() -> Result<(), String>,
) -> Result<Done, String> {
    let batches = prepare(dialect, cell);
    let mut streams = Vec::new();
    for number in 0..cell.connections {
        let mut stream = connect(at)?;
        ask(&mut stream, &batches[number % batches.len()])?;
        streams.push((stream, number % batches.len(), Instant::now()));
    }
    let (mut came, mut took_us, mut done) = (Vec::new(), Vec::new(), 0);
    let mut began: Option<Instant> = None;
    let start = Instant::now();
    for turn in 0.. {
        let now = Instant::now();
        let (stream, number, asked) = &mut streams[turn % cell.connections];
        answered(stream, &batches[*number], &mut came)?;
        match began {
            None if now - start > warm_up => {
                began = Some(now);
                counting()?;
            }
            None => {}
            Some(began) if now - began > duration => break,
            Some(_) => {
                done += cell.pipeline;
                if cell.connections == 1 {
                    took_us.push(asked.elapsed().as_secs_f64() * 1e6);
                }
            }
        }
        *number = (*number + 7919) % batches.len();
        *asked = Instant::now();
        ask(stream, &batches[*number])?;
    }
    let seconds = began.unwrap_or(start).elapsed().as_secs_f64();
    counting()?;
    took_us.sort_by(f64::total_cmp);
    Ok(Done { requests: done as u64, seconds, took_us })
}

fn prepare(dialect: Dialect, cell: &Cell) -> Vec<Batch> {
    let mut chance = Chance::new(1);
    let value = "x".repeat(cell.size.bytes());
    let zipf = Zipf::new(KEYS as u64, THETA);
    let batch = |_| {
        let mut batch = Batch::default();
        for _ in 0..cell.pipeline {
            match cell.what {
                What::Get => batch.get(dialect, chance.below(KEYS), &value),
                What::Set => batch.set(dialect, chance.below(KEYS), &value),
                What::Mix => {
                    let key = zipf.draw(&mut chance) as usize;
                    match chance.below(MIX_ONE_WRITE_IN) {
                        0 => batch.set(dialect, key, &value),
                        _other => batch.get(dialect, key, &value),
                    }
                }
            }
        }
        batch
    };
    (0..(PREPARED / cell.pipeline).max(1)).map(batch).collect()
}

fn connect(at: SocketAddr) -> Result<TcpStream, String> {
    let wrong = |error| format!("{at} takes no connection: {error}");
    let stream = TcpStream::connect(at).map_err(wrong)?;
    stream.set_nodelay(true).map_err(wrong)?;
    stream.set_read_timeout(Some(SILENCE_MAX)).map_err(wrong)?;
    Ok(stream)
}

fn ask(stream: &mut TcpStream, batch: &Batch) -> Result<(), String> {
    stream.write_all(&batch.requests).map_err(|error| format!("a server took no more requests: {error}"))
}

fn answered(stream: &mut TcpStream, batch: &Batch, came: &mut Vec<u8>) -> Result<(), String> {
    came.resize(batch.replies.len(), 0);
    stream.read_exact(came).map_err(|error| format!("a server does not answer: {error}"))?;
    if *came == batch.replies {
        return Ok(());
    }
    Err(format!("a server answered {:?}", String::from_utf8_lossy(&came[..came.len().min(80)])))
}

#[cfg(test)]
mod tests {
    use super::super::cell::Size;
    use super::*;
    use std::net::TcpListener;

    #[track_caller]
    fn check(dialect: Dialect, what: What, requests: &str, replies: &str) {
        let cell = Cell { what, size: Size::Small, connections: 1, pipeline: 1 };
        let batch = &prepare(dialect, &cell)[0];
        let key = format!("{:012}", Chance::new(1).below(KEYS));
        assert_eq!(String::from_utf8_lossy(&batch.requests), requests.replace("KEY", &key));
        assert_eq!(String::from_utf8_lossy(&batch.replies), replies.replace("KEY", &key));
    }

    #[test]
    fn requests_are_what_each_server_speaks() {
        let (resp, memcached) = (Dialect::Resp, Dialect::Memcached);
        check(resp, What::Get, "*2\r\n$3\r\nGET\r\n$16\r\nkey:KEY\r\n", "$3\r\nxxx\r\n");
        check(resp, What::Set, "*3\r\n$3\r\nSET\r\n$16\r\nkey:KEY\r\n$3\r\nxxx\r\n", "+OK\r\n");
        check(memcached, What::Get, "get key:KEY\r\n", "VALUE key:KEY 0 3\r\nxxx\r\nEND\r\n");
        check(memcached, What::Set, "set key:KEY 0 0 3\r\nxxx\r\n", "STORED\r\n");
    }

    #[test]
    fn a_wrong_reply_ends_the_run() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("its address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("one comes");
            stream.write_all(b"$3\r\nyyy\r\n").expect("it is there");
            let _ = stream.read(&mut [0; 100]);
        });
        let cell = Cell { what: What::Get, size: Size::Small, connections: 1, pipeline: 1 };
        let short = Duration::from_millis(1);
        let said = run(at, Dialect::Resp, &cell, short, short, || Ok(())).expect_err("it is wrong");
        assert!(said.contains("yyy"), "{said}");
        server.join().expect("it ends");
    }
}
