//! `report.html`: everything a folder of results says, on one page that needs no network, script or font, and can
//! be read on a telephone. It is made from the files alone, so that it can be made again, and shows no number that
//! is not in them.

use crate::history::Writes;
use crate::report::Percentiles;
use crate::svg::{Axis, Chart, Line, Mark, escaped};
use crate::sweep::Curve;
use crate::units::{shown_count, shown_micros};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2126;--paper:#fff;--grid:#d9dee3;--soft:#5b6670;--shade:#eef1f4}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--paper:#14181c;--grid:#333b43;--soft:#9aa5b0;--shade:#1e242a}}
body{font:16px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:46rem;margin:0 auto;padding:1rem}
h1{font-size:1.3rem;margin:.2rem 0}h2{font-size:1.05rem;margin:1.6rem 0 .3rem}
p{margin:.4rem 0}code,pre{font:13px/1.4 ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}
pre{background:var(--shade);padding:.6rem;border-radius:.3rem}
.verdict{padding:.5rem .7rem;border-radius:.3rem;color:#fff;background:#1d7a46}.verdict.no{background:#b3261e}
table{border-collapse:collapse;width:100%;font-size:.92rem}th,td{padding:.2rem .35rem;text-align:right;border-bottom:1px solid var(--grid)}
th:first-child,td:first-child{text-align:left}td{white-space:nowrap}.wide{overflow-x:auto}\
.env td{text-align:left;vertical-align:top;white-space:normal}.env td+td{overflow-wrap:anywhere}.said td{white-space:normal;color:var(--soft);border-top:none}.said div{max-width:calc(100vw - 3rem)}
svg{width:100%;height:auto;display:block}svg text{font:12px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--grid);stroke-width:1}.shade{fill:var(--shade)}.event{stroke:#b3261e;stroke-dasharray:3 2}text.event{fill:#b3261e;stroke:none}
polyline{fill:none;stroke-width:2;stroke-linejoin:round}
.s0{stroke:#2563c9}.s1{stroke:#d9822b}.s2{stroke:#6f42b5}.s3{stroke:#1d7a46}.s4{stroke:#b3261e}.s5{stroke:#0b8793}
.c0{color:#2563c9}.c1{color:#d9822b}.c2{color:#6f42b5}.c3{color:#1d7a46}.c4{color:#b3261e}.c5{color:#0b8793}
circle{stroke-width:2}.p0{stroke:#2563c9;fill:#2563c9}.p1{stroke:#d9822b;fill:#d9822b}.p2{stroke:#6f42b5;fill:#6f42b5}circle.hollow{fill:var(--paper)}
.names{font-size:.9rem;color:var(--soft)}";

/// Writes `report.html` into a folder of results, from the files in it.
///
/// # Errors
/// A sentence, when there are none, or one cannot be read, or the page not be written.
pub fn write(folder: &Path) -> Result<(), String> {
    let page = page(folder)?;
    fs::write(folder.join("report.html"), page).map_err(|error| error.to_string())
}

/// The page of a folder of results.
///
/// # Errors
/// A sentence, when there are none, or one cannot be read.
pub fn page(folder: &Path) -> Result<String, String> {
    let mut body = String::new();
    let title;
    if let Ok(text) = fs::read_to_string(folder.join("sweep.json")) {
        let curve: Curve = serde_json::from_str(&text).map_err(|error| format!("sweep.json: {error}"))?;
        title = format!("over {}", curve.over);
        sweep(&curve, &mut body);
    } else {
        let text =
            fs::read_to_string(folder.join("run.json")).map_err(|error| format!("run.json: {error}"))?;
        let run: Value = serde_json::from_str(&text).map_err(|error| format!("run.json: {error}"))?;
        title = said(&run["target"]);
        summary(&run, &mut body);
        body += "<h2>Percentiles</h2>\n";
        body += &spectrum(folder)?.draw();
        timeline(folder, &mut body)?;
        environment(&run, &mut body);
    }
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{0}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{0}</h1>\n{body}</body></html>\n",
        escaped(&title)
    ))
}

/// A value as text, without the quotes of JSON.
fn said(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn summary(run: &Value, body: &mut String) {
    let (verdict, why) = (said(&run["verdict"]), said(&run["why"]));
    let no = if verdict == "VALID" { "" } else { " no" };
    let colon = if why.is_empty() { "" } else { ": " };
    let _ =
        writeln!(body, "<p class=\"verdict{no}\"><b>{}</b>{colon}{}</p>", escaped(&verdict), escaped(&why));
    let number = |name: &str| run[name].as_f64().unwrap_or(0.0);
    let _ = writeln!(
        body,
        "<p>{} requests in {:.2} s: <b>{}/s</b>, errors: {}</p>",
        shown_count(number("requests") as u64),
        number("seconds"),
        shown_count(number("rate").round() as u64),
        escaped(&errors(&run["errors"]))
    );
    if let Ok(writes) = serde_json::from_value::<Writes>(run["writes"].clone()) {
        let (acknowledged, lost) = (shown_count(writes.acknowledged), shown_count(writes.lost));
        let unread = shown_count(writes.unread_keys);
        let _ = writeln!(
            body,
            "<p>{acknowledged} writes acknowledged, <b>{lost}</b> of them lost; {unread} keys could not be read</p>"
        );
    }
    if run["checked"] == false {
        *body += "<p>values were not checked</p>\n";
    }
    *body += "<div class=\"wide\"><table><tr><th>time</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>\n";
    for (name, told) in [
        ("service", "sent → read"),
        ("response", "due → read"),
        ("slip", "due → sent"),
        ("reading", "received → read"),
    ] {
        let Ok(times) = serde_json::from_value::<Percentiles>(run["latency_us"][name].clone()) else {
            continue;
        };
        let _ = write!(body, "<tr><td><b>{name}</b><br><small>{told}</small></td>");
        for micros in [times.p50, times.p90, times.p99, times.p99_9, times.max] {
            let _ = write!(body, "<td>{}</td>", shown_micros(micros));
        }
        *body += "</tr>\n";
    }
    *body += "</table></div>\n";
    let _ = writeln!(body, "<h2>Command</h2>\n<pre>{}</pre>", escaped(&said(&run["command"])));
    let (seed, hash) = (said(&run["seed"]), said(&run["operations_hash"]));
    let _ = writeln!(body, "<p>seed {}, hash of the operations {}</p>", escaped(&seed), escaped(&hash));
}

fn errors(errors: &Value) -> String {
    let kinds = errors.as_object().filter(|kinds| !kinds.is_empty());
    kinds.map_or_else(
        || "none".to_owned(),
        |kinds| kinds.iter().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", "),
    )
}

fn micros(value: f64) -> String {
    match value {
        value if value < 1.0 => format!("{value}"),
        value => shown_micros(value as u64).replace(".00", ""),
    }
}

/// 1 / (1 - quantile) as people say it.
fn quantile(inverse: f64) -> String {
    let percent = 100.0 * (1.0 - 1.0 / inverse);
    match inverse {
        inverse if inverse < 2.0 => "0".to_owned(),
        _ => format!("{:.*}", (inverse.log10().round() as usize).saturating_sub(2), percent),
    }
}

fn spectrum(folder: &Path) -> Result<Chart, String> {
    let mut lines = Vec::new();
    for (colour, name) in ["response", "service", "slip", "reading"].into_iter().enumerate() {
        let file = format!("{name}.hgrm");
        let text = fs::read_to_string(folder.join(&file)).map_err(|error| format!("{file}: {error}"))?;
        lines.push(Line { name: name.to_owned(), points: percentiles(&text), colour });
    }
    let all = |take: fn(&(f64, f64)) -> f64| lines.iter().flat_map(|line| &line.points).map(take);
    let x = Axis::around("percentile", all(|point| point.0), true, quantile);
    let y = Axis::around("time", all(|point| point.1), true, micros);
    Ok(Chart { x, y, lines, marks: Vec::new() })
}

/// The rows of an `.hgrm`: 1 / (1 - quantile), and µs (at least 1, for a logarithmic axis).
fn percentiles(text: &str) -> Vec<(f64, f64)> {
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(str::parse::<f64>);
        let (value, _, _, inverse) =
            (words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?, words.next()?.ok()?);
        Some((inverse, (value * 1e3).max(1.0)))
    };
    text.lines().filter_map(row).collect()
}

/// A row of `timeline.csv`.
struct Second {
    at: f64,
    warm_up: bool,
    requests: f64,
    errors: f64,
    times: [f64; 4],
}

fn seconds(text: &str) -> Vec<Second> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split(',').collect();
        let number = |place: usize| words.get(place)?.parse::<f64>().ok();
        let times = [number(4)?, number(5)?, number(6)?, number(7)?];
        let phase = *words.get(1)?;
        if phase == "after" {
            return None;
        }
        let warm_up = phase == "warm-up";
        Some(Second { at: number(0)?, warm_up, requests: number(2)?, errors: number(3)?, times })
    };
    text.lines().filter_map(row).collect()
}

