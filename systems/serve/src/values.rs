//! Values as people type them: lists of cores, spans of time. Each has a reader whose error says what would do.

use std::time::Duration;

/// Kernel numbers of cores: `0,2-5`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores(pub Vec<usize>);

/// Core numbers go up to this: more than any kernel has, so that `0-4000000000` is an error and not a long list.
const CORE_MAX: usize = 65_535;

/// Reads `0,2-5`.
pub fn cores(text: &str) -> Result<Cores, String> {
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|number| *number <= CORE_MAX);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => cores.extend(first..=last),
            _ => return Err(format!("{part:?} is neither a core's number nor a range such as 2-5")),
        }
    }
    let mut seen = cores.clone();
    seen.sort_unstable();
    match seen.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("core {} is named twice", pair[0])),
        None => Ok(Cores(cores)),
    }
}

/// Reads `10` (seconds), `10s`, `500ms`, `2m`.
pub fn span(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|each: char| each.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is not a time such as 10s or 500ms"))?;
    match &text[digits.len()..] {
        "" | "s" => Ok(Duration::from_secs(number)),
        "ms" => Ok(Duration::from_millis(number)),
        "us" => Ok(Duration::from_micros(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        unit => Err(format!("{unit:?} is no unit of time: us, ms, s or m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_numbers_and_ranges() {
        #[track_caller]
        fn check(text: &str, expected: Option<&[usize]>) {
            assert_eq!(cores(text).ok().map(|cores| cores.0), expected.map(<[usize]>::to_vec), "{text:?}");
        }
        check("0", Some(&[0]));
        check("0,2-5", Some(&[0, 2, 3, 4, 5]));
        check("3,1", Some(&[3, 1]));
        for wrong in ["", "a", "5-2", "1,,2", "1-", "-1", "1,0-2", "0-4000000000"] {
            check(wrong, None);
        }
    }

    #[test]
    fn times_have_units() {
        #[track_caller]
        fn check(text: &str, expected_ms: Option<u64>) {
            assert_eq!(span(text).ok(), expected_ms.map(Duration::from_millis), "{text:?}");
        }
        check("10", Some(10_000));
        check("10s", Some(10_000));
        check("500ms", Some(500));
        check("2m", Some(120_000));
        for wrong in ["", "s", "-1s", "10h", "1.5s", "ten"] {
            check(wrong, None);
        }
    }
}
