//! What the server itself counts, read before a run and after it. A generator that counts replies nobody sent, or
//! a proxy that answers for the server, is found out by nothing else. RESP servers are asked for INFO, HTTP servers
//! for the counter that the command line names; who cannot be asked is told of as unknown, never as agreeing.

use crate::discover::ask;
use crate::plan::Load;
use crate::protocol::Dialect;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
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
    #[must_use]
    pub fn take(load: &Load, metric: Option<&str>) -> Option<Self> {
        match (metric, &load.dialect) {
            (Some(metric), _) => Some(Self { requests: scrape(metric)?, own: 0 }),
            (None, Dialect::Resp) => {
                let mut requests = 0;
                for target in &load.targets {
                    requests += ask(*target, &[b"INFO", b"stats"], processed).ok()??;
                }
                Some(Self { requests, own: load.targets.len() as u64 })
            }
            (None, Dialect::Frame | Dialect::Http(_)) => None,
        }
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
fn scrape(metric: &str) -> Option<u64> {
    let (page, name) = metric.strip_prefix("http://")?.split_once('#')?;
    let (host, path) = page.split_once('/').map_or((page, "metrics"), |(host, path)| (host, path));
    let to: SocketAddr = host.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&to, ANSWER_MAX).ok()?;
    stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.take(PAGE_MAX).read_to_string(&mut text).ok()?;
    sum(&text, name)
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
    fn a_difference_over_one_in_a_hundred_is_one() {
        assert!(!Beside { counted: 1_009, written: 1_000 }.differ());
        assert!(Beside { counted: 1_011, written: 1_000 }.differ());
        assert!(Beside { counted: 0, written: 1 }.differ());
        let reading = |requests| Reading { requests, own: 1 };
        assert_eq!(reading(5).until(reading(16), 10), Some(Beside { counted: 10, written: 10 }));
        assert_eq!(reading(5).until(reading(3), 10), None);
    }
}
