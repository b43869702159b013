//! HTTP requests with their bodies, in two pieces and whole, must be the same. A head that comes whole and one that was
//! cut go through two readers, so this compares them too.
//!
//! From `runtime/wire`: `mkdir -p fuzz/corpus/http_request; cargo fuzz run http_request --sanitizer none fuzz/corpus/http_request corpus/http_request`
#![no_main]

#[path = "../src/session.rs"]
mod session;

use libfuzzer_sys::fuzz_target;
use session::{LIMITS, Told, cut};
use wire::http::{RequestHead, RequestReader, decode, pairs};

fn read(bytes: &[u8], cut: usize) -> Told {
    let mut reader = RequestReader::new(LIMITS);
    session::read(bytes, cut, |bytes| reader.next(bytes).map(|head| (shown(&head), head.framing)))
}

/// All that a reader found, and what the small readers make of it.
fn shown(head: &RequestHead<'_>) -> String {
    let passed: Vec<_> = head.fields.end_to_end().collect();
    let queried: Vec<_> = pairs(head.query().unwrap_or("")).collect();
    format!("{head:?} {:?} {passed:?} {:?} {queried:?}", head.form(), decode(head.path()))
}

fuzz_target!(|bytes: &[u8]| assert_eq!(read(bytes, bytes.len()), read(bytes, cut(bytes))));
