//! Any bytes as a pickle: a walk never panics, never reads what is not there, and every cut of what is whole is a cut.
#![no_main]

use faas::pickle::{Flaw, function, walk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let seen = walk(bytes);
    assert_eq!(function(bytes).is_ok(), seen.is_ok_and(|seen| seen.names));
    if seen.is_ok() {
        for end in (1..bytes.len()).rev().take(64) {
            assert_eq!(walk(&bytes[..end]), Err(Flaw::Cut), "{end} of {}", bytes.len());
        }
        let more = [bytes, b"."].concat();
        assert_eq!(walk(&more), Err(Flaw::Trailing(bytes.len())));
    }
});
