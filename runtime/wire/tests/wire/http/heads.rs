//! Responses and what was asked, fields that are passed on, and the small readers of targets and values.

use super::session::shown_response;
use std::borrow::Cow;
use wire::Outcome;
use wire::http::{
    Asked, BadEscape, Fault, Limits, Method, RequestReader, ResponseReader, date, decode, has_token, is_host,
    pairs, reason, tokens,
};

fn check(asked: Asked, input: &str, expected: &str) {
    for cut in [input.len(), 5, input.len() - 1] {
        let mut reader = ResponseReader::new(Limits::default());
        let mut outcome = reader.next(&input.as_bytes()[..cut], asked);
        if let Outcome::Partial { need } = outcome {
            assert!(need > cut && reader.has_begun());
            outcome = reader.next(input.as_bytes(), asked);
        }
        let Outcome::Done { value, used } = outcome else { panic!("{input:?}: {outcome:?}") };
        assert_eq!((shown_response(&value).as_str(), used), (expected, input.len()), "{input:?}");
    }
}

#[test]
fn where_a_response_ends_depends_on_what_was_asked() {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    check(Asked::Plain, length, "HTTP/1.1 200 OK Length(5) persists length=5 [Content-Length=5;]");
    check(Asked::Head, length, "HTTP/1.1 200 OK None persists length=5 [Content-Length=5;]");
    check(Asked::Connect, length, "HTTP/1.1 200 OK Tunnel ends length=5 [Content-Length=5;]");
    let refused = "HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\n";
    check(Asked::Connect, refused, "HTTP/1.1 403 No Length(5) persists length=5 [Content-Length=5;]");
    let nothing = "HTTP/1.1 200 OK\r\n\r\n";
    check(Asked::Plain, nothing, "HTTP/1.1 200 OK UntilClose ends []");
    check(Asked::Head, nothing, "HTTP/1.1 200 OK None persists []");
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(Asked::Plain, chunked, "HTTP/1.1 200 OK Chunked persists [Transfer-Encoding=chunked;]");
    check(Asked::Head, chunked, "HTTP/1.1 200 OK None persists [Transfer-Encoding=chunked;]");
}

#[test]
fn some_responses_never_have_a_body() {
    for asked in [Asked::Plain, Asked::Upgrade, Asked::Head] {
        check(asked, "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue None persists interim []");
        check(asked, "HTTP/1.1 204 \r\n\r\n", "HTTP/1.1 204  None persists []");
        let unchanged = "HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n";
        check(asked, unchanged, "HTTP/1.1 304  None persists length=9 [Content-Length=9;]");
    }
    // One that announces a body all the same may be followed by it: the connection is not used again.
    let announced = "HTTP/1.1 204 \r\nContent-Length: 9\r\n\r\n";
    check(Asked::Plain, announced, "HTTP/1.1 204  None ends length=9 [Content-Length=9;]");
    let zero = "HTTP/1.1 204 \r\nContent-Length: 0\r\n\r\n";
    check(Asked::Plain, zero, "HTTP/1.1 204  None persists length=0 [Content-Length=0;]");
    let chunked = "HTTP/1.1 103 \r\nTransfer-Encoding: chunked\r\n\r\n";
    check(Asked::Plain, chunked, "HTTP/1.1 103  None ends interim [Transfer-Encoding=chunked;]");
}

#[test]
fn a_switch_is_an_answer_to_an_upgrade() {
    let switch = "HTTP/1.1 101 \r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    check(Asked::Upgrade, switch, "HTTP/1.1 101  Tunnel ends [Connection=Upgrade;Upgrade=websocket;]");
}

#[test]
fn the_reason_may_be_missing_or_odd() {
    check(Asked::Head, "HTTP/1.1 200\r\n\r\n", "HTTP/1.1 200  None persists []");
    check(Asked::Head, "HTTP/1.0 600  \t\r\n\r\n", "HTTP/1.0 600  \\t None ends []");
    check(Asked::Head, "HTTP/1.1 999 \u{e9}\r\n\r\n", "HTTP/1.1 999 \\xc3\\xa9 None persists []");
}

#[test]
fn a_length_over_the_bound_is_refused_with_the_head() {
    let limits = Limits { body_max: 4, ..Limits::default() };
    let request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
    let found = RequestReader::new(limits).next(request);
    assert!(matches!(found, Outcome::Fault(Fault::BodyTooLong)), "{found:?}");
    let response = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    let mut reader = ResponseReader::new(limits);
    assert!(matches!(reader.next(response, Asked::Plain), Outcome::Fault(Fault::BodyTooLong)));
    assert!(matches!(reader.next(response, Asked::Head), Outcome::Done { .. }));
    assert_eq!(Fault::BodyTooLong.status(), 413);
}

