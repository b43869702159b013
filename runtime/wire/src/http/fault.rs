//! Why bytes can not be a message: what to answer, where it is written, and one sentence.
//!
//! The one hard thing is what does not stand here: a fault that lets the connection live. After any of these nobody
//! knows where the next message begins, so every one of them ends the connection.

use std::fmt;

/// Why bytes can not be a message. Answer with [`Fault::status`] and close; never read the connection again.
///
/// In what a *server* sent to us, the answer to our own client is 502 (RFC 9110 section 15.6.3), whatever the status
/// here says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// The method is empty or holds what no token holds.
    Method,
    /// The method is longer than [`METHOD_MAX`](super::METHOD_MAX).
    MethodTooLong,
    /// The target is empty or holds a byte that it may not.
    TargetByte,
    /// The target is longer than `target_max`.
    TargetTooLong,
    /// The target is of none of the four forms, or of one its method does not take.
    TargetForm,
    /// No version, or more than a version.
    VersionForm,
    /// A version that is neither 1.0 nor 1.1.
    VersionUnknown,
    /// No status of three digits, the first not 0.
    Status,
    /// A control byte in the reason.
    Reason,
    /// A carriage return without a line feed.
    BareCarriageReturn,
    /// A line feed without a carriage return.
    BareLineFeed,
    /// White space between the start line and the first field.
    SpaceBeforeFields,
    /// A line that goes on in the next one.
    Folded,
    /// A field without a name.
    NameMissing,
    /// A field name holds what no token holds.
    NameByte,
    /// White space between a field's name and its colon.
    SpaceBeforeColon,
    /// A line of a head without a colon.
    ColonMissing,
    /// NUL or another control byte in a field's value.
    ValueByte,
    /// The head is longer than `head_max`.
    HeadTooLong,
    /// More fields than `fields_max`.
    TooManyFields,
    /// HTTP/1.1 and no Host.
    HostMissing,
    /// More than one Host.
    HostRepeated,
    /// A Host, or the authority in a target, that is no host with perhaps a port.
    HostInvalid,
    /// Both Content-Length and Transfer-Encoding.
    LengthAndCoding,
    /// More than one Content-Length, or a list in one, equal or not.
    LengthRepeated,
    /// A Content-Length that is not digits.
    LengthInvalid,
    /// A Content-Length over 2^63 - 1.
    LengthOverflow,
    /// Transfer-Encoding in a message of HTTP/1.0.
    CodingInOldVersion,
    /// The last transfer coding is not `chunked`.
    CodingNotChunked,
    /// `chunked` more than once.
    CodingRepeated,
    /// A transfer coding before `chunked`: none is understood.
    CodingUnknown,
    /// An expectation other than `100-continue`.
    Expectation,
    /// A 101 to one who did not ask for an upgrade, or that does not say to what.
    SwitchUnasked,
    /// A body longer than `body_max`.
    BodyTooLong,
    /// A chunk size that is not hexadecimal digits.
    ChunkSize,
    /// A chunk size over 2^60.
    ChunkOverflow,
    /// A chunk line longer than `chunk_line_max`, or more extensions than `extensions_max`.
    ChunkLineTooLong,
    /// A control byte in a chunk extension.
    ChunkExtension,
    /// No line end where a chunk's payload ends.
    ChunkEnd,
    /// Trailers longer than `trailers_max`.
    TrailersTooLong,
    /// The connection ended within a message.
    Truncated,
}

/// What a fault comes to.
struct Told(u16, u16, &'static str, &'static str);

impl Fault {
    /// Every fault, for tables in documentation and tests.
    pub const ALL: [Fault; 41] = [
        Fault::Method,
        Fault::MethodTooLong,
        Fault::TargetByte,
        Fault::TargetTooLong,
        Fault::TargetForm,
        Fault::VersionForm,
        Fault::VersionUnknown,
        Fault::Status,
        Fault::Reason,
        Fault::BareCarriageReturn,
        Fault::BareLineFeed,
        Fault::SpaceBeforeFields,
        Fault::Folded,
        Fault::NameMissing,
        Fault::NameByte,
        Fault::SpaceBeforeColon,
        Fault::ColonMissing,
        Fault::ValueByte,
        Fault::HeadTooLong,
        Fault::TooManyFields,
        Fault::HostMissing,
        Fault::HostRepeated,
        Fault::HostInvalid,
        Fault::LengthAndCoding,
        Fault::LengthRepeated,
        Fault::LengthInvalid,
        Fault::LengthOverflow,
        Fault::CodingInOldVersion,
        Fault::CodingNotChunked,
        Fault::CodingRepeated,
        Fault::CodingUnknown,
        Fault::Expectation,
        Fault::SwitchUnasked,
        Fault::BodyTooLong,
        Fault::ChunkSize,
        Fault::ChunkOverflow,
        Fault::ChunkLineTooLong,
        Fault::ChunkExtension,
        Fault::ChunkEnd,
        Fault::TrailersTooLong,
        Fault::Truncated,
    ];

