//! What a cluster says of itself before a run: its nodes, and which has each slot. Asked once, on a connection of
//! its own that waits; what changes later is learnt from redirects.

use crate::plan::STATUS_UNREACHABLE;
use crate::routing::{NODES_MAX, SLOTS};
use reactor::Fatal;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;
use wire::Outcome;
use wire::resp::{Replies, Reply, ReplyLimits, write_request};

/// How long a node may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Nodes, and each slot's node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Every node that has a slot.
    pub nodes: Vec<SocketAddr>,
    /// For each slot its node's place.
    pub owners: Vec<u16>,
}

/// Asks the first of `seeds` that answers.
///
/// # Errors
/// A sentence, when none does, or the cluster does not hold every slot.
pub fn discover(seeds: &[SocketAddr]) -> Result<Cluster, Fatal> {
    let mut why = String::new();
    for seed in seeds {
        match ask(*seed, &[b"CLUSTER", b"SLOTS"], |reply| read(reply, seed.ip())) {
            Ok(Ok(cluster)) => return Ok(cluster),
            Ok(Err(sentence)) => why = format!("{seed}: {sentence}"),
            Err(error) => why = format!("{seed}: {error}"),
        }
    }
    Err(Fatal { status: STATUS_UNREACHABLE, sentence: format!("no cluster is to be found at {why}") })
}

/// Asks one thing of a RESP server on a connection of its own, and reads the answer.
///
/// # Errors
/// What the network says, or that the answer is none.
pub fn ask<T>(to: SocketAddr, words: &[&[u8]], read: impl FnOnce(Reply<'_>) -> T) -> std::io::Result<T> {
    let mut stream = TcpStream::connect_timeout(&to, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let mut request = Vec::new();
    write_request(&mut request, words);
    stream.write_all(&request)?;
    let mut replies = Replies::new(ReplyLimits::default());
    let mut heard = Vec::new();
    let mut chunk = [0; 16 * 1024];
    let strange = |what| std::io::Error::new(std::io::ErrorKind::InvalidData, what);
    while heard.len() < ANSWER_BYTES_MAX {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Err(strange("it closed the connection"));
        }
        heard.extend_from_slice(&chunk[..count]);
        match replies.next(&heard) {
            Outcome::Done { value, .. } => return Ok(read(value)),
            Outcome::Partial { .. } => {}
            Outcome::Fault(_) => return Err(strange("what it said is not RESP")),
        }
    }
    Err(strange("its answer has no end"))
}

/// The reply to CLUSTER SLOTS: [first, last, [host, port, …], …] of each range. An empty host is the one asked.
fn read(reply: Reply<'_>, asked: IpAddr) -> Result<Cluster, String> {
    let ranges = match reply {
        Reply::Array(ranges) => ranges,
        Reply::Error(text) => return Err(String::from_utf8_lossy(text).into_owned()),
        _ => return Err("CLUSTER SLOTS is answered with no list".to_owned()),
    };
    let mut cluster = Cluster { nodes: Vec::new(), owners: vec![u16::MAX; SLOTS] };
    for range in ranges.iter() {
        let (first, last, node) = range_of(range, asked).ok_or("a range of slots cannot be read")?;
        let place = match cluster.nodes.iter().position(|known| *known == node) {
            Some(place) => place,
            None if cluster.nodes.len() >= NODES_MAX => return Err(format!("over {NODES_MAX} nodes")),
            None => {
                cluster.nodes.push(node);
                cluster.nodes.len() - 1
            }
        };
        cluster.owners[first..=last].fill(place as u16);
    }
    match cluster.owners.iter().position(|owner| *owner == u16::MAX) {
        None => Ok(cluster),
        Some(slot) => Err(format!("nobody has slot {slot}")),
    }
}

fn range_of(range: Reply<'_>, asked: IpAddr) -> Option<(usize, usize, SocketAddr)> {
    let Reply::Array(parts) = range else { return None };
    let mut parts = parts.iter();
    let slot = |reply| match reply {
        Reply::Integer(slot) => usize::try_from(slot).ok().filter(|slot| *slot < SLOTS),
        _ => None,
    };
    let (first, last) = (slot(parts.next()?)?, slot(parts.next()?)?);
    let Reply::Array(node) = parts.next()? else { return None };
    let mut node = node.iter();
    let host = match node.next()? {
        Reply::Bulk(b"") | Reply::Null => asked,
        Reply::Bulk(host) => core::str::from_utf8(host).ok()?.parse().ok()?,
        _ => return None,
    };
    let Reply::Integer(port) = node.next()? else { return None };
    (first <= last).then_some((first, last, SocketAddr::new(host, u16::try_from(port).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(bytes: &[u8]) -> Result<Cluster, String> {
        let mut replies = Replies::new(ReplyLimits::default());
        let Outcome::Done { value, .. } = replies.next(bytes) else { panic!("a whole reply") };
        read(value, "127.0.0.9".parse().unwrap())
    }

    #[test]
    fn a_cluster_is_read_with_its_nodes_and_slots() {
        let said = b"*2\r\n*3\r\n:0\r\n:99\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n*3\r\n:100\r\n:16383\r\n*2\r\n$0\r\n\r\n:7001\r\n";
        let cluster = parsed(said).unwrap();
        let named: Vec<_> = cluster.nodes.iter().map(ToString::to_string).collect();
        assert_eq!(named, ["127.0.0.1:7000", "127.0.0.9:7001"]);
        assert_eq!((cluster.owners[99], cluster.owners[100]), (0, 1));
    }

    #[test]
    fn what_is_no_whole_cluster_is_refused() {
        assert_eq!(parsed(b"*0\r\n"), Err("nobody has slot 0".to_owned()));
        assert!(
            parsed(b"-ERR This instance has cluster support disabled\r\n").unwrap_err().contains("disabled")
        );
        assert!(parsed(b"*1\r\n*2\r\n:5\r\n:1\r\n").is_err());
        assert!(parsed(b"*1\r\n*3\r\n:9\r\n:1\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n").is_err());
        assert!(parsed(b"*1\r\n*3\r\n:0\r\n:99999\r\n*2\r\n$9\r\n127.0.0.1\r\n:7000\r\n").is_err());
    }
}
