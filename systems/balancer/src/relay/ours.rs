//! Requests of ours: the control interface and the admin port, whose bodies are collected and not passed on.
//!
//! Who may ask is decided here, before a byte of the body is kept.

use super::client::{Door, Ours, Phase};
use super::{Relay, Wanted, heads};
use crate::control::{self, Verb};
use crate::peer::Said;
use machine::{ConnId, Input, Now, Outbox};
use wire::http::{Framing, Method, RequestHead};

/// The token of `Authorization: Bearer …` is compared in a time that does not tell where it differs.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

impl Relay {
    pub(super) fn begin_ours(
        &mut self,
        now: Now,
        conn: ConnId,
        head: &RequestHead<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let is_allowed = self.is_allowed(conn, head);
        let Some(client) = self.clients.get_mut(conn) else { return };
        client.allow = heads::allowed(head.path());
        let is_json = control::is_json(head.fields.get("content-type"));
        let verb = match (head.path(), head.method) {
            _ if client.door == Door::Admin && !is_ours(head.path()) => None,
            ("/rep", Method::Get | Method::Head) => Some(Verb::List),
            ("/add", Method::Post | Method::Get) => Some(Verb::Add),
            ("/rm", Method::Delete) => Some(Verb::Remove),
            _ => return self.refuse(conn, 405, "Method not allowed", out),
        };
        let changes = matches!(verb, Some(Verb::Add | Verb::Remove))
            || (verb.is_none() && !matches!(head.method, Method::Get | Method::Head));
        if changes && !is_allowed {
            return self.refuse(conn, 403, "Only from this machine, or with a token", out);
        }
        client.ours = Some(match verb {
            Some(verb) => Ours::Control { verb, is_json },
            None => Ours::Admin { method: head.method.as_str().into(), target: head.target.into() },
        });
        client.phase = Phase::Collecting;
        if head.expects_continue && !client.body.is_done() {
            out.write(conn, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if let Framing::Length(length) = head.framing
            && length > control::BODY_MAX as u64
        {
            return self.refuse(conn, 413, "The body is too long", out);
        }
        self.wait(conn, now.at + self.config.waits.body, out);
        self.collected(conn);
    }

    /// Whether this client may change something: it is on this machine, or has a token. What a page of somebody else's
    /// makes a browser send is not the operator's word.
    fn is_allowed(&self, conn: ConnId, head: &RequestHead<'_>) -> bool {
        let Some(client) = self.clients.get(conn) else { return false };
        let given = head.fields.get("authorization").and_then(|value| value.strip_prefix(b"Bearer "));
        let has_token = given.is_some_and(|given| {
            self.config.tokens.iter().fold(false, |found, token| found | is_same(given, token.as_bytes()))
        });
        let is_foreign = head.fields.get("origin").is_some_and(|origin| {
            let host = head.host.unwrap_or_default().as_bytes();
            origin.strip_prefix(b"http://") != Some(host)
        });
        has_token || (client.origin.is_loopback && !is_foreign)
    }

    /// The body of a request of ours comes.
    pub(super) fn collect(
        &mut self,
        conn: ConnId,
        input: &mut Input<'_>,
        out: &mut impl Outbox<Said = Said>,
    ) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        let bytes = input.bytes();
        match client.body.next(bytes) {
            Ok(piece) => {
                client.head.extend_from_slice(&bytes[piece.payload]);
                input.used(piece.used);
                if client.head.len() > control::BODY_MAX {
                    input.used(input.bytes().len());
                    return self.refuse(conn, 413, "The body is too long", out);
                }
                self.collected(conn);
            }
            Err(fault) => {
                input.used(bytes.len());
                self.refuse(conn, fault.status(), &fault.to_string(), out);
            }
        }
    }

    fn collected(&mut self, conn: ConnId) {
        let Some(client) = self.clients.get_mut(conn) else { return };
        if client.phase == Phase::Collecting && client.body.is_done() {
            client.phase = Phase::Asked;
            let body = core::mem::take(&mut client.head);
            if let Some(ours) = client.ours.take() {
                self.wanted.push(Wanted { conn, ours, body });
            }
        }
    }
}

/// Whether this path of the traffic port is ours: exactly these three.
pub(super) fn is_ours(path: &str) -> bool {
    matches!(path, "/rep" | "/add" | "/rm")
}
