//! Children as scripts: processes that fail to start, exit, print without end, echo, hang, or speak a protocol
//! of their own. Each is a [`Process`] told what happens to it, as a shard is.

use core::time::Duration;
use machine::id::Key;
use machine::{Command, CoreId, PipeKind, Signal, Stream};

/// Finds what a command does.
pub(crate) type ScriptFor = Box<dyn FnMut(&Command, &mut Stream) -> ChildScript>;

/// What a child does.
pub enum ChildScript {
    /// It cannot be started; the sentence says why.
    Unstarted(Box<str>),
    /// Prints, and exits with that status after a while.
    Exits {
        /// What it prints at once.
        says: Vec<u8>,
        /// When it exits.
        after: Duration,
        /// With what.
        status: i32,
    },
    /// Prints this again and again while there is room.
    Prints(Vec<u8>),
    /// Says what it hears, and exits when its input ends.
    Echoes,
    /// Does nothing, and heeds no signal but Kill.
    Hangs,
    /// A signal ends it after a while.
    Killed {
        /// When.
        after: Duration,
        /// Which.
        signal: i32,
    },
    /// Anything else.
    Acts(Box<dyn Process>),
}

/// How a child goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lives.
    Lives,
    /// It exits with this status.
    Exits(i32),
    /// This signal ends it.
    Killed(i32),
}

/// A process as the world runs it. All methods have a body that does nothing, but for a signal, which ends it.
pub trait Process {
    /// It runs.
    fn on_start(&mut self, stage: &mut Stage) {
        let _ = stage;
    }
    /// Its standard input brings this.
    fn on_input(&mut self, bytes: &[u8], stage: &mut Stage) {
        let _ = (bytes, stage);
    }
    /// Its standard input has ended.
    fn on_input_end(&mut self, stage: &mut Stage) {
        let _ = stage;
    }
    /// All that it printed was taken.
    fn on_room(&mut self, stage: &mut Stage) {
        let _ = stage;
    }
    /// What it asked to be woken for.
    fn on_wake(&mut self, stage: &mut Stage) {
        let _ = stage;
    }
    /// A signal that can be handled: never Kill, Stop or Continue.
    fn on_signal(&mut self, signal: Signal, stage: &mut Stage) {
        stage.end(Fate::Killed(number(signal)));
    }
}

/// What a process may do.
#[derive(Debug)]
pub struct Stage {
    /// Since it was started.
    pub age: Duration,
    /// Bytes it can print before a pipe is full. Printing more is possible: it waits in the process.
    pub room: usize,
    pub(crate) out: Vec<u8>,
    pub(crate) error: Vec<u8>,
    pub(crate) wake: Option<Duration>,
    pub(crate) fate: Fate,
}

impl Stage {
    pub(crate) fn new(age: Duration, room: usize) -> Self {
        Self { age, room, out: Vec::new(), error: Vec::new(), wake: None, fate: Fate::Lives }
    }

    /// Prints on standard output.
    pub fn print(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.room = self.room.saturating_sub(bytes.len());
    }

    /// Prints on standard error.
    pub fn print_error(&mut self, bytes: &[u8]) {
        self.error.extend_from_slice(bytes);
    }

    /// Asks for `on_wake` after a while, in place of an earlier one.
    pub fn wake(&mut self, after: Duration) {
        self.wake = Some(after);
    }

    /// Ends the process.
    pub fn end(&mut self, fate: Fate) {
        self.fate = fate;
    }
}

/// A child of a node.
pub(crate) struct Child {
    pub(crate) core: CoreId,
    pub(crate) command: Command,
    pub(crate) process: Option<Box<dyn Process>>,
    pub(crate) pipes: Vec<(PipeKind, Key)>,
    pub(crate) started: machine::Instant,
    pub(crate) running: bool,
    pub(crate) stopped: bool,
    pub(crate) wakes: u64,
    pub(crate) fate: Fate,
}

/// The number of a signal on Linux.
pub(crate) fn number(signal: Signal) -> i32 {
    match signal {
        Signal::HangUp => 1,
        Signal::Interrupt => 2,
        Signal::Kill => 9,
        Signal::User1 => 10,
        Signal::User2 => 12,
        Signal::Terminate => 15,
        Signal::Continue => 18,
        Signal::Stop => 19,
    }
}

impl ChildScript {
    /// The process, or why there is none.
    pub(crate) fn process(self) -> Result<Box<dyn Process>, Box<str>> {
        Ok(match self {
            Self::Unstarted(why) => return Err(why),
            Self::Exits { says, after, status } => Box::new(Timed { says, after, fate: Fate::Exits(status) }),
            Self::Killed { after, signal } => {
                Box::new(Timed { says: Vec::new(), after, fate: Fate::Killed(signal) })
            }
            Self::Prints(line) => Box::new(Prints { line }),
            Self::Echoes => Box::new(Echoes),
            Self::Hangs => Box::new(Hangs),
            Self::Acts(process) => process,
        })
    }
}

struct Timed {
    says: Vec<u8>,
    after: Duration,
    fate: Fate,
}

impl Process for Timed {
    fn on_start(&mut self, stage: &mut Stage) {
        stage.print(&self.says);
        stage.wake(self.after);
    }
    fn on_wake(&mut self, stage: &mut Stage) {
        stage.end(self.fate);
    }
}

struct Prints {
    line: Vec<u8>,
}

impl Process for Prints {
    fn on_start(&mut self, stage: &mut Stage) {
        while stage.room > 0 {
            stage.print(&self.line);
        }
    }
    fn on_room(&mut self, stage: &mut Stage) {
        self.on_start(stage);
    }
}

struct Echoes;

impl Process for Echoes {
    fn on_input(&mut self, bytes: &[u8], stage: &mut Stage) {
        stage.print(bytes);
    }
    fn on_input_end(&mut self, stage: &mut Stage) {
        stage.end(Fate::Exits(0));
    }
}

struct Hangs;

impl Process for Hangs {
    fn on_signal(&mut self, _: Signal, _: &mut Stage) {}
}
