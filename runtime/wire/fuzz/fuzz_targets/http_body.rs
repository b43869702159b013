//! A chunked body cut at every place must be what it is whole; and what is found in it, written again, must be found
//! again.
//!
//! From `runtime/wire`: `mkdir -p fuzz/corpus/http_body; cargo fuzz run http_body --sanitizer none fuzz/corpus/http_body corpus/http_body`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::http::{Body, Fault, Framing, Limits, chunk};

/// What a body came to.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    payload: Vec<u8>,
    trailers: Vec<u8>,
    used: usize,
    end: Result<(), Fault>,
}

fn read(bytes: &[u8], ends: &[usize]) -> Told {
    let mut body =
        Body::new(Framing::Chunked, Limits { chunk_line_max: 40, body_max: 1 << 40, ..Limits::default() });
    let mut told = Told { payload: Vec::new(), trailers: Vec::new(), used: 0, end: Ok(()) };
    for end in ends.iter().copied().chain([bytes.len()]) {
        while told.used < end && !body.is_done() {
            let there = &bytes[told.used..end];
            match body.next(there) {
                Ok(piece) => {
                    assert!(piece.used > 0);
                    told.payload.extend_from_slice(&there[piece.payload]);
                    told.trailers.extend_from_slice(&there[piece.trailers]);
                    told.used += piece.used;
                }
                // What a piece held before its fault is not told, so it is not compared.
                Err(fault) => {
                    let (payload, trailers) = Default::default();
                    return Told { payload, trailers, used: 0, end: Err(fault) };
                }
            }
        }
    }
    told.end = body.end();
    told
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = &bytes[..bytes.len().min(300)];
    let whole = read(bytes, &[]);
    for cut in 0..bytes.len() {
        assert_eq!(read(bytes, &[cut]), whole, "cut at {cut}");
    }
    assert_eq!(read(bytes, &(0..bytes.len()).collect::<Vec<_>>()), whole);
    if whole.end == Ok(()) {
        let mut again = Vec::new();
        chunk::write(&mut again, &whole.payload);
        again.extend_from_slice(b"0\r\n");
        again.extend_from_slice(&whole.trailers);
        again.extend_from_slice(b"\r\n");
        let found = read(&again, &[]);
        assert_eq!((found.payload, found.trailers, found.end), (whole.payload, whole.trailers, Ok(())));
    }
});
