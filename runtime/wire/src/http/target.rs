//! Request targets in their four forms (RFC 9112 section 3.2), and hosts.

use super::fault::Fault;
use super::method::Method;
use super::text;

/// A request target. Nothing in it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// `/path?query`, what nearly everybody sends.
    Origin {
        /// Begins with `/`.
        path: &'a str,
        /// What follows the first `?`.
        query: Option<&'a str>,
    },
    /// `http://host/path?query`, as one sends to a proxy. Whoever serves it takes the host from here.
    Absolute {
        /// `http` or `https`, in the case in which it came.
        scheme: &'a str,
        /// A host and perhaps a port.
        authority: &'a str,
        /// Begins with `/`, also where nothing was sent.
        path: &'a str,
        /// What follows the first `?`.
        query: Option<&'a str>,
    },
    /// `host:port`, with CONNECT alone.
    Authority(&'a str),
    /// `*`, with OPTIONS alone.
    Asterisk,
}

impl<'a> Target<'a> {
    /// The path; `*` of an asterisk, empty of an authority.
    #[must_use]
    pub fn path(self) -> &'a str {
        match self {
            Target::Origin { path, .. } | Target::Absolute { path, .. } => path,
            Target::Authority(_) => "",
            Target::Asterisk => "*",
        }
    }

    /// The query, where there is one.
    #[must_use]
    pub fn query(self) -> Option<&'a str> {
        match self {
            Target::Origin { query, .. } | Target::Absolute { query, .. } => query,
            Target::Authority(_) | Target::Asterisk => None,
        }
    }

    /// The host that it names, which goes before the field Host (RFC 9112 section 3.2.2).
    #[inline]
    #[must_use]
    pub fn authority(self) -> Option<&'a str> {
        match self {
            Target::Absolute { authority, .. } | Target::Authority(authority) => Some(authority),
            Target::Origin { .. } | Target::Asterisk => None,
        }
    }
}

/// A target of visible ASCII, sent with this method.
#[inline]
pub(super) fn parse<'a>(method: Method<'_>, target: &'a str) -> Result<Target<'a>, Fault> {
    match (method, target.as_bytes()) {
        (Method::Connect, _) => authority(target),
        (Method::Options, b"*") => Ok(Target::Asterisk),
        (_, [b'/', ..]) => {
            let (path, query) = text::path(target);
            Ok(Target::Origin { path, query })
        }
        _ => absolute(target),
    }
}

fn authority(target: &str) -> Result<Target<'_>, Fault> {
    match target.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && !port.is_empty() && is_host(target.as_bytes()) => {
            Ok(Target::Authority(target))
        }
        _ => Err(Fault::TargetForm),
    }
}

fn absolute(target: &str) -> Result<Target<'_>, Fault> {
    let (scheme, rest) = target.split_once("://").ok_or(Fault::TargetForm)?;
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(Fault::TargetForm);
    }
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // A host is needed here (RFC 9110 section 4.2.1), and a user name is a fault (section 4.2.4): `is_host` knows none.
    if authority.is_empty() || authority.starts_with(':') || !is_host(authority.as_bytes()) {
        return Err(Fault::HostInvalid);
    }
    let (path, query) = text::path(rest);
    let path = if path.is_empty() { "/" } else { path };
    Ok(Target::Absolute { scheme, authority, path, query })
}

/// Whether `value` is a host and perhaps a port, as Host has it (RFC 9110 section 7.2, RFC 3986 section 3.2): a name of
/// letters, digits, `-._~`, escapes and `!$&'()*+;=`, or an address in brackets; then perhaps `:` and up to five
/// digits. Empty is one. A comma, which the grammar would let pass, is what two Hosts look like when somebody joined
/// them, and is none.
#[inline]
#[must_use]
pub fn is_host(value: &[u8]) -> bool {
    let (port, name_fits) = match value {
        [b'[', rest @ ..] => match memchr::memchr(b']', rest) {
            Some(end) => (&rest[end + 1..], is_address(&rest[..end])),
            None => return false,
        },
        _ => {
            let (name, port) = value.split_at(memchr::memchr(b':', value).unwrap_or(value.len()));
            (port, is_name(name))
        }
    };
    name_fits
        && match port {
            [] => true,
            [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

/// What may stand in brackets: an IPv6 address.
fn is_address(inside: &[u8]) -> bool {
    std::str::from_utf8(inside).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    while let [byte, behind @ ..] = rest {
        rest = match (byte, behind) {
            (b'%', [high, low, behind @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => behind,
            (b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~', _) => behind,
            (b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'=', _) => behind,
            _ => return false,
        };
    }
    true
}
