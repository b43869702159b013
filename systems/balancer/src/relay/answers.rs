//! From a replica's bytes back to the client: reading heads, passing bodies on, and what we answer ourselves.

use super::asking::write_piece;
use super::client::Phase;
use super::{Relay, heads};
use crate::control;
use crate::peer::Said;
use machine::{Close, ConnId, Input, Now, Outbox};
use wire::Outcome;
use wire::http::{Asked, Framing, Version};

const JSON: &str = "application/json";

impl Relay {
    /// Bytes of a replica.
    pub(crate) fn upstream_bytes(
        &mut self,
        now: Now,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(upstream) = self.upstreams.get(conn) else { return };
        let Some(client) = upstream.client else {
            // Nobody has asked: whatever it says, this connection is not trusted any more.
            input.used(input.bytes().len());
            return self.end_upstream(conn, out);
        };
        while !input.bytes().is_empty() {
            let Some(upstream) = self.upstreams.get(conn) else { return };
            let goes_on = match upstream.body {
                None => self.read_response(now, conn, client, input, out),
                Some(_) => self.pass_response(now, conn, client, input, out),
            };
            if !goes_on {
                break;
            }
        }
        let Some(upstream) = self.upstreams.get_mut(conn) else { return };
        if upstream.client == Some(client) && out.room(client) == 0 && !upstream.is_paused {
            upstream.is_paused = true;
            out.pause(conn);
        }
    }

    /// Reads a response's head if it is whole; false when more must come, or nothing more matters.
    fn read_response(
        &mut self,
        now: Now,
        conn: ConnId,
        to: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) -> bool {
        let (limits, telling) = (self.config.limits, self.config.telling);
        let Some(upstream) = self.upstreams.get_mut(conn) else { return false };
        let Some(client) = self.clients.get_mut(to) else { return false };
        let (head, used) = match upstream.reader.next(input.bytes(), client.asked) {
            Outcome::Done { value, used } => (value, used),
            Outcome::Partial { need: _ } => return false,
            Outcome::Fault(fault) => {
                input.used(input.bytes().len());
                self.lose_upstream(
                    now,
                    conn,
                    false,
                    &format!("The replica's answer is not HTTP: {fault}"),
                    out,
                );
                return false;
            }
        };
        self.scratch.clear();
        if head.is_interim() {
            if client.version == Version::Http11 {
                heads::response(&mut self.scratch, &head, client.version, true, telling);
                out.write(to, &self.scratch);
            }
            input.used(used);
            self.wait(to, now.at + self.config.waits.response, out);
            return true;
        }
        // One who has said all may still have requests here that were not read.
        let is_last = client.has_said_all && !client.is_paused;
        client.persists &= client.body.is_done() && !is_last && !self.is_draining;
        let framing = heads::response(&mut self.scratch, &head, client.version, client.persists, telling);
        client.persists &= framing != Framing::UntilClose;
        client.phase = if framing == Framing::Tunnel { Phase::Tunnel } else { Phase::Answering };
        let in_chunks = framing == Framing::Chunked && client.asked != Asked::Head;
        upstream.begin_body(head.framing, limits, head.persistent, in_chunks);
        let (seat, is_error) = (upstream.tenancy.seat, head.status >= 500);
        let is_done = upstream.is_done();
        out.write(to, &self.scratch);
        input.used(used);
        if is_done {
            // What follows a whole answer is nobody's, such as the body that a HEAD is not to have.
            upstream.persists &= input.bytes().is_empty();
            input.used(input.bytes().len());
        }
        self.judge(seat, is_error);
        if is_done {
            self.complete(now, conn, to, out);
            return false;
        }
        let is_tunnel = framing == Framing::Tunnel;
        let span = if is_tunnel { super::waits::TUNNEL_IDLE } else { self.config.waits.response };
        self.wait(to, now.at + span, out);
        if is_tunnel {
            self.resume_client(to, out);
        }
        true
    }

    /// Passes on what has come of a response's body; false when nothing more matters.
    fn pass_response(
        &mut self,
        now: Now,
        conn: ConnId,
        to: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) -> bool {
        let Some(upstream) = self.upstreams.get_mut(conn) else { return false };
        let Some(body) = upstream.body.as_mut() else { return false };
        let bytes = input.bytes();
        let piece = match body.next(bytes) {
            Ok(piece) => piece,
            Err(_) => {
                input.used(bytes.len());
                // The client sees that the answer is not whole by how its connection ends.
                self.drop_client(to, Close::Now, out);
                return false;
            }
        };
        let is_done = body.is_done();
        write_piece(to, &bytes[piece.payload], upstream.in_chunks, is_done, out);
        input.used(piece.used);
        if is_done {
            upstream.persists &= input.bytes().is_empty();
            input.used(input.bytes().len());
            self.complete(now, conn, to, out);
            return false;
        }
        let is_tunnel = self.clients.get(to).is_some_and(|client| client.phase == Phase::Tunnel);
        let span = if is_tunnel { super::waits::TUNNEL_IDLE } else { self.config.waits.response };
        self.wait(to, now.at + span, out);
        true
    }

