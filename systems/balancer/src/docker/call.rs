//! One call to the engine: what is written, and its answer as it comes.
//!
//! Each call has a connection of its own, since they are few. An answer is bounded in bytes and in time; only the
//! stream of events goes on for ever, and of it no more is kept than a line that has begun.

use machine::{Input, Instant};
use serde_json::Value;
use wire::Outcome;
use wire::http::{Asked, Body, Fault, Limits, ResponseReader};

/// Bytes of an answer, or of a line of events; the longest is the list of containers.
const ANSWER_MAX: usize = 4 << 20;

/// An engine that says nothing of its version speaks this one: the oldest that is still in use.
const VERSION_OLDEST: (u32, u32) = (1, 41);

/// A version of the engine's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32);

impl Version {
    /// What to speak with an engine that says this of itself: as old as may be, so that answers mean what they meant
    /// when this was written.
    pub(super) fn of(said: &Value) -> Self {
        let least = said["MinAPIVersion"].as_str().and_then(Self::read);
        let oldest = Self(VERSION_OLDEST.0, VERSION_OLDEST.1);
        least.map_or(oldest, |least| least.max(oldest))
    }

    fn read(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// The bytes of a request. A question for the version itself names none.
pub(super) fn request(method: &str, version: Option<Version>, path: &str, body: Option<&Value>) -> String {
    let version = version.map(|Version(major, minor)| format!("/v{major}.{minor}")).unwrap_or_default();
    let body = body.map(Value::to_string).unwrap_or_default();
    format!(
        "{method} {version}{path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// A call that is not answered yet, made for `S`.
#[derive(Debug)]
pub(super) struct Call<S> {
    pub(super) step: S,
    /// When it has failed; none for what goes on for ever.
    pub(super) by: Option<Instant>,
    pub(super) status: u16,
    /// What the answer's body says.
    pub(super) text: Vec<u8>,
    reader: ResponseReader,
    body: Option<Body>,
}

impl<S> Call<S> {
    pub(super) fn new(step: S, by: Option<Instant>) -> Self {
        let reader = ResponseReader::new(Limits::default());
        Self { step, by, status: 0, text: Vec::new(), reader, body: None }
    }

    /// Takes what has come; true when the answer is whole.
    ///
    /// # Errors
    /// A sentence when it is no answer.
    pub(super) fn read(&mut self, input: &mut Input<'_>) -> Result<bool, String> {
        let wrong = |fault: Fault| format!("the engine's answer is not HTTP: {fault}");
        loop {
            let bytes = input.bytes();
            let Some(body) = &mut self.body else {
                match self.reader.next(bytes, Asked::Plain) {
                    Outcome::Done { value, used } if value.is_interim() => input.used(used),
                    Outcome::Done { value, used } => {
                        self.status = value.status;
                        self.body = Some(Body::new(value.framing, Limits::default()));
                        input.used(used);
                    }
                    Outcome::Partial { need: _ } => return Ok(false),
                    Outcome::Fault(fault) => return Err(wrong(fault)),
                }
                continue;
            };
            if body.is_done() || bytes.is_empty() {
                return Ok(body.is_done());
            }
            let piece = body.next(bytes).map_err(wrong)?;
            self.text.extend_from_slice(&bytes[piece.payload]);
            input.used(piece.used);
            if self.text.len() > ANSWER_MAX {
                return Err("the engine's answer is too long".into());
            }
        }
    }

    /// The engine has said all; true when that was a whole answer.
    pub(super) fn end(&mut self) -> bool {
        self.body.as_mut().is_some_and(|body| body.end().is_ok())
    }

    pub(super) fn is_well(&self) -> bool {
        matches!(self.status, 200..=299 | 304)
    }

    /// The answer as JSON; null when it is none.
    pub(super) fn said(&self) -> Value {
        serde_json::from_slice(&self.text).unwrap_or(Value::Null)
    }

    /// Why the engine did not do it, in its words.
    pub(super) fn why(&self) -> String {
        let said = self.said();
        let words = said["message"].as_str().unwrap_or("no reason");
        format!("the engine answered {}: {words}", self.status)
    }

    /// The lines of JSON that are whole, taken out.
    pub(super) fn lines(&mut self) -> Vec<Value> {
        let Some(last) = self.text.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = self.text.drain(..=last).collect();
        whole
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap_or(Value::Null))
            .collect()
    }
}

/// The last line of a container's log that says anything, cut to this many characters.
const LAST_WORDS_MAX: usize = 300;

/// Bytes before each piece of a log: which stream, three of nothing, and the length, the greatest byte first.
const PIECE_HEAD: usize = 8;

/// The last words of a container, from its log as the engine tells it.
pub(super) fn last_words(log: &[u8]) -> Option<String> {
    let mut said = Vec::new();
    let mut rest = log;
    while let Some((head, after)) = rest.split_first_chunk::<PIECE_HEAD>() {
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (piece, after) = after.split_at(length.min(after.len()));
        said.extend_from_slice(piece);
        rest = after;
    }
    let said = String::from_utf8_lossy(&said);
    let line = said.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    let shown = line.chars().filter(|each| !each.is_control()).take(LAST_WORDS_MAX);
    Some(shown.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_oldest_version_that_both_know_is_spoken() {
        let check = |said: Value, expected| assert_eq!(Version::of(&said), expected, "{said}");
        check(json!({ "ApiVersion": "1.41", "MinAPIVersion": "1.12" }), Version(1, 41));
        check(json!({ "ApiVersion": "1.52", "MinAPIVersion": "1.44" }), Version(1, 44));
        check(json!({ "MinAPIVersion": "2.0" }), Version(2, 0));
        check(Value::Null, Version(1, 41));
        check(json!({ "MinAPIVersion": "new" }), Version(1, 41));
        let sent = request("GET", Some(Version(1, 44)), "/containers/json", None);
        assert!(sent.starts_with("GET /v1.44/containers/json HTTP/1.1\r\nHost: docker\r\n"), "{sent}");
    }

    const ANSWER: &[u8] =
        b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n\
        9\r\n{\"Id\":\"0f\r\n8\r\n1\",\"Warn\r\n9\r\nings\":[]}\r\n0\r\n\r\n";

    #[test]
    fn an_answer_may_be_cut_anywhere() {
        for cut in 0..ANSWER.len() {
            let mut call = Call::new((), None);
            let mut left = ANSWER[..cut].to_vec();
            let mut input = Input::lent(&left, Instant::ZERO, None);
            assert_eq!(call.read(&mut input), Ok(false), "cut at {cut}");
            let used = left.len() - input.bytes().len();
            left.drain(..used);
            left.extend_from_slice(&ANSWER[cut..]);
            let mut input = Input::lent(&left, Instant::ZERO, None);
            assert_eq!(call.read(&mut input), Ok(true), "cut at {cut}");
            assert_eq!((call.status, call.said()["Id"].as_str()), (201, Some("0f1")), "cut at {cut}");
        }
    }

    #[test]
    fn an_answer_that_ends_early_is_none() {
        for cut in 0..ANSWER.len() {
            let mut call = Call::new((), None);
            let mut input = Input::lent(&ANSWER[..cut], Instant::ZERO, None);
            assert_eq!(call.read(&mut input), Ok(false));
            assert!(!call.end(), "cut at {cut}");
        }
    }

    #[test]
    fn events_are_lines_and_what_is_none_is_null() {
        let mut call = Call::new((), None);
        call.text.extend_from_slice(b"{\"id\":\"a\"}\nnonsense\n\n{\"id\":");
        assert_eq!(call.lines(), [json!({ "id": "a" }), Value::Null]);
        assert!(call.lines().is_empty());
        call.text.extend_from_slice(b"\"b\"}\n");
        assert_eq!(call.lines(), [json!({ "id": "b" })]);
        assert!(call.text.is_empty());
    }

    #[test]
    fn last_words_are_the_last_line_that_says_anything() {
        let piece = |stream: u8, text: &str| {
            [&[stream, 0, 0, 0], &(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat()
        };
        let log = [piece(1, "hello\n"), piece(2, "no ring\x07: forbidden\n"), piece(2, " \n")].concat();
        assert_eq!(last_words(&log).as_deref(), Some("no ring: forbidden"));
        for cut in 0..log.len() {
            let _ = last_words(&log[..cut]);
        }
        assert_eq!(last_words(b""), None);
        assert_eq!(last_words(&piece(2, &"x".repeat(1000))).map(|line| line.len()), Some(LAST_WORDS_MAX));
        assert_eq!(last_words(b"\x02\0\0\0\xff\xff\xff\xffcut").as_deref(), Some("cut"));
    }
}
