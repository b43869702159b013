//! Readers as told-and-answered text, the corpus they start from, and a driver that brings bytes in pieces.

use std::fmt::Debug;
use std::path::Path;
use wire::{Outcome, frame, link, resp};

/// One reader at the beginning of a connection: told all unconsumed bytes, answers in debug text.
pub(crate) type Reader = Box<dyn FnMut(&[u8]) -> Outcome<String, String>>;

/// A kind of reader and where its corpus is.
pub(crate) struct Kind {
    pub(crate) folder: &'static str,
    pub(crate) open: fn() -> Reader,
}

pub(crate) const KINDS: [Kind; 8] = [
    Kind { folder: "request", open: request },
    Kind { folder: "reply", open: reply },
    Kind { folder: "frame", open: || Box::new(|bytes| text(frame::read_request(bytes, 4096))) },
    Kind { folder: "hello", open: || Box::new(|bytes| text(link::read_hello(bytes, &OURS))) },
    Kind { folder: "keyed_hello", open: || Box::new(|bytes| text(link::read_hello(bytes, &KEYED))) },
    Kind { folder: "http_request", open: crate::http::request_session },
    Kind { folder: "http_response", open: crate::http::response_session },
    Kind { folder: "link", open: || Box::new(|bytes| text(link::read(bytes, &link::Limits::default()))) },
];

pub(crate) const OURS: link::Hello<'static> =
    link::Hello { system: "dht", version: 3, node: 1, core: 0, challenge: None };
pub(crate) const KEYED: link::Hello<'static> = link::Hello { challenge: Some([7; 32]), ..OURS };

fn request() -> Reader {
    let limits = resp::Limits { inline_max: 1024, ..resp::Limits::default() };
    let mut reader = resp::Reader::new(limits);
    Box::new(move |bytes| text(reader.next(bytes).map(|request| shown(&request))))
}

fn reply() -> Reader {
    let mut reader = resp::Replies::new(resp::ReplyLimits::default());
    Box::new(move |bytes| text(reader.next(bytes).map(|reply| tree(&reply))))
}

/// A request's arguments, escaped, separated by `|`.
pub(crate) fn shown(request: &resp::Request<'_>) -> String {
    let arguments: Vec<String> = request.arguments(0).map(|bytes| bytes.escape_ascii().to_string()).collect();
    arguments.join("|")
}

/// A reply as text, lists walked to the end.
pub(crate) fn tree(reply: &resp::Reply<'_>) -> String {
    let list = |name: &str, many: &resp::Many<'_>| {
        let elements: Vec<String> = many.iter().map(|element| tree(&element)).collect();
        assert_eq!(elements.len(), many.len(), "a list walks to its end");
        format!("{name}[{}]", elements.join(" "))
    };
    match reply {
        resp::Reply::Simple(bytes) => format!("+{}", bytes.escape_ascii()),
        resp::Reply::Error(bytes) => format!("-{}", bytes.escape_ascii()),
        resp::Reply::Integer(value) => format!(":{value}"),
        resp::Reply::Bulk(bytes) => format!("${}", bytes.escape_ascii()),
        resp::Reply::Null => "null".to_owned(),
        resp::Reply::Boolean(value) => format!("#{value}"),
        resp::Reply::Double(value) => format!(",{value}"),
        resp::Reply::BigNumber(digits) => format!("({}", digits.escape_ascii()),
        resp::Reply::Verbatim { format, text } => {
            format!("={}:{}", format.escape_ascii(), text.escape_ascii())
        }
        resp::Reply::Array(many) => list("array", many),
        resp::Reply::Set(many) => list("set", many),
        resp::Reply::Map(many) => list("map", many),
        resp::Reply::Push(many) => list("push", many),
    }
}

fn text<T: Debug, F: Debug>(outcome: Outcome<T, F>) -> Outcome<String, String> {
    match outcome {
        Outcome::Done { value, used } => Outcome::Done { value: format!("{value:?}"), used },
        Outcome::Partial { need } => Outcome::Partial { need },
        Outcome::Fault(fault) => Outcome::Fault(format!("{fault:?}")),
    }
}

/// The files of a corpus folder with their names.
pub(crate) fn files(folder: &str) -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(folder);
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&path)
        .expect("a corpus folder")
        .map(|entry| entry.expect("a corpus entry").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a corpus file")))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder} has a corpus");
    files
}

/// What a reader said when bytes came in pieces: its messages, then a fault if there was one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) messages: Vec<String>,
    pub(crate) fault: Option<String>,
    /// Bytes at the end that belong to no whole message.
    pub(crate) rest: usize,
}

/// Brings `bytes` to a fresh reader in the pieces that end at `ends`, and then whole. With `patient`, the reader
/// is asked again only when the bytes it said it needs are there.
pub(crate) fn drive(open: fn() -> Reader, bytes: &[u8], ends: &[usize], patient: bool) -> Said {
    let mut reader = open();
    let mut said = Said { messages: Vec::new(), fault: None, rest: 0 };
    let (mut consumed, mut needed) = (0, 0);
    for end in ends.iter().copied().chain([bytes.len()]) {
        // A copy, so that reading past what came would be caught by whoever watches memory.
        let arrived = bytes[..end].to_vec();
        while consumed < end && (!patient || end - consumed >= needed) {
            match reader(&arrived[consumed..]) {
                Outcome::Done { value, used } => {
                    assert!(used > 0 && used <= end - consumed, "used {used} of {}", end - consumed);
                    said.messages.push(value);
                    (consumed, needed) = (consumed + used, 0);
                }
                Outcome::Partial { need } => {
                    assert!(need > end - consumed, "needs {need} and has {}", end - consumed);
                    needed = need;
                    break;
                }
                Outcome::Fault(fault) => {
                    said.fault = Some(fault);
                    return said;
                }
            }
        }
    }
    said.rest = bytes.len() - consumed;
    said
}
