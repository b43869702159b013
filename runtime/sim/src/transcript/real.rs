//! The real arm of a transcript: a TCP client of a process that runs, with a deadline for everything it waits
//! for. The only place of this crate that touches a socket.

use super::{Arm, Mismatch, More, Transcript};
use core::time::Duration;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// Runs a transcript against a real process: the nth door is the nth address. Whatever does not come within
/// `deadline` is a mismatch.
pub fn run_real(transcript: &Transcript, doors: &[SocketAddr], deadline: Duration) -> Result<(), Mismatch> {
    transcript.run(&mut Real { doors, deadline, streams: Vec::new() })
}

struct Real<'a> {
    doors: &'a [SocketAddr],
    deadline: Duration,
    streams: Vec<Option<TcpStream>>,
}

impl Real<'_> {
    fn stream(&mut self, conn: usize) -> &mut TcpStream {
        self.streams[conn].as_mut().expect("a connection that was left is opened anew")
    }
}

impl Arm for Real<'_> {
    fn open(&mut self, door: usize) -> Result<usize, String> {
        let at = self.doors.get(door).ok_or_else(|| format!("no door {door}"))?;
        let stream =
            TcpStream::connect_timeout(at, self.deadline).map_err(|error| format!("{at}: {error}"))?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        stream.set_write_timeout(Some(self.deadline)).map_err(|error| error.to_string())?;
        self.streams.push(Some(stream));
        Ok(self.streams.len() - 1)
    }

    fn say(&mut self, conn: usize, bytes: &[u8]) -> Result<(), String> {
        self.stream(conn).write_all(bytes).map_err(|error| format!("could not be sent: {error}"))
    }

    fn finish(&mut self, conn: usize) {
        // Refused only when the connection is gone, which `ended` shows.
        let _ = self.stream(conn).shutdown(Shutdown::Write);
    }

    fn leave(&mut self, conn: usize) -> Result<(), String> {
        let deadline = self.deadline;
        let stream = self.stream(conn);
        stream.set_read_timeout(Some(deadline)).expect("a deadline is not zero");
        let came = stream.peek(&mut [0]);
        self.streams[conn] = None;
        match came {
            Ok(1..) => Ok(()),
            Ok(0) | Err(_) => Err("nothing came that could be left unread".to_owned()),
        }
    }

    fn more(&mut self, conn: usize, heard: &mut Vec<u8>, span: Option<Duration>) -> More {
        let span = span.unwrap_or(self.deadline);
        let stream = self.stream(conn);
        stream.set_read_timeout(Some(span)).expect("a span is not zero");
        let mut bytes = [0; 64 * 1024];
        match stream.read(&mut bytes) {
            Ok(0) => More::Ended,
            Ok(count) => {
                heard.extend_from_slice(&bytes[..count]);
                More::Bytes
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                More::Nothing
            }
            Err(_) => More::Ended,
        }
    }

    #[allow(clippy::disallowed_methods, reason = "a test's client waits in real time; no shard runs here")]
    fn wait(&mut self, span: Duration) {
        std::thread::sleep(span);
    }
}
