//! Two results, and whether the second differs: for a person a table, for a pipeline an exit status. Only what was
//! measured in the same environment is compared, unless somebody says that they know better: a difference of kernels
//! looks like a difference of programs.

use crate::bootstrap::{Difference, REDRAWS, SECONDS_MIN, Scale, differences};
use crate::cli::CompareArgs;
use crate::files::read_hlog;
use crate::units::shown_micros;
use hdrhistogram::Histogram;
use machine::Chance;
use reactor::Fatal;
use std::fmt::Write as _;
use std::path::Path;

/// Exit status when the second result is slower.
pub const STATUS_SLOWER: u8 = 8;
/// What of an environment must be the same.
const SAME: [&str; 6] = ["cpu", "cpus", "kernel", "mitigations", "limits", "governor"];
/// How sure all intervals together are.
const CONFIDENCE: f64 = 0.95;
/// The percentiles that are compared: beyond these a run of usual length has too few requests for its seconds to
/// tell anything.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// A result, as its folder keeps it.
struct Kept {
    run: serde_json::Value,
    seconds: Vec<Histogram<u64>>,
}

/// Compares two results and prints what differs. Gives the exit status: 0 when B is not slower.
///
/// # Errors
/// A sentence, when one cannot be read or they are not to be compared.
pub fn compare(typed: &CompareArgs) -> Result<u8, Fatal> {
    let (a, b) = (open(&typed.a)?, open(&typed.b)?);
    if let (Some(why), false) = (unlike(&a.run["environment"], &b.run["environment"]), typed.allow_env_diff) {
        return Err(Fatal::misuse(format!("{why}; --allow-env-diff compares all the same")));
    }
    for (side, folder) in [(&a, &typed.a), (&b, &typed.b)] {
        if side.seconds.len() < SECONDS_MIN {
            let (count, folder) = (side.seconds.len(), folder.display());
            return Err(Fatal::misuse(format!(
                "{folder} has {count} whole seconds, and a comparison needs {SECONDS_MIN} of each side"
            )));
        }
        if side.run["verdict"] != "VALID" {
            println!("{} is {}: {}", folder.display(), side.run["verdict"], side.run["why"]);
        }
    }
    if a.run["operations_hash"] != b.run["operations_hash"] {
        println!("the streams of operations are not the same");
    }
    let scale = Scale::of([&a.seconds, &b.seconds]);
    let (in_a, in_b) = (scale.seconds(&a.seconds), scale.seconds(&b.seconds));
    let mut stream = Chance::new(typed.seed).stream("redraws");
    let found = differences(&scale, &in_a, &in_b, &QUANTILES, CONFIDENCE, REDRAWS, &mut stream);
    print!("{}", table(&found, rate(&a), rate(&b)));
    let least = 1.0 + typed.at_least / 100.0;
    Ok(if found.iter().any(|found| found.from > least) { STATUS_SLOWER } else { 0 })
}

fn rate(side: &Kept) -> f64 {
    side.run["rate"].as_f64().unwrap_or(0.0)
}

fn open(folder: &Path) -> Result<Kept, Fatal> {
    let wrong = |name: &str, why: String| Fatal::misuse(format!("{}: {why}", folder.join(name).display()));
    let read = |name: &str| std::fs::read(folder.join(name)).map_err(|error| wrong(name, error.to_string()));
    let run =
        serde_json::from_slice(&read("run.json")?).map_err(|error| wrong("run.json", error.to_string()))?;
    let seconds = read_hlog(&read("response.hlog")?).map_err(|why| wrong("response.hlog", why))?;
    Ok(Kept { run, seconds })
}

/// What of two environments is not the same.
fn unlike(a: &serde_json::Value, b: &serde_json::Value) -> Option<String> {
    let name = SAME.iter().find(|name| a[**name] != b[**name])?;
    Some(format!("the environments differ in {name}: {} and {}", a[*name], b[*name]))
}

