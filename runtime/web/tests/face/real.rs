//! The real arm: this test's own binary as a server on the reactor.

use crate::stand::{self, Stand};
use reactor::{Doors, Plan, fatal};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long anything real is waited for before it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Cores of the real stand.
const CORES: usize = 2;

/// A stand that runs, and ends with this value.
pub(crate) struct Server {
    process: Child,
    pub(crate) door: SocketAddr,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// One whose bounds a busy machine does not reach.
    pub(crate) fn patient() -> Self {
        Self::start_with(&[stand::PATIENT])
    }

    fn start_with(words: &[&str]) -> Self {
        let me = std::env::current_exe().expect("this test has a file");
        let mut command = Command::new(me);
        let mut process =
            command.arg("serve").args(words).stdout(Stdio::piped()).spawn().expect("it can be run again");
        let mut line = String::new();
        let output = process.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut line).expect("it says where it listens");
        let door = line.trim().parse().expect("an address");
        Self { process, door }
    }

    /// Asks it to end, and says whether it did so as it should.
    pub(crate) fn stop(mut self) -> bool {
        let asked = Command::new("kill").arg(self.process.id().to_string()).status();
        assert!(asked.is_ok_and(|status| status.success()), "it is there to be asked");
        self.process.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing to do for one that has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The server's side.
pub(crate) fn serve(limits: web::Limits) -> ! {
    let doors = Doors::default();
    let door = doors.reserve(([127, 0, 0, 1], 0).into()).unwrap_or_else(|fatal| fatal::exit(fatal));
    let mut plan = Plan::new("stand", stand::Config { door, limits });
    plan.cores = reactor::allowed_cores().into_iter().take(CORES).collect();
    plan.doors = doors;
    plan.on_ready = Box::new(move || println!("{door}"));
    match reactor::run::<Stand>(plan) {
        Ok(_) => std::process::exit(0),
        Err(fatal) => fatal::exit(fatal),
    }
}
