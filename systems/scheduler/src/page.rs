//! Pages as people see them: rows of jobs and nodes, made from the JSON that programs get, so that both say the same.
//! Every text goes in escaped: programs and what they print come from strangers.

use core::fmt::Write as _;
use serde_json::Value;

/// Characters of a program and of a result in a row; all of it is a click away.
const SHOWN: usize = 600;

/// A text as it stands in a page.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(SHOWN);
    let more = if end < text.len() { " …" } else { "" };
    escaped(&text[..end]) + more
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or("")
}

/// What stands in the column of results: `executing` until it is there.
#[must_use]
pub fn result(job: &Value) -> String {
    let last = || job["history"].as_array().and_then(|all| all.last()).map_or("", |event| text(event, "why"));
    let result = &job["result"];
    match text(job, "state") {
        "finished" => text(result, "stdout").trim_end().to_owned(),
        "failed" => {
            let why = result["why"]
                .as_str()
                .map_or_else(|| format!("exit status {}", result["exit"]), str::to_owned);
            format!("failed: {why}\n{}{}", text(result, "stdout"), text(result, "stderr"))
        }
        state @ ("dead" | "cancelled" | "lost") => format!("{state}: {}", last()),
        _ => "executing".to_owned(),
    }
}

/// Rows of jobs: hash, program, result, where it stands, and its timeline.
#[must_use]
pub fn jobs(all: &[Value], has_acts: bool) -> String {
    let mut html = String::new();
    for job in all {
        let id = escaped(text(job, "id"));
        let state = escaped(text(job, "state"));
        let worker =
            job["worker"].as_str().map_or_else(String::new, |worker| format!(" on {}", escaped(worker)));
        let attempt = job["attempt"].as_u64().unwrap_or_default();
        let _ = write!(
            html,
            "<tr data-id=\"{id}\"><td class=\"hash\"><a href=\"/api/v1/jobs/{id}\">{id}</a></td>\
             <td><pre>{}</pre></td><td class=\"result\"><pre>{}</pre></td>\
             <td><span class=\"state {state}\">{state}</span>{worker}{}<br>{}</td><td>{}</td></tr>",
            shortened(text(job, "program")),
            shortened(&result(job)),
            if attempt > 1 { format!(", attempt {attempt}") } else { String::new() },
            if has_acts { acts(&id, &state) } else { String::new() },
            timeline(job, &id),
        );
    }
    html
}

fn acts(id: &str, state: &str) -> String {
    let act = match state {
        "accepted" | "assigned" | "running" => "cancel",
        "failed" | "dead" | "cancelled" | "lost" => "retry",
        _ => return String::new(),
    };
    format!("<form method=\"post\" action=\"/jobs/{id}/{act}\"><button>{act}</button></form>")
}

fn timeline(job: &Value, id: &str) -> String {
    let events = job["history"].as_array().map(Vec::as_slice).unwrap_or_default();
    let began = events.first().and_then(|event| event["at"].as_u64()).unwrap_or_default();
    let mut html = format!("<details id=\"t-{id}\"><summary>{} entries</summary><ol>", events.len());
    for event in events {
        let after = event["at"].as_u64().unwrap_or_default().saturating_sub(began);
        let worker =
            event["worker"].as_str().map(|name| format!(" on {}", escaped(name))).unwrap_or_default();
        let _ = write!(
            html,
            "<li><b>{}</b> <small>entry {}, +{after} ms, attempt {}{worker}</small><br>{}</li>",
            escaped(text(event, "what")),
            event["index"],
            event["attempt"],
            escaped(text(event, "why")),
        );
    }
    for late in job["late"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let shown = shortened(text(&late["result"], "stdout"));
        let _ = write!(html, "<li><b>late</b> attempt {}: <code>{shown}</code></li>", late["attempt"]);
    }
    html + "</ol></details>"
}

