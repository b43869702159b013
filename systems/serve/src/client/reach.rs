//! Whom to ask, and the connections that are kept. A server is dialled when it is first needed; one that was lost is
//! dialled again when it is needed next, and not before, so that each loss is told once.

use super::command::{Ask, Verb};
use super::connection::Connection;
use dht::frames::{Request, write_request};
use dht::nodes::Nodes;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

/// How long a server may take when nobody says otherwise.
const WITHIN: Duration = Duration::from_secs(10);

/// Servers, and the connections to them.
#[derive(Debug)]
pub(super) struct Reach {
    whom: Whom,
    /// By node; a single server is node 0.
    kept: Vec<Option<Connection>>,
    within: Duration,
    /// A request being written, kept for its memory.
    request: Vec<u8>,
}

#[derive(Debug)]
enum Whom {
    One { host: String, port: u16 },
    Table(Nodes),
}

/// A server that did not answer, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lost(String);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Reach {
    /// One server has all keys.
    pub(super) fn one(host: &str, port: u16) -> Self {
        Self::new(Whom::One { host: host.to_owned(), port }, 1)
    }

    /// Each key has its node.
    pub(super) fn table(nodes: Nodes) -> Self {
        let count = nodes.all().len();
        Self::new(Whom::Table(nodes), count)
    }

    fn new(whom: Whom, count: usize) -> Self {
        let kept = std::iter::repeat_with(|| None).take(count).collect();
        Self { whom, kept, within: WITHIN, request: Vec::new() }
    }

    /// With so much time for each connection and each answer.
    pub(super) fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Asks the server that has the key and waits for its answer.
    ///
    /// # Errors
    /// When it cannot be reached or does not answer; whether it did what was asked is then not known.
    pub(super) fn ask(&mut self, ask: Ask<'_>) -> Result<Vec<u8>, Lost> {
        let node = match &self.whom {
            Whom::One { .. } => 0,
            Whom::Table(nodes) => usize::from(nodes.node_of(ask.key).0),
        };
        self.request.clear();
        write_request(&mut self.request, wire(ask));
        let mut connection = match self.kept[node].take() {
            Some(connection) => connection,
            None => self.open(node).map_err(|error| self.unreached(node, &error))?,
        };
        let reply = connection.ask(&self.request).map_err(|error| self.broken(node, &error))?;
        self.kept[node] = Some(connection);
        Ok(reply)
    }

    fn open(&self, node: usize) -> io::Result<Connection> {
        let to: Vec<SocketAddr> = match &self.whom {
            Whom::One { host, port } => (host.as_str(), *port).to_socket_addrs()?.collect(),
            Whom::Table(nodes) => vec![nodes.all()[node].frame],
        };
        Connection::open(&to, self.within)
    }

    fn name(&self, node: usize) -> String {
        match &self.whom {
            Whom::One { host, port } => format!("{host}:{port}"),
            Whom::Table(nodes) => format!("node {node} at {}", nodes.all()[node].frame),
        }
    }

    fn unreached(&self, node: usize, error: &io::Error) -> Lost {
        Lost(format!("{} cannot be reached: {}", self.name(node), self.why(error)))
    }

    fn broken(&self, node: usize, error: &io::Error) -> Lost {
        Lost(format!(
            "the connection to {} was lost, and whether this was done is not known: {}; the next command dials again",
            self.name(node),
            self.why(error)
        ))
    }

    fn why(&self, error: &io::Error) -> String {
        match error.kind() {
            ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
            ErrorKind::UnexpectedEof => "it was closed at the other end".to_owned(),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => "it was reset at the other end".to_owned(),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => format!("no answer within {:?}", self.within),
            _ => error.to_string(),
        }
    }
}

fn wire(ask: Ask<'_>) -> Request<'_> {
    let Ask { verb, key, value } = ask;
    match verb {
        Verb::Put => Request::Put { key, value },
        Verb::Get => Request::Get { key },
        Verb::Del => Request::Rem { key },
    }
}
