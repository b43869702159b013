//! What clients are answered, as JSON: put together by hand, for it is made of ids, words and base64 alone.

use crate::base64;
use crate::config::{Failure, Manners};
use crate::pickle::{self, Raised};
use crate::task::{Ended, How, Task};
use crate::tasks::Seen;
use crate::uuid::Uuid;
use std::io::Write as _;

/// A status and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
}

impl Answer {
    /// A refusal: a status and a sentence.
    #[must_use]
    pub fn refusal(status: u16, sentence: &str) -> Self {
        let detail = serde_json::Value::from(sentence);
        Self { status, body: format!("{{\"detail\":{detail}}}").into_bytes() }
    }

    /// That there is no such task.
    #[must_use]
    pub fn no_task(manners: &Manners, id: Uuid) -> Self {
        Self::refusal(manners.unknown, &format!("there is no task {id}"))
    }

    /// `{"NAME":"ID"}` for what was created.
    #[must_use]
    pub fn created(manners: &Manners, name: &str, id: Uuid) -> Self {
        Self { status: manners.created, body: format!("{{\"{name}\":\"{id}\"}}").into_bytes() }
    }

    /// The tasks that a batch became.
    #[must_use]
    pub fn created_all(manners: &Manners, ids: &[Uuid]) -> Self {
        let mut body = Vec::with_capacity(16 + ids.len() * 39);
        body.extend_from_slice(b"{\"task_ids\":[");
        for (index, id) in ids.iter().enumerate() {
            body.extend_from_slice(if index == 0 { b"\"" } else { b",\"" });
            body.extend_from_slice(&id.text());
            body.push(b'"');
        }
        body.extend_from_slice(b"]}");
        Self { status: manners.created, body }
    }
}

/// The word for where a task is.
#[must_use]
pub fn word(manners: &Manners, seen: Seen<'_>) -> &'static str {
    match seen {
        Seen::Queued | Seen::Delayed => "QUEUED",
        Seen::Running => "RUNNING",
        Seen::Ended(ended) => match ended.how {
            How::Completed => manners.completed,
            How::Failed | How::Cancelled | How::Dead => "FAILED",
        },
    }
}

/// The answer to `GET /status/{id}`.
#[must_use]
pub fn status(manners: &Manners, task: &Task, seen: Seen<'_>) -> Answer {
    let times = task.times;
    let mut body = Vec::with_capacity(256);
    begin(&mut body, task, word(manners, seen));
    let _ = write!(body, ",\"function_id\":\"{}\",\"attempts\":{}", task.function, task.attempts);
    let mut spans = Vec::new();
    if times.left > 0 {
        spans.push(("queued", times.left.saturating_sub(times.accepted)));
    }
    if times.back > 0 && times.left > 0 {
        let there = times.began + times.ran;
        spans.push(("dispatched", times.back.saturating_sub(times.left).saturating_sub(there)));
        spans.push(("started", times.began));
        spans.push(("run", times.ran));
        spans.push(("stored", times.stored));
    }
    body.extend_from_slice(b",\"breakdown\":{");
    for (index, (name, micros)) in spans.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(body, "{comma}\"{name}\":{micros}");
    }
    body.extend_from_slice(b"}}");
    Answer { status: 200, body }
}

/// The answer to `GET /result/{id}`.
#[must_use]
pub fn result(manners: &Manners, task: &Task, seen: Seen<'_>) -> Answer {
    let result: &[u8] = match seen {
        Seen::Ended(ended) => &ended.result,
        Seen::Queued | Seen::Delayed | Seen::Running => b"",
    };
    let mut body = Vec::with_capacity(128 + result.len() / 3 * 4);
    begin(&mut body, task, word(manners, seen));
    body.extend_from_slice(b",\"result\":\"");
    base64::encode(result, &mut body);
    body.extend_from_slice(b"\"}");
    let is_over = matches!(seen, Seen::Ended(_));
    Answer { status: if is_over { 200 } else { manners.pending }, body }
}

fn begin(body: &mut Vec<u8>, task: &Task, word: &str) {
    body.extend_from_slice(b"{\"task_id\":\"");
    body.extend_from_slice(&task.id.text());
    body.extend_from_slice(b"\",\"status\":\"");
    body.extend_from_slice(word.as_bytes());
    body.push(b'"');
}

/// One task in a list.
pub fn listed(manners: &Manners, task: &Task, seen: Seen<'_>, into: &mut String) {
    use core::fmt::Write as _;
    let how = match seen {
        Seen::Queued => "queued",
        Seen::Delayed => "delayed",
        Seen::Running => "running",
        Seen::Ended(Ended { how, .. }) => match how {
            How::Completed => "completed",
            How::Failed => "failed",
            How::Cancelled => "cancelled",
            How::Dead => "dead",
        },
    };
    let _ = write!(
        into,
        "{{\"task_id\":\"{}\",\"function_id\":\"{}\",\"status\":\"{}\",\"state\":\"{how}\",\"attempts\":{},\
         \"accepted_at\":{:.6}}}",
        task.id,
        task.function,
        word(manners, seen),
        task.attempts,
        task.times.accepted as f64 / 1e6
    );
}

/// The result of a task that something else than its function ended.
#[must_use]
pub fn failure(manners: &Manners, raised: Raised, sentence: &str) -> Vec<u8> {
    match manners.failure {
        Failure::Exception => pickle::exception(raised, sentence),
        Failure::Text => pickle::text(sentence),
    }
}