/// The marks of `events.csv`, where there is one: a second, and a word.
fn events(folder: &Path) -> Vec<Mark> {
    let text = fs::read_to_string(folder.join("events.csv")).unwrap_or_default();
    let row = |line: &str| {
        let (at, word) = line.split_once(',')?;
        Some(Mark::At(at.trim().parse().ok()?, word.trim().to_owned()))
    };
    text.lines().filter_map(row).collect()
}

fn timeline(folder: &Path, body: &mut String) -> Result<(), String> {
    let text =
        fs::read_to_string(folder.join("timeline.csv")).map_err(|error| format!("timeline.csv: {error}"))?;
    let seconds = seconds(&text);
    let warm =
        seconds.iter().filter(|second| second.warm_up).map(|second| second.at + 1.0).fold(0.0, f64::max);
    let marks = || std::iter::once(Mark::Shade(0.0, warm)).chain(events(folder)).collect::<Vec<_>>();
    let line = |colour: usize, name: &str, take: &dyn Fn(&Second) -> f64| Line {
        name: name.to_owned(),
        points: seconds.iter().map(|second| (second.at + 0.5, take(second))).collect(),
        colour,
    };
    let across = || {
        Axis::around("seconds", seconds.iter().map(|second| second.at + 1.0), false, |value| {
            format!("{value}")
        })
    };
    *body += "<h2>Response time over the run</h2>\n";
    let names = ["p50", "p99", "p99.9", "max"];
    let times = names
        .iter()
        .enumerate()
        .map(|(place, name)| line(place, name, &move |second: &Second| second.times[place].max(1.0)));
    let y = Axis::around(
        "time",
        seconds.iter().flat_map(|second| second.times).map(|time| time.max(1.0)),
        true,
        micros,
    );
    *body += &Chart { x: across(), y, lines: times.collect(), marks: marks() }.draw();
    *body += "<h2>Requests answered a second</h2>\n";
    let count = |value: f64| shown_count(value as u64);
    let y = Axis::around("requests/s", seconds.iter().map(|second| second.requests), false, count);
    let lines =
        vec![line(0, "answered", &|second| second.requests), line(4, "errors", &|second| second.errors)];
    *body += &Chart { x: across(), y, lines, marks: marks() }.draw();
    Ok(())
}

