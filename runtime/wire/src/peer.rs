//! What cores and nodes say to each other: rkyv archives in envelopes, many in one aligned batch, read in place.
//!
//! A message is written straight into the batch that will cross the lane; nothing is built in between. The one
//! hard thing is alignment: an archive may be read in place only where its bytes begin at a multiple of 16, so
//! the batch's memory, every header and every padded archive are multiples of 16.
//!
//! An envelope is a header of 16 bytes, the archive, and zeros up to the next multiple of 16:
//!
//! | bytes | what |
//! |---|---|
//! | 0..4 | length of the archive alone, little-endian, without padding: rkyv finds an archive's root from its end |
//! | 4..8 | flags: 1 = a blob travels with this message |
//! | 8..16 | reserved, zero |

use rkyv::api::{access_with_context, serialize_using};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{Failure, Strategy};
use rkyv::ser::Serializer;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::util::{AlignedVec, with_arena};
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::{Archive, Portable, Serialize};
use std::fmt;

/// What the memory of a batch and each archive in it are aligned to, in bytes.
pub const ALIGN: usize = 16;

/// Bytes before each archive.
pub const HEADER: usize = 16;

const FLAG_BLOB: u32 = 1;

/// What a message is written with. No sharing: a message holds no `Rc`, and need not pay for a table of them.
pub type Ink<'a> = Strategy<Serializer<&'a mut AlignedVec<ALIGN>, ArenaHandle<'a>, ()>, Failure>;

/// What a message is checked with when it comes from elsewhere.
pub type Doubt<'a> = Strategy<Validator<ArchiveValidator<'a>, ()>, Failure>;

/// Bytes that are no batch, or no message of the kind they were read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end within an envelope.
    Cut,
    /// A header has flags or reserved bytes that no one sets.
    Header,
    /// The archive is not a valid one of its type.
    Archive,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Cut => "a batch of messages ends within a message",
            Fault::Header => "a message's header has unknown flags",
            Fault::Archive => "a message's archive is malformed",
        })
    }
}

impl std::error::Error for Fault {}

/// Something one core says to another: any rkyv type without shared pointers.
pub trait Message {
    /// The same as it arrives, read in the bytes that carried it. Portable, so whoever trusts the bytes may
    /// use `rkyv::access_unchecked` for it.
    type Heard: Portable + 'static;

    /// Appends one envelope; `blob` says whether a blob travels with it.
    fn write(&self, into: &mut Batch, blob: bool);

    /// Reads an archive in place after checking all of it. The bytes must be aligned to [`ALIGN`], as those of
    /// an [`Envelope`] are; others are a fault, not a panic.
    fn hear(archive: &[u8]) -> Result<&Self::Heard, Fault>;
}

impl<T> Message for T
where
    T: Archive + for<'a> Serialize<Ink<'a>>,
    T::Archived: Portable + for<'a> CheckBytes<Doubt<'a>> + 'static,
{
    type Heard = T::Archived;

    #[inline]
    fn write(&self, into: &mut Batch, blob: bool) {
        const { assert!(align_of::<T::Archived>() <= ALIGN, "archives are aligned to 16 bytes") };
        into.append(blob, |bytes| {
            let written = with_arena(|arena| {
                let mut serializer = Serializer::new(bytes, arena.acquire(), ());
                serialize_using::<_, Failure>(self, &mut serializer).map(|_| ())
            });
            assert!(written.is_ok(), "a message of {} could not be archived", std::any::type_name::<T>());
        });
    }

    #[inline]
    fn hear(archive: &[u8]) -> Result<&T::Archived, Fault> {
        let mut doubt = Validator::new(ArchiveValidator::new(archive), ());
        access_with_context::<T::Archived, _, Failure>(archive, &mut doubt).map_err(|_| Fault::Archive)
    }
}

