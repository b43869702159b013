//! What a Redis client asks, and the words it gets when it can not be read.

use crate::corpus::shown;
use wire::resp::{Fault, Limits, Reader, write_request};
use wire::{BLOB_MIN, Outcome};

/// What the requests in `input` are (arguments by `|`), then `…need` if it ends within one, or the fault's reply.
fn read(limits: Limits, input: &[u8]) -> Vec<String> {
    let (mut reader, mut at, mut all) = (Reader::new(limits), 0, Vec::new());
    while at < input.len() {
        match reader.next(&input[at..]) {
            Outcome::Done { value, used } => {
                all.push(shown(&value));
                at += used;
            }
            Outcome::Partial { need } => {
                all.push(format!("…{need}"));
                break;
            }
            Outcome::Fault(fault) => {
                let mut words = Vec::new();
                fault.write(&mut words);
                all.push(words.escape_ascii().to_string());
                break;
            }
        }
    }
    all
}

fn check(input: &str, expected: &[&str]) {
    assert_eq!(read(Limits::default(), input.as_bytes()), expected, "{input:?}");
}

#[test]
fn arrays_of_bulks_are_requests() {
    check("*1\r\n$4\r\nPING\r\n", &["PING"]);
    check("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n", &["GET|k", "PING"]);
    check("*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n", &["|\\r\\n"]);
    check("*0\r\n*-1\r\n*-9\r\n\r\n\n*1\r\n$1\r\nx\r\n", &["", "", "", "", "", "x"]);
}

#[test]
fn a_partial_request_says_what_it_needs() {
    check("*", &["…2"]);
    check("*2", &["…3"]);
    check("*2\r", &["…4"]);
    check("*2\r\n", &["…5"]);
    check("*2\r\n$3\r\nG", &["…13"]);
    check("*2\r\n$3\r\nGET\r\n$1000\r\nabc", &["…1022"]);
    check("get k", &["…6"]);
}

