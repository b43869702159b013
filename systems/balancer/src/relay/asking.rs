//! From a client's bytes to a replica: reading heads, choosing, sending, and the body behind.

use super::client::{Client, Door, Phase};
use super::ours::is_ours;
use super::upstream::Upstream;
use super::{BUFFER_KEPT_MAX, Origin, Relay, heads};
use crate::config::KeyFrom;
use crate::peer::{Said, Tenancy};
use crate::spread::{Key, Seat};
use machine::{Address, Close, ConnId, Dial, Input, Now, Outbox};
use wire::Outcome;
use wire::http::{Body, Framing, RequestHead, Target, chunk};

impl Relay {
    /// A client has come.
    pub(crate) fn open_client(
        &mut self,
        now: Now,
        conn: ConnId,
        door: Door,
        from: &Address,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let client = Client::new(door, Origin::of(from), self.config.limits, now.at);
        self.clients.insert(conn, client);
        let span = if self.is_draining { super::LINGER } else { self.config.waits.idle };
        self.wait(conn, now.at + span, out);
    }

    /// Bytes of a client.
    pub(crate) fn client_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        while !input.bytes().is_empty() {
            let Some(client) = self.clients.get_mut(conn) else { return };
            match client.phase {
                Phase::Idle => {
                    if !self.read_head(now, conn, input, out) {
                        return;
                    }
                }
                Phase::Asking | Phase::Answering if !client.body.is_done() => {
                    if !self.pass_body(now, conn, input, out) {
                        return;
                    }
                }
                Phase::Collecting => self.collect(conn, input, out),
                Phase::Tunnel => self.pass_tunnel(now, conn, input, out),
                Phase::Queued | Phase::Asking | Phase::Answering | Phase::Asked => {
                    client.is_paused = true;
                    out.pause(conn);
                    return;
                }
            }
        }
    }

    /// Reads a head if it is whole; false when more must come.
    fn read_head(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) -> bool {
        let Some(client) = self.clients.get_mut(conn) else { return false };
        let had_begun = client.reader.has_begun();
        match client.reader.next(input.bytes()) {
            Outcome::Done { value: head, used } => {
                client.began_at = input.received_at;
                self.tally.requests += 1;
                self.begin(now, conn, &head, out);
                input.used(used);
                true
            }
            Outcome::Partial { need: _ } => {
                if !had_begun {
                    self.wait(conn, now.at + self.config.waits.head, out);
                }
                false
            }
            Outcome::Fault(fault) => {
                input.used(input.bytes().len());
                self.refuse(conn, fault.status(), &fault.to_string(), out);
                false
            }
        }
    }

    /// A request begins.
    fn begin(&mut self, now: Now, conn: ConnId, head: &RequestHead<'_>, out: &mut impl Outbox<Said = Said>) {
        let limits = self.config.limits;
        let Some(client) = self.clients.get_mut(conn) else { return };
        client.asked = head.asked();
        client.version = head.version;
        client.persists = head.persistent && !self.is_draining;
        client.is_repeatable = head.method.is_idempotent() && head.upgrade.is_none();
        client.body = Body::new(head.framing, limits);
        client.is_chunked = head.framing == Framing::Chunked;
        client.body_begun = false;
        (client.tries, client.forgiven) = (0, 0);
        client.head.clear();
        if client.door == Door::Admin || (self.config.classic && is_ours(head.path())) {
            return self.begin_ours(now, conn, head, out);
        }
        if matches!(head.form(), Target::Authority(_)) {
            return self.refuse(conn, 405, "CONNECT is not served here", out);
        }
        client.key = match &self.config.key {
            KeyFrom::RequestId => Key::random(&mut self.keys),
            KeyFrom::Path => Key::of_text(head.path().as_bytes()),
            KeyFrom::Header(name) => match head.fields.get(name) {
                Some(value) => Key::of_text(value),
                None => Key::random(&mut self.keys),
            },
            KeyFrom::ClientIp => Key::of_text(client.origin.text.as_bytes()),
        };
        if heads::request(&mut client.head, head, &client.origin, self.config.telling).is_err() {
            return self.refuse(conn, 400, "the request cannot be passed on", out);
        }
        self.budget.earn();
        self.place(now, conn, out);
    }

    /// Sends the request to a replica, or lets it wait for one.
    pub(super) fn place(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        match self.view.take(client.key, client.tried(), &mut self.keys) {
            Some((seat, true)) => self.send(now, conn, seat, out),
            Some((seat, false)) => {
                let ticket = self.enqueue(now, conn, Some(seat), out);
                if let Some(member) = self.view.member_mut(seat) {
                    member.queue.push_back((conn, ticket));
                }
            }
            None => {
                let ticket = self.enqueue(now, conn, None, out);
                self.stranded.push_back((conn, ticket));
            }
        }
    }

    fn enqueue(
        &mut self,
        now: Now,
        conn: ConnId,
        place: Option<Seat>,
        out: &mut impl Outbox<Said = Said>,
    ) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let Some(client) = self.clients.get_mut(conn) else { return ticket };
        client.phase = Phase::Queued;
        client.queued = place;
        client.ticket = ticket;
        let until = client.began_at + self.config.waits.queue;
        self.wait(conn, until.max(now.at), out);
        ticket
    }

    /// Lets those that wait for a replica go to it, in their order, while it may have more.
    pub(super) fn pump(&mut self, now: Now, seat: Seat, out: &mut impl Outbox<Said = Said>) {
        while let Some(member) = self.view.member_mut(seat)
            && let Some((conn, ticket)) = member.queue.front().copied()
        {
            let is_waiting = self.clients.get(conn).is_some_and(|client| super::is_waiting(client, ticket));
            if is_waiting && !self.view.admit(seat) {
                return;
            }
            if let Some(member) = self.view.member_mut(seat) {
                member.queue.pop_front();
            }
            if is_waiting {
                self.send(now, conn, seat, out);
            }
        }
    }

    /// Those that found nobody look again.
    pub(crate) fn pump_stranded(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        for _ in 0..self.stranded.len() {
            let Some((conn, ticket)) = self.stranded.pop_front() else { return };
            let Some(client) = self.clients.get_mut(conn) else { continue };
            if super::is_waiting(client, ticket) {
                client.forgiven = client.tries;
                self.place(now, conn, out);
            }
        }
    }

    /// The request goes to that replica, on a connection that is there or on a new one.
    fn send(&mut self, now: Now, conn: ConnId, seat: Seat, out: &mut impl Outbox<Said = Said>) {
        let limits = self.config.limits;
        let Some(member) = self.view.member_mut(seat) else { unreachable!("who is chosen has a seat") };
        let tenancy = Tenancy { seat, life: member.life };
        let to = match member.idle.pop() {
            Some(to) => {
                if let Some(upstream) = self.upstreams.get_mut(to) {
                    upstream.client = Some(conn);
                }
                to
            }
            None => {
                let by = now.at + self.config.waits.connect;
                let to = out.dial(Dial { to: member.at.clone(), from: None, tls: None, by });
                self.upstreams.insert(to, Upstream::new(tenancy, conn, limits, now.at));
                to
            }
        };
        let Some(client) = self.clients.get_mut(conn) else { return };
        client.upstream = Some(to);
        client.queued = None;
        client.phase = Phase::Asking;
        if client.tries < super::client::TRIES_MAX {
            client.tried[client.tries] = seat;
        }
        client.tries += 1;
        out.write(to, &client.head);
        let waits = &self.config.waits;
        let span = if client.body.is_done() { waits.response } else { waits.body };
        self.wait(conn, now.at + span, out);
        self.resume_client(conn, out);
    }

    /// Brings again what a client has sent meanwhile, if it can go anywhere now.
    pub(super) fn resume_client(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        let Some(to) = client.upstream else {
            if client.is_paused && client.phase == Phase::Idle {
                client.is_paused = false;
                out.resume(conn);
            }
            return;
        };
        let takes = client.phase == Phase::Tunnel || !client.body.is_done();
        let is_connected = self.upstreams.get(to).is_some_and(|upstream| upstream.is_connected);
        if client.is_paused && takes && is_connected && out.room(to) > 0 {
            client.is_paused = false;
            out.resume(conn);
        }
    }

    /// Passes on what has come of a request's body; false when it must wait.
    fn pass_body(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) -> bool {
        let Some(client) = self.clients.get_mut(conn) else { return false };
        let Some(to) = client.upstream else { return false };
        if !self.upstreams.get(to).is_some_and(|upstream| upstream.is_connected) || out.room(to) == 0 {
            client.is_paused = true;
            out.pause(conn);
            return false;
        }
        let bytes = input.bytes();
        let piece = match client.body.next(bytes) {
            Ok(piece) => piece,
            Err(fault) => {
                input.used(bytes.len());
                self.refuse(conn, fault.status(), &fault.to_string(), out);
                return false;
            }
        };
        client.body_begun = true;
        let is_done = client.body.is_done();
        write_piece(to, &bytes[piece.payload], client.is_chunked, is_done, out);
        input.used(piece.used);
        let waits = &self.config.waits;
        let span = if is_done { waits.response } else { waits.body };
        self.wait(conn, now.at + span, out);
        true
    }

    fn pass_tunnel(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        let Some(to) = client.upstream else { return };
        out.write(to, input.bytes());
        input.used(input.bytes().len());
        if out.room(to) == 0 {
            client.is_paused = true;
            out.pause(conn);
        }
        self.wait(conn, now.at + super::waits::TUNNEL_IDLE, out);
    }

    /// A client's side ends: half, or wholly.
    pub(crate) fn client_half(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        client.has_said_all = true;
        match client.phase {
            Phase::Idle => self.drop_client(conn, Close::Flushed, out),
            Phase::Tunnel => {
                if let Some(to) = client.upstream {
                    out.finish(to);
                }
            }
            // A body that ends before its end: nobody gets the rest, and nobody answers.
            Phase::Queued | Phase::Asking | Phase::Answering | Phase::Collecting
                if !client.body.is_done() =>
            {
                self.refuse(conn, 400, "The connection ended within a request", out);
            }
            Phase::Queued | Phase::Asking | Phase::Answering | Phase::Collecting | Phase::Asked => {}
        }
    }

    /// The client is no more: so is its request.
    pub(crate) fn client_gone(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        if let Some(client) = self.clients.remove(conn) {
            out.wake(super::waits::timer(conn), None);
            self.abandon(&client, out);
        }
    }

    /// Ends a client's connection, and with it its request.
    pub(super) fn drop_client(&mut self, conn: ConnId, how: Close, out: &mut impl Outbox<Said = Said>) {
        if let Some(client) = self.clients.remove(conn) {
            out.wake(super::waits::timer(conn), None);
            out.close(conn, how);
            self.abandon(&client, out);
        }
    }

    fn abandon(&mut self, client: &Client, out: &mut impl Outbox<Said = Said>) {
        if let Some(seat) = client.queued {
            self.view.give_up(seat);
        }
        if let Some(to) = client.upstream {
            self.end_upstream(to, out);
        }
    }

    /// The buffer of a client that has none of its own requests under way.
    pub(super) fn trim(client: &mut Client) {
        if client.head.capacity() > BUFFER_KEPT_MAX {
            client.head = Vec::new();
        }
    }
}

/// Writes a piece of a body, in a chunk if need be, and what ends the body.
pub(super) fn write_piece(
    to: ConnId,
    payload: &[u8],
    in_chunks: bool,
    is_done: bool,
    out: &mut impl Outbox<Said = Said>,
) {
    if !payload.is_empty() {
        if in_chunks {
            out.write(to, chunk::head(payload.len()).as_bytes());
        }
        out.write(to, payload);
        if in_chunks {
            out.write(to, chunk::TAIL);
        }
    }
    if in_chunks && is_done {
        out.write(to, chunk::LAST);
    }
}
