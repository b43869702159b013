//! HTTP responses with their bodies, in two pieces and whole, must be the same, whatever was asked.
//!
//! From `runtime/wire`: `mkdir -p fuzz/corpus/http_response; cargo fuzz run http_response --sanitizer none fuzz/corpus/http_response corpus/http_response`
#![no_main]

#[path = "../src/session.rs"]
mod session;

use libfuzzer_sys::fuzz_target;
use session::{LIMITS, Told, cut};
use wire::http::{Asked, ResponseReader};

fn read(bytes: &[u8], asked: Asked, cut: usize) -> Told {
    let mut reader = ResponseReader::new(LIMITS);
    session::read(bytes, cut, |bytes| {
        reader.next(bytes, asked).map(|head| (format!("{head:?}"), head.framing))
    })
}

fuzz_target!(|bytes: &[u8]| {
    for asked in [Asked::Plain, Asked::Head, Asked::Connect, Asked::Upgrade] {
        assert_eq!(read(bytes, asked, bytes.len()), read(bytes, asked, cut(bytes)));
    }
});
