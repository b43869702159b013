//! Runs a test over many seeds, and says how to repeat the one that failed. The only place that looks at the
//! environment: which seeds to take is the operator's to say.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs `test` for the seeds 0 to `count` - 1. `RINGWISE_SEED` (decimal, or hexadecimal after `0x`: a commit's
/// hash will do, its first 16 digits count) runs that one alone; `RINGWISE_SEEDS` is another count, or `FROM..TO`, of
/// which the last is left out, so that a long run can be made in pieces. A failure prints the seed and the command that
/// repeats it; a `World` that was alive prints its last steps.
///
/// # Panics
/// As the test does.
pub fn for_seeds(count: u64, mut test: impl FnMut(u64)) {
    let (one, several) = asked(count);
    let seeds = one.map_or(several, |seed| seed..seed.saturating_add(1));
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(seed))) {
            eprintln!("seed {seed} failed; again with:\n  {}", command(seed));
            resume_unwind(panic);
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the operator says which seeds to run; no shard ever sees this")]
fn asked(count: u64) -> (Option<u64>, Range<u64>) {
    let one = std::env::var("RINGWISE_SEED").ok().map(|text| {
        number(&text)
            .unwrap_or_else(|| panic!("RINGWISE_SEED={text} is neither decimal nor 0x and hexadecimal"))
    });
    let several = std::env::var("RINGWISE_SEEDS").ok().map_or(0..count, |text| {
        range(&text).unwrap_or_else(|| panic!("RINGWISE_SEEDS={text} is neither a number nor FROM..TO"))
    });
    (one, several)
}

/// Whether one seed was asked for.
pub(crate) fn is_one_alone() -> bool {
    asked(0).0.is_some()
}

#[allow(clippy::disallowed_methods, reason = "names the test in a sentence for people")]
fn command(seed: u64) -> String {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    // A test that has its own main runs on the main thread, and is not named after it.
    let test = std::thread::current().name().filter(|name| *name != "main").unwrap_or_default().to_owned();
    format!("RINGWISE_SEED={seed} cargo test -p {package} {test}").trim_end().to_owned()
}

fn range(text: &str) -> Option<Range<u64>> {
    match text.split_once("..") {
        Some((from, to)) => Some(number(from)?..number(to)?),
        None => number(text).map(|count| 0..count),
    }
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits.get(..16).unwrap_or(digits), 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_decimal_or_the_head_of_a_hash() {
        assert_eq!(number("17"), Some(17));
        assert_eq!(number("0x11"), Some(17));
        assert_eq!(number("0x00000000000000ffdeadbeef"), Some(255));
        assert_eq!(number("eleven"), None);
    }

    #[test]
    fn seeds_are_a_count_or_a_piece_of_them() {
        assert_eq!(range("3"), Some(0..3));
        assert_eq!(range("500..1000"), Some(500..1000));
        assert_eq!(range("500.."), None);
    }
}