#[test]
fn fields_of_one_connection_are_not_passed_on() {
    let bytes = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X-Mine, host\r\nKeep-Alive: 5\r\n\
        TE: trailers\r\nx-mine: a\r\nX-Mine-Too: b\r\nUpgrade: c\r\nProxy-Connection: d\r\nContent-Length: 1\r\n\
        Proxy-Authorization: e\r\nCookie: f\r\nConnection: x-other\r\nX-Other: g\r\nTrailer: h\r\n\r\n";
    let Outcome::Done { value: head, .. } = RequestReader::new(Limits::default()).next(bytes) else {
        panic!("a request")
    };
    let names: Vec<String> =
        head.fields.end_to_end().map(|field| field.name().escape_ascii().to_string()).collect();
    assert_eq!(names, ["Host", "X-Mine-Too", "Cookie", "Trailer"]);
    assert!(head.fields.connection().names_others && head.fields.connection().keep_alive);
    assert_eq!(head.fields.all("connection").count(), 2);
    assert_eq!(head.asked(), Asked::Plain, "an Upgrade that Connection does not name is none");
}

#[test]
fn escapes_are_decoded_once_or_refused() {
    let check = |text: &str, expected: Result<&[u8], BadEscape>| {
        assert_eq!(decode(text).as_deref(), expected.as_ref().copied(), "{text}");
    };
    check("abc", Ok(b"abc"));
    check("", Ok(b""));
    check("%41%6a%6Ab+", Ok(b"Ajjb+"));
    check("%2541", Ok(b"%41"));
    check("a%00%ff%2f", Ok(b"a\0\xff/"));
    for bad in ["%", "%4", "a%", "%4g", "%g4", "%+1", "% 1", "%%41"] {
        check(bad, Err(BadEscape));
    }
    assert!(matches!(decode("abc"), Ok(Cow::Borrowed(_))));
}

#[test]
fn queries_and_lists_are_split() {
    let all: Vec<_> = pairs("a=1&b&&c=&=d&e=f=g").collect();
    let expected = [("a", Some("1")), ("b", None), ("c", Some("")), ("", Some("d")), ("e", Some("f=g"))];
    assert_eq!(all, expected);
    let list: Vec<&[u8]> = tokens(b" a,,\tb c ,\t").collect();
    assert_eq!(list, [&b"a"[..], b"b c"]);
    assert!(has_token(b"gzip, Br", "br") && !has_token(b"gzip, brr", "br") && !has_token(b"", ""));
}

#[test]
fn hosts_are_told_from_what_is_none() {
    for host in ["x", "", "x:1", "[::]", "[::ffff:1.2.3.4]:65535", "EXAMPLE.org", "%aB"] {
        assert!(is_host(host.as_bytes()), "{host}");
    }
    for other in [
        "x y", "x,y", "x/", "x?", "x#", "x@y", "[", "[]", "[x]", "[::1]x", "[::1]:x", "x:1:2", "\\", "%",
        "%4", "\"",
    ] {
        assert!(!is_host(other.as_bytes()), "{other}");
    }
}

#[test]
fn methods_say_what_may_be_repeated() {
    let names = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "get"];
    let told: String = names
        .map(|name| {
            let method = Method::of(name);
            assert_eq!(method.as_str(), name);
            match (method.is_safe(), method.is_idempotent()) {
                (true, true) => 's',
                (false, true) => 'i',
                (_, false) => '-',
            }
        })
        .into_iter()
        .collect();
    assert_eq!(told, "ss-ii-ss--");
    assert_eq!(Asked::of(Method::Head, true), Asked::Head);
    assert_eq!(Asked::of(Method::Post, true), Asked::Upgrade);
}

#[test]
fn dates_have_one_form() {
    let check = |seconds: u64, expected: &str| {
        assert_eq!(std::str::from_utf8(&date(seconds)), Ok(expected));
    };
    check(0, "Thu, 01 Jan 1970 00:00:00 GMT");
    check(784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT");
    check(951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT");
    check(951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT");
    check(1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT");
    check(4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT");
    check(u64::MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
}

#[test]
fn statuses_we_answer_with_have_a_reason() {
    for fault in Fault::ALL {
        assert!(!reason(fault.status()).is_empty(), "{fault:?}");
        assert!(!fault.sentence().is_empty() && fault.to_string().contains("RFC "), "{fault:?}");
    }
}
