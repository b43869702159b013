//! Names of replicas: those we are given, and those we make up.
//!
//! The first ones are `Server-1`, `Server-2`, …; one that was added without a name is `Server-` with three random digits,
//! a dash and the milliseconds of the time. A name goes into metrics, container names and pages, so it is held to
//! what a host name may be.

use machine::{Stream, WallTime};

/// Bytes of a name: one label of a host name (RFC 1123 section 2.1) may have so many.
pub const NAME_MAX: usize = 63;

/// Characters of a stranger's name that are said back to him.
pub const SHOWN_MAX: usize = 80;

/// The name of the replica that is `number`th at the start, from 1.
#[must_use]
pub fn first(number: usize) -> String {
    format!("Server-{number}")
}

/// A name for one who was added without.
pub fn made_up(wall: WallTime, chance: &mut Stream) -> String {
    format!("Server-{:03}-{:03}", chance.below(1000), wall.millis() % 1000)
}

/// Whether a replica can be called so: letters, digits, `-`, `_` and `.`, the first a letter or a digit.
#[must_use]
pub fn is_hostname(name: &str) -> bool {
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    begins && name.len() <= NAME_MAX && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Chance;

    #[test]
    fn made_up_names_have_three_random_digits_and_the_milliseconds() {
        let mut chance = Chance::new(1).stream("names");
        let name = made_up(WallTime::from_millis(1_700_000_000_042), &mut chance);
        let parts: Vec<&str> = name.split('-').collect();
        assert_eq!((parts[0], parts[1].len(), parts[2]), ("Server", 3, "042"));
    }

    #[test]
    fn names_are_host_names() {
        for good in ["S5", "Server-1", "a.b_c", "9"] {
            assert!(is_hostname(good), "{good}");
        }
        let long = "x".repeat(NAME_MAX + 1);
        for bad in ["", "-a", "a b", "a\"b", "ä", "a/b", &long] {
            assert!(!is_hostname(bad), "{bad}");
        }
    }
}