fn sweep(curve: &Curve, body: &mut String) {
    let points = &curve.points;
    let line = |colour: usize, name: &str, take: fn(&Percentiles) -> u64| Line {
        name: name.to_owned(),
        points: points.iter().map(|point| (point.rate, take(&point.response_us).max(1) as f64)).collect(),
        colour,
    };
    let takes: [fn(&Percentiles) -> u64; 3] = [|at| at.p50, |at| at.p99, |at| at.p99_9];
    let lines: Vec<Line> = ["p50", "p99", "p99.9"]
        .iter()
        .zip(takes)
        .enumerate()
        .map(|(colour, (name, take))| line(colour, name, take))
        .collect();
    let mut marks = Vec::new();
    for line in &lines {
        for ((x, y), point) in line.points.iter().zip(points) {
            marks.push(Mark::Point(*x, *y, point.verdict == "VALID", line.colour));
        }
    }
    let x =
        Axis::around("requests answered a second", points.iter().map(|point| point.rate), true, |value| {
            shown_count(value as u64)
        });
    let y = Axis::around(
        "response",
        lines.iter().flat_map(|line| &line.points).map(|point| point.1),
        true,
        micros,
    );
    *body += &Chart { x, y, lines, marks }.draw();
    *body += "<p class=\"names\">A hollow point is not valid.</p>\n";
    *body += "<div class=\"wide\"><table><tr><th>run</th><th>requests/s</th><th>p50</th><th>p99</th><th>max</th></tr>\n";
    for point in points {
        let _ = writeln!(
            body,
            "<tr><td><b>{}</b></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\
             <tr class=\"said\"><td colspan=\"5\"><div>{}</div></td></tr>",
            escaped(&point.at),
            shown_count(point.rate.round() as u64),
            shown_micros(point.response_us.p50),
            shown_micros(point.response_us.p99),
            shown_micros(point.response_us.max),
            escaped(&point.verdict)
        );
    }
    *body += "</table></div>\n<h2>Commands</h2>\n<pre>";
    points.iter().for_each(|point| *body += &(escaped(&point.command) + "\n"));
    *body += "</pre>\n";
}

