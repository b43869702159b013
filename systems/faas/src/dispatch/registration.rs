//! Who a worker is and what it offers: its first frame.

use super::body::{Body, Faulty, Frame};

/// How a worker gets its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// It asks when it has room.
    Pull = 1,
    /// It is sent them.
    Push = 2,
}

/// One thing that user code is kept from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Jail {
    /// No program it starts has more rights than it has.
    NoNewPrivileges = 0,
    /// It runs as a user of its own, another for each slot.
    OwnUser = 1,
    /// Its memory is bounded.
    Memory = 2,
    /// How many processes it may start is bounded.
    Processes = 3,
    /// How long a file it may write is bounded.
    FileSize = 4,
    /// The processor time of a process is bounded.
    Cpu = 5,
    /// It has no network.
    NoNetwork = 6,
    /// It sees only its own processes, and none outlives its slot.
    OwnProcesses = 7,
    /// It runs in a directory of its own, which was empty when it started.
    EmptyDirectory = 8,
}

/// Every jail, by the bit that stands for it.
pub const JAILS: [Jail; 9] = [
    Jail::NoNewPrivileges,
    Jail::OwnUser,
    Jail::Memory,
    Jail::Processes,
    Jail::FileSize,
    Jail::Cpu,
    Jail::NoNetwork,
    Jail::OwnProcesses,
    Jail::EmptyDirectory,
];

impl Jail {
    /// As the page shows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoNewPrivileges => "no-new-privileges",
            Self::OwnUser => "own-user",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::FileSize => "file-size",
            Self::Cpu => "cpu",
            Self::NoNetwork => "no-network",
            Self::OwnProcesses => "own-processes",
            Self::EmptyDirectory => "empty-directory",
        }
    }

    /// The bit that stands for it.
    #[must_use]
    pub fn bit(self) -> u16 {
        1 << (self as u16)
    }
}

/// Who a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration<'a> {
    /// Drawn when the worker started: a new connection of the same worker has the same.
    pub worker: [u8; 16],
    /// How it gets tasks.
    pub mode: Mode,
    /// How many run at once.
    pub slots: u16,
    /// How many more it holds at once, so that a slot need not wait for the next.
    pub window: u16,
    /// Its process.
    pub pid: u32,
    /// The Python its slots run: `3.11.7`.
    pub python: &'a str,
    /// The dill they have: `0.3.8`; empty for none.
    pub dill: &'a str,
    /// What proves that it may register; empty where none is asked for.
    pub token: &'a str,
    /// Bits of the [`Jail`]s that hold.
    pub jails: u16,
    /// Why the others do not, in sentences for the operator.
    pub remarks: &'a str,
}

impl<'a> Registration<'a> {
    pub(super) fn read(body: &mut Body<'a>) -> Result<Self, Faulty> {
        Ok(Self {
            worker: body.array()?,
            mode: match body.byte()? {
                1 => Mode::Pull,
                2 => Mode::Push,
                _ => return Err(Faulty("a mode that is neither pull nor push")),
            },
            slots: match body.short()? {
                0 => return Err(Faulty("a worker without a slot")),
                slots => slots,
            },
            window: body.short()?,
            pid: body.number()?,
            python: body.text()?,
            dill: body.text()?,
            token: body.text()?,
            jails: body.short()?,
            remarks: body.text()?,
        })
    }

    pub(super) fn write(&self, frame: &mut Frame<'_>) {
        frame.array(&self.worker);
        frame.byte(self.mode as u8);
        frame.short(self.slots);
        frame.short(self.window);
        frame.number(self.pid);
        frame.text(self.python);
        frame.text(self.dill);
        frame.text(self.token);
        frame.short(self.jails);
        frame.text(self.remarks);
    }

    /// The jails that hold.
    pub fn jails(&self) -> impl Iterator<Item = Jail> + use<> {
        let bits = self.jails;
        JAILS.into_iter().filter(move |jail| bits & jail.bit() != 0)
    }
}
