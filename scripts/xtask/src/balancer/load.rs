//! A steady load: so many requests a second over some connections, each sent when it is due and not when the one before
//! was answered; and what came of it.
//!
//! The hard thing is that a slow answer must not hide what it kept waiting: latencies are counted from when a request
//! was due, so those that had to wait behind it count in full.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET /home HTTP/1.1\r\nHost: test\r\n\r\n";

/// An answer that takes longer has failed.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// So many failures are kept in words.
const FAILURES_SHOWN: usize = 5;

/// When each replica was first heard, by its number.
type Heard = Arc<Mutex<BTreeMap<u64, Instant>>>;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) failed: u64,
    pub(super) failures: Vec<String>,
    /// In microseconds, in order after [`Load::stop`].
    pub(super) latencies: Vec<u32>,
}

/// Requests that come.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    heard: Heard,
    clients: Vec<JoinHandle<Tally>>,
}

impl Load {
    /// Begins.
    pub(super) fn start(at: SocketAddr, rate: u32, connections: u32) -> Self {
        let (stop, heard) = (Arc::new(AtomicBool::new(false)), Heard::default());
        let begun = Instant::now() + Duration::from_millis(20);
        let between = Duration::from_secs_f64(f64::from(connections) / f64::from(rate));
        let clients = (0..connections)
            .map(|number| {
                let (stop, heard) = (stop.clone(), heard.clone());
                let first = begun + between * number / connections;
                std::thread::spawn(move || {
                    Client { at, conn: None, heard, known: BTreeSet::new() }.ask(first, between, &stop)
                })
            })
            .collect();
        Self { stop, heard, clients }
    }

    /// When a replica of this number or a greater one was first heard, if it was.
    pub(super) fn heard_from(&self, number: u64) -> Option<Instant> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.range(number..).map(|(_, at)| *at).min()
    }

    /// Ends, and gives what came of it.
    pub(super) fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for client in self.clients {
            let one = client.join().unwrap_or_default();
            all.failed += one.failed;
            all.failures.extend(one.failures);
            all.latencies.extend(one.latencies);
        }
        all.failures.truncate(FAILURES_SHOWN);
        all.latencies.sort_unstable();
        all
    }
}

struct Client {
    at: SocketAddr,
    conn: Option<TcpStream>,
    heard: Heard,
    /// Replicas that this client has heard before.
    known: BTreeSet<u64>,
}

impl Client {
    fn ask(mut self, first: Instant, between: Duration, stop: &AtomicBool) -> Tally {
        let (mut tally, mut due) = (Tally::default(), first);
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            match self.once() {
                Ok(number) => self.hear(number),
                Err(why) => {
                    self.conn = None;
                    tally.failed += 1;
                    tally.failures.push(why);
                    tally.failures.truncate(FAILURES_SHOWN);
                }
            }
            tally.latencies.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
            due += between;
        }
        tally
    }

    fn hear(&mut self, number: u64) {
        if self.known.insert(number) {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.entry(number).or_insert_with(Instant::now);
        }
    }

    /// One request: the number of who answered.
    fn once(&mut self) -> Result<u64, String> {
        let at = self.at;
        let conn = match &mut self.conn {
            Some(conn) => conn,
            none => none.insert(connected(at).map_err(|error| error.to_string())?),
        };
        conn.write_all(REQUEST).map_err(|error| error.to_string())?;
        let said = answer(conn).map_err(|error| error.to_string())?;
        number(&said).ok_or(said)
    }
}

/// A connection on which an answer is waited for.
pub(super) fn connected(at: SocketAddr) -> io::Result<TcpStream> {
    let conn = TcpStream::connect(at)?;
    conn.set_nodelay(true)?;
    conn.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(conn)
}

/// Sends the request.
pub(super) fn send(conn: &mut TcpStream) -> io::Result<()> {
    conn.write_all(REQUEST)
}

/// One answer with a length, head and body.
pub(super) fn answer(conn: &mut TcpStream) -> io::Result<String> {
    let (mut said, mut part) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(length) = whole(&said)
            && said.len() >= length
        {
            return Ok(String::from_utf8_lossy(&said).into_owned());
        }
        match conn.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => said.extend_from_slice(&part[..count]),
        }
    }
}

/// How long the whole answer is, once its head is there.
fn whole(said: &[u8]) -> Option<usize> {
    let head = said.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&said[..head]).ok()?.to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"))?;
    Some(head + length.trim().parse::<usize>().ok()?)
}

/// Who answered, when he said hello.
pub(super) fn number(said: &str) -> Option<u64> {
    let body = said.strip_prefix("HTTP/1.1 200 ")?.split_once("\r\n\r\n")?.1;
    body.split_once("Hello from Server: ")?.1.split('"').next()?.parse().ok()
}

/// A value of an ordered list, by the part of it that lies below.
pub(super) fn part_of<T: Copy + Default>(ordered: &[T], part: f64) -> T {
    let last = ordered.len().saturating_sub(1);
    ordered.get(((ordered.len() as f64 * part) as usize).min(last)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answered_is_read_from_a_whole_answer_alone() {
        let said = "HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n\
            {\"message\":\"Hello from Server: 12\",\"status\":\"successful\"}\n";
        assert_eq!(number(said), Some(12));
        assert_eq!(whole(said.as_bytes()), Some(said.find("\r\n\r\n").unwrap_or(0) + 4 + 57));
        assert_eq!(whole(&said.as_bytes()[..20]), None);
        assert_eq!(number("HTTP/1.1 502 Bad Gateway\r\n\r\n{\"message\":\"Hello from Server: 12\"}"), None);
    }

    #[test]
    fn parts_of_a_list_are_its_own_values() {
        let list: Vec<u32> = (1..=100).collect();
        assert_eq!([part_of(&list, 0.5), part_of(&list, 0.99), part_of(&list, 1.0)], [51, 100, 100]);
        assert_eq!(part_of::<u32>(&[], 0.5), 0);
    }
}
