//! The framed text protocol of the dht.

use wire::Outcome;
use wire::frame::{self, Fault, Reply, Request};

fn check(text: &str, expected: Request<'_>) {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, &[text.as_bytes()]);
    let outcome = frame::read_request(&bytes, 1024);
    assert_eq!(outcome, Outcome::Done { value: expected, used: text.len() + frame::HEADER }, "{text:?}");
}

#[test]
fn texts_ask_what_the_contract_says() {
    check("put k v", Request::Put { key: b"k", value: b"v" });
    check("put k a value  with spaces ", Request::Put { key: b"k", value: b"a value  with spaces " });
    check("put k ", Request::Put { key: b"k", value: b"" });
    check("put k", Request::Misshapen("put needs a value"));
    check("put", Request::Misshapen("put needs a key and a value"));
    check("put  v", Request::Misshapen("put needs a key and a value"));
    check("get k", Request::Get { key: b"k" });
    check("get k and more", Request::Get { key: b"k" });
    check("rem k", Request::Rem { key: b"k" });
    for text in ["", " ", "get", "get ", "rem", "del k", "GET k", "putk v", "noise"] {
        check(text, Request::Unknown);
    }
}

#[test]
fn replies_say_what_their_text_can_tell() {
    let check = |text: &str, reply: Reply<'_>| {
        let mut bytes = Vec::new();
        frame::write_reply(&mut bytes, reply);
        assert_eq!(&bytes[frame::HEADER..], text.as_bytes());
        assert_eq!(frame::read_reply(&bytes, 1024), Outcome::Done { value: reply, used: bytes.len() });
    };
    check("SUCCESS", Reply::Success);
    check("NONE", Reply::None);
    check("FAILURE no quorum", Reply::Failure(b"no quorum"));
    check("a value", Reply::Value(b"a value"));
    check("", Reply::Value(b""));
    check("SUCCESSFUL", Reply::Value(b"SUCCESSFUL"));
}

#[test]
fn requests_written_are_read_back() {
    for request in [
        Request::Put { key: b"k", value: b" v w" },
        Request::Get { key: b"k" },
        Request::Rem { key: b"k" },
        Request::Unknown,
    ] {
        let mut bytes = Vec::new();
        frame::write_request(&mut bytes, request);
        assert_eq!(frame::read_request(&bytes, 1024), Outcome::Done { value: request, used: bytes.len() });
    }
}

#[test]
fn only_a_length_over_the_limit_is_a_fault() {
    assert_eq!(frame::read(b"\0\0\0\x08", 8), Outcome::Partial { need: 12 });
    assert_eq!(frame::read(b"\0\0\0\x09", 8), Outcome::Fault(Fault { length: 9, text_max: 8 }));
    assert_eq!(frame::read(b"\0\0\0", 8), Outcome::Partial { need: 4 });
    let longest = frame::text_max(2, 3);
    let mut bytes = Vec::new();
    frame::write_request(&mut bytes, Request::Put { key: b"kk", value: b"vvv" });
    assert!(matches!(frame::read_request(&bytes, longest), Outcome::Done { .. }));
}
