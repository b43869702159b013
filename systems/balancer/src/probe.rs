//! Connections by which the keeper of the truth looks at replicas: heartbeats, and whether a port is free.
//!
//! Each is dialled anew: a replica that answers on an old connection and takes no new ones is of no use. What is heard
//! becomes one word, and who waits for it no longer hears it.

use crate::peer::{Said, Tenancy};
use machine::{Address, Close, ConnId, Dial, Input, Instant, Now, Outbox};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use wire::Outcome;
use wire::http::{Asked, Limits, ResponseReader};

/// How long somebody may take to refuse a connection on this machine.
const SEEK: Duration = Duration::from_secs(1);

/// What is heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Whether nobody answers at the port.
    Sought(Tenancy, bool),
    /// A heartbeat, or why there is none.
    Beat(Tenancy, Result<(), String>),
}

#[derive(Debug)]
enum Kind {
    Seek,
    Beat(ResponseReader),
}

#[derive(Debug)]
struct Probe {
    tenancy: Tenancy,
    kind: Kind,
}

/// All that are open.
#[derive(Debug, Default)]
pub struct Probes {
    by_conn: BTreeMap<ConnId, Probe>,
}

impl Probes {
    /// Whether this connection is one of them.
    #[must_use]
    pub fn has(&self, conn: ConnId) -> bool {
        self.by_conn.contains_key(&conn)
    }

    /// Finds out whether anybody listens there.
    pub fn seek(&mut self, tenancy: Tenancy, port: u16, now: Now, out: &mut impl Outbox<Said = Said>) {
        let to = Address::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let conn = out.dial(Dial { to, from: None, tls: None, by: now.at + SEEK });
        self.by_conn.insert(conn, Probe { tenancy, kind: Kind::Seek });
    }

    /// Asks for a heartbeat.
    pub fn beat(&mut self, tenancy: Tenancy, to: Address, by: Instant, out: &mut impl Outbox<Said = Said>) {
        let host = to.to_string();
        let conn = out.dial(Dial { to, from: None, tls: None, by });
        let head = format!("GET /heartbeat HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        out.write(conn, head.as_bytes());
        let kind = Kind::Beat(ResponseReader::new(Limits::default()));
        self.by_conn.insert(conn, Probe { tenancy, kind });
    }

    /// Nobody waits for what is asked of this seat any more.
    pub fn forget(&mut self, tenancy: Tenancy, out: &mut impl Outbox<Said = Said>) {
        let conns: Vec<ConnId> = self
            .by_conn
            .iter()
            .filter(|(_, probe)| probe.tenancy.seat == tenancy.seat)
            .map(|(conn, _)| *conn)
            .collect();
        for conn in conns {
            self.by_conn.remove(&conn);
            out.close(conn, Close::Now);
        }
    }

    /// A dial succeeded.
    pub fn on_open(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) -> Option<News> {
        let probe = self.by_conn.get(&conn)?;
        match probe.kind {
            Kind::Seek => {
                let tenancy = probe.tenancy;
                self.by_conn.remove(&conn);
                out.close(conn, Close::Now);
                Some(News::Sought(tenancy, false))
            }
            Kind::Beat(_) => None,
        }
    }

    /// An answer comes.
    pub fn on_bytes(
        &mut self,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) -> Option<News> {
        let probe = self.by_conn.get_mut(&conn)?;
        let Kind::Beat(reader) = &mut probe.kind else { return None };
        let outcome = match reader.next(input.bytes(), Asked::Plain) {
            Outcome::Done { value, used } if value.is_interim() => {
                input.used(used);
                return None;
            }
            Outcome::Done { value, .. } if value.status == 200 => Ok(()),
            Outcome::Done { value, .. } => Err(format!("answered a heartbeat with status {}", value.status)),
            Outcome::Partial { need: _ } => return None,
            Outcome::Fault(fault) => Err(format!("answered a heartbeat with what is not HTTP: {fault}")),
        };
        input.used(input.bytes().len());
        let tenancy = probe.tenancy;
        self.by_conn.remove(&conn);
        out.close(conn, Close::Flushed);
        Some(News::Beat(tenancy, outcome))
    }

    /// A dial failed, or a connection ended.
    pub fn on_end(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) -> Option<News> {
        let probe = self.by_conn.remove(&conn)?;
        out.close(conn, Close::Now);
        Some(match probe.kind {
            Kind::Seek => News::Sought(probe.tenancy, true),
            Kind::Beat(_) => {
                News::Beat(probe.tenancy, Err("refused or ended a heartbeat's connection".into()))
            }
        })
    }
}
