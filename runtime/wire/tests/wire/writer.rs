//! Replies as both versions say them, and the way back through the client's reader.

use crate::corpus::tree;
use wire::Outcome;
use wire::resp::{Replies, ReplyLimits, Version, Writer};

fn check(write: impl Fn(&mut Writer<'_>), two: &str, three: &str) {
    for (version, expected) in [(Version::Two, two), (Version::Three, three)] {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out, version));
        assert_eq!(String::from_utf8_lossy(&out), expected, "{version:?}");
    }
}

#[test]
fn each_reply_has_its_form_in_each_version() {
    check(|writer| writer.ok(), "+OK\r\n", "+OK\r\n");
    check(|writer| writer.simple("PONG"), "+PONG\r\n", "+PONG\r\n");
    check(|writer| writer.error("ERR a\r\nb"), "-ERR a  b\r\n", "-ERR a  b\r\n");
    check(|writer| writer.bulk(b""), "$0\r\n\r\n", "$0\r\n\r\n");
    check(|writer| writer.bulk(b"0123456789"), "$10\r\n0123456789\r\n", "$10\r\n0123456789\r\n");
    check(|writer| writer.null(), "$-1\r\n", "_\r\n");
    check(|writer| writer.null_array(), "*-1\r\n", "_\r\n");
    check(|writer| writer.array(3), "*3\r\n", "*3\r\n");
    check(|writer| writer.map(7), "*14\r\n", "%7\r\n");
    check(|writer| writer.set(123), "*123\r\n", "~123\r\n");
    check(|writer| writer.push(2), "*2\r\n", ">2\r\n");
    check(|writer| writer.boolean(true), ":1\r\n", "#t\r\n");
    check(|writer| writer.boolean(false), ":0\r\n", "#f\r\n");
    check(|writer| writer.big_number("-12"), "$3\r\n-12\r\n", "(-12\r\n");
    check(|writer| writer.verbatim(*b"txt", b"a\nb"), "$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n");
}

#[test]
fn integers_of_every_length_are_written() {
    for value in [0, 9, 10, 99, 100, 12_345, -1, i64::MAX, i64::MIN] {
        let expected = format!(":{value}\r\n");
        check(|writer| writer.integer(value), &expected, &expected);
    }
}

#[test]
fn doubles_are_short_and_exact() {
    let check = |value: f64, text: &str| {
        check(
            |writer| writer.double(value),
            &format!("${}\r\n{text}\r\n", text.len()),
            &format!(",{text}\r\n"),
        );
    };
    check(0.0, "0");
    check(3.0, "3");
    check(-0.1, "-0.1");
    check(1e300, "1e300");
    check(1.5e-7, "1.5e-7");
    check(f64::INFINITY, "inf");
    check(f64::NEG_INFINITY, "-inf");
    check(f64::NAN, "nan");
}

#[test]
fn a_blob_is_sent_between_header_and_end() {
    let mut out = Vec::new();
    Writer::new(&mut out, Version::Two).bulk_header(16 * 1024 * 1024);
    assert_eq!(out, b"$16777216\r\n");
    Writer::new(&mut out, Version::Two).bulk_end();
    assert_eq!(out, b"$16777216\r\n\r\n");
}

#[test]
fn what_is_written_is_read_back() {
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, Version::Three);
    writer.map(2);
    writer.bulk(b"a\r\nb");
    writer.array(2);
    writer.double(0.5);
    writer.null();
    writer.simple("x");
    writer.verbatim(*b"txt", b"hi");
    match Replies::new(ReplyLimits::default()).next(&out) {
        Outcome::Done { value, used } => {
            assert_eq!(tree(&value), "map[$a\\r\\nb array[,0.5 null] +x =txt:hi]");
            assert_eq!(used, out.len());
        }
        other => panic!("{other:?}"),
    }
}
