//! Known lies, each told to the oracle that relies on the opposite. An oracle that does not catch its lie within
//! the stated number of seeds proves nothing when it is silent.

use crate::{conform, echo_log, forward, trial};
use libtest_mimic::Trial;
use sim::{Faults, Lies, Setup};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) fn trials() -> Vec<Trial> {
    let truth = Lies::none();
    let canary = |name: &str, seeds: u64, run: fn(u64, Lies), lies: Lies| {
        trial(format!("canary::{name}"), move || caught(seeds, |seed| run(seed, lies)))
    };
    vec![
        canary("a_disk_that_says_synced", 20, kept, Lies { unsynced: 300, ..truth }),
        canary("a_checksum_not_looked_at", 20, kept, Lies { unchecked: 1000, ..truth }),
        canary("a_reply_before_its_commit", 20, hasty, truth),
        canary("a_lane_that_swaps_two_messages", 10, told, Lies { swap_lane: 500, ..truth }),
        canary("a_tell_that_is_lost", 10, told, Lies { lose_tell: 500, ..truth }),
        canary("a_byte_that_is_another", 10, carried, Lies { wrong_byte: 50, ..truth }),
        canary("a_timer_that_is_early", 10, timed, Lies { early_timer: 500, ..truth }),
    ]
}

/// Fails unless one of so many seeds fails.
fn caught(seeds: u64, run: impl Fn(u64)) {
    let hook = std::panic::take_hook();
    // What a canary says on its way down is no failure of this test.
    std::panic::set_hook(Box::new(|_| {}));
    let caught = (0..seeds).any(|seed| catch_unwind(AssertUnwindSafe(|| run(seed))).is_err());
    std::panic::set_hook(hook);
    assert!(caught, "nobody noticed the lie in {seeds} seeds");
}

fn kept(seed: u64, lies: Lies) {
    echo_log::power_cuts(seed, Setup { lies, ..echo_log::setup(true) });
}

fn hasty(seed: u64, lies: Lies) {
    echo_log::power_cuts(seed, Setup { lies, ..echo_log::setup(false) });
}

fn told(seed: u64, lies: Lies) {
    conform::promise("tells", seed, Faults::none(), lies);
}

fn timed(seed: u64, lies: Lies) {
    conform::promise("timers", seed, Faults::none(), lies);
}

fn carried(seed: u64, lies: Lies) {
    forward::transfer(seed, Setup { lies, ..forward::setup(Faults::none()) });
}
