//! Both clocks, read together. The origin of the instants is the start of the process, the same for all cores.

use machine::{Instant, Now, WallTime};
use std::sync::OnceLock;

fn origin() -> std::time::Instant {
    static ORIGIN: OnceLock<std::time::Instant> = OnceLock::new();
    *ORIGIN.get_or_init(std::time::Instant::now)
}

/// Reads both clocks (two vDSO calls, about 40 ns).
pub(crate) fn now() -> Now {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Now { at: instant(), wall: WallTime::from_micros(wall.as_micros() as u64) }
}

/// Reads the clock that only measures distances.
pub(crate) fn instant() -> Instant {
    Instant::from_nanos(origin().elapsed().as_nanos() as u64)
}
