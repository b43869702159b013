//! Requests in two pieces and whole must be the same.
//!
//! From `runtime/wire`: `mkdir -p fuzz/corpus/request; cargo fuzz run request --sanitizer none fuzz/corpus/request corpus/request`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::Outcome;
use wire::resp::{Limits, Reader};

fn read(bytes: &[u8], cut: usize) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let limits = Limits { inline_max: 512, bulk_max: 4096, arguments_max: 1024, ..Limits::default() };
    let (mut reader, mut at, mut all) = (Reader::new(limits), 0, Vec::new());
    for end in [cut, bytes.len()] {
        while at < end {
            match reader.next(&bytes[at..end]) {
                Outcome::Done { value, used } => {
                    assert!(used > 0 && used <= end - at);
                    all.push(value.arguments(0).map(<[u8]>::to_vec).collect());
                    at += used;
                }
                Outcome::Partial { need } => {
                    assert!(need > end - at);
                    break;
                }
                Outcome::Fault(fault) => return (all, Some(fault.to_string())),
            }
        }
    }
    (all, None)
}

fuzz_target!(|bytes: &[u8]| {
    // The bytes themselves say where to cut, so that the corpus stays what was sent.
    let cut = bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>() % (bytes.len() + 1);
    assert_eq!(read(bytes, bytes.len()), read(bytes, cut));
});
