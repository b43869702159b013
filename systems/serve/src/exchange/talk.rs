//! A connection to a server of RESP, on which many requests are under way at once.

use dht::exchange::{Outcome, Replies, Reply, replies, write_request};
use reactor::Fatal;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

/// Where a server is when nobody says otherwise.
pub(super) const DEFAULT: &str = "127.0.0.1:6379";

/// How long it may take to connect, and to answer.
const WITHIN: Duration = Duration::from_secs(60);

/// An open connection.
pub(super) struct Talk {
    at: String,
    stream: TcpStream,
    heard: Vec<u8>,
    used: usize,
    replies: Replies,
}

impl Talk {
    /// Connects to HOST or HOST:PORT, and says who it is where a file says that.
    ///
    /// # Errors
    /// A sentence: nobody is there, or lets nobody in.
    pub(super) fn open(at: &str, auth_file: Option<&Path>) -> Result<Self, Fatal> {
        let whole = if has_port(at) { at.to_owned() } else { format!("{at}:6379") };
        let lost = |error: io::Error| Fatal::unreadable(format!("cannot reach a server at {whole}: {error}"));
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        for address in whole.to_socket_addrs().map_err(lost)? {
            match TcpStream::connect_timeout(&address, WITHIN) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(lost)?;
                    stream.set_read_timeout(Some(WITHIN)).map_err(lost)?;
                    stream.set_write_timeout(Some(WITHIN)).map_err(lost)?;
                    let (heard, replies) = (Vec::new(), replies());
                    let mut talk = Self { at: whole.clone(), stream, heard, used: 0, replies };
                    if let Some(file) = auth_file {
                        talk.log_in(file)?;
                    }
                    return Ok(talk);
                }
                Err(error) => last = error,
            }
        }
        Err(lost(last))
    }

    fn log_in(&mut self, file: &Path) -> Result<(), Fatal> {
        let wrong = |why: &str| Fatal::misuse(format!("--auth-file {}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| wrong(&error.to_string()))?;
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let line = line.ok_or_else(|| wrong("it names nobody"))?;
        let mut request = Vec::new();
        match line.split_once(':') {
            Some((user, secret)) => {
                write_request(&mut request, &[b"AUTH", user.as_bytes(), secret.as_bytes()])
            }
            None => write_request(&mut request, &[b"AUTH", line.as_bytes()]),
        }
        self.send(&request)?;
        self.hear(|reply| match reply {
            Reply::Error(words) => Err(Fatal::misuse(String::from_utf8_lossy(words).into_owned())),
            _ => Ok(()),
        })?
    }

    /// Sends whole requests. Their answers must be heard before so many more are sent that neither side reads.
    ///
    /// # Errors
    /// A sentence: the server is gone.
    pub(super) fn send(&mut self, requests: &[u8]) -> Result<(), Fatal> {
        self.stream.write_all(requests).map_err(|error| self.lost(&error))
    }

    /// Waits for the next answer and gives what is made of it.
    ///
    /// # Errors
    /// A sentence: the server is gone, or does not speak RESP.
    pub(super) fn hear<T>(&mut self, mut make: impl FnMut(Reply<'_>) -> T) -> Result<T, Fatal> {
        loop {
            match self.replies.next(&self.heard[self.used..]) {
                Outcome::Done { value, used } => {
                    let made = make(value);
                    self.used += used;
                    return Ok(made);
                }
                Outcome::Partial { need } => self.read(need)?,
                Outcome::Fault(fault) => {
                    let sentence = format!("what is at {} does not speak RESP: {fault}", self.at);
                    return Err(Fatal::unreadable(sentence));
                }
            }
        }
    }

    fn read(&mut self, need: usize) -> Result<(), Fatal> {
        self.heard.drain(..self.used);
        self.used = 0;
        let before = self.heard.len();
        self.heard.resize(before + need.saturating_sub(before).clamp(64 * 1024, 4 * 1024 * 1024), 0);
        let count = self.stream.read(&mut self.heard[before..]);
        self.heard.truncate(before + count.as_ref().map_or(0, |count| *count));
        match count {
            Ok(0) => Err(self.lost(&io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(()),
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn lost(&self, error: &io::Error) -> Fatal {
        Fatal::unreadable(format!("lost the server at {}: {error}", self.at))
    }
}

/// Whether a place ends with a port. An IPv6 address without one has more than one colon and no brackets.
fn has_port(at: &str) -> bool {
    match at.rsplit_once(':') {
        Some((host, port)) => port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']')),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_may_name_a_port() {
        for (at, has) in [("h:1", true), ("h", false), ("::1", false), ("[::1]:7", true), ("h:x", false)] {
            assert_eq!(has_port(at), has, "{at}");
        }
    }
}