fn environment(run: &Value, body: &mut String) {
    *body += "<h2>Environment</h2>\n<table class=\"env\">\n";
    for (name, value) in run["environment"].as_object().into_iter().flatten() {
        let value = match value {
            Value::Object(parts) => parts
                .iter()
                .map(|(name, value)| format!("{name}: {}", said(value)))
                .collect::<Vec<_>>()
                .join("; "),
            value => said(value),
        };
        let _ = writeln!(
            body,
            "<tr><td>{}</td><td>{}</td></tr>",
            escaped(&name.replace('_', " ")),
            escaped(&value)
        );
    }
    *body += "</table>\n";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn a_folder_of_results_becomes_one_page_without_a_network() {
        let folder = std::env::temp_dir().join(format!("loadgen-html-{}", std::process::id()));
        let mut report = report();
        report.run.command = "loadgen run '<b>'".to_owned();
        report.write(&folder).unwrap();
        fs::write(folder.join("events.csv"), "1.5,node 2 killed\n").unwrap();
        write(&folder).unwrap();
        let page = fs::read_to_string(folder.join("report.html")).unwrap();
        for part in
            ["VALID", "node 2 killed", "loadgen run '&lt;b&gt;'", "viewport", "205 µs", "<svg", "governor"]
        {
            assert!(page.contains(part), "{part}");
        }
        for network in ["http://", "https://", "<script", "<link", "@import", "url("] {
            assert!(!page.contains(network), "{network}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_curve_shows_what_is_not_valid() {
        let point = |rate: f64, verdict: &str| crate::sweep::Point {
            at: format!("rate {rate}"),
            rate,
            response_us: Percentiles { p50: 100, p90: 120, p99: 200, p99_9: 300, max: 400 },
            verdict: verdict.to_owned(),
            command: "loadgen run x".to_owned(),
        };
        let points = vec![point(1e3, "VALID"), point(2e3, "INVALID: machine stalled")];
        let mut body = String::new();
        sweep(&Curve { over: "rate".to_owned(), points }, &mut body);
        assert_eq!(
            (body.matches("circle class=\"hollow").count(), body.matches("circle class=\"full").count()),
            (3, 3)
        );
        assert!(body.contains("machine stalled"));
    }

    #[test]
    fn percentiles_are_said_as_people_say_them() {
        assert_eq!([1.0, 10.0, 100.0, 1000.0, 10_000.0].map(quantile), ["0", "90", "99", "99.9", "99.99"]);
    }
}
