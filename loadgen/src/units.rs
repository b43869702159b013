//! What people type: `200k`, `1.5ms`, `get=90,set=10`, `127.0.0.2-127.0.0.9`, read into exact values and written
//! back. The one hard thing is that a typing error must be a sentence that says what would have been right, and
//! that nothing is rounded on the way: a rate is kept in thousandths of a request a second.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The longest span that can be asked for: a week.
const SPAN_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// The fastest rate that can be asked for, in requests a second.
const RATE_MAX: u64 = 1_000_000_000;
/// The most source addresses: a /16.
const SOURCES_MAX: u32 = 65_536;

/// Requests a second, in thousandths. Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate {
    /// Thousandths of a request a second.
    pub milli: u64,
}

impl Rate {
    /// Requests a second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        self.milli as f64 / 1000.0
    }
}

/// A whole number: `250`, `100k`, `1.5M`, `2G`; `_` may stand between digits.
///
/// # Errors
/// A sentence, when it is none.
pub fn count(text: &str) -> Result<u64, String> {
    let milli = thousandths(text).ok_or_else(|| format!("{text:?} is no number: write 250, 100k or 1.5M"))?;
    if milli.is_multiple_of(1000) { Ok(milli / 1000) } else { Err(format!("{text:?} is not whole")) }
}

/// A size in bytes: `32`, `4KiB`, `64KB`, `1MiB`.
///
/// # Errors
/// A sentence, when it is none.
pub fn size(text: &str) -> Result<usize, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("KB", 1000), ("MB", 1_000_000), ("B", 1), ("", 1)];
    let wrong = || format!("{text:?} is no size: write 32, 4KiB or 1MiB");
    let (digits, unit) = units
        .iter()
        .find_map(|(name, unit)| text.strip_suffix(name).map(|digits| (digits, *unit)))
        .ok_or_else(wrong)?;
    let digits: usize = digits.trim().parse().map_err(|_| wrong())?;
    digits.checked_mul(unit).ok_or_else(wrong)
}

/// A rate: `200k`, `1.5M`, `0.5`, each also with `/s` or `/m` behind it.
///
/// # Errors
/// A sentence, when it is none, or is zero.
pub fn rate(text: &str) -> Result<Rate, String> {
    let wrong = || format!("{text:?} is no rate: write 200k, 1.5M, 0.5 or 1000/s");
    let (number, seconds) = match text.split_once('/') {
        None | Some((_, "s")) => (text.trim_end_matches("/s"), 1),
        Some((number, "m")) => (number, 60),
        Some(_) => return Err(wrong()),
    };
    let milli = thousandths(number).ok_or_else(wrong)? / seconds;
    if milli == 0 || milli > RATE_MAX * 1000 {
        return Err(format!("{text:?}: a rate is from 0.001 to {RATE_MAX} a second"));
    }
    Ok(Rate { milli })
}

/// A span of time: `30s`, `1.5ms`, `250us`, `2m`, `1h`, `1m30s`.
///
/// # Errors
/// A sentence, when it is none.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no span of time: write 30s, 1.5ms, 2m or 1m30s");
    let mut rest = text;
    let mut nanos: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(wrong)?;
        let letters = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        let unit_nanos: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(wrong()),
        };
        let milli = u128::from(thousandths(number).ok_or_else(wrong)?);
        let more = u64::try_from(milli * u128::from(unit_nanos) / 1000).map_err(|_| wrong())?;
        nanos = nanos.checked_add(more).ok_or_else(wrong)?;
        rest = &rest[digits + letters..];
    }
    let span = Duration::from_nanos(nanos);
    match text.is_empty() {
        true => Err(wrong()),
        false if span > SPAN_MAX => Err(format!("{text:?} is more than a week")),
        false => Ok(span),
    }
}

/// How often each operation comes, of the sum of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Reads.
    pub get: u32,
    /// Writes.
    pub set: u32,
    /// Deletes.
    pub del: u32,
}

/// A mix: `get=90,set=10`, `get=1`, `set=50,del=50`.
///
/// # Errors
/// A sentence, when it is none, or sums to nothing.
pub fn mix(text: &str) -> Result<Mix, String> {
    let wrong = || format!("{text:?} is no mix: write get=90,set=10 (also del=)");
    let mut mix = Mix { get: 0, set: 0, del: 0 };
    for part in text.split(',') {
        let (name, weight) = part.split_once('=').ok_or_else(wrong)?;
        let weight: u32 = weight.trim().parse().map_err(|_| wrong())?;
        let place = match name.trim() {
            "get" => &mut mix.get,
            "set" => &mut mix.set,
            "del" => &mut mix.del,
            _ => return Err(wrong()),
        };
        *place = weight;
    }
    let sum = u64::from(mix.get) + u64::from(mix.set) + u64::from(mix.del);
    if sum == 0 || sum > u64::from(u32::MAX) { Err(wrong()) } else { Ok(mix) }
}

/// Numbers of cores: `1`, `0,2-5`.
///
/// # Errors
/// A sentence, when it is none.
pub fn cores(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("{text:?} is no list of cores: write 1 or 0,2-5");
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| wrong())?;
        let last: usize = last.trim().parse().map_err(|_| wrong())?;
        if last < first || last > usize::from(u16::MAX) {
            return Err(wrong());
        }
        cores.extend(first..=last);
    }
    cores.sort_unstable();
    cores.dedup();
    Ok(cores)
}

