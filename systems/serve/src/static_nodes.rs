//! `dht serve` as one of several static nodes: which of them it is, and what the list promises of it to the others.
//!
//! The hard thing is that the promises are kept elsewhere: other nodes count on this one's address, and on the ring
//! on its number of cores. So a command line that says otherwise than the list is refused, not half believed.

use crate::nodes_file::{self, Placement};
use clap::Args;
use dht::nodes::Node;
use machine::NodeId;
use reactor::Fatal;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// What is typed about it.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Serve as one of the nodes of this list: {"0": {"ip": "127.0.0.1", "port": 5050}, ...}; each may also have
    /// "resp", its RESP port, and "cores", on how many it runs (1)
    #[arg(long, env = "RINGWISE_NODES", value_name = "FILE.json")]
    nodes: Option<PathBuf>,
    /// Which of the nodes this is; without it, the one that has --listen and --frame-port
    #[arg(long, env = "RINGWISE_ID", value_name = "N", requires = "nodes")]
    id: Option<u16>,
    /// Which of the nodes has a key
    #[arg(long, env = "RINGWISE_PLACEMENT", value_enum, default_value = "md5-mod", requires = "nodes")]
    placement: Placement,
    /// Take commands from standard input too, as `dht client` does, for the whole table; their end ends the server
    #[arg(long, env = "RINGWISE_PROMPT")]
    pub prompt: bool,
}

/// One of several nodes.
#[derive(Clone, Debug)]
pub struct This {
    /// Which.
    pub id: NodeId,
    /// All of them.
    pub nodes: Vec<Node>,
    /// Which of them has a key.
    pub placement: Placement,
}

impl Options {
    /// Whether a list of nodes was given.
    #[must_use]
    pub fn is_one_of_several(&self) -> bool {
        self.nodes.is_some()
    }

    /// Which node this is; none when no list was given. `frame_port` is what was typed, or else where framed text is
    /// by default.
    ///
    /// # Errors
    /// Status 2 when the list cannot be read or this is none of its nodes.
    pub fn this(&self, listen: IpAddr, frame_port: u16) -> Result<Option<This>, Fatal> {
        let Some(file) = &self.nodes else { return Ok(None) };
        let nodes = nodes_file::read(file)?;
        let id = match self.id {
            None => nodes_file::own_id(&nodes, SocketAddr::new(listen, frame_port))?,
            Some(id) if usize::from(id) < nodes.len() => id,
            Some(id) => {
                let last = nodes.len() - 1;
                return Err(Fatal::misuse(format!(
                    "--id {id} is no node of {}: 0 to {last} are",
                    file.display()
                )));
            }
        };
        Ok(Some(This { id: NodeId(id), nodes, placement: self.placement }))
    }
}

impl This {
    /// As the list has it.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.nodes[usize::from(self.id.0)]
    }

    /// The nodes among which the shards share the keys; none where the client picks the node.
    #[must_use]
    pub fn sharing(&self) -> Vec<Node> {
        match self.placement {
            Placement::Md5Mod => Vec::new(),
            Placement::Ring => self.nodes.clone(),
        }
    }

    /// The cores to run on. On the ring as many as the list says: the chosen ones, or the first that are allowed.
    ///
    /// # Errors
    /// Status 2 when there are more or fewer.
    pub fn cores(&self, chosen: Vec<usize>, allowed: Vec<usize>) -> Result<Vec<usize>, Fatal> {
        let count = usize::from(self.node().cores);
        let id = self.id.0;
        match (self.placement, chosen.len()) {
            (Placement::Md5Mod, 0) => Ok(allowed),
            (Placement::Md5Mod, _) => Ok(chosen),
            (Placement::Ring, 0) if allowed.len() < count => Err(Fatal::misuse(format!(
                "the list says that node {id} runs on {count} cores, and {} are allowed here",
                allowed.len()
            ))),
            (Placement::Ring, 0) => Ok(allowed[..count].to_vec()),
            (Placement::Ring, given) if given != count => Err(Fatal::misuse(format!(
                "the list says that node {id} runs on {count} cores (\"cores\"), and --cores names {given}"
            ))),
            (Placement::Ring, _) => Ok(chosen),
        }
    }

    /// The RESP port: what was typed, else the list's, else none.
    ///
    /// # Errors
    /// Status 2 when both are there and differ: others would send clients to the wrong one.
    pub fn resp_port(&self, typed: Option<u16>) -> Result<Option<u16>, Fatal> {
        let listed = self.node().resp.map(|at| at.port());
        match (typed, listed) {
            (Some(typed), Some(listed)) if typed != listed => Err(Fatal::misuse(format!(
                "the list says that node {} serves RESP at port {listed}, and --port says {typed}",
                self.id.0
            ))),
            (typed, listed) => Ok(typed.or(listed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this(placement: Placement, resp: Option<u16>, cores: u16) -> This {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let node = Node { frame: at(5050), resp: resp.map(at), cores };
        This { id: NodeId(0), nodes: vec![node], placement }
    }

    #[test]
    fn a_node_runs_on_as_many_cores_as_the_others_believe() {
        let check = |placement, cores, chosen: &[usize], expected: Result<&[usize], &str>| {
            let found = this(placement, None, cores).cores(chosen.to_vec(), vec![4, 5]);
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected),
                (Err(why), Err(words)) => assert!(why.sentence.contains(words), "{why}"),
                (found, _) => panic!("{chosen:?} of {cores} is {found:?}"),
            }
        };
        check(Placement::Md5Mod, 1, &[], Ok(&[4, 5]));
        check(Placement::Md5Mod, 1, &[0, 1, 2], Ok(&[0, 1, 2]));
        check(Placement::Ring, 1, &[], Ok(&[4]));
        check(Placement::Ring, 2, &[1, 0], Ok(&[1, 0]));
        check(Placement::Ring, 3, &[], Err("2 are allowed"));
        check(Placement::Ring, 1, &[0, 1], Err("--cores names 2"));
    }

    #[test]
    fn a_node_serves_resp_where_the_others_send_clients() {
        let port = |listed, typed| this(Placement::Ring, listed, 1).resp_port(typed).ok();
        assert_eq!(port(None, None), Some(None));
        assert_eq!(port(None, Some(7)), Some(Some(7)));
        assert_eq!(port(Some(6), None), Some(Some(6)));
        assert_eq!(port(Some(6), Some(6)), Some(Some(6)));
        assert_eq!(port(Some(6), Some(7)), None);
    }
}
