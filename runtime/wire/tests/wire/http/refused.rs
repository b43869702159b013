//! The tables of refusals: every row gets its status and names its section, whole and cut everywhere.

use super::rows::{Row, rows};
use super::session::{shown_request, shown_response};
use std::collections::BTreeSet;
use wire::Outcome;
use wire::http::{Asked, Body, Fault, Fields, Framing, Limits, RequestReader, ResponseReader};

const REQUESTS: &str = include_str!("../../../corpus/http/refused-requests.txt");
const RESPONSES: &str = include_str!("../../../corpus/http/refused-responses.txt");

/// Rows up to this many bytes are cut at every place; longer ones at some.
const CUT_EVERYWHERE: usize = 400;

/// What a connection came to: its whole messages, then the fault if there was one.
type Told = (Vec<String>, Option<Fault>);

/// Brings `bytes` in the pieces that end at `ends`, then whole, and reads messages with their bodies.
fn read(
    bytes: &[u8],
    ends: &[usize],
    ended: bool,
    mut head: impl FnMut(&[u8]) -> Outcome<(String, Framing), Fault>,
) -> Told {
    let (mut told, mut consumed, mut body) = (Vec::new(), 0, Body::new(Framing::None, Limits::default()));
    for end in ends.iter().copied().chain([bytes.len()]) {
        while consumed < end {
            let there = &bytes[consumed..end];
            let used = match body.is_done() {
                false => body.next(there).map(|piece| piece.used),
                true => match head(there) {
                    Outcome::Done { value: (text, framing), used } => {
                        told.push(text);
                        body = Body::new(framing, Limits::default());
                        Ok(used)
                    }
                    Outcome::Partial { need } => {
                        assert!(need > there.len());
                        break;
                    }
                    Outcome::Fault(fault) => Err(fault),
                },
            };
            match used {
                Ok(used) => consumed += used,
                Err(fault) => return (told, Some(fault)),
            }
        }
    }
    let fault = if ended { body.end().err() } else { None };
    (told, fault)
}

fn read_requests(bytes: &[u8], ends: &[usize]) -> Told {
    let mut reader = RequestReader::new(Limits::default());
    read(bytes, ends, false, |bytes| reader.next(bytes).map(|head| (shown_request(&head), head.framing)))
}

fn read_responses(bytes: &[u8], ends: &[usize], asked: Asked, ended: bool) -> Told {
    let mut reader = ResponseReader::new(Limits::default());
    read(bytes, ends, ended, |bytes| {
        reader.next(bytes, asked).map(|head| (shown_response(&head), head.framing))
    })
}

/// Cut in two at every place, or in a long row at some, and into single bytes.
fn check_cuts(name: &str, bytes: &[u8], whole: &Told, read: impl Fn(&[usize]) -> Told) {
    let step = bytes.len() / CUT_EVERYWHERE + 1;
    for cut in (0..bytes.len()).step_by(step) {
        assert_eq!(read(&[cut]), *whole, "{name} cut at {cut}");
    }
    let each: Vec<usize> = (1..bytes.len()).collect();
    assert_eq!(read(&each), *whole, "{name} in single bytes");
}

fn section(fault: Fault) -> String {
    let (rfc, section) = fault.section();
    format!("{rfc} {section}")
}

#[test]
fn requests_are_refused_with_their_status_and_section() {
    let rows = rows(REQUESTS);
    assert!(rows.len() >= 60, "{} rows", rows.len());
    for Row { columns, bytes } in rows {
        let [status, wanted, what] = &columns[..] else { panic!("{columns:?}") };
        let whole = read_requests(&bytes, &[]);
        let fault = whole.1.unwrap_or_else(|| panic!("{what} is refused: {whole:?}"));
        assert_eq!((&fault.status().to_string(), &section(fault)), (status, wanted), "{what}: {fault:?}");
        check_cuts(what, &bytes, &whole, |ends| read_requests(&bytes, ends));
    }
}