#[test]
fn inline_lines_are_cut_and_unquoted_as_in_redis() {
    check("PING\r\n", &["PING"]);
    check("  get \t key  \n", &["get|key"]);
    check("a\x0bb \x0b c\n", &["a\\x0bb|c"]);
    check("set \"a b\" 'c d'\r\n", &["set|a b|c d"]);
    check(r#"set "\x41\x0a\n\r\t\b\a\q\xzz""#.to_owned().as_str(), &["…31"]);
    check("x \"\\x41\\x0A\\n\\r\\t\\b\\a\\\\\\q\\xzz\"\r\n", &["x|A\\n\\n\\r\\t\\x08\\x07\\\\qxzz"]);
    check("x 'it\\'s\\n' \"\" ''\r\n", &["x|it\\'s\\\\n||"]);
    check("foo\"bar\" x\r\n", &["foobar|x"]);
    check("get \0k\r\n", &["get|\\x00k"]);
}

#[test]
fn faults_are_told_in_the_words_of_redis() {
    let check = |input: &str, words: &str| {
        let expected = format!(
            "-ERR Protocol error: {}\\r\\n",
            words.escape_default().to_string().replace("\\u{ff}", "\\xff")
        );
        assert_eq!(read(Limits::default(), input.as_bytes()).last(), Some(&expected), "{input:?}");
    };
    for count in ["x", "", "+1", "01", "-0", " 1", "1 ", "1048577", "99999999999999999999"] {
        check(&format!("*{count}\r\n"), "invalid multibulk length");
    }
    for length in ["x", "", "-1", "+1", "01", "16777217", "9223372036854775808"] {
        check(&format!("*1\r\n${length}\r\n"), "invalid bulk length");
    }
    check("*1\r\n:1\r\n", "expected '$', got ':'");
    check("*1\r\n\r\n", "expected '$', got ' '");
    check("get \"k\r\n", "unbalanced quotes in request");
    check("get \"k\"x\r\n", "unbalanced quotes in request");
    check("get 'k\r\n", "unbalanced quotes in request");
    check("get \"k\\\r\n", "unbalanced quotes in request");
    let long = "1".repeat(64 * 1024 + 1);
    check(&long, "too big inline request");
    check(&format!("*{long}"), "too big mbulk count string");
    check(&format!("*1\r\n${long}"), "too big bulk count string");
}

#[test]
fn a_stranger_may_send_little() {
    let limits = Limits { stranger: true, ..Limits::default() };
    let check = |input: &str, expected: &str| {
        assert_eq!(read(limits, input.as_bytes()).last().map(String::as_str), Some(expected), "{input:?}");
    };
    check("*10\r\n", "…6");
    check("*11\r\n", "-ERR Protocol error: unauthenticated multibulk length\\r\\n");
    check("*1\r\n$16384\r\n", "…16398");
    check("*1\r\n$16385\r\n", "-ERR Protocol error: unauthenticated bulk length\\r\\n");
    let mut reader = Reader::new(limits);
    reader.set_limits(Limits::default());
    assert_eq!(reader.limits(), Limits::default());
    assert!(matches!(reader.next(b"*11\r\n"), Outcome::Partial { need: 6 }));
}

#[test]
fn a_request_as_a_whole_is_bounded() {
    let limits = Limits { request_max: 100, ..Limits::default() };
    let mut input = Vec::new();
    write_request(&mut input, &[&[b'x'; 80], &[b'y'; 80]]);
    assert_eq!(Fault::RequestTooBig, fault(Reader::new(limits).next(&input)));
    assert_eq!(Fault::RequestTooBig, fault(Reader::new(limits).next(b"*1\r\n$99\r\n")));
}

#[test]
fn short_requests_keep_to_the_limits_too() {
    let limits = Limits { arguments_max: 2, bulk_max: 3, request_max: 25, ..Limits::default() };
    let check = |input: &str, expected: Result<&str, Fault>| {
        let found = match Reader::new(limits).next(input.as_bytes()) {
            Outcome::Done { value, .. } => Ok(shown(&value)),
            other => Err(fault(other)),
        };
        assert_eq!(found.as_deref().map_err(|fault| *fault), expected, "{input:?}");
    };
    check("*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", Ok("GET|k"));
    check("*3\r\n$1\r\nk\r\n$1\r\nk\r\n$1\r\nk\r\n", Err(Fault::MultibulkLength));
    check("*1\r\n$4\r\nPING\r\n", Err(Fault::BulkLength));
    check("*2\r\n$3\r\nSET\r\n$3\r\nabc\r\n", Ok("SET|abc"));
    check("*02\r\n$3\r\nGET\r\n$1\r\nk\r\n", Err(Fault::MultibulkLength));
    let limits = Limits { request_max: 21, ..limits };
    let outcome = Reader::new(limits).next(b"*2\r\n$3\r\nSET\r\n$3\r\nabc\r\n");
    assert_eq!(fault(outcome), Fault::RequestTooBig);
}

fn fault<T: std::fmt::Debug>(outcome: Outcome<T, Fault>) -> Fault {
    match outcome {
        Outcome::Fault(fault) => fault,
        other => panic!("no fault but {other:?}"),
    }
}

#[test]
fn a_long_last_argument_can_be_taken_uncopied() {
    let check = |arguments: &[&[u8]], pending: bool| {
        let mut input = Vec::new();
        write_request(&mut input, arguments);
        let mut reader = Reader::new(Limits::default());
        let cut = input.len() - 3;
        let Outcome::Partial { need } = reader.next(&input[..cut]) else { panic!("a cut request") };
        assert_eq!((need, reader.blob_pending()), (input.len(), pending));
        let Outcome::Done { value, used } = reader.next(&input) else { panic!("a whole request") };
        assert_eq!(used, input.len());
        assert_eq!(value.blob().map(|range| &input[range]), arguments.last().copied().filter(|_| pending));
        assert!(!reader.blob_pending());
    };
    check(&[b"SET", b"k", &[b'v'; BLOB_MIN]], true);
    check(&[b"SET", b"k", &[b'v'; BLOB_MIN - 1]], false);
    // A long argument that is not the last gets no buffer of its own, even when it is what is missing.
    let mut input = Vec::new();
    write_request(&mut input, &[b"MSET", b"k", &[b'v'; BLOB_MIN], b"l", b"w"]);
    let mut reader = Reader::new(Limits::default());
    assert!(matches!(reader.next(&input[..200]), Outcome::Partial { .. }));
    assert!(!reader.blob_pending());
}

#[test]
fn arguments_are_ranges_of_the_input() {
    let input = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    let Outcome::Done { value, .. } = Reader::new(Limits::default()).next(input) else {
        panic!("a whole request")
    };
    assert_eq!((value.len(), value.is_empty()), (2, false));
    assert_eq!((value.range(0), value.range(1), value.range(2)), (Some(8..11), Some(17..18), None));
    assert_eq!((&value[0], value.get(1), value.get(2)), (&b"GET"[..], Some(&b"k"[..]), None));
    assert_eq!(value.arguments(1).collect::<Vec<_>>(), [b"k"]);
    assert_eq!(value.arguments(9).len(), 0);
}

#[test]
fn a_million_arguments_in_small_pieces_are_read_once() {
    // Were each call to begin anew, these would be 10^11 steps: the test would not end.
    const COUNT: usize = 1_000_000;
    let mut input = format!("*{COUNT}\r\n").into_bytes();
    (0..COUNT).for_each(|_| input.extend_from_slice(b"$1\r\nx\r\n"));
    let mut reader = Reader::new(Limits::default());
    for end in (0..input.len()).step_by(11) {
        assert!(matches!(reader.next(&input[..end]), Outcome::Partial { .. }));
    }
    let Outcome::Done { value, used } = reader.next(&input) else { panic!("a whole request") };
    assert_eq!((value.len(), used), (COUNT, input.len()));
}

#[test]
fn a_long_line_byte_by_byte_is_read_once() {
    const LINE: usize = 4 * 1024 * 1024;
    let limits = Limits { inline_max: LINE, ..Limits::default() };
    for start in ["", "*", "*1\r\n$"] {
        let mut input = start.as_bytes().to_vec();
        input.resize(LINE, b'7');
        let mut reader = Reader::new(limits);
        for end in start.len()..LINE {
            assert!(matches!(reader.next(&input[..end]), Outcome::Partial { .. }), "{start:?} at {end}");
        }
    }
}
