//! The map is the country: every path that ARCHITECTURE.md names in backticks exists.
//!
//! A code map that has drifted is worse than none. A word in backticks counts as a path when it contains a slash
//! or ends like a file of ours, and holds nothing that a path of ours never holds.

use std::path::Path;

const MAP: &str = "ARCHITECTURE.md";

/// Paths that the map names and the tree does not have.
pub(super) fn problems(root: &Path) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(root.join(MAP)) else {
        return vec![format!("{MAP}: missing")];
    };
    let missing = paths(&text).filter(|path| !root.join(path).exists());
    missing.map(|path| format!("{MAP}: names `{path}`, which does not exist")).collect()
}

/// What stands in backticks and reads as a path. Fenced blocks are drawings and are passed over.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let outside_fences = text.split("```").step_by(2);
    let quoted = outside_fences.flat_map(|part| part.split('`').skip(1).step_by(2));
    quoted.filter(|word| is_path(word))
}

fn is_path(word: &str) -> bool {
    let shaped = word.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-./".contains(letter));
    let ends = [".rs", ".md", ".toml", ".txt"].iter().any(|end| word.ends_with(end));
    shaped && !word.starts_with('/') && (word.contains('/') || ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(paths(text).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_path_in_backticks_is_found() {
        check("see `runtime/machine` and `Cargo.toml`.", &["runtime/machine", "Cargo.toml"]);
    }

    #[test]
    fn code_and_drawings_are_not_paths() {
        check("`Shard` `tell(core)` `&[u8]`\n```\n`a/b`\n```\n`c/d`", &["c/d"]);
    }
}