#[test]
fn responses_are_refused_with_their_section() {
    for Row { columns, bytes } in rows(RESPONSES) {
        let [asked, wanted, what] = &columns[..] else { panic!("{columns:?}") };
        let (asked, ended) =
            asked.split_once(' ').map_or((asked.as_str(), false), |(asked, _)| (asked, true));
        let asked = match asked {
            "plain" => Asked::Plain,
            "head" => Asked::Head,
            "connect" => Asked::Connect,
            "upgrade" => Asked::Upgrade,
            other => panic!("{other} is asked"),
        };
        let whole = read_responses(&bytes, &[], asked, ended);
        let fault = whole.1.unwrap_or_else(|| panic!("{what} is refused: {whole:?}"));
        assert_eq!(&section(fault), wanted, "{what}: {fault:?}");
        check_cuts(what, &bytes, &whole, |ends| read_responses(&bytes, ends, asked, ended));
    }
}

#[test]
fn every_fault_is_in_a_table() {
    let requests = rows(REQUESTS).into_iter().filter_map(|row| read_requests(&row.bytes, &[]).1);
    let responses = rows(RESPONSES).into_iter().filter_map(|row| {
        let asked = if row.columns[0] == "upgrade" { Asked::Upgrade } else { Asked::Plain };
        read_responses(&row.bytes, &[], asked, row.columns[0].ends_with("end")).1
    });
    let seen: BTreeSet<Fault> = requests.chain(responses).collect();
    // A bound on bodies is off by default: it has a test of its own.
    let unseen: Vec<Fault> = Fault::ALL.into_iter().filter(|fault| !seen.contains(fault)).collect();
    assert_eq!(unseen, [Fault::BodyTooLong]);
}

#[test]
fn a_row_with_one_byte_less_or_more_never_panics() {
    for Row { bytes, .. } in rows(REQUESTS).into_iter().chain(rows(RESPONSES)) {
        for at in 0..bytes.len().min(CUT_EVERYWHERE) {
            let mut less = bytes.clone();
            less.remove(at);
            let mut more = bytes.clone();
            more.insert(at, bytes[at]);
            for bytes in [less, more] {
                let cut = [bytes.len() / 2];
                assert_eq!(read_requests(&bytes, &[]), read_requests(&bytes, &cut));
                let responses = |ends| read_responses(&bytes, ends, Asked::Upgrade, true);
                assert_eq!(responses(&[]), responses(&cut));
            }
        }
    }
}

#[test]
fn the_limits_are_met_exactly() {
    let head = b"GET /abc HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
    let check = |limits: Limits, expected: Result<(), Fault>| {
        for cut in [0, 1, 20, head.len() - 1] {
            let mut reader = RequestReader::new(limits);
            let mut outcome = reader.next(&head[..cut]);
            if let Outcome::Partial { .. } = outcome {
                outcome = reader.next(head);
            }
            let found = match outcome {
                Outcome::Done { used, .. } => {
                    assert_eq!(used, head.len());
                    Ok(())
                }
                Outcome::Partial { need } => panic!("needs {need}"),
                Outcome::Fault(fault) => Err(fault),
            };
            assert_eq!(found, expected, "{limits:?} cut at {cut}");
        }
    };
    let limits = Limits::default();
    check(Limits { head_max: head.len(), fields_max: 2, target_max: 4, ..limits }, Ok(()));
    check(Limits { head_max: head.len() - 1, ..limits }, Err(Fault::HeadTooLong));
    check(Limits { head_max: 6, ..limits }, Err(Fault::TargetTooLong));
    check(Limits { fields_max: 1, ..limits }, Err(Fault::TooManyFields));
    check(Limits { fields_max: 0, ..limits }, Err(Fault::TooManyFields));
    check(Limits { target_max: 3, ..limits }, Err(Fault::TargetTooLong));
}

#[test]
fn fields_are_told_apart_by_their_whole_name() {
    let mut reader = RequestReader::new(Limits::default());
    let bytes = b"GET / HTTP/1.1\r\nHost: x\r\nHosts: y\r\nXHost: z\r\nContent-Lengths: a\r\n\r\n";
    let Outcome::Done { value: head, .. } = reader.next(bytes) else { panic!("a request") };
    let fields: &Fields<'_> = &head.fields;
    assert_eq!(
        (fields.get("HOST"), fields.get("host"), fields.get("hos")),
        (Some(&b"x"[..]), Some(&b"x"[..]), None)
    );
}
