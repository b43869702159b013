//! A connection of HTTP messages with their bodies, cut once: what the targets of both roles have in common.

use wire::Outcome;
use wire::http::{Body, Fault, Framing, Limits};

/// Narrow limits, so that short inputs reach them.
pub const LIMITS: Limits = Limits {
    head_max: 512,
    fields_max: 12,
    target_max: 100,
    chunk_line_max: 24,
    extensions_max: 40,
    trailers_max: 64,
    body_max: 1_000,
};

/// Heads, payloads with trailers, and the fault.
pub type Told = (Vec<String>, Vec<u8>, Option<Fault>);

/// What `bytes` are, brought up to `cut` and then whole, to a reader of heads that says what follows each.
pub fn read(
    bytes: &[u8],
    cut: usize,
    mut head: impl FnMut(&[u8]) -> Outcome<(String, Framing), Fault>,
) -> Told {
    let (mut body, mut at) = (Body::new(Framing::None, LIMITS), 0);
    let (mut heads, mut payload) = (Vec::new(), Vec::new());
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
            match head(there) {
                Outcome::Done { value: (told, framing), used } => {
                    assert!(used > 0 && used <= there.len());
                    heads.push(told);
                    body = Body::new(framing, LIMITS);
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

/// Where to cut: the bytes themselves say it, so that the corpus stays what was sent.
pub fn cut(bytes: &[u8]) -> usize {
    bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>() % (bytes.len() + 1)
}
