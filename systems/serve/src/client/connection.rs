//! One connection to a server of framed text: a request goes, its reply is waited for.

use dht::Limits;
use dht::frames::{HEADER, Outcome, read_text, text_max};
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// What has come and was not used: less than a reply, or nothing.
    heard: Vec<u8>,
    text_max: usize,
}

impl Connection {
    /// Connects to the first of these addresses that takes it, each given that long.
    pub(super) fn open(to: &[SocketAddr], within: Duration) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
        for at in to {
            match TcpStream::connect_timeout(at, within) {
                Ok(stream) => {
                    // One request in flight: nothing would ever be sent together.
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(within))?;
                    stream.set_write_timeout(Some(within))?;
                    let Limits { key_max, value_max, .. } = Limits::default();
                    return Ok(Self { stream, heard: Vec::new(), text_max: text_max(key_max, value_max) });
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Sends a whole request and gives the text of its reply. After an error the connection is of no more use.
    pub(super) fn ask(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(request)?;
        loop {
            match read_text(&self.heard, self.text_max) {
                Outcome::Done { value, used } => {
                    let text = value.to_vec();
                    self.heard.drain(..used);
                    return Ok(text);
                }
                Outcome::Partial { need } => self.hear(need)?,
                Outcome::Fault(fault) => return Err(io::Error::new(io::ErrorKind::InvalidData, fault)),
            }
        }
    }

    /// Waits for more; `need` bytes in all is what would do.
    fn hear(&mut self, need: usize) -> io::Result<()> {
        let before = self.heard.len();
        let missing = need.saturating_sub(before).clamp(HEADER, READ_SIZE);
        self.heard.resize(before + missing.max(READ_SIZE.min(need)), 0);
        let count = self.stream.read(&mut self.heard[before..]);
        self.heard.truncate(before + count.as_ref().map_or(0, |count| *count));
        match count? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
