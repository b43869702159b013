//! What clients send, as meant; or what is wrong with it, in the words of the framework that such clients know.
//!
//! A body that is right is read once, its texts where they lie. Only one that is wrong is read again, as any JSON, to
//! say everything that is wrong with it.

use crate::uuid::Uuid;
use core::fmt::Write as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The longest time a task may be given, in seconds: a week.
const TIMEOUT_MAX_S: f64 = 7.0 * 24.0 * 3600.0;

/// Everything that is wrong with a request: the body of a 422.
#[derive(Clone, Debug, PartialEq)]
pub struct Wrong(pub String);

/// What `POST /register_function` brings.
#[derive(Debug, Deserialize, PartialEq)]
pub struct Register<'b> {
    /// What its author calls it.
    #[serde(borrow)]
    pub name: Cow<'b, str>,
    /// The pickled callable, as base64.
    #[serde(borrow)]
    pub payload: Cow<'b, str>,
    /// What runs it; Python where nothing is said.
    #[serde(default)]
    pub runtime: Option<String>,
}

/// What `POST /execute_function` brings.
#[derive(Debug, PartialEq)]
pub struct Execute<'b> {
    /// What is called.
    pub function: Uuid,
    /// The pickled pair of arguments and named arguments, as base64.
    pub payload: Cow<'b, str>,
    /// How long it may run, in milliseconds.
    pub timeout_ms: Option<u32>,
}

#[derive(Deserialize)]
struct TypedExecute<'b> {
    #[serde(borrow)]
    function_id: Cow<'b, str>,
    #[serde(borrow)]
    payload: Cow<'b, str>,
    #[serde(default)]
    timeout_s: Option<f64>,
}

#[derive(Deserialize)]
struct TypedBatch<'b> {
    #[serde(borrow)]
    tasks: Vec<TypedExecute<'b>>,
}

impl<'b> TypedExecute<'b> {
    fn meant(self) -> Option<Execute<'b>> {
        let timeout_ms = match self.timeout_s {
            None => None,
            Some(seconds) => Some(milliseconds(seconds)?),
        };
        Some(Execute { function: Uuid::parse(&self.function_id)?, payload: self.payload, timeout_ms })
    }
}

fn milliseconds(seconds: f64) -> Option<u32> {
    (seconds > 0.0 && seconds <= TIMEOUT_MAX_S).then(|| ((seconds * 1000.0) as u32).max(1))
}

/// Reads a registration.
///
/// # Errors
/// What is wrong with it.
pub fn register(body: &[u8]) -> Result<Register<'_>, Wrong> {
    if let Ok(register) = serde_json::from_slice(body) {
        return Ok(register);
    }
    let value = any(body)?;
    let mut found = Found::default();
    if let Some(fields) = found.fields(&value, &["body"]) {
        let name = found.text(fields, &["body", "name"]);
        let payload = found.text(fields, &["body", "payload"]);
        let runtime = found.optional_text(fields, &["body", "runtime"]).map(str::to_owned);
        if let (Some(name), Some(payload), true) = (name, payload, found.is_empty()) {
            return Ok(Register {
                name: name.to_owned().into(),
                payload: payload.to_owned().into(),
                runtime,
            });
        }
    }
    Err(found.wrong())
}

/// Reads one call.
///
/// # Errors
/// What is wrong with it.
pub fn execute(body: &[u8]) -> Result<Execute<'_>, Wrong> {
    if let Some(meant) = serde_json::from_slice(body).ok().and_then(TypedExecute::meant) {
        return Ok(meant);
    }
    let value = any(body)?;
    let mut found = Found::default();
    match found.fields(&value, &["body"]).and_then(|fields| found.execute(fields, &["body"])) {
        Some(execute) => Ok(execute),
        None => Err(found.wrong()),
    }
}

