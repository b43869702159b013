//! What nodes say to each other on a link: one hello each way, then messages for cores.
//!
//! A link carries for other nodes what lanes carry within one: the archive of a message and, if there is one, its
//! blob. The one hard thing is that the other end may be older, newer, of another system or no node at all; so
//! a link begins with magic, system and version, and whoever can not go on says why in one sentence.
//!
//! Hello, numbers big-endian: `RWLK`, version (2), node (2), core (2), length of the system's name (1), name, then 0,
//! or 1 and a challenge (32). With challenges both ends prove that they know the cluster's key before anything else is
//! read: see [`proof`](crate::proof).
//!
//! Message, 16 bytes little-endian before the archive and then the blob:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | length of the archive |
//! | 4..8 | length of the blob |
//! | 8..10 | the core it is for |
//! | 10..12 | flags: 1 = a blob follows (it may be empty) |
//! | 12..16 | reserved, zero |
//!
//! The blob comes last so that a long one can be received into a buffer of its own. The archive is copied into a
//! [`Batch`](crate::peer::Batch) with [`carry`](crate::peer::Batch::carry): a stream does not keep alignment.

use crate::Outcome;
use crate::proof::{CHALLENGE, Challenge};
use std::fmt;
use std::ops::Range;

/// The first bytes either end sends.
pub const MAGIC: [u8; 4] = *b"RWLK";

/// The longest name of a system, in bytes.
pub const SYSTEM_MAX: usize = 32;

/// Bytes of a hello without its name.
const HELLO_FIXED: usize = 11;

/// Bytes before the archive of a message.
pub const HEADER: usize = 16;

const FLAG_BLOB: u16 = 1;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The system they run: `dht`, `scheduler`, … At most [`SYSTEM_MAX`] bytes.
    pub system: &'a str,
    /// The version of that system's messages that they speak.
    pub version: u16,
    /// Their node.
    pub node: u16,
    /// The core of that node whose link this is.
    pub core: u16,
    /// What the other end is to answer with its proof; none where the cluster has no key.
    pub challenge: Option<Challenge>,
}

/// Why there can be no link, as one sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The first bytes are not [`MAGIC`].
    Stranger,
    /// A system's name is empty, too long, or not plain letters, digits, `-` and `_`.
    Name,
    /// They run another system.
    OtherSystem {
        /// What they said, at most [`SYSTEM_MAX`] bytes.
        theirs: String,
        /// What we run.
        ours: String,
    },
    /// They speak a version we do not know yet.
    Newer {
        /// What they speak.
        theirs: u16,
        /// The newest we speak.
        ours: u16,
    },
    /// They have no cluster key, and we do.
    Keyless,
    /// They have a cluster key, and we do not.
    Keyed,
    /// They have another cluster key.
    OtherKey,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Stranger => {
                f.write_str("what connected to the link port is not a node: check the address it was given")
            }
            Refusal::Name => f.write_str("a node said a malformed system name in its hello"),
            Refusal::OtherSystem { theirs, ours } => {
                write!(f, "a node of system '{theirs}' connected to system '{ours}': check its list of nodes")
            }
            Refusal::Newer { theirs, ours } => {
                write!(
                    f,
                    "the other node speaks version {theirs} and this one {ours}: upgrade this node first"
                )
            }
            Refusal::Keyless => f.write_str(
                "the other node has no cluster key and this one has: give both the same --cluster-key-file",
            ),
            Refusal::Keyed => f.write_str(
                "the other node has a cluster key and this one has none: give both the same --cluster-key-file",
            ),
            Refusal::OtherKey => f.write_str(
                "the other node has another cluster key: give both the same --cluster-key-file",
            ),
        }
    }
}

impl std::error::Error for Refusal {}

/// Reads the hello a link begins with, for a node that runs `ours.system` and speaks up to `ours.version`. An
/// older version is accepted here: whether its messages can still be read is the system's to say.
pub fn read_hello<'a>(bytes: &'a [u8], ours: &Hello<'_>) -> Outcome<Hello<'a>, Refusal> {
    let magic = bytes.len().min(MAGIC.len());
    if bytes[..magic] != MAGIC[..magic] {
        return Outcome::Fault(Refusal::Stranger);
    }
    if magic < MAGIC.len() {
        return Outcome::Partial { need: magic + 1 };
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<HELLO_FIXED>() else {
        return Outcome::Partial { need: HELLO_FIXED };
    };
    let [_, _, _, _, v0, v1, n0, n1, c0, c1, length] = *fixed;
    let length = usize::from(length);
    if length == 0 || length > SYSTEM_MAX {
        return Outcome::Fault(Refusal::Name);
    }
    let Some(name) = rest.get(..length) else {
        return Outcome::Partial { need: HELLO_FIXED + length };
    };
    let plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let system = match std::str::from_utf8(name) {
        Ok(system) if plain => system,
        _ => return Outcome::Fault(Refusal::Name),
    };
    let version = u16::from_be_bytes([v0, v1]);
    if system != ours.system {
        let (theirs, ours) = (system.to_owned(), ours.system.to_owned());
        return Outcome::Fault(Refusal::OtherSystem { theirs, ours });
    }
    if version > ours.version {
        return Outcome::Fault(Refusal::Newer { theirs: version, ours: ours.version });
    }
    let end = HELLO_FIXED + length;
    let challenge = match (bytes.get(end), &ours.challenge) {
        (None, _) => return Outcome::Partial { need: end + 1 },
        (Some(0), None) => None,
        (Some(0), Some(_)) => return Outcome::Fault(Refusal::Keyless),
        (Some(1), None) => return Outcome::Fault(Refusal::Keyed),
        (Some(1), Some(_)) => match bytes[end + 1..].first_chunk::<CHALLENGE>() {
            Some(challenge) => Some(*challenge),
            None => return Outcome::Partial { need: end + 1 + CHALLENGE },
        },
        (Some(_), _) => return Outcome::Fault(Refusal::Stranger),
    };
    let (node, core) = (u16::from_be_bytes([n0, n1]), u16::from_be_bytes([c0, c1]));
    let used = end + 1 + challenge.map_or(0, |challenge| challenge.len());
    Outcome::Done { value: Hello { system, version, node, core, challenge }, used }
}

/// Appends our hello. A name over [`SYSTEM_MAX`] bytes is our own mistake.
pub fn write_hello(into: &mut Vec<u8>, hello: &Hello<'_>) {
    let name = hello.system.as_bytes();
    assert!((1..=SYSTEM_MAX).contains(&name.len()), "a system's name of {} bytes", name.len());
    into.extend_from_slice(&MAGIC);
    into.extend_from_slice(&hello.version.to_be_bytes());
    into.extend_from_slice(&hello.node.to_be_bytes());
    into.extend_from_slice(&hello.core.to_be_bytes());
    into.push(name.len() as u8);
    into.extend_from_slice(name);
    into.push(u8::from(hello.challenge.is_some()));
    into.extend_from_slice(hello.challenge.as_ref().map_or(&[], |challenge| &challenge[..]));
}

/// How long a message on a link may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an archive.
    pub archive_max: usize,
    /// Bytes of a blob.
    pub blob_max: usize,
}

