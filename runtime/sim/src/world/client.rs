//! The test's ends of connections: clients that connect to a node, and the accepted ends of the test's servers.
//! A client hears as fast as bytes arrive unless it stalls; what it says waits for the shard's window.

use super::World;
use super::events::Event;
use crate::desk::Ends;
use crate::net::{Holder, ip_of};
use crate::server::{Say, Server, Speech};
use core::time::Duration;
use machine::id::Key;
use machine::{Address, End, NodeId, Shard, Why};
use std::net::SocketAddr;
use wire::peer::Message;

/// A connection held by the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(pub(crate) usize);

/// At which listener of a node a client connects.
#[derive(Clone, Debug)]
pub enum Door {
    /// The nth address that was listened at, from 0.
    Nth(usize),
    /// This address.
    At(Address),
}

impl From<usize> for Door {
    fn from(nth: usize) -> Self {
        Self::Nth(nth)
    }
}

impl From<Address> for Door {
    fn from(at: Address) -> Self {
        Self::At(at)
    }
}

impl From<SocketAddr> for Door {
    fn from(at: SocketAddr) -> Self {
        Self::At(Address::Ip(at))
    }
}

/// What the test knows of a connection.
#[derive(Debug, Default)]
pub(super) struct Talk {
    ends: Option<Ends>,
    /// Said before it was open.
    early: Vec<u8>,
    finish: bool,
    heard: Vec<u8>,
    end: Option<End>,
    stalled: bool,
    server: Option<usize>,
}

