//! How much a message may be around its body.

/// No head has more bytes than this, whatever the limits say: places in it are counted in 16 bits.
pub const HEAD_CEILING: usize = 65_535;
/// No head has more fields than this, whatever the limits say: each is noted in eight bytes.
pub const FIELDS_CEILING: usize = 1_024;
/// Bytes of a method. Longer ones are none that anybody implements: 501 (RFC 9112 section 3).
pub const METHOD_MAX: usize = 32;

/// How much one message may be. The price of a greater bound is memory an unfinished head can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head from the start line to the empty line, both included, and empty lines before it; cut to
    /// [`HEAD_CEILING`].
    pub head_max: usize,
    /// Fields of a head; cut to [`FIELDS_CEILING`].
    pub fields_max: usize,
    /// Bytes of a request target.
    pub target_max: usize,
    /// Bytes of a line that gives a chunk's size, its end not counted.
    pub chunk_line_max: usize,
    /// Bytes of chunk extensions in one body: they mean nothing here and cost a look at each.
    pub extensions_max: usize,
    /// Bytes of a trailer section, its empty line included.
    pub trailers_max: usize,
    /// Payload bytes of one body. An announced length over it is refused with the head, chunks when they pass it.
    pub body_max: u64,
}

impl Default for Limits {
    /// Heads of 16 KiB with 100 fields, targets of 8 KiB, chunk lines of 256 bytes, 16 KiB of extensions, trailers
    /// of 4 KiB, and bodies without a bound: they are streamed.
    fn default() -> Self {
        Limits {
            head_max: 16 * 1024,
            fields_max: 100,
            target_max: 8 * 1024,
            chunk_line_max: 256,
            extensions_max: 16 * 1024,
            trailers_max: 4 * 1024,
            body_max: u64::MAX,
        }
    }
}

impl Limits {
    /// The same, cut to the ceilings.
    pub(super) fn cut(self) -> Self {
        Limits {
            head_max: self.head_max.min(HEAD_CEILING),
            fields_max: self.fields_max.min(FIELDS_CEILING),
            ..self
        }
    }
}
