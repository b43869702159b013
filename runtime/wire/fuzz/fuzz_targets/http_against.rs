//! The same bytes, read by this crate and by hyper's server: where both take a request, it must be the same request with
//! the same body; where they differ, the difference must be one of those that are explained here.
//!
//! From `runtime/wire`: `mkdir -p fuzz/corpus/http_against; cargo fuzz run http_against --sanitizer none fuzz/corpus/http_against corpus/http_request`
#![no_main]

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use hyper::{Response, StatusCode, Uri};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use wire::Outcome;
use wire::http::{Body, Fault, Limits, RequestReader};

/// Polls in which hyper must have come to an end: its input never makes it wait.
const POLLS_MAX: usize = 10_000;

/// A request as both can tell it. Field names in small letters, sorted, since hyper keeps them in a map.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    method: String,
    target: String,
    fields: Vec<(String, Vec<u8>)>,
    /// None if it did not come whole.
    payload: Option<Vec<u8>>,
}

/// A connection whose bytes are all there, and whose answers nobody reads.
struct Memory<'b>(&'b [u8]);

impl Read for Memory<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let (now, rest) = self.0.split_at(self.0.len().min(into.remaining()));
        into.put_slice(now);
        self.0 = rest;
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What hyper makes of it.
fn theirs(bytes: &[u8]) -> Vec<Told> {
    let all = RefCell::new(Vec::new());
    let service = service_fn(|request: hyper::Request<Incoming>| async {
        let (head, body) = request.into_parts();
        let target = head.uri.to_string();
        let fields = head.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let mut told =
            Told { method: head.method.to_string(), target, fields: fields.collect(), payload: None };
        told.fields.sort();
        let index = all.borrow().len();
        all.borrow_mut().push(told);
        if let Ok(body) = body.collect().await {
            all.borrow_mut()[index].payload = Some(body.to_bytes().to_vec());
        }
        let mut answer = Response::new(Empty::<Bytes>::new());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, Infallible>(answer)
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.half_close(true).header_read_timeout(None).auto_date_header(false);
    {
        let mut connection = pin!(builder.serve_connection(Memory(bytes), service));
        let mut context = Context::from_waker(Waker::noop());
        let mut polls = 0;
        while connection.as_mut().poll(&mut context).is_pending() {
            polls += 1;
            assert!(polls < POLLS_MAX, "hyper waits for nothing");
        }
    }
    all.into_inner()
}

/// What we make of it: whole requests, and how it ended.
fn ours(bytes: &[u8]) -> (Vec<Told>, Option<Fault>, bool) {
    let limits = Limits::default();
    let (mut reader, mut at, mut all) = (RequestReader::new(limits), 0, Vec::new());
    while at < bytes.len() {
        let (head, used) = match reader.next(&bytes[at..]) {
            Outcome::Done { value, used } => (value, used),
            Outcome::Partial { .. } => break,
            Outcome::Fault(fault) => return (all, Some(fault), true),
        };
        let fields = head.fields.iter().map(|field| {
            (String::from_utf8_lossy(field.name()).to_ascii_lowercase(), field.value().to_vec())
        });
        let (method, target) = (head.method.as_str().to_owned(), head.target.to_owned());
        let mut told = Told { method, target, fields: fields.collect(), payload: None };
        told.fields.sort();
        let (persistent, mut body, mut payload) =
            (head.persistent, Body::new(head.framing, limits), Vec::new());
        at += used;
        let mut fault = None;
        while !body.is_done() && at < bytes.len() && fault.is_none() {
            match body.next(&bytes[at..]) {
                Ok(piece) => {
                    payload.extend_from_slice(&bytes[at..][piece.payload]);
                    at += piece.used;
                }
                Err(broken) => fault = Some(broken),
            }
        }
        told.payload = body.is_done().then_some(payload);
        all.push(told);
        if fault.is_some() || !persistent {
            return (all, fault, persistent);
        }
    }
    (all, None, true)
}

/// Whether hyper may take what we refuse for this reason. Each is a choice of ours:
fn is_stricter(fault: Fault) -> bool {
    match fault {
        // A repair that RFC 9112 section 2.2 allows and that differs between programs.
        Fault::BareLineFeed
        // hyper leaves Host and the target's form to the application (RFC 9112 section 3.2 wants a 400).
        | Fault::HostMissing | Fault::HostRepeated | Fault::HostInvalid | Fault::TargetForm
        // `#` and what follows is cut off by hyper, bytes over 0x7f are taken as UTF-8.
        | Fault::TargetByte
        // Equal lengths, repeated, are one for hyper (allowed by RFC 9112 section 6.3).
        | Fault::LengthRepeated
        // hyper lets Transfer-Encoding win and drops Content-Length (allowed by section 6.3, with a warning).
        | Fault::LengthAndCoding
        // hyper looks at the last coding alone, and hands on what the others made.
        | Fault::CodingUnknown | Fault::CodingRepeated
        // hyper answers 100-continue and leaves other expectations to the application.
        | Fault::Expectation
        // hyper takes white space behind a chunk's size, up to the line's end.
        | Fault::ChunkSize
        // hyper does not look into chunk extensions, and bounds them by 16 KiB together.
        | Fault::ChunkExtension | Fault::ChunkLineTooLong
        // hyper's bounds are others.
        | Fault::MethodTooLong => true,
        Fault::Method
        | Fault::TargetTooLong
        | Fault::VersionForm
        | Fault::VersionUnknown
        | Fault::Status
        | Fault::Reason
        | Fault::BareCarriageReturn
        | Fault::SpaceBeforeFields
        | Fault::Folded
        | Fault::NameMissing
        | Fault::NameByte
        | Fault::SpaceBeforeColon
        | Fault::ColonMissing
        | Fault::ValueByte
        | Fault::HeadTooLong
        | Fault::TooManyFields
        | Fault::LengthInvalid
        | Fault::LengthOverflow
        | Fault::CodingInOldVersion
        | Fault::CodingNotChunked
        | Fault::SwitchUnasked
        | Fault::BodyTooLong
        | Fault::ChunkOverflow
        | Fault::ChunkEnd
        | Fault::TrailersTooLong
        | Fault::Truncated => false,
    }
}

/// A target as hyper shows it: its Uri adds the slash that an absolute target may lack and makes the scheme small. None
/// where it takes no such target at all.
fn as_uri(target: &str) -> Option<String> {
    target.parse::<Uri>().ok().map(|uri| uri.to_string())
}

fuzz_target!(|bytes: &[u8]| {
    let theirs = theirs(bytes);
    let (ours, fault, persistent) = ours(bytes);
    let whole = |all: &[Told]| all.iter().take_while(|told| told.payload.is_some()).count();
    for (index, our) in ours.iter().enumerate() {
        let Some(uri) = as_uri(&our.target) else { return };
        let Some(their) = theirs.get(index) else {
            panic!("hyper refuses {our:?} of {}", bytes.escape_ascii());
        };
        assert_eq!((&their.method, &their.target), (&our.method, &uri), "{}", bytes.escape_ascii());
        assert_eq!(their.fields, our.fields, "{}", bytes.escape_ascii());
        // A Connection with a byte over 0x7f says nothing to hyper; to us its other words count (RFC 9110 section 7.6.1).
        let unread = |(name, value): &(String, Vec<u8>)| name == "connection" && !value.is_ascii();
        let ends_comparison = our.fields.iter().any(unread);
        match (&their.payload, &our.payload) {
            (Some(their), Some(our)) => assert_eq!(their, our, "{}", bytes.escape_ascii()),
            (None, None) => return,
            (None, Some(_)) => panic!("hyper finds no whole body in {}", bytes.escape_ascii()),
            (Some(_), None) => {
                let explained = fault.is_some_and(is_stricter);
                assert!(explained, "{fault:?}, and hyper takes {}", bytes.escape_ascii());
                return;
            }
        }
        if ends_comparison {
            return;
        }
    }
    if whole(&theirs) > ours.len() {
        let explained = fault.is_some_and(is_stricter);
        assert!(explained, "{fault:?} {persistent}, and hyper takes more of {}", bytes.escape_ascii());
    }
});
