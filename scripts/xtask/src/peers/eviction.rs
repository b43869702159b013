//! Whether a bound on memory holds, and what it leaves in: a cache that is asked by popularity, reads through, and has
//! room for half of its keys.
//!
//! The hard thing is what "holds" means: a server counts what it stores, the machine what it holds. So both are sampled
//! all along, and how far the resident memory passes the bound is told, not judged.

use super::chance::Chance;
use super::record::{Found, mebibytes};
use super::resp::{Client, Reply};
use super::server::{Kind, Server, part_cores};
use super::zipf::Zipf;
use clap::Args;
use serde_json::{Value, json};
use std::path::Path;

/// Reads sent at once; what they missed is written at once after them. A key twice in a batch may miss twice.
const BATCH: usize = 64;
/// How often memory is looked at.
const SAMPLES: u64 = 100;
/// Bytes of `key:000000000042`.
const KEY_BYTES: u64 = 16;
/// How uneven popularity is; YCSB's.
const THETA: f64 = 0.99;
/// Which requests these are.
const SEED: u64 = 99;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// The bound of each server: 64mb, 1gb
    #[arg(long, default_value = "64mb", value_name = "BYTES", value_parser = bytes)]
    max_memory: u64,
    /// Bytes of a value
    #[arg(long, default_value_t = 200, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(KEY_BYTES..=1 << 20))]
    value_size: u64,
    /// Reads in all; the last half of them counts
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    requests: u64,
}

/// One server under load.
#[derive(Debug, Default)]
struct Pressed {
    requests: u64,
    /// Of all reads.
    hits: u64,
    /// Reads and hits since the middle.
    late: (u64, u64),
    errors: u64,
    first_error: Option<String>,
    evicted: u64,
    keys: u64,
    resident_before: u64,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    request: u64,
    resident: u64,
    used: u64,
}

/// Presses each server with the same requests.
pub(super) fn measure(dht: &Path, options: &Options) -> Result<Found, String> {
    let (core, how) = part_cores()?;
    let keys = 2 * options.max_memory / (KEY_BYTES + options.value_size);
    if !(2..u64::from(u32::MAX)).contains(&keys) {
        return Err(format!(
            "--max-memory and --value-size make {keys} keys, which is no number to draw from"
        ));
    }
    let zipf = Zipf::new(keys, THETA);
    let mut all = Vec::new();
    for kind in [Kind::Dht, Kind::Redis] {
        let server = Server::start(kind, dht, &core, Some(options.max_memory))?;
        let pressed = press(&server, &zipf, options)?;
        println!("{kind}: hit ratio {:.4}, {} evictions", pressed.late_ratio(), pressed.evicted);
        all.push((kind, pressed));
    }
    Ok(Found {
        name: "dht-eviction",
        title: "A cache under a bound".to_owned(),
        how: format!(
            "{keys} keys of {KEY_BYTES} bytes with values of {} bytes, which is twice the bound of {} without any \
             overhead; popularity zipfian (θ {THETA}), the same {} reads for both, {BATCH} at once, each miss followed \
             by a write; allkeys-lru. {how}.",
            options.value_size,
            mebibytes(options.max_memory),
            options.requests
        ),
        columns: vec![
            "server",
            "hit ratio, last half",
            "resident before",
            "resident at most",
            "resident at most, over the bound",
            "growth, over the bound",
            "used_memory at most",
            "keys at the end",
            "evictions",
            "errors",
        ],
        rows: all.iter().map(|(kind, pressed)| pressed.row(*kind, options.max_memory)).collect(),
        remarks: all.iter().map(|(kind, pressed)| pressed.remark(*kind, options.max_memory)).collect(),
        json: json!({
            "max_memory": options.max_memory,
            "keys": keys,
            "key_bytes": KEY_BYTES,
            "value_bytes": options.value_size,
            "theta": THETA,
            "seed": SEED,
            "batch": BATCH,
            "servers": all.iter().map(|(kind, pressed)| pressed.json(*kind)).collect::<Vec<_>>(),
        }),
    })
}

fn press(server: &Server, zipf: &Zipf, options: &Options) -> Result<Pressed, String> {
    let mut client = server.client()?;
    let mut pressed = Pressed { resident_before: server.resident_settled()?, ..Pressed::default() };
    let mut chance = Chance::new(SEED);
    let filler = vec![b'x'; usize::try_from(options.value_size - KEY_BYTES).unwrap_or_default()];
    let step = (options.requests / SAMPLES).max(1);
    let mut next_sample = step;
    while pressed.requests < options.requests {
        let keys: Vec<String> = (0..BATCH).map(|_| format!("key:{:012}", zipf.draw(&mut chance))).collect();
        let is_late = pressed.requests >= options.requests / 2;
        pressed.batch(&mut client, &keys, &filler, is_late)?;
        if pressed.requests >= next_sample {
            let used = client.info("memory")?.number("used_memory")?;
            pressed.samples.push(Sample { request: pressed.requests, resident: server.resident()?, used });
            next_sample += step;
        }
    }
    pressed.evicted = client.info("stats")?.number("evicted_keys")?;
    pressed.keys = match client.ask(&[b"DBSIZE"])? {
        Reply::Integer(count) => u64::try_from(count).unwrap_or_default(),
        other => return Err(format!("DBSIZE is answered by {other:?}")),
    };
    Ok(pressed)
}

