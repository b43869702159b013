//! The control interface: `/rep`, `/add` and `/rm`, their checks in their order, and their words.
//!
//! Programs written elsewhere compare these words, so they are kept to the byte, and everything here is a pure
//! function from what was sent to what is meant or refused. The hard thing is the order of the checks: a request can
//! be wrong in several ways, and it is told the first.

use crate::names;
use machine::{Stream, WallTime};
use serde_json::Value;

/// What is asked of us on the traffic port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `GET /rep`: who is there.
    List,
    /// `POST /add`, and `GET /add` with a body.
    Add,
    /// `DELETE /rm`.
    Remove,
}

/// Bytes of a body of ours. A longer one is refused: a thousand names need 64 bytes each.
pub const BODY_MAX: usize = 64 * 1024;

/// Servers that one request may add or remove, and that there may be: seats are counted in 16 bits, and a machine
/// that starts more processes at one word does nothing else.
pub const REPLICAS_MAX: usize = 1024;

/// Names that are drawn of one millisecond, which has a thousand, before those of the next are.
const NAMES_TRIED: u64 = 2000;

/// A body as it was read: how many, and who among them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Asked {
    /// How many; 0 or less where it was not said.
    pub count: i64,
    /// Who, in the order in which they were named.
    pub hostnames: Vec<String>,
}

/// Why a request of ours is refused, with the words that follow `<Error> `.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub String);

fn refused<T>(words: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(words.into()))
}

/// Whether a content type is JSON: `application/json`, also with a suffix or parameters.
#[must_use]
pub fn is_json(content_type: Option<&[u8]>) -> bool {
    let Some(Ok(text)) = content_type.map(std::str::from_utf8) else { return false };
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// Reads a body. `N` and `replicas` are other names for `n` and `hostnames`.
///
/// # Errors
/// `Payload is empty` where there is no JSON content type or no body, else what cannot be read.
pub fn read(has_json_type: bool, body: &[u8]) -> Result<Asked, Refused> {
    if !has_json_type || body.trim_ascii().is_empty() {
        return refused("Payload is empty");
    }
    let payload: Value = match serde_json::from_slice(body) {
        Ok(Value::Null) => return refused("Payload is empty"),
        Ok(payload) => payload,
        Err(error) => return refused(format!("Payload is not JSON: {error}")),
    };
    let Value::Object(fields) = payload else { return refused("Payload is not a JSON object") };
    let count = match fields.get("n").or_else(|| fields.get("N")) {
        None | Some(Value::Null) => -1,
        Some(value) => match whole(value) {
            Some(count) => count,
            None => return refused("`n` is not a whole number"),
        },
    };
    let hostnames = match fields.get("hostnames").or_else(|| fields.get("replicas")) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(names)) => strings(names)?,
        Some(_) => return refused("`hostnames` is not a list of strings"),
    };
    Ok(Asked { count, hostnames })
}

