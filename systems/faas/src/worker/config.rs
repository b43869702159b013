//! What a worker's operator meant.

use core::time::Duration;
use machine::Address;

use crate::dispatch::Mode;

/// As the operator meant it.
#[derive(Clone, Debug)]
pub struct Config {
    /// How it gets tasks.
    pub mode: Mode,
    /// Tasks that run at a time, each in a process of its own.
    pub slots: u16,
    /// Where the service is.
    pub service: Address,
    /// What proves that it may register; empty where none is asked for.
    pub token: Box<str>,
    /// The Python that runs functions.
    pub python: Box<str>,
    /// Modules that are imported before slots are forked.
    pub preload: Vec<Box<str>>,
    /// Where modules are looked for, before Python's own places.
    pub pythonpath: Vec<Box<str>>,
    /// A directory of ours: the socket of the slots is there, and a directory for each slot.
    pub directory: Box<str>,
    /// What a slot may use.
    pub bounds: Bounds,
    /// User code may use the network.
    pub is_networked: bool,
    /// The first of 65,536 user ids for slots; 0: some above 1,000,000,000.
    pub user_base: u32,
    /// Our own process id.
    pub pid: u32,
    /// Where a line goes that the operator should see.
    pub say: fn(&str),
}

/// What a slot may use; 0 is as much as there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of address space of a process.
    pub memory: u64,
    /// Bytes of a file.
    pub file_size: u64,
    /// Processor time of a process for one task.
    pub cpu: Duration,
    /// Processes of a slot.
    pub processes: u64,
    /// Bytes that a task may print.
    pub output: u64,
}

impl Default for Bounds {
    /// 2 GiB of memory, files of 1 GiB, 5 minutes of processor time, 64 processes, 16 MiB printed.
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            memory: 2048 * MIB,
            file_size: 1024 * MIB,
            cpu: Duration::from_secs(300),
            processes: 64,
            output: 16 * MIB,
        }
    }
}
