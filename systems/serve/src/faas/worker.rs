//! `faas worker`: the program that runs functions.

use clap::Args;
use reactor::Fatal;

/// What a worker can be told.
#[derive(Args)]
pub struct Worker {
    /// How many tasks run at a time
    #[arg(default_value_t = 1)]
    slots: u16,
}

/// Works until it is told to stop.
pub fn work(asked: &Worker) -> Result<(), Fatal> {
    Err(Fatal::misuse(format!("{} slots: there is no worker in this build", asked.slots)))
}
