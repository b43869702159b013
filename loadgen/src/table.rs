//! The report as a person reads it: one screen, the verdict last, where the eye ends.

use crate::keys::Choice;
use crate::pace::Arrival;
use crate::protocol::Dialect;
use crate::report::{Percentiles, Report};
use crate::units::{shown_count, shown_micros};
use std::fmt::Write as _;

/// The table of a run.
#[must_use]
pub fn table(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {value}");
    };
    let load = &report.run.load;
    line("target", report.run.target.clone());
    line("load", described(report));
    line("operations", format!("seed {}, hash {}", load.seed, report.operations_hash));
    line("connections", connections(report));
    line("requests", format!("{} in {:.2} s", shown_count(report.tally.answered), report.seconds()));
    line("rate", rate(report));
    if report.tally.misses > 0 {
        line("misses", shown_count(report.tally.misses));
    }
    line("errors", named(&report.tally.errors));
    if report.tally.errors_before.sum() > 0 {
        line("  before", format!("{} (loading and warm-up)", named(&report.tally.errors_before)));
    }
    if let Some(refusal) = &report.tally.first_refusal {
        line("  refused", format!("{refusal:?}"));
    }
    let redirect = &report.tally.redirect;
    if !redirect.is_empty() {
        let (p50, max) = (shown_micros(redirect.value_at_quantile(0.5)), shown_micros(redirect.max()));
        line("redirects", format!("{}, each found out in p50 {p50}, max {max}", shown_count(redirect.len())));
    }
    if let Some(busy) = report.facts.busy {
        line("busy", format!("{:.0} % of the busiest worker's processor", busy * 100.0));
    }
    if let Some(server) = report.server {
        let (counted, written) = (shown_count(server.counted), shown_count(server.written));
        let differ = if server.differ() { ": THEY DIFFER" } else { "" };
        line("server", format!("counted {counted} requests, of {written} that were written{differ}"));
    }
    if let Some(writes) = report.writes {
        let (acknowledged, lost) = (shown_count(writes.acknowledged), shown_count(writes.lost));
        let unread = match writes.unread_keys {
            0 => String::new(),
            keys => format!("; {} keys could not be read", shown_count(keys)),
        };
        line("writes", format!("{acknowledged} acknowledged, {lost} of them lost{unread}"));
    }
    if !report.run.load.check {
        line("checks", "values were not checked".to_owned());
    }
    let hiccup = Percentiles::of(&report.tally.hiccup);
    let (p99, max) = (shown_micros(hiccup.p99), shown_micros(hiccup.max));
    let stalled = shown_micros(report.facts.stalled.as_micros() as u64);
    line("hiccups", format!("p99 {p99}, max {max} behind a tick of 1 ms; {stalled} taken by the machine"));
    text.push('\n');
    latencies(report, &mut text);
    let _ = writeln!(text, "\n{}", report.verdict.said());
    text
}

fn described(report: &Report) -> String {
    let load = &report.run.load;
    let pace = match load.rate {
        Some(rate) => match load.arrival {
            Arrival::Constant => format!("{}/s", shown_count(rate.per_second() as u64)),
            Arrival::Poisson => format!("{}/s as they come (poisson)", shown_count(rate.per_second() as u64)),
        },
        None => "closed loop".to_owned(),
    };
    let choice = match load.choice {
        Choice::Uniform => String::new(),
        choice => format!(", {choice}"),
    };
    if let Dialect::Http(ask) = &load.dialect {
        let shown = ask.shown(load.key_size);
        let line = shown.lines().next().unwrap_or_default();
        let (bytes, keys) = (shown.len(), shown_count(load.keys));
        return format!("{pace}, pipeline {}, {line} ({bytes} bytes), {keys} keys{choice}", load.pipeline);
    }
    let mix = [("get", load.mix.get), ("set", load.mix.set), ("del", load.mix.del)];
    let mix: Vec<_> = mix.iter().filter(|(_, weight)| *weight > 0).map(|(n, w)| format!("{n}={w}")).collect();
    format!(
        "{pace}, pipeline {}, {}, {} keys of {} bytes{choice}, values of {} bytes",
        load.pipeline,
        mix.join(","),
        shown_count(load.keys),
        load.key_size,
        load.values
    )
}

fn connections(report: &Report) -> String {
    let (asked, open) = report.facts.connections;
    let connect = Percentiles::of(&report.tally.connect);
    let held = match asked == open {
        true => shown_count(open),
        false => format!("{} of {}", shown_count(open), shown_count(asked)),
    };
    let (p50, p99, max) = (shown_micros(connect.p50), shown_micros(connect.p99), shown_micros(connect.max));
    format!("{held}, each connected in p50 {p50}, p99 {p99}, max {max}")
}

fn rate(report: &Report) -> String {
    let reached = shown_count(report.rate().round() as u64);
    match report.run.load.rate {
        Some(offered) => format!("{reached}/s of {}/s offered", shown_count(offered.per_second() as u64)),
        None => format!("{reached}/s"),
    }
}

fn named(errors: &crate::tally::Errors) -> String {
    if errors.sum() == 0 {
        return "none".to_owned();
    }
    let kinds: Vec<_> =
        errors.named().map(|(name, count)| format!("{name} {}", shown_count(count))).collect();
    kinds.join(", ")
}

fn latencies(report: &Report, text: &mut String) {
    let reading = match report.facts.receipt_known {
        true => "received → read",
        false => "not known: the kernel did not say when it had the replies",
    };
    let told = ["sent → read", "due → read", "due → sent", reading];
    let _ = writeln!(
        text,
        "{:<12} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "time", "p50", "p90", "p99", "p99.9", "max"
    );
    for ((name, histogram), told) in report.distributions().into_iter().zip(told) {
        let Percentiles { p50, p90, p99, p99_9, max } = Percentiles::of(histogram);
        let _ = write!(text, "{name:<12}");
        for value in [p50, p90, p99, p99_9, max] {
            let _ = write!(text, " {:>10}", shown_micros(value));
        }
        let _ = writeln!(text, "   {told}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn the_table_says_all_and_ends_with_the_verdict() {
        let text = table(&report());
        for part in [
            "target       resp://127.0.0.1:6379\n",
            "load         closed loop, pipeline 1, get=90,set=10, 100,000 keys of 16 bytes, values of 32 bytes\n",
            "requests     6 in 2.00 s\n",
            "rate         3/s\n",
            "errors       missing 2\n",
            "service          200 µs     300 µs     300 µs     300 µs     300 µs   sent → read\n",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(text.ends_with("\nVALID\n"), "{text}");
    }
}
