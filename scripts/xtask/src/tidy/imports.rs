//! Who may import whom.
//!
//! The architecture is this table: a crate that is not in another's row is unknown to it. It is checked against
//! what cargo knows, so that a line added to a manifest in passing is an error here and not a surprise later.
//! A new arrow is a decision: it changes this table and has a page in runtime/decisions/.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::path::Path;

/// A crate of ours and the crates of ours it may name.
struct Row {
    name: &'static str,
    /// In its programs and libraries.
    may: &'static [&'static str],
    /// In its tests, besides.
    in_tests: &'static [&'static str],
}

/// Every crate that is not a system. A crate missing here is an error.
const TABLE: &[Row] = &[
    Row { name: "machine", may: &[], in_tests: &[] },
    Row { name: "state", may: &["machine"], in_tests: &[] },
    Row { name: "wire", may: &[], in_tests: &[] },
    Row { name: "consensus", may: &["machine"], in_tests: &["sim", "wire"] },
    Row { name: "sim", may: &["machine", "wire"], in_tests: &["reactor"] },
    Row { name: "reactor", may: &["machine", "wire"], in_tests: &[] },
    Row { name: "web", may: &["machine", "wire"], in_tests: &["sim", "reactor"] },
    Row { name: "loadgen", may: &["machine", "wire", "reactor"], in_tests: &["sim"] },
    Row { name: "xtask", may: &[], in_tests: &[] },
];

/// Every folder of systems/ but serve: a system never imports a system, nor what touches the world.
const SYSTEM: Row =
    Row { name: "a system", may: &["machine", "state", "wire", "web", "consensus"], in_tests: &["sim"] };

/// The only crate that imports systems and the reactor together. To these, every system is
/// added; in tests, the transcripts of the simulator, for its arm that talks to a real process.
const SERVE: Row = Row { name: "serve", may: &["machine", "reactor"], in_tests: &["sim"] };

/// What touches sockets, rings and threads: named by the reactor alone.
const REACTOR_ONLY: &[&str] = &[
    "glommio",
    "glommio-ng",
    "flume",
    "socket2",
    "core_affinity",
    "io-uring",
    "async-channel",
    "crossbeam-channel",
];

/// Where a crate depends on what its row does not allow.
pub(super) fn problems(root: &Path) -> Vec<String> {
    let metadata = match MetadataCommand::new().current_dir(root).no_deps().exec() {
        Ok(metadata) => metadata,
        Err(error) => return vec![format!("cargo metadata: {error}")],
    };
    broken(&metadata)
}

fn broken(metadata: &Metadata) -> Vec<String> {
    let ours: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let systems: Vec<&str> = metadata
        .packages
        .iter()
        .filter(|package| is_system(package))
        .map(|package| package.name.as_str())
        .collect();
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some(row) = row_of(package) else {
            problems.push(format!("{name}: no row in the import table (scripts/xtask/src/tidy/imports.rs)"));
            continue;
        };
        for dependency in &package.dependencies {
            let on = dependency.name.as_str();
            if REACTOR_ONLY.contains(&on) && name != "reactor" {
                problems.push(format!("{name}: depends on {on}, which the reactor alone may name"));
            }
            if !ours.contains(&on) {
                continue;
            }
            let in_tests = dependency.kind == DependencyKind::Development && row.in_tests.contains(&on);
            let as_server = name == "serve" && systems.contains(&on);
            if !(row.may.contains(&on) || in_tests || as_server) {
                problems.push(format!(
                    "{name}: depends on {on}; it may name {:?}, and in tests {:?}",
                    row.may, row.in_tests
                ));
            }
        }
    }
    problems
}

fn row_of(package: &Package) -> Option<&'static Row> {
    if is_system(package) {
        return Some(&SYSTEM);
    }
    if package.name.as_str() == "serve" {
        return Some(&SERVE);
    }
    TABLE.iter().find(|row| row.name == package.name.as_str())
}

/// A crate in a folder of systems/, but for the one that serves them.
fn is_system(package: &Package) -> bool {
    let folder = package.manifest_path.parent().and_then(|folder| folder.parent());
    folder.and_then(|parent| parent.file_name()) == Some("systems") && package.name.as_str() != "serve"
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace as cargo describes it: a system that names the reactor, and a channel of its own.
    fn lying_workspace(dependencies: &str) -> Metadata {
        let text = format!(
            r#"{{"packages":[
              {{"name":"reactor","version":"0.1.0","id":"r","dependencies":[],"targets":[],"features":{{}},"manifest_path":"/w/runtime/reactor/Cargo.toml"}},
              {{"name":"tally","version":"0.1.0","id":"t","dependencies":[{dependencies}],"targets":[],"features":{{}},"manifest_path":"/w/systems/tally/Cargo.toml"}}
            ],"workspace_members":["r","t"],"resolve":null,"target_directory":"/w/target","version":1,"workspace_root":"/w"}}"#
        );
        serde_json::from_str(&text).expect("as cargo prints it")
    }

    fn dependency(name: &str, kind: &str) -> String {
        format!(
            r#"{{"name":"{name}","source":null,"req":"*","kind":{kind},"rename":null,"optional":false,"uses_default_features":true,"features":[],"target":null,"registry":null}}"#
        )
    }

    #[test]
    fn a_system_that_names_the_reactor_is_found() {
        let found = broken(&lying_workspace(&dependency("reactor", "null")));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("tally: depends on reactor"), "{found:?}");
    }

    #[test]
    fn a_test_of_a_system_may_not_name_the_reactor_either() {
        assert_eq!(broken(&lying_workspace(&dependency("reactor", "\"dev\""))).len(), 1);
    }

    #[test]
    fn a_channel_outside_the_reactor_is_found() {
        let found = broken(&lying_workspace(&dependency("flume", "null")));
        assert_eq!(found, ["tally: depends on flume, which the reactor alone may name"]);
    }

    #[test]
    fn what_is_not_ours_is_free() {
        assert_eq!(broken(&lying_workspace(&dependency("rkyv", "null"))), Vec::<String>::new());
    }
}
