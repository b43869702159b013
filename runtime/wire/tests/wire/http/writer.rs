//! Heads and chunks as bytes, and what can not be said.

use wire::Outcome;
use wire::http::{Framing, HeadWriter, Limits, Method, RequestReader, Unsayable, Version, chunk};

#[test]
fn a_request_is_written_as_it_is_read() {
    let mut out = Vec::new();
    let mut head = HeadWriter::request(&mut out, Method::Post, "/a?b").expect("sayable");
    head.known("Host", "x");
    head.field("X-Any", b"caf\xc3\xa9").expect("sayable");
    head.framing(Framing::Length(3));
    head.persistence(Version::Http11, false);
    head.end();
    let expected =
        "POST /a?b HTTP/1.1\r\nHost: x\r\nX-Any: café\r\nContent-Length: 3\r\nConnection: close\r\n\r\n";
    assert_eq!(String::from_utf8(out).as_deref(), Ok(expected));
}

#[test]
fn a_response_is_written_with_its_reason_or_the_usual_one() {
    let check = |version, status, reason: &str, framing, persists, expected: &str| {
        let mut out = Vec::new();
        let mut head = HeadWriter::response(&mut out, version, status, reason);
        head.framing(framing);
        head.persistence(version, persists);
        head.end();
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
    };
    let (old, new) = (Version::Http10, Version::Http11);
    check(new, 200, "", Framing::Chunked, true, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    check(new, 200, "Fine", Framing::Length(0), true, "HTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n");
    check(new, 404, "", Framing::None, false, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n");
    check(old, 200, "", Framing::UntilClose, false, "HTTP/1.0 200 OK\r\n\r\n");
    check(
        old,
        299,
        "",
        Framing::Length(1),
        true,
        "HTTP/1.0 299 \r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n",
    );
}

#[test]
fn a_value_can_not_become_a_line() {
    let mut out = Vec::new();
    let mut head = HeadWriter::response(&mut out, Version::Http11, 200, "");
    for value in ["a\r\nSet-Cookie: b", "a\n", "\r", "a\0", "\x7f", "\x1b[0m", " a", "a ", "\ta", "a\t"] {
        assert_eq!(head.field("X", value), Err(Unsayable::Value), "{value:?}");
    }
    for name in ["", "a b", "a:", "a\r\nb", "\u{e9}", "a\0", "(a)"] {
        assert_eq!(head.field(name, "a"), Err(Unsayable::Name), "{name:?}");
    }
    for name in ["Content-Length", "TRANSFER-ENCODING"] {
        assert_eq!(head.field(name, "1"), Err(Unsayable::Framing), "{name}");
    }
    head.end();
    assert_eq!(out, b"HTTP/1.1 200 OK\r\n\r\n", "nothing of it was written");
}

#[test]
fn a_target_can_not_become_a_line() {
    let mut out = Vec::new();
    for target in ["", "/ HTTP/1.1\r\nA: b", "/a b", "/a\n", "/#", "/\u{e9}", "/\x7f"] {
        let written = HeadWriter::request(&mut out, Method::Get, target).map(|_| ());
        assert_eq!(written, Err(Unsayable::Value), "{target:?}");
    }
    let written = HeadWriter::request(&mut out, Method::of("GET / HTTP/1.1\r\n"), "/").map(|_| ());
    assert_eq!(written, Err(Unsayable::Name));
    assert!(out.is_empty());
}

#[test]
#[should_panic(expected = "a message's framing is said once")]
fn framing_can_not_be_said_twice() {
    let mut out = Vec::new();
    let mut head = HeadWriter::response(&mut out, Version::Http11, 200, "");
    head.framing(Framing::Length(1));
    head.framing(Framing::Chunked);
}

#[test]
fn a_field_that_was_read_is_passed_on_but_for_framing() {
    let bytes = b"GET / HTTP/1.1\r\nHost: x\r\nA:  \xff b \r\nContent-Length: 0\r\n\r\n";
    let Outcome::Done { value: read, .. } = RequestReader::new(Limits::default()).next(bytes) else {
        panic!("a request")
    };
    let mut out = Vec::new();
    let mut head = HeadWriter::request(&mut out, read.method, read.target).expect("sayable");
    read.fields.iter().for_each(|field| head.pass(field));
    head.end();
    assert_eq!(out, b"GET / HTTP/1.1\r\nHost: x\r\nA: \xff b\r\n\r\n");
}

#[test]
fn chunks_are_written_around_their_payload() {
    for (length, expected) in [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (0xabcdef, "abcdef\r\n")] {
        assert_eq!(chunk::head(length).as_bytes(), expected.as_bytes());
    }
    assert_eq!(chunk::head(usize::MAX).as_bytes(), b"ffffffffffffffff\r\n");
    let mut out = Vec::new();
    chunk::write(&mut out, b"hello");
    chunk::write(&mut out, b"");
    out.extend_from_slice(chunk::LAST);
    assert_eq!(out, b"5\r\nhello\r\n0\r\n\r\n");
}

#[test]
fn trailers_say_nothing_of_framing() {
    let mut out = Vec::new();
    assert_eq!(chunk::write_last(&mut out, &[("A", b"b"), ("C", b"")]), Ok(()));
    assert_eq!(out, b"0\r\nA: b\r\nC: \r\n\r\n");
    for (name, value, expected) in [
        ("Content-Length", "1", Unsayable::Framing),
        ("transfer-encoding", "chunked", Unsayable::Framing),
        ("Host", "x", Unsayable::Framing),
        ("A", "b\r\n", Unsayable::Value),
        ("A b", "b", Unsayable::Name),
    ] {
        let mut out = Vec::new();
        assert_eq!(chunk::write_last(&mut out, &[("X", b"y"), (name, value.as_bytes())]), Err(expected));
        assert!(out.is_empty(), "{name}");
    }
}