impl<S: Shard> World<S>
where
    S::Said: Message<Heard = S::Heard>,
    S::Heard: Sized,
{
    /// Connects to a listener of a node. It can be spoken on at once; that it was refused shows in `ended`.
    ///
    /// # Panics
    /// When the node never listened at an nth address.
    #[track_caller]
    pub fn connect(&mut self, node: NodeId, door: impl Into<Door>) -> Client {
        let client = self.clients.len();
        self.clients.push(Talk::default());
        self.note(None, "client connects", client as u64, u64::from(node.0));
        let at = match door.into() {
            Door::At(at) => Some(at),
            Door::Nth(nth) if self.is_alive(node) => Some(
                self.node(node).listeners.get(nth).unwrap_or_else(|| panic!("no listener {nth}")).at.clone(),
            ),
            Door::Nth(_) => None,
        };
        let when = self.time + self.way();
        match at {
            Some(at) => self.enter(when, Event::Knock(Holder::Client(client), node, at)),
            None => self.enter(when, Event::ClientFails(client, Why::Refused)),
        }
        Client(client)
    }

    /// Says these bytes.
    pub fn say(&mut self, client: Client, bytes: &[u8]) {
        self.note(None, "client says", client.0 as u64, bytes.len() as u64);
        self.trace.bytes(bytes);
        let talk = &mut self.clients[client.0];
        match talk.ends {
            None => talk.early.extend_from_slice(bytes),
            Some(Ends { wire, side }) => {
                if let Some(found) = self.wires.get_mut(wire) {
                    found.flows[side].waiting.extend(bytes);
                }
                self.pump(wire, side);
            }
        }
    }

    /// All that was heard and not taken.
    #[must_use]
    pub fn heard(&self, client: Client) -> &[u8] {
        &self.clients[client.0].heard
    }

    /// Takes what was heard.
    pub fn take_heard(&mut self, client: Client) -> Vec<u8> {
        core::mem::take(&mut self.clients[client.0].heard)
    }

    /// How far it has ended: `Half` when the shard has said all.
    #[must_use]
    pub fn ended(&self, client: Client) -> Option<End> {
        self.clients[client.0].end
    }

    /// Whether it is connected and not gone.
    #[must_use]
    pub fn is_open(&self, client: Client) -> bool {
        let talk = &self.clients[client.0];
        talk.ends.is_some() && !matches!(talk.end, Some(End::Gone(_)))
    }

    /// Says that all is said; still hears.
    pub fn finish(&mut self, client: Client) {
        self.note(None, "client finishes", client.0 as u64, 0);
        let talk = &mut self.clients[client.0];
        talk.finish = true;
        if let Some(Ends { wire, side }) = talk.ends {
            if let Some(found) = self.wires.get_mut(wire) {
                found.flows[side].fin_wanted = true;
            }
            self.pump(wire, side);
        }
    }

    /// Resets the connection.
    pub fn reset(&mut self, client: Client) {
        self.note(None, "client resets", client.0 as u64, 0);
        let talk = &mut self.clients[client.0];
        talk.end = Some(End::Gone(Why::Reset));
        if let Some(Ends { wire, side }) = talk.ends {
            self.break_off(wire, side, Why::Reset);
        }
    }

    /// Reads nothing more for now.
    pub fn stall(&mut self, client: Client) {
        self.note(None, "client stalls", client.0 as u64, 0);
        self.clients[client.0].stalled = true;
    }

    /// Reads again.
    pub fn unstall(&mut self, client: Client) {
        self.note(None, "client reads again", client.0 as u64, 0);
        let talk = &mut self.clients[client.0];
        talk.stalled = false;
        if let Some(Ends { wire, side }) = talk.ends {
            self.client_hears(wire, side);
        }
    }

    /// A server that shards can dial at this address.
    pub fn serve_at(&mut self, at: impl Into<Address>, server: impl Server) {
        self.servers.push((at.into(), Some(Box::new(server))));
    }

    /// Nobody serves there any more; connections stay.
    pub fn unserve(&mut self, at: &Address) {
        for (address, _) in self.servers.iter_mut().filter(|(address, _)| address == at) {
            *address = Address::Name("nowhere".into(), 0);
        }
    }

    /// The connections that shards have made to the test's servers, oldest first.
    #[must_use]
    pub fn served(&self) -> Vec<Client> {
        let talks = self.clients.iter().enumerate();
        talks.filter(|(_, talk)| talk.server.is_some()).map(|(number, _)| Client(number)).collect()
    }

    /// The IP address of a node, at which other nodes reach its listeners.
    #[must_use]
    pub fn ip(node: NodeId) -> std::net::IpAddr {
        ip_of(node)
    }

    pub(super) fn client_opens(&mut self, client: usize, ends: Ends) {
        let talk = &mut self.clients[client];
        if talk.end.is_some() {
            return self.break_off(ends.wire, ends.side, Why::Reset);
        }
        talk.ends = Some(ends);
        let (early, finish) = (core::mem::take(&mut talk.early), talk.finish);
        if let Some(wire) = self.wires.get_mut(ends.wire) {
            wire.flows[ends.side].waiting.extend(&early);
            wire.flows[ends.side].fin_wanted |= finish;
        }
        self.pump(ends.wire, ends.side);
    }

    pub(super) fn client_ends(&mut self, client: usize, why: Why) {
        let talk = &mut self.clients[client];
        if !matches!(talk.end, Some(End::Gone(_))) {
            talk.end = Some(End::Gone(why));
            self.note(None, "client ended", client as u64, 0);
        }
    }

    /// Takes in what has arrived at a client's end.
    pub(super) fn client_hears(&mut self, key: Key, side: usize) {
        let Some(wire) = self.wires.get_mut(key) else { return };
        let Holder::Client(client) = wire.ends[side] else { return };
        let talk = &mut self.clients[client];
        if talk.stalled {
            return;
        }
        let flow = &mut wire.flows[1 - side];
        let heard = flow.take(usize::MAX, &mut talk.heard);
        let half = flow.fin_arrived && talk.end.is_none();
        if half {
            talk.end = Some(End::Half);
        }
        if heard > 0 {
            self.note(None, "client hears", client as u64, heard as u64);
            self.pump(key, 1 - side);
            self.server_hears(client);
        }
        if half {
            self.note(None, "client hears the end", client as u64, 0);
            self.server(client, |server, client, say| server.on_end(client, say));
        }
        self.settle(key);
    }

    pub(super) fn serve_client(&mut self, server: usize, ends: Ends) -> usize {
        self.clients.push(Talk { ends: Some(ends), server: Some(server), ..Talk::default() });
        self.clients.len() - 1
    }

    pub(super) fn server_opens(&mut self, client: usize) {
        self.server(client, |server, client, say| server.on_open(client, say));
    }

    fn server_hears(&mut self, client: usize) {
        let mut heard = core::mem::take(&mut self.clients[client].heard);
        self.server(client, |server, client, say| server.on_bytes(client, &mut heard, say));
        self.clients[client].heard = heard;
    }

    fn server(&mut self, client: usize, event: impl FnOnce(&mut dyn Server, Client, &mut Say)) {
        let Some(number) = self.clients[client].server else { return };
        let Some(mut server) = self.servers[number].1.take() else { return };
        let mut say = Say::default();
        event(&mut *server, Client(client), &mut say);
        self.servers[number].1 = Some(server);
        for (after, speech) in say.said {
            if after == Duration::ZERO {
                self.speak(client, speech);
            } else {
                self.enter(self.time + after, Event::Said(client, speech));
            }
        }
    }

    pub(super) fn speak(&mut self, client: usize, speech: Speech) {
        if !self.is_open(Client(client)) {
            return;
        }
        match speech {
            Speech::Bytes(bytes) => self.say(Client(client), &bytes),
            Speech::Finish => self.finish(Client(client)),
            Speech::Reset => self.reset(Client(client)),
        }
    }
}
