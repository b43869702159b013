//! Handing over to another process of the same program, so that a new binary serves in the place of an old one and
//! nobody notices: not clients, whose connections wait in sockets that both have, and not children, which both own
//! until the old one is gone.
//!
//! The old program starts the new one and says over one socket what it has; here is the new program's side, and what
//! both say. The hard thing is that either can be killed between any two words. So nothing is given away: sockets are
//! duplicated, children get a second owner, and the old program goes on as if nothing was until the new one says that
//! it serves.

use crate::Fatal;
use crate::keeper::socket::{self, Packet};
use crate::keeper::{Keeper, KeeperShare};
use crate::listen::{Doors, Inherited};
use machine::CoreId;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// The version of what programs say here and to a keeper. A program of another version is refused, and the old one
/// serves on.
pub const PROTOCOL: u32 = 1;

/// Names the descriptor over which a program is handed what it takes over.
const VARIABLE: &str = "RINGWISE_HANDOVER";

/// Bytes of a packet. What is longer goes in several.
const PACKET_MAX: usize = 64 * 1024;
/// Bytes of a legacy in one packet.
const PART_MAX: usize = PACKET_MAX - 16;

/// One word of the conversation, in this order: `Hello`, then all `Door`s with their `Listener`s, `Keeper`, as many
/// `Seat`s as it announces; `Ready`; all `Legacy`s and `Legacies`; `Serves`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// New: which version it speaks and on how many cores it will run.
    Hello(u32, u16),
    /// Old: an address as it was asked for and as it was found.
    Door(SocketAddr, SocketAddr),
    /// Old: a socket of the last door, beside it.
    Listener,
    /// Old: the keeper's process, and the generation of the new program's children. Seats follow.
    Keeper(i32, u16),
    /// Old: a seat, beside it.
    Seat,
    /// Old: that was all it has.
    Had,
    /// New: it can begin at once when it knows what the old one knows.
    Ready,
    /// Old: a part of what a core bequeaths, and whether it is the last.
    Legacy(u16, bool, Vec<u8>),
    /// Old: all cores have said what they bequeath.
    Legacies,
    /// New: it serves.
    Serves,
}

impl Word {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Hello(version, cores) => {
                bytes.push(1);
                bytes.extend_from_slice(&version.to_le_bytes());
                bytes.extend_from_slice(&cores.to_le_bytes());
            }
            Self::Door(asked, found) => {
                bytes.push(2);
                bytes.extend_from_slice(format!("{asked} {found}").as_bytes());
            }
            Self::Listener => bytes.push(3),
            Self::Keeper(process, generation) => {
                bytes.push(4);
                bytes.extend_from_slice(&process.to_le_bytes());
                bytes.extend_from_slice(&generation.to_le_bytes());
            }
            Self::Seat => bytes.push(5),
            Self::Had => bytes.push(6),
            Self::Ready => bytes.push(7),
            Self::Legacy(core, is_last, part) => {
                bytes.push(8);
                bytes.extend_from_slice(&core.to_le_bytes());
                bytes.push(u8::from(*is_last));
                bytes.extend_from_slice(part);
            }
            Self::Legacies => bytes.push(9),
            Self::Serves => bytes.push(10),
        }
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let word = match (kind, rest) {
            (1, [a, b, c, d, e, f]) => {
                Self::Hello(u32::from_le_bytes([*a, *b, *c, *d]), u16::from_le_bytes([*e, *f]))
            }
            (2, text) => {
                let (asked, found) = std::str::from_utf8(text).ok()?.split_once(' ')?;
                Self::Door(asked.parse().ok()?, found.parse().ok()?)
            }
            (3, []) => Self::Listener,
            (4, [a, b, c, d, e, f]) => {
                Self::Keeper(i32::from_le_bytes([*a, *b, *c, *d]), u16::from_le_bytes([*e, *f]))
            }
            (5, []) => Self::Seat,
            (6, []) => Self::Had,
            (7, []) => Self::Ready,
            (8, [a, b, is_last, part @ ..]) => {
                Self::Legacy(u16::from_le_bytes([*a, *b]), *is_last != 0, part.to_vec())
            }
            (9, []) => Self::Legacies,
            (10, []) => Self::Serves,
            _ => return None,
        };
        Some(word)
    }
}

