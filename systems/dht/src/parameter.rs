//! What CONFIG tells and sets. Few parameters are ours; others are answered because tools ask for them before they
//! do anything else, and they are told what is true here.

#![allow(missing_docs, reason = "the derive writes types beside ours, without docs for their fields")]

use crate::config::Limits;
use crate::policy::Policy;
use crate::refusal::Refusal;
use crate::store::SAMPLES;
use rkyv::{Archive, Deserialize, Serialize};

/// What CONFIG SET changes, the same on every core.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// The most clients.
    pub clients_max: Option<u32>,
    /// The most memory, in bytes; 0 for no bound.
    pub memory_max: Option<u64>,
    /// What gives way.
    pub policy: Option<Policy>,
    /// How long a client may be idle, in seconds; 0 for ever.
    pub idle_max_s: Option<u32>,
    /// From how many microseconds on an event is slow; a negative number for never.
    pub slow_us: Option<i64>,
    /// How many slow events are remembered.
    pub slow_max: Option<u32>,
    /// From how many milliseconds on an event is a sample; 0 for never.
    pub latency_ms: Option<u64>,
}

impl Change {
    /// Makes it so.
    pub fn apply(self, limits: &mut Limits) {
        limits.clients_max = self.clients_max.unwrap_or(limits.clients_max);
        limits.memory_max = self.memory_max.unwrap_or(limits.memory_max);
        limits.policy = self.policy.unwrap_or(limits.policy);
        limits.idle_max_s = self.idle_max_s.unwrap_or(limits.idle_max_s);
        limits.slow_us = self.slow_us.unwrap_or(limits.slow_us);
        limits.slow_max = self.slow_max.unwrap_or(limits.slow_max);
        limits.latency_ms = self.latency_ms.unwrap_or(limits.latency_ms);
    }
}

/// Every parameter, by name. `port` is where RESP is served.
#[must_use]
pub fn all(limits: &Limits, port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("appendonly", "no".into()),
        ("databases", "1".into()),
        ("latency-monitor-threshold", limits.latency_ms.to_string()),
        ("maxclients", limits.clients_max.to_string()),
        ("maxmemory", limits.memory_max.to_string()),
        ("maxmemory-policy", limits.policy.name().into()),
        ("maxmemory-samples", SAMPLES.to_string()),
        ("port", port.to_string()),
        ("proto-max-bulk-len", limits.value_max.to_string()),
        ("save", String::new()),
        ("slowlog-log-slower-than", limits.slow_us.to_string()),
        ("slowlog-max-len", limits.slow_max.to_string()),
        ("timeout", limits.idle_max_s.to_string()),
    ]
}

/// What `CONFIG SET name value …` changes: all of it or, with an error, nothing.
pub fn changes(words: &[&[u8]], limits: &Limits) -> Result<Change, Refusal> {
    let known = all(limits, 0);
    let name_of =
        |word: &[u8]| String::from_utf8_lossy(&word[..word.len().min(NAME_MAX)]).to_ascii_lowercase();
    let mut seen: Vec<&str> = Vec::new();
    for word in words.iter().step_by(2) {
        let name = name_of(word);
        // As typed: what is wrong with a name is told in its own letters, what is wrong with a value is not.
        let shown = String::from_utf8_lossy(&word[..word.len().min(NAME_MAX)]);
        let Some((known, _)) = known.iter().find(|(known, _)| *known == name) else {
            let says = format!("ERR Unknown option or number of arguments for CONFIG SET - '{shown}'");
            return Err(Refusal::Says(says.into()));
        };
        if matches!(*known, "databases" | "port") {
            return Err(failed(&shown, "can't set immutable config"));
        }
        if seen.contains(known) {
            return Err(failed(&shown, "duplicate parameter"));
        }
        seen.push(known);
    }
    let mut change = Change::default();
    for (name, value) in seen.into_iter().zip(words.iter().skip(1).step_by(2)) {
        let holds = known.iter().find(|(known, _)| *known == name).map_or("", |(_, holds)| holds.as_str());
        one(name, value, holds, &mut change)?;
    }
    Ok(change)
}