/// Addresses: `127.0.0.2`, `127.0.0.2-127.0.0.9`, several with commas.
///
/// # Errors
/// A sentence, when they are none.
pub fn sources(text: &str) -> Result<Vec<IpAddr>, String> {
    let wrong = || format!("{text:?} are no addresses: write 127.0.0.2-127.0.0.9 or 10.0.0.1,10.0.0.2");
    let mut all = Vec::new();
    for part in text.split(',') {
        let Some((first, last)) = part.split_once('-') else {
            all.push(part.trim().parse().map_err(|_| wrong())?);
            continue;
        };
        let first: Ipv4Addr = first.trim().parse().map_err(|_| wrong())?;
        let last: Ipv4Addr = last.trim().parse().map_err(|_| wrong())?;
        let (first, last) = (u32::from(first), u32::from(last));
        if last < first || last - first >= SOURCES_MAX {
            return Err(wrong());
        }
        all.extend((first..=last).map(|address| IpAddr::V4(Ipv4Addr::from(address))));
    }
    Ok(all)
}

/// A span in the unit that suits it, three digits: `57 µs`, `1.23 ms`, `12.3 s`.
#[must_use]
pub fn shown_micros(micros: u64) -> String {
    let (value, unit) = match micros {
        0..1_000 => return format!("{micros} µs"),
        1_000..1_000_000 => (micros as f64 / 1e3, "ms"),
        _ => (micros as f64 / 1e6, "s"),
    };
    match value {
        value if value < 9.995 => format!("{value:.2} {unit}"),
        value if value < 99.95 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

/// A count with its thousands apart: `1,234,567`.
#[must_use]
pub fn shown_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A decimal number with at most three places and an optional `k`, `M` or `G`, in thousandths.
fn thousandths(text: &str) -> Option<u64> {
    let (number, unit): (&str, u64) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1_000),
        b'm' | b'M' => (&text[..text.len() - 1], 1_000_000),
        b'g' | b'G' => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: String = whole.chars().filter(|c| *c != '_').collect();
    let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(&whole) || !plain(part) || part.len() > 9 {
        return None;
    }
    let scale = 10u128.pow(part.len() as u32);
    let part = if part.is_empty() { 0 } else { part.parse::<u128>().ok()? };
    let exact = (whole.parse::<u128>().ok()? * scale + part) * u128::from(unit) * 1000;
    if exact.is_multiple_of(scale) { u64::try_from(exact / scale).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_rates_and_sizes_are_read_as_people_write_them() {
        let check = |text: &str, expected: u64| assert_eq!(count(text), Ok(expected), "{text}");
        check("250", 250);
        check("200k", 200_000);
        check("1.5M", 1_500_000);
        check("100_000", 100_000);
        for refused in ["", "k", "1.5", "-1", "1e6", "5 k", "99999999999999999999G"] {
            assert!(count(refused).is_err(), "{refused}");
        }
        assert_eq!(rate("200k"), Ok(Rate { milli: 200_000_000 }));
        assert_eq!(rate("0.5"), Ok(Rate { milli: 500 }));
        assert_eq!(rate("1000/s"), Ok(Rate { milli: 1_000_000 }));
        assert_eq!(rate("60/m"), Ok(Rate { milli: 1_000 }));
        assert!(rate("0").is_err() && rate("5/h").is_err() && rate("0.0001").is_err());
        assert_eq!(size("4KiB"), Ok(4096));
        assert_eq!(size("32"), Ok(32));
        assert!(size("4 apples").is_err());
    }

    #[test]
    fn spans_are_exact() {
        let check =
            |text: &str, nanos: u64| assert_eq!(span(text), Ok(Duration::from_nanos(nanos)), "{text}");
        check("1ms", 1_000_000);
        check("1.5ms", 1_500_000);
        check("250us", 250_000);
        check("30s", 30_000_000_000);
        check("1m30s", 90_000_000_000);
        check("0s", 0);
        for refused in ["", "30", "s", "1 s", "5d", "1.2.3s", "200h"] {
            assert!(span(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn lists_and_mixes_are_read() {
        assert_eq!(mix("get=90,set=10"), Ok(Mix { get: 90, set: 10, del: 0 }));
        assert_eq!(mix("del=1"), Ok(Mix { get: 0, set: 0, del: 1 }));
        assert!(mix("get=0").is_err() && mix("put=1").is_err() && mix("get").is_err());
        assert_eq!(cores("0,2-4"), Ok(vec![0, 2, 3, 4]));
        assert!(cores("4-2").is_err() && cores("").is_err());
        assert_eq!(sources("127.0.0.2-127.0.0.4").map(|all| all.len()), Ok(3));
        assert_eq!(sources("::1").map(|all| all.len()), Ok(1));
        assert!(sources("127.0.0.9-127.0.0.2").is_err());
    }

    #[test]
    fn numbers_are_shown_in_a_fitting_unit() {
        assert_eq!(shown_micros(57), "57 µs");
        assert_eq!(shown_micros(1_234), "1.23 ms");
        assert_eq!(shown_micros(99_960), "100 ms");
        assert_eq!(shown_micros(12_345_678), "12.3 s");
        assert_eq!(shown_count(1_234_567), "1,234,567");
        assert_eq!(shown_count(12), "12");
    }
}
