//! What is shown and kept of a measurement: the table, what must be known to read it, and the same as JSON.

use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// The subcommand.
    pub(crate) name: &'static str,
    pub(crate) title: String,
    /// How it was measured: above the table.
    pub(crate) how: String,
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    /// What follows from it: sentences under the table.
    pub(crate) remarks: Vec<String>,
    /// All numbers, unrounded.
    pub(crate) json: Value,
}

/// Where and when.
#[derive(Debug)]
pub(crate) struct Facts {
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
    pub(crate) fn gather(root: &Path, load_before: String) -> Self {
        Self::gather_as(root, load_before, "scripts/peers", 2)
    }

    /// The same for another script, which put so many words before what was typed.
    pub(crate) fn gather_as(root: &Path, load_before: String, script: &str, words: usize) -> Self {
        let typed: Vec<String> = std::env::args().skip(words).map(|word| without_folder(&word)).collect();
        // Pages that quote figures change with each figure, and nothing that is measured comes from them.
        let of_the_program =
            ["status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench-results", ":!*.md"];
        let changed = !said("git", &of_the_program, root).is_empty();
        let commit = said("git", &["rev-parse", "--short=12", "HEAD"], root);
        Self {
            date: said("date", &["-u", "+%Y-%m-%dT%H:%MZ"], root),
            commit: if changed { format!("{commit} with changes") } else { commit },
            command: format!("{script} {}", typed.join(" ")),
            processor: processor(),
            processors: std::thread::available_parallelism().map_or(0, usize::from).max(online()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            redis: said("redis-server", &["--version"], root),
            load_before,
            load_after: load(),
        }
    }
}

impl Facts {
    /// The same for a run in pieces, some of which were kept before.
    pub(super) fn after(mut self, kept: Option<&Value>) -> Self {
        if let Some(before) = kept.and_then(|kept| kept["environment"]["command"].as_str()) {
            self.command = format!("{before}; {}", self.command);
        }
        self
    }

    /// What must be known of a run, in a line.
    pub(crate) fn line(&self) -> String {
        format!(
            "Command: `{}`. Commit {}, {}. {}, {} processors, Linux {}. {}. Load averages {} before, {} after.",
            self.command,
            self.commit,
            self.date,
            self.processor,
            self.processors,
            self.kernel,
            if self.redis.is_empty() { "No redis-server" } else { &self.redis },
            self.load_before,
            self.load_after
        )
    }

    /// The folder of a run: the day, the machine in a word, the commit.
    pub(crate) fn run_name(&self, root: &Path) -> String {
        let day = self.date.split('T').next().unwrap_or_default();
        let commit = said("git", &["rev-parse", "--short=7", "HEAD"], root);
        format!("{day}-{}{}-{commit}", word_of(&self.processor), self.processors)
    }
}

/// A word that was typed, without the folders of this machine, which mean nothing elsewhere.
fn without_folder(word: &str) -> String {
    let (option, path) = match word.split_once('=') {
        Some((option, path)) => (format!("{option}="), path),
        None => (String::new(), word),
    };
    if path.starts_with('/') { format!("{option}PATH") } else { word.to_owned() }
}

/// The one word that people call a processor by: `AMD EPYC 7B13` is an epyc.
fn word_of(processor: &str) -> String {
    let name = processor.to_lowercase().replace("(r)", "").replace("(tm)", "");
    let makers = ["amd", "intel", "arm", "unknown"];
    let mut words = name.split_whitespace().filter(|word| !makers.contains(word));
    let word = words.find(|word| word.chars().all(char::is_alphabetic));
    word.unwrap_or("machine").to_owned()
}

/// What others take of the processors, looked at for this long.
const BUSY_LOOK: Duration = Duration::from_secs(1);
/// Over so much of all of them together, figures are not worth keeping.
const BUSY_SHARE: f64 = 0.1;

/// A sentence when others are at work on this machine.
pub(crate) fn busy() -> Option<String> {
    let before = busy_and_all(&fs::read_to_string("/proc/stat").unwrap_or_default())?;
    std::thread::sleep(BUSY_LOOK);
    let after = busy_and_all(&fs::read_to_string("/proc/stat").unwrap_or_default())?;
    let share = (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64;
    let percent = share * 100.0;
    (share > BUSY_SHARE)
        .then(|| format!("Busy machine: others took {percent:.0} % of it before the first figure."))
}

/// Ticks in which processors worked, and all ticks (proc(5): user nice system idle iowait irq softirq steal).
fn busy_and_all(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|word| word.parse().ok()).collect();
    let all = ticks.iter().sum();
    Some((all - ticks.get(3)? - ticks.get(4)?, all))
}

/// How many files a process may open.
pub(crate) fn descriptors() -> u64 {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(u64::MAX)
}

/// The three load averages.
pub(crate) fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The table and what must be known to read it.
pub(crate) fn markdown(found: &Found, facts: &Facts) -> String {
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
    let _ = writeln!(text, "\n{}", facts.line());
    text
}

/// What was kept there before.
pub(super) fn kept(folder: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(folder.join("result.json")).ok()?).ok()
}

/// Writes both.
pub(crate) fn keep(folder: &Path, found: &Found, facts: &Facts) -> Result<(), String> {
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
    Ok(())
}

/// Bytes for people.
pub(crate) fn mebibytes(bytes: u64) -> String {
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
    fn a_run_is_named_after_the_machine_and_not_its_folders() {
        assert_eq!(word_of("AMD EPYC 7B13 64-Core Processor"), "epyc");
        assert_eq!(word_of("Intel(R) Xeon(R) CPU @ 2.20GHz"), "xeon");
        assert_eq!(word_of("unknown processor"), "processor");
        assert_eq!(without_folder("/tmp/x/release"), "PATH");
        assert_eq!(without_folder("--bare=/tmp/x"), "--bare=PATH");
        assert_eq!(without_folder("--only"), "--only");
    }

    #[test]
    fn waiting_is_no_work() {
        assert_eq!(busy_and_all("cpu  10 0 5 80 3 0 1 1 9 9\ncpu0 1"), Some((17, 100)));
        assert_eq!(busy_and_all(""), None);
    }

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
