//! The classic measurement: one operation after another, one in flight, and how long that took. Replies are looked at:
//! a fast answer that is not the right one is counted apart, and no figure is made of it in silence.

use super::command::{Ask, Verb};
use super::reach::{Lost, Reach};
use std::fmt;
use std::time::{Duration, Instant};

/// What is asked: `count` keys of six digits from `first` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Benchmark {
    pub(super) verb: Verb,
    pub(super) first: u32,
    pub(super) count: u32,
    /// Bytes of each value.
    pub(super) value_size: usize,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    verb: Verb,
    took: Duration,
    replies: Replies,
    /// It ended before its time: a server was lost.
    was_cut: bool,
}

/// Replies by what they said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Replies {
    count: u64,
    none: u64,
    /// To a get: another value than [`Benchmark`] puts.
    other: u64,
    failures: u64,
    first_failure: Option<String>,
}

impl Benchmark {
    /// Runs it.
    ///
    /// # Errors
    /// When a server cannot be reached: what was done until then, and why.
    pub(super) fn run(self, reach: &mut Reach) -> Result<Report, (Report, Lost)> {
        let mut replies = Replies::default();
        let began = Instant::now();
        for number in self.first..self.first + self.count {
            let key = format!("{number:06}");
            let expected = value_of(&key, self.value_size);
            let value = if self.verb == Verb::Put { &expected[..] } else { b"" };
            match reach.ask(Ask { verb: self.verb, key: key.as_bytes(), value }) {
                Ok(reply) => replies.add(self.verb, &reply, &expected),
                Err(lost) => {
                    let took = began.elapsed();
                    return Err((Report { verb: self.verb, took, replies, was_cut: true }, lost));
                }
            }
        }
        Ok(Report { verb: self.verb, took: began.elapsed(), replies, was_cut: false })
    }
}

/// The key again and again, so that a value of another key is seen.
fn value_of(key: &str, size: usize) -> Vec<u8> {
    key.bytes().cycle().take(size).collect()
}

impl Replies {
    fn add(&mut self, verb: Verb, reply: &[u8], expected: &[u8]) {
        self.count += 1;
        let is_right = match verb {
            Verb::Get => reply == expected,
            Verb::Put | Verb::Del => reply == b"SUCCESS",
        };
        if is_right {
        } else if reply == b"NONE" {
            self.none += 1;
        } else if verb == Verb::Get && !reply.starts_with(b"FAILURE ") {
            self.other += 1;
        } else {
            self.failures += 1;
            self.first_failure.get_or_insert_with(|| String::from_utf8_lossy(reply).into_owned());
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Replies { count, none, other, failures, first_failure } = &self.replies;
        let seconds = self.took.as_secs_f64();
        let per = |sum: f64, parts: f64| if parts > 0.0 { sum / parts } else { 0.0 };
        write!(
            f,
            "{}: {count} operations in {seconds:.3} s, {:.4} ms on average, {:.0} operations/s",
            self.verb.name(),
            per(seconds * 1e3, *count as f64),
            per(*count as f64, seconds)
        )?;
        for (number, what) in
            [(none, "answered NONE"), (other, "answered another value"), (failures, "failed")]
        {
            if *number > 0 {
                write!(f, ", {number} {what}")?;
            }
        }
        if let Some(words) = first_failure {
            write!(f, ", the first with {words:?}")?;
        }
        f.write_str(if self.was_cut { ", then a server was lost" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_was_not_as_it_should_be() {
        let mut replies = Replies::default();
        replies.add(Verb::Get, b"100000100000", b"100000100000");
        replies.add(Verb::Get, b"100001100001", b"100000100000");
        replies.add(Verb::Get, b"NONE", b"100000100000");
        replies.add(Verb::Get, b"FAILURE node 3 cannot be reached", b"100000100000");
        let report = Report { verb: Verb::Get, took: Duration::from_millis(2), replies, was_cut: false };
        assert_eq!(
            report.to_string(),
            "get: 4 operations in 0.002 s, 0.5000 ms on average, 2000 operations/s, 1 answered NONE, 1 answered \
             another value, 1 failed, the first with \"FAILURE node 3 cannot be reached\""
        );
        let nothing =
            Report { verb: Verb::Put, took: Duration::ZERO, replies: Replies::default(), was_cut: true };
        assert_eq!(
            nothing.to_string(),
            "put: 0 operations in 0.000 s, 0.0000 ms on average, 0 operations/s, then a server was lost"
        );
    }

    #[test]
    fn a_put_is_done_only_by_success() {
        let mut replies = Replies::default();
        for reply in [&b"SUCCESS"[..], b"100000", b"NONE"] {
            replies.add(Verb::Put, reply, b"100000");
        }
        assert_eq!((replies.count, replies.none, replies.failures), (3, 1, 1));
    }

    #[test]
    fn a_value_names_its_key() {
        assert_eq!(value_of("100000", 20), b"10000010000010000010");
        assert_eq!(value_of("123456", 3), b"123");
        assert_eq!(value_of("123456", 0), b"");
    }
}
