//! WebSocket (RFC 6455), both sides, after the handshake: bytes in, messages out, and what must be answered.
//!
//! Framing, masks, fragments, UTF-8 and the closing handshake are tungstenite's, driven without a socket: it reads
//! from the slice at hand and writes to a list of bytes. The one hard thing is its buffer: it reserves room for a
//! frame as soon as a length is announced. So what is reserved is bounded by `message_max`, which is small.

use core::fmt;
use core::ops::Deref;
use sha1::{Digest as _, Sha1};
use std::io::{self, ErrorKind};
use tungstenite::Bytes;
use tungstenite::error::{CapacityError, Error};
use tungstenite::protocol::frame::Utf8Bytes;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig, WebSocketContext};

/// Bytes of what a socket reads at once; also what it holds while nothing comes.
const READ_BYTES: usize = 4 * 1024;

/// What a key is completed with (RFC 6455, section 1.3).
const COMPLETION: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455, section 4.2.2). None when the key is not the
/// base64 of sixteen bytes.
#[must_use]
pub fn accept(key: &str) -> Option<String> {
    let nonce = data_encoding::BASE64.decode(key.as_bytes()).ok()?;
    let digest = Sha1::new().chain_update(key).chain_update(COMPLETION).finalize();
    (nonce.len() == 16).then(|| data_encoding::BASE64.encode(&digest))
}

/// The head by which a client asks for a WebSocket at a path (RFC 6455, section 4.1), and the `Sec-WebSocket-Accept`
/// that the right answer carries. `nonce` should be new for each connection: it keeps an answer that was kept
/// somewhere from being taken for a new one.
#[must_use]
pub fn request(host: &str, path: &str, nonce: [u8; 16]) -> (String, String) {
    let key = data_encoding::BASE64.encode(&nonce);
    let digest = Sha1::new().chain_update(&key).chain_update(COMPLETION).finalize();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    (head, data_encoding::BASE64.encode(&digest))
}

/// One connection's frames.
pub struct Socket {
    context: WebSocketContext,
    /// It ended: nothing is read or written any more.
    over: bool,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("over", &self.over).finish_non_exhaustive()
    }
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A whole text.
    Text(Text),
    /// Whole bytes.
    Binary(Data),
    /// They answered a ping, or said that they are there without being asked.
    Pong,
    /// It is over: they closed, or answered our close, or broke the rules; then they were told so. What must be sent
    /// is in the output; the connection is to be closed after it. Nothing follows.
    Over,
}

/// Text as it came, valid UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Utf8Bytes);

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

/// Bytes as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data(Bytes);

impl Deref for Data {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// Why we close (RFC 6455, section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its purpose is fulfilled: 1000.
    Normal,
    /// The server goes away: 1001.
    Away,
    /// They said what makes no sense to us: 1008.
    Policy,
    /// We cannot go on: 1011.
    Trouble,
    /// Try again later: 1013.
    Again,
}

impl Reason {
    fn code(self) -> CloseCode {
        match self {
            Self::Normal => CloseCode::Normal,
            Self::Away => CloseCode::Away,
            Self::Policy => CloseCode::Policy,
            Self::Trouble => CloseCode::Error,
            Self::Again => CloseCode::Again,
        }
    }
}

impl Socket {
    /// The server's end of a connection whose handshake is done. A message, and each frame of one, has at most
    /// `message_max` bytes; a longer one is told so (1009) and ends it.
    #[must_use]
    pub fn server(message_max: usize) -> Self {
        Self::end(Role::Server, message_max)
    }

    /// The client's end of the same: what it says is masked (RFC 6455, section 5.3).
    #[must_use]
    pub fn client(message_max: usize) -> Self {
        Self::end(Role::Client, message_max)
    }

    fn end(role: Role, message_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(message_max))
            .max_frame_size(Some(message_max));
        Self { context: WebSocketContext::new(role, Some(config)), over: false }
    }

    /// What comes next in `input`, of which what was read is cut off; none when it is all read. What must be answered
    /// (pongs, closes) is appended to `output`. Call it until it gives none.
    pub fn take(&mut self, input: &mut &[u8], output: &mut Vec<u8>) -> Option<Heard> {
        if self.over {
            *input = &[];
            return None;
        }
        loop {
            let heard = match self.context.read(&mut Memory { input, output }) {
                Ok(Message::Text(text)) => Heard::Text(Text(text)),
                Ok(Message::Binary(data)) => Heard::Binary(Data(data)),
                Ok(Message::Pong(_)) => Heard::Pong,
                // Its answer is sent with the next read; a close's is, too, and ends it.
                Ok(Message::Ping(_) | Message::Close(_)) => continue,
                Ok(Message::Frame(_)) => unreachable!("frames are not given out"),
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(fault) => {
                    self.over = true;
                    self.refuse(&fault, input, output);
                    *input = &[];
                    Heard::Over
                }
            };
            return Some(heard);
        }
    }

    /// Says a text. Whether it was said: after a close nothing is.
    pub fn text(&mut self, text: &str, output: &mut Vec<u8>) -> bool {
        self.say(Message::text(text), output)
    }

    /// Says bytes.
    pub fn binary(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> bool {
        self.say(Message::binary(Bytes::copy_from_slice(bytes)), output)
    }

    /// Asks whether they are there; a `Pong` follows.
    pub fn ping(&mut self, output: &mut Vec<u8>) -> bool {
        self.say(Message::Ping(Bytes::new()), output)
    }

    /// Begins to close; `Over` follows when they have answered.
    pub fn close(&mut self, reason: Reason, output: &mut Vec<u8>) {
        let frame = CloseFrame { code: reason.code(), reason: Utf8Bytes::default() };
        // Into memory: the only error is that it was closed before.
        let _ = self.context.close(&mut Memory { input: &mut &[][..], output }, Some(frame));
    }

    fn say(&mut self, message: Message, output: &mut Vec<u8>) -> bool {
        !self.over && self.context.write(&mut Memory { input: &mut &[][..], output }, message).is_ok()
    }

    /// Tells who broke the rules, which one.
    fn refuse(&mut self, fault: &Error, input: &mut &[u8], output: &mut Vec<u8>) {
        let code = match fault {
            Error::Capacity(CapacityError::MessageTooLong { .. } | CapacityError::TooManyHeaders) => {
                CloseCode::Size
            }
            Error::Utf8(_) => CloseCode::Invalid,
            Error::Protocol(_) => CloseCode::Protocol,
            // It was closed in order.
            Error::ConnectionClosed | Error::AlreadyClosed => return,
            Error::Io(_)
            | Error::Tls(_)
            | Error::WriteBufferFull(_)
            | Error::AttackAttempt
            | Error::Url(_) => CloseCode::Error,
        };
        let frame = CloseFrame { code, reason: Utf8Bytes::default() };
        let _ = self.context.close(&mut Memory { input, output }, Some(frame));
    }
}

/// What the library takes for a socket: the slice at hand, and a list that takes all.
struct Memory<'m, 'i> {
    input: &'m mut &'i [u8],
    output: &'m mut Vec<u8>,
}

impl io::Read for Memory<'_, '_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.input.read(into)
    }
}

impl io::Write for Memory<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
