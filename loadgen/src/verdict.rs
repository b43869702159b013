//! Whether a result means what it says. A generator that could not keep up measures itself; a machine that was
//! taken away measures its host. Both give plausible numbers, which is why each run is judged by rules that were
//! fixed before it.

use crate::units::{Rate, shown_micros};
use std::time::Duration;

/// Of the median service time, what the median reading delay may be.
const READING_MAX: f64 = 0.10;
/// What the median reading delay may always be, µs: the kernel takes its time where a packet enters, before TCP has
/// worked on it, and both clocks tell whole microseconds.
const READING_FLOOR_US: u64 = 5;
/// What the 99th percentile of our own slip may always be, µs: a sleep's precision and a turn's length.
const LATE_FLOOR_US: u64 = 1_000;
/// Of the median response time, what it may be beyond that.
const LATE_MAX: f64 = 0.10;
/// How busy a worker may be at a fixed rate: beyond it, due times are met by luck.
const BUSY_MAX: f64 = 0.85;
/// How busy a worker may be in a closed loop when nobody knows when the kernel had the replies: one that never
/// sleeps leaves them waiting.
const BUSY_MAX_CLOSED: f64 = 0.95;
/// Of the offered requests, what must have been sent.
const SENT_MIN: f64 = 0.99;
/// Of the measured time, what the machine may take away.
const STALLED_MAX: f64 = 0.01;

/// What became of requests that were offered and not sent.
const UNSENT: &str = "the rest found no free connection";

/// What a verdict rests on.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The fixed rate, if there was one.
    pub rate: Option<Rate>,
    /// Requests that were due in the measured time, at a fixed rate.
    pub offered: Option<u64>,
    /// Of these, those that were not sent.
    pub unsent: u64,
    /// Measured requests that were answered rightly.
    pub answered: u64,
    /// Connections asked for, and open when the run began.
    pub connections: (u64, u64),
    /// Keys that were to be written before the run, and were.
    pub loaded: (u64, u64),
    /// The time measured; none when the run never began.
    pub measured: Option<Duration>,
    /// The most that the machine took from one worker.
    pub stalled: Duration,
    /// The share of the time in which the busiest worker used its processor, where it is known.
    pub busy: Option<f64>,
    /// Medians of service, response and reading, µs.
    pub p50_us: (u64, u64, u64),
    /// Whether the kernel's time of receipt was known for any reply.
    pub receipt_known: bool,
    /// 99th percentile of our own slip, µs.
    pub late_p99_us: u64,
    /// Whether the run ended before its end.
    pub cut_short: bool,
}

/// Whether a result means what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why not; empty when it does.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Whether it does.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.reasons.is_empty()
    }

    /// `VALID` or `INVALID`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if self.is_valid() { "VALID" } else { "INVALID" }
    }

    /// Why not, in one line; empty when valid.
    #[must_use]
    pub fn why(&self) -> String {
        self.reasons.join("; ")
    }

    /// Whether the only thing against it is that requests found no free connection: at a fixed rate a server that is
    /// too slow keeps all of them.
    #[must_use]
    pub fn is_only_of_waiting(&self) -> bool {
        self.reasons.iter().all(|reason| reason.ends_with(UNSENT))
    }

    /// Both: `VALID`, or `INVALID: why`.
    #[must_use]
    pub fn said(&self) -> String {
        if self.is_valid() { self.word().to_owned() } else { format!("{}: {}", self.word(), self.why()) }
    }

    /// The verdict on these facts.
    #[must_use]
    pub fn of(facts: &Facts) -> Self {
        let mut reasons = Vec::new();
        let Some(measured) = facts.measured.filter(|_| facts.answered > 0) else {
            return Self { reasons: vec!["nothing was measured".to_owned()] };
        };
        let (service, response, reading) = facts.p50_us;
        if reading > READING_FLOOR_US && reading as f64 > service as f64 * READING_MAX {
            let (reading, service) = (shown_micros(reading), shown_micros(service));
            reasons.push(format!("generator-limited: replies waited {reading} to be read, of {service}"));
        }
        let late_max = LATE_FLOOR_US.max((response as f64 * LATE_MAX) as u64);
        if facts.late_p99_us > late_max {
            let (late, late_max) = (shown_micros(facts.late_p99_us), shown_micros(late_max));
            reasons.push(format!(
                "generator-limited: one request in a hundred was sent {late} late, over {late_max}"
            ));
        }
        let busy_max = match (facts.rate, facts.receipt_known) {
            (Some(_), _) => BUSY_MAX,
            (None, false) => BUSY_MAX_CLOSED,
            (None, true) => f64::INFINITY,
        };
        if let Some(busy) = facts.busy.filter(|busy| *busy > busy_max) {
            reasons.push(format!("generator-limited: a worker was {:.0} % busy", busy * 100.0));
        }
        if let Some(offered) = facts.offered.filter(|offered| *offered > 0) {
            let sent = offered.saturating_sub(facts.unsent) as f64 / offered as f64;
            if sent < SENT_MIN {
                reasons.push(format!(
                    "generator-limited: {:.1} % of the offered rate was sent; {UNSENT}",
                    sent * 100.0
                ));
            }
        }
        let stalled = facts.stalled.as_secs_f64() / measured.as_secs_f64().max(1e-9);
        if stalled > STALLED_MAX {
            reasons.push(format!("machine stalled: {:.1} % of the time was taken away", stalled * 100.0));
        }
        reasons.extend(incomplete(facts));
        Self { reasons }
    }
}

