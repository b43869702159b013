//! How a program ends when it cannot go on: one sentence for the operator and an exit status of its own, or, for a
//! bug, what to report and 101. The hard thing is that a panic in any thread must end the whole process: a core
//! that is gone while its neighbours go on answering is worse than no process at all.

use core::fmt;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

/// Exit status for a command line or configuration that means nothing.
pub const STATUS_MISUSE: u8 = 2;
/// Exit status for a machine that lacks something; `doctor` tells what.
pub const STATUS_MACHINE: u8 = 3;
/// Exit status for an address that somebody else listens on.
pub const STATUS_TAKEN: u8 = 4;
/// Exit status for kept data that cannot be read or is not ours.
pub const STATUS_UNREADABLE: u8 = 5;
/// Exit status for a bug of ours, as Rust itself has it for a panic.
pub const STATUS_BUG: u8 = 101;

/// Why a program cannot start or go on. The operator can act on it: the sentence says how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fatal {
    /// The exit status: one of the `STATUS_` constants.
    pub status: u8,
    /// One sentence, without the program's name and without a full stop needed.
    pub sentence: String,
}

impl Fatal {
    /// Wrong use: exit status 2.
    #[must_use]
    pub fn misuse(sentence: impl Into<String>) -> Self {
        Self { status: STATUS_MISUSE, sentence: sentence.into() }
    }

    /// The machine cannot: exit status 3.
    #[must_use]
    pub fn machine(sentence: impl Into<String>) -> Self {
        Self { status: STATUS_MACHINE, sentence: sentence.into() }
    }

    /// The port is taken: exit status 4.
    #[must_use]
    pub fn taken(sentence: impl Into<String>) -> Self {
        Self { status: STATUS_TAKEN, sentence: sentence.into() }
    }

    /// What was kept cannot be read: exit status 5.
    #[must_use]
    pub fn unreadable(sentence: impl Into<String>) -> Self {
        Self { status: STATUS_UNREADABLE, sentence: sentence.into() }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl std::error::Error for Fatal {}

static NAME: OnceLock<&'static str> = OnceLock::new();

/// Gives messages the program's name and makes a panic in any thread end the whole process with status 101, after
/// it has said what to report. Call it once, first in `main`; a second call changes nothing.
pub fn install(name: &'static str) {
    if NAME.set(name).is_err() {
        return;
    }
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{}", report(panic));
        // SAFETY: _exit takes a plain number and does not return. Not `process::exit`: handlers that run then may
        // wait for the very thread that panicked, or for a lock it holds.
        unsafe { libc::_exit(i32::from(STATUS_BUG)) }
    }));
}

/// Says the sentence on standard error as `NAME: sentence` and ends the process with its status.
pub fn exit(fatal: Fatal) -> ! {
    eprintln!("{}: {}", name(), fatal.sentence);
    std::process::exit(i32::from(fatal.status))
}

fn name() -> String {
    if let Some(name) = NAME.get() {
        return (*name).to_owned();
    }
    let started_as = std::env::args_os().next().unwrap_or_default();
    let file = std::path::Path::new(&started_as).file_name().unwrap_or_default();
    file.to_string_lossy().into_owned()
}

/// What a bug's finder should send: what, where, which build, and how to get the stack.
fn report(panic: &PanicHookInfo<'_>) -> String {
    let payload = panic.payload();
    let what = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let stack = std::backtrace::Backtrace::capture();
    let stack = match stack.status() {
        std::backtrace::BacktraceStatus::Captured => stack.to_string(),
        _ => "  (run again with RUST_BACKTRACE=1 for the stack)".to_owned(),
    };
    let name = name();
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    format!(
        "{name}: this is a bug in {name}, not in its use. Please report what follows.\n  what: {what}\n  where: {place}, \
         thread {thread}\n  version: {}\n  arguments: {arguments:?}\n{stack}",
        env!("CARGO_PKG_VERSION"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// Runs `helper` of this test binary as a process of its own.
    fn run_helper(what: &str) -> (Option<i32>, String) {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "fatal::tests::helper", "--nocapture", "--test-threads=1"])
            .env("FATAL_HELPER", what)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    #[test]
    fn helper() {
        match std::env::var("FATAL_HELPER").as_deref() {
            Ok("exit") => {
                install("tally");
                exit(Fatal::taken("port 7000 is taken"));
            }
            Ok("panic") => {
                install("tally");
                let _ =
                    std::thread::Builder::new().name("core-1".into()).spawn(|| panic!("lane {} is gone", 3));
                loop {
                    std::thread::park();
                }
            }
            _ => {}
        }
    }

    #[test]
    fn exit_says_the_name_and_the_sentence() {
        assert_eq!(run_helper("exit"), (Some(4), "tally: port 7000 is taken\n".to_owned()));
    }

    #[test]
    fn a_panic_in_any_thread_ends_the_process_and_says_what_to_report() {
        let (status, said) = run_helper("panic");
        assert_eq!(status, Some(101));
        for part in
            ["tally: this is a bug", "what: lane 3 is gone", "fatal.rs:", "thread core-1", "version: "]
        {
            assert!(said.contains(part), "{part:?} is missing in {said}");
        }
    }

    #[test]
    fn each_fault_has_a_status_of_its_own() {
        let all = [Fatal::misuse("a"), Fatal::machine("a"), Fatal::taken("a"), Fatal::unreadable("a")];
        assert_eq!(all.map(|fatal| fatal.status), [2, 3, 4, 5]);
    }
}
