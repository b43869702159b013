//! HTTP responses with their bodies, in two pieces and whole, must be the same, whatever was asked.
//!
//! From `runtime/wire`: `mkdir -p fuzz/corpus/http_response; cargo fuzz run http_response --sanitizer none fuzz/corpus/http_response corpus/http_response`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::Outcome;
use wire::http::{Asked, Body, Fault, Framing, Limits, ResponseReader};

/// Narrow limits, so that short inputs reach them.
const LIMITS: Limits = Limits {
    head_max: 512,
    fields_max: 12,
    target_max: 100,
    chunk_line_max: 24,
    extensions_max: 40,
    trailers_max: 64,
    body_max: 1_000,
};

/// Heads and payloads, then the fault.
fn read(bytes: &[u8], asked: Asked, cut: usize) -> (Vec<String>, Vec<u8>, Option<Fault>) {
    let (mut reader, mut body) = (ResponseReader::new(LIMITS), Body::new(Framing::None, LIMITS));
    let (mut at, mut heads, mut payload) = (0, Vec::new(), Vec::new());
    for end in [cut, bytes.len()] {
        while at < end {
            let there = &bytes[at..end];
            if !body.is_done() {
                match body.next(there) {
                    Ok(piece) => {
                        assert!(piece.used > 0 && piece.used <= there.len());
                        payload.extend_from_slice(&there[piece.payload]);
                        payload.extend_from_slice(&there[piece.trailers]);
                        at += piece.used;
                    }
                    // What a piece held before its fault is not told, so it is not compared.
                    Err(fault) => return (heads, Vec::new(), Some(fault)),
                }
                continue;
            }
            match reader.next(there, asked) {
                Outcome::Done { value: head, used } => {
                    assert!(used > 0 && used <= there.len());
                    let fields: Vec<_> = head.fields.iter().collect();
                    let (version, reason) = (head.version, head.reason);
                    let rest = (head.status, head.framing, head.persistent, head.length);
                    heads.push(format!("{version:?} {reason:?} {rest:?} {fields:?}"));
                    body = Body::new(head.framing, LIMITS);
                    at += used;
                }
                Outcome::Partial { need } => {
                    assert!(need > there.len());
                    break;
                }
                Outcome::Fault(fault) => return (heads, payload, Some(fault)),
            }
        }
    }
    (heads, payload, body.end().err())
}

fuzz_target!(|bytes: &[u8]| {
    let cut = bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>() % (bytes.len() + 1);
    for asked in [Asked::Plain, Asked::Head, Asked::Connect, Asked::Upgrade] {
        assert_eq!(read(bytes, asked, bytes.len()), read(bytes, asked, cut));
    }
});
