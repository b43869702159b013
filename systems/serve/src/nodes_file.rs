//! The file that lists static nodes, the same for every node and client:
//! `{"0": {"ip": "127.0.0.1", "port": 5050}, "1": {"ip": "127.0.0.1", "port": 5051}}`.
//!
//! The port is that of framed text. A node may also have `"resp"`, its RESP port, to which RESP clients of other nodes
//! are sent, and `"cores"`, the number of cores it runs on (1 when it is not given): with placement `ring` both are
//! what the others count on, with `md5-mod` neither matters. The hard thing is that a list which is a little wrong
//! would not fail but lose keys, so everything that cannot be meant is refused with a sentence.

use clap::ValueEnum;
use dht::nodes::{NODES_MAX, Node, Rule};
use reactor::Fatal;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// Which node has a key, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Placement {
    /// int(md5(key)) mod n: the client picks the node, a node stores what arrives
    Md5Mod,
    /// The slot's owner on the ring: any node can be asked
    Ring,
}

impl From<Placement> for Rule {
    fn from(typed: Placement) -> Self {
        match typed {
            Placement::Md5Mod => Self::Md5Mod,
            Placement::Ring => Self::Ring,
        }
    }
}

/// The nodes of a file, by id.
///
/// # Errors
/// Status 2 with the file's name and what is wrong with it.
pub fn read(file: &Path) -> Result<Vec<Node>, Fatal> {
    let wrong = |why: String| Fatal::misuse(format!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    parse(&text).map_err(wrong)
}

/// Which node has this address.
///
/// # Errors
/// Status 2 when none has.
pub fn own_id(nodes: &[Node], at: SocketAddr) -> Result<u16, Fatal> {
    let found = nodes.iter().position(|node| node.frame == at);
    found.and_then(|id| u16::try_from(id).ok()).ok_or_else(|| {
        Fatal::misuse(format!(
            "no node of the list has {at}, where this one would serve framed text (--listen and --frame-port); \
             say which one it is with --id N"
        ))
    })
}

/// What a list looks like, for those who wrote none.
const EXAMPLE: &str = r#"a list of nodes looks like {"0": {"ip": "127.0.0.1", "port": 5050}, "1": …}"#;

fn parse(text: &str) -> Result<Vec<Node>, String> {
    let List(entries) = serde_json::from_str(text).map_err(|error| format!("{error}; {EXAMPLE}"))?;
    if entries.is_empty() {
        return Err(format!("it names no node; {EXAMPLE}"));
    }
    if entries.len() > NODES_MAX {
        return Err(format!("it names {} nodes, and {NODES_MAX} is the most there may be", entries.len()));
    }
    let mut nodes: Vec<Option<Node>> = vec![None; entries.len()];
    for (id, entry) in &entries {
        let number: Option<usize> = id.parse().ok().filter(|number: &usize| number.to_string() == *id);
        let Some(place) = number.and_then(|number| nodes.get_mut(number)) else {
            return Err(format!(
                "its {} nodes must have the ids 0 to {}; {id:?} is none of them",
                entries.len(),
                entries.len() - 1
            ));
        };
        if place.replace(entry.node(id)?).is_some() {
            return Err(format!("node {id} stands there twice"));
        }
    }
    // As many different ids as places, all in range: none is missing.
    let nodes: Vec<Node> = nodes.into_iter().flatten().collect();
    distinct(&nodes)?;
    Ok(nodes)
}

/// No two listeners at one address.
fn distinct(nodes: &[Node]) -> Result<(), String> {
    let mut all: Vec<(SocketAddr, usize)> = nodes
        .iter()
        .enumerate()
        .flat_map(|(id, node)| [Some(node.frame), node.resp].into_iter().flatten().map(move |at| (at, id)))
        .collect();
    all.sort_unstable();
    match all.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        None => Ok(()),
        Some(pair) if pair[0].1 == pair[1].1 => Err(format!("node {} has {} twice", pair[0].1, pair[0].0)),
        Some(pair) => Err(format!("nodes {} and {} both have {}", pair[0].1, pair[1].1, pair[0].0)),
    }
}

