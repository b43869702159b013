//! Connections to replicas: when they are there, when they end, and what that means for the requests on them.

use super::Relay;
use super::client::Phase;
use crate::peer::{Said, Tenancy};
use crate::spread::Seat;
use crate::view::Stance;
use machine::{Close, ConnId, Now, Outbox};

impl Relay {
    /// A dial of ours succeeded.
    pub(crate) fn upstream_open(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(upstream) = self.upstreams.get_mut(conn) else { return };
        upstream.is_connected = true;
        let (seat, client) = (upstream.tenancy.seat, upstream.client);
        if let Some(member) = self.view.member_mut(seat) {
            member.failures = 0;
        }
        if let Some(client) = client {
            self.resume_client(client, out);
        }
    }

    /// A replica has said all on a connection.
    pub(crate) fn upstream_half(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(upstream) = self.upstreams.get_mut(conn) else { return };
        let Some(client) = upstream.client else { return self.end_upstream(conn, out) };
        if self.clients.get(client).is_some_and(|client| client.phase == Phase::Tunnel) {
            return out.finish(client);
        }
        let ended = upstream.body.as_mut().map(wire::http::Body::end);
        match ended {
            Some(Ok(())) => {
                upstream.persists = false;
                super::asking::write_piece(client, &[], upstream.in_chunks, true, out);
                self.complete(now, conn, client, out);
            }
            Some(Err(_)) | None => {
                self.lose_upstream(
                    now,
                    conn,
                    false,
                    "The replica ended the connection without an answer",
                    out,
                );
            }
        }
    }

    /// A connection to a replica is no more, or never was.
    pub(crate) fn upstream_gone(&mut self, now: Now, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(upstream) = self.upstreams.get(conn) else { return };
        let (tenancy, is_connected) = (upstream.tenancy, upstream.is_connected);
        if upstream.client.is_none() {
            return self.end_upstream(conn, out);
        }
        if !is_connected {
            self.count_failure(tenancy);
        }
        let words = match is_connected {
            true => "The replica ended the connection without an answer",
            false => "The replica cannot be reached",
        };
        self.lose_upstream(now, conn, !is_connected, words, out);
    }

    fn count_failure(&mut self, tenancy: Tenancy) {
        let limit = self.config.watching.eject_after;
        let Some(member) = self.view.member_mut(tenancy.seat) else { return };
        member.failures += 1;
        if limit > 0 && member.failures == limit {
            member.failures = 0;
            self.troubled.push(tenancy);
        }
    }

    /// Counts a response's status for or against its replica.
    pub(super) fn judge(&mut self, seat: Seat, is_error: bool) {
        let limit = self.config.watching.eject_after_5xx;
        if limit == 0 {
            return;
        }
        let Some(member) = self.view.member_mut(seat) else { return };
        member.errors = if is_error { member.errors + 1 } else { 0 };
        if member.errors == limit {
            member.errors = 0;
            self.troubled.push(Tenancy { seat, life: member.life });
        }
    }

    /// The replica's side failed a request: it is tried elsewhere, or the client is told.
    pub(super) fn lose_upstream(
        &mut self,
        now: Now,
        conn: ConnId,
        was_unreached: bool,
        words: &str,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(to) = self.upstreams.get(conn).and_then(|upstream| upstream.client) else {
            return self.end_upstream(conn, out);
        };
        self.end_upstream(conn, out);
        let Some(client) = self.clients.get_mut(to) else { return };
        client.upstream = None;
        match client.phase {
            Phase::Asking if client.can_repeat(!was_unreached) && self.budget.spend() => {
                self.tally.retries += 1;
                self.place(now, to, out);
            }
            Phase::Asking => self.excuse(now, to, 502, words, out),
            Phase::Tunnel => self.drop_client(to, Close::Flushed, out),
            Phase::Answering => self.drop_client(to, Close::Now, out),
            Phase::Idle | Phase::Queued | Phase::Collecting | Phase::Asked => {}
        }
    }

