//! What cluster clients are told: each core as a node of its own, with its own port, so that they ask the owner
//! directly and no request crosses cores.
//!
//! The one hard thing is the shared port, where every key is served and nobody is sent elsewhere. It owns nothing, so
//! among the owners it would be wrong; but tools look for the line of whom they talk to. So there, and there alone, it
//! stands in the list as one more master without slots.
//!
//! With several cores there are some 8,000 ranges of slots, and clients ask for them whenever they connect. So what is
//! told of them is made once for each epoch of the placement and kept, at most [`Shown`]'s twelve texts of up to 1 MiB.

use crate::answer::Raw;
use crate::command::ClusterWord;
use crate::config::{Announce, Config};
use crate::reply::{Shape, Sink, Tell};
use core::fmt::Write as _;
use machine::blob::BLOB_MIN;
use machine::{Blob, Seat};
use state::hash::hash64;
use state::{Member, Placement, Slot};
use std::net::SocketAddr;
use wire::resp::{Version, Writer};

/// Seeds the three parts of an id; a change is another id for everybody.
const ID_SEEDS: [u64; 3] = [11, 12, 13];

/// Characters of an id.
pub(crate) const ID_LENGTH: usize = 40;

/// Added to a port for the one of the cluster's own links, as Redis does.
const LINK_PORT_OFFSET: u16 = 10_000;

/// Stands for the shared port where a core's number would be.
const SHARED: u16 = u16::MAX;

/// The cluster as one connection sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) placement: &'a Placement,
    pub(crate) config: &'a Config,
    pub(crate) seat: Seat,
    /// It came by this core's own port.
    pub(crate) is_core: bool,
}

/// What was told of the slots of an epoch, and will be told again: by word, version and door.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    epoch: u64,
    texts: Vec<(ClusterWord<'static>, Version, bool, Blob)>,
}

impl Shown {
    /// The answer; made now, if it was not told before in this epoch.
    pub(crate) fn answer(&mut self, view: View<'_>, word: ClusterWord<'_>, version: Version) -> Text {
        let make = || {
            let mut bytes = Vec::new();
            view.write(word, &mut Writer::new(&mut bytes, version));
            Blob::from(bytes)
        };
        let word = match word {
            ClusterWord::Slots => ClusterWord::Slots,
            ClusterWord::Shards => ClusterWord::Shards,
            ClusterWord::Nodes => ClusterWord::Nodes,
            ClusterWord::Info | ClusterWord::MyId | ClusterWord::Replicas(_) => return Text(make()),
        };
        if self.epoch != view.placement.epoch() {
            *self = Self { epoch: view.placement.epoch(), texts: Vec::new() };
        }
        let is_it = |(told, of, is_core, _): &&(ClusterWord<'static>, Version, bool, Blob)| {
            *told == word && *of == version && *is_core == view.is_core
        };
        if let Some((.., text)) = self.texts.iter().find(is_it) {
            return Text(text.clone());
        }
        let text = make();
        self.texts.push((word, version, view.is_core, text.clone()));
        Text(text)
    }
}

/// An answer that is kept.
pub(crate) struct Text(Blob);

impl Tell for Text {
    fn tell(self, shape: Shape, into: &mut impl Sink) {
        if self.0.len() < BLOB_MIN || shape == Shape::Silent {
            Raw(&self.0).tell(shape, into);
        } else {
            into.blob(self.0);
        }
    }
}

/// One who owns slots.
struct Owner {
    id: String,
    ip: String,
    port: u16,
    ranges: Vec<(Slot, Slot)>,
    is_asked: bool,
}

/// The id of a core, or with [`SHARED`] of a whole node: 40 hexadecimal digits, always the same.
fn id(node: u16, core: u16) -> String {
    let name = [node.to_le_bytes(), core.to_le_bytes()].concat();
    let mut digits: String = ID_SEEDS.iter().map(|seed| format!("{:016x}", hash64(&name, *seed))).collect();
    digits.truncate(ID_LENGTH);
    digits
}

