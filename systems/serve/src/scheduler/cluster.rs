//! The nodes of a cluster as they are typed: `1=10.0.0.1:3002`, `5=10.0.0.2:3003/log`, each with where it is linked if
//! that is not the page's port and 10,000: `1=10.0.0.1:3002/13002`.

use reactor::Fatal;
use scheduler::{Kind, Member};
use std::net::SocketAddr;

/// A link port is this far from the page's.
const LINK_OFFSET: u16 = 10_000;

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct One {
    pub(super) id: u16,
    pub(super) kind: Kind,
    pub(super) http: SocketAddr,
    pub(super) link: SocketAddr,
}

/// Reads one node.
pub(super) fn one(text: &str) -> Result<One, String> {
    let wrong = || {
        format!(
            "{text:?} is no node such as 1=127.0.0.1:3002, 1=127.0.0.1:3002/13002 or 5=127.0.0.1:3003/log"
        )
    };
    let (id, rest) = text.split_once('=').ok_or_else(wrong)?;
    let mut parts = rest.split('/');
    let http: SocketAddr = parts.next().and_then(|part| part.parse().ok()).ok_or_else(wrong)?;
    let (mut kind, mut link) = (Kind::Server, None);
    for part in parts {
        match part {
            "log" => kind = Kind::Log,
            port => link = Some(port.parse::<u16>().map_err(|_| wrong())?),
        }
    }
    let link = link.or_else(|| http.port().checked_add(LINK_OFFSET)).ok_or_else(wrong)?;
    let id = id.trim().parse().ok().filter(|id| *id > 0 && *id < u16::MAX).ok_or_else(wrong)?;
    Ok(One { id, kind, http, link: SocketAddr::new(http.ip(), link) })
}

impl One {
    /// How people know it.
    pub(super) fn name(&self) -> String {
        match self.kind {
            Kind::Server => format!("node-{}", self.id),
            Kind::Log => format!("log-{}", self.id),
        }
    }

    /// As it is typed.
    pub(super) fn typed(&self) -> String {
        let log = if self.kind == Kind::Log { "/log" } else { "" };
        format!("{}={}/{}{log}", self.id, self.http, self.link.port())
    }

    pub(super) fn member(&self) -> Member {
        Member {
            node: machine::NodeId(self.id),
            name: self.name().into(),
            kind: self.kind,
            http: self.http.into(),
        }
    }
}

/// Refuses a list that cannot be a cluster.
pub(super) fn checked(nodes: &[One]) -> Result<(), Fatal> {
    for (at, node) in nodes.iter().enumerate() {
        if nodes[..at].iter().any(|other| other.id == node.id) {
            return Err(Fatal::misuse(format!("--cluster names node {} twice", node.id)));
        }
    }
    match nodes.iter().any(|node| node.kind == Kind::Server) {
        true => Ok(()),
        false => Err(Fatal::misuse("--cluster names no node that can work")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_read_as_it_is_written_or_refused() {
        let check = |text: &str, expected: &str| assert_eq!(one(text).unwrap().typed(), expected, "{text}");
        check("1=127.0.0.1:3002", "1=127.0.0.1:3002/13002");
        check("5=[::1]:3003/7/log", "5=[::1]:3003/7/log");
        check("5=127.0.0.1:3003/log", "5=127.0.0.1:3003/13003/log");
        for wrong in
            ["", "1", "0=127.0.0.1:1", "x=127.0.0.1:1", "1=127.0.0.1", "1=127.0.0.1:60000", "1=127.0.0.1:1/x"]
        {
            assert!(one(wrong).is_err(), "{wrong}");
        }
    }
}