    /// The answer was passed on wholly: both connections are ready for the next request, or end.
    pub(super) fn complete(
        &mut self,
        now: Now,
        conn: ConnId,
        to: ConnId,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(client) = self.clients.get_mut(to) else { return };
        client.upstream = None;
        let (took, persists) = (now.at.since(client.began_at), client.persists);
        let is_whole = client.body.is_done();
        let tenancy = self.upstreams.get(conn).map(|upstream| upstream.tenancy);
        if let Some(tenancy) = tenancy {
            self.tally.answered(tenancy.seat, took);
        }
        self.release(now, conn, is_whole, out);
        if persists {
            self.ready(now, to, out);
        } else {
            self.drop_client(to, Close::Flushed, out);
        }
    }

    /// A side can be written to again: the other may go on.
    pub(crate) fn on_room(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        if let Some(upstream) = self.upstreams.get(conn) {
            if let Some(client) = upstream.client {
                self.resume_client(client, out);
            }
            return;
        }
        let Some(from) = self.clients.get(conn).and_then(|client| client.upstream) else { return };
        if let Some(upstream) = self.upstreams.get_mut(from).filter(|upstream| upstream.is_paused) {
            upstream.is_paused = false;
            out.resume(from);
        }
    }

    /// The client may ask again.
    fn ready(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        client.phase = Phase::Idle;
        Self::trim(client);
        if client.has_said_all && !client.is_paused {
            return self.drop_client(conn, Close::Flushed, out);
        }
        if client.is_paused {
            client.is_paused = false;
            out.resume(conn);
        }
        self.wait(conn, now.at + self.config.waits.idle, out);
    }

    /// Answers a request of ours.
    pub(crate) fn answer(
        &mut self,
        now: Now,
        conn: ConnId,
        status: u16,
        kind: &'static str,
        body: &[u8],
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        if client.phase != Phase::Asked {
            return;
        }
        let persists = client.persists && !self.is_draining;
        let is_head = client.asked == Asked::Head;
        self.scratch.clear();
        heads::answer(&mut self.scratch, status, kind, body, client.version, persists, is_head, client.allow);
        out.write(conn, &self.scratch);
        if persists { self.ready(now, conn, out) } else { self.drop_client(conn, Close::Flushed, out) }
    }

    /// Answers for want of a replica's answer, or because the request is none; the connection ends where its bytes
    /// cannot be told apart any more.
    pub(super) fn refuse(
        &mut self,
        conn: ConnId,
        status: u16,
        words: &str,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        self.tally.failed(status);
        if matches!(client.phase, Phase::Answering | Phase::Tunnel) {
            return self.drop_client(conn, Close::Now, out);
        }
        let is_head = client.asked == Asked::Head && client.phase != Phase::Idle;
        self.scratch.clear();
        let body = control::failure(words);
        heads::answer(
            &mut self.scratch,
            status,
            JSON,
            body.as_bytes(),
            client.version,
            false,
            is_head,
            client.allow,
        );
        out.write(conn, &self.scratch);
        self.drop_client(conn, Close::Flushed, out);
    }

    /// Answers for want of a replica's answer; the connection goes on if the request has wholly come.
    pub(super) fn excuse(
        &mut self,
        now: Now,
        conn: ConnId,
        status: u16,
        words: &str,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        if !client.body.is_done() || !client.persists || self.is_draining {
            return self.refuse(conn, status, words, out);
        }
        self.tally.failed(status);
        let is_head = client.asked == Asked::Head;
        self.scratch.clear();
        let body = control::failure(words);
        heads::answer(
            &mut self.scratch,
            status,
            JSON,
            body.as_bytes(),
            client.version,
            true,
            is_head,
            client.allow,
        );
        out.write(conn, &self.scratch);
        let (upstream, queued) = (client.upstream.take(), client.queued.take());
        if let Some(to) = upstream {
            self.end_upstream(to, out);
        }
        if let Some(seat) = queued {
            self.view.give_up(seat);
        }
        self.ready(now, conn, out);
    }
}
