//! What a Redis server answers, as its client reads it.

use crate::corpus::{files, tree};
use wire::Outcome;
use wire::resp::{Replies, ReplyFault, ReplyLimits};

fn check(input: &str, expected: &str) {
    match Replies::new(ReplyLimits::default()).next(input.as_bytes()) {
        Outcome::Done { value, used } => {
            assert_eq!((tree(&value).as_str(), used), (expected, input.len()), "{input:?}")
        }
        other => panic!("{input:?} gave {other:?}"),
    }
}

#[test]
fn every_type_of_both_versions_is_read() {
    check("+OK\r\n", "+OK");
    check("-ERR no\r\n", "-ERR no");
    check(":-42\r\n", ":-42");
    check("$3\r\na\r\n\r\n", "$a\\r\\n");
    check("$-1\r\n", "null");
    check("*-1\r\n", "null");
    check("_\r\n", "null");
    check("#t\r\n", "#true");
    check("#f\r\n", "#false");
    check(",1.5e3\r\n", ",1500");
    check(",-inf\r\n", ",-inf");
    check("(12345678901234567890123\r\n", "(12345678901234567890123");
    check("!5\r\nERR x\r\n", "-ERR x");
    check("=7\r\ntxt:abc\r\n", "=txt:abc");
    check("*0\r\n", "array[]");
    check("*3\r\n:1\r\n*2\r\n:2\r\n*0\r\n$-1\r\n", "array[:1 array[:2 array[]] null]");
    check("~2\r\n+a\r\n+b\r\n", "set[+a +b]");
    check("%1\r\n+a\r\n*1\r\n:1\r\n", "map[+a array[:1]]");
    check(">2\r\n+message\r\n%0\r\n", "push[+message map[]]");
}

#[test]
fn attributes_are_dropped_wherever_they_stand() {
    check("|1\r\n+a\r\n+b\r\n:5\r\n", ":5");
    check("|0\r\n:5\r\n", ":5");
    check("|1\r\n+a\r\n%1\r\n+x\r\n+y\r\n*1\r\n:1\r\n", "array[:1]");
    check("*2\r\n|1\r\n+a\r\n*1\r\n:9\r\n:1\r\n:2\r\n", "array[:1 :2]");
    check("|1\r\n|1\r\n+m\r\n+m\r\n+a\r\n+b\r\n+x\r\n", "+x");
}

#[test]
fn what_no_server_says_is_a_fault() {
    let limits = ReplyLimits { line_max: 20, bulk_max: 100, elements_max: 10, depth_max: 3, reply_max: 200 };
    let check = |input: &str, expected: ReplyFault| {
        let outcome = Replies::new(limits).next(input.as_bytes());
        assert_eq!(outcome, Outcome::Fault(expected), "{input:?}");
    };
    check("x", ReplyFault::Kind(b'x'));
    check("*1\r\nGET", ReplyFault::Kind(b'G'));
    check(":\r\n", ReplyFault::Line(b':'));
    check(":+1\r\n", ReplyFault::Line(b':'));
    check("_x\r\n", ReplyFault::Line(b'_'));
    check("#\r\n", ReplyFault::Line(b'#'));
    check("(1x\r\n", ReplyFault::Line(b'('));
    check("(-\r\n", ReplyFault::Line(b'('));
    check("=4\r\ntxt-\r\n", ReplyFault::Line(b'='));
    check("$?\r\n", ReplyFault::Line(b'$'));
    check("+a\rb", ReplyFault::End);
    check("$1\r\nabc", ReplyFault::End);
    check("$-2\r\n", ReplyFault::BulkLength);
    check("!-1\r\n", ReplyFault::BulkLength);
    check("$101\r\n", ReplyFault::BulkLength);
    check("*-2\r\n", ReplyFault::Count);
    check("%-1\r\n", ReplyFault::Count);
    check("*11\r\n", ReplyFault::Count);
    check("%6\r\n", ReplyFault::Count);
    check("%9223372036854775807\r\n", ReplyFault::Count);
    check(&"*1\r\n".repeat(4), ReplyFault::TooDeep);
    check(&format!("+{}", "x".repeat(21)), ReplyFault::LineTooLong);
    check(&format!("*10\r\n{}", "+0123456789012345678\r\n".repeat(10)), ReplyFault::TooBig);
}

#[test]
fn one_reader_reads_many_replies() {
    // All of the corpus in a row through one reader: nothing of a reply may leak into the next.
    let mut all = Vec::new();
    let mut expected = Vec::new();
    for (_, bytes) in files("reply") {
        let mut at = 0;
        while at < bytes.len() {
            let Outcome::Done { value, used } = Replies::new(ReplyLimits::default()).next(&bytes[at..])
            else {
                panic!("a whole reply")
            };
            expected.push(tree(&value));
            at += used;
        }
        all.extend(bytes);
    }
    let (mut reader, mut at, mut read) = (Replies::new(ReplyLimits::default()), 0, Vec::new());
    let mut end = 0;
    while at < all.len() {
        match reader.next(&all[at..end]) {
            Outcome::Done { value, used } => {
                read.push(tree(&value));
                at += used;
            }
            Outcome::Partial { .. } => end += 1,
            Outcome::Fault(fault) => panic!("{fault}"),
        }
    }
    assert_eq!(read, expected);
}

#[test]
fn a_long_list_in_small_pieces_is_read_once() {
    const COUNT: usize = 1_000_000;
    let mut input = format!("*{COUNT}\r\n").into_bytes();
    (0..COUNT).for_each(|_| input.extend_from_slice(b"$1\r\nx\r\n"));
    let mut reader = Replies::new(ReplyLimits::default());
    for end in (0..input.len()).step_by(11) {
        assert!(matches!(reader.next(&input[..end]), Outcome::Partial { .. }));
    }
    assert!(matches!(reader.next(&input), Outcome::Done { used, .. } if used == input.len()));
}
