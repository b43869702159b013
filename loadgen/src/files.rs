//! The files in which a run's distributions are kept: the text that percentile plotters read (`.hgrm`), and the log
//! of histograms, one a second (`.hlog`), which merges and compares exactly. Both are HdrHistogram's formats.

use crate::tally::histogram;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, IntervalLogWriterBuilder, LogEntry};
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

/// The most intervals of a log that are read.
const INTERVALS_MAX: usize = 100_000;

/// The text format of HdrHistogram's percentile plots: milliseconds, five steps a halving of what is left.
#[must_use]
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut below = 0;
    for step in histogram.iter_quantiles(5) {
        below += step.count_since_last_iteration();
        let (value, quantile) = (step.value_iterated_to() as f64 / 1e3, step.quantile_iterated_to());
        let _ = match quantile < 1.0 {
            true => {
                writeln!(text, "{value:12.3} {quantile:14.12} {below:10} {:14.2}", 1.0 / (1.0 - quantile))
            }
            false => writeln!(text, "{value:12.3} {quantile:14.12} {below:10}"),
        };
    }
    let (mean, deviation) = (histogram.mean() / 1e3, histogram.stdev() / 1e3);
    let (max, count) = (histogram.max() as f64 / 1e3, histogram.len());
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let sub_buckets = 2048;
    let buckets = (histogram.high() / sub_buckets).max(1).ilog2() + 2;
    let _ = writeln!(text, "#[Buckets = {buckets:12}, SubBuckets     = {sub_buckets:12}]");
    text
}

/// A log of one histogram a second, each in µs with its second since the start of the run.
///
/// # Errors
/// None that memory does not give.
pub fn hlog(seconds: &[(u64, Histogram<u64>)]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("one histogram of response times a second, in microseconds");
    let mut writer = builder.with_max_value_divisor(1000.0).begin_log_with(&mut bytes, &mut serializer)?;
    for (second, histogram) in seconds {
        let (start, span) = (Duration::from_secs(*second), Duration::from_secs(1));
        writer
            .write_histogram(histogram, start, span, None)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    Ok(bytes)
}

/// The histograms of such a log, in its order.
///
/// # Errors
/// A sentence, when it is none.
pub fn read_hlog(bytes: &[u8]) -> Result<Vec<Histogram<u64>>, String> {
    let mut deserializer = Deserializer::new();
    let mut all = Vec::new();
    for entry in IntervalLogIterator::new(bytes) {
        let entry = entry.map_err(|_| "it is no log of histograms".to_owned())?;
        let LogEntry::Interval(interval) = entry else { continue };
        if all.len() >= INTERVALS_MAX {
            return Err(format!("it has over {INTERVALS_MAX} intervals"));
        }
        all.push(read_encoded(&mut deserializer, interval.encoded_histogram())?);
    }
    Ok(all)
}

fn read_encoded(deserializer: &mut Deserializer, text: &str) -> Result<Histogram<u64>, String> {
    let packed = unbase64(text).ok_or("a histogram is not base64")?;
    let read: Histogram<u64> = deserializer
        .deserialize(&mut &packed[..])
        .map_err(|error| format!("a histogram cannot be read: {error:?}"))?;
    let mut ours = histogram();
    for at in read.iter_recorded() {
        ours.saturating_record_n(at.value_iterated_to(), at.count_since_last_iteration());
    }
    Ok(ours)
}

/// The bytes that base64 (RFC 4648 section 4) says.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut word, mut bits) = (0_u32, 0);
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        word = word << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((word >> bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_back_as_it_was_written() {
        let mut one = histogram();
        [5, 1_000, 123_456, 299_000_000].into_iter().for_each(|micros| one.record(micros).unwrap());
        let two = histogram();
        let bytes = hlog(&[(3, one.clone()), (4, two.clone())]).unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains("one histogram of response times a second"), "{text}");
        assert_eq!(read_hlog(&bytes).unwrap(), [one, two]);
        assert!(read_hlog(b"nonsense\n").is_err());
        assert_eq!(unbase64("aGVsbG8="), Some(b"hello".to_vec()));
        assert_eq!(unbase64("a*"), None);
    }

    #[test]
    fn percentile_text_is_what_plotters_read() {
        let mut values = histogram();
        for micros in [1000, 2000, 3000, 4000] {
            values.record(micros).unwrap();
        }
        let text = hgrm(&values);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("       4.00") && line.ends_with(" 1.000000000000          4")),
            "{text}"
        );
        assert!(text.contains("Total count    =            4]"));
        assert_eq!(lines.last().unwrap(), &"#[Buckets =           19, SubBuckets     =         2048]");
    }
}