/// What was asked for and not there.
fn incomplete(facts: &Facts) -> Vec<String> {
    let mut reasons = Vec::new();
    let (asked, open) = facts.connections;
    if open < asked {
        reasons.push(format!("incomplete: {open} of {asked} connections were open"));
    }
    let (keys, loaded) = facts.loaded;
    if loaded < keys {
        reasons.push(format!("incomplete: {loaded} of {keys} keys were written before the run"));
    }
    if facts.cut_short {
        reasons.push("incomplete: the run ended before its end".to_owned());
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Facts {
        Facts {
            rate: Some(Rate { milli: 1_000_000 }),
            offered: Some(10_000),
            unsent: 0,
            answered: 10_000,
            connections: (50, 50),
            loaded: (100, 100),
            measured: Some(Duration::from_secs(10)),
            stalled: Duration::ZERO,
            busy: Some(0.5),
            p50_us: (100, 105, 5),
            receipt_known: true,
            late_p99_us: 200,
            cut_short: false,
        }
    }

    fn check(facts: Facts, expected: &str) {
        let verdict = Verdict::of(&facts);
        assert_eq!(verdict.is_valid(), expected.is_empty(), "{}", verdict.why());
        assert!(verdict.why().starts_with(expected), "{} / {expected}", verdict.why());
        assert!(verdict.reasons.len() <= 1, "{}", verdict.why());
    }

    #[test]
    fn each_rule_is_held_at_its_bound() {
        check(good(), "");
        check(Facts { p50_us: (100, 105, 10), ..good() }, "");
        check(Facts { p50_us: (20, 25, 5), ..good() }, "");
        check(Facts { p50_us: (20, 25, 6), ..good() }, "generator-limited: replies waited 6 µs to be read");
        check(Facts { p50_us: (100, 105, 11), ..good() }, "generator-limited: replies waited");
        check(Facts { p50_us: (100, 105, 11), rate: None, offered: None, ..good() }, "generator-limited");
        check(Facts { late_p99_us: 1_001, ..good() }, "generator-limited: one request in a hundred");
        check(Facts { late_p99_us: 1_001, p50_us: (20_000, 20_000, 0), ..good() }, "");
        check(Facts { busy: Some(0.86), ..good() }, "generator-limited: a worker was 86 % busy");
        check(Facts { busy: Some(1.0), rate: None, offered: None, ..good() }, "");
        let blind =
            Facts { receipt_known: false, rate: None, offered: None, p50_us: (100, 105, 0), ..good() };
        check(Facts { busy: Some(0.95), ..blind.clone() }, "");
        check(Facts { busy: Some(0.96), ..blind }, "generator-limited: a worker was 96 % busy");
        check(Facts { busy: None, ..good() }, "");
        check(Facts { unsent: 100, ..good() }, "");
        check(Facts { unsent: 101, ..good() }, "generator-limited: 99.0 % of the offered rate");
        check(Facts { stalled: Duration::from_millis(99), ..good() }, "");
        check(Facts { stalled: Duration::from_millis(101), ..good() }, "machine stalled: 1.0 %");
        check(Facts { connections: (50, 49), ..good() }, "incomplete: 49 of 50 connections");
        check(Facts { loaded: (100, 99), ..good() }, "incomplete: 99 of 100 keys");
        check(Facts { cut_short: true, ..good() }, "incomplete");
        check(Facts { measured: None, ..good() }, "nothing was measured");
        check(Facts { answered: 0, ..good() }, "nothing was measured");
    }
}
