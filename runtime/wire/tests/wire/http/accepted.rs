//! Requests that are taken though they look odd, and what is found in them.

use super::session::shown_request;
use wire::Outcome;
use wire::http::{Limits, RequestReader, Target};

/// What the requests in `input`, which have no bodies, are, each as a line.
fn check(input: &[u8], expected: &[&str]) {
    for step in [input.len(), 1] {
        let (mut reader, mut consumed, mut told) = (RequestReader::new(Limits::default()), 0, Vec::new());
        for end in (0..input.len()).step_by(step).chain([input.len()]) {
            while consumed < end {
                match reader.next(&input[consumed..end]) {
                    Outcome::Done { value, used } => {
                        told.push(shown_request(&value));
                        consumed += used;
                    }
                    Outcome::Partial { .. } => break,
                    Outcome::Fault(fault) => panic!("{}: {fault}", input.escape_ascii()),
                }
            }
        }
        assert_eq!(told, expected, "{} by {step}", input.escape_ascii());
        assert_eq!(consumed, input.len());
    }
}

#[test]
fn an_ordinary_request_is_found_out() {
    check(
        b"GET /a/b?c=d HTTP/1.1\r\nHost: x:80\r\nAccept: */*\r\n\r\n",
        &[
            "GET /a/b?c=d HTTP/1.1 host=x:80 None path=/a/b query=Some(\"c=d\") persists [Host=x:80;Accept=*/*;]",
        ],
    );
}

