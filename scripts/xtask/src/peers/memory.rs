//! What a key costs in memory: a fresh server is filled, and what it holds before is taken from what it holds after.

use super::record::{Found, mebibytes};
use super::resp::{Client, Reply};
use super::server::{Kind, Server, part_cores};
use clap::Args;
use serde_json::{Value, json};
use std::path::Path;

/// Writes sent at once.
const BATCH: u64 = 1000;
/// There are no more keys of six digits.
const SIX_DIGITS_MAX: u64 = 1_000_000;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// How many keys of 16 bytes; of those of six digits as many, at most a million
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1000..=1_000_000_000))]
    keys: u64,
}

/// What is stored.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// `key:000000000042`, with 32 bytes that are all different
    Long,
    /// `000042`, with three letters
    Short,
}

impl Shape {
    const fn key_bytes(self) -> u64 {
        match self {
            Self::Long => 16,
            Self::Short => 6,
        }
    }

    const fn value_bytes(self) -> u64 {
        match self {
            Self::Long => 32,
            Self::Short => 3,
        }
    }

    /// Letters are no numbers, which servers store in ways of their own.
    fn pair(self, number: u64) -> (String, String) {
        match self {
            Self::Long => (format!("key:{number:012}"), format!("value:{number:026}")),
            Self::Short => (format!("{number:06}"), "xyz".to_owned()),
        }
    }
}

/// One server, filled.
struct Filled {
    kind: Kind,
    shape: Shape,
    keys: u64,
    before: u64,
    after: u64,
    /// As the server's own used_memory says.
    used_before: u64,
    used_after: u64,
}

/// Fills each server with each shape.
pub(super) fn measure(dht: &Path, options: &Options) -> Result<Found, String> {
    let (core, how) = part_cores()?;
    let mut all = Vec::new();
    for shape in [Shape::Long, Shape::Short] {
        let keys = match shape {
            Shape::Long => options.keys,
            Shape::Short => options.keys.min(SIX_DIGITS_MAX),
        };
        for kind in [Kind::Dht, Kind::Redis] {
            let server = Server::start(kind, dht, &core, None)?;
            let filled = fill(&server, kind, shape, keys)?;
            println!("{kind}, {keys} keys: {:.1} resident bytes a key", filled.resident());
            all.push(filled);
        }
    }
    Ok(Found {
        name: "dht-memory",
        title: "Memory a key".to_owned(),
        how: format!(
            "Each server fresh, on one core, without persistence, filled by SET over one connection, {BATCH} at once. \
             A key costs what the server's resident memory grew by, divided by their number; tables that double make \
             steps, so other numbers of keys give other figures. {how}."
        ),
        columns: vec![
            "server",
            "keys",
            "key + value bytes",
            "resident bytes a key",
            "used_memory bytes a key",
            "resident before",
            "resident after",
        ],
        rows: all.iter().map(Filled::row).collect(),
        remarks: Vec::new(),
        json: json!({"batch": BATCH, "servers": all.iter().map(Filled::json).collect::<Vec<_>>()}),
    })
}

fn fill(server: &Server, kind: Kind, shape: Shape, keys: u64) -> Result<Filled, String> {
    let mut client = server.client()?;
    let used_before = client.info("memory")?.number("used_memory")?;
    let before = server.resident_settled()?;
    let mut number = 0;
    while number < keys {
        let end = keys.min(number + BATCH);
        set(&mut client, shape, number..end)?;
        number = end;
    }
    let counted = client.ask(&[b"DBSIZE"])?;
    if counted != Reply::Integer(i64::try_from(keys).unwrap_or(i64::MAX)) {
        return Err(format!("{kind} was given {keys} keys and counts {counted:?}"));
    }
    let after = server.resident_settled()?;
    let used_after = client.info("memory")?.number("used_memory")?;
    Ok(Filled { kind, shape, keys, before, after, used_before, used_after })
}

fn set(client: &mut Client, shape: Shape, numbers: std::ops::Range<u64>) -> Result<(), String> {
    let count = numbers.end - numbers.start;
    for number in numbers {
        let (key, value) = shape.pair(number);
        client.push(&[b"SET", key.as_bytes(), value.as_bytes()]);
    }
    client.send()?;
    for _ in 0..count {
        match client.reply()? {
            Reply::Simple(_) => {}
            other => return Err(format!("SET is answered by {other:?}")),
        }
    }
    Ok(())
}

impl Filled {
    fn resident(&self) -> f64 {
        self.after.saturating_sub(self.before) as f64 / self.keys as f64
    }

    fn used(&self) -> f64 {
        self.used_after.saturating_sub(self.used_before) as f64 / self.keys as f64
    }

    fn row(&self) -> Vec<String> {
        let (key, value) = (self.shape.key_bytes(), self.shape.value_bytes());
        vec![
            self.kind.to_string(),
            self.keys.to_string(),
            format!("{key} + {value} = {}", key + value),
            format!("{:.1}", self.resident()),
            format!("{:.1}", self.used()),
            mebibytes(self.before),
            mebibytes(self.after),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "server": self.kind.to_string(),
            "keys": self.keys,
            "key_bytes": self.shape.key_bytes(),
            "value_bytes": self.shape.value_bytes(),
            "resident_bytes_a_key": self.resident(),
            "used_memory_bytes_a_key": self.used(),
            "resident_before": self.before,
            "resident_after": self.after,
            "used_memory_before": self.used_before,
            "used_memory_after": self.used_after,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_as_long_as_they_say() {
        for (shape, number) in [(Shape::Long, 999_999_999_u64), (Shape::Short, SIX_DIGITS_MAX - 1)] {
            let (key, value) = shape.pair(number);
            assert_eq!((key.len() as u64, value.len() as u64), (shape.key_bytes(), shape.value_bytes()));
        }
    }
}
