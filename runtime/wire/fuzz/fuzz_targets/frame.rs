//! Frames in two pieces and whole must be the same.
//!
//! From `runtime/wire`: `mkdir -p fuzz/corpus/frame; cargo fuzz run frame --sanitizer none fuzz/corpus/frame corpus/frame`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::Outcome;
use wire::frame::{self, Request};

const TEXT_MAX: usize = 4096;

fn read(bytes: &[u8], cut: usize) -> (Vec<String>, bool) {
    let (mut at, mut all) = (0, Vec::new());
    for end in [cut, bytes.len()] {
        while at < end {
            match frame::read_request(&bytes[at..end], TEXT_MAX) {
                Outcome::Done { value, used } => {
                    assert!(used > 0 && used <= end - at);
                    if let Request::Put { value, .. } = value {
                        assert_eq!(&bytes[at + used - value.len()..at + used], value);
                    }
                    all.push(format!("{value:?}"));
                    at += used;
                }
                Outcome::Partial { need } => {
                    assert!(need > end - at && need <= TEXT_MAX + frame::HEADER);
                    break;
                }
                Outcome::Fault(fault) => {
                    assert!(fault.length as usize > TEXT_MAX);
                    return (all, true);
                }
            }
        }
    }
    (all, false)
}

fuzz_target!(|bytes: &[u8]| {
    // The bytes themselves say where to cut, so that the corpus stays what was sent.
    let cut = bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>() % (bytes.len() + 1);
    assert_eq!(read(bytes, bytes.len()), read(bytes, cut));
});
