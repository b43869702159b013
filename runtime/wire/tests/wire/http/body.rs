//! Bodies of every framing, in pieces of every size.

use wire::http::{Body, Fault, Framing, Limits};

/// Payload and trailers of a body brought in pieces of `size` bytes, and how many bytes it used.
fn read(
    framing: Framing,
    limits: Limits,
    bytes: &[u8],
    size: usize,
) -> (Vec<u8>, Vec<u8>, usize, Result<(), Fault>) {
    let (mut body, mut used, mut payload, mut trailers) =
        (Body::new(framing, limits), 0, Vec::new(), Vec::new());
    for end in (0..bytes.len()).step_by(size).skip(1).chain([bytes.len()]) {
        while used < end && !body.is_done() {
            let there = &bytes[used..end];
            match body.next(there) {
                Ok(piece) => {
                    assert!(piece.used > 0, "a body uses what it is brought");
                    payload.extend_from_slice(&there[piece.payload]);
                    trailers.extend_from_slice(&there[piece.trailers]);
                    used += piece.used;
                }
                Err(fault) => return (payload, trailers, used, Err(fault)),
            }
        }
    }
    let end = body.end();
    (payload, trailers, used, end)
}

fn check(framing: Framing, bytes: &[u8], payload: &[u8], trailers: &[u8], used: usize) {
    for size in 1..=bytes.len().max(1) {
        let found = read(framing, Limits::default(), bytes, size);
        assert_eq!(found, (payload.to_vec(), trailers.to_vec(), used, Ok(())), "{framing:?} by {size}");
    }
}

#[test]
fn a_body_ends_where_its_framing_says() {
    check(Framing::None, b"next", b"", b"", 0);
    check(Framing::Length(0), b"next", b"", b"", 0);
    check(Framing::Length(3), b"abcnext", b"abc", b"", 3);
    check(Framing::UntilClose, b"all of it", b"all of it", b"", 9);
    check(Framing::Tunnel, b"anything\0", b"anything\0", b"", 9);
    check(Framing::Chunked, b"0\r\n\r\nnext", b"", b"", 5);
    check(Framing::Chunked, b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\nnext", b"abc", b"", 18);
}

#[test]
fn chunks_may_have_extensions_zeros_and_trailers() {
    check(Framing::Chunked, b"0a\r\n0123456789\r\n00\r\n\r\n", b"0123456789", b"", 22);
    check(Framing::Chunked, b"1;a\r\n\r\r\n0 \t;\"x\"\r\n\r\n", b"\r", b"", 19);
    check(Framing::Chunked, b"1;\r\na\r\n0\r\nA: b\r\nC:\r\n\r\nx", b"a", b"A: b\r\nC:\r\n", 22);
    check(Framing::Chunked, b"A\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n0\r\n\r\n", b"", 20);
}

#[test]
fn one_call_finds_one_payload_and_the_framing_around_it() {
    let mut body = Body::new(Framing::Chunked, Limits::default());
    let bytes = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nnext";
    let first = body.next(bytes).expect("well framed");
    assert_eq!((first.payload, first.used), (3..6, 11));
    assert_eq!(body.ahead(), Some(2));
    let second = body.next(&bytes[11..]).expect("well framed");
    assert_eq!((second.payload, second.used, body.is_done()), (0..2, 9, true));
    assert_eq!(body.ahead(), Some(0));
}

#[test]
fn a_body_over_its_bound_is_refused_before_it_comes() {
    let limits = Limits { body_max: 3, ..Limits::default() };
    assert_eq!(read(Framing::Chunked, limits, b"3\r\nabc\r\n0\r\n\r\n", 99).3, Ok(()));
    assert_eq!(read(Framing::Chunked, limits, b"4\r\n", 99).3, Err(Fault::BodyTooLong));
    assert_eq!(read(Framing::Chunked, limits, b"2\r\nab\r\n2\r\n", 1).3, Err(Fault::BodyTooLong));
    assert_eq!(read(Framing::UntilClose, limits, b"abc", 1).3, Ok(()));
    assert_eq!(read(Framing::UntilClose, limits, b"abcd", 1).3, Err(Fault::BodyTooLong));
    assert_eq!(read(Framing::Tunnel, limits, b"abcd", 1).3, Ok(()));
}

#[test]
fn an_end_within_a_body_is_told() {
    let all = b"3;a\r\nabc\r\n0\r\nA: b\r\n\r\n";
    for end in 0..all.len() {
        assert_eq!(
            read(Framing::Chunked, Limits::default(), &all[..end], 99).3,
            Err(Fault::Truncated),
            "{end}"
        );
    }
    assert_eq!(read(Framing::Length(2), Limits::default(), b"a", 99).3, Err(Fault::Truncated));
}

#[test]
fn a_body_of_many_small_chunks_costs_no_more_than_its_bytes() {
    // Counted in calls: one for each chunk, and none that uses nothing.
    let chunks = 10_000;
    let bytes = [b"1\r\na\r\n".repeat(chunks), b"0\r\n\r\n".to_vec()].concat();
    let (mut body, mut used, mut calls) = (Body::new(Framing::Chunked, Limits::default()), 0, 0);
    while !body.is_done() {
        used += body.next(&bytes[used..]).expect("well framed").used;
        calls += 1;
    }
    assert_eq!((used, calls), (bytes.len(), chunks));
}