/// One node as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    ip: IpAddr,
    port: u16,
    resp: Option<u16>,
    cores: Option<u16>,
}

impl Entry {
    fn node(&self, id: &str) -> Result<Node, String> {
        if self.port == 0 || self.resp == Some(0) {
            return Err(format!("node {id} has port 0; others must know where it is"));
        }
        match self.cores.unwrap_or(1) {
            0 => Err(format!("node {id} has no cores")),
            cores => Ok(Node {
                frame: SocketAddr::new(self.ip, self.port),
                resp: self.resp.map(|port| SocketAddr::new(self.ip, port)),
                cores,
            }),
        }
    }
}

/// The entries in the order in which they stand, so that an id that comes twice is seen.
struct List(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = List;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with an entry for each node")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(List(entries))
            }
        }
        from.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_by_id_whatever_its_order() {
        let nodes = parse(
            r#"{"1": {"ip": "::1", "port": 5051, "cores": 2},
                "0": {"port": 5050, "ip": "127.0.0.1", "resp": 6379}}"#,
        );
        let nodes = nodes.expect("it is right");
        assert_eq!(nodes[0].frame, SocketAddr::from(([127, 0, 0, 1], 5050)));
        assert_eq!(nodes[0].resp, Some(SocketAddr::from(([127, 0, 0, 1], 6379))));
        assert_eq!((nodes[0].cores, nodes[1].cores), (1, 2));
        assert_eq!(own_id(&nodes, nodes[1].frame).ok(), Some(1));
        let nobody = own_id(&nodes, SocketAddr::from(([127, 0, 0, 1], 5051))).unwrap_err();
        assert_eq!(nobody.status, 2);
        assert!(nobody.sentence.contains("127.0.0.1:5051") && nobody.sentence.contains("--id"), "{nobody}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_sentence() {
        #[track_caller]
        fn check(text: &str, words: &str) {
            let said = parse(text).expect_err(text);
            assert!(said.contains(words), "{text}\nsaid: {said}");
        }
        let node = |id: &str, port: u16| format!(r#""{id}": {{"ip": "127.0.0.1", "port": {port}}}"#);
        check("", "EOF while parsing");
        check("[1]", "an entry for each node");
        check("{}", "names no node");
        check(r#"{"0": {"ip": "127.0.0.1"}}"#, "missing field `port`");
        check(r#"{"0": {"ip": "nowhere", "port": 1}}"#, "invalid IP address");
        check(r#"{"0": {"ip": "127.0.0.1", "port": 70000}}"#, "70000");
        check(r#"{"0": {"ip": "127.0.0.1", "port": 1, "core": 2}}"#, "unknown field `core`");
        check(r#"{"0": {"ip": "127.0.0.1", "port": 1, "cores": 0}}"#, "node 0 has no cores");
        check(r#"{"0": {"ip": "127.0.0.1", "port": 0}}"#, "port 0");
        check(r#"{"0": {"ip": "127.0.0.1", "port": 1, "resp": 1}}"#, "node 0 has 127.0.0.1:1 twice");
        check(&format!("{{{}, {}}}", node("0", 1), node("2", 2)), "ids 0 to 1; \"2\" is none");
        check(&format!("{{{}, {}}}", node("0", 1), node("a", 2)), "\"a\" is none");
        check(&format!("{{{}, {}}}", node("0", 1), node("01", 2)), "\"01\" is none");
        check(&format!("{{{}, {}}}", node("0", 1), node("0", 2)), "node 0 stands there twice");
        check(&format!("{{{}, {}}}", node("0", 1), node("1", 1)), "nodes 0 and 1 both have 127.0.0.1:1");
    }
}
