//! Methods, and what of a request its response depends on.

/// A request's method: RFC 9110 section 9.3 and PATCH (RFC 5789). Case matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method<'a> {
    /// GET
    Get,
    /// HEAD: its response has a head alone.
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// CONNECT: after a 2xx the connection is a tunnel.
    Connect,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH
    Patch,
    /// Any other token of at most [`METHOD_MAX`](super::METHOD_MAX) bytes.
    Other(&'a str),
}

impl<'a> Method<'a> {
    /// The method of this name, which must be a token.
    #[inline]
    #[must_use]
    pub fn of(name: &'a str) -> Self {
        match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "DELETE" => Method::Delete,
            "CONNECT" => Method::Connect,
            "OPTIONS" => Method::Options,
            "TRACE" => Method::Trace,
            "PATCH" => Method::Patch,
            other => Method::Other(other),
        }
    }

    /// As it is sent.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
            Method::Connect => "CONNECT",
            Method::Options => "OPTIONS",
            Method::Trace => "TRACE",
            Method::Patch => "PATCH",
            Method::Other(name) => name,
        }
    }

    /// Whether it asks for no change: RFC 9110 section 9.2.1.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        matches!(self, Method::Get | Method::Head | Method::Options | Method::Trace)
    }

    /// Whether asking twice means what asking once does, so that a request whose answer was lost may be sent again:
    /// RFC 9110 section 9.2.2.
    #[must_use]
    pub fn is_idempotent(&self) -> bool {
        self.is_safe() || matches!(self, Method::Put | Method::Delete)
    }
}

/// What was asked, as far as a response's framing depends on it. Kept for each request in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    /// HEAD: no body whatever the head says.
    Head,
    /// CONNECT: a 2xx begins a tunnel.
    Connect,
    /// Any other method, with an Upgrade: a 101 is an answer.
    Upgrade,
    /// Any other method.
    #[default]
    Plain,
}

impl Asked {
    /// Of a request with this method; `upgrade` says whether it was sent with an Upgrade.
    #[must_use]
    pub fn of(method: Method<'_>, upgrade: bool) -> Self {
        match method {
            Method::Head => Asked::Head,
            Method::Connect => Asked::Connect,
            Method::Get
            | Method::Post
            | Method::Put
            | Method::Delete
            | Method::Options
            | Method::Trace
            | Method::Patch
            | Method::Other(_) => match upgrade {
                true => Asked::Upgrade,
                false => Asked::Plain,
            },
        }
    }
}