/// The most slow events that a core may be told to remember: each is some hundred bytes, at most some thousand.
const SLOW_MAX: u32 = 65_536;

/// Bytes of a name that are looked at.
const NAME_MAX: usize = 128;

fn one(name: &str, value: &[u8], holds: &str, change: &mut Change) -> Result<(), Refusal> {
    let text = String::from_utf8_lossy(value);
    match name {
        "maxclients" => change.clients_max = Some(number(name, value, 1, u32::MAX)?),
        "timeout" => change.idle_max_s = Some(number(name, value, 0, i32::MAX as u32)?),
        "slowlog-log-slower-than" => change.slow_us = Some(number(name, value, -1, i64::MAX)?),
        "slowlog-max-len" => change.slow_max = Some(number(name, value, 0, SLOW_MAX)?),
        "latency-monitor-threshold" => change.latency_ms = Some(number(name, value, 0, i64::MAX as u64)?),
        "maxmemory" => {
            let bytes = memory(&text).ok_or_else(|| failed(name, "argument must be a memory value"))?;
            change.memory_max = Some(bytes);
        }
        "maxmemory-policy" => {
            change.policy = Some(Policy::named(&text).ok_or_else(no_policy)?);
        }
        _ if holds.as_bytes() == value => {}
        "maxmemory-samples" if wire::resp::integer(value).is_none() => {
            return Err(failed(name, "argument couldn't be parsed into an integer"));
        }
        _ => return Err(failed(name, "can't set immutable config")),
    }
    Ok(())
}

fn no_policy() -> Refusal {
    failed(
        "maxmemory-policy",
        "argument(s) must be one of the following: volatile-lru, volatile-lfu, volatile-random, volatile-ttl, \
         allkeys-lru, allkeys-lfu, allkeys-random, noeviction",
    )
}

/// Reads `1000`, `100mb`, `1g`: as in Redis k, m and g count in thousands and kb, mb and gb in 1,024s.
#[must_use]
pub fn memory(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|each: char| each.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}

fn number<N>(name: &str, value: &[u8], least: N, most: N) -> Result<N, Refusal>
where
    N: TryFrom<i64> + PartialOrd + core::fmt::Display + Copy,
{
    let Some(number) = wire::resp::integer(value) else {
        return Err(failed(name, "argument couldn't be parsed into an integer"));
    };
    match N::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(failed(name, &format!("argument must be between {least} and {most} inclusive"))),
    }
}

fn failed(name: &str, why: &str) -> Refusal {
    Refusal::Says(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_the_units_of_redis() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("100", Some(100)),
            ("1k", Some(1_000)),
            ("1KB", Some(1_024)),
            ("500mb", Some(500 << 20)),
            ("2g", Some(2_000_000_000)),
            ("1gB", Some(1 << 30)),
            ("1xb", None),
            ("abc", None),
            ("-1", None),
            ("+1", None),
            ("", None),
            ("99999999999999999999", None),
            ("99999999999gb", None),
        ] {
            assert_eq!(memory(text), bytes, "{text}");
        }
    }

    #[test]
    fn several_parameters_are_set_or_none_is() {
        #[track_caller]
        fn check(line: &str, expected: Result<Change, &str>) {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let found = changes(&words, &Limits::default());
            assert_eq!(
                found.map_err(|why| why.words().into_owned()),
                expected.map_err(str::to_owned),
                "{line}"
            );
        }
        let both =
            Change { memory_max: Some(1 << 20), policy: Some(Policy::AllKeysLru), ..Change::default() };
        check("maxmemory 1mb MAXMEMORY-policy AllKeys-LRU", Ok(both));
        check(
            "save 1",
            Err("ERR CONFIG SET failed (possibly related to argument 'save') - can't set immutable config"),
        );
        check(
            "timeout 0 nosuch 1",
            Err("ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
        );
        check(
            "timeout 0 timeout 1",
            Err("ERR CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter"),
        );
        check(
            "timeout -1",
            Err(
                "ERR CONFIG SET failed (possibly related to argument 'timeout') - argument must be between 0 and 2147483647 inclusive",
            ),
        );
    }
}
