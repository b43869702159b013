//! What a core can count, as it is gathered: names with values, added up over cores. Gathering happens when
//! somebody asks, never on the data path; a shard keeps plain integers and writes them here.

use core::fmt::Write as _;
use hdrhistogram::Histogram;
use std::borrow::Cow;

/// Named values of one core, or added over several.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    entries: Vec<Entry>,
}

/// One named value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name in Prometheus form: `ringwise_requests_total`; may carry labels: `x_total{kind="get"}`.
    pub name: Cow<'static, str>,
    /// What it says, in one line.
    pub help: &'static str,
    /// The value.
    pub value: Value,
}

/// A value and how it adds up.
#[derive(Clone, Debug)]
pub enum Value {
    /// Only grows; cores add.
    Counter(u64),
    /// Goes up and down; cores add.
    Level(i64),
    /// A distribution; cores merge.
    Spread(Box<Histogram<u64>>),
}

impl Gauges {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A number that only grows. Its name ends in `_total`.
    pub fn counter(&mut self, name: impl Into<Cow<'static, str>>, help: &'static str, value: u64) {
        self.entries.push(Entry { name: name.into(), help, value: Value::Counter(value) });
    }

    /// A number that goes up and down.
    pub fn level(&mut self, name: impl Into<Cow<'static, str>>, help: &'static str, value: i64) {
        self.entries.push(Entry { name: name.into(), help, value: Value::Level(value) });
    }

    /// A distribution; its unit ends the name: `_us`, `_bytes`.
    pub fn spread(&mut self, name: impl Into<Cow<'static, str>>, help: &'static str, value: &Histogram<u64>) {
        self.entries.push(Entry { name: name.into(), help, value: Value::Spread(Box::new(value.clone())) });
    }

    /// All values, in the order in which they were given.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The counter or level of that name; 0 when there is none.
    #[must_use]
    pub fn number(&self, name: &str) -> i64 {
        match self.entries.iter().find(|entry| entry.name == name).map(|entry| &entry.value) {
            Some(Value::Counter(count)) => i64::try_from(*count).unwrap_or(i64::MAX),
            Some(Value::Level(level)) => *level,
            Some(Value::Spread(_)) | None => 0,
        }
    }

    /// The distribution of that name.
    #[must_use]
    pub fn distribution(&self, name: &str) -> Option<&Histogram<u64>> {
        self.entries.iter().find(|entry| entry.name == name).and_then(|entry| match &entry.value {
            Value::Spread(histogram) => Some(&**histogram),
            Value::Counter(_) | Value::Level(_) => None,
        })
    }

    /// Adds another core's values to these.
    pub fn add(&mut self, other: &Gauges) {
        for theirs in &other.entries {
            let Some(ours) = self.entries.iter_mut().find(|entry| entry.name == theirs.name) else {
                self.entries.push(theirs.clone());
                continue;
            };
            match (&mut ours.value, &theirs.value) {
                (Value::Counter(sum), Value::Counter(more)) => *sum += more,
                (Value::Level(sum), Value::Level(more)) => *sum += more,
                (Value::Spread(sum), Value::Spread(more)) => {
                    sum.add(&**more).expect("distributions of one name have one range");
                }
                _ => unreachable!("{} is of one kind on every core", ours.name),
            }
        }
    }

    /// Prometheus text exposition 0.0.4: one line a core for each value, a summary for a distribution.
    #[must_use]
    pub fn prometheus(cores: &[Gauges]) -> String {
        let mut text = String::new();
        let mut described: Vec<&str> = Vec::new();
        let names = cores.iter().flat_map(|core| core.entries.iter());
        let mut seen: Vec<&str> = Vec::new();
        for entry in names {
            if seen.contains(&&*entry.name) {
                continue;
            }
            seen.push(&entry.name);
            let (base, labels) = split(&entry.name);
            if !described.contains(&base) {
                described.push(base);
                let kind = match entry.value {
                    Value::Counter(_) => "counter",
                    Value::Level(_) => "gauge",
                    Value::Spread(_) => "summary",
                };
                let _ = writeln!(text, "# HELP {base} {}\n# TYPE {base} {kind}", entry.help);
            }
            for (core, gauges) in cores.iter().enumerate() {
                if let Some(found) = gauges.entries.iter().find(|other| other.name == entry.name) {
                    found.value.line(base, &format!("core=\"{core}\"{labels}"), &mut text);
                }
            }
        }
        text
    }
}

impl Value {
    fn line(&self, base: &str, labels: &str, text: &mut String) {
        let _ = match self {
            Self::Counter(count) => writeln!(text, "{base}{{{labels}}} {count}"),
            Self::Level(level) => writeln!(text, "{base}{{{labels}}} {level}"),
            Self::Spread(histogram) => {
                for (name, percentile) in [("0.5", 50.0), ("0.99", 99.0), ("0.999", 99.9)] {
                    let value = histogram.value_at_percentile(percentile);
                    let _ = writeln!(text, "{base}{{{labels},quantile=\"{name}\"}} {value}");
                }
                let _ = writeln!(text, "{base}_count{{{labels}}} {}", histogram.len());
                let sum = histogram.mean() * histogram.len() as f64;
                writeln!(text, "{base}_sum{{{labels}}} {sum:.0}")
            }
        };
    }
}

/// `name{a="b"}` into `name` and `,a="b"`.
fn split(name: &str) -> (&str, String) {
    match name.split_once('{') {
        Some((base, rest)) => (base, format!(",{}", rest.trim_end_matches('}'))),
        None => (name, String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn core(requests: u64, open: i64) -> Gauges {
        let mut gauges = Gauges::new();
        gauges.counter("requests_total{kind=\"get\"}", "requests answered", requests);
        gauges.level("connections", "open connections", open);
        gauges
    }

    #[test]
    fn cores_add_up() {
        let mut sum = core(3, 5);
        sum.add(&core(4, -1));
        assert_eq!(sum.number("requests_total{kind=\"get\"}"), 7);
        assert_eq!(sum.number("connections"), 4);
        assert_eq!(sum.number("nothing"), 0);
    }

    #[test]
    fn prometheus_text_has_one_line_a_core() {
        let text = Gauges::prometheus(&[core(3, 5), core(4, 6)]);
        assert!(text.contains("# TYPE requests_total counter\n"));
        assert!(text.contains("requests_total{core=\"1\",kind=\"get\"} 4\n"));
        assert!(text.contains("connections{core=\"0\"} 5\n"));
        assert_eq!(text.matches("# HELP").count(), 2);
    }
}