    /// The status a server answers with: 400, 413, 414, 417, 431, 501 or 505.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.told().0
    }

    /// The RFC's number and the section that says so: `(9112, "5.1")`.
    #[must_use]
    pub const fn section(self) -> (u16, &'static str) {
        let Told(_, rfc, section, _) = self.told();
        (rfc, section)
    }

    /// One sentence for the one who sent it, without a full stop.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        self.told().3
    }

    const fn told(self) -> Told {
        match self {
            Fault::Method => Told(400, 9112, "3.1", "the method is not a token"),
            Fault::MethodTooLong => Told(501, 9112, "3", "the method is longer than any that is known"),
            Fault::TargetByte => {
                Told(400, 9112, "3.2", "the request target is empty or holds a byte that it may not")
            }
            Fault::TargetTooLong => Told(414, 9112, "3", "the request target is too long"),
            Fault::TargetForm => {
                Told(400, 9112, "3.2", "the request target has no form that its method takes")
            }
            Fault::VersionForm => Told(400, 9112, "2.3", "the start line has no version where one must be"),
            Fault::VersionUnknown => Told(505, 9110, "15.6.6", "only HTTP/1.0 and HTTP/1.1 are spoken here"),
            Fault::Status => Told(400, 9112, "4", "the status is not three digits"),
            Fault::Reason => Told(400, 9112, "4", "the reason holds a control byte"),
            Fault::BareCarriageReturn => {
                Told(400, 9112, "2.2", "a carriage return stands without a line feed")
            }
            Fault::BareLineFeed => Told(400, 9112, "2.2", "a line feed stands without a carriage return"),
            Fault::SpaceBeforeFields => Told(400, 9112, "2.2", "white space follows the start line"),
            Fault::Folded => Told(400, 9112, "5.2", "a header line is folded"),
            Fault::NameMissing => Told(400, 9112, "5", "a header has no name"),
            Fault::NameByte => Told(400, 9110, "5.1", "a header name is not a token"),
            Fault::SpaceBeforeColon => Told(400, 9112, "5.1", "white space stands before a header's colon"),
            Fault::ColonMissing => Told(400, 9112, "5", "a header line has no colon"),
            Fault::ValueByte => Told(400, 9110, "5.5", "a header value holds a control byte"),
            Fault::HeadTooLong => Told(431, 6585, "5", "the head is too long"),
            Fault::TooManyFields => Told(431, 6585, "5", "the head has too many headers"),
            Fault::HostMissing => Told(400, 9112, "3.2", "there is no Host"),
            Fault::HostRepeated => Told(400, 9112, "3.2", "there is more than one Host"),
            Fault::HostInvalid => Told(400, 9112, "3.2", "the host is not a host and a port"),
            Fault::LengthAndCoding => {
                Told(400, 9112, "6.1", "both Content-Length and Transfer-Encoding are there")
            }
            Fault::LengthRepeated => Told(400, 9112, "6.3", "Content-Length is there more than once"),
            Fault::LengthInvalid => Told(400, 9110, "8.6", "Content-Length is not a number"),
            Fault::LengthOverflow => Told(400, 9110, "8.6", "Content-Length is too great a number"),
            Fault::CodingInOldVersion => Told(400, 9112, "6.1", "HTTP/1.0 has no Transfer-Encoding"),
            Fault::CodingNotChunked => Told(400, 9112, "6.3", "the last transfer coding is not chunked"),
            Fault::CodingRepeated => Told(400, 9112, "6.1", "chunked is there more than once"),
            Fault::CodingUnknown => Told(501, 9112, "6.1", "the only transfer coding known here is chunked"),
            Fault::Expectation => {
                Told(417, 9110, "10.1.1", "the only expectation known here is 100-continue")
            }
            Fault::SwitchUnasked => {
                Told(400, 9110, "7.8", "the protocol was switched without having been asked")
            }
            Fault::BodyTooLong => Told(413, 9110, "15.5.14", "the body is too long"),
            Fault::ChunkSize => Told(400, 9112, "7.1", "a chunk size is not hexadecimal digits"),
            Fault::ChunkOverflow => Told(400, 9112, "7.1", "a chunk size is too great a number"),
            Fault::ChunkLineTooLong => Told(400, 9112, "7.1.1", "chunk extensions are too long"),
            Fault::ChunkExtension => {
                Told(400, 9112, "7.1.1", "a chunk extension holds a byte that it may not")
            }
            Fault::ChunkEnd => Told(400, 9112, "7.1", "a chunk does not end where its size says"),
            Fault::TrailersTooLong => Told(431, 6585, "5", "the trailers are too long"),
            Fault::Truncated => Told(400, 9112, "8", "the connection ended within a message"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rfc, section) = self.section();
        write!(f, "{} (RFC {rfc} section {section})", self.sentence())
    }
}

impl std::error::Error for Fault {}