/// Reads a batch of calls, at most so many.
///
/// # Errors
/// What is wrong with it.
pub fn batch(body: &[u8], calls_max: usize) -> Result<Vec<Execute<'_>>, Wrong> {
    if let Ok(TypedBatch { tasks }) = serde_json::from_slice::<TypedBatch<'_>>(body)
        && tasks.len() <= calls_max
    {
        let meant: Option<Vec<_>> = tasks.into_iter().map(TypedExecute::meant).collect();
        if let Some(meant) = meant {
            return Ok(meant);
        }
    }
    let value = any(body)?;
    let mut found = Found::default();
    let mut calls = Vec::new();
    if let Some(fields) = found.fields(&value, &["body"]) {
        match fields.get("tasks") {
            None => found.missing(&["body", "tasks"]),
            Some(Value::Array(tasks)) if tasks.len() > calls_max => {
                let sentence = format!("ensure this value has at most {calls_max} items");
                found.add(&["body", "tasks"], &sentence, "value_error.list.max_items");
            }
            Some(Value::Array(tasks)) => {
                for (at, task) in tasks.iter().enumerate() {
                    let at = at.to_string();
                    let place = ["body", "tasks", &at];
                    let call = found.fields(task, &place).and_then(|fields| found.execute(fields, &place));
                    calls.extend(call);
                }
            }
            Some(_) => found.add(&["body", "tasks"], "value is not a valid list", "type_error.list"),
        }
    }
    if found.is_empty() { Ok(calls) } else { Err(found.wrong()) }
}

/// An id from a path.
///
/// # Errors
/// That it is none.
pub fn path_id(text: &str, name: &str) -> Result<Uuid, Wrong> {
    Uuid::parse(text).ok_or_else(|| {
        let mut found = Found::default();
        found.add(&["path", name], "value is not a valid uuid", "type_error.uuid");
        found.wrong()
    })
}

/// A number of seconds from a query.
///
/// # Errors
/// That it is none.
pub fn query_seconds(text: &str, name: &str) -> Result<f64, Wrong> {
    let seconds = text.trim().parse::<f64>().ok().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    seconds.ok_or_else(|| {
        let mut found = Found::default();
        found.add(&["query", name], "value is not a valid float", "type_error.float");
        found.wrong()
    })
}

/// A whole number from a query.
///
/// # Errors
/// That it is none.
pub fn query_whole(text: &str, name: &str) -> Result<u64, Wrong> {
    text.trim().parse::<u64>().map_err(|_| {
        let mut found = Found::default();
        found.add(&["query", name], "value is not a valid integer", "type_error.integer");
        found.wrong()
    })
}

/// A word from a query that is none of those known.
#[must_use]
pub fn query_word(name: &str, known: &str) -> Wrong {
    let mut found = Found::default();
    found.add(&["query", name], &format!("value is none of {known}"), "type_error.enum");
    found.wrong()
}

/// Any JSON.
fn any(body: &[u8]) -> Result<Value, Wrong> {
    let mut found = Found::default();
    if body.iter().all(u8::is_ascii_whitespace) {
        found.missing(&["body"]);
        return Err(found.wrong());
    }
    serde_json::from_slice(body).map_err(|error| {
        let before: usize = body
            .split(|byte| *byte == b'\n')
            .take(error.line().saturating_sub(1))
            .map(|line| line.len() + 1)
            .sum();
        let position = (before + error.column().saturating_sub(1)).min(body.len());
        let sentence = error.to_string();
        let (words, _) = sentence.rsplit_once(" at line ").unwrap_or((&sentence, ""));
        found.0.push(json!({
            "loc": ["body", position],
            "msg": format!("{words}: line {} column {} (char {position})", error.line(), error.column()),
            "type": "value_error.jsondecode",
            "ctx": {"msg": words, "pos": position, "lineno": error.line(), "colno": error.column()},
        }));
        found.wrong()
    })
}

/// What was found wrong so far.
#[derive(Default)]
struct Found(Vec<Value>);

type Fields = serde_json::Map<String, Value>;

impl Found {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn wrong(self) -> Wrong {
        let mut text = String::new();
        let _ = write!(text, "{}", json!({"detail": self.0}));
        Wrong(text)
    }