/// A whole number, also one that was written as `2.0` or `"2"`.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64()?;
            (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn strings(names: &[Value]) -> Result<Vec<String>, Refused> {
    let texts: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
    texts.ok_or_else(|| Refused("`hostnames` is not a list of strings".into()))
}

/// What `/add` comes to: the names of all that are to be started, given ones first. `slots_left` is how many more
/// replicas the classic ring has room for, where it is the ring.
///
/// # Errors
/// The first check that fails; nothing is started then.
pub fn add(
    asked: Asked,
    present: &[&str],
    slots_left: Option<usize>,
    wall: WallTime,
    chance: &mut Stream,
) -> Result<Vec<String>, Refused> {
    if asked.count <= 0 {
        return refused("Number of servers to add must be greater than 0");
    }
    let count = usize::try_from(asked.count).unwrap_or(usize::MAX);
    let mut hostnames = asked.hostnames;
    if hostnames.len() > count {
        return refused("Length of hostname list is more than newly added instances");
    }
    let mut sorted: Vec<&String> = hostnames.iter().collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return refused("Hostname list contains duplicates");
    }
    if let Some(left) = slots_left
        && count > left
    {
        return refused(format!("Insufficient slots. Only {left} slots left"));
    }
    let taken: Vec<&str> =
        hostnames.iter().map(String::as_str).filter(|name| present.contains(name)).collect();
    if !taken.is_empty() {
        return refused(format!("Hostnames `{}` are already in replicas", set(&taken)));
    }
    let wrong: Vec<&str> =
        hostnames.iter().map(String::as_str).filter(|name| !names::is_hostname(name)).collect();
    if !wrong.is_empty() {
        return refused(format!("Hostnames `{}` are not host names", set(&wrong)));
    }
    if count > REPLICAS_MAX.saturating_sub(present.len()) {
        return refused(format!("There can be at most {REPLICAS_MAX} replicas"));
    }
    // Each millisecond has a thousand names; where they are used up the next one's are taken.
    let mut tried = 0;
    while hostnames.len() < count {
        let wall = WallTime::from_millis(wall.millis().saturating_add(tried / NAMES_TRIED));
        let name = names::made_up(wall, chance);
        if !present.contains(&name.as_str()) && !hostnames.contains(&name) {
            hostnames.push(name);
        }
        tried += 1;
    }
    Ok(hostnames)
}

/// What `/rm` comes to: who goes, the named ones and random others.
///
/// # Errors
/// The first check that fails; nobody goes then.
pub fn remove(asked: Asked, present: &[&str], chance: &mut Stream) -> Result<Vec<String>, Refused> {
    if asked.count <= 0 {
        return refused("Number of servers to delete must be greater than 0");
    }
    let count = usize::try_from(asked.count).unwrap_or(usize::MAX);
    if count > present.len() {
        return refused("Number of servers to delete must be less than or equal to number of replicas");
    }
    let mut going: Vec<String> = Vec::with_capacity(count);
    if asked.hostnames.len() > count {
        return refused("Length of hostname list is more than removable instances");
    }
    let strange: Vec<&str> =
        asked.hostnames.iter().map(String::as_str).filter(|name| !present.contains(name)).collect();
    if !strange.is_empty() {
        return refused(format!("Hostnames `{}` are not in replicas", set(&strange)));
    }
    for name in asked.hostnames {
        if !going.contains(&name) {
            going.push(name);
        }
    }
    let mut others: Vec<&str> =
        present.iter().copied().filter(|name| !going.iter().any(|gone| gone == name)).collect();
    while going.len() < count {
        let drawn = chance.below(others.len() as u64) as usize;
        going.push(others.remove(drawn).to_owned());
    }
    Ok(going)
}

/// Names as people of this interface know sets: `{'a', 'b'}`, each once, in the order of asking.
fn set(names: &[&str]) -> String {
    let mut seen: Vec<&str> = Vec::new();
    names.iter().for_each(|name| {
        if !seen.contains(name) {
            seen.push(name)
        }
    });
    let quoted: Vec<String> = seen
        .iter()
        .map(|name| {
            let escaped: String = name.chars().take(names::SHOWN_MAX).flat_map(char::escape_debug).collect();
            format!("'{escaped}'")
        })
        .collect();
    format!("{{{}}}", quoted.join(", "))
}

/// `{"message":{"N":3,"replicas":[…]},"status":"successful"}` and a newline.
#[must_use]
pub fn listed(present: &[&str]) -> String {
    let names = serde_json::to_string(present).unwrap_or_default();
    format!("{{\"message\":{{\"N\":{},\"replicas\":{names}}},\"status\":\"successful\"}}\n", present.len())
}

/// `{"message":"<Error> …","status":"failure"}` and a newline.
#[must_use]
pub fn failure(words: &str) -> String {
    let message = serde_json::to_string(&format!("<Error> {words}")).unwrap_or_default();
    format!("{{\"message\":{message},\"status\":\"failure\"}}\n")
}