fn table(found: &[Difference], rate_a: f64, rate_b: f64) -> String {
    let mut text = "| response | A | B | B / A | 95 % together | |\n|---|--:|--:|--:|--:|---|\n".to_owned();
    for difference in found {
        let Difference { quantile, a, b, ratio, from, to } = *difference;
        let said = match (from > 1.0, to < 1.0) {
            (true, _) => "slower",
            (_, true) => "faster",
            (false, false) => "no difference to be seen",
        };
        let (a, b) = (shown_micros(a as u64), shown_micros(b as u64));
        let name = quantile * 100.0;
        let _ = writeln!(text, "| p{name} | {a} | {b} | {ratio:.3} | {from:.3} to {to:.3} | {said} |");
    }
    let _ = writeln!(text, "\nrate: {rate_a:.0}/s and {rate_b:.0}/s");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::histogram;
    use machine::Stream;

    const SECONDS: usize = 30;
    const REQUESTS: usize = 400;
    const PAIRS: u64 = 1_000;

    /// About normal, from twelve even draws.
    fn gauss(stream: &mut Stream) -> f64 {
        (0..12).map(|_| stream.unit()).sum::<f64>() - 6.0
    }

    /// A run whose seconds differ by some percent, slow ones next to slow ones, with a tail of its own each second.
    fn made(stream: &mut Stream, factor: f64) -> Vec<Histogram<u64>> {
        let mut mood = gauss(stream);
        let second = |_| {
            mood = 0.5 * mood + 0.866 * gauss(stream);
            let middle = 10_000.0 * factor * (0.02 * mood).exp();
            let mut second = histogram();
            for _ in 0..REQUESTS {
                let slow = if stream.below(50) == 0 { 2.0 + stream.unit() } else { 1.0 };
                let micros = middle * slow * (0.1 * gauss(stream)).exp();
                second.record(micros as u64).unwrap();
            }
            second
        };
        (0..SECONDS).map(second).collect()
    }

    /// In how many of so many pairs a difference is found.
    fn alarms(pairs: u64, factor: f64) -> u64 {
        let chance = Chance::new(11);
        let alarm = |pair: &u64| {
            let mut stream = chance.within("pair", *pair).stream("made");
            let (a, b) = (made(&mut stream, 1.0), made(&mut stream, factor));
            // A coarser scale costs nothing here, where digits do not matter, and saves most of the time.
            let coarse = |side: &[Histogram<u64>]| side.iter().map(rounded).collect::<Vec<_>>();
            let (a, b) = (coarse(&a), coarse(&b));
            let scale = Scale::of([&a, &b]);
            let (in_a, in_b) = (scale.seconds(&a), scale.seconds(&b));
            let found = differences(&scale, &in_a, &in_b, &QUANTILES, CONFIDENCE, 200, &mut stream);
            found.iter().any(Difference::is_one)
        };
        (0..pairs).filter(alarm).count() as u64
    }

    fn rounded(second: &Histogram<u64>) -> Histogram<u64> {
        let mut coarse = histogram();
        for at in second.iter_recorded() {
            let step = ((at.value_iterated_to() as f64).ln() * 400.0).round() / 400.0;
            coarse.record_n(step.exp() as u64, at.count_since_last_iteration()).unwrap();
        }
        coarse
    }

    #[test]
    fn false_alarms_come_as_often_as_promised_and_five_percent_is_found() {
        let false_alarms = alarms(PAIRS, 1.0);
        let found = alarms(PAIRS, 1.05);
        println!("{false_alarms} false alarms and {found} found in {PAIRS} pairs");
        assert!((30..=70).contains(&false_alarms), "{false_alarms} of {PAIRS}");
        assert!(found >= 900, "{found} of {PAIRS}");
    }

    #[test]
    fn other_environments_are_told_apart() {
        let one = serde_json::json!({"cpu": "x", "kernel": "6.1"});
        let two = serde_json::json!({"cpu": "x", "kernel": "6.2"});
        assert_eq!(unlike(&one, &one), None);
        assert!(unlike(&one, &two).is_some_and(|why| why.contains("kernel") && why.contains("6.2")));
    }
}
