//! Every request of the table of refusals, said to a real process through a socket: whole, and byte by byte.
//!
//! The process must answer each with the row's status and close, with no more from the client than the row, and serve
//! its other clients all along. The one hard thing is to have a cut arrive as one: between two pieces another client
//! asks and is answered, over a connection that it keeps through the whole table, so that the pieces come in turns of
//! their own and the neighbour is served while each row is half said.

use crate::real::{DEADLINE, Server};
use crate::rows::rows;
use crate::trial;
use libtest_mimic::Trial;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

const TABLE: &str = include_str!("../../../wire/corpus/http/refused-requests.txt");

/// Rows up to this many bytes are said byte by byte; longer ones in so many pieces.
const BYTE_BY_BYTE: usize = 200;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("refusals::whole".to_owned(), || say_all(|_| usize::MAX)),
        trial("refusals::cut".to_owned(), || say_all(|length| length.div_ceil(BYTE_BY_BYTE))),
    ]
}

/// Says every row in pieces of as many bytes as `piece` tells for its length.
fn say_all(piece: impl Fn(usize) -> usize) {
    let server = Server::patient();
    let mut neighbour = Neighbour::new(server.door);
    let (mut said, mut wrong) = (0, Vec::new());
    for row in rows(TABLE) {
        let told = refused(server.door, row.bytes.chunks(piece(row.bytes.len())), &mut neighbour);
        neighbour.ask();
        let wanted: u16 = row.columns[0].parse().expect("a status");
        // What stands before the fault in a row are whole requests, which are answered in their own right.
        let is_right = told
            .split_last()
            .is_some_and(|(last, before)| *last == wanted && before.iter().all(|status| *status == 200));
        if !is_right {
            wrong.push(format!("{} ({}): {wanted}, but {told:?}", row.columns[2], row.columns[1]));
        }
        said += 1;
    }
    assert!(wrong.is_empty(), "{} of {said} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(said > 100 && neighbour.asked >= said);
    assert!(server.stop(), "it ends as it should");
}

/// The statuses of all answers to these pieces, after which the server must have closed the connection by itself.
fn refused<'b>(
    door: SocketAddr,
    pieces: impl Iterator<Item = &'b [u8]>,
    neighbour: &mut Neighbour,
) -> Vec<u16> {
    let mut client = connected(door);
    for (number, piece) in pieces.enumerate() {
        if number > 0 {
            neighbour.ask();
        }
        match client.write_all(piece) {
            Ok(()) => {}
            // It has said what it thinks, and closed before the row's end.
            Err(error) if [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()) => {
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let mut told = Vec::new();
    client.read_to_end(&mut told).unwrap_or_else(|error| panic!("no end after {told:?}: {error}"));
    let (mut statuses, mut rest) = (Vec::new(), &told[..]);
    while let Some((status, used)) = answer(rest) {
        statuses.push(status);
        rest = &rest[used..];
    }
    assert!(rest.is_empty(), "no answer: {:?}", String::from_utf8_lossy(rest));
    statuses
}

fn connected(door: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(door).expect("it lets everybody in");
    client.set_nodelay(true).expect("a socket can");
    client.set_read_timeout(Some(DEADLINE)).expect("a socket can");
    client.set_write_timeout(Some(DEADLINE)).expect("a socket can");
    client
}

/// The status of the answer that `bytes` begin with, and where it ends; nothing while it is not all there.
fn answer(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    let end = end + length.unwrap_or(0);
    (bytes.len() >= end).then_some((status.expect("a status"), end))
}

/// A client that behaves, on one connection from first to last.
struct Neighbour {
    client: TcpStream,
    asked: usize,
}

impl Neighbour {
    fn new(door: SocketAddr) -> Self {
        Self { client: connected(door), asked: 0 }
    }

    /// Asks once and must be answered.
    fn ask(&mut self) {
        self.client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is still connected");
        let (mut told, mut part) = (Vec::new(), [0; 4096]);
        while answer(&told).is_none() {
            let count = self.client.read(&mut part).expect("it is answered");
            assert!(count > 0, "who behaves keeps the connection; after {} requests", self.asked);
            told.extend_from_slice(&part[..count]);
        }
        assert!(told.starts_with(b"HTTP/1.1 200 OK\r\n") && told.ends_with(b"\r\n\r\nhome\n"));
        self.asked += 1;
    }
}