/// One message as bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// The archive, aligned to [`ALIGN`] if it came from a [`Batch`]; its root is at its end.
    pub archive: &'a [u8],
    /// Whether a blob travels with it.
    pub blob: bool,
}

/// Envelopes one after another, in order, in memory aligned for reading them in place. What it holds is
/// well-formed by construction; its length is bounded by whoever fills it (a turn ends, a lane is full).
#[derive(Debug, Default)]
pub struct Batch {
    bytes: AlignedVec<ALIGN>,
    count: usize,
}

impl Batch {
    /// An empty batch; allocates nothing.
    pub fn new() -> Self {
        Batch::default()
    }

    /// An empty batch with room for `bytes` bytes of envelopes.
    pub fn with_capacity(bytes: usize) -> Self {
        Batch { bytes: AlignedVec::with_capacity(bytes), count: 0 }
    }

    /// Messages held.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes held, headers and padding included.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it holds no message.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes it can hold without growing: what an emptied batch keeps for its next use.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets the messages and keeps the memory.
    #[inline]
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
    }

    /// The envelopes as bytes, aligned to [`ALIGN`].
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Appends an archive that was made elsewhere, as a link delivers it, copied to where it can be read in
    /// place. Whether it is a valid archive is said by [`Message::hear`].
    #[inline]
    pub fn carry(&mut self, archive: &[u8], blob: bool) {
        self.append(blob, |bytes| bytes.extend_from_slice(archive));
    }

    /// The messages as bytes, in the order they were written.
    #[inline]
    pub fn envelopes(&self) -> impl Iterator<Item = Envelope<'_>> {
        envelopes(&self.bytes).map_while(Result::ok)
    }

    /// The messages, each checked and read in place, and whether a blob travels with it.
    #[inline]
    pub fn heard<M: Message>(&self) -> impl Iterator<Item = Result<(&M::Heard, bool), Fault>> {
        self.envelopes().map(|envelope| Ok((M::hear(envelope.archive)?, envelope.blob)))
    }

    #[inline]
    fn append(&mut self, blob: bool, write: impl FnOnce(&mut AlignedVec<ALIGN>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER]);
        write(&mut self.bytes);
        let length = self.bytes.len() - start - HEADER;
        assert!(
            length <= i32::MAX as usize,
            "a message of {length} bytes: the archive's pointers end at 2 GiB"
        );
        let flags = if blob { FLAG_BLOB } else { 0 };
        self.bytes[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        self.bytes[start + 4..start + 8].copy_from_slice(&flags.to_le_bytes());
        let padding = [0; ALIGN];
        self.bytes.extend_from_slice(&padding[..length.next_multiple_of(ALIGN) - length]);
        self.count += 1;
    }
}

/// The envelopes in `bytes`, which may come from anywhere; nothing follows a fault.
#[inline]
pub fn envelopes(bytes: &[u8]) -> Envelopes<'_> {
    Envelopes { rest: bytes }
}

/// Walks envelopes.
#[derive(Debug, Clone)]
pub struct Envelopes<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Envelopes<'a> {
    type Item = Result<Envelope<'a>, Fault>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let outcome = first(self.rest);
        self.rest = match outcome {
            Ok((_, rest)) => rest,
            Err(_) => &[],
        };
        Some(outcome.map(|(envelope, _)| envelope))
    }
}

#[inline]
fn first(bytes: &[u8]) -> Result<(Envelope<'_>, &[u8]), Fault> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(Fault::Cut)?;
    let [l0, l1, l2, l3, f0, f1, f2, f3, reserved @ ..] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let flags = u32::from_le_bytes([f0, f1, f2, f3]);
    if flags & !FLAG_BLOB != 0 || reserved != [0; 8] {
        return Err(Fault::Header);
    }
    let (padded, rest) = rest.split_at_checked(length.next_multiple_of(ALIGN)).ok_or(Fault::Cut)?;
    Ok((Envelope { archive: &padded[..length], blob: flags == FLAG_BLOB }, rest))
}