/// Rows of nodes.
#[must_use]
pub fn nodes(all: &[Value], has_acts: bool) -> String {
    let mut html = String::new();
    for node in all {
        let (id, address) = (escaped(text(node, "id")), escaped(text(node, "address")));
        let (role, state) = (escaped(text(node, "role")), escaped(text(node, "state")));
        let number = |name: &str| match &node[name] {
            Value::Null => "–".to_owned(),
            value => value.to_string(),
        };
        let stop = match has_acts {
            true => format!(
                "<form method=\"post\" action=\"/nodes/{id}/stop\"><button>stop / go on</button></form>"
            ),
            false => String::new(),
        };
        let _ = write!(
            html,
            "<tr><td>{id}</td><td><a href=\"http://{address}/\">{address}</a></td>\
             <td><span class=\"role {role}\">{role}</span></td><td><span class=\"state {state}\">{state}</span></td>\
             <td class=\"number\">{}</td><td class=\"number\">{} %</td><td class=\"number\">{} %</td>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td><a href=\"http://{address}/logging\">log</a> {stop}</td></tr>",
            number("pid"),
            number("cpu"),
            number("memory"),
            number("holds"),
            number("applied"),
        );
    }
    html
}

/// How often each row of the crash table held when real processes were last killed there, as
/// `scripts/clients/scheduler_kills.py` keeps it.
const CRASHES: &str = include_str!("page/crashes.json");

/// Rows of the crash table: who dies, when; what happens; what came of it.
///
/// # Panics
/// When what was kept is no list, which a test would have seen.
#[must_use]
pub fn crashes() -> String {
    let all: Vec<Value> = serde_json::from_str(CRASHES).expect("it was kept as a list");
    let mut html = String::new();
    for row in &all {
        let is_whole = row["held"] == row["rounds"];
        let _ = write!(
            html,
            "<tr><td>{}</td><td>{}</td><td class=\"number\"><span class=\"state {}\">{} of {}</span></td>\
             <td>{} <small>{}</small></td></tr>",
            escaped(text(row, "who")),
            escaped(text(row, "what")),
            if is_whole { "finished" } else { "failed" },
            row["held"],
            row["rounds"],
            escaped(text(row, "date")),
            escaped(text(row, "commit")),
        );
    }
    html
}

/// What a page's script is told.
#[must_use]
pub fn news(jobs_of: &Value, nodes_of: &Value, summary: &str, has_acts: bool) -> String {
    let rows = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    serde_json::json!({
        "jobs": jobs(&rows(jobs_of, "jobs"), has_acts),
        "nodes": nodes(&rows(nodes_of, "nodes"), has_acts),
        "summary": summary,
    })
    .to_string()
}

/// A page whose places are filled.
#[must_use]
pub fn filled(page: &str, places: &[(&str, &str)]) -> String {
    places.iter().fold(page.to_owned(), |page, (name, html)| page.replace(&format!("<!--{name}-->"), html))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_strangers_write_is_text_on_a_page() {
        let job =
            json!({"id": "<b>", "state": "finished", "program": "<script>", "result": {"stdout": "\"&<i>"}});
        let html = jobs(&[job], true);
        assert!(!html.contains("<script>") && !html.contains("<i>") && !html.contains("<b>\""), "{html}");
        assert!(html.contains("&lt;script&gt;") && html.contains("&quot;&amp;&lt;i&gt;"), "{html}");
    }

    #[test]
    fn the_crash_table_has_every_point_and_each_row_held() {
        let all: Vec<Value> = serde_json::from_str(CRASHES).expect("a list");
        for point in crate::crash::Point::ALL {
            let is_there = all.iter().any(|row| row["name"] == point.name());
            assert!(is_there, "nothing is known of {}", point.name());
        }
        for row in &all {
            assert!(row["rounds"].as_u64() > Some(0) && row["held"] == row["rounds"], "{row}");
        }
        assert_eq!(crashes().matches("<tr>").count(), all.len());
    }

    #[test]
    fn a_job_is_executing_until_its_result_is_there() {
        #[track_caller]
        fn check(job: Value, expected: &str) {
            assert_eq!(result(&job), expected);
        }
        for state in ["accepted", "assigned", "running"] {
            check(json!({"state": state}), "executing");
        }
        check(json!({"state": "finished", "result": {"stdout": "42\n"}}), "42");
        check(json!({"state": "failed", "result": {"exit": 3, "stderr": "no"}}), "failed: exit status 3\nno");
        check(json!({"state": "dead", "history": [{"why": "x"}, {"why": "five"}]}), "dead: five");
    }
}
