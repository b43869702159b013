//! The places where a node can be told to kill itself: one for each arrow of the protocol, in the order in which a job
//! passes them. What each death must lead to is the crash table of the contract; the tests go through all of them.

/// A place in a job's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// The node that was asked: it has proposed the job, and acknowledged nothing.
    BeforeAcknowledging,
    /// The same node: the job is committed, and the acknowledgement was said in the same breath.
    AfterAcknowledging,
    /// The leader: the job is committed, and not yet assigned.
    BeforeAssigning,
    /// The leader: the assignment is committed, and not yet sent.
    BeforeSending,
    /// The worker: it was told to run, and has started nothing.
    BeforeStarting,
    /// The worker: the program runs, and nobody was told.
    AfterStarting,
    /// The worker: the program has ended, and nobody was told.
    BeforeResult,
    /// The worker: the result was sent to the leader, and it is not known to be committed.
    AfterResult,
    /// The leader: the result is committed, and the client does not have it.
    BeforeClient,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::BeforeAcknowledging,
        Self::AfterAcknowledging,
        Self::BeforeAssigning,
        Self::BeforeSending,
        Self::BeforeStarting,
        Self::AfterStarting,
        Self::BeforeResult,
        Self::AfterResult,
        Self::BeforeClient,
    ];

    /// As it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeAcknowledging => "before-acknowledging",
            Self::AfterAcknowledging => "after-acknowledging",
            Self::BeforeAssigning => "before-assigning",
            Self::BeforeSending => "before-sending",
            Self::BeforeStarting => "before-starting",
            Self::AfterStarting => "after-starting",
            Self::BeforeResult => "before-result",
            Self::AfterResult => "after-result",
            Self::BeforeClient => "before-client",
        }
    }

    /// Reads what is typed.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|point| point.name() == text)
    }
}
