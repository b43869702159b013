//! A sixth system to start from.
//!
//! What is written is not an empty frame but a small system that works: lines over TCP name counters, the
//! counters are spread over the cores, and a simulation proves it. Its author then changes one thing at a time
//! and is never far from green. The hard thing is the two manifests that must learn its name: they are edited as
//! text, so that every comment in them stays, and nothing is written before every edit is known to fit.

use std::path::Path;

/// Where each template goes. `@name@` stands for the system's name in paths and in texts.
const TEMPLATES: &[(&str, &str)] = &[
    ("systems/@name@/Cargo.toml", include_str!("../templates/Cargo.toml.template")),
    ("systems/@name@/src/lib.rs", include_str!("../templates/lib.rs.template")),
    ("systems/@name@/src/shard.rs", include_str!("../templates/shard.rs.template")),
    ("systems/@name@/src/peer.rs", include_str!("../templates/peer.rs.template")),
    ("systems/@name@/src/line.rs", include_str!("../templates/line.rs.template")),
    ("systems/@name@/src/counters.rs", include_str!("../templates/counters.rs.template")),
    ("systems/@name@/transcripts/counting.txt", include_str!("../templates/counting.txt.template")),
    ("systems/@name@/tests/simulation.rs", include_str!("../templates/simulation.rs.template")),
    ("systems/serve/src/bin/@name@.rs", include_str!("../templates/bin.rs.template")),
];

/// Words that cannot name a crate of ours, for the language or the tree has them already.
const TAKEN: &[&str] = &[
    "abstract",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serve",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
    "alloc",
    "machine",
    "state",
    "wire",
    "sim",
    "reactor",
    "loadgen",
    "xtask",
];

/// Writes `systems/NAME`, its program, and its name in the two manifests.
///
/// # Errors
/// A sentence; nothing has been written then, unless the disk itself failed half way.
pub(crate) fn write(root: &Path, name: &str) -> Result<(), String> {
    valid(name)?;
    if root.join("systems").join(name).exists() {
        return Err(format!("systems/{name} exists already"));
    }
    let mut files = Vec::new();
    for (path, text) in TEMPLATES {
        files.push((filled(path, name), filled(text, name)));
    }
    for (path, edit) in [("Cargo.toml", workspace as Edit), ("systems/serve/Cargo.toml", serve as Edit)] {
        let text = std::fs::read_to_string(root.join(path)).map_err(|error| format!("{path}: {error}"))?;
        files.push((path.to_owned(), edit(&text, name).map_err(|why| format!("{path}: {why}"))?));
    }
    for (path, text) in &files {
        let path = root.join(path);
        let folder = path.parent().unwrap_or(root);
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    for (path, _) in &files {
        println!("wrote {path}");
    }
    formatted(root, name)?;
    println!("Try: cargo test -p {name}");
    println!("Then: cargo run -p serve --bin {name} --features {name} -- serve --port 0");
    Ok(())
}

/// Lays the new sources out: how long lines are depends on the name.
fn formatted(root: &Path, name: &str) -> Result<(), String> {
    let sources = ["src/lib.rs", "tests/simulation.rs"].map(|file| format!("systems/{name}/{file}"));
    let program = format!("systems/serve/src/bin/{name}.rs");
    let mut rustfmt = std::process::Command::new("rustfmt");
    rustfmt.args(["--edition", "2024"]).args(sources).arg(program).current_dir(root);
    match rustfmt.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("rustfmt ended with {status}")),
        Err(error) => Err(format!("rustfmt could not be started: {error}")),
    }
}

type Edit = fn(&str, &str) -> Result<String, String>;

fn valid(name: &str) -> Result<(), String> {
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    let shaped =
        name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_');
    if !begins || !shaped {
        return Err(format!("`{name}`: lower-case letters, digits and underscores, beginning with a letter"));
    }
    if TAKEN.contains(&name) {
        return Err(format!("`{name}` is taken; choose another name"));
    }
    Ok(())
}

/// A template with the name in its places.
fn filled(text: &str, name: &str) -> String {
    let mut letters = name.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    text.replace("@name@", name).replace("@Name@", &format!("{first}{}", letters.as_str()))
}

/// The root manifest: a member, and a dependency others may name.
fn workspace(text: &str, name: &str) -> Result<String, String> {
    let text = before(text, "    \"systems/serve\",", &format!("    \"systems/{name}\",\n"))?;
    after_last(&text, "{ path = \"systems/", &format!("{name} = {{ path = \"systems/{name}\" }}\n"))
}

/// The manifest of the programs: an optional dependency, a feature, a program.
fn serve(text: &str, name: &str) -> Result<String, String> {
    let text = before(
        text,
        "clap.workspace = true",
        &format!("{name} = {{ workspace = true, optional = true }}\n"),
    )?;
    let text = after_last(&text, "= [\"dep:", &format!("{name} = [\"dep:{name}\"]\n"))?;
    let program = format!(
        "\n[[bin]]\nname = \"{name}\"\npath = \"src/bin/{name}.rs\"\nrequired-features = [\"{name}\"]\n"
    );
    Ok(format!("{}\n{program}", text.trim_end()))
}

/// `text` with `new` before the first line that is `line`.
fn before(text: &str, line: &str, new: &str) -> Result<String, String> {
    let at = text.find(&format!("{line}\n")).ok_or_else(|| format!("no line `{line}` to write before"))?;
    Ok(format!("{}{new}{}", &text[..at], &text[at..]))
}

/// `text` with `new` after the last line that contains `mark`.
fn after_last(text: &str, mark: &str, new: &str) -> Result<String, String> {
    let at = text.rfind(mark).ok_or_else(|| format!("no line with `{mark}` to write after"))?;
    let end = text[at..].find('\n').map_or(text.len(), |length| at + length + 1);
    Ok(format!("{}{new}{}", &text[..end], &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(path: &str) -> String {
        std::fs::read_to_string(crate::root().join(path)).expect("our own manifest")
    }

    #[test]
    fn the_workspace_learns_the_name_and_keeps_its_comments() {
        let before = manifest("Cargo.toml");
        let after = workspace(&before, "tally").expect("fits");
        assert!(after.contains("    \"systems/tally\",\n    \"systems/serve\","), "{after}");
        assert!(after.contains("\ntally = { path = \"systems/tally\" }\n"), "{after}");
        assert_eq!(after.lines().count(), before.lines().count() + 2);
    }

    #[test]
    fn the_programs_learn_the_name() {
        let after = serve(&manifest("systems/serve/Cargo.toml"), "tally").expect("fits");
        for line in
            ["tally = { workspace = true, optional = true }", "tally = [\"dep:tally\"]", "name = \"tally\""]
        {
            assert!(after.lines().any(|found| found == line), "no `{line}` in:\n{after}");
        }
    }

    #[test]
    fn a_manifest_without_the_marks_is_left_alone() {
        assert!(workspace("[workspace]\n", "tally").is_err());
    }

    #[test]
    fn names_that_cannot_be_crates_are_refused() {
        for name in ["", "Tally", "9lives", "a-b", "../x", "match", "reactor"] {
            assert!(valid(name).is_err(), "{name}");
        }
        assert_eq!(valid("tally2"), Ok(()));
    }

    #[test]
    fn no_mark_is_left_in_what_is_written() {
        for (path, text) in TEMPLATES {
            assert!(!filled(path, "tally").contains('@'), "{path}");
            assert!(!filled(text, "tally").contains("@name@"), "{path}");
        }
    }
}
