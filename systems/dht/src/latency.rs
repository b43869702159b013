//! LATENCY: what took longer than `latency-monitor-threshold`, second by second, in the words and forms of Redis.

use crate::slow::Series;
use core::fmt::Write as _;
use wire::resp::Writer;

/// What is asked of the samples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LatencyWord {
    /// Of each kind the latest and the longest.
    Latest,
    /// All of a kind.
    History(String),
    /// The same as a picture.
    Graph(String),
    /// A report for people.
    Doctor {
        /// From how many milliseconds on there are samples; 0 for never.
        threshold_ms: u64,
    },
    /// How many kinds were forgotten.
    Forgotten,
}

/// Columns of a graph, and its rows.
const COLUMNS_MAX: usize = 80;
const ROWS: u64 = 4;

/// Answers.
pub fn write(word: &LatencyWord, all: &[Series], into: &mut Writer<'_>) {
    let of = |event: &String| all.iter().find(|series| series.event == *event);
    match word {
        LatencyWord::Latest => latest(all, into),
        LatencyWord::History(event) => {
            let samples = of(event).map_or(&[][..], |series| &series.samples);
            into.array(samples.len());
            for (second, took_ms) in samples {
                into.array(2);
                into.integer(number(*second));
                into.integer(number(*took_ms));
            }
        }
        LatencyWord::Graph(event) => match of(event) {
            Some(series) => into.verbatim(*b"txt", graph(series).as_bytes()),
            None => into.error(format!("ERR No samples available for event '{event}'")),
        },
        LatencyWord::Doctor { threshold_ms } => {
            into.verbatim(*b"txt", report(*threshold_ms, all).as_bytes());
        }
        LatencyWord::Forgotten => into.integer(all.len() as i64),
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn latest(all: &[Series], into: &mut Writer<'_>) {
    into.array(all.len());
    for series in all {
        let (second, took_ms) = series.samples.last().copied().unwrap_or_default();
        into.array(4);
        into.bulk(series.event.as_bytes());
        for value in [second, took_ms, series.longest_ms] {
            into.integer(number(value));
        }
    }
}

/// Columns of `#`, one for each sample; the highest is as high as the longest.
fn graph(series: &Series) -> String {
    let from = series.samples.len().saturating_sub(COLUMNS_MAX);
    let samples = &series.samples[from..];
    let took = || samples.iter().map(|(_, took_ms)| *took_ms);
    let (high, low) = (took().max().unwrap_or(0), took().min().unwrap_or(0));
    let mut text = format!(
        "{} - high {high} ms, low {low} ms (all time high {} ms)\n{}\n",
        series.event,
        series.longest_ms,
        "-".repeat(COLUMNS_MAX)
    );
    for row in (1..=ROWS).rev() {
        // A column reaches a row when it is over half of that row's part of the highest.
        let column = |took_ms: u64| if took_ms * ROWS * 2 > high * (row * 2 - 2) { '#' } else { ' ' };
        let line: String = took().map(column).collect();
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn report(threshold_ms: u64, all: &[Series]) -> String {
    if threshold_ms == 0 && all.is_empty() {
        return "I'm sorry, Dave, I can't do that. Latency monitoring is disabled in this instance. You may use \
                \"CONFIG SET latency-monitor-threshold <milliseconds>.\" in order to enable it.\n"
            .into();
    }
    if all.is_empty() {
        return "Dave, no latency spike was observed during the lifetime of this instance, not in the slightest bit.\n"
            .into();
    }
    let mut text = String::from("Dave, I have observed latency spikes in this instance.\n\n");
    for (index, series) in all.iter().enumerate() {
        let count = series.samples.len();
        let sum: u64 = series.samples.iter().map(|(_, took_ms)| took_ms).sum();
        let _ = writeln!(
            text,
            "{}. {}: {count} latency spikes (average {} ms). Worst all time event {} ms.",
            index + 1,
            series.event,
            sum / count.max(1) as u64,
            series.longest_ms
        );
    }
    text.push_str(
        "\nSLOWLOG GET tells which requests took long; a line of the log and reactor_longest_us of /metrics tell what a \
         core was at.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::resp::Version;

    fn told(word: &LatencyWord, all: &[Series]) -> String {
        let mut bytes = Vec::new();
        write(word, all, &mut Writer::new(&mut bytes, Version::Two));
        String::from_utf8(bytes).expect("it is text")
    }

    #[test]
    fn samples_are_told_in_the_forms_of_redis() {
        let series = Series { event: "command".into(), longest_ms: 90, samples: vec![(5, 10), (7, 40)] };
        let all = [series];
        assert_eq!(told(&LatencyWord::Latest, &all), "*1\r\n*4\r\n$7\r\ncommand\r\n:7\r\n:40\r\n:90\r\n");
        let history = told(&LatencyWord::History("command".into()), &all);
        assert_eq!(history, "*2\r\n*2\r\n:5\r\n:10\r\n*2\r\n:7\r\n:40\r\n");
        assert_eq!(told(&LatencyWord::History("x".into()), &all), "*0\r\n");
        assert_eq!(told(&LatencyWord::Forgotten, &all), ":1\r\n");
        let unknown = told(&LatencyWord::Graph("x".into()), &all);
        assert_eq!(unknown, "-ERR No samples available for event 'x'\r\n");
        let picture = graph(&all[0]);
        assert!(
            picture.starts_with("command - high 40 ms, low 10 ms (all time high 90 ms)\n---"),
            "{picture}"
        );
        assert!(picture.ends_with("-\n #\n #\n #\n##\n"), "{picture}");
        assert!(told(&LatencyWord::Doctor { threshold_ms: 5 }, &all).contains("command: 2 latency spikes"));
        assert!(told(&LatencyWord::Doctor { threshold_ms: 0 }, &[]).contains("disabled"));
    }
}