impl View<'_> {
    /// Answers.
    pub(crate) fn write(self, word: ClusterWord<'_>, into: &mut Writer<'_>) {
        match word {
            ClusterWord::Info => into.verbatim(*b"txt", self.info().as_bytes()),
            ClusterWord::MyId => into.bulk(self.own_id().as_bytes()),
            ClusterWord::Slots => self.slots(into),
            ClusterWord::Shards => self.shards(into),
            ClusterWord::Nodes => into.verbatim(*b"txt", self.nodes().as_bytes()),
            ClusterWord::Replicas(asked) => {
                let is_known = self.owners().iter().any(|owner| owner.id.as_bytes() == asked);
                if is_known {
                    return into.array(0);
                }
                let shown = String::from_utf8_lossy(&asked[..asked.len().min(ID_LENGTH)]);
                into.error(format!("ERR Unknown node {shown}"));
            }
        }
    }

    fn names_cores(&self) -> bool {
        self.config.announce == Announce::Cores && !self.config.core_ports.is_empty()
    }

    /// Whom this connection talks to.
    fn own_id(&self) -> String {
        let core = if self.names_cores() && self.is_core { self.seat.core.0 } else { SHARED };
        id(self.seat.node.0, core)
    }

    /// Where a member is asked, and by which number it is known; none for a node whose port nobody told.
    fn door(&self, (node, core): Member) -> Option<(SocketAddr, u16)> {
        if node != self.seat.node {
            let there = self.config.nodes.get(usize::from(node.0))?;
            return there.resp.map(|at| (at, SHARED));
        }
        match self.config.core_ports.get(core.index()) {
            Some(at) if self.names_cores() => Some((*at, core.0)),
            Some(_) | None => self.config.resp.map(|at| (at, SHARED)),
        }
    }

    /// An address as clients are told it: nothing stands for the host they asked already.
    fn ip(&self, node: u16, at: SocketAddr) -> String {
        match self.config.announce_ip {
            Some(ip) if node == self.seat.node.0 => ip.to_string(),
            _ if at.ip().is_unspecified() => String::new(),
            _ => at.ip().to_string(),
        }
    }

    fn owners(&self) -> Vec<Owner> {
        let own_id = self.own_id();
        let mut owners: Vec<Owner> = Vec::new();
        // By node and core, so that a range finds its owner without a search among names.
        let mut places: Vec<(Member, Option<usize>)> = Vec::new();
        for member in self.placement.members() {
            let place = self.door(*member).map(|(at, core)| {
                let id = id(member.0.0, core);
                owners.iter().position(|owner| owner.id == id).unwrap_or_else(|| {
                    let (ip, is_asked) = (self.ip(member.0.0, at), id == own_id);
                    owners.push(Owner { id, ip, port: at.port(), ranges: Vec::new(), is_asked });
                    owners.len() - 1
                })
            });
            places.push((*member, place));
        }
        for (first, last, member) in self.placement.ranges() {
            let place = places.binary_search_by_key(&member, |(member, _)| *member);
            let Some(owner) = place.ok().and_then(|place| places[place].1) else { continue };
            match owners[owner].ranges.last_mut() {
                Some((_, before)) if before.number() + 1 == first.number() => *before = last,
                _ => owners[owner].ranges.push((first, last)),
            }
        }
        owners
    }

    fn info(&self) -> String {
        let owners = self.owners();
        let slots = |owner: &Owner| {
            owner.ranges.iter().map(|(first, last)| last.index() - first.index() + 1).sum::<usize>()
        };
        let assigned: usize = owners.iter().map(slots).sum();
        let state = if assigned == Slot::COUNT { "ok" } else { "fail" };
        let (known, epoch) = (owners.len(), self.placement.epoch());
        format!(
            "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{assigned}\r\n\
             cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{known}\r\ncluster_size:{known}\r\n\
             cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:0\r\n\
             cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
        )
    }

    fn slots(&self, into: &mut Writer<'_>) {
        let owners = self.owners();
        let mut ranges: Vec<(Slot, Slot, &Owner)> = owners
            .iter()
            .flat_map(|owner| owner.ranges.iter().map(move |(first, last)| (*first, *last, owner)))
            .collect();
        ranges.sort_unstable_by_key(|(first, ..)| *first);
        into.array(ranges.len());
        for (first, last, owner) in ranges {
            into.array(3);
            into.integer(i64::from(first.number()));
            into.integer(i64::from(last.number()));
            into.array(4);
            into.bulk(owner.ip.as_bytes());
            into.integer(i64::from(owner.port));
            into.bulk(owner.id.as_bytes());
            into.map(0);
        }
    }

    fn shards(&self, into: &mut Writer<'_>) {
        let owners = self.owners();
        into.array(owners.len());
        for owner in &owners {
            into.map(2);
            into.bulk(b"slots");
            into.array(owner.ranges.len() * 2);
            for (first, last) in &owner.ranges {
                into.integer(i64::from(first.number()));
                into.integer(i64::from(last.number()));
            }
            into.bulk(b"nodes");
            into.array(1);
            into.map(7);
            let mut text = |name: &str, value: &str| {
                into.bulk(name.as_bytes());
                into.bulk(value.as_bytes());
            };
            text("id", &owner.id);
            into.bulk(b"port");
            into.integer(i64::from(owner.port));
            let mut text = |name: &str, value: &str| {
                into.bulk(name.as_bytes());
                into.bulk(value.as_bytes());
            };
            text("ip", &owner.ip);
            text("endpoint", &owner.ip);
            text("role", "master");
            into.bulk(b"replication-offset");
            into.integer(0);
            into.bulk(b"health");
            into.bulk(b"online");
        }
    }

    fn nodes(&self) -> String {
        let owners = self.owners();
        let epoch = self.placement.epoch();
        let mut text = String::new();
        let mut line = |id: &str, ip: &str, port: u16, flags: &str, ranges: &[(Slot, Slot)]| {
            let link = port.checked_add(LINK_PORT_OFFSET).unwrap_or(0);
            let _ = write!(text, "{id} {ip}:{port}@{link} {flags} - 0 0 {epoch} connected");
            for (first, last) in ranges {
                let _ = match first == last {
                    true => write!(text, " {}", first.number()),
                    false => write!(text, " {}-{}", first.number(), last.number()),
                };
            }
            text.push('\n');
        };
        if let Some(at) = self.config.resp.filter(|_| !owners.iter().any(|owner| owner.is_asked)) {
            line(&self.own_id(), &self.ip(self.seat.node.0, at), at.port(), "myself,master", &[]);
        }
        for owner in &owners {
            let flags = if owner.is_asked { "myself,master" } else { "master" };
            line(&owner.id, &owner.ip, owner.port, flags, &owner.ranges);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::{CoreId, NodeId};

    const CORES: u16 = 3;

    fn config(announce: Announce) -> Config {
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let core_ports = (0..CORES).map(|core| at(7000 + core)).collect();
        Config { resp: Some(at(6379)), core_ports, announce, ..Config::default() }
    }

    fn told(config: &Config, is_core: bool, word: ClusterWord<'_>) -> String {
        let seat = Seat { node: NodeId(0), core: CoreId(1), cores: CORES };
        let members: Vec<Member> = seat.all_cores().map(|core| (seat.node, core)).collect();
        let placement = Placement::propose(&members).expect("there are some");
        let mut bytes = Vec::new();
        let view = View { placement: &placement, config, seat, is_core };
        view.write(word, &mut Writer::new(&mut bytes, Version::Two));
        String::from_utf8(bytes).expect("it is text")
    }

    /// The lines of CLUSTER NODES as id, address, flags, and how many slots there are.
    fn lines(config: &Config, is_core: bool) -> Vec<(String, String, String, usize)> {
        let text = told(config, is_core, ClusterWord::Nodes);
        let lines = text.lines().skip(1).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let slots = words[8..].iter().map(|range| {
                    let (first, last) = range.split_once('-').unwrap_or((range, range));
                    last.parse::<usize>().expect("a slot") - first.parse::<usize>().expect("a slot") + 1
                });
                (words[0].into(), words[1].into(), words[2].into(), slots.sum())
            })
            .collect()
    }

    #[test]
    fn every_core_is_a_node_with_its_own_port() {
        let config = config(Announce::Cores);
        let cores = lines(&config, true);
        let at: Vec<&str> = cores.iter().map(|line| line.1.as_str()).collect();
        assert_eq!(at, ["127.0.0.1:7000@17000", "127.0.0.1:7001@17001", "127.0.0.1:7002@17002"]);
        assert_eq!(cores.iter().map(|line| line.3).sum::<usize>(), Slot::COUNT);
        assert_eq!([&*cores[0].2, &*cores[1].2], ["master", "myself,master"]);
        let my_id = told(&config, true, ClusterWord::MyId);
        assert_eq!(my_id, format!("$40\r\n{}\r\n", cores[1].0));
        assert!(cores.iter().all(|line| line.0.len() == ID_LENGTH));
    }

    #[test]
    fn the_shared_port_is_a_master_without_slots() {
        let config = config(Announce::Cores);
        let all = lines(&config, false);
        assert_eq!((&*all[0].1, &*all[0].2, all[0].3), ("127.0.0.1:6379@16379", "myself,master", 0));
        assert_eq!(all[1..].iter().filter(|line| line.2 == "master").count(), usize::from(CORES));
        assert!(!told(&config, false, ClusterWord::Slots).contains("127.0.0.1\r\n:6379"), "it owns nothing");
    }

    #[test]
    fn a_node_that_hides_its_cores_owns_all_slots() {
        let config = config(Announce::Node);
        let all = lines(&config, false);
        assert_eq!(all.len(), 1);
        assert_eq!(
            (&*all[0].1, &*all[0].2, all[0].3),
            ("127.0.0.1:6379@16379", "myself,master", Slot::COUNT)
        );
        let slots = told(&config, false, ClusterWord::Slots);
        assert!(
            slots.starts_with("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:6379\r\n$40\r\n"),
            "{slots}"
        );
        let info = told(&config, false, ClusterWord::Info);
        assert!(info.contains("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"), "{info}");
    }

    #[test]
    fn an_address_for_everybody_is_told_as_the_one_that_was_asked() {
        let mut config = config(Announce::Node);
        config.resp = Some(SocketAddr::from(([0, 0, 0, 0], 6379)));
        assert_eq!(lines(&config, false)[0].1, ":6379@16379");
        config.announce_ip = Some([10, 0, 0, 7].into());
        assert_eq!(lines(&config, false)[0].1, "10.0.0.7:6379@16379");
    }

    #[test]
    fn what_is_told_of_slots_is_made_once() {
        let config = config(Announce::Cores);
        let seat = Seat { node: NodeId(0), core: CoreId(1), cores: CORES };
        let members: Vec<Member> = seat.all_cores().map(|core| (seat.node, core)).collect();
        let placement = Placement::propose(&members).expect("there are some");
        let mut shown = Shown::default();
        let mut made = Vec::new();
        for is_core in [false, true] {
            for version in [Version::Two, Version::Three] {
                for word in [ClusterWord::Slots, ClusterWord::Shards, ClusterWord::Nodes, ClusterWord::MyId] {
                    let view = View { placement: &placement, config: &config, seat, is_core };
                    let Text(first) = shown.answer(view, word, version);
                    let Text(again) = shown.answer(view, word, version);
                    assert_eq!(first[..], again[..]);
                    assert_eq!(first.as_ptr() == again.as_ptr(), word != ClusterWord::MyId, "{word:?}");
                    made.push((word, first));
                }
            }
        }
        assert_eq!(shown.texts.len(), 12);
        let mut fresh = Vec::new();
        let view = View { placement: &placement, config: &config, seat, is_core: false };
        view.write(ClusterWord::Slots, &mut Writer::new(&mut fresh, Version::Two));
        assert_eq!(made[0].1[..], fresh[..]);
    }

    /// Clients remember ids: they must never change.
    #[test]
    fn ids_are_fixed() {
        assert_eq!(id(0, 0), id(0, 0));
        assert_ne!(id(0, 1), id(1, 0));
    }
}