#[test]
fn empty_lines_before_a_request_are_skipped() {
    let told = "GET / HTTP/1.1 host=x None path=/ query=None persists [Host=x;]";
    check(b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", &[told]);
    check(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", &[told, told]);
}

#[test]
fn white_space_around_a_value_is_not_the_value() {
    check(
        b"GET / HTTP/1.1\r\nhOST:x\r\nA: \t b \t \r\nB:\r\nC:  \r\nD: a  b\r\n\r\n",
        &["GET / HTTP/1.1 host=x None path=/ query=None persists [hOST=x;A=b;B=;C=;D=a  b;]"],
    );
}

#[test]
fn values_may_hold_bytes_over_ascii_and_tabs() {
    check(
        b"GET / HTTP/1.1\r\nHost: x\r\nA: \xff\xc3\xa4\tb\r\n\r\n",
        &["GET / HTTP/1.1 host=x None path=/ query=None persists [Host=x;A=\\xff\\xc3\\xa4\\tb;]"],
    );
}

#[test]
fn hosts_may_be_empty_and_odd() {
    for host in ["", "x", "a_b", "a.b.", "1.2.3.4:5", "[::1]", "[fe80::1]:80", "x:", "a%41", "a;b=c", ":80"] {
        let input = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let told = format!("GET / HTTP/1.1 host={host} None path=/ query=None persists [Host={host};]");
        check(input.as_bytes(), &[&told]);
    }
}

#[test]
fn targets_have_four_forms() {
    check(
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        &["OPTIONS * HTTP/1.1 host=x None path=* query=None persists [Host=x;]"],
    );
    check(
        b"CONNECT y:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        &["CONNECT y:443 HTTP/1.1 host=y:443 None path= query=None persists [Host=x;]"],
    );
    check(
        b"GET HTTP://y:1/a?b?c HTTP/1.1\r\nHost: x\r\n\r\n",
        &["GET HTTP://y:1/a?b?c HTTP/1.1 host=y:1 None path=/a query=Some(\"b?c\") persists [Host=x;]"],
    );
    check(
        b"GET https://y?a HTTP/1.1\r\nHost: x\r\n\r\n",
        &["GET https://y?a HTTP/1.1 host=y None path=/ query=Some(\"a\") persists [Host=x;]"],
    );
    check(
        b"GET //a//b?? HTTP/1.1\r\nHost: x\r\n\r\n",
        &["GET //a//b?? HTTP/1.1 host=x None path=//a//b query=Some(\"?\") persists [Host=x;]"],
    );
}

#[test]
fn a_target_is_told_by_its_form() {
    let mut reader = RequestReader::new(Limits::default());
    let mut form = |target: &'static str, method: &str| {
        let input = format!("{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n");
        match reader.next(input.as_bytes()) {
            Outcome::Done { value, .. } => format!("{:?}", value.form()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(form("*", "OPTIONS"), format!("{:?}", Target::Asterisk));
    assert_eq!(form("/*", "OPTIONS"), format!("{:?}", Target::Origin { path: "/*", query: None }));
    assert_eq!(form("a:1", "CONNECT"), format!("{:?}", Target::Authority("a:1")));
    let absolute = Target::Absolute { scheme: "http", authority: "a", path: "/", query: Some("") };
    assert_eq!(form("http://a/?", "GET"), format!("{absolute:?}"));
}

#[test]
fn connections_persist_by_version_and_word() {
    let check_words = |version: &str, connection: &str, told: &str| {
        let input = format!("GET / HTTP/{version}\r\nHost: x\r\nConnection: {connection}\r\n\r\n");
        let connection = connection.as_bytes().escape_ascii();
        let told = format!(
            "GET / HTTP/{version} host=x None path=/ query=None {told} [Host=x;Connection={connection};]"
        );
        check(input.as_bytes(), &[&told]);
    };
    check_words("1.1", "keep-alive", "persists");
    check_words("1.1", "CLOSE", "ends");
    check_words("1.1", "keep-alive, close", "ends");
    check_words("1.1", ",, , other", "persists");
    check_words("1.1", "closed", "persists");
    check_words("1.0", "keep-alive", "persists");
    check_words("1.0", "x ,\tKeep-Alive", "persists");
    check_words("1.0", "keep-alive, close", "ends");
    check_words("1.0", "close", "ends");
    check_words("1.0", "other", "ends");
    check(b"GET / HTTP/1.0\r\n\r\n", &["GET / HTTP/1.0 host=- None path=/ query=None ends []"]);
}

#[test]
fn an_upgrade_is_offered_only_if_connection_says_so() {
    let offered = |version: &str, connection: &str| {
        let input =
            format!("GET / HTTP/{version}\r\nHost: x\r\nUpgrade: a/1, b\r\nConnection: {connection}\r\n\r\n");
        match RequestReader::new(Limits::default()).next(input.as_bytes()) {
            Outcome::Done { value, .. } => value.upgrade.map(<[u8]>::to_vec),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(offered("1.1", "Upgrade"), Some(b"a/1, b".to_vec()));
    assert_eq!(offered("1.1", "keep-alive, upgrade"), Some(b"a/1, b".to_vec()));
    assert_eq!(offered("1.1", "keep-alive"), None);
    assert_eq!(offered("1.0", "upgrade"), None);
}

#[test]
fn lengths_and_codings_are_taken_in_one_form() {
    let framing = |fields: &str| {
        let input = format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
        match RequestReader::new(Limits::default()).next(input.as_bytes()) {
            Outcome::Done { value, .. } => format!("{:?}", value.framing),
            other => format!("{other:?}"),
        }
    };
    assert_eq!(framing("A: b"), "None");
    assert_eq!(framing("Content-Length: 0"), "None");
    assert_eq!(framing("content-length:\t12 "), "Length(12)");
    assert_eq!(framing("Content-Length: 00000000000000000000000012"), "Length(12)");
    assert_eq!(framing("Content-Length: 9223372036854775807"), "Length(9223372036854775807)");
    assert_eq!(framing("Transfer-Encoding: chunked"), "Chunked");
    assert_eq!(framing("TRANSFER-ENCODING: \t CHUNKED \t"), "Chunked");
    assert_eq!(framing("Content_Length: 5\r\nTransfer_Encoding: chunked"), "None");
}

#[test]
fn an_expectation_is_of_one_kind_and_not_in_the_old_version() {
    let expects = |version: &str, expect: &str| {
        let input = format!("POST / HTTP/{version}\r\nHost: x\r\nExpect: {expect}\r\n\r\n");
        match RequestReader::new(Limits::default()).next(input.as_bytes()) {
            Outcome::Done { value, .. } => value.expects_continue,
            other => panic!("{other:?}"),
        }
    };
    assert!(expects("1.1", "100-continue") && expects("1.1", "100-CONTINUE") && !expects("1.1", ""));
    assert!(!expects("1.0", "100-continue") && !expects("1.0", "anything"));
}