/// One end of the conversation. Waits for the other.
#[derive(Debug)]
pub(crate) struct Line {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Line {
    /// Both ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = socket::pair(4 * PACKET_MAX)?;
        Ok((Self::new(one), Self::new(other)))
    }

    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, buffer: vec![0; PACKET_MAX] }
    }

    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// Says a word, with a descriptor beside it where there is one; waits for room.
    pub(crate) fn say(&self, word: &Word, beside: Option<OwnedFd>) -> io::Result<()> {
        let beside: Vec<OwnedFd> = beside.into_iter().collect();
        loop {
            match socket::send(&self.socket, &word.bytes(), &beside) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(libc::POLLOUT)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    /// What a core bequeaths, in as many words as it takes.
    pub(crate) fn say_legacy(&self, core: CoreId, legacy: &[u8]) -> io::Result<()> {
        let mut parts = legacy.chunks(PART_MAX).peekable();
        if parts.peek().is_none() {
            return self.say(&Word::Legacy(core.0, true, Vec::new()), None);
        }
        while let Some(part) = parts.next() {
            self.say(&Word::Legacy(core.0, parts.peek().is_none(), part.to_vec()), None)?;
        }
        Ok(())
    }

    /// The next word and what came beside it. An error when there will be none, or it is no word.
    pub(crate) fn hear(&mut self) -> io::Result<(Word, Option<OwnedFd>)> {
        loop {
            match socket::receive(&self.socket, &mut self.buffer) {
                Ok(Packet { length: 0, .. }) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Packet { length, descriptors }) => {
                    let word = Word::read(&self.buffer[..length]).ok_or(io::ErrorKind::InvalidData)?;
                    return Ok((word, descriptors.into_iter().next()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(libc::POLLIN)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits so long at most; whether there is a word to hear, or the other end is gone.
    pub(crate) fn has_heard(&self, wait: Duration) -> io::Result<bool> {
        self.poll(libc::POLLIN, i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)).map(|count| count > 0)
    }

    fn wait(&self, events: libc::c_short) -> io::Result<()> {
        self.poll(events, -1).map(drop)
    }

    fn poll(&self, events: libc::c_short, timeout_ms: i32) -> io::Result<i32> {
        let mut place = libc::pollfd { fd: self.socket.as_raw_fd(), events, revents: 0 };
        // SAFETY: poll reads and writes this one entry.
        match socket::check(unsafe { libc::poll(&raw mut place, 1, timeout_ms) }) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            outcome => outcome,
        }
    }
}

/// What the new program's environment says of its end of the line.
pub(crate) fn variable(fd: RawFd) -> (&'static str, String) {
    (VARIABLE, fd.to_string())
}

/// What a program takes over from the one before it, of which it learns first thing in `main`.
#[derive(Debug)]
pub struct Inheritance {
    line: Line,
    doors: Vec<Inherited>,
    keeper: Option<KeeperShare>,
}

impl Inheritance {
    /// What this process was started to take over, on so many cores; none when it was not started for that. Call it
    /// before there is a thread.
    ///
    /// # Errors
    /// Status 3 when the program before this one ended, or does not hand over after all.
    pub fn take(cores: usize) -> Result<Option<Self>, Fatal> {
        let Some(named) = std::env::var_os(VARIABLE) else { return Ok(None) };
        // SAFETY: nothing else reads the environment: the caller has no other thread.
        unsafe { std::env::remove_var(VARIABLE) };
        let fd = named.to_str().and_then(|text| text.parse::<RawFd>().ok()).filter(|fd| *fd > 2);
        let wrong = || Fatal::misuse(format!("{VARIABLE} names no socket of a program that hands over"));
        let fd = fd.filter(|fd| is_open(*fd)).ok_or_else(wrong)?;
        // SAFETY: whoever started us left it open for us alone, under this number.
        let mut line = Line::new(unsafe { OwnedFd::from_raw_fd(fd) });
        let gone = |error: io::Error| {
            Fatal::machine(format!("the program that was to hand over to this one does not: {error}"))
        };
        line.say(&Word::Hello(PROTOCOL, cores as u16), None).map_err(gone)?;
        let (mut doors, mut keeper): (Vec<Inherited>, Option<KeeperShare>) = (Vec::new(), None);
        loop {
            match (line.hear().map_err(gone)?, doors.last_mut(), keeper.as_mut()) {
                ((Word::Door(asked, found), _), _, _) => {
                    doors.push(Inherited { asked, found, sockets: Vec::new() });
                }
                ((Word::Listener, Some(socket)), Some(door), _) => door.sockets.push(socket),
                ((Word::Keeper(process, generation), _), _, _) => {
                    keeper = Some(KeeperShare { process, generation, sockets: Vec::new() });
                }
                ((Word::Seat, Some(socket)), _, Some(keeper)) => keeper.sockets.push(socket),
                ((Word::Had, _), _, _) => return Ok(Some(Self { line, doors, keeper })),
                _ => return Err(gone(io::ErrorKind::InvalidData.into())),
            }
        }
    }

    /// The doors of the program before this one.
    pub fn doors(&mut self) -> Doors {
        let doors = Doors::default();
        doors.inherit(std::mem::take(&mut self.doors));
        doors
    }

    /// Its keeper, where it had one.
    pub fn keeper(&mut self) -> Option<Keeper> {
        self.keeper.take().map(Keeper::of)
    }

    /// Waits until the program before this one has said what it knows, by core.
    pub(crate) fn legacy(&mut self) -> Result<Vec<(CoreId, Vec<u8>)>, Fatal> {
        let gone = |error: io::Error| {
            Fatal::machine(format!("the program before this one ended while it handed over: {error}"))
        };
        self.line.say(&Word::Ready, None).map_err(gone)?;
        let (mut all, mut parts): (Vec<(CoreId, Vec<u8>)>, Vec<u8>) = (Vec::new(), Vec::new());
        loop {
            match self.line.hear().map_err(gone)?.0 {
                Word::Legacy(core, is_last, part) => {
                    parts.extend_from_slice(&part);
                    if is_last {
                        all.push((CoreId(core), std::mem::take(&mut parts)));
                    }
                }
                Word::Legacies => return Ok(all),
                _ => return Err(gone(io::ErrorKind::InvalidData.into())),
            }
        }
    }

    /// Says that this program serves. Whether the other still hears it does not matter any more.
    pub(crate) fn serves(self) {
        let _ = self.line.say(&Word::Serves, None);
    }
}

fn is_open(fd: RawFd) -> bool {
    // SAFETY: fcntl only reads the flags of a number that may name nothing.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_arrive_as_they_were_meant_and_every_cut_is_none() {
        let at: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let words = [
            Word::Hello(1, 2),
            Word::Door(at, "[::1]:80".parse().unwrap()),
            Word::Listener,
            Word::Keeper(77, 3),
            Word::Seat,
            Word::Had,
            Word::Ready,
            Word::Legacy(3, true, b"all".to_vec()),
            Word::Legacies,
            Word::Serves,
        ];
        for word in words {
            let bytes = word.bytes();
            for cut in 0..bytes.len() {
                assert_ne!(Word::read(&bytes[..cut]).as_ref(), Some(&word), "{word:?} cut at {cut}");
            }
            assert_eq!(Word::read(&bytes), Some(word));
        }
        assert_eq!(Word::read(&[11]), None);
    }

    #[test]
    fn a_long_legacy_comes_whole_in_several_words() {
        let (old, mut new) = Line::pair().unwrap();
        let long: Vec<u8> = (0..PART_MAX * 2 + 5).map(|at| at as u8).collect();
        let said = long.clone();
        let saying = std::thread::Builder::new().spawn(move || {
            old.say_legacy(CoreId(1), &said).unwrap();
            old.say_legacy(CoreId(2), &[]).unwrap();
        });
        let mut heard = Vec::new();
        let mut ends = 0;
        while ends < 2 {
            let (Word::Legacy(_, is_last, part), None) = new.hear().unwrap() else { panic!("only legacies") };
            heard.extend_from_slice(&part);
            ends += u32::from(is_last);
        }
        saying.unwrap().join().unwrap();
        assert_eq!(heard, long);
        assert!(new.hear().is_err(), "the other end is gone");
    }
}
