//! What is shown and kept of a measurement: the table, what must be known to read it, and the same as JSON.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The subcommand.
    pub(super) name: &'static str,
    pub(super) title: String,
    /// How it was measured: above the table.
    pub(super) how: String,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// What follows from it: sentences under the table.
    pub(super) remarks: Vec<String>,
    /// All numbers, unrounded.
    pub(super) json: Value,
}

/// Where and when.
#[derive(Debug)]
pub(super) struct Facts {
    date: String,
    commit: String,
    command: String,
    processor: String,
    processors: usize,
    kernel: String,
    redis: String,
    load_before: String,
    load_after: String,
}

impl Facts {
    /// Asks the machine.
    pub(super) fn gather(root: &Path, load_before: String) -> Self {
        let typed: Vec<String> = std::env::args().skip(2).collect();
        let changed = !said("git", &["status", "--porcelain", "--untracked-files=no"], root).is_empty();
        let commit = said("git", &["rev-parse", "--short=12", "HEAD"], root);
        Self {
            date: said("date", &["-u", "+%Y-%m-%dT%H:%MZ"], root),
            commit: if changed { format!("{commit} with changes") } else { commit },
            command: format!("scripts/peers {}", typed.join(" ")),
            processor: processor(),
            processors: std::thread::available_parallelism().map_or(0, usize::from).max(online()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            redis: said("redis-server", &["--version"], root),
            load_before,
            load_after: load(),
        }
    }
}

/// The three load averages.
pub(super) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The table and what must be known to read it.
pub(super) fn markdown(found: &Found, facts: &Facts) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = format!("# {}\n\n{}\n\n", found.title, found.how);
    text += &line(&found.columns.iter().map(|column| (*column).to_owned()).collect::<Vec<_>>());
    let _ = writeln!(text, "|{}", "---|".repeat(found.columns.len()));
    for row in &found.rows {
        text += &line(row);
    }
    for remark in &found.remarks {
        let _ = write!(text, "\n{remark}\n");
    }
    let _ = writeln!(
        text,
        "\nCommand: `{}`. Commit {}, {}. {}, {} processors, Linux {}. {}. Load averages {} before, {} after.",
        facts.command,
        facts.commit,
        facts.date,
        facts.processor,
        facts.processors,
        facts.kernel,
        if facts.redis.is_empty() { "No redis-server" } else { &facts.redis },
        facts.load_before,
        facts.load_after
    );
    text
}

/// Writes both, and says where.
pub(super) fn keep(folder: &Path, found: &Found, facts: &Facts) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(wrong)?;
    fs::write(folder.join("README.md"), markdown(found, facts)).map_err(wrong)?;
    let whole = json!({
        "measurement": found.name,
        "environment": {
            "date": facts.date,
            "commit": facts.commit,
            "command": facts.command,
            "processor": facts.processor,
            "processors": facts.processors,
            "kernel": facts.kernel,
            "redis": facts.redis,
            "load_before": facts.load_before,
            "load_after": facts.load_after,
        },
        "result": found.json,
    });
    fs::write(folder.join("result.json"), format!("{whole:#}\n")).map_err(wrong)?;
    println!("kept in {}", folder.display());
    Ok(())
}

/// Bytes for people.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// What a program prints, without the spaces around it; empty when it fails.
fn said(program: &str, words: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(words).current_dir(folder).output();
    let text = output.ok().filter(|output| output.status.success()).map(|output| output.stdout);
    text.map_or_else(String::new, |text| String::from_utf8_lossy(&text).trim().to_owned())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    let name = pairs.find(|(key, _)| key.trim() == "model name").map(|(_, value)| value.trim().to_owned());
    name.unwrap_or_else(|| "unknown processor".to_owned())
}

/// Processors of the machine, which may be more than the load was put on.
fn online() -> usize {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines().filter(|line| line.starts_with("processor")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_as_many_cells_as_columns() {
        let found = Found {
            name: "dht-memory",
            title: "Title".into(),
            how: "How.".into(),
            columns: vec!["server", "bytes"],
            rows: vec![vec!["dht".into(), "9".into()]],
            remarks: vec!["So.".into()],
            json: json!({}),
        };
        let facts = Facts::gather(Path::new("/"), load());
        let text = markdown(&found, &facts);
        assert!(text.contains("| server | bytes |\n|---|---|\n| dht | 9 |\n\nSo.\n"), "{text}");
        assert!(text.contains("Command: `scripts/peers"), "{text}");
    }
}
