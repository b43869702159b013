//! Request targets in their four forms (RFC 9112 section 3.2), and hosts.

use super::byte;
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

/// The authority of a target of visible ASCII, if it has one, sent with this method.
#[inline]
pub(super) fn check<'a>(method: Method<'_>, target: &'a str) -> Result<Option<&'a str>, Fault> {
    match (method, target.as_bytes()) {
        (Method::Connect, _) => {}
        (_, [b'/', ..]) => return Ok(None),
        (_, _) => {}
    }
    parse(method, target).map(Target::authority)
}

/// Whether `value` is a host and perhaps a port, as Host has it (RFC 9110 section 7.2, RFC 3986 section 3.2): a name of
/// letters, digits, `-._~`, escapes and `!$&'()*+;=`, or an address in brackets; then perhaps `:` and up to five
/// digits. Empty is one. A comma, which the grammar would let pass, is what two Hosts look like when somebody joined
/// them, and is none.
#[inline]
#[must_use]
pub fn is_host(value: &[u8]) -> bool {
    let mut rest = behind_name(value);
    while let [b'%', high, low, behind @ ..] = rest {
        if !(high.is_ascii_hexdigit() && low.is_ascii_hexdigit()) {
            return false;
        }
        rest = behind_name(behind);
    }
    match rest {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        [b'[', _address @ ..] if rest.len() == value.len() => is_literal(rest),
        _ => false,
    }
}

/// What follows the bytes that a name may hold as they are.
#[inline]
fn behind_name(value: &[u8]) -> &[u8] {
    let name = value.iter().take_while(|&&byte| byte::is_host_name(byte)).count();
    &value[name..]
}

/// An IPv6 address in brackets, and perhaps a port.
fn is_literal(value: &[u8]) -> bool {
    let Some(end) = memchr::memchr(b']', value) else { return false };
    let port = match &value[end + 1..] {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    };
    let address = std::str::from_utf8(&value[1..end]);
    port && address.is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

#[inline]
fn is_port(digits: &[u8]) -> bool {
    digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit)
}
