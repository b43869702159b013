//! Rules for single files: how long, how they open, what they may not say.
//!
//! The words sought here are put together from halves, so that this file does not find itself.

use std::path::{Path, PathBuf};

/// A file longer than this holds more than one noun. Tests do not count: a table of cases may be long.
const LINES_MAX: usize = 600;

/// Crates whose behaviour depends on nothing but what they are told: no unsafe, by their first lines.
const PURE: &[&str] = &["runtime/machine", "runtime/state", "runtime/wire", "runtime/sim", "scripts/xtask"];

/// Folders that are not ours to judge: built, measured, or git's own.
const PASSED_OVER: &[&str] = &["target", ".git", "report", "bench-results", "corpus", "artifacts"];

/// What a finished tree does not contain.
const UNFINISHED: &[&str] =
    &[concat!("#[", "ignore"), concat!("to", "do!("), concat!("unimple", "mented!("), concat!("FIX", "ME")];

/// Every file of the tree, by its path from the root, in order.
pub(super) fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let passed_over = PASSED_OVER.iter().any(|name| entry.file_name() == *name);
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if !passed_over {
                    folders.push(path);
                }
            } else if let Ok(inside) = path.strip_prefix(root) {
                found.push(inside.to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// Where a file breaks a rule.
pub(super) fn problems(root: &Path, files: &[PathBuf]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "rs")) {
        if let Ok(text) = std::fs::read_to_string(root.join(file)) {
            problems.extend(in_source(&file.display().to_string(), &text));
        }
    }
    for folder in pure_folders(root) {
        problems.extend(unsafe_allowed(root, &folder));
    }
    problems.extend(files.iter().filter_map(|file| not_executable(root, file)));
    problems
}

/// What is wrong with one Rust file, by its path and its text.
fn in_source(file: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let lines = lines_without_tests(file, text);
    if lines > LINES_MAX {
        problems.push(format!(
            "{file}: {lines} lines without its tests; {LINES_MAX} at most: it holds two nouns"
        ));
    }
    if !text.starts_with("//!") && !file.contains("/tests/") && !file.ends_with("tests.rs") {
        problems.push(format!("{file}: does not open with a `//!` paragraph that says what it is"));
    }
    for (number, line) in text.lines().enumerate() {
        for word in UNFINISHED.iter().filter(|word| line.contains(**word)) {
            problems.push(format!("{file}:{}: says {word}", number + 1));
        }
    }
    problems
}

/// Lines that count: none in a file of tests, and those above the tests elsewhere.
fn lines_without_tests(file: &str, text: &str) -> usize {
    if file.contains("/tests/") || file.contains("/fuzz/") || file.ends_with("tests.rs") {
        return 0;
    }
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or("").lines().count()
}

/// The named pure crates, and every system.
fn pure_folders(root: &Path) -> Vec<String> {
    let mut folders: Vec<String> = PURE.iter().map(|folder| (*folder).to_owned()).collect();
    for entry in std::fs::read_dir(root.join("systems")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != "serve" && entry.path().join("Cargo.toml").exists() {
            folders.push(format!("systems/{name}"));
        }
    }
    folders
}

fn unsafe_allowed(root: &Path, folder: &str) -> Option<String> {
    let entries = ["src/lib.rs", "src/main.rs"].map(|name| root.join(folder).join(name));
    let text = entries.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let forbidden = text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]");
    (!forbidden).then(|| format!("{folder}: a pure crate says `#![forbid(unsafe_code)]` in its root file"))
}

/// A script that cannot be started: in scripts/ or .ci/, without an ending.
fn not_executable(root: &Path, file: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let folder = file.parent()?;
    let is_script =
        (folder == Path::new("scripts") || folder == Path::new(".ci")) && file.extension().is_none();
    let mode = std::fs::metadata(root.join(file)).ok()?.permissions().mode();
    (is_script && mode & 0o111 == 0).then(|| format!("{}: a script, but not executable", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(file: &str, text: &str, expected: &[&str]) {
        assert_eq!(in_source(file, text), expected);
    }

    #[test]
    fn a_file_that_opens_with_its_story_is_right() {
        check("systems/dht/src/value.rs", "//! A value.\n", &[]);
    }

    #[test]
    fn a_silent_file_is_found() {
        let expected = "a/src/value.rs: does not open with a `//!` paragraph that says what it is";
        check("a/src/value.rs", "struct Value;\n", &[expected]);
    }

    #[test]
    fn unfinished_work_is_found_with_its_line() {
        let text = format!("//! A value.\nfn f() {{ {}) }}\n", UNFINISHED[1]);
        check("a/src/value.rs", &text, &[&format!("a/src/value.rs:2: says {}", UNFINISHED[1])]);
    }

    #[test]
    fn tests_do_not_count_as_length() {
        let body = "//! A value.\n".repeat(LINES_MAX);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// one\n".repeat(LINES_MAX));
        check("a/src/value.rs", &format!("{body}{tests}"), &[]);
        assert_eq!(in_source("a/src/value.rs", &format!("{body}\n\n")).len(), 1);
    }
}
