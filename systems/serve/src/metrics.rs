//! `GET /metrics` and `GET /healthz`, for whoever watches: the gauges of every core as Prometheus text.
//!
//! One thread of its own, which sleeps until it is asked and answers one request a connection. Cores are asked only
//! then: a program that nobody watches is not woken to be counted. A watcher that hangs costs other watchers two
//! seconds.

use machine::Gauges;
use reactor::{Fatal, Gatherer};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// How long a watcher may take to ask, and to take each part of the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a request's head; more is refused.
const HEAD_MAX: usize = 8 * 1024;

/// Takes the port; 0 takes a free one. Gives the listener with its address.
///
/// # Errors
/// Status 4 when the port is taken.
pub fn reserve(at: SocketAddr) -> Result<(TcpListener, SocketAddr), Fatal> {
    let bound =
        TcpListener::bind(at).and_then(|listener| listener.local_addr().map(|found| (listener, found)));
    bound.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Fatal::taken(format!("{at} is taken: choose another --metrics-port")),
        _ => Fatal::taken(format!("cannot listen on {at}: {error}")),
    })
}

/// Answers from now on, as long as the process lives.
///
/// # Errors
/// Status 3 when no thread can be started.
pub fn serve(listener: TcpListener, gatherer: Gatherer) -> Result<(), Fatal> {
    let answer_all = move || {
        for stream in listener.incoming().flatten() {
            // A watcher that went away misses nothing that anybody else needs.
            let _ = answer(&stream, &gatherer);
        }
    };
    let thread = std::thread::Builder::new().name("metrics".into()).spawn(answer_all);
    thread.map(drop).map_err(|error| Fatal::machine(format!("no thread for metrics: {error}")))
}

fn answer(mut stream: &TcpStream, gatherer: &Gatherer) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD_MAX {
        match stream.read(&mut part)? {
            0 => return Ok(()),
            count => head.extend_from_slice(&part[..count]),
        }
    }
    let (status, body) = reply(&head, || Gauges::prometheus(&gatherer.gather()));
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn reply(head: &[u8], metrics: impl FnOnce() -> String) -> (&'static str, String) {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", metrics()),
        (Some(b"GET"), Some(b"/healthz")) => ("200 OK", "ok\n".to_owned()),
        (Some(b"GET"), Some(_)) => ("404 Not Found", "there are /metrics and /healthz\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_its_answer() {
        #[track_caller]
        fn check(head: &str, status: &str, body: &str) {
            let (told, text) = reply(head.as_bytes(), || "things_total 3\n".to_owned());
            assert!(told.starts_with(status) && text.contains(body), "{head:?}: {told} {text}");
        }
        check("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200", "things_total 3\n");
        check("GET /healthz HTTP/1.1\r\n\r\n", "200", "ok");
        check("GET / HTTP/1.1\r\n\r\n", "404", "/metrics");
        check("POST /metrics HTTP/1.1\r\n\r\n", "405", "GET");
        check("", "405", "GET");
    }
}
