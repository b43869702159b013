//! A RESP2 client that blocks: requests are gathered, sent at once, and their replies read in order.
//!
//! The one hard thing is not to trust a server that is only being measured: lengths and depths have bounds, and a
//! server that says nothing for [`SILENCE_MAX`] is a sentence, not a hang.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that is silent for longer has failed.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// The longest bulk string that is taken; we store nothing near it.
const BULK_MAX: usize = 1 << 24;
/// The longest array; CLUSTER SLOTS has one entry a run of slots.
const ARRAY_MAX: usize = 1 << 17;
/// How deep arrays may lie in arrays; CLUSTER SLOTS needs 4.
const DEPTH_MAX: usize = 8;
/// Bytes read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    /// The value of a key that is not there.
    None,
    Array(Vec<Self>),
}

/// One connection.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
    /// Requests not sent yet.
    waiting: Vec<u8>,
    line: Vec<u8>,
}

impl Client {
    pub(super) fn connect(at: SocketAddr) -> Result<Self, String> {
        let wrong = |error: std::io::Error| format!("{at}: {error}");
        let stream = TcpStream::connect(at).map_err(wrong)?;
        stream.set_nodelay(true).map_err(wrong)?;
        stream.set_read_timeout(Some(SILENCE_MAX)).map_err(wrong)?;
        let stream = BufReader::with_capacity(BUFFER_BYTES, stream);
        Ok(Self { stream, waiting: Vec::new(), line: Vec::new() })
    }

    /// Gathers a request.
    pub(super) fn push(&mut self, words: &[&[u8]]) {
        encode(words, &mut self.waiting);
    }

    /// Gathers a request that is encoded already.
    pub(super) fn push_encoded(&mut self, request: &[u8]) {
        self.waiting.extend_from_slice(request);
    }

    /// Sends what was gathered.
    pub(super) fn send(&mut self) -> Result<(), String> {
        let sent = self.stream.get_mut().write_all(&self.waiting);
        self.waiting.clear();
        sent.map_err(|error| format!("a server took no more requests: {error}"))
    }

    /// The next reply.
    pub(super) fn reply(&mut self) -> Result<Reply, String> {
        self.reply_at(0)
    }

    /// One request and its reply.
    pub(super) fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, String> {
        self.push(words);
        self.send()?;
        self.reply()
    }

    /// The lines of a section of INFO.
    pub(super) fn info(&mut self, section: &str) -> Result<Info, String> {
        match self.ask(&[b"INFO", section.as_bytes()])? {
            Reply::Bulk(text) => Ok(Info(String::from_utf8_lossy(&text).into_owned())),
            other => Err(format!("INFO {section} is answered by {other:?}")),
        }
    }

    fn reply_at(&mut self, depth: usize) -> Result<Reply, String> {
        self.line.clear();
        let read = self.stream.read_until(b'\n', &mut self.line);
        let count = read.map_err(|error| format!("a server does not answer: {error}"))?;
        let wrong = || "a server sent what is no RESP2".to_owned();
        if count == 0 {
            return Err("a server closed a connection".to_owned());
        }
        let line = self.line.strip_suffix(b"\r\n").ok_or_else(wrong)?;
        let (kind, rest) = line.split_first().ok_or_else(wrong)?;
        let rest = std::str::from_utf8(rest).map_err(|_| wrong())?;
        let number = || rest.parse::<i64>().map_err(|_| wrong());
        match kind {
            b'+' => Ok(Reply::Simple(rest.to_owned())),
            b'-' => Ok(Reply::Error(rest.to_owned())),
            b':' => number().map(Reply::Integer),
            b'$' | b'*' if rest == "-1" => Ok(Reply::None),
            b'$' => {
                let length = length(number()?, BULK_MAX).ok_or_else(wrong)?;
                self.bulk(length)
            }
            b'*' if depth < DEPTH_MAX => {
                let length = length(number()?, ARRAY_MAX).ok_or_else(wrong)?;
                (0..length).map(|_| self.reply_at(depth + 1)).collect::<Result<_, _>>().map(Reply::Array)
            }
            _ => Err(wrong()),
        }
    }

    fn bulk(&mut self, length: usize) -> Result<Reply, String> {
        let mut bytes = vec![0; length + 2];
        self.stream.read_exact(&mut bytes).map_err(|error| format!("a server broke off: {error}"))?;
        bytes.truncate(length);
        Ok(Reply::Bulk(bytes))
    }
}

/// Puts a request behind what is there.
pub(super) fn encode(words: &[&[u8]], into: &mut Vec<u8>) {
    let _ = write!(into, "*{}\r\n", words.len());
    for word in words {
        let _ = write!(into, "${}\r\n", word.len());
        into.extend_from_slice(word);
        into.extend_from_slice(b"\r\n");
    }
}

fn length(told: i64, max: usize) -> Option<usize> {
    usize::try_from(told).ok().filter(|length| *length <= max)
}

/// What INFO said.
#[derive(Debug)]
pub(super) struct Info(String);

impl Info {
    /// The number in the line of that name.
    pub(super) fn number(&self, name: &str) -> Result<u64, String> {
        let mut pairs = self.0.lines().filter_map(|line| line.split_once(':'));
        let value = pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.trim().parse().ok());
        value.ok_or_else(|| format!("INFO says nothing of {name}"))
    }

    /// What stands in the line of that name; nothing where there is none.
    pub(super) fn word(&self, name: &str) -> String {
        let mut pairs = self.0.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// What a client makes of a server that says exactly this.
    fn said(bytes: &'static [u8]) -> Result<Reply, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = listener.local_addr().expect("its address");
        let server = std::thread::spawn(move || listener.accept().map(|(mut to, _)| to.write_all(bytes)));
        let mut client = Client::connect(at).expect("it listens");
        let reply = client.reply();
        server.join().expect("it ends").expect("it accepts").expect("it writes");
        reply
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        assert_eq!(said(b"+OK\r\n"), Ok(Reply::Simple("OK".into())));
        assert_eq!(said(b"-ERR no\r\n"), Ok(Reply::Error("ERR no".into())));
        assert_eq!(said(b"$4\r\na\r\nb\r\n"), Ok(Reply::Bulk(b"a\r\nb".to_vec())));
        let nested = Reply::Array(vec![Reply::Integer(-7), Reply::Array(vec![Reply::None])]);
        assert_eq!(said(b"*2\r\n:-7\r\n*1\r\n$-1\r\n"), Ok(nested));
    }

    #[test]
    fn what_is_no_reply_is_a_sentence() {
        for bytes in [&b""[..], b"?\r\n", b"+OK\n", b"$99999999999\r\n", b"$5\r\nab", b"*-2\r\n", b"\r\n"] {
            assert!(said(bytes).is_err(), "{bytes:?}");
        }
        assert!(said(b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n").is_err());
    }

    #[test]
    fn a_line_of_info_is_found_by_its_whole_name() {
        let info = Info("# Memory\r\nused_memory_rss:9\r\nused_memory:7\r\nname:x\r\n".into());
        assert_eq!(info.number("used_memory"), Ok(7));
        assert!(info.number("name").is_err() && info.number("used").is_err());
    }
}
