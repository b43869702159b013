//! Heads as they go on: what concerns one connection alone is dropped, and who asked and through whom is added.
//!
//! RFC 9110 section 7.6: a proxy passes on what it does not know and nothing that was meant for itself. Which fields
//! those are, the readers know ([`Fields::end_to_end`](wire::http::Fields::end_to_end)); here is what is added.

use crate::config::Telling;
use machine::Address;
use std::net::IpAddr;
use wire::http::{Framing, HeadWriter, Method, RequestHead, ResponseHead, Target, Unsayable, Version};

/// What we call ourselves in `Via` (RFC 9110 section 7.6.3): a pseudonym, so that nothing is told of the machine.
const VIA: &str = "1.1 ringwise";

/// Where a client is, as it is told to replicas.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) text: Box<str>,
    pub(crate) is_loopback: bool,
}

impl Origin {
    pub(crate) fn of(from: &Address) -> Self {
        match from {
            Address::Ip(at) => {
                let ip = match at.ip() {
                    IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
                    IpAddr::V4(ip) => IpAddr::V4(ip),
                };
                Self { text: ip.to_string().into(), is_loopback: ip.is_loopback() }
            }
            Address::Unix(_) | Address::Name(..) => Self { text: "unknown".into(), is_loopback: true },
        }
    }

    /// As RFC 7239 section 6 writes it: an IPv6 address in brackets and quotes.
    fn node(&self) -> String {
        if self.text.contains(':') { format!("\"[{}]\"", self.text) } else { self.text.to_string() }
    }
}

/// Appends the head that goes to a replica.
///
/// # Errors
/// [`Unsayable`]: what a reader let through and a writer does not say; it cannot happen to what our reader gave.
pub(super) fn request(
    into: &mut Vec<u8>,
    head: &RequestHead<'_>,
    origin: &Origin,
    telling: Telling,
) -> Result<(), Unsayable> {
    let target = head.target;
    let absolute = !target.starts_with('/');
    let rewritten: String;
    let target = if absolute && matches!(head.form(), Target::Absolute { .. }) {
        rewritten = match head.query() {
            Some(query) => format!("{}?{query}", head.path()),
            None => head.path().to_owned(),
        };
        &rewritten
    } else {
        target
    };
    let mut writer = HeadWriter::request(into, head.method, target)?;
    writer.field("Host", head.host.unwrap_or_default())?;
    let (mut for_seen, mut via_seen): (Option<&[u8]>, Option<&[u8]>) = (None, None);
    for field in head.fields.end_to_end() {
        let name = field.name();
        match name.len() {
            4 if field.is("host") => {}
            3 if telling.via && field.is("via") => via_seen = Some(field.value()),
            15 if telling.x_forwarded && field.is("x-forwarded-for") => for_seen = Some(field.value()),
            16 if telling.x_forwarded && field.is("x-forwarded-host") => {}
            17 if telling.x_forwarded && field.is("x-forwarded-proto") => {}
            _ => writer.pass(field),
        }
    }
    tell(&mut writer, head, origin, telling, for_seen, via_seen)?;
    if let Some(upgrade) = head.upgrade {
        writer.field("Connection", "upgrade")?;
        writer.field("Upgrade", upgrade)?;
    }
    match head.framing {
        Framing::None if says_length(head) => writer.framing(Framing::Length(0)),
        framing => writer.framing(framing),
    }
    writer.end();
    Ok(())
}

fn tell(
    writer: &mut HeadWriter<'_>,
    head: &RequestHead<'_>,
    origin: &Origin,
    telling: Telling,
    for_seen: Option<&[u8]>,
    via_seen: Option<&[u8]>,
) -> Result<(), Unsayable> {
    let host = head.host.unwrap_or_default();
    if telling.x_forwarded {
        match for_seen {
            Some(before) => {
                writer.field("X-Forwarded-For", [before, b", ", origin.text.as_bytes()].concat())?;
            }
            None => writer.field("X-Forwarded-For", origin.text.as_bytes())?,
        }
        writer.known("X-Forwarded-Proto", "http");
        writer.field("X-Forwarded-Host", host)?;
    }
    if telling.forwarded {
        writer.field("Forwarded", format!("for={};host=\"{host}\";proto=http", origin.node()))?;
    }
    if telling.via {
        match via_seen {
            Some(before) => writer.field("Via", [before, b", ", VIA.as_bytes()].concat())?,
            None => writer.known("Via", VIA),
        }
    }
    Ok(())
}

/// Whether a body of no bytes was announced: servers may want to hear it (RFC 9110 section 8.6).
fn says_length(head: &RequestHead<'_>) -> bool {
    !matches!(head.method, Method::Get | Method::Head) && head.fields.get("content-length").is_some()
}

/// Appends the head that goes to a client, and says how its body is framed.
pub(super) fn response(
    into: &mut Vec<u8>,
    head: &ResponseHead<'_>,
    client: Version,
    persists: bool,
    telling: Telling,
) -> Framing {
    let framing = match (head.framing, client) {
        (Framing::None, _) => match head.length {
            Some(length) if head.status >= 200 && head.status != 204 => Framing::Length(length),
            Some(_) | None => Framing::None,
        },
        (Framing::Chunked | Framing::UntilClose, Version::Http11) => Framing::Chunked,
        (Framing::Chunked | Framing::UntilClose, Version::Http10) => Framing::UntilClose,
        (Framing::Length(length), _) => Framing::Length(length),
        (Framing::Tunnel, _) => Framing::Tunnel,
    };
    let mut writer = HeadWriter::response(into, Version::Http11, head.status, head.reason);
    head.fields.end_to_end().for_each(|field| writer.pass(field));
    if telling.via && !head.is_interim() {
        writer.known("Via", VIA);
    }
    if framing == Framing::Tunnel {
        writer.known("Connection", "upgrade");
        if let Some(upgrade) = head.fields.get("upgrade") {
            // A value that our reader let through can be said.
            let _ = writer.field("Upgrade", upgrade);
        }
    } else if !head.is_interim() {
        writer.framing(framing);
        writer.persistence(client, persists && framing != Framing::UntilClose);
    }
    writer.end();
    framing
}

/// Methods that a path of ours has, and a target that none has.
pub(super) fn allowed(path: &str) -> &'static str {
    match path {
        "/rep" => "GET, HEAD",
        "/add" => "GET, POST",
        "/rm" => "DELETE",
        "/kill" | "/reload" => "POST",
        _ => "GET, HEAD",
    }
}

/// Appends a whole response of ours.
#[allow(clippy::too_many_arguments, reason = "each is one part of a response")]
pub(super) fn answer(
    into: &mut Vec<u8>,
    status: u16,
    kind: &'static str,
    body: &[u8],
    version: Version,
    persists: bool,
    is_head: bool,
    allow: &'static str,
) {
    let mut writer = HeadWriter::response(into, Version::Http11, status, "");
    writer.known("Content-Type", kind);
    match status {
        405 => writer.known("Allow", allow),
        503 => writer.known("Retry-After", "1"),
        _ => {}
    }
    writer.framing(Framing::Length(body.len() as u64));
    writer.persistence(version, persists);
    writer.end();
    if !is_head {
        into.extend_from_slice(body);
    }
}
