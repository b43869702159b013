//! How a link begins: each end says which node of which system it is, and where the cluster has a key, proves that it
//! knows it before anything else it says is read. See [`wire::proof`] for what is said and why it is enough.

use super::Role;
use crate::io::Io;
use machine::{ConnId, CoreId, NodeId, Peer, Why};
use wire::Outcome;
use wire::link::{self, Hello, Refusal};
use wire::peer::Message;
use wire::proof::{CHALLENGE, End, PROOF};

/// What was said of a greeting.
pub(super) struct Greeting {
    ours: Hello<'static>,
    /// Who connected, when they have still to prove it.
    theirs: Option<Hello<'static>>,
}

impl Greeting {
    /// Our hello as bytes.
    pub(super) fn hello(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        link::write_hello(&mut bytes, &self.ours);
        bytes
    }
}

impl<Said: Message> Io<Said> {
    /// A greeting to begin with, with a challenge of its own.
    pub(super) fn greeting(&self) -> Greeting {
        let challenge = self.links.key().map(|_| {
            let mut challenge = [0; CHALLENGE];
            // SAFETY: fills 32 bytes of ours. The entropy pool is ready long before this, so it fills all of them.
            let filled = unsafe { libc::getrandom(challenge.as_mut_ptr().cast(), CHALLENGE, 0) };
            assert_eq!(filled, CHALLENGE as isize, "no challenge may be known beforehand");
            challenge
        });
        let (node, core) = (self.seat.node.0, self.seat.core.0);
        let (system, version) = (self.links.system, self.links.version());
        Greeting { ours: Hello { system, version, node, core, challenge }, theirs: None }
    }

    /// We dialled: reads the hello and, with a key, the proof of who accepted; then gives ours, and the link is up.
    pub(super) fn greet(&mut self, conn: ConnId, bytes: &[u8]) -> Result<usize, Why> {
        let Some(Role::Ours(index, greeting)) = self.links.roles.get(&conn) else { return Ok(0) };
        let (index, ours) = (*index, greeting.ours);
        let node = self.links.ours[index].node;
        let (theirs, used) = match link::read_hello(bytes, &ours) {
            Outcome::Partial { .. } => return Ok(0),
            Outcome::Fault(refusal) => return Err(self.refuse(Some(node), &refusal)),
            Outcome::Done { value, used } => (Hello { system: ours.system, ..value }, used),
        };
        if NodeId(theirs.node) != node {
            let sentence =
                format!("at {} is node {}: check the list of nodes", self.links.ours[index].at, theirs.node);
            self.links.complain(self.now.at, Some(node), &sentence);
            return Err(Why::Untrusted);
        }
        let mut all = used;
        if let Some(key) = self.links.key() {
            let Some(proof) = bytes[used..].first_chunk::<PROOF>() else { return Ok(0) };
            if !key.is_proved(End::Acceptor, &ours, &theirs, proof) {
                return Err(self.refuse(Some(node), &Refusal::OtherKey));
            }
            all += PROOF;
            let proof = key.proof(End::Dialler, &ours, &theirs);
            self.put(conn, &proof);
        }
        self.link_is_up(conn, index, theirs.version);
        Ok(all)
    }

    /// They dialled: reads their hello and answers it; with a key, then reads their proof.
    pub(super) fn greeted(&mut self, conn: ConnId, bytes: &[u8]) -> Result<usize, Why> {
        let Some(Role::Stranger(greeting)) = self.links.roles.get(&conn) else { return Ok(0) };
        let (ours, said) = (greeting.ours, greeting.theirs);
        if let Some(theirs) = said {
            let Some(proof) = bytes.first_chunk::<PROOF>() else { return Ok(0) };
            if !self.links.key().is_some_and(|key| key.is_proved(End::Dialler, &theirs, &ours, proof)) {
                return Err(self.refuse(None, &Refusal::OtherKey));
            }
            self.link_is_theirs(conn, &theirs);
            return Ok(PROOF);
        }
        let (theirs, used) = match link::read_hello(bytes, &ours) {
            Outcome::Partial { .. } => return Ok(0),
            Outcome::Fault(refusal) => {
                let why = self.refuse(None, &refusal);
                if !matches!(refusal, Refusal::Keyless | Refusal::Keyed) {
                    return Err(why);
                }
                // Somebody without a key, or alone with one, learns it from our hello and says it to their operator.
                self.say_hello(conn);
                self.links.roles.remove(&conn);
                self.close_flushed(conn);
                return Ok(0);
            }
            Outcome::Done { value, used } => (Hello { system: ours.system, ..value }, used),
        };
        self.say_hello(conn);
        match self.links.key() {
            None => self.link_is_theirs(conn, &theirs),
            Some(key) => {
                let proof = key.proof(End::Acceptor, &theirs, &ours);
                self.put(conn, &proof);
                self.links.roles.insert(conn, Role::Stranger(Greeting { ours, theirs: Some(theirs) }));
            }
        }
        Ok(used)
    }

    fn say_hello(&mut self, conn: ConnId) {
        if let Some(Role::Stranger(greeting)) = self.links.roles.get(&conn) {
            let hello = greeting.hello();
            self.put(conn, &hello);
        }
    }

    /// Who connected is known from now on.
    fn link_is_theirs(&mut self, conn: ConnId, theirs: &Hello<'_>) {
        self.patience.set(crate::io::patience_of(conn), None);
        let peer = Peer::Node(NodeId(theirs.node), CoreId(theirs.core));
        self.links.roles.insert(conn, Role::Theirs(peer));
    }

    fn refuse(&mut self, about: Option<NodeId>, refusal: &Refusal) -> Why {
        self.links.complain(self.now.at, about, &refusal.to_string());
        Why::Untrusted
    }
}
