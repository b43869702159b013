//! What the README quotes: each scenario of `loadgen/scenarios` that is named here, against our hash table and, where
//! it is there, redis-server, one after the other on the same core. The tables with their commands go where the
//! markers stand; so does the picture of a server that stalls. The hard thing is to quote nothing that was not measured: a table is spliced in as `loadgen` wrote
//! it, verdicts and all, and a scenario that could not be run leaves the old one alone.

mod stall;

use crate::peers::record::{Facts, load};
use crate::peers::server::{Kind, Server, last_core, part_cores};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The scenarios whose tables are quoted.
const SCENARIOS: [&str; 3] = ["dht-closed", "dht-ten-thousand", "dht-skew"];

/// The picture's name.
const STALL: &str = "stall";

/// What was typed.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Only the scenarios, and the picture `stall`, whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// Where the programs are
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
    /// Keep the run in bench-results and put its tables into README.md and bench-results/README.md
    #[arg(long)]
    record: bool,
    /// Behind the scenario's own options, such as `--duration 3s`
    #[arg(last = true)]
    options: Vec<String>,
}

/// Runs the scenarios.
pub(crate) fn run(root: &Path, options: &Options) -> Result<(), String> {
    let wanted = |name: &str| options.only.as_ref().is_none_or(|only| name.contains(only.as_str()));
    let scenarios: Vec<&str> = SCENARIOS.into_iter().filter(|name| wanted(name)).collect();
    if scenarios.is_empty() && !wanted(STALL) {
        return Err(format!("nothing is named so; there are {STALL}, {}", SCENARIOS.join(", ")));
    }
    let before = load();
    if wanted(STALL) {
        picture(root, options, before.clone())?;
    }
    if scenarios.is_empty() {
        return Ok(());
    }
    let (core, how) = part_cores()?;
    for name in scenarios {
        let mut text = format!("{how}.\n");
        for kind in [Kind::Dht, Kind::Redis] {
            let server = match Server::start(kind, &root.join(&options.programs).join("dht"), &core, None) {
                Ok(server) => server,
                Err(why) if kind == Kind::Redis => {
                    let _ = write!(text, "\nredis-server was not there: {why}\n");
                    continue;
                }
                Err(why) => return Err(why),
            };
            let _ = write!(text, "\n{kind}:\n\n{}\n", ask(root, options, name, &server)?);
        }
        let facts = Facts::gather_as(root, before.clone(), "scripts/bench", 2);
        let _ = writeln!(text, "\n{}", facts.line());
        println!("{text}");
        if options.record {
            keep(root, name, &text, &facts)?;
        }
    }
    Ok(())
}

/// The picture of what a closed loop does not see.
fn picture(root: &Path, options: &Options, before: String) -> Result<(), String> {
    let found = stall::measure(&root.join(&options.programs).join("loadgen"))?;
    let facts = Facts::gather_as(root, before, "scripts/bench", 2);
    println!("{}\n{}\n", found.text, facts.line());
    if !options.record {
        return Ok(());
    }
    let run = facts.run_name(root);
    let at = format!("runs/{run}/{STALL}");
    let folder = root.join("bench-results").join(&at);
    let wrong = |error: std::io::Error| format!("the run cannot be kept: {error}");
    fs::create_dir_all(&folder).map_err(wrong)?;
    fs::write(folder.join("stall.svg"), &found.picture).map_err(wrong)?;
    fs::write(folder.join("result.json"), format!("{:#}\n", found.json)).map_err(wrong)?;
    let alt = "Response times: the truth and loadgen climb to 200 ms beyond 90 %, redis-benchmark stays low";
    let shown = format!("{}\n![{alt}](stall.svg)\n\n{}\n", found.text, facts.line());
    fs::write(folder.join("README.md"), format!("# {STALL}\n\n{shown}")).map_err(wrong)?;
    for (page, base) in [("README.md", "bench-results/"), ("bench-results/README.md", "")] {
        let path = root.join(page);
        let old = fs::read_to_string(&path).map_err(wrong)?;
        let text = format!("{}\n![{alt}]({base}{at}/stall.svg)\n", found.text);
        if let Some(new) = spliced(&old, STALL, &text) {
            fs::write(&path, new).map_err(wrong)?;
        }
    }
    Ok(())
}

/// Runs one scenario against this server; its table, with the line that repeats it.
fn ask(root: &Path, options: &Options, name: &str, server: &Server) -> Result<String, String> {
    let file = format!("loadgen/scenarios/{name}.toml");
    let target = format!("resp://{}", server.at());
    let mut command = Command::new(root.join(&options.programs).join("loadgen"));
    command.current_dir(root).args(["scenario", &file, "-t", &target, "--", "--cores", &last_core()]);
    command.args(&options.options).stderr(std::process::Stdio::inherit());
    let output = command.output().map_err(|error| format!("loadgen cannot be run: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    // A verdict that was not expected stands in the table; only what could not be run at all is an error.
    match output.status.code() {
        Some(0 | 7) => Ok(said),
        _ => Err(format!("{name}: loadgen ended with {}", output.status)),
    }
}

fn keep(root: &Path, name: &str, text: &str, facts: &Facts) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("the run cannot be kept: {error}");
    let folder = root.join("bench-results/runs").join(facts.run_name(root)).join(name);
    fs::create_dir_all(&folder).map_err(wrong)?;
    fs::write(folder.join("README.md"), format!("# {name}\n\n{text}")).map_err(wrong)?;
    let result = serde_json::json!({"scenario": name, "table": text, "environment": facts.line()});
    fs::write(folder.join("result.json"), format!("{result:#}\n")).map_err(wrong)?;
    for page in ["README.md", "bench-results/README.md"] {
        let path = root.join(page);
        let old = fs::read_to_string(&path).map_err(wrong)?;
        if let Some(new) = spliced(&old, name, text) {
            fs::write(&path, new).map_err(wrong)?;
        }
    }
    Ok(())
}

/// The page with `text` between its markers; none where it has none.
fn spliced(page: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) =
        (format!("<!-- scripts/bench {name}: begin -->"), format!("<!-- scripts/bench {name}: end -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n{end}{after}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_goes_between_its_own_markers() {
        let page = "a\n<!-- scripts/bench x: begin -->\nold\n<!-- scripts/bench x: end -->\nb\n";
        let new = spliced(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- scripts/bench x: begin -->\nnew\n<!-- scripts/bench x: end -->\nb\n");
        assert_eq!(spliced(&new, "x", "new").as_deref(), Some(&new[..]));
        assert_eq!(spliced(page, "y", "new"), None);
    }

    #[test]
    fn every_scenario_is_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../loadgen/scenarios");
        assert!(SCENARIOS.iter().all(|name| folder.join(format!("{name}.toml")).exists()));
    }
}
