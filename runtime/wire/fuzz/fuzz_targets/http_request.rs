//! HTTP requests with their bodies, in two pieces and whole, must be the same. A head that comes whole and one that was
//! cut go through two readers, so this compares them too.
//!
//! From `runtime/wire`: `mkdir -p fuzz/corpus/http_request; cargo fuzz run http_request --sanitizer none fuzz/corpus/http_request corpus/http_request`
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::Outcome;
use wire::http::{Body, Fault, Framing, Limits, RequestReader, decode, pairs};

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
fn read(bytes: &[u8], cut: usize) -> (Vec<String>, Vec<u8>, Option<Fault>) {
    let (mut reader, mut body) = (RequestReader::new(LIMITS), Body::new(Framing::None, LIMITS));
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
            match reader.next(there) {
                Outcome::Done { value: head, used } => {
                    assert!(used > 0 && used <= there.len());
                    let passed: Vec<_> = head.fields.end_to_end().collect();
                    let decoded = decode(head.path());
                    let queried: Vec<_> = pairs(head.query().unwrap_or("")).collect();
                    heads.push(format!("{:?} {passed:?} {decoded:?} {queried:?}", shown(&head)));
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

fn shown(head: &wire::http::RequestHead<'_>) -> String {
    let fields: Vec<_> = head.fields.iter().collect();
    format!(
        "{:?} {:?} {:?} {fields:?} {:?} {} {} {:?} {:?} {:?}",
        head.method,
        head.form(),
        head.version,
        head.framing,
        head.persistent,
        head.expects_continue,
        head.host,
        head.upgrade,
        head.fields.connection(),
    )
}

fuzz_target!(|bytes: &[u8]| {
    // The bytes themselves say where to cut, so that the corpus stays what was sent.
    let cut = bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>() % (bytes.len() + 1);
    assert_eq!(read(bytes, bytes.len()), read(bytes, cut));
});
