//! What a system's face is made of, the same on every core: its files, its bounds, its manners.

use crate::answer::TEXT;
use crate::asset::Asset;
use crate::limits::Limits;
use crate::route::Slash;
use core::fmt::Write as _;
use machine::gauges::Value;
use machine::{Gauges, Now};

/// Writes the body of a refusal that the face itself answers, for a status and a sentence; gives its media type.
pub type Refusal = fn(status: u16, sentence: &str, into: &mut Vec<u8>) -> &'static str;

/// Writes the JSON that pages are shown of all cores, by core.
pub type View = fn(now: Now, cores: &[Gauges], into: &mut String);

/// A face. [`Face::default`] is one with `/healthz`, `/metrics`, `/live`, the page kit and nothing else.
#[derive(Clone, Debug)]
pub struct Face {
    /// Its pages, beside the kit.
    pub assets: &'static [Asset],
    /// Whether a slash at the end of a path means something.
    pub slash: Slash,
    /// Its bounds.
    pub limits: Limits,
    /// How it refuses.
    pub refusal: Refusal,
    /// Whether `/metrics`, `/healthz` and `/live` are here.
    pub watched: Watched,
    /// What `/live` tells.
    pub view: View,
    /// Pages of other origins (`http://localhost:3000`) that may change something here, open sockets and read
    /// answers. Those of this host always may.
    pub origins: Vec<Box<str>>,
}

/// Whether a face shows gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watched {
    /// At `/metrics`, `/healthz` and `/live`.
    #[default]
    Here,
    /// These paths are the system's own.
    Elsewhere,
}

impl Default for Face {
    fn default() -> Self {
        Self {
            assets: &[],
            slash: Slash::default(),
            limits: Limits::default(),
            refusal: plain,
            watched: Watched::default(),
            view: everything,
            origins: Vec::new(),
        }
    }
}

/// The sentence and nothing else.
pub fn plain(_: u16, sentence: &str, into: &mut Vec<u8>) -> &'static str {
    into.extend_from_slice(sentence.as_bytes());
    into.push(b'\n');
    TEXT
}

/// Every gauge of every core: `{"at_ms":…,"cores":[{"name":value,…},…]}`. A distribution is
/// `{"count":…,"p50":…,"p99":…,"p999":…,"max":…}`.
pub fn everything(now: Now, cores: &[Gauges], into: &mut String) {
    let _ = write!(into, "{{\"at_ms\":{},\"cores\":[", now.at.nanos() / 1_000_000);
    for (core, gauges) in cores.iter().enumerate() {
        into.push_str(if core == 0 { "{" } else { ",{" });
        for (index, entry) in gauges.entries().iter().enumerate() {
            if index > 0 {
                into.push(',');
            }
            let name = serde_json::to_string(&*entry.name).expect("a text can be written as JSON");
            let _ = write!(into, "{name}:");
            value(&entry.value, into);
        }
        into.push('}');
    }
    into.push_str("]}");
}

/// One value as JSON.
pub fn value(value: &Value, into: &mut String) {
    let _ = match value {
        Value::Counter(count) => write!(into, "{count}"),
        Value::Level(level) => write!(into, "{level}"),
        Value::Spread(spread) => write!(
            into,
            "{{\"count\":{},\"p50\":{},\"p99\":{},\"p999\":{},\"max\":{}}}",
            spread.len(),
            spread.value_at_quantile(0.5),
            spread.value_at_quantile(0.99),
            spread.value_at_quantile(0.999),
            spread.max()
        ),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_json() {
        let mut gauges = Gauges::new();
        gauges.counter("x_total{kind=\"a\"}", "things", 7);
        gauges.level("y", "a level", -2);
        let mut text = String::new();
        everything(Now::default(), &[gauges, Gauges::new()], &mut text);
        let value: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        assert_eq!(value["cores"][0]["x_total{kind=\"a\"}"], 7);
        assert_eq!(value["cores"][0]["y"], -2);
        assert_eq!(value["cores"][1], serde_json::json!({}));
    }
}
