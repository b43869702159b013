//! What the operator meant: where to serve, how to answer, how much of everything.

use core::time::Duration;
use machine::Address;
pub use state::queue::Patience;
pub use web::Tokens;

/// As the operator meant it, the same on every core.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub http: Address,
    /// Where workers connect; every core listens at the same TCP address, or at a path of its own.
    pub dispatch: Dispatch,
    /// Who begins to speak about work.
    pub mode: Mode,
    /// How clients are answered.
    pub manners: Manners,
    /// Who may ask, and whose workers may run tasks.
    pub tokens: Tokens,
    /// Bounds.
    pub limits: Limits,
    /// What is accepted outlives the process.
    pub is_kept: bool,
    /// Where a line goes that the operator should see.
    pub say: fn(&str),
}

/// Where workers connect.
#[derive(Clone, Debug)]
pub enum Dispatch {
    /// All cores at one address.
    Shared(Address),
    /// The workers of this machine, started by us.
    Own(Local),
}

/// Workers that the service starts itself.
#[derive(Clone, Debug)]
pub struct Local {
    /// The path of a core's socket is this, a hyphen and its number.
    pub path: Box<str>,
    /// The program, and what it is told before slots and address.
    pub program: Box<str>,
    /// Its arguments before slots and address.
    pub args: Vec<Box<str>>,
    /// Slots in all; cores share them.
    pub slots: u16,
    /// Its environment.
    pub env: Vec<(Box<str>, Box<str>)>,
}

/// Who begins to speak about work. A client cannot tell which it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Workers of this machine, started by the service, are sent work.
    Local,
    /// Workers ask when they have room.
    Pull,
    /// The least loaded worker is sent work.
    Push,
}

impl Mode {
    /// As it is typed and told.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// How clients are answered, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manners {
    /// The status of what was created: 201, or 200.
    pub created: u16,
    /// The status for an unknown function or task: 404.
    pub unknown: u16,
    /// The status for a result that is not there yet: 200.
    pub pending: u16,
    /// A function is registered only if it can be one.
    pub checks: bool,
    /// What the state of a task that went well is called.
    pub completed: &'static str,
    /// The result of a failed task is the exception, or what it says.
    pub failure: Failure,
}

/// What the result of a failed task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The exception, pickled.
    Exception,
    /// What it says, a pickled text.
    Text,
}

impl Manners {
    /// To the letter.
    pub const STRICT: Self = Self {
        created: 201,
        unknown: 404,
        pending: 200,
        checks: true,
        completed: "COMPLETED",
        failure: Failure::Exception,
    };

    /// 200 for what was created, and any payload registers.
    pub const LAX: Self = Self { created: 200, checks: false, ..Self::STRICT };
}

/// Bounds, each with its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body; over it 413.
    pub body_max: usize,
    /// Tasks of a core that are not ended; over it 429.
    pub tasks_max: usize,
    /// Bytes of payloads and results on a core; over it 429.
    pub bytes_max: usize,
    /// Functions; over it 429.
    pub functions_max: usize,
    /// Tasks in one batch; over it 422.
    pub batch_max: usize,
    /// How long a result is kept, from its coming.
    pub result_ttl: Duration,
    /// Results that a core keeps; of more, the oldest go first.
    pub results_max: usize,
    /// How long a task may run, where it does not say itself.
    pub task_timeout: Duration,
    /// How often a task is begun before it fails.
    pub patience: Patience,
    /// How long a worker that has work may be silent before it is taken for lost.
    pub silence_max: Duration,
    /// How long a client may wait for a result in one request.
    pub wait_max: Duration,
}

impl Default for Limits {
    /// 64 MiB a request, a million tasks and 2 GiB a core, 10,000 functions, 10,000 tasks a batch, results for a day
    /// and at most a million, 60 s a task, 3 attempts with 50 ms to 5 s between them, 1.5 s of silence, an hour's wait.
    fn default() -> Self {
        Self {
            body_max: 64 * 1024 * 1024,
            tasks_max: 1_000_000,
            bytes_max: 2 * 1024 * 1024 * 1024,
            functions_max: 10_000,
            batch_max: 10_000,
            result_ttl: Duration::from_secs(24 * 3600),
            results_max: 1_000_000,
            task_timeout: Duration::from_secs(60),
            patience: Patience {
                attempts_max: 3,
                pause: Duration::from_millis(50),
                pause_max: Duration::from_secs(5),
            },
            silence_max: Duration::from_millis(1500),
            wait_max: Duration::from_secs(3600),
        }
    }
}
