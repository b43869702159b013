//! What the server itself counts, read before a run and after it. A generator that counts replies nobody sent, or
//! a proxy that answers for the server, is found out by nothing else. RESP servers are asked for INFO, HTTP servers
//! for the counter that the command line names; who cannot be asked is told of as unknown, never as agreeing.

use crate::discover::ask;
use crate::plan::Load;
use crate::protocol::Dialect;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;
use wire::resp::Reply;

/// Over this share of difference the two counts are said to differ.
const DIFFER: f64 = 0.01;
/// How long a server may take to show its counters.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The longest page of counters that is read.
const PAGE_MAX: u64 = 16 << 20;

/// The server's count of requests beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Beside {
    /// What the server counted from before the run to after it.
    pub counted: u64,
    /// What we wrote: greetings, loading, warm-up and all.
    pub written: u64,
}

impl Beside {
    /// Whether they differ by more than one in a hundred.
    #[must_use]
    pub fn differ(&self) -> bool {
        self.counted.abs_diff(self.written) as f64 > self.written as f64 * DIFFER
    }
}

/// The server's counters at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    requests: u64,
    /// What a reading itself adds to the count, by the next.
    own: u64,
}

impl Reading {
    /// What all targets count, as far as they tell. `metric` is `http://host:port/path#name`, for who is not asked
    /// by INFO: all series of that name are added up.
    ///
    /// # Errors
    /// A sentence, when a `metric` was given and cannot be read.
    pub fn take(load: &Load, metric: Option<&str>) -> Result<Option<Self>, String> {
        match (metric, &load.dialect) {
            (Some(metric), _) => scrape(metric).map(|requests| Some(Self { requests, own: 0 })),
            (None, Dialect::Resp) => Ok(Self::informed(&load.targets)),
            (None, Dialect::Frame | Dialect::Http(_)) => Ok(None),
        }
    }

    /// What all of these say when they are asked by INFO; none where one does not.
    fn informed(targets: &[SocketAddr]) -> Option<Self> {
        let mut requests = 0;
        for target in targets {
            requests += ask(*target, &[b"INFO", b"stats"], processed).ok()??;
        }
        Some(Self { requests, own: targets.len() as u64 })
    }

    /// The server's count from `self` to `after`, beside ours. None where the server was restarted meanwhile.
    #[must_use]
    pub fn until(self, after: Self, written: u64) -> Option<Beside> {
        let counted = after.requests.checked_sub(self.requests)?;
        Some(Beside { counted: counted.saturating_sub(self.own), written })
    }
}

fn processed(reply: Reply<'_>) -> Option<u64> {
    let text = match reply {
        Reply::Bulk(text) => text,
        Reply::Verbatim { text, .. } => text,
        _ => return None,
    };
    let text = core::str::from_utf8(text).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("total_commands_processed:"))?;
    line.trim().parse().ok()
}

/// All series of a counter on a page of Prometheus text.
fn scrape(metric: &str) -> Result<u64, String> {
    let Place { host, path, name } =
        place(metric).ok_or("it is not of the form http://HOST:PORT/PATH#NAME")?;
    let text = page(host, path).map_err(|error| format!("the page cannot be read: {error}"))?;
    sum(&text, name).ok_or_else(|| format!("the page has no counter {name}"))
}

/// Where a counter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place<'a> {
    host: &'a str,
    path: &'a str,
    name: &'a str,
}

fn place(metric: &str) -> Option<Place<'_>> {
    let (page, name) = metric.strip_prefix("http://")?.split_once('#')?;
    let (host, path) = page.split_once('/').unwrap_or((page, "metrics"));
    let (alone, port) = host.rsplit_once(':')?;
    let whole = !alone.is_empty() && !name.is_empty() && port.parse::<u16>().is_ok();
    whole.then_some(Place { host, path, name })
}

/// A page with its head, as it was sent.
fn page(host: &str, path: &str) -> io::Result<String> {
    let mut stream = connect(host)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.take(PAGE_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// A connection to the first address of this host that takes one.
fn connect(host: &str) -> io::Result<TcpStream> {
    let mut failed = io::Error::other("the host has no address");
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, ANSWER_MAX) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn sum(text: &str, name: &str) -> Option<u64> {
    let of = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let value = match rest.as_bytes().first()? {
            b'{' => rest.rsplit_once('}')?.1,
            b' ' => rest,
            _ => return None,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    };
    let found: Vec<f64> = text.lines().filter_map(of).collect();
    (!found.is_empty()).then(|| found.iter().sum::<f64>() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};

    #[test]
    fn what_servers_write_is_read() {
        let info = b"# Stats\r\ntotal_connections_received:5\r\ntotal_commands_processed:123\r\n";
        assert_eq!(processed(Reply::Bulk(info)), Some(123));
        assert_eq!(processed(Reply::Error(b"ERR")), None);
        let page = "HTTP/1.1 200 OK\r\n\r\n# HELP x_total y\nx_total{core=\"0\"} 5\nx_total{core=\"1\"} 7\nx_total_more 9\n";
        assert_eq!(sum(page, "x_total"), Some(12));
        assert_eq!(sum(page, "x_totals"), None);
    }

    #[test]
    fn a_counter_that_cannot_be_read_is_told_of() {
        let place = place("http://h:1/a/b#x_total");
        assert_eq!(place, Some(Place { host: "h:1", path: "a/b", name: "x_total" }));
        for wrong in [
            "h:1/metrics#x",
            "http://h:1/metrics",
            "http://h:1/metrics#",
            "http://h/metrics#x",
            "http://h:p#x",
        ] {
            assert!(scrape(wrong).is_err_and(|why| why.contains("not of the form")), "{wrong}");
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nx_total 5\n").unwrap();
        });
        assert_eq!(
            scrape(&format!("http://{at}/metrics#nope")),
            Err("the page has no counter nope".to_owned())
        );
        server.join().unwrap();
        let gone = scrape(&format!("http://{at}/metrics#x_total"));
        assert!(gone.is_err_and(|why| why.contains("cannot be read")));
    }

    #[test]
    fn a_difference_over_one_in_a_hundred_is_one() {
        assert!(!Beside { counted: 1_009, written: 1_000 }.differ());
        assert!(Beside { counted: 1_011, written: 1_000 }.differ());
        assert!(Beside { counted: 0, written: 1 }.differ());
        let reading = |requests| Reading { requests, own: 1 };
        assert_eq!(reading(5).until(reading(16), 10), Some(Beside { counted: 10, written: 10 }));
        assert_eq!(reading(5).until(reading(3), 10), None);
    }
}