impl Pressed {
    /// Reads them all, then writes what was missed.
    fn batch(
        &mut self,
        client: &mut Client,
        keys: &[String],
        filler: &[u8],
        is_late: bool,
    ) -> Result<(), String> {
        keys.iter().for_each(|key| client.push(&[b"GET", key.as_bytes()]));
        client.send()?;
        let mut missed = Vec::new();
        let mut hits = 0;
        for key in keys {
            match client.reply()? {
                Reply::Bulk(value) if is_value_of(&value, key, filler) => hits += 1,
                Reply::None => missed.push(key.as_bytes()),
                other => self.error(&other),
            }
        }
        for key in &missed {
            client.push(&[b"SET", key, &[key, filler].concat()]);
        }
        client.send()?;
        for _ in &missed {
            match client.reply()? {
                Reply::Simple(_) => {}
                other => self.error(&other),
            }
        }
        let count = keys.len() as u64;
        self.requests += count;
        self.hits += hits;
        if is_late {
            self.late = (self.late.0 + count, self.late.1 + hits);
        }
        Ok(())
    }

    fn error(&mut self, reply: &Reply) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| match reply {
            Reply::Error(text) => text.clone(),
            other => format!("{other:?}").chars().take(200).collect(),
        });
    }

    fn late_ratio(&self) -> f64 {
        self.late.1 as f64 / self.late.0.max(1) as f64
    }

    fn most(&self, of: fn(&Sample) -> u64) -> u64 {
        self.samples.iter().map(of).max().unwrap_or_default()
    }

    fn row(&self, kind: Kind, bound: u64) -> Vec<String> {
        let resident = self.most(|sample| sample.resident);
        vec![
            kind.to_string(),
            format!("{:.4}", self.late_ratio()),
            mebibytes(self.resident_before),
            mebibytes(resident),
            over(resident, bound),
            over(resident.saturating_sub(self.resident_before), bound),
            mebibytes(self.most(|sample| sample.used)),
            self.keys.to_string(),
            self.evicted.to_string(),
            self.errors.to_string(),
        ]
    }

    fn remark(&self, kind: Kind, bound: u64) -> String {
        let resident = self.most(|sample| sample.resident);
        let (word, difference) =
            if resident > bound { ("passes", resident - bound) } else { ("stays under", bound - resident) };
        let used = self.most(|sample| sample.used);
        let counted = if used > bound { "passes" } else { "keeps" };
        let mut text = format!(
            "{kind}: resident memory {word} the bound by {}; what it counts itself {counted} it ({}).",
            mebibytes(difference),
            over(used, bound)
        );
        if let Some(error) = &self.first_error {
            text += &format!(" The first of {} errors: {error}.", self.errors);
        }
        text
    }

    fn json(&self, kind: Kind) -> Value {
        let sample = |sample: &Sample| json!({"request": sample.request, "resident": sample.resident, "used_memory": sample.used});
        json!({
            "server": kind.to_string(),
            "requests": self.requests,
            "hits": self.hits,
            "late_requests": self.late.0,
            "late_hits": self.late.1,
            "late_hit_ratio": self.late_ratio(),
            "errors": self.errors,
            "first_error": self.first_error,
            "evicted": self.evicted,
            "keys": self.keys,
            "resident_before": self.resident_before,
            "resident_max": self.most(|sample| sample.resident),
            "used_memory_max": self.most(|sample| sample.used),
            "samples": self.samples.iter().map(sample).collect::<Vec<_>>(),
        })
    }
}

/// A value begins with its key, so that another key's is noticed.
fn is_value_of(value: &[u8], key: &str, filler: &[u8]) -> bool {
    value.strip_prefix(key.as_bytes()).is_some_and(|rest| rest == filler)
}

/// By how much, with its sign.
fn over(bytes: u64, bound: u64) -> String {
    format!("{:+.1} %", (bytes as f64 / bound as f64 - 1.0) * 100.0)
}

/// `64mb` in bytes: a number alone, or with kb, mb or gb of 1024, as Redis reads it.
fn bytes(typed: &str) -> Result<u64, String> {
    let typed = typed.to_ascii_lowercase();
    let units = [("kb", 10), ("mb", 20), ("gb", 30), ("", 0)];
    let found = units.iter().find_map(|(unit, shift)| Some((typed.strip_suffix(unit)?, shift)));
    let (digits, shift) = found.unwrap_or((&typed, &0));
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    number.filter(|bytes| *bytes > 0).ok_or_else(|| "write 64mb, 1gb or a number of bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_units_of_redis() {
        assert_eq!(bytes("64mb"), Ok(64 << 20));
        assert_eq!(bytes("1GB"), Ok(1 << 30));
        assert_eq!(bytes("7"), Ok(7));
        for wrong in ["", "mb", "0", "-1mb", "1tb", "99999999999gb"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn another_keys_value_is_noticed() {
        assert!(is_value_of(b"key:1xx", "key:1", b"xx"));
        assert!(!is_value_of(b"key:2xx", "key:1", b"xx"));
        assert!(!is_value_of(b"key:1x", "key:1", b"xx"));
    }

    #[test]
    fn a_bound_is_passed_or_kept_by_so_much() {
        assert_eq!(over(110, 100), "+10.0 %");
        assert_eq!(over(95, 100), "-5.0 %");
    }
}
