//! What a reader answers: done, partial or fault. One shape for every protocol, so that the loop around a reader
//! is the same everywhere and a cut can not be mistaken for an error.

/// From this length on (bytes, 16 KiB) a value that comes last in its message is worth a buffer of its own: below
/// it a copy costs less than the bookkeeping of a separate receive.
pub const BLOB_MIN: usize = 16 * 1024;

/// What reading one message from the front of the unconsumed bytes came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<T, F> {
    /// One whole message. The caller consumes `used` bytes (at least 1) and asks again.
    Done {
        /// What was said.
        value: T,
        /// Bytes of the input that said it.
        used: usize,
    },
    /// Not a whole message yet. Nothing is consumed.
    Partial {
        /// Total bytes, from the first unconsumed one, that must be there before asking again can be worth it.
        /// More than there are now, and never more than what could change the answer, so waiting for it can
        /// not delay the report of a fault.
        need: usize,
    },
    /// These bytes can never become a message. The connection has no future: answer, and close it.
    Fault(F),
}

impl<T, F> Outcome<T, F> {
    /// The same outcome with another value.
    #[inline]
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Outcome<U, F> {
        match self {
            Outcome::Done { value, used } => Outcome::Done { value: change(value), used },
            Outcome::Partial { need } => Outcome::Partial { need },
            Outcome::Fault(fault) => Outcome::Fault(fault),
        }
    }
}