    /// Places of a list are told as numbers.
    fn add(&mut self, place: &[&str], words: &str, kind: &str) {
        let place: Vec<Value> = place
            .iter()
            .map(|part| part.parse::<u64>().map_or_else(|_| Value::from(*part), Value::from))
            .collect();
        self.0.push(json!({"loc": place, "msg": words, "type": kind}));
    }

    fn missing(&mut self, place: &[&str]) {
        self.add(place, "field required", "value_error.missing");
    }

    fn fields<'v>(&mut self, value: &'v Value, place: &[&str]) -> Option<&'v Fields> {
        if value.is_null() && place.len() == 1 {
            self.missing(place);
        } else if !value.is_object() {
            self.add(place, "value is not a valid dict", "type_error.dict");
        }
        value.as_object()
    }

    fn text<'v>(&mut self, fields: &'v Fields, place: &[&str]) -> Option<&'v str> {
        match fields.get(*place.last()?) {
            Some(Value::String(text)) => return Some(text),
            None => self.missing(place),
            Some(Value::Null) => {
                self.add(place, "none is not an allowed value", "type_error.none.not_allowed");
            }
            Some(_) => self.add(place, "str type expected", "type_error.str"),
        }
        None
    }

    fn optional_text<'v>(&mut self, fields: &'v Fields, place: &[&str]) -> Option<&'v str> {
        match fields.get(*place.last()?) {
            None | Some(Value::Null) => None,
            Some(_) => self.text(fields, place),
        }
    }

    fn uuid(&mut self, fields: &Fields, place: &[&str]) -> Option<Uuid> {
        let found = fields.get(*place.last()?);
        let id = found.and_then(Value::as_str).and_then(Uuid::parse);
        match found {
            _ if id.is_some() => {}
            None => self.missing(place),
            Some(Value::Null) => {
                self.add(place, "none is not an allowed value", "type_error.none.not_allowed");
            }
            Some(_) => self.add(place, "value is not a valid uuid", "type_error.uuid"),
        }
        id
    }

    fn execute(&mut self, fields: &Fields, place: &[&str]) -> Option<Execute<'static>> {
        fn under<'p>(place: &[&'p str], name: &'p str) -> Vec<&'p str> {
            place.iter().copied().chain([name]).collect()
        }
        let function = self.uuid(fields, &under(place, "function_id"));
        let payload = self.text(fields, &under(place, "payload"));
        let had = self.0.len();
        let timeout_ms = match fields.get("timeout_s") {
            None | Some(Value::Null) => None,
            Some(value) => match value.as_f64() {
                Some(seconds) => {
                    let found = milliseconds(seconds);
                    if found.is_none() && seconds > 0.0 {
                        let words = format!("ensure this value is less than or equal to {TIMEOUT_MAX_S}");
                        self.add(&under(place, "timeout_s"), &words, "value_error.number.not_le");
                    } else if found.is_none() {
                        let words = "ensure this value is greater than 0";
                        self.add(&under(place, "timeout_s"), words, "value_error.number.not_gt");
                    }
                    found
                }
                None => {
                    self.add(&under(place, "timeout_s"), "value is not a valid float", "type_error.float");
                    None
                }
            },
        };
        if self.0.len() > had {
            return None;
        }
        Some(Execute { function: function?, payload: payload?.to_owned().into(), timeout_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

    fn told(wrong: Wrong) -> Vec<String> {
        let value: Value = serde_json::from_str(&wrong.0).expect("it is JSON");
        let details = value["detail"].as_array().expect("a list").iter();
        details
            .map(|each| {
                let place = each["loc"].as_array().expect("a place").iter();
                let place: Vec<String> = place.map(|part| part.to_string().replace('"', "")).collect();
                format!("{}: {}", place.join("."), each["type"].as_str().expect("a type"))
            })
            .collect()
    }

    #[test]
    fn what_is_right_is_read() {
        let body = r#"{"name":"f","payload":"gAR9\nlC4=\n"}"#;
        let read = register(body.as_bytes()).expect("it is right");
        assert_eq!((&*read.name, &*read.payload, read.runtime), ("f", "gAR9\nlC4=\n", None));
        let read = |runtime: &str| {
            let body = format!(r#"{{"name":"f","payload":"","runtime":{runtime}}}"#);
            register(body.as_bytes()).map(|read| read.runtime)
        };
        assert_eq!(read("null"), Ok(None));
        assert_eq!(read(r#""wasm""#), Ok(Some("wasm".to_owned())));
        assert_eq!(told(read("7").unwrap_err()), ["body.runtime: type_error.str"]);
        let body = format!(r#"{{"payload":"x","function_id":"{ID}","more":[1],"timeout_s":0.5}}"#);
        let read = execute(body.as_bytes()).expect("it is right");
        assert_eq!((read.function.to_string(), read.timeout_ms), (ID.to_owned(), Some(500)));
        let body = format!(r#"{{"tasks":[{{"function_id":"{ID}","payload":""}}]}}"#);
        assert_eq!(batch(body.as_bytes(), 5).map(|calls| calls.len()), Ok(1));
        assert_eq!(batch(br#"{"tasks":[]}"#, 5).map(|calls| calls.len()), Ok(0));
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_place() {
        #[track_caller]
        fn check(body: &str, expected: &[&str]) {
            let wrong = execute(body.as_bytes()).expect_err("it is wrong");
            assert_eq!(told(wrong), expected, "{body}");
        }
        check("", &["body: value_error.missing"]);
        check("null", &["body: value_error.missing"]);
        check("[]", &["body: type_error.dict"]);
        check("{}", &["body.function_id: value_error.missing", "body.payload: value_error.missing"]);
        check(
            r#"{"function_id":"seven","payload":7}"#,
            &["body.function_id: type_error.uuid", "body.payload: type_error.str"],
        );
        check(
            r#"{"function_id":7,"payload":null}"#,
            &["body.function_id: type_error.uuid", "body.payload: type_error.none.not_allowed"],
        );
        check(
            &format!(r#"{{"function_id":"{ID}","payload":"","timeout_s":0}}"#),
            &["body.timeout_s: value_error.number.not_gt"],
        );
        check(
            &format!(r#"{{"function_id":"{ID}","payload":"","timeout_s":"soon"}}"#),
            &["body.timeout_s: type_error.float"],
        );
        check("{\"a\":\n  x}", &["body.8: value_error.jsondecode"]);
        let wrong = batch(br#"{"tasks":[{}, 5]}"#, 5).expect_err("it is wrong");
        assert_eq!(
            told(wrong),
            [
                "body.tasks.0.function_id: value_error.missing",
                "body.tasks.0.payload: value_error.missing",
                "body.tasks.1: type_error.dict"
            ]
        );
        assert_eq!(
            told(batch(br#"{"tasks":[1,2,3]}"#, 2).unwrap_err()),
            ["body.tasks: value_error.list.max_items"]
        );
        assert_eq!(told(batch(b"{}", 2).unwrap_err()), ["body.tasks: value_error.missing"]);
        assert_eq!(told(path_id("x", "task_id").unwrap_err()), ["path.task_id: type_error.uuid"]);
        assert_eq!(told(query_seconds("soon", "wait").unwrap_err()), ["query.wait: type_error.float"]);
        assert_eq!(query_whole("7", "limit"), Ok(7));
        for text in ["x", "1.5", "-1", ""] {
            let wrong = query_whole(text, "limit").unwrap_err();
            assert_eq!(told(wrong), ["query.limit: type_error.integer"], "{text:?}");
        }
    }

    #[test]
    fn the_letter_of_a_missing_field() {
        let wrong = register(br#"{"name":"f"}"#).expect_err("a payload is missing");
        let value: Value = serde_json::from_str(&wrong.0).expect("it is JSON");
        let expected = json!({"detail":[{"loc":["body","payload"],"msg":"field required","type":"value_error.missing"}]});
        assert_eq!(value, expected);
    }
}