    /// A connection whose request was answered goes back into its pool, or ends.
    pub(super) fn release(
        &mut self,
        now: Now,
        conn: ConnId,
        is_whole: bool,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(upstream) = self.upstreams.get_mut(conn) else { return };
        let tenancy = upstream.tenancy;
        let member = self.view.member_mut(tenancy.seat).filter(|member| member.stance != Stance::Draining);
        let Some(member) = member.filter(|_| is_whole && upstream.persists) else {
            return self.end_upstream(conn, out);
        };
        upstream.client = None;
        upstream.body = None;
        upstream.idle_since = now.at;
        if upstream.is_paused {
            upstream.is_paused = false;
            out.resume(conn);
        }
        member.idle.push(conn);
        self.give_back(tenancy);
    }

    /// Ends a connection to a replica; what was on it is no longer in flight.
    pub(super) fn end_upstream(&mut self, conn: ConnId, out: &mut impl Outbox<Said = Said>) {
        let Some(upstream) = self.upstreams.remove(conn) else { return };
        out.close(conn, Close::Now);
        let tenancy = upstream.tenancy;
        match upstream.client {
            Some(_) => self.give_back(tenancy),
            None => {
                if let Some(member) = self.view.member_mut(tenancy.seat) {
                    member.idle.retain(|idle| *idle != conn);
                }
            }
        }
    }

    fn give_back(&mut self, tenancy: Tenancy) {
        if self.view.give_back(tenancy.seat) {
            self.emptied.push(tenancy);
        }
        if self.view.member(tenancy.seat).is_some_and(|member| !member.queue.is_empty()) {
            self.freed.push(tenancy.seat);
        }
    }

    /// Ends connections to replicas that nobody used for long.
    pub(crate) fn sweep(&mut self, now: Now, out: &mut impl Outbox<Said = Said>) {
        let idle = self.config.waits.idle;
        let old: Vec<ConnId> = self
            .upstreams
            .conns()
            .filter(|(_, each)| each.client.is_none() && now.at.since(each.idle_since) >= idle)
            .map(|(conn, _)| conn)
            .collect();
        old.into_iter().for_each(|conn| self.end_upstream(conn, out));
    }

    /// A replica drains: no connection of it is kept, and the keeper is told when none is used.
    pub(crate) fn drain_replica(&mut self, now: Now, seat: Seat, out: &mut impl Outbox<Said = Said>) {
        self.view.stand(seat, Stance::Draining);
        self.disperse(now, seat, out);
        let Some(member) = self.view.member_mut(seat) else { return };
        let (life, idle) = (member.life, core::mem::take(&mut member.idle));
        idle.into_iter().for_each(|conn| self.end_upstream(conn, out));
        if self.view.load(seat).in_flight == 0 {
            self.emptied.push(Tenancy { seat, life });
        }
    }

    /// Those that wait for a replica that takes no more wait elsewhere.
    fn disperse(&mut self, now: Now, seat: Seat, out: &mut impl Outbox<Said = Said>) {
        let Some(member) = self.view.member_mut(seat) else { return };
        for (conn, ticket) in core::mem::take(&mut member.queue) {
            let Some(client) = self.clients.get_mut(conn) else { continue };
            if super::is_waiting(client, ticket) {
                client.queued = None;
                self.view.give_up(seat);
                self.place(now, conn, out);
            }
        }
    }

    /// A replica is gone: what was in flight to it is tried elsewhere.
    pub(crate) fn leave_replica(&mut self, now: Now, seat: Seat, out: &mut impl Outbox<Said = Said>) {
        self.view.stand(seat, Stance::Draining);
        self.disperse(now, seat, out);
        let conns: Vec<ConnId> = self
            .upstreams
            .conns()
            .filter(|(_, upstream)| upstream.tenancy.seat == seat)
            .map(|(conn, _)| conn)
            .collect();
        for conn in conns {
            self.lose_upstream(now, conn, false, "The replica died", out);
        }
        self.view.leave(seat);
        self.emptied.retain(|tenancy| tenancy.seat != seat);
    }
}
