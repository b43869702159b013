//! Replies in two pieces and whole must be the same.
//!
//! From `runtime/wire`: `mkdir -p fuzz/corpus/reply; cargo fuzz run reply --sanitizer none fuzz/corpus/reply corpus/reply`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::Outcome;
use wire::resp::{Replies, Reply, ReplyLimits};

fn read(bytes: &[u8], cut: usize) -> (Vec<String>, Option<String>) {
    let limits = ReplyLimits { line_max: 512, bulk_max: 4096, elements_max: 1024, ..ReplyLimits::default() };
    let (mut reader, mut at, mut all) = (Replies::new(limits), 0, Vec::new());
    for end in [cut, bytes.len()] {
        while at < end {
            match reader.next(&bytes[at..end]) {
                Outcome::Done { value, used } => {
                    assert!(used > 0 && used <= end - at);
                    walk(&value);
                    all.push(format!("{value:?}"));
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

/// Every list must hold as many elements as it says. As deep as `depth_max` at most.
fn walk(reply: &Reply<'_>) {
    if let Reply::Array(many) | Reply::Set(many) | Reply::Map(many) | Reply::Push(many) = reply {
        assert_eq!(many.iter().inspect(walk).count(), many.len());
    }
}

fuzz_target!(|bytes: &[u8]| {
    // The bytes themselves say where to cut, so that the corpus stays what was sent.
    let cut = bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>() % (bytes.len() + 1);
    assert_eq!(read(bytes, bytes.len()), read(bytes, cut));
});
