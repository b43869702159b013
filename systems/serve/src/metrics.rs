//! `GET /metrics` and `GET /healthz`, for whoever watches: the gauges of every core as Prometheus text.
//!
//! One thread of its own, which sleeps until it is asked and answers one request a connection. It never touches a core:
//! cores report once a second, the last report is kept here, and that is what is shown. So being watched costs the
//! data path nothing, and a watcher that hangs costs other watchers two seconds.

use machine::Gauges;
use reactor::{Fatal, Watch};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often cores report.
pub const PERIOD: Duration = Duration::from_secs(1);
/// How long a watcher may take to ask, and to take each part of the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a request's head; more is refused.
const HEAD_MAX: usize = 8 * 1024;

/// The last report of all cores.
#[derive(Clone, Debug, Default)]
pub struct Board {
    text: Arc<Mutex<String>>,
}

impl Board {
    /// What the reactor calls with every report.
    #[must_use]
    pub fn watch(&self) -> Watch {
        let board = self.clone();
        Box::new(move |cores| board.show(cores))
    }

    fn show(&self, cores: &[Gauges]) {
        let text = Gauges::prometheus(cores);
        *self.text.lock().expect("no panic while it is held") = text;
    }

    fn text(&self) -> String {
        self.text.lock().expect("no panic while it is held").clone()
    }
}

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
pub fn serve(listener: TcpListener, board: Board) -> Result<(), Fatal> {
    let answer_all = move || {
        for stream in listener.incoming().flatten() {
            // A watcher that went away misses nothing that anybody else needs.
            let _ = answer(&stream, &board);
        }
    };
    let thread = std::thread::Builder::new().name("metrics".into()).spawn(answer_all);
    thread.map(drop).map_err(|error| Fatal::machine(format!("no thread for metrics: {error}")))
}

fn answer(mut stream: &TcpStream, board: &Board) -> io::Result<()> {
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
    let (status, body) = reply(&head, board);
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn reply(head: &[u8], board: &Board) -> (&'static str, String) {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics")) => ("200 OK", board.text()),
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
        let board = Board::default();
        let mut gauges = Gauges::new();
        gauges.counter("things_total", "things", 3);
        board.watch()(&[gauges]);
        #[track_caller]
        fn check(board: &Board, head: &str, status: &str, body: &str) {
            let (told, text) = reply(head.as_bytes(), board);
            assert!(told.starts_with(status) && text.contains(body), "{head:?}: {told} {text}");
        }
        check(&board, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200", "things_total{core=\"0\"} 3\n");
        check(&board, "GET /healthz HTTP/1.1\r\n\r\n", "200", "ok");
        check(&board, "GET / HTTP/1.1\r\n\r\n", "404", "/metrics");
        check(&board, "POST /metrics HTTP/1.1\r\n\r\n", "405", "GET");
        check(&board, "", "405", "GET");
    }
}