impl Default for Limits {
    /// 4 MiB an archive: the longest entry of a ledger and what may surround it; 17 MiB a blob: the longest value of
    /// 16 MiB likewise.
    fn default() -> Self {
        Limits { archive_max: 4 * 1024 * 1024, blob_max: 17 * 1024 * 1024 }
    }
}

/// Why a link must be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Flags or reserved bytes that no one sets, or a blob's length without its flag.
    Header,
    /// An archive longer than allowed.
    ArchiveLength(u32),
    /// A blob longer than allowed.
    BlobLength(u32),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Header => f.write_str("a message on a link has a malformed header"),
            Fault::ArchiveLength(length) => {
                write!(f, "a message of {length} bytes on a link is over the limit")
            }
            Fault::BlobLength(length) => write!(f, "a blob of {length} bytes on a link is over the limit"),
        }
    }
}

impl std::error::Error for Fault {}

/// One message as a link delivers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The core it is for. Whether there is such a core is the receiver's to check.
    pub to: u16,
    /// The archive, at any alignment.
    pub archive: &'a [u8],
    /// The blob, if one came. It is the end of the message's bytes.
    pub blob: Option<&'a [u8]>,
}

impl Message<'_> {
    /// Where the blob is in the bytes that were read: take the buffer of `used` bytes and this sub-range of it is
    /// the blob, uncopied.
    pub fn blob_range(&self) -> Option<Range<usize>> {
        let start = HEADER + self.archive.len();
        self.blob.map(|blob| start..start + blob.len())
    }
}

/// Reads the first message of `bytes`, which are all bytes received and not consumed. Stateless: the header is
/// read again on each call, and `need` is the whole message as soon as the header is there.
#[inline]
pub fn read<'a>(bytes: &'a [u8], limits: &Limits) -> Outcome<Message<'a>, Fault> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        return Outcome::Partial { need: HEADER };
    };
    let [a0, a1, a2, a3, b0, b1, b2, b3, t0, t1, f0, f1, reserved @ ..] = *header;
    let archive = u32::from_le_bytes([a0, a1, a2, a3]);
    let blob = u32::from_le_bytes([b0, b1, b2, b3]);
    let flags = u16::from_le_bytes([f0, f1]);
    if flags & !FLAG_BLOB != 0 || reserved != [0; 4] || (flags == 0 && blob != 0) {
        return Outcome::Fault(Fault::Header);
    }
    if archive as usize > limits.archive_max {
        return Outcome::Fault(Fault::ArchiveLength(archive));
    }
    if blob as usize > limits.blob_max {
        return Outcome::Fault(Fault::BlobLength(blob));
    }
    let length = archive as usize + blob as usize;
    let Some(body) = rest.get(..length) else {
        return Outcome::Partial { need: HEADER + length };
    };
    let (archive, blob) = body.split_at(archive as usize);
    let blob = (flags == FLAG_BLOB).then_some(blob);
    let value = Message { to: u16::from_le_bytes([t0, t1]), archive, blob };
    Outcome::Done { value, used: HEADER + length }
}

/// The header of a message for core `to` whose archive of `archive` bytes, and then the blob of `blob` bytes if there
/// is one, follow. Lengths over 4 GiB are our own mistake.
#[inline]
pub fn header(to: u16, archive: usize, blob: Option<usize>) -> [u8; HEADER] {
    let blob_length = blob.unwrap_or(0);
    assert!(
        archive.max(blob_length) <= u32::MAX as usize,
        "a link message of {archive} and {blob_length} bytes"
    );
    let flags = if blob.is_some() { FLAG_BLOB } else { 0 };
    let mut bytes = [0; HEADER];
    bytes[0..4].copy_from_slice(&(archive as u32).to_le_bytes());
    bytes[4..8].copy_from_slice(&(blob_length as u32).to_le_bytes());
    bytes[8..10].copy_from_slice(&to.to_le_bytes());
    bytes[10..12].copy_from_slice(&flags.to_le_bytes());
    bytes
}
