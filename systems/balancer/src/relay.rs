//! The relay: requests of clients to replicas, and answers back.
//!
//! A client has one request under way at a time (pipelined ones wait unread), and a connection to a replica carries
//! one at a time. Nothing is allocated for a request: heads are rewritten into buffers that live as long as their
//! connections, bodies are passed on as they come, framed anew. The hard thing is that anything may end at any
//! moment; so there is one way out of a request in each direction: [`Relay::complete`] when the answer is whole,
//! [`Relay::lose_upstream`] when the replica's side fails, and [`Relay::drop_client`] when the client's does.
//!
//! Memory is bounded: what the other side cannot take is not read. A side that is paused is resumed when the other has
//! room again.

mod answers;
mod asking;
mod budget;
mod client;
mod heads;
mod ours;
mod places;
mod replicas;
mod tally;
mod upstream;
mod waits;

use crate::config::Config;
use crate::peer::{Said, Tenancy};
use crate::view::View;
use budget::Budget;
use client::Client;
pub(crate) use client::{Door, Ours};
pub(crate) use heads::Origin;
use machine::{Chance, ConnId, Now, Outbox, Seat, Stream};
use places::Places;
use std::collections::VecDeque;
use tally::Tally;
use upstream::Upstream;

/// How long a client may idle that could still ask, when another process has taken over.
const LINGER: std::time::Duration = std::time::Duration::from_secs(1);

/// Bytes that may be in a buffer that is kept for the next request; a larger one is given back.
const BUFFER_KEPT_MAX: usize = 16 * 1024;

/// A request of ours that has wholly come.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) conn: ConnId,
    pub(crate) ours: Ours,
    pub(crate) body: Vec<u8>,
}

/// One core's clients, its connections to replicas, and what it knows of them.
#[derive(Debug)]
pub(crate) struct Relay {
    config: Config,
    pub(crate) view: View,
    clients: Places<Client>,
    upstreams: Places<Upstream>,
    /// Those for whom nobody is there: connection and ticket. Others wait in the queue of their replica.
    stranded: VecDeque<(ConnId, u64)>,
    /// Replicas that may have more in flight than before, whose queues are to be looked at.
    freed: Vec<crate::spread::Seat>,
    next_ticket: u64,
    budget: Budget,
    keys: Stream,
    /// Where heads are written before they go out.
    scratch: Vec<u8>,
    pub(crate) tally: Tally,
    /// Requests of ours that wait for the caller.
    wanted: Vec<Wanted>,
    /// Draining replicas with nothing in flight any more, of which the caller tells the keeper of the truth.
    pub(crate) emptied: Vec<Tenancy>,
    /// Replicas whose requests failed too often.
    pub(crate) troubled: Vec<Tenancy>,
    is_draining: bool,
}

impl Relay {
    pub(crate) fn new(seat: Seat, config: &Config, chance: &Chance) -> Self {
        Self {
            config: config.clone(),
            view: View::new(config, seat.core.0, seat.cores),
            clients: Places::default(),
            upstreams: Places::default(),
            stranded: VecDeque::new(),
            freed: Vec::new(),
            next_ticket: 0,
            budget: Budget::new(),
            keys: chance.stream("keys"),
            scratch: Vec::new(),
            tally: Tally::new(),
            wanted: Vec::new(),
            emptied: Vec::new(),
            troubled: Vec::new(),
            is_draining: false,
        }
    }

    /// Ring, bounds and waits are the new ones from now on.
    pub(crate) fn reload(&mut self, config: &Config, seat: Seat) {
        self.config = config.clone();
        self.view.reload(config, seat.core.0, seat.cores);
        // More may be in flight than before.
        self.freed.extend(self.view.members().map(|(seat, _)| seat));
    }

    /// Requests of ours that have come since the last call.
    pub(crate) fn wanted(&mut self) -> Vec<Wanted> {
        core::mem::take(&mut self.wanted)
    }

    pub(crate) fn has_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    pub(crate) fn is_client(&self, conn: ConnId) -> bool {
        self.clients.get(conn).is_some()
    }

    pub(crate) fn is_upstream(&self, conn: ConnId) -> bool {
        self.upstreams.get(conn).is_some()
    }

    /// Clients and how many of them wait for a replica.
    pub(crate) fn clients(&self) -> (usize, usize) {
        let waiting = self.clients.conns().filter(|(_, client)| client.phase == client::Phase::Queued);
        (self.clients.len(), waiting.count())
    }

    pub(crate) fn upstreams(&self) -> usize {
        self.upstreams.len()
    }

    /// No connection gets another request: each ends with the one it has. When another process has taken over, one
    /// that is idle gets a last one, if it asks soon: who was told by an answer that the connection ends loses nothing,
    /// and who sends a request into one that is just being closed does.
    pub(crate) fn drain(&mut self, now: Now, is_succeeded: bool, out: &mut impl Outbox<Said = Said>) {
        self.is_draining = true;
        let idle: Vec<ConnId> = self
            .clients
            .conns()
            .filter(|(_, client)| client.phase == client::Phase::Idle && !client.reader.has_begun())
            .map(|(conn, _)| conn)
            .collect();
        for conn in idle {
            match is_succeeded {
                true => self.wait(conn, now.at + LINGER, out),
                false => self.drop_client(conn, machine::Close::Flushed, out),
            }
        }
    }

    /// Whether some wait for whom nobody is there.
    pub(crate) fn has_stranded(&self) -> bool {
        !self.stranded.is_empty()
    }

    /// Lets those that wait go on where there is room now. After every event, so that nothing goes on in the midst of
    /// another's end.
    pub(crate) fn pump_freed(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        while let Some(seat) = self.freed.pop() {
            self.pump(now, seat, out);
        }
    }

    /// Whether no client is left.
    pub(crate) fn is_quiet(&self) -> bool {
        self.clients.len() == 0
    }
}

fn is_waiting(client: &Client, ticket: u64) -> bool {
    client.phase == client::Phase::Queued && client.ticket == ticket
}
