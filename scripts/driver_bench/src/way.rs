//! The ways, each told by where it differs from the one that the reactor takes.

/// How bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receive {
    /// One request brings all that ever comes, a buffer for each piece.
    Multishot,
    /// The same, and one piece may fill several buffers.
    Bundle,
    /// The same, and pieces lie behind one another in a buffer until it is full.
    Incremental,
    /// A request for each piece.
    OneShot,
}

/// How answers leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Send {
    /// A system call for each connection that is owed something, after all completions at hand.
    Direct,
    /// A system call after each completion.
    AtOnce,
    /// An entry of the ring for each connection that is owed something.
    Entry,
    /// The same, and connections are files that the ring knows: never descriptors.
    EntryOfRegistered,
}

/// When the kernel does its part of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// When completions are asked for (SINGLE_ISSUER, DEFER_TASKRUN).
    Deferred,
    /// At the next system call (COOP_TASKRUN).
    Cooperative,
    /// At once, by interrupting the thread.
    Plain,
}

/// All that may differ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) receive: Receive,
    pub(crate) send: Send,
    pub(crate) setup: Setup,
    /// Provided buffers, a power of two up to 32,768.
    pub(crate) buffers: u16,
    /// Bytes of each.
    pub(crate) buffer: usize,
    /// Completions that are taken before answers leave.
    pub(crate) batch: usize,
}

/// What the reactor does.
const KEPT: Way = Way {
    name: "the reactor's",
    receive: Receive::Multishot,
    send: Send::Direct,
    setup: Setup::Deferred,
    buffers: 1024,
    buffer: 16_384,
    batch: usize::MAX,
};

/// In the order in which they take turns.
pub(crate) const WAYS: [Way; 16] = [
    KEPT,
    Way { name: "sent after each completion", send: Send::AtOnce, ..KEPT },
    Way { name: "sent as entries", send: Send::Entry, ..KEPT },
    Way { name: "sent as entries, registered files", send: Send::EntryOfRegistered, ..KEPT },
    Way { name: "one-shot receives", receive: Receive::OneShot, ..KEPT },
    Way { name: "bundles", receive: Receive::Bundle, ..KEPT },
    Way {
        name: "incremental, 256 of 64 KiB",
        receive: Receive::Incremental,
        buffers: 256,
        buffer: 65_536,
        ..KEPT
    },
    Way {
        name: "incremental, 64 of 16 KiB",
        receive: Receive::Incremental,
        buffers: 64,
        buffer: 16_384,
        ..KEPT
    },
    Way { name: "256 buffers of 4 KiB", buffers: 256, buffer: 4096, ..KEPT },
    Way { name: "1,024 buffers of 4 KiB", buffer: 4096, ..KEPT },
    Way { name: "4,096 buffers of 1 KiB", buffers: 4096, buffer: 1024, ..KEPT },
    Way { name: "4,096 buffers of 4 KiB", buffers: 4096, buffer: 4096, ..KEPT },
    Way { name: "batches of 16", batch: 16, ..KEPT },
    Way { name: "batches of 64", batch: 64, ..KEPT },
    Way { name: "COOP_TASKRUN alone", setup: Setup::Cooperative, ..KEPT },
    Way { name: "no flag", setup: Setup::Plain, ..KEPT },
];
